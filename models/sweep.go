package models

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"gorm.io/gorm"

	"conclave/models/feed"
)

const (
	streamsEvery = 30 * time.Second
	purgeEvery   = time.Hour
	sweepChunk   = 500 // sessions in one query
)

// sweep is the net under what is done at once elsewhere: it ends streams whose session or
// membership is gone, and deletes rows that nobody can use any more.
func (s *Store) sweep(ctx context.Context) {
	streams, anchor, purge := time.NewTicker(streamsEvery), time.NewTicker(anchorsEvery), time.NewTicker(purgeEvery)
	defer streams.Stop()
	defer anchor.Stop()
	defer purge.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-streams.C:
			open := s.o.Hub.Open()
			err = errors.Join(s.sweepSessions(ctx, open), s.sweepMembers(ctx, open))
		case <-anchor.C:
			err = s.writeAnchors(ctx)
		case <-purge.C:
			err = s.purge(ctx)
		}
		if err != nil && ctx.Err() == nil {
			s.o.Log.Error("the sweep failed and will be tried again", "error", err)
		}
	}
}

// sweepSessions ends every open stream whose session is over.
func (s *Store) sweepSessions(ctx context.Context, open []feed.Listener) error {
	alive := map[[32]byte]bool{}
	for _, l := range open {
		alive[l.Session] = false
	}
	for hashes := range slices.Chunk(slices.Collect(maps.Keys(alive)), sweepChunk) {
		names := make([][]byte, len(hashes))
		for i := range hashes {
			names[i] = hashes[i][:]
		}
		var rows []sessionRow
		err := s.read.WithContext(ctx).Select("token_hash", "user_id", "auth_ms", "seen_ms").Find(&rows, "token_hash IN ? AND revoked_ms IS NULL", names).Error
		if err != nil {
			return err
		}
		for _, row := range rows {
			alive[[32]byte(row.TokenHash)] = s.now() < s.sessionEnd(row).UnixMilli() && !s.ledger.ended(row.TokenHash, row.AuthMS)
		}
	}
	for session, lives := range alive {
		if !lives {
			s.o.Hub.EndSession(session)
		}
	}
	return nil
}

// sweepMembers ends every open stream whose membership is gone.
func (s *Store) sweepMembers(ctx context.Context, open []feed.Listener) error {
	byRoom := map[ID][]feed.Listener{}
	for _, l := range open {
		if room := ID(l.Topic); !room.Zero() {
			byRoom[room] = append(byRoom[room], l)
		}
	}
	for room, listeners := range byRoom {
		var members []Membership
		err := s.snapshot(ctx, func(db gorm.ConnPool) error {
			var err error
			members, err = s.memberships(ctx, db, "m.room_id = ?", room)
			return err
		})
		if err != nil {
			return err
		}
		for _, l := range listeners {
			if !slices.ContainsFunc(members, func(m Membership) bool { return m.User == l.User }) {
				s.o.Hub.EndMember(l.Topic, l.User)
			}
		}
	}
	return nil
}

// purge deletes sessions past their absolute lifetime (a tombstone is needed until then) and those of
// nobody, registrations that were given up, tokens that ran out long ago, and knocks that nobody answers.
func (s *Store) purge(ctx context.Context) error {
	oldest := s.o.Now().Add(-max(s.o.SessionLifetime, anonymousLife)).UnixMilli()
	s.ledger.forget(oldest)
	db := s.write.WithContext(ctx)
	return errors.Join(
		db.Delete(&sessionRow{}, "auth_ms <= ?", oldest).Error,
		db.Delete(&sessionRow{}, "user_id = ? AND auth_ms <= ?", ID{}, s.o.Now().Add(-anonymousLife).UnixMilli()).Error,
		db.Delete(&registrationRow{}, "expires_ms <= ?", s.now()).Error,
		db.Exec("DELETE FROM tokens WHERE expires_ms <= ?", s.o.Now().Add(-tokenKept).UnixMilli()).Error,
		db.Exec("DELETE FROM attempts WHERE failures = 0 AND last_ms <= ?", s.o.Now().Add(-attemptsIdle).UnixMilli()).Error,
		s.forgetOldDevices(ctx),
		db.Exec("DELETE FROM knocks WHERE created_ms <= ?", s.o.Now().Add(-knockLife).UnixMilli()).Error,
	)
}
