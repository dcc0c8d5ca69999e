package models

import (
	"context"
	"errors"
	"time"

	"gorm.io/gorm"

	"conclave/models/cipher"
)

// A lost password is replaced through a link that whoever runs the server makes and hands over:
// once, within half an hour. It is good for the password alone: the next sign-in asks for the second
// factor as ever, from a browser that is a stranger to the account. The link is bound to the revision
// of the account, so a newer link, or any other change of the account, ends it.

const resetLife = 30 * time.Minute

var errBadReset = &Error{Kind: Invalid, Field: "token", Msg: "This link has been used, was replaced by a newer one or has run out. Ask whoever runs this server for another."}

// ResetToken makes the token (256 bits) of a link with which somebody sets a new password. It is
// a Conflict for somebody who is disabled.
func (s *Store) ResetToken(ctx context.Context, by By, user ID) (text string, err error) {
	err = s.operate(ctx, by, user, "reset-link", func(t *act, a *account) error {
		if a.disabled() {
			return conflict("%s is disabled and could not log in with a new password. Enable the account first.", a.profile.Username)
		}
		if _, err := t.exec("DELETE FROM tokens WHERE purpose = ? AND user_id = ?", string(forReset), user); err != nil {
			return err
		}
		terms := token{purpose: forReset, user: user, creator: by.User, most: 1, revision: a.row.Revision + 1}
		text, _, err = t.newToken(terms, 32, resetLife)
		return err
	})
	return text, err
}

// ResetPassword sets a new password with the token of such a link, ends all sessions of the account,
// and makes every browser a stranger to it. Whatever is wrong with the token, it is Invalid in the same
// words, and Limited where an address has tried too many.
func (s *Store) ResetPassword(ctx context.Context, by By, text, password string) error {
	if err := s.ledger.wait(ctx); err != nil {
		return err
	}
	counters := s.addressCounters("reset", by.Address)
	if err := s.begin(ctx, counters); err != nil {
		return err
	}
	defer s.throttle.end(counters)
	err := s.resetPassword(ctx, by, text, password)
	if errors.Is(err, errBadReset) {
		if uncounted := s.countFailure(ctx, counters); uncounted != nil {
			return uncounted
		}
	}
	return err
}

func (s *Store) resetPassword(ctx context.Context, by By, text, password string) error {
	var a account
	err := s.snapshot(ctx, func(db gorm.ConnPool) (err error) {
		_, a, err = s.resettable(ctx, db, text)
		return err
	})
	if err != nil {
		return err
	}
	if err := checkPassword(password, a.profile.Username, a.profile.FullName, a.profile.Email, s.o.AppHost); err != nil {
		return err
	}
	phc, err := s.hasher.hash(ctx, normalPassword(password))
	if err != nil {
		return busy(err)
	}
	return s.act(ctx, func(t *act) error {
		used, a, err := s.resettable(ctx, t.db.Statement.ConnPool, text) // of two with one link, the second comes too late
		if err != nil {
			return err
		}
		user := a.row.ID
		by.User = user
		if err := t.spend(by, used); err != nil {
			return err
		}
		err = t.change(by, user, "reset", func(a *account) error {
			a.row.Password = s.service.SealPassword(user, []byte(phc))
			if _, err := t.unlock(user); err != nil {
				return err
			}
			return t.forgetDevices(user)
		})
		if err != nil {
			return err
		}
		return t.revoke(by, "a new password", "user_id = ?", user)
	})
}

// resettable finds the token of a link and the account that it is for.
func (s *Store) resettable(ctx context.Context, db gorm.ConnPool, text string) (token, account, error) {
	found, err := s.token(ctx, db, forReset, text)
	if err != nil {
		return found, account{}, err
	}
	a, err := s.readAccount(ctx, db, found.user, errBadReset)
	if errors.Is(err, cipher.ErrAuth) {
		return found, a, errBadReset
	}
	if err != nil {
		return found, a, err
	}
	if found.revision = a.row.Revision; s.left(found) == 0 || a.disabled() {
		return found, a, errBadReset
	}
	return found, a, nil
}
