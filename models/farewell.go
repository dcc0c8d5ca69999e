package models

import (
	"context"
	"errors"
	"math"

	"gorm.io/gorm"

	"conclave/models/cipher"
)

// DeleteAccount takes the doer out of Conclave for good: first out of the rooms, one by one, then,
// in one transaction, whatever the account is. The row stays, empty, since what the person said
// stays in the rooms and must be somebody's; it has a neutral name from then on. With
// removeMessages the person's messages in the rooms that are left are removed as well.
//
// If the server stops on the way, the person can still log in and do it again. It is a Conflict
// for the last administrator while there is anybody else, and for somebody who enters a room meanwhile.
func (s *Store) DeleteAccount(ctx context.Context, by By, removeMessages bool) error {
	if err := s.MayDelete(ctx, by.User); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx) // once begun, it does not depend on a browser that waits
	stuck := map[ID]bool{}
	if err := s.leaveAll(ctx, by, removeMessages, stuck); err != nil {
		return err
	}
	return s.endAccount(ctx, by, stuck)
}

// leaveAll leaves all rooms of the doer's. A room whose log is damaged takes no departure, and
// must not hold anybody back: it is noted as stuck.
func (s *Store) leaveAll(ctx context.Context, by By, removeMessages bool, stuck map[ID]bool) error {
	var rooms []Membership
	err := s.snapshot(ctx, func(db gorm.ConnPool) (err error) {
		rooms, err = s.memberships(ctx, db, "m.user_id = ?", by.User)
		return err
	})
	if err != nil {
		return err
	}
	for _, m := range rooms {
		m.By = by
		if removeMessages {
			err = s.removeOwn(ctx, m)
		}
		if err == nil {
			err = s.Leave(ctx, m)
		}
		if errors.Is(err, errDamagedLog) {
			stuck[m.Room] = true
		} else if err != nil && KindOf(err) != NotFound { // that room is gone already
			return err
		}
	}
	return nil
}

const removeChunk = 50 // messages in one change, so that others get their turn between

// removeOwn removes all messages of the member's. One that fails its integrity check is not shown
// to anybody, and stays as it is.
func (s *Store) removeOwn(ctx context.Context, m Membership) error {
	for after := uint64(0); ; {
		numbers, end, err := s.ownMessages(ctx, m, after)
		if err != nil || len(numbers) == 0 && end == 0 {
			return err
		}
		for after = end; len(numbers) > 0; {
			some := numbers[:min(removeChunk, len(numbers))]
			numbers = numbers[len(some):]
			err := s.lane.do(ctx, func(c *change) error { return c.takeBack(m, some) })
			if err != nil {
				return err
			}
		}
		if end == 0 {
			return nil
		}
	}
}

// takeBack removes some of the member's messages, from before the last join too: a room may show
// them to others, and not to the member.
func (c *change) takeBack(m Membership, numbers []uint64) error {
	if _, err := c.s.membership(c.ctx, c.db, m.Room, m.User); err != nil {
		return err
	}
	for _, n := range numbers {
		found, err := c.s.readMessages(c.ctx, c.db, m.Room, n, n)
		if err != nil {
			return err
		}
		own := found[n]
		if own == nil || own.post.Actor != m.User || own.latest.Op == OpDelete {
			continue
		}
		if _, err = c.s.openMessage(c.ctx, c.db, own); err == nil {
			err = c.blank(m, n)
		}
		if err != nil && !errors.Is(err, cipher.ErrAuth) {
			return err
		}
	}
	return nil
}

