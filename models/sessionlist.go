package models

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"gorm.io/gorm"
)

// Session is one of a person's sessions, as the person may see it.
type Session struct {
	Name     string // to end it by; neither the token nor its hash, nor anything that leads to them
	This     bool   // the one that asks
	SignedIn time.Time
	Seen     time.Time // the last use, a minute old at most
	Address  string    // where the sign-in came from
	Agent    string    // what the browser said of itself
}

// OwnSessions lists the doer's sessions that are not over, the last used first, the one that asks
// before all others.
func (s *Store) OwnSessions(ctx context.Context, by By) ([]Session, error) {
	rows, err := s.sessionsOf(ctx, by.User)
	if err != nil {
		return nil, err
	}
	list := make([]Session, 0, len(rows))
	for _, row := range rows {
		hash := [32]byte(row.TokenHash)
		data, err := s.service.OpenSession(hash, row.UserID, row.AuthMS, row.Data)
		if err != nil {
			s.alarmOn(faultSession, row.UserID.String())
			continue // it lets nobody in
		}
		_, values, err := s.Sessions().Decode(data)
		if err != nil {
			return nil, err
		}
		found := Session{Name: s.sessionName(hash), This: hash == by.Session, SignedIn: time.UnixMilli(row.AuthMS), Seen: time.UnixMilli(row.SeenMS)}
		found.Address, _ = values[SessionAddress].(string)
		found.Agent, _ = values[SessionAgent].(string)
		list = append(list, found)
	}
	slices.SortStableFunc(list, func(a, b Session) int {
		switch {
		case a.This:
			return -1
		case b.This:
			return 1
		}
		return b.Seen.Compare(a.Seen)
	})
	return list, nil
}

// sessionsOf reads the sessions of a user that are neither ended nor over.
func (s *Store) sessionsOf(ctx context.Context, user ID) (list []sessionRow, err error) {
	err = s.snapshot(ctx, func(db gorm.ConnPool) error {
		list = nil
		rows, err := db.QueryContext(ctx, "SELECT token_hash, user_id, data, auth_ms, seen_ms FROM sessions WHERE user_id = ? AND revoked_ms IS NULL", user)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var row sessionRow
			var name, data blob
			if err := rows.Scan(&name, &row.UserID, &data, &row.AuthMS, &row.SeenMS); err != nil {
				return err
			}
			row.TokenHash, row.Data = name, data
			if len(name) == len(hash{}) && s.now() < s.sessionEnd(row).UnixMilli() && !s.ledger.ended(name, row.AuthMS) {
				list = append(list, row)
			}
		}
		return rows.Err()
	})
	return list, err
}

// sessionName names a session in a page: a keyed hash of its keyed hash.
func (s *Store) sessionName(hash [32]byte) string {
	return hex.EncodeToString(s.service.Index("session", hex.EncodeToString(hash[:]))[:16])
}

// EndSession ends one of the doer's sessions, with all that it has open. It is NotFound when the
// doer has none of that name.
func (s *Store) EndSession(ctx context.Context, by By, name string) error {
	rows, err := s.sessionsOf(ctx, by.User)
	if err != nil {
		return err
	}
	for _, row := range rows {
		if s.sessionName([32]byte(row.TokenHash)) == name {
			return s.act(ctx, func(t *act) error { return t.revoke(by, "ended by its person", "token_hash = ?", row.TokenHash) })
		}
	}
	return errNotFound
}

// EndOtherSessions ends all of the doer's sessions but the one that asks.
func (s *Store) EndOtherSessions(ctx context.Context, by By) error {
	return s.act(ctx, func(t *act) error { return t.revokeOthers(by, "ended by its person") })
}

// SignInBefore returns when and from where the doer signed in the last time before the session that
// asks; the zero time when there is nothing to tell. The audit log knows it.
func (s *Store) SignInBefore(ctx context.Context, by By) (at time.Time, address string, err error) {
	row, err := s.session(ctx, by.Session)
	if err != nil {
		return at, "", err
	}
	err = s.reading(ctx, func(h *handle) error {
		e := Audit{Event: eventSignIn, Actor: by.User}
		var n, ms number
		var session blob
		var mac, previous hash
		err := h.QueryRowContext(ctx, `SELECT e.n, e.time_ms, e.session, CAST(e.address AS TEXT), CAST(e.object AS TEXT), CAST(e.outcome AS TEXT),
			e.mac, coalesce(p.mac, zeroblob(32)) FROM audit_log e LEFT JOIN audit_log p ON p.n = e.n - 1
			WHERE e.actor = ? AND e.event = ? AND e.time_ms < ? ORDER BY e.n DESC LIMIT 1`, by.User, eventSignIn, row.AuthMS).
			Scan(&n, &ms, &session, &e.Address, &e.Object, &e.Outcome, &mac, &previous)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		e.Session = session
		if err == nil && s.service.AuditNext(previous, e.encoded(uint64(n), int64(ms))) == mac {
			at, address = time.UnixMilli(int64(ms)), e.Address
		}
		return err
	})
	return at, address, err
}
