package models

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"time"

	"gorm.io/gorm"

	"conclave/models/cipher"
	"conclave/models/feed"
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

	ShowsTyping bool // others are told while this person is writing

	LoginAt   time.Time // the latest sign-in; zero when there was none
	LoginFrom string    // its address

	revision uint32 // of the account, when this was read
}

// sealedProfile is what stands in a profile's envelope (kind 09).
type sealedProfile struct {
	Username string `json:"username"`
	FullName string `json:"full_name"`
	Email    string `json:"email"`
	Admin    bool   `json:"admin,omitempty"`

	DisabledMS int64   `json:"disabled_ms,omitempty"` // since when the person may not sign in
	Vouched    vouched `json:"vouched,omitzero"`

	Gone bool `json:"gone,omitempty"` // the person has deleted the account: nothing else is left of it
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

// Reauthenticate checks password and second factor of somebody who is signed in, before something
// that a stolen session must not do. The code is used up; a recovery code is none here.
func (s *Store) Reauthenticate(ctx context.Context, by By, password, code string, passkey Answer) error {
	user := by.User
	row, whole, err := s.ownRow(ctx, user)
	if err != nil {
		return err
	}
	guard := s.sudoCounter(user)
	if err := s.begin(ctx, guard); err != nil {
		return err
	}
	defer s.throttle.end(guard)
	right, err := s.passwordFits(ctx, row, whole, password)
	if err != nil {
		return busy(err)
	}
	outcome := "refused"
	defer func() { s.confirmed(by, guard, outcome) }()
	secret, err := s.service.OpenTOTP(row.ID, row.TOTP)
	if err != nil {
		return errReauthenticate
	}
	step, fits := matchStep(secret, spaceless(code), s.o.Now(), row.TOTPLastStep)
	key, err := s.signed(ctx, by, passkey)
	if err != nil {
		return err
	}
	if !right || !fits && key == nil {
		return errReauthenticate
	}
	err = s.act(context.WithoutCancel(ctx), func(t *act) error {
		if err := t.unmoved(user, row.Revision); err != nil {
			return err // the password may be another one since it was compared
		}
		if fits {
			return t.acceptStep(user, step)
		}
		return t.acceptSignature(user, key)
	})
	if err != nil {
		return errReauthenticate
	}
	outcome = "done"
	return nil
}

var errReauthenticate = &Error{Kind: Invalid, Msg: "Password and code or passkey do not fit together. Check both; each code works once, so wait for the next one."}

// ownRow reads the row of somebody who is signed in, and whether it is what was written. SignedOut
// for somebody who is gone or disabled.
func (s *Store) ownRow(ctx context.Context, user ID) (row userRow, whole bool, err error) {
	var a account
	err = s.snapshot(ctx, func(db gorm.ConnPool) (err error) {
		if a, err = s.readAccount(ctx, db, user, errSignedOut); err == nil && a.disabled() {
			err = errSignedOut
		}
		return err
	})
	if errors.Is(err, cipher.ErrAuth) {
		s.alarmOn(faultProfile, user.String())
		return a.row, false, nil
	}
	return a.row, err == nil, err
}

// rehash stores a password that was right under today's parameters, unless the account has changed
// since it was compared (errMoved). It returns the account's revision.
func (s *Store) rehash(ctx context.Context, by By, row userRow, revision uint32, password string) (uint32, error) {
	phc, err := s.service.OpenPassword(row.ID, row.Password)
	if err != nil || !s.hasher.stale(string(phc)) {
		return revision, err
	}
	fresh, err := s.hasher.hash(ctx, normalPassword(password))
	if err != nil {
		return revision, err
	}
	err = s.act(ctx, func(t *act) error {
		return t.change(by, row.ID, "rehash", func(a *account) error {
			if a.row.Revision != revision {
				return errMoved
			}
			a.row.Password = s.service.SealPassword(row.ID, []byte(fresh))
			return nil
		})
	})
	if err == nil {
		revision++
	}
	return revision, err
}

// Enrol gives the doer a new TOTP secret (base 32) once a code of it has been seen, ends all
// other sessions and returns the doer as of then, and how many recovery codes are left.
func (s *Store) Enrol(ctx context.Context, by By, secret, code string) (now User, left int, err error) {
	user := by.User
	raw, err := otpText.DecodeString(secret)
	if err != nil {
		return now, 0, err
	}
	step, ok := matchStep(raw, spaceless(code), s.o.Now(), 0)
	if !ok {
		return now, 0, errWrongCode
	}
	err = s.operate(ctx, by, user, "totp", func(t *act, a *account) error {
		a.row.TOTP, a.row.TOTPLastStep = s.service.SealTOTP(user, raw), step
		now = a.profile.user(user)
		now.revision = a.row.Revision + 1
		if err := t.revokeOthers(by, "a new second factor"); err != nil {
			return err
		}
		return t.db.Raw("SELECT count(*) FROM recovery_codes WHERE user_id = ?", user).Scan(&left).Error
	})
	return now, left, err
}

// User returns a user who may use the server. It is SignedOut for one who is gone or disabled,
// or whose row is not what this program wrote.
func (s *Store) User(ctx context.Context, id ID) (User, error) {
	return recall(ctx, s, s.shelves.users, id, func() (User, error) { return s.readUser(ctx, id) })
}

func (s *Store) readUser(ctx context.Context, id ID) (User, error) {
	var profile sealedProfile
	var sealed blob
	var revision, showsTyping, loginMS number
	var loginFrom string
	if err := s.ledger.wait(ctx); err != nil {
		return User{}, err
	}
	err := s.snapshot(ctx, func(db gorm.ConnPool) error {
		err := noRow(db.QueryRowContext(ctx, "SELECT profile, revision, shows_typing, login_ms, CAST(login_address AS TEXT) FROM users WHERE id = ? AND disabled_ms IS NULL", id).
			Scan(&sealed, &revision, &showsTyping, &loginMS, &loginFrom), errSignedOut)
		if err == nil {
			profile, err = s.latestProfile(db, id, revision, sealed)
		}
		return err
	})
	if errors.Is(err, cipher.ErrAuth) {
		s.alarmOn(faultProfile, id.String())
	}
	if errors.Is(err, cipher.ErrAuth) || err == nil && profile.DisabledMS > 0 {
		return User{}, errSignedOut
	}
	if err != nil {
		return User{}, err
	}
	user := profile.user(id)
	user.revision = uint32(revision)
	user.ShowsTyping, user.LoginFrom = showsTyping != 0, loginFrom
	if loginMS > 0 {
		user.LoginAt = time.UnixMilli(int64(loginMS))
	}
	return user, nil
}

var errSignedOut = &Error{Kind: SignedOut, Msg: "Log in first."}

func (p sealedProfile) user(id ID) User {
	if p.Gone {
		return User{Profile: former(id)}
	}
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

// Profiles returns the names of people, in the same order.
func (s *Store) Profiles(ctx context.Context, ids []feed.ID) ([]Profile, error) {
	list := make([]Profile, len(ids))
	err := s.snapshot(ctx, func(db gorm.ConnPool) error {
		names := s.profiles(ctx, db)
		for i, id := range ids {
			var err error
			if list[i], err = names.get(id); err != nil {
				return err
			}
		}
		return nil
	})
	return list, err
}

// of reads the names of all members of a room.
func (p *profiles) of(room ID) error {
	rows, err := p.db.QueryContext(p.ctx, "SELECT u.id, u.profile, u.revision FROM memberships m JOIN users u ON u.id = m.user_id WHERE m.room_id = ?", room)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id ID
		var sealed blob
		var revision number
		if err := rows.Scan(&id, &sealed, &revision); err != nil {
			return err
		}
		if _, err := p.open(id, revision, sealed); err != nil {
			return err
		}
	}
	return rows.Err()
}

// get returns a person's name. A profile that fails verification has a neutral name: the wrong
// name must never stand beside a message.
func (p *profiles) get(id ID) (Profile, error) {
	if known, ok := p.known[id]; ok {
		return known, nil
	}
	var sealed blob
	var revision number
	err := p.db.QueryRowContext(p.ctx, "SELECT profile, revision FROM users WHERE id = ?", id).Scan(&sealed, &revision)
	if err = noRow(err, errNotFound); err != nil && KindOf(err) != NotFound {
		return Profile{}, err
	}
	return p.open(id, revision, sealed)
}

// open verifies a profile, unless the same bytes were verified before. errMoved: read again.
func (p *profiles) open(id ID, n number, sealed []byte) (Profile, error) {
	revision := uint32(0) // under which nothing is sealed
	if n.within(math.MaxUint32) {
		revision = uint32(n)
	}
	latest := p.s.ledger.account(id, revision, since(p.db))
	if errors.Is(latest, errMoved) {
		return Profile{}, latest
	}
	kept, ok := p.s.shelves.profiles.get(id)
	if !ok || latest != nil || kept.revision != revision || !bytes.Equal(kept.sealed, sealed) {
		kept = keptProfile{revision, sealed, Profile{ID: id, Username: "unknown", FullName: "Unknown person"}}
		if opened, err := p.s.openProfile(id, revision, sealed); err == nil && latest == nil {
			kept.profile = opened.user(id).Profile
			p.s.shelves.profiles.put(id, kept)
		} else {
			p.s.alarmOn(faultProfile, id.String())
		}
	}
	p.known[id] = kept.profile
	return kept.profile, nil
}

// spaceless takes the spaces out of a code: authenticators show "123 456".
func spaceless(code string) string {
	return strings.Join(strings.Fields(code), "")
}