// ownMessages looks through a slice of the room's messages for those of the member that were not
// removed yet. end is where the slice ends, 0 at the end of the room.
func (s *Store) ownMessages(ctx context.Context, m Membership, after uint64) (numbers []uint64, end uint64, err error) {
	err = s.reading(ctx, func(h *handle) error {
		rows, err := h.QueryContext(ctx, `SELECT n, author = ? AND length(envelope) > 0 FROM messages
			WHERE room_id = ? AND n > ? ORDER BY n LIMIT ?`, m.User, m.Room, int64(min(after, math.MaxInt64)), sliceSize)
		if err != nil {
			return err
		}
		defer rows.Close()
		read := 0
		for ; rows.Next(); read++ {
			var n number
			var own bool
			if err := rows.Scan(&n, &own); err != nil {
				return err
			}
			if end = uint64(max(n, 0)); own {
				numbers = append(numbers, end)
			}
		}
		if read < sliceSize {
			end = 0
		}
		return rows.Err()
	})
	return numbers, end, err
}

// endAccount empties the doer's row and deletes all that belongs to the person alone.
func (s *Store) endAccount(ctx context.Context, by By, stuck map[ID]bool) error {
	user := by.User
	return s.operate(ctx, by, user, "delete", func(t *act, a *account) error {
		db := t.db.Statement.ConnPool
		if err := s.mayDelete(ctx, db, user); err != nil {
			return err
		}
		rooms, err := s.memberships(ctx, db, "m.user_id = ?", user)
		if err != nil {
			return err
		}
		for _, m := range rooms {
			if !stuck[m.Room] {
				return errStillMember // entered meanwhile, from another page
			}
		}
		if err := t.forgetDevices(user); err != nil {
			return err
		}
		for _, statement := range []string{
			"DELETE FROM recovery_codes WHERE user_id = ?",
			"DELETE FROM passkeys WHERE user_id = ?",
			"DELETE FROM attempts WHERE user_id = ?",
			"DELETE FROM tokens WHERE user_id = ?",
			"DELETE FROM marks WHERE user_id = ?",
			"DELETE FROM knocks WHERE user_id = ?",
			"UPDATE sessions SET news = NULL WHERE user_id = ?",
			"UPDATE users SET login_ms = 0, login_address = '' WHERE id = ?",
		} {
			if _, err := t.exec(statement, user); err != nil {
				return err
			}
		}
		a.profile = sealedProfile{Gone: true, DisabledMS: t.now}
		a.row.Password, a.row.TOTP, a.row.TOTPLastStep = s.service.SealPassword(user, nil), s.service.SealTOTP(user, nil), 0
		return t.revoke(by, "the account is gone", "user_id = ?", user)
	})
}

var (
	errStillMember = conflict("You have entered a room meanwhile. Your account is still there: start again to leave that room too.")
	errLastAdmin   = conflict("You are the only administrator of this server. Make somebody else an administrator first, on the page of people in the administration; then come back here.")
)

// MayDelete says why a person cannot delete the account; nil when it is possible.
func (s *Store) MayDelete(ctx context.Context, user ID) error {
	return s.snapshot(ctx, func(db gorm.ConnPool) error { return s.mayDelete(ctx, db, user) })
}

// mayDelete looks at everybody's profile: who is gone or an administrator stands nowhere else.
func (s *Store) mayDelete(ctx context.Context, db gorm.ConnPool, user ID) error {
	rows, err := db.QueryContext(ctx, "SELECT id, profile, revision FROM users")
	if err != nil {
		return err
	}
	defer rows.Close()
	here, admin, others, otherAdmins := false, false, 0, 0
	for rows.Next() {
		var id ID
		var sealed blob
		var revision number
		if err := rows.Scan(&id, &sealed, &revision); err != nil {
			return err
		}
		p, err := s.latestProfile(db, id, revision, sealed)
		switch {
		case errors.Is(err, errMoved):
			return err
		case err != nil || p.Gone:
		case id == user:
			here, admin = true, p.Admin
		default:
			others++
			if p.Admin && p.DisabledMS == 0 {
				otherAdmins++
			}
		}
	}
	switch {
	case rows.Err() != nil:
		return rows.Err()
	case !here:
		return errSignedOut
	case admin && others > 0 && otherAdmins == 0:
		return errLastAdmin
	}
	return nil
}
