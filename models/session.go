package models

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"maps"
	"time"

	"gorm.io/gorm/clause"
)

// A session is a row named by the keyed hash of its token. Its data is sealed and bound to
// that hash, to the user and to the moment of signing in, so that somebody who can write the
// database but has no key can neither make a session nor hand one to another user.
//
// A revoked row stays as a tombstone until its lifetime is over: a request that was under way
// at the logout and stores its session afterwards must not revive it.
type sessionRow struct {
	TokenHash []byte `gorm:"primaryKey"`
	UserID    ID
	Data      []byte
	AuthMS    int64  `gorm:"column:auth_ms"`
	SeenMS    int64  `gorm:"column:seen_ms"`
	RevokedMS *int64 `gorm:"column:revoked_ms"`
	News      []byte `gorm:"<-:false"` // kind 10 (device.go); empty when there are none
}

func (sessionRow) TableName() string { return "sessions" }

const (
	sessionsPerUser = 10
	anonymousLife   = time.Hour // a session before the sign-in: a registration under way
	seenEvery       = time.Minute
)

// Keys of a session's values that the store itself needs.
const (
	SessionUser    = "user"    // ID as text; absent before the sign-in
	SessionAuth    = "auth"    // int64, unix milliseconds of the sign-in, or of the first visit
	SessionAddress = "address" // string: where the sign-in came from
	SessionAgent   = "agent"   // string: what the browser said of itself, at most 256 characters
)

// Sessions is the store behind the session manager: Find, Commit and Delete as scs wants them,
// and the codec that puts user and time of signing in where they can be bound.
type Sessions struct{ s *Store }

// Sessions returns the session store.
func (s *Store) Sessions() Sessions { return Sessions{s} }

// Encode writes user (16 bytes), sign-in (8 bytes), then the values as gob.
func (Sessions) Encode(deadline time.Time, values map[string]any) ([]byte, error) {
	var b bytes.Buffer
	var user ID
	if text, ok := values[SessionUser].(string); ok {
		var err error
		if user, err = ParseID(text); err != nil {
			return nil, err
		}
	}
	auth, _ := values[SessionAuth].(int64)
	b.Write(user[:])
	binary.Write(&b, binary.BigEndian, auth) // a Buffer never fails
	err := gob.NewEncoder(&b).Encode(sessionData{deadline, values})
	return b.Bytes(), err
}

// Decode reads what Encode wrote.
func (t Sessions) Decode(b []byte) (time.Time, map[string]any, error) {
	if len(b) < 24 {
		return time.Time{}, nil, errors.New("session data is too short")
	}
	if data, ok := t.s.shelves.decoded.get(string(b)); ok {
		return data.Deadline, maps.Clone(data.Values), nil // the caller changes what it gets
	}
	var data sessionData
	err := gob.NewDecoder(bytes.NewReader(b[24:])).Decode(&data)
	if err == nil && data.plain() {
		t.s.shelves.decoded.put(string(b), sessionData{data.Deadline, maps.Clone(data.Values)})
	}
	return data.Deadline, data.Values, err
}

// plain reports whether a session says nothing but who signed in, when and from where: no secret and no
// code, which must not lie in memory for longer than they are needed.
func (d sessionData) plain() bool {
	for key := range d.Values {
		switch key {
		case SessionUser, SessionAuth, SessionAddress, SessionAgent:
		default:
			return false
		}
	}
	return true
}

type sessionData struct {
	Deadline time.Time
	Values   map[string]any
}

// FindCtx returns the data of a session that is neither revoked nor over. It is Busy as long as that is not known after a start.
func (t Sessions) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	hash := t.s.service.SessionHash(token)
	row, err := t.s.session(ctx, hash)
	if KindOf(err) == SignedOut {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	data, err := t.s.service.OpenSession(hash, row.UserID, row.AuthMS, row.Data)
	if err != nil {
		t.s.alarmOn(faultSession, row.UserID.String())
		return nil, false, nil
	}
	return data, true, nil
}

