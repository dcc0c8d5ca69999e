package models

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"gorm.io/gorm"
)

// A browser that somebody has signed in from keeps a cookie that says so, for 180 days after the
// last sign-in. It opens nothing: it keeps strangers from locking its owner out (throttle.go), and a
// sign-in without it is news to the owner's other sessions. Only a keyed hash is stored.
const (
	DeviceLife     = 180 * 24 * time.Hour
	devicesPerUser = 20
	newsKept       = 5 // of a session
)

const eventSignIn = "login.ok"

// device returns what is stored for the cookie if it belongs to a device of that user, else nil.
func (s *Store) device(ctx context.Context, db gorm.ConnPool, user ID, cookie string) ([]byte, error) {
	hash := s.service.Index("device", cookie)
	var owner blob
	var seen number
	err := db.QueryRowContext(ctx, "SELECT user_id, seen_ms FROM devices WHERE hash = ?", hash).Scan(&owner, &seen)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	if err != nil || user.Zero() || ID(owner) != user || s.now()-int64(seen) >= DeviceLife.Milliseconds() {
		return nil, nil
	}
	return hash, nil
}

// Arrive notes that a person has signed in completely: when and from where, and that this browser is
// one of that person's, for which it returns the cookie. by names the new session. If the browser was
// none before, the person's other sessions have news; agent is what it says of itself. It is an error
// when the account was changed meanwhile (Settle).
func (s *Store) Arrive(ctx context.Context, by By, user User, factor Factor, agent, cookie string) (string, error) {
	err := s.settling(ctx, by, user, func(t *act) error {
		if err := t.audit(by.audit(eventSignIn, "", string(factor))); err != nil {
			return err
		}
		if _, err := t.exec("UPDATE users SET login_ms = ?, login_address = ? WHERE id = ?", t.now, by.Address, by.User); err != nil {
			return err
		}
		hash, err := s.device(ctx, t.db.Statement.ConnPool, by.User, cookie)
		if err != nil {
			return err
		}
		if hash != nil {
			_, err := t.exec("UPDATE devices SET seen_ms = ? WHERE hash = ?", t.now, hash)
			return err
		}
		cookie = rand.Text() // 128 bits and a little
		if err := t.addDevice(by.User, s.service.Index("device", cookie)); err != nil {
			return err
		}
		return t.tellSessions(by, News{At: time.UnixMilli(t.now).UTC(), Address: by.Address, Agent: agent})
	})
	return cookie, err
}

func (t *act) addDevice(user ID, hash []byte) error {
	_, err := t.exec("INSERT INTO devices (created_ms, seen_ms, user_id, hash) VALUES (?, ?, ?, ?)", t.now, t.now, user, hash)
	if err == nil {
		err = t.dropDevices("user_id = ? AND hash NOT IN (SELECT hash FROM devices WHERE user_id = ? ORDER BY seen_ms DESC, rowid DESC LIMIT ?)",
			user, user, devicesPerUser)
	}
	return err
}

// dropDevices forgets devices, and what has failed on them.
func (t *act) dropDevices(where string, args ...any) error {
	if _, err := t.exec("DELETE FROM attempts WHERE key IN (SELECT hash FROM devices WHERE "+where+")", args...); err != nil {
		return err
	}
	_, err := t.exec("DELETE FROM devices WHERE "+where, args...)
	return err
}

// forgetDevices makes every browser a stranger to a user.
func (t *act) forgetDevices(user ID) error { return t.dropDevices("user_id = ?", user) }

func (s *Store) forgetOldDevices(ctx context.Context) error {
	return s.act(ctx, func(t *act) error { return t.dropDevices("seen_ms <= ?", t.now-DeviceLife.Milliseconds()) })
}

// News tells somebody of a sign-in on a device that was not known.
type News struct {
	At      time.Time
	Address string
	Agent   string // what the browser says of itself
}

// tellSessions gives news to all sessions of the doer but the one that is news itself.
func (t *act) tellSessions(by By, news News) error {
	var rows []sessionRow
	if err := t.db.Find(&rows, "user_id = ? AND revoked_ms IS NULL AND token_hash <> ?", by.User, by.Session[:]).Error; err != nil {
		return err
	}
	for _, row := range rows {
		list := append(t.s.openNews(row), news)
		if err := t.putNews(row, list[max(0, len(list)-newsKept):]); err != nil {
			return err
		}
	}
	t.after = append(t.after, func() { t.s.o.Hub.Unread(by.User) })
	return nil
}

func (t *act) putNews(row sessionRow, list []News) error {
	text, err := json.Marshal(list)
	if err != nil {
		return err
	}
	_, err = t.exec("UPDATE sessions SET news = ? WHERE token_hash = ?", t.s.service.SealSession(t.s.newsOf(row.TokenHash), row.UserID, row.AuthMS, text), row.TokenHash)
	return err
}

// newsOf names the news of a session, which are sealed as its data is but cannot stand in its place.
func (s *Store) newsOf(session []byte) [32]byte {
	return [32]byte(s.service.Index("news", string(session)))
}

// openNews returns the news of a session; what somebody else has written there is none.
func (s *Store) openNews(row sessionRow) (list []News) {
	if len(row.News) == 0 {
		return nil
	}
	text, err := s.service.OpenSession(s.newsOf(row.TokenHash), row.UserID, row.AuthMS, row.News)
	if err == nil {
		err = json.Unmarshal(text, &list)
	}
	if err != nil {
		s.alarmOn(faultSession, row.UserID.String())
		return nil
	}
	return list
}

// News returns what a session has not been told yet, or has been told and not dismissed; oldest first.
func (s *Store) News(ctx context.Context, session [32]byte) ([]News, error) {
	row, err := s.session(ctx, session)
	if err != nil {
		return nil, err
	}
	return s.openNews(row), nil
}

// DismissNews forgets the news of the doer's session. Its other pages are told.
func (s *Store) DismissNews(ctx context.Context, by By) error {
	return s.act(ctx, func(t *act) error {
		_, err := t.exec("UPDATE sessions SET news = NULL WHERE token_hash = ?", by.Session[:])
		t.after = append(t.after, func() { s.o.Hub.Unread(by.User) })
		return err
	})
}

// InheritNews gives the news of a session to the one that has taken its place.
func (s *Store) InheritNews(ctx context.Context, from, to [32]byte) error {
	var old, heir sessionRow
	if err := s.read.WithContext(ctx).Take(&old, "token_hash = ?", from[:]).Error; err != nil {
		return err
	}
	list := s.openNews(old)
	if len(list) == 0 {
		return nil
	}
	return s.act(ctx, func(t *act) error {
		if err := t.db.Take(&heir, "token_hash = ? AND user_id = ? AND revoked_ms IS NULL", to[:], old.UserID).Error; err != nil {
			return err
		}
		return t.putNews(heir, list)
	})
}
