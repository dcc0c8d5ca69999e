package models

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"gorm.io/gorm"

	"conclave/models/cipher"
)

// Figures are what the administrator may know of a room: never what is said in it, and its name
// only for who is a member.
type Figures struct {
	Room          ID
	Name          string // empty for who is no member
	Members       int
	Posts         uint64
	Bytes         int64 // of its sealed messages; -1 while they are being counted
	Created, Last time.Time
	Epoch         uint32
	Destroyed     bool
	Harm          string // what failed verification; empty for nothing
	head          uint64
}

// Orders of a list of rooms, the most first.
const (
	ByActivity = "activity"
	BySize     = "size"
	ByPosts    = "messages"
)

// RoomsAfter is a place in a list of rooms: behind the room that had this value then. The zero one is the beginning.
type RoomsAfter struct {
	Value int64
	Room  ID
}

const (
	censusPage     = 50
	censusPatience = 500 * time.Millisecond
)

// Census lists the rooms of this server in one of the orders, a page at a time, as one person may
// see them. next is the place where the following page begins, zero behind the last. Only an
// administrator may be shown it.
func (s *Store) Census(ctx context.Context, reader ID, order string, after RoomsAfter) (page []Figures, next RoomsAfter, all int, err error) {
	err = s.snapshot(ctx, func(db gorm.ConnPool) error {
		page, err = s.figures(ctx, db)
		return err
	})
	if err != nil {
		return nil, next, 0, err
	}
	all = len(page)
	ends := make(map[ID]uint64, len(page))
	for _, f := range page {
		ends[f.Room] = f.head
	}
	sizes, err := s.sizesOf(ctx, ends, censusPatience)
	if err != nil {
		return nil, next, 0, err
	}
	for i, f := range page {
		page[i].Bytes = -1
		if size, counted := sizes[f.Room]; counted {
			page[i].Bytes = size
		}
	}
	behind := func(f Figures, at RoomsAfter) int {
		return cmp.Or(cmp.Compare(at.Value, f.value(order)), bytes.Compare(at.Room[:], f.Room[:]))
	}
	slices.SortFunc(page, func(a, b Figures) int { return behind(a, b.place(order)) })
	if !after.Room.Zero() {
		page = slices.DeleteFunc(page, func(f Figures) bool { return behind(f, after) <= 0 })
	}
	if len(page) > censusPage {
		page = page[:censusPage]
		next = page[censusPage-1].place(order)
	}
	return page, next, all, s.known(ctx, reader, page)
}

func (f Figures) place(order string) RoomsAfter { return RoomsAfter{f.value(order), f.Room} }

func (f Figures) value(order string) int64 {
	switch order {
	case BySize:
		return f.Bytes
	case ByPosts:
		return int64(f.Posts)
	}
	return f.Last.UnixMilli()
}

// figures reads what stands in the rows of all rooms and at the ends of their logs.
func (s *Store) figures(ctx context.Context, db gorm.ConnPool) ([]Figures, error) {
	rows, err := db.QueryContext(ctx, `SELECT r.id, r.head_n, r.epoch, r.state, coalesce(l.posts, 0), coalesce(l.time_ms, 0), coalesce(f.time_ms, 0) FROM rooms r
		LEFT JOIN room_log l ON l.room_id = r.id AND l.n = r.head_n LEFT JOIN room_log f ON f.room_id = r.id AND f.n = 1`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Figures
	for rows.Next() {
		var f Figures
		var head, epoch, state, posts, last, created number
		if err := rows.Scan(&f.Room, &head, &epoch, &state, &posts, &last, &created); err != nil {
			return nil, err
		}
		f.head, f.Epoch, f.Posts = uint64(max(head, 0)), uint32(max(epoch, 0)), uint64(max(posts, 0))
		f.Last, f.Created, f.Destroyed = time.UnixMilli(int64(last)), time.UnixMilli(int64(created)), state != roomOpen
		all = append(all, f)
	}
	return all, rows.Err()
}

// known adds what is read for the rooms of one page only: how many members they have, whether they
// are sound, and the names of those that the reader is a member of.
func (s *Store) known(ctx context.Context, reader ID, page []Figures) error {
	harms := s.proofs.harms()
	return s.snapshot(ctx, func(db gorm.ConnPool) error {
		for i := range page {
			f := &page[i]
			var members number
			if err := db.QueryRowContext(ctx, "SELECT count(*) FROM memberships WHERE room_id = ?", f.Room).Scan(&members); err != nil {
				return err
			}
			f.Members = int(members)
			if at := slices.IndexFunc(harms, func(h Harm) bool { return h.Room == f.Room }); at >= 0 {
				f.Harm = harms[at].What
			}
			if _, err := s.membership(ctx, db, f.Room, reader); KindOf(err) == NotFound {
				continue
			} else if err != nil {
				return err
			}
			row, err := s.readRoom(ctx, db, f.Room)
			if err != nil && !errors.Is(err, cipher.ErrAuth) {
				return err
			}
			f.Name = row.name
		}
		return nil
	})
}
