package models

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"gorm.io/gorm"

	"conclave/models/cipher"
)

// Finding is something that is not what this program wrote.
type Finding struct {
	Room string `json:"room,omitempty"` // empty: not in a room
	N    uint64 `json:"n,omitempty"`    // the entry of the room's log, or of the audit log
	What string `json:"what"`
}

func (f Finding) String() string {
	switch {
	case f.Room != "":
		return fmt.Sprintf("room %s, n %d: %s", f.Room, f.N, f.What)
	case f.N > 0:
		return fmt.Sprintf("audit log, n %d: %s", f.N, f.What)
	}
	return f.What
}

// Report is what Verify found.
type Report struct {
	Rooms    int       `json:"rooms"`
	Entries  uint64    `json:"entries"`
	Findings []Finding `json:"findings"`
}

// Verify goes through the whole history: every entry of every room's log, every envelope, the
// users, the sessions, the audit log and the anchors. It only reads, and may run beside a
// server at work. progress is told how many of how many log entries are done.
func (s *Store) Verify(ctx context.Context, progress func(done, all uint64)) (Report, error) {
	r := Report{Findings: []Finding{}}
	// First, so that what is committed meanwhile cannot make the anchors look ahead of the database.
	_, back, err := s.compareAnchors(ctx)
	if errors.Is(err, ErrRollback) {
		r.Findings = append(r.Findings, Finding{What: err.Error()})
	} else if err != nil {
		return r, err
	}
	for _, b := range back {
		f := Finding{N: b.anchor.n, What: "older than the anchors: " + b.String()}
		if !b.room.Zero() {
			f.Room = b.room.String()
		}
		r.Findings = append(r.Findings, f)
	}
	var all uint64
	if err := s.read.WithContext(ctx).Raw("SELECT coalesce(sum(head_n), 0) FROM rooms").Scan(&all).Error; err != nil {
		return r, err
	}
	rooms, err := s.loggedRooms(ctx)
	if err != nil {
		return r, err
	}
	for _, room := range rooms {
		w := s.newWalker(room, func(n uint64, _, what string) {
			r.Findings = append(r.Findings, Finding{Room: room.String(), N: n, What: what})
		})
		w.progress = func(n uint64) { progress(r.Entries+n, all) }
		if err := w.run(ctx, s.readPool()); err != nil {
			return r, err
		}
		r.Rooms++
		r.Entries += w.n
	}
	err = s.walkAudit(ctx, func(_ uint64, at int64, e Audit) { s.ledger.note([]Audit{e}, 0, at) }, func(n uint64, what string) {
		r.Findings = append(r.Findings, Finding{N: n, What: what})
	})
	return r, errors.Join(err, s.verifyUsers(ctx, &r), s.verifySessions(ctx, &r))
}

// loggedRooms lists every room that has a row, a log or a message: a room whose row was taken
// out must be missed.
func (s *Store) loggedRooms(ctx context.Context) ([]ID, error) {
	return column[ID](ctx, s.readPool(), `SELECT id FROM rooms UNION SELECT DISTINCT room_id FROM room_log
		UNION SELECT DISTINCT room_id FROM messages ORDER BY 1`)
}

func (s *Store) verifyUsers(ctx context.Context, r *Report) error {
	missing, err := column[ID](ctx, s.readPool(), "SELECT DISTINCT user_id FROM memberships WHERE user_id NOT IN (SELECT id FROM users)")
	if err != nil {
		return err
	}
	for _, id := range missing {
		r.Findings = append(r.Findings, Finding{What: fmt.Sprintf("user %s is missing", id)})
	}
	users, err := column[ID](ctx, s.readPool(), "SELECT id FROM users ORDER BY id")
	if err != nil {
		return err
	}
	for _, id := range users {
		whole, err := s.wholeAccount(ctx, id)
		if err != nil {
			return err
		}
		if !whole {
			r.Findings = append(r.Findings, Finding{What: fmt.Sprintf("user %s: the profile, the password or the second factor was changed", id)})
		}
	}
	return nil
}

// wholeAccount checks one account, all of it read at one moment.
func (s *Store) wholeAccount(ctx context.Context, id ID) (whole bool, err error) {
	err = s.snapshot(ctx, func(db gorm.ConnPool) error {
		a, err := s.readAccount(ctx, db, id, errNotFound)
		if err != nil && !errors.Is(err, cipher.ErrAuth) {
			return err
		}
		_, passwordErr := s.service.OpenPassword(id, a.row.Password)
		_, totpErr := s.service.OpenTOTP(id, a.row.TOTP)
		username, email := s.indices(id, a.profile)
		whole = errors.Join(err, passwordErr, totpErr) == nil && a.codesStand && a.passkeysStand &&
			bytes.Equal(username, a.row.UsernameIndex) && bytes.Equal(email, a.row.EmailIndex) && (a.row.DisabledMS != nil) == (a.profile.DisabledMS > 0)
		return nil
	})
	return whole, err
}

func (s *Store) verifySessions(ctx context.Context, r *Report) error {
	rows, err := s.readPool().QueryContext(ctx, "SELECT token_hash, user_id, auth_ms, data FROM sessions WHERE revoked_ms IS NULL")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var name, data blob
		var user ID
		var auth number
		if err := rows.Scan(&name, &user, &auth, &data); err != nil {
			return err
		}
		if len(name) != len(hash{}) {
			r.Findings = append(r.Findings, Finding{What: "a session was changed"})
		} else if s.ledger.ended(name, int64(auth)) {
			r.Findings = append(r.Findings, Finding{What: fmt.Sprintf("a session of user %s that was ended has been put back", user)})
		} else if _, err := s.service.OpenSession([32]byte(name), user, int64(auth), data); err != nil {
			r.Findings = append(r.Findings, Finding{What: fmt.Sprintf("a session of user %s was changed", user)})
		}
	}
	return rows.Err()
}
