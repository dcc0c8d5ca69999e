package models

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"strings"

	"gorm.io/gorm"

	"conclave/models/cipher"
)

// An account has revisions. Whatever changes about it, its profile is sealed anew under the next
// one and vouches for all that signs the person in: the password, the second factors, the
// recovery codes. The audit log records the revision and so vouches for the profile. Thus nobody
// who can write the database but has no key brings an old password, a lost phone, a used code or
// a right that was taken away back.

// account is a user's row, opened. Credentials in tables of their own (recovery codes, passkeys)
// are changed beside it, in the same act.
type account struct {
	row     userRow
	profile sealedProfile

	codesStand, passkeysStand bool // those tables hold what the profile vouches for
}

// disabled reports whether the person may not sign in. The sealed profile says so; the column is
// for queries, and clearing it does not help.
func (a *account) disabled() bool { return a.row.DisabledMS != nil || a.profile.DisabledMS > 0 }

// vouched are digests of what signs a person in.
type vouched struct {
	Keys     string `json:"keys"`     // the tags of the password's and the TOTP secret's envelopes
	Passkeys string `json:"passkeys"` // those of the passkeys'
	Codes    string `json:"codes"`    // the hashes of the recovery codes that are left
}

// change gives an account its next revision: f changes it, event ("password" of "account.password")
// says what was done. It is NotFound for somebody who is gone or whose row is not what was written.
func (t *act) change(by By, user ID, event string, f func(*account) error) error {
	db := t.db.Statement.ConnPool
	var row userRow
	if err := t.db.Take(&row, "id = ?", user).Error; errors.Is(err, gorm.ErrRecordNotFound) {
		return errNotFound
	} else if err != nil {
		return err
	}
	a, err := t.s.openAccount(t.ctx, db, row)
	if errors.Is(err, cipher.ErrAuth) || err == nil && a.profile.Gone {
		return errNotFound
	}
	if err != nil {
		return err
	}
	if err := t.dropUnvouched(a); err != nil {
		return err
	}
	if err := f(&a); err != nil {
		return err
	}
	a.row.Revision++
	if err := t.s.vouch(t.ctx, db, &a); err != nil {
		return err
	}
	result := t.db.Model(&userRow{}).Where("id = ? AND revision = ?", user, row.Revision).
		Select("UsernameIndex", "EmailIndex", "Profile", "Revision", "Password", "TOTP", "TOTPLastStep", "DisabledMS").Updates(&a.row)
	if result.Error != nil {
		return result.Error
	}
	if result.RowsAffected != 1 {
		return errNotFound
	}
	return t.audit(by.audit(eventAccount+event, accountObject(user, a.row.Revision), "done"))
}

// unmoved checks that an account has the revision that something was judged by. errMoved: it was
// changed meanwhile.
func (t *act) unmoved(user ID, revision uint32) error {
	var now uint32
	err := t.db.Statement.ConnPool.QueryRowContext(t.ctx, "SELECT revision FROM users WHERE id = ?", user).Scan(&now)
	if errors.Is(err, sql.ErrNoRows) || err == nil && now != revision {
		return errMoved
	}
	return err
}

// dropUnvouched deletes recovery codes and passkeys that the profile does not vouch for, before
// its next revision would: somebody else has put them there, and none of them counts.
func (t *act) dropUnvouched(a account) error {
	if !a.codesStand {
		if _, err := t.exec("DELETE FROM recovery_codes WHERE user_id = ?", a.row.ID); err != nil {
			return err
		}
	}
	if !a.passkeysStand {
		if _, err := t.exec("DELETE FROM passkeys WHERE user_id = ?", a.row.ID); err != nil {
			return err
		}
	}
	return nil
}