// CommitCtx stores a session. It never revives a revoked one. A user's eleventh session ends the oldest.
func (t Sessions) CommitCtx(ctx context.Context, token string, data []byte, _ time.Time) error {
	hash := t.s.service.SessionHash(token)
	row := sessionRow{TokenHash: hash[:], SeenMS: t.s.now()}
	copy(row.UserID[:], data)
	row.AuthMS = int64(binary.BigEndian.Uint64(data[16:24]))
	row.Data = t.s.service.SealSession(hash, row.UserID, row.AuthMS, data)
	err := t.s.write.WithContext(ctx).Clauses(clause.OnConflict{
		Columns:   []clause.Column{{Name: "token_hash"}},
		Where:     clause.Where{Exprs: []clause.Expression{clause.Expr{SQL: "sessions.revoked_ms IS NULL"}}},
		DoUpdates: clause.AssignmentColumns([]string{"user_id", "data", "auth_ms"}),
	}).Create(&row).Error
	if err != nil || row.UserID.Zero() {
		return err
	}
	var alive int
	err = t.s.read.WithContext(ctx).Raw("SELECT count(*) FROM sessions WHERE user_id = ? AND revoked_ms IS NULL", row.UserID).Scan(&alive).Error
	if err != nil || alive <= sessionsPerUser {
		return err
	}
	return t.s.act(ctx, func(a *act) error {
		return a.revoke(By{}, "too many", `token_hash IN (SELECT token_hash FROM sessions
			WHERE user_id = ? AND revoked_ms IS NULL ORDER BY auth_ms DESC, rowid DESC LIMIT -1 OFFSET ?)`, row.UserID, sessionsPerUser)
	})
}

// DeleteCtx revokes a session and ends its streams.
func (t Sessions) DeleteCtx(ctx context.Context, token string) error {
	hash := t.s.service.SessionHash(token)
	return t.s.act(ctx, func(a *act) error { return a.revoke(By{Session: hash}, "ended", "token_hash = ?", hash[:]) })
}

// Find, Commit and Delete complete the shape of an scs store.
func (t Sessions) Find(token string) ([]byte, bool, error) {
	return t.FindCtx(context.Background(), token)
}

// Commit is CommitCtx without a context.
func (t Sessions) Commit(token string, data []byte, expiry time.Time) error {
	return t.CommitCtx(context.Background(), token, data, expiry)
}

// Delete is DeleteCtx without a context.
func (t Sessions) Delete(token string) error { return t.DeleteCtx(context.Background(), token) }

// SessionHash names a session without its token.
func (s *Store) SessionHash(token string) [32]byte { return s.service.SessionHash(token) }

// SessionEnd returns when a session will be over if it is not used again. It is SignedOut when it already is.
func (s *Store) SessionEnd(ctx context.Context, hash [32]byte) (time.Time, error) {
	row, err := s.session(ctx, hash)
	return s.sessionEnd(row), err
}

// TouchSession notes that a session is in use, at most once a minute. Whether it still is one was
// found out by FindCtx.
func (s *Store) TouchSession(ctx context.Context, hash [32]byte) error {
	every := min(seenEvery, s.o.SessionIdle/4)
	if d, ok := s.shelves.sessions.get(hash); ok && s.now()-d.value.SeenMS < every.Milliseconds() {
		return nil // no later than it was when this was read
	}
	row, err := s.session(ctx, hash)
	if err != nil || s.now()-row.SeenMS < every.Milliseconds() {
		return err
	}
	return s.write.WithContext(ctx).Model(&sessionRow{}).Where("token_hash = ? AND revoked_ms IS NULL", hash[:]).Update("seen_ms", s.now()).Error
}

// RetireSession ends the doer's session because it is getting a new token, and returns the doer as
// of then, for Settle. Its streams are left to the caller, who releases them once the browser has the
// new one. SignedOut when the session has ended meanwhile: it has no heir.
func (s *Store) RetireSession(ctx context.Context, by By) (now User, err error) {
	err = s.act(ctx, func(t *act) error {
		if err := t.alive(by); err != nil {
			return err
		}
		a, err := s.readAccount(ctx, t.db.Statement.ConnPool, by.User, errSignedOut)
		if err != nil {
			return err
		}
		now = a.profile.user(by.User)
		now.revision = a.row.Revision
		_, err = t.bury(by, "renewed", "token_hash = ?", by.Session[:])
		return err
	})
	return now, err
}

