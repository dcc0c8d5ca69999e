package models

import (
	"context"
	"sync"
	"time"

	"gorm.io/gorm"
)

// sizes are how many bytes the sealed messages of each room take, as far as its log was read. Only
// what was added since is read again, unless an older message was changed.
type sizes struct {
	mu    sync.Mutex
	rooms map[ID]size
}

type size struct {
	upTo  uint64 // the log's end then
	bytes int64
}

const sizeSlice = 10_000 // numbers of a log in one query: far less than 250 ms of reading

// sizesOf returns the sizes of rooms, given where their logs end. What cannot be counted within the
// time is missing, and comes closer with each call.
func (s *Store) sizesOf(ctx context.Context, ends map[ID]uint64, patience time.Duration) (map[ID]int64, error) {
	s.sizes.mu.Lock()
	defer s.sizes.mu.Unlock()
	if s.sizes.rooms == nil {
		s.sizes.rooms = map[ID]size{}
	}
	late := time.Now().Add(patience)
	found := map[ID]int64{}
	for room, end := range ends {
		known := s.sizes.rooms[room]
		if known.upTo < end && time.Now().Before(late) {
			var err error
			if known, err = s.measure(ctx, room, known, end); err != nil {
				return nil, err
			}
			s.sizes.rooms[room] = known
		}
		if known.upTo >= end {
			found[room] = known.bytes
		}
	}
	return found, nil
}

// measure brings the size of a room up to the end of its log. A room whose log is longer than what
// is said here is measured again the next time.
func (s *Store) measure(ctx context.Context, room ID, known size, end uint64) (size, error) {
	var err error
	if known.upTo > 0 {
		changed := false
		err = s.reading(ctx, func(h *handle) error {
			return h.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM room_log WHERE room_id = ? AND n > ? AND op IN (8, 9, 17))", room, int64(known.upTo)).Scan(&changed)
		})
		if changed {
			known = size{}
		}
	}
	for err == nil && known.upTo < end {
		to := min(end, known.upTo+sizeSlice)
		err = s.reading(ctx, func(h *handle) error {
			var bytes number
			err := h.QueryRowContext(ctx, "SELECT coalesce(sum(length(envelope)), 0) FROM messages WHERE room_id = ? AND n > ? AND n <= ?", room, int64(known.upTo), int64(to)).Scan(&bytes)
			known = size{to, known.bytes + max(int64(bytes), 0)}
			return err
		})
	}
	return known, err
}

// measureAll counts what there is, so that the first who asks need not wait.
func (s *Store) measureAll(ctx context.Context) error {
	ends := map[ID]uint64{}
	err := s.snapshot(ctx, func(db gorm.ConnPool) error {
		all, err := s.figures(ctx, db)
		for _, f := range all {
			ends[f.Room] = f.head
		}
		return err
	})
	for room, end := range ends {
		if err == nil {
			_, err = s.sizesOf(ctx, map[ID]uint64{room: end}, time.Minute)
		}
	}
	return err
}
