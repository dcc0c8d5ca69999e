package models

import (
	"context"
	"errors"

	"gorm.io/gorm"

	"conclave/models/cipher"
)

// recentMost is how many rooms a page lists beside its own.
const recentMost = 100

// Recent are the rooms in which something happened last, for the way from one room to another.
type Recent struct {
	Rooms []RecentRoom
	More  bool // there are others

	Rendering *Rendering // of all this
}

// RecentRoom is one of them.
type RecentRoom struct {
	Room   ID
	Name   string
	Unread uint64
}

// recentRooms reads for each room what Unread reads, and the sealed name. When something happened
// last is taken as it stands there: it decides about the order only, which nothing depends on.
const recentRooms = "SELECT " + unreadColumns + ", r.name, r.name_n" + unreadTables + " ORDER BY l.time_ms DESC, m.room_id LIMIT ?"

// Recent lists the user's rooms, at most recentMost, the one where something happened last first.
// It stands in every page of a room, so it reads much less than Rooms: one query, a membership
// that was verified before, and a name. A room that cannot be opened is left out: Rooms says so.
func (s *Store) Recent(ctx context.Context, user ID) (Recent, error) {
	return recall(ctx, s, s.shelves.recent, user, func() (Recent, error) {
		var r Recent
		err := s.snapshot(ctx, func(db gorm.ConnPool) (err error) {
			r, err = s.readRecent(ctx, db, user)
			return err
		})
		return r, err
	})
}

func (s *Store) readRecent(ctx context.Context, db gorm.ConnPool, user ID) (Recent, error) {
	r := Recent{Rendering: &Rendering{}}
	rows, err := db.QueryContext(ctx, recentRooms, user, recentMost+1)
	if err != nil {
		return r, err
	}
	defer rows.Close()
	type found struct {
		unread Unread
		name   blob
		nameN  number
	}
	var all []found
	for rows.Next() {
		var f found
		var room ID
		var n, posts, headN, headPosts number
		if err := rows.Scan(&room, &n, &posts, &headN, &headPosts, &f.name, &f.nameN); err != nil {
			return r, err
		}
		f.unread = unreadBetween(room, n, posts, headN, headPosts)
		all = append(all, f)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return r, err
	}
	r.More = len(all) > recentMost
	for _, f := range all[:min(len(all), recentMost)] {
		if _, err := s.membership(ctx, db, f.unread.Room, user); KindOf(err) == NotFound {
			continue // the log does not know of it
		} else if err != nil {
			return r, err
		}
		name, err := s.openName(ctx, db, f.unread.Room, f.nameN, f.name)
		if errors.Is(err, cipher.ErrAuth) {
			continue
		}
		if err != nil {
			return r, err
		}
		r.Rooms = append(r.Rooms, RecentRoom{Room: f.unread.Room, Name: name, Unread: f.unread.Count})
	}
	return r, nil
}

// size is about what such a list takes, with all of it as HTML once more.
func (r Recent) size() int {
	const frame, room = 2 << 10, 1 << 10
	return frame + room*len(r.Rooms)
}
