package models

import (
	"context"
	"errors"

	"gorm.io/gorm"

	"conclave/models/cipher"
)

// What a person changes about what signs the person in. The caller has seen password and code of
// the doer a moment ago. A new TOTP secret is a matter of Enrol.

// ChangePassword gives the doer another password and ends all other sessions. It is Invalid for a
// password that cannot be taken, and Busy when too many are hashed at this moment.
func (s *Store) ChangePassword(ctx context.Context, by By, password string) error {
	user, err := s.User(ctx, by.User)
	if err != nil {
		return err
	}
	if err := checkPassword(password, user.Username, user.FullName, user.Email, s.o.AppHost); err != nil {
		return err
	}
	phc, err := s.hasher.hash(ctx, normalPassword(password))
	if err != nil {
		return busy(err)
	}
	return s.operate(ctx, by, by.User, "password", func(t *act, a *account) error {
		a.row.Password = s.service.SealPassword(by.User, []byte(phc))
		return t.revokeOthers(by, "a new password")
	})
}

// revokeOthers ends all sessions of the doer but the one that asks.
func (t *act) revokeOthers(by By, why string) error {
	return t.revoke(by, why, "user_id = ? AND token_hash <> ?", by.User, by.Session[:])
}

// NewRecoveryCodes gives the doer ten new recovery codes. Those that were left are dead at once.
func (s *Store) NewRecoveryCodes(ctx context.Context, by By) (codes []string, err error) {
	err = s.operate(ctx, by, by.User, "codes", func(t *act, _ *account) (err error) {
		codes, err = t.newCodes(by.User)
		return err
	})
	if err != nil {
		return nil, err // codes were made by a transaction that did not hold
	}
	return codes, nil
}

// RecoveryCodesLeft counts the recovery codes that a person can still use: none, when what stands
// in the database is not what was written.
func (s *Store) RecoveryCodesLeft(ctx context.Context, user ID) (left int, err error) {
	err = s.snapshot(ctx, func(db gorm.ConnPool) error {
		left = 0
		a, err := s.readAccount(ctx, db, user, errSignedOut)
		if errors.Is(err, cipher.ErrAuth) {
			return nil
		}
		if err != nil || !a.codesStand {
			return err
		}
		return db.QueryRowContext(ctx, "SELECT count(*) FROM recovery_codes WHERE user_id = ?", user).Scan(&left)
	})
	return left, err
}
