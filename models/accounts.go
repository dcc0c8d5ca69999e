package models

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"

	"conclave/models/cipher"
)

// Account is an account as whoever runs the server sees it. What rooms somebody is in and what is
// said there is no part of it; how many they are is.
type Account struct {
	User
	Created   time.Time
	LastLogin time.Time // zero: never
	Disabled  time.Time // zero: not at all
	Sessions  int
	Rooms     int
	Damaged   bool // the account is not what this program wrote, and nobody can sign in to it
}

// Accounts returns everybody's account, in the order of their user names. Deleted ones are none.
func (s *Store) Accounts(ctx context.Context) ([]Account, error) {
	return s.accounts(ctx, "1 = 1")
}

// Account returns somebody's account.
func (s *Store) Account(ctx context.Context, id ID) (Account, error) {
	list, err := s.accounts(ctx, "u.id = ?", id)
	if err == nil && len(list) == 0 {
		err = errNotFound
	}
	if err != nil {
		return Account{}, err
	}
	return list[0], nil
}

func (s *Store) accounts(ctx context.Context, where string, args ...any) (list []Account, err error) {
	seen, signed := s.o.Now().Add(-s.o.SessionIdle).UnixMilli(), s.o.Now().Add(-s.o.SessionLifetime).UnixMilli()
	err = s.snapshot(ctx, func(db gorm.ConnPool) error {
		rows, err := db.QueryContext(ctx, `SELECT u.id, u.profile, u.revision, u.created_ms, u.disabled_ms,
			max(u.login_ms, coalesce((SELECT max(auth_ms) FROM sessions WHERE user_id = u.id), 0)),
			(SELECT count(*) FROM sessions WHERE user_id = u.id AND revoked_ms IS NULL AND seen_ms > ? AND auth_ms > ?),
			(SELECT count(*) FROM memberships WHERE user_id = u.id)
			FROM users u WHERE `+where, append([]any{seen, signed}, args...)...)
		if err != nil {
			return err
		}
		defer rows.Close()
		list = nil
		for rows.Next() {
			var p Account
			var sealed blob
			var revision, created, disabled, login number
			if err := rows.Scan(&p.ID, &sealed, &revision, &created, &disabled, &login, &p.Sessions, &p.Rooms); err != nil {
				return err
			}
			p.Created, p.LastLogin, p.Disabled = moment(created), moment(login), moment(disabled)
			profile, err := s.latestProfile(db, p.ID, revision, sealed)
			if errors.Is(err, errMoved) {
				return err
			}
			if profile.Gone {
				continue
			}
			if p.Damaged = err != nil; p.Damaged {
				p.Profile = Profile{ID: p.ID, Username: "unknown", FullName: "Unknown person"}
			} else {
				p.User = profile.user(p.ID)
				p.Disabled = moment(max(disabled, number(profile.DisabledMS)))
			}
			list = append(list, p)
		}
		return rows.Err()
	})
	slices.SortFunc(list, func(a, b Account) int {
		return cmp.Or(cmp.Compare(a.Username, b.Username), strings.Compare(a.ID.String(), b.ID.String()))
	})
	return list, err
}

// latestProfile opens a profile and checks that the audit log knows of no later one. cipher.ErrAuth means
// that somebody else has written there; errMoved: read again.
func (s *Store) latestProfile(db gorm.ConnPool, user ID, revision number, sealed []byte) (sealedProfile, error) {
	if !revision.within(math.MaxUint32) {
		return sealedProfile{}, cipher.ErrAuth
	}
	p, err := s.openProfile(user, uint32(revision), sealed)
	if err == nil {
		err = s.ledger.account(user, uint32(revision), since(db))
	}
	return p, err
}

// administered reports whether anybody but one person administers the server.
func (s *Store) administered(ctx context.Context, db gorm.ConnPool, but ID) (bool, error) {
	rows, err := db.QueryContext(ctx, "SELECT id, profile, revision FROM users WHERE disabled_ms IS NULL AND id <> ?", but)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	for rows.Next() {
		var id ID
		var sealed blob
		var revision number
		if err := rows.Scan(&id, &sealed, &revision); err != nil {
			return false, err
		}
		if p, err := s.latestProfile(db, id, revision, sealed); err == nil && p.Admin && p.DisabledMS == 0 {
			return true, nil
		}
	}
	return false, rows.Err()
}

// moment is a time of the database; none when that is not above zero.
func moment(ms number) time.Time {
	if ms <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(ms)).UTC()
}