// Settle confirms a session that was stored a moment ago. If the account has changed since the doer
// was found to be this user, by a new password for instance, or if the session has been ended, it is
// ended for good, and the error is that of a login that failed: what ends all sessions also ends
// those that are on their way.
func (s *Store) Settle(ctx context.Context, by By, user User) error {
	return s.settling(ctx, by, user, func(*act) error { return nil })
}

func (s *Store) settling(ctx context.Context, by By, user User, f func(*act) error) error {
	err := s.act(ctx, func(t *act) error {
		if err := t.unmoved(user.ID, user.revision); err != nil {
			return err
		}
		if err := t.alive(by); err != nil {
			return err
		}
		return f(t)
	})
	if !errors.Is(err, errMoved) && KindOf(err) != SignedOut {
		return err
	}
	err = s.act(ctx, func(t *act) error { return t.revoke(by, "the account was changed", "token_hash = ?", by.Session[:]) })
	return errors.Join(err, errSignIn)
}

// alive checks that the doer's session has not ended meanwhile: SignedOut. Who has none types commands.
func (t *act) alive(by By) error {
	if by.Session == [32]byte{} {
		return nil
	}
	var auth number
	err := noRow(t.db.Statement.ConnPool.QueryRowContext(t.ctx, "SELECT auth_ms FROM sessions WHERE token_hash = ? AND user_id = ? AND revoked_ms IS NULL", by.Session[:], by.User).
		Scan(&auth), errSignedOut)
	if err == nil && t.s.ledger.ended(by.Session[:], int64(auth)) {
		err = errSignedOut
	}
	return err
}

// revoke turns sessions into tombstones, and ends their streams when that is durable.
func (t *act) revoke(by By, why, where string, args ...any) error {
	rows, err := t.bury(by, why, where, args...)
	for _, row := range rows {
		t.after = append(t.after, func() { t.s.o.Hub.EndSession([32]byte(row.TokenHash)) })
	}
	return err
}

// bury turns sessions into tombstones and returns them.
func (t *act) bury(by By, why, where string, args ...any) ([]sessionRow, error) {
	var rows []sessionRow
	err := t.db.Model(&rows).Clauses(clause.Returning{Columns: []clause.Column{{Name: "token_hash"}, {Name: "user_id"}}}).
		Where("revoked_ms IS NULL").Where(where, args...).
		Updates(map[string]any{"revoked_ms": t.now, "data": []byte{}}).Error
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		if row.UserID.Zero() {
			continue // of nobody
		}
		who := by
		if who.User.Zero() {
			who.User = row.UserID
		}
		object := handleOf(row.TokenHash)
		if who.User != row.UserID {
			object += " " + row.UserID.String()
		}
		if err := t.audit(who.audit(eventSessionEnd, object, why)); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

func (s *Store) session(ctx context.Context, hash [32]byte) (sessionRow, error) {
	row, err := recall(ctx, s, s.shelves.sessions, hash, func() (row sessionRow, err error) {
		row.TokenHash = hash[:]
		if err := s.ledger.wait(ctx); err != nil {
			return row, err
		}
		err = s.reading(ctx, func(h *handle) error {
			return noRow(h.QueryRowContext(ctx, "SELECT user_id, data, auth_ms, seen_ms, news FROM sessions WHERE token_hash = ? AND revoked_ms IS NULL", hash[:]).
				Scan(&row.UserID, &row.Data, &row.AuthMS, &row.SeenMS, &row.News), errSignedOut)
		})
		return row, err
	})
	if err == nil && (s.now() >= s.sessionEnd(row).UnixMilli() || s.ledger.ended(hash[:], row.AuthMS)) {
		return row, errSignedOut
	}
	return row, err
}

// sessionEnd is the earlier of the idle limit and the absolute one.
func (s *Store) sessionEnd(row sessionRow) time.Time {
	if row.UserID.Zero() {
		return time.UnixMilli(row.AuthMS).Add(anonymousLife)
	}
	idle, absolute := time.UnixMilli(row.SeenMS).Add(s.o.SessionIdle), time.UnixMilli(row.AuthMS).Add(s.o.SessionLifetime)
	if idle.Before(absolute) {
		return idle
	}
	return absolute
}
