package models

import (
	"context"
	"fmt"
	"time"
)

// States of a room.
const (
	roomOpen       = 0
	roomDestroying = 1 // keys and texts are gone from the database, perhaps not yet from its write-ahead log
	roomDestroyed  = 2
)

const checkpointEvery = 5 * time.Second // while somebody is still reading the old pages

// Destroy takes a room apart for good: its keys, its texts, its name and its code are
// overwritten, its members are no members any more, and only the chain of its log stays, so
// that the rest still verifies. Only the owner may. What old backups hold stays readable until
// the master key has been rotated and the old one destroyed.
func (s *Store) Destroy(ctx context.Context, m Membership) error {
	err := s.lane.do(ctx, func(c *change) error {
		if err := c.ownerOnly(m, &Error{Kind: Denied, Msg: "Only the owner can destroy a room."}); err != nil {
			return err
		}
		if err := c.append(&Entry{Room: m.Room, Op: OpDestroy, Actor: m.User}); err != nil {
			return err
		}
		for _, statement := range []string{
			"DELETE FROM room_keys WHERE room_id = ?",
			"UPDATE messages SET envelope = x'', client_id = NULL WHERE room_id = ?",
			"DELETE FROM memberships WHERE room_id = ?",
			"DELETE FROM marks WHERE room_id = ?",
			"DELETE FROM knocks WHERE room_id = ?",
			fmt.Sprintf("UPDATE rooms SET name = x'', code = x'', code_index = NULL, state = %d WHERE id = ?", roomDestroying),
		} {
			if err := c.exec(statement, m.Room); err != nil {
				return err
			}
		}
		c.after = append(c.after, func() {
			for _, key := range s.keys.Keys() {
				if key.room == m.Room {
					s.keys.Remove(key)
				}
			}
			s.o.Hub.EndTopic(m.Room)
		})
		return c.audit(m.By, "room.destroy", m.Room.String())
	})
	if err != nil {
		return err
	}
	s.tasks.Go(func() { s.shred(s.life) })
	return nil
}

// shred empties the write-ahead log, which still holds the old pages. A reader that is under
// way keeps them there, and SQLite says so in its answer only; so it is asked again until it is
// done, now and after a restart.
func (s *Store) shred(ctx context.Context) {
	for {
		waiting := 0
		err := s.write.WithContext(ctx).Raw("SELECT count(*) FROM rooms WHERE state = ?", roomDestroying).Scan(&waiting).Error
		if err == nil && waiting == 0 {
			return
		}
		var busy bool
		if err == nil {
			busy, err = s.checkpoint(ctx)
		}
		if err == nil && !busy {
			err = s.write.WithContext(ctx).Exec("UPDATE rooms SET state = ? WHERE state = ?", roomDestroyed, roomDestroying).Error
		}
		if err != nil && ctx.Err() == nil {
			s.o.Log.Error("a destroyed room could not be taken out of the write-ahead log yet", "error", err)
		}
		if err != nil || busy {
			select {
			case <-ctx.Done():
				return
			case <-time.After(checkpointEvery):
			}
		}
	}
}

// checkpoint moves all pages into the database file and cuts the write-ahead log to nothing.
// It reports busy when a reader still needs what is in it.
func (s *Store) checkpoint(ctx context.Context) (busy bool, err error) {
	pool, err := s.write.DB() // gorm's own Row panics when a statement cannot be prepared any more
	if err != nil {
		return false, err
	}
	var blocked, log, done int
	err = pool.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&blocked, &log, &done)
	return blocked != 0, err
}
