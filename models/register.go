package models

import (
	"context"
	"encoding/json"
	"errors"
	"net/mail"
	"regexp"
	"strings"
	"time"

	"gorm.io/gorm"
)

// A registration has two steps. The first reserves name and address for a quarter of an hour;
// only the second, a code of the new authenticator, makes a user of it. Until then it can do
// nothing and appears nowhere.

// registrationRow is a row of registrations. Its envelopes are sealed for the user it will become.
type registrationRow struct {
	ID            ID `gorm:"primaryKey"`
	UsernameIndex []byte
	EmailIndex    []byte
	Profile       []byte
	Password      []byte
	TOTP          []byte `gorm:"column:totp"`
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

// sealedRegistration is what stands in the envelope of a registration's profile. It is no
// profile, so that the row of somebody who has not confirmed a code is none of a user.
type sealedRegistration struct {
	Account sealedProfile `json:"account"`
	Token   string        `json:"token,omitempty"` // what it came with, by its handle
}

var usernameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9_.-]{2,31}$`)

// Registration is the form of the first step.
type Registration struct {
	Username, FullName, Email, Password string
	Token                               string // of the set-up link or an invitation; empty for none
	Replaces                            ID     // an earlier attempt of the same browser, which is given up
	Address                             string // where the form came from; empty: nobody counts
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
// until Confirm has seen a code and used the token up. A set-up token makes the new user the
// administrator; an invitation never does. It is Limited where an address has begun too many.
func (s *Store) Register(ctx context.Context, r Registration) (ID, error) {
	if err := s.countEach(ctx, s.registrationCounters(r.Address)); err != nil {
		return ID{}, err
	}
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
		if err := s.ledger.wait(ctx); err != nil {
			return ID{}, err
		}
	}
	// Looked at before the hashing, which is slow, and again together with the insertion.
	admitted, err := s.vacant(s.read.WithContext(ctx), row, r)
	if err != nil {
		return ID{}, err
	}
	phc, err := s.hasher.hash(ctx, normalPassword(r.Password))
	if err != nil {
		return ID{}, busy(err)
	}
	sealed := sealedRegistration{Account: sealedProfile{Username: r.Username, FullName: r.FullName, Email: r.Email}}
	if r.Token != "" {
		sealed.Token = handleOf(admitted.hash[:])
	}
	profile, err := json.Marshal(sealed)
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
		if _, err := s.vacant(tx, row, r); err != nil {
			return err
		}
		return tx.Create(&row).Error
	})
	return row.ID, err
}

// vacant checks that nobody has, or has reserved, the name and the address, and finds the token.
func (s *Store) vacant(db *gorm.DB, row registrationRow, r Registration) (admitted token, err error) {
	var faults Errors
	for _, c := range []struct {
		column string
		index  []byte
		taken  *Error
	}{
		{"username_index", row.UsernameIndex, invalid("username", "This user name is taken. Choose another.")},
		{"email_index", row.EmailIndex, errEmailTaken},
	} {
		var users, pending int64
		if err := db.Model(&userRow{}).Where(c.column+" = ?", c.index).Count(&users).Error; err != nil {
			return admitted, err
		}
		err := db.Model(&registrationRow{}).Where(c.column+" = ? AND expires_ms > ? AND id <> ?", c.index, s.now(), r.Replaces).Count(&pending).Error
		if err != nil {
			return admitted, err
		}
		if users+pending > 0 {
			faults = append(faults, c.taken)
		}
	}
	if r.Token != "" {
		admitted, err = s.admission(db.Statement.Context, db.Statement.ConnPool, r.Token)
		if KindOf(err) == Invalid {
			faults = append(faults, errBadToken)
		} else if err != nil {
			return admitted, err
		}
	}
	if len(faults) > 0 {
		return admitted, faults
	}
	return admitted, nil
}

// Pending is a registration that waits for its first code.
type Pending struct {
	Username string
	Secret   string // base 32
	Invited  bool   // it came with a token
}

var errExpired = &Error{Kind: Conflict, Msg: "This registration has ended: it took over 15 minutes, or five codes were wrong. Nothing was stored. Start again."}

// Pending returns what the enrolment page shows. It is a Conflict once the registration has ended.
func (s *Store) Pending(ctx context.Context, id ID) (Pending, error) {
	row, sealed, secret, err := s.pending(s.read.WithContext(ctx), id)
	if err != nil {
		return Pending{}, err
	}
	if row.Attempts >= registrationAttempts {
		return Pending{}, errExpired
	}
	return Pending{Username: sealed.Account.Username, Secret: otpText.EncodeToString(secret), Invited: sealed.Token != ""}, nil
}

func (s *Store) pending(db *gorm.DB, id ID) (row registrationRow, sealed sealedRegistration, secret []byte, err error) {
	err = db.Take(&row, "id = ? AND expires_ms > ?", id, s.now()).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return row, sealed, nil, errExpired
	}
	if err != nil {
		return row, sealed, nil, err
	}
	if secret, err = s.service.OpenTOTP(id, row.TOTP); err != nil {
		return row, sealed, nil, errExpired
	}
	plain, err := s.service.OpenProfile(id, firstRevision, row.Profile)
	if err != nil || json.Unmarshal(plain, &sealed) != nil || sealed.Account.Username == "" {
		return row, sealed, nil, errExpired
	}
	return row, sealed, secret, nil
}

// Confirm turns a registration into a user when the code is right, and returns ten recovery
// codes that are shown once. A wrong code is Invalid; the fifth ends the registration. It is a
// Conflict when that has happened, or when the token was used up meanwhile.
func (s *Store) Confirm(ctx context.Context, by By, id ID, code string) (User, []string, error) {
	if err := s.ledger.wait(ctx); err != nil {
		return User{}, nil, err
	}
	var user User
	var codes []string
	var wrong error
	err := s.act(ctx, func(t *act) error {
		tx := t.db
		row, sealed, secret, err := s.pending(tx, id)
		if err != nil {
			return err
		}
		step, ok := matchStep(secret, spaceless(code), s.o.Now(), 0)
		if !ok {
			wrong = s.wrongCode(tx, row)
			return nil // the count of attempts must hold
		}
		by.User = id
		profile := sealed.Account
		if sealed.Token != "" {
			admitted, err := t.redeem(by, sealed.Token)
			if KindOf(err) == Conflict {
				wrong = err
				return tx.Delete(&registrationRow{}, "id = ?", id).Error // its name is free again
			}
			if err != nil {
				return err
			}
			profile.Admin = admitted.purpose == forSetup
		}
		a := account{profile: profile, row: userRow{
			ID: id, Revision: firstRevision, Password: row.Password, TOTP: row.TOTP, TOTPLastStep: step, CreatedMS: t.now,
			Profile: row.Profile, UsernameIndex: row.UsernameIndex, EmailIndex: row.EmailIndex,
		}}
		if err := tx.Create(&a.row).Error; err != nil {
			return err
		}
		if codes, err = t.newCodes(id); err != nil {
			return err
		}
		if err := s.vouch(ctx, tx.Statement.ConnPool, &a); err != nil {
			return err
		}
		if err := tx.Model(&userRow{}).Where("id = ?", id).Update("profile", a.row.Profile).Error; err != nil {
			return err
		}
		if err := t.audit(by.audit(eventAccount+"register", accountObject(id, firstRevision), "done")); err != nil {
			return err
		}
		user = profile.user(id)
		user.revision = firstRevision
		return tx.Delete(&registrationRow{}, "id = ?", id).Error
	})
	if err = errors.Join(err, wrong); err != nil {
		return User{}, nil, err
	}
	return user, codes, nil
}

// newCodes gives a user ten recovery codes in place of those that are left.
func (t *act) newCodes(user ID) ([]string, error) {
	if _, err := t.exec("DELETE FROM recovery_codes WHERE user_id = ?", user); err != nil {
		return nil, err
	}
	codes := make([]string, recoveryCount)
	for i := range codes {
		plain := newSymbols(recoveryLength)
		codes[i] = group(plain, 6)
		if _, err := t.exec("INSERT INTO recovery_codes (user_id, hash) VALUES (?, ?)", user, t.s.service.RecoveryHash(user, plain)); err != nil {
			return nil, err
		}
	}
	return codes, nil
}

func (s *Store) wrongCode(tx *gorm.DB, row registrationRow) error {
	if row.Attempts+1 >= registrationAttempts {
		return errors.Join(tx.Delete(&registrationRow{}, "id = ?", row.ID).Error, errExpired)
	}
	err := tx.Model(&registrationRow{}).Where("id = ?", row.ID).Update("attempts", row.Attempts+1).Error
	return errors.Join(err, errWrongCode)
}

var errWrongCode = invalid("code", "This code does not fit. Check that the time of your phone is right and type the newest code.")
