package models

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"gorm.io/gorm"

	"conclave/models/cipher"
)

// History says what newcomers see of what was said before they joined.
type History string

// What newcomers can see.
const (
	HistoryAll       History = "all"
	HistorySinceJoin History = "since_join"
)

// histories are what the column holds for each.
var histories = []History{HistoryAll, HistorySinceJoin}

// settingOf is the canonical text of which the log records the digest, for a value of the column.
func settingOf(column number) string {
	if column < 0 || int(column) >= len(histories) {
		return ""
	}
	return "history=" + string(histories[column])
}

// SetHistory decides what newcomers see, those too who have joined already: everybody sees all, or what
// follows their own latest join. Only the owner may. Open pages are let go, and come back with what
// they may see now.
func (s *Store) SetHistory(ctx context.Context, m Membership, h History) error {
	return s.lane.do(ctx, func(c *change) error {
		if err := c.ownerOnly(m, &Error{Kind: Denied, Msg: "Only the owner can decide what newcomers see."}); err != nil {
			return err
		}
		column := slices.Index(histories, h)
		if column < 0 {
			return invalid("history", "Choose what newcomers see.")
		}
		now, err := s.readHistory(c.ctx, c.db, m.Room)
		if err != nil && !errors.Is(err, cipher.ErrAuth) || now == h {
			return err
		}
		e := &Entry{Room: m.Room, Op: OpSetting, Actor: m.User, Payload: digest(settingOf(number(column)))}
		if err := c.append(e); err != nil {
			return err
		}
		if err := c.exec("UPDATE rooms SET history = ?, history_n = ? WHERE id = ?", column, e.N, m.Room); err != nil {
			return err
		}
		c.after = append(c.after, func() { s.o.Hub.ReleaseTopic(m.Room) })
		return c.audit(m.By, auditHistory, fmt.Sprintf("%s %s", m.Room, h))
	})
}

// History tells what newcomers see of the member's room.
func (s *Store) History(ctx context.Context, m Membership) (History, error) {
	var h History
	err := s.snapshot(ctx, func(db gorm.ConnPool) error {
		if _, err := s.membership(ctx, db, m.Room, m.User); err != nil {
			return err
		}
		var err error
		h, err = s.history(ctx, db, m.Room)
		return err
	})
	return h, err
}

// reach takes back From where newcomers see all. The memberships stand in the order of their rooms.
func (s *Store) reach(ctx context.Context, db gorm.ConnPool, list []Membership) error {
	var room ID
	var h History
	for i := range list {
		if m := &list[i]; m.Room != room {
			var err error
			if h, err = s.history(ctx, db, m.Room); err != nil {
				return err
			}
			room = m.Room
		}
		if h == HistoryAll {
			list[i].From = 0
		}
	}
	return nil
}

// history returns what newcomers see of a room: as it was verified before, unless the log has said
// something about it since. Where that is not what the log says, they see the less of the two.
func (s *Store) history(ctx context.Context, db gorm.ConnPool, room ID) (History, error) {
	_, reading := db.(snapshot)
	if reading || !s.lane.unsettled[room] {
		if h := s.proofs.history(room); h != "" {
			return h, nil
		}
	}
	h, err := s.readHistory(ctx, db, room)
	if errors.Is(err, cipher.ErrAuth) {
		s.fault(room, 0, faultSetting, "what newcomers see is not what the room's log says, so they see what follows their joining")
		return HistorySinceJoin, nil
	}
	if err == nil && reading {
		s.proofs.rememberHistory(room, h, since(db))
	}
	return h, err
}

// readHistory reads what newcomers see of a room. cipher.ErrAuth means that the latest entry about it is
// missing, changed, or says something else.
func (s *Store) readHistory(ctx context.Context, db gorm.ConnPool, room ID) (History, error) {
	var column, n, latest number
	err := db.QueryRowContext(ctx, "SELECT r.history, r.history_n, coalesce((SELECT max(l.n) FROM room_log l WHERE l.room_id = r.id AND l.op = 13), 0) FROM rooms r WHERE r.id = ?", room).
		Scan(&column, &n, &latest)
	if errors.Is(err, sql.ErrNoRows) {
		return "", cipher.ErrAuth
	}
	if err != nil {
		return "", err
	}
	if n != latest || n == 0 && column != 0 || settingOf(column) == "" {
		return "", cipher.ErrAuth
	}
	e := &Entry{Room: room} // that there is none
	if n > 0 {
		entries, err := s.readLog(ctx, db, room, uint64(n), uint64(n))
		if err != nil {
			return "", err
		}
		if len(entries) != 1 || !entries[0].genuine || entries[0].Payload != digest(settingOf(column)) {
			return "", cipher.ErrAuth
		}
		e = entries[0]
	}
	if err := s.proofs.isSetting(e, since(db)); err != nil {
		return "", err
	}
	return histories[column], nil
}
