package models

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"log/slog"
	"net/mail"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"gorm.io/gorm"
)

// Profile is what other members may see of a person.
type Profile struct {
	ID       ID
	Username string
	FullName string
}

// User is a person who has signed in, as that person may see it.
type User struct {
	Profile
	Email string
	Admin bool
}

// sealedProfile is what stands in a profile's envelope (kind 09).
type sealedProfile struct {
	Username string `json:"username"`
	FullName string `json:"full_name"`
	Email    string `json:"email"`
	Admin    bool   `json:"admin,omitempty"`
}

// userRow is a row of users: sealed but for its blind indices and its numbers.
type userRow struct {
	ID            ID `gorm:"primaryKey"`
	UsernameIndex []byte
	EmailIndex    []byte
	Profile       []byte
	Revision      uint32
	Password      []byte
	TOTP          []byte `gorm:"column:totp"`
	TOTPLastStep  int64  `gorm:"column:totp_last_step"`
	CreatedMS     int64  `gorm:"column:created_ms"`
	DisabledMS    *int64 `gorm:"column:disabled_ms"`
}

func (userRow) TableName() string { return "users" }

// registrationRow is a row of registrations. Its envelopes are sealed for the user it will become.
type registrationRow struct {
	ID            ID `gorm:"primaryKey"`
	UsernameIndex []byte
	EmailIndex    []byte
	Profile       []byte
	Password      []byte
	TOTP          []byte `gorm:"column:totp"`
	Token         []byte
	Attempts      int
	ExpiresMS     int64 `gorm:"column:expires_ms"`
}

func (registrationRow) TableName() string { return "registrations" }

const (
	firstRevision        = 1
	registrationLife     = 15 * time.Minute
	registrationAttempts = 5
	fullNameMax          = 64 // code points
	emailMax             = 254
	recoveryCount        = 10
	recoveryLength       = 24 // symbols of 5 bits: 120 bits
)

var usernameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9_.-]{2,31}$`)

// Registration is the form of the first step.
type Registration struct {
	Username, FullName, Email, Password string
	Token                               string // of the set-up link; empty for none
	Replaces                            ID     // an earlier attempt of the same browser, which is given up
}

// check normalises the form and reports every fault at once.
func (r *Registration) check(appHost string) error {
	var faults Errors
	add := func(err error) {
		var e *Error
		if errors.As(err, &e) {
			faults = append(faults, e)
		}
	}
	r.Username = strings.ToLower(strings.TrimSpace(r.Username))
	if !usernameForm.MatchString(r.Username) {
		add(invalid("username", "Use 3 to 32 letters (a to z), digits, dots, dashes or underscores, beginning with a letter or a digit."))
	}
	var err error
	r.FullName, err = line("full_name", "Your name", r.FullName, fullNameMax)
	add(err)
	r.Email, err = cleanEmail(r.Email)
	add(err)
	add(checkPassword(r.Password, r.Username, r.FullName, r.Email, appHost))
	if len(faults) > 0 {
		return faults
	}
	return nil
}

func cleanEmail(s string) (string, error) {
	s, err := line("email", "Your email address", s, emailMax)
	if err != nil {
		return "", err
	}
	address, err := mail.ParseAddress(s)
	if err != nil || address.Address != s || !strings.Contains(s[strings.LastIndex(s, "@"):], ".") || strings.HasSuffix(s, ".") {
		return "", invalid("email", "This does not look like an email address. It should read like ada@example.org.")
	}
	return s, nil
}

// Register begins a registration: the name is reserved for 15 minutes, but nobody is a user
// until Confirm has seen a code. A token makes the new user the administrator.
func (s *Store) Register(ctx context.Context, r Registration) (ID, error) {
	if err := r.check(s.o.AppHost); err != nil {
		return ID{}, err
	}
	row := registrationRow{
		ID:            newID(),
		UsernameIndex: s.service.Index("username", r.Username),
		EmailIndex:    s.service.Index("email", strings.ToLower(r.Email)),
		ExpiresMS:     s.o.Now().Add(registrationLife).UnixMilli(),
	}
	if r.Token != "" {
		row.Token = s.service.TokenHash(setupPurpose, normalToken(r.Token))
	}
	// Looked at before the hashing, which is slow, and again together with the insertion.
	if err := s.vacant(s.read.WithContext(ctx), row, r.Replaces); err != nil {
		return ID{}, err
	}
	phc, err := s.hasher.hash(ctx, normalPassword(r.Password))
	if err != nil {
		return ID{}, busy(err)
	}
	profile, err := json.Marshal(sealedProfile{Username: r.Username, FullName: r.FullName, Email: r.Email, Admin: r.Token != ""})
	if err != nil {
		return ID{}, err
	}
	secret, err := otpText.DecodeString(NewOTPSecret())
	if err != nil {
		return ID{}, err
	}
	row.Profile = s.service.SealProfile(row.ID, firstRevision, profile)
	row.Password = s.service.SealPassword(row.ID, []byte(phc))
	row.TOTP = s.service.SealTOTP(row.ID, secret)
	err = s.write.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		if err := tx.Where("expires_ms <= ? OR id = ?", s.now(), r.Replaces).Delete(&registrationRow{}).Error; err != nil {
			return err
		}
		if err := s.vacant(tx, row, r.Replaces); err != nil {
			return err
		}
		return tx.Create(&row).Error
	})
	return row.ID, err
}

// vacant checks that nobody has, or has reserved, the name and the address, and that the token is good.
func (s *Store) vacant(db *gorm.DB, row registrationRow, replaces ID) error {
	var faults Errors
	for _, c := range []struct {
		column, field, msg string
		index              []byte
	}{
		{"username_index", "username", "This user name is taken. Choose another.", row.UsernameIndex},
		{"email_index", "email", "There is already an account with this email address.", row.EmailIndex},
	} {
		var users, pending int64
		if err := db.Model(&userRow{}).Where(c.column+" = ?", c.index).Count(&users).Error; err != nil {
			return err
		}
		err := db.Model(&registrationRow{}).Where(c.column+" = ? AND expires_ms > ? AND id <> ?", c.index, s.now(), replaces).Count(&pending).Error
		if err != nil {
			return err
		}
		if users+pending > 0 {
			faults = append(faults, &Error{Kind: Invalid, Field: c.field, Msg: c.msg})
		}
	}
	if row.Token != nil {
		good, err := s.goodToken(db, row.Token)
		if err != nil {
			return err
		}
		if !good {
			faults = append(faults, errBadToken)
		}
	}
	if len(faults) > 0 {
		return faults
	}
	return nil
}

// Pending is a registration that waits for its first code.
type Pending struct {
	Username string
	Secret   string // base 32
}

var errExpired = &Error{Kind: Conflict, Msg: "This registration has ended: it took over 15 minutes, or five codes were wrong. Nothing was stored. Start again."}

// Pending returns what the enrolment page shows. It is a Conflict once the registration has ended.
func (s *Store) Pending(ctx context.Context, id ID) (Pending, error) {
	row, profile, secret, err := s.pending(s.read.WithContext(ctx), id)
	if err != nil {
		return Pending{}, err
	}
	if row.Attempts >= registrationAttempts {
		return Pending{}, errExpired
	}
	return Pending{Username: profile.Username, Secret: otpText.EncodeToString(secret)}, nil
}

func (s *Store) pending(db *gorm.DB, id ID) (row registrationRow, profile sealedProfile, secret []byte, err error) {
	err = db.Take(&row, "id = ? AND expires_ms > ?", id, s.now()).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return row, profile, nil, errExpired
	}
	if err != nil {
		return row, profile, nil, err
	}
	if secret, err = s.service.OpenTOTP(id, row.TOTP); err != nil {
		return row, profile, nil, errExpired
	}
	profile, err = s.openProfile(id, firstRevision, row.Profile)
	if err != nil {
		return row, profile, nil, errExpired
	}
	return row, profile, secret, nil
}

// Confirm turns a registration into a user when the code is right, and returns ten recovery
// codes that are shown once. A wrong code is Invalid; the fifth ends the registration.
func (s *Store) Confirm(ctx context.Context, id ID, code string) (User, []string, error) {
	var user User
	codes := make([]string, recoveryCount)
	var wrong error
	err := s.write.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		row, profile, secret, err := s.pending(tx, id)
		if err != nil {
			return err
		}
		step, ok := matchStep(secret, spaceless(code), s.o.Now(), 0)
		if !ok {
			wrong = s.wrongCode(tx, row)
			return nil // the count of attempts must hold
		}
		if row.Token != nil {
			used := tx.Exec("UPDATE tokens SET used_ms = ? WHERE hash = ? AND used_ms IS NULL", s.now(), row.Token)
			if used.Error != nil {
				return used.Error
			}
			if used.RowsAffected != 1 {
				return errBadToken
			}
		}
		err = tx.Create(&userRow{
			ID: id, UsernameIndex: row.UsernameIndex, EmailIndex: row.EmailIndex, Profile: row.Profile, Revision: firstRevision,
			Password: row.Password, TOTP: row.TOTP, TOTPLastStep: step, CreatedMS: s.now(),
		}).Error
		if err != nil {
			return err
		}
		for i := range codes {
			plain := newSymbols(recoveryLength)
			codes[i] = group(plain, 6)
			if err := tx.Exec("INSERT INTO recovery_codes (user_id, hash) VALUES (?, ?)", id, s.service.RecoveryHash(id, plain)).Error; err != nil {
				return err
			}
		}
		user = profile.user(id)
		return tx.Delete(&registrationRow{}, "id = ?", id).Error
	})
	if err = errors.Join(err, wrong); err != nil {
		return User{}, nil, err
	}
	return user, codes, nil
}

func (s *Store) wrongCode(tx *gorm.DB, row registrationRow) error {
	if row.Attempts+1 >= registrationAttempts {
		return errors.Join(tx.Delete(&registrationRow{}, "id = ?", row.ID).Error, errExpired)
	}
	err := tx.Model(&registrationRow{}).Where("id = ?", row.ID).Update("attempts", row.Attempts+1).Error
	return errors.Join(err, invalid("code", "This code does not fit. Check that the time of your phone is right and type the newest code."))
}

var errSignIn = &Error{Kind: Invalid, Msg: "User name, password and code do not fit together. Check all three; each code works once, so wait for the next one."}

// Authenticate checks the user name, the password and a code, all together: whichever is wrong,
// the answer is the same, after the same work. The code is a current one of the authenticator,
// or a recovery code, which is used up and reported, because it is good for a new enrolment only.
func (s *Store) Authenticate(ctx context.Context, username, password, code string) (user User, recovery bool, err error) {
	username = strings.ToLower(strings.TrimSpace(username))
	var row userRow
	err = s.read.WithContext(ctx).Take(&row, "username_index = ?", s.service.Index("username", username)).Error
	known := err == nil
	if err != nil && !errors.Is(err, gorm.ErrRecordNotFound) {
		return User{}, false, err
	}
	right, err := s.passwordFits(ctx, row, known, password)
	if err != nil {
		return User{}, false, busy(err)
	}
	secret, err := s.service.OpenTOTP(row.ID, row.TOTP)
	if err != nil {
		secret = make([]byte, otpSecretSize) // the same work for somebody unknown; known fails below
		known = false
	}
	step, fits := matchStep(secret, spaceless(code), s.o.Now(), row.TOTPLastStep)
	spare, err := s.spareCode(ctx, row.ID, code)
	if err != nil {
		return User{}, false, err
	}
	profile, profileErr := s.openProfile(row.ID, row.Revision, row.Profile)
	if !known || !right || row.DisabledMS != nil || profileErr != nil || profile.Username != username || !fits && spare == nil {
		s.o.Log.Warn("sign-in refused", "known", known, "password", right && known)
		return User{}, false, errSignIn
	}
	if !fits {
		err = s.useUp("DELETE FROM recovery_codes WHERE user_id = ? AND hash = ?", row.ID, spare)
	} else {
		err = s.acceptStep(row.ID, step)
	}
	if err != nil {
		return User{}, false, err
	}
	if err := s.rehash(ctx, row, password); err != nil {
		s.o.Log.Error("a password could not be hashed with today's parameters", "error", err)
	}
	return profile.user(row.ID), !fits, nil
}

func (s *Store) passwordFits(ctx context.Context, row userRow, known bool, password string) (bool, error) {
	if len(password) > 512 || !utf8.ValidString(password) {
		password, known = "", false // nobody has such a password; the work stays the same
	}
	if known {
		if phc, err := s.service.OpenPassword(row.ID, row.Password); err == nil {
			return s.hasher.verify(ctx, string(phc), normalPassword(password))
		}
	}
	return false, s.hasher.verifyNobody(ctx, normalPassword(password))
}

// spareCode returns the stored hash of a recovery code of the user, nil when it is none.
func (s *Store) spareCode(ctx context.Context, user ID, code string) (found []byte, err error) {
	err = s.read.WithContext(ctx).Raw("SELECT hash FROM recovery_codes WHERE user_id = ? AND hash = ?",
		user, s.service.RecoveryHash(user, normalSymbols(code))).Row().Scan(&found)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return found, err
}

// acceptStep uses a code up: of two sign-ins with the same code, exactly one gets through.
func (s *Store) acceptStep(user ID, step int64) error {
	return s.useUp("UPDATE users SET totp_last_step = ? WHERE id = ? AND totp_last_step < ?", step, user, step)
}

// useUp runs a statement that must change exactly one row. It does not stop when the person
// goes away, since the code has been seen.
func (s *Store) useUp(statement string, args ...any) error {
	result := s.write.Exec(statement, args...)
	if result.Error == nil && result.RowsAffected != 1 {
		return errSignIn
	}
	return result.Error
}

func (s *Store) rehash(ctx context.Context, row userRow, password string) error {
	phc, err := s.service.OpenPassword(row.ID, row.Password)
	if err != nil || !s.hasher.stale(string(phc)) {
		return err
	}
	fresh, err := s.hasher.hash(ctx, normalPassword(password))
	if err != nil {
		return err
	}
	return s.write.WithContext(ctx).Model(&userRow{}).Where("id = ? AND password = ?", row.ID, row.Password).
		Update("password", s.service.SealPassword(row.ID, []byte(fresh))).Error
}

// Enrol gives the user a new TOTP secret (base 32) once a code of it has been seen, ends all
// other sessions and returns how many recovery codes are left.
func (s *Store) Enrol(ctx context.Context, user ID, secret, code string, keep [32]byte) (left int, err error) {
	raw, err := otpText.DecodeString(secret)
	if err != nil {
		return 0, err
	}
	step, ok := matchStep(raw, spaceless(code), s.o.Now(), 0)
	if !ok {
		return 0, invalid("code", "This code does not fit. Check that the time of your phone is right and type the newest code.")
	}
	err = s.write.WithContext(ctx).Model(&userRow{}).Where("id = ?", user).
		Updates(map[string]any{"totp": s.service.SealTOTP(user, raw), "totp_last_step": step}).Error
	if err != nil {
		return 0, err
	}
	if err := s.RevokeOthers(ctx, user, keep); err != nil {
		return 0, err
	}
	s.o.Log.Info("a new authenticator was enrolled with a recovery code", "user", user.String())
	err = s.read.WithContext(ctx).Raw("SELECT count(*) FROM recovery_codes WHERE user_id = ?", user).Scan(&left).Error
	return left, err
}

// User returns a user who may use the server. It is SignedOut for one who is gone or disabled,
// or whose row is not what this program wrote.
func (s *Store) User(ctx context.Context, id ID) (User, error) {
	var row userRow
	err := s.read.WithContext(ctx).Take(&row, "id = ? AND disabled_ms IS NULL", id).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return User{}, errSignedOut
	}
	if err != nil {
		return User{}, err
	}
	profile, err := s.openProfile(id, row.Revision, row.Profile)
	if err != nil {
		s.o.Log.Error("a profile failed its integrity check", "user", id.String())
		return User{}, errSignedOut
	}
	return profile.user(id), nil
}

var errSignedOut = &Error{Kind: SignedOut, Msg: "Log in first."}

func (p sealedProfile) user(id ID) User {
	return User{Profile: Profile{ID: id, Username: p.Username, FullName: p.FullName}, Email: p.Email, Admin: p.Admin}
}

func (s *Store) openProfile(id ID, revision uint32, sealed []byte) (p sealedProfile, err error) {
	plain, err := s.service.OpenProfile(id, revision, sealed)
	if err != nil {
		return p, err
	}
	return p, json.Unmarshal(plain, &p)
}

// profiles reads the names of people, each once.
type profiles struct {
	s     *Store
	ctx   context.Context // of the one call that this value lives in
	db    gorm.ConnPool
	known map[ID]Profile
}

func (s *Store) profiles(ctx context.Context, db gorm.ConnPool) *profiles {
	return &profiles{s, ctx, db, map[ID]Profile{}}
}

// get returns a person's name. A profile that fails verification has a neutral name: the wrong
// name must never stand beside a message.
func (p *profiles) get(id ID) (Profile, error) {
	if known, ok := p.known[id]; ok {
		return known, nil
	}
	var sealed []byte
	var revision uint32
	profile := Profile{ID: id, Username: "unknown", FullName: "Unknown person"}
	err := p.db.QueryRowContext(p.ctx, "SELECT profile, revision FROM users WHERE id = ?", id).Scan(&sealed, &revision)
	if err = noRow(err, errNotFound); err != nil && KindOf(err) != NotFound {
		return profile, err
	}
	if opened, err := p.s.openProfile(id, revision, sealed); err == nil {
		profile = opened.user(id).Profile
	} else {
		p.s.o.Log.LogAttrs(p.ctx, slog.LevelError, "a profile failed its integrity check", slog.String("user", id.String()))
	}
	p.known[id] = profile
	return profile, nil
}

// spaceless takes the spaces out of a code: authenticators show "123 456".
func spaceless(code string) string {
	return strings.Join(strings.Fields(code), "")
}

func busy(err error) error {
	if errors.Is(err, errBusy) {
		return &Error{Kind: Busy, Msg: "Too many people are signing in at this moment. Wait a few seconds and send the form again.", Wait: 2 * time.Second}
	}
	return err
}