// vouch seals an account's profile for its revision, and what signs the person in with it.
func (s *Store) vouch(ctx context.Context, db gorm.ConnPool, a *account) error {
	var err error
	if a.profile.Vouched, err = vouchedFor(ctx, db, a.row); err != nil {
		return err
	}
	plain, err := json.Marshal(a.profile)
	if err != nil {
		return err
	}
	a.row.Profile = s.service.SealProfile(a.row.ID, a.row.Revision, plain)
	a.row.UsernameIndex, a.row.EmailIndex = s.indices(a.row.ID, a.profile)
	a.row.DisabledMS = nil
	if a.profile.DisabledMS > 0 {
		a.row.DisabledMS = &a.profile.DisabledMS
	}
	return nil
}

// indices are what a person is found by. Those of somebody who is gone lead nobody to the row,
// and leave name and address to others.
func (s *Store) indices(id ID, p sealedProfile) (username, email []byte) {
	if p.Gone {
		return s.service.Index("gone", id.String()), s.service.Index("gone", id.String())
	}
	return s.service.Index("username", p.Username), s.service.Index("email", strings.ToLower(p.Email))
}

// readAccount reads and opens what signs a person in, like openAccount; absent is the error of there being
// nobody of that id.
func (s *Store) readAccount(ctx context.Context, db gorm.ConnPool, user ID, absent *Error) (account, error) {
	var username, email, profile, password, secret blob
	var revision, step, disabled number
	err := noRow(db.QueryRowContext(ctx, "SELECT username_index, email_index, profile, revision, password, totp, totp_last_step, disabled_ms FROM users WHERE id = ?", user).
		Scan(&username, &email, &profile, &revision, &password, &secret, &step, &disabled), absent)
	if err != nil {
		return account{}, err
	}
	if !revision.within(math.MaxUint32) {
		return account{}, cipher.ErrAuth
	}
	row := userRow{ID: user, UsernameIndex: username, EmailIndex: email, Profile: profile, Revision: uint32(revision), Password: password, TOTP: secret, TOTPLastStep: int64(step)}
	if disabled != noNumber {
		row.DisabledMS = (*int64)(&disabled)
	}
	return s.openAccount(ctx, db, row)
}

// openAccount opens a row and checks that its profile is the latest one and vouches for the
// password and the TOTP secret that stand beside it. cipher.ErrAuth means that somebody else has
// written there, or put something old back; errMoved: read again. Row and tables must be read at
// one moment.
func (s *Store) openAccount(ctx context.Context, db gorm.ConnPool, row userRow) (account, error) {
	a := account{row: row}
	var err error
	if a.profile, err = s.openProfile(row.ID, row.Revision, row.Profile); err != nil {
		return a, err
	}
	if err := s.ledger.account(row.ID, row.Revision, since(db)); err != nil {
		return a, err
	}
	if a.profile.Vouched == (vouched{}) { // of an account from before there were revisions
		a.codesStand, a.passkeysStand = true, true
		return a, nil
	}
	now, err := vouchedFor(ctx, db, row)
	if err != nil {
		return a, err
	}
	a.codesStand, a.passkeysStand = now.Codes == a.profile.Vouched.Codes, now.Passkeys == a.profile.Vouched.Passkeys
	if now.Keys != a.profile.Vouched.Keys {
		return a, cipher.ErrAuth
	}
	return a, nil
}

func vouchedFor(ctx context.Context, db gorm.ConnPool, row userRow) (v vouched, err error) {
	password, secret := cipher.Tag(row.Password), cipher.Tag(row.TOTP)
	v.Keys = shortDigest(password[:], secret[:])
	passkeys, err := column[blob](ctx, db, "SELECT substr(credential, -32) FROM passkeys WHERE user_id = ? ORDER BY 1", row.ID)
	if err != nil {
		return v, err
	}
	codes, err := column[blob](ctx, db, "SELECT hash FROM recovery_codes WHERE user_id = ? ORDER BY 1", row.ID)
	v.Passkeys, v.Codes = shortDigest(passkeys...), shortDigest(codes...)
	return v, err
}

// shortDigest is the first half of a SHA-256 over parts of 32 bytes each.
func shortDigest(parts ...blob) string {
	sum := sha256.New()
	for _, p := range parts {
		sum.Write(p)
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}
