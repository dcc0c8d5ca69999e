package models

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"gorm.io/gorm"

	"conclave/models/cipher"
)

// master returns the key that this change wraps under: the next one once a rotation has run in
// the same batch.
func (c *change) master() *cipher.Master {
	if next := c.s.lane.rotated; next != nil {
		return next
	}
	return c.s.masters.now()
}

// rotate wraps every secret anew under a new master key and returns the names of the old and
// the new one. The key file is on the disk before the one transaction that names it; a crash
// before that leaves an unused file, which the next rotation takes up.
func (s *Store) rotate(ctx context.Context) (old, now string, err error) {
	err = s.lane.exclusive(ctx, func(c *change) error {
		was := c.master()
		next, err := s.nextMaster(c, was)
		if err != nil {
			return err
		}
		old, now = was.Name(), next.Name()
		if err := s.rewrap(c, was, next); err != nil {
			return err
		}
		if err := c.audit(By{}, "keys.rotate", old+" to "+now); err != nil {
			return err
		}
		s.lane.rotated = next
		return nil
	})
	if err == nil {
		_, err = s.checkpoint(ctx)
	}
	return old, now, err
}

// nextMaster takes up a key file that an interrupted rotation left behind, or makes one.
func (s *Store) nextMaster(c *change, was *cipher.Master) (*cipher.Master, error) {
	files, err := cipher.FindKeyFiles(s.keyDir())
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		key, err := cipher.LoadKeyFile(file)
		if err != nil || key.ID() == was.ID() {
			continue
		}
		var retired int
		err = c.row("SELECT count(*) FROM audit_log WHERE event = 'keys.rotate' AND object LIKE ? || ' to %'", key.Name()).Scan(&retired)
		if err != nil {
			return nil, err
		}
		if retired == 0 { // an old key is never taken up again
			return key, nil
		}
	}
	if s.credentials() {
		return nil, &Error{Kind: Denied, Msg: "The key file comes from the service manager's credentials, which this program does not write. Stop the server, start it once with the key in the data folder's keys, and rotate there."}
	}
	return cipher.CreateKeyFile(s.keyDir(), s.o.Now())
}

// rewrap unwraps, wraps, unwraps again and compares every envelope of kind 05.
func (s *Store) rewrap(c *change, was, next *cipher.Master) error {
	if err := c.exec("UPDATE meta SET value = ? WHERE name = 'service'", next.SealService(s.service)); err != nil {
		return err
	}
	if err := c.exec("UPDATE meta SET value = ? WHERE name = 'check'", next.SealCheck()); err != nil {
		return err
	}
	type row struct {
		id      int64
		room    ID
		epoch   uint32
		wrapped []byte
	}
	for last := int64(0); ; {
		rows, err := c.db.QueryContext(c.ctx, "SELECT rowid, room_id, epoch, wrapped FROM room_keys WHERE rowid > ? ORDER BY rowid LIMIT 1000", last)
		if err != nil {
			return err
		}
		var batch []row
		for rows.Next() {
			var r row
			if err := rows.Scan(&r.id, &r.room, &r.epoch, &r.wrapped); err != nil {
				return errors.Join(err, rows.Close())
			}
			batch = append(batch, r)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return err
		}
		if len(batch) == 0 {
			return nil
		}
		for _, r := range batch {
			last = r.id
			key, err := was.OpenRoomKey(r.room, r.epoch, r.wrapped)
			if err != nil {
				continue // damaged before; it stays as it is, and stays visible as damage
			}
			wrapped := next.SealRoomKey(key)
			again, err := next.OpenRoomKey(r.room, r.epoch, wrapped)
			if err != nil || again.Commit() != key.Commit() {
				return fmt.Errorf("the key of room %s epoch %d did not survive being wrapped: nothing was changed", r.room, r.epoch)
			}
			if err := c.exec("UPDATE room_keys SET wrapped = ? WHERE rowid = ?", wrapped, r.id); err != nil {
				return err
			}
		}
	}
}

// destroyKey deletes the file of a master key that nothing in the database is wrapped under any more.
func (s *Store) destroyKey(ctx context.Context, name string) error {
	return s.lane.exclusive(ctx, func(c *change) error {
		path := s.keyPath(name)
		key, err := cipher.LoadKeyFile(path)
		if err != nil {
			return &Error{Kind: NotFound, Msg: fmt.Sprintf("There is no key %s here.", name), Err: err}
		}
		users, err := wrappedUnder(c.ctx, c.db, key.ID())
		if err != nil {
			return err
		}
		if users > 0 || key.ID() == c.master().ID() {
			return &Error{Kind: Denied, Msg: fmt.Sprintf("Key %s still opens %d secrets of this database. Rotate first (conclave keys rotate).", name, users)}
		}
		if err := overwrite(path); err != nil {
			return err
		}
		s.masters.mu.Lock()
		delete(s.masters.byID, key.ID())
		s.masters.mu.Unlock()
		return c.audit(By{}, "keys.destroy", name)
	})
}

// wrappedUnder counts the envelopes that name a master. The id is the four bytes behind version and kind.
func wrappedUnder(ctx context.Context, db gorm.ConnPool, id uint32) (count int, err error) {
	err = db.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM room_keys WHERE substr(wrapped, 3, 4) = ?1) +
		(SELECT count(*) FROM meta WHERE substr(value, 3, 4) = ?1)`, []byte{byte(id >> 24), byte(id >> 16), byte(id >> 8), byte(id)}).Scan(&count)
	return count, err
}

// overwrite destroys a small file: zeros on its place, then out of the folder. On a disk that
// writes elsewhere (flash, copy-on-write) the old bytes may outlive this; the README says so.
func overwrite(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		_, err = f.Write(make([]byte, info.Size()))
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return errors.Join(os.Remove(path), syncFolder(filepath.Dir(path)))
}
