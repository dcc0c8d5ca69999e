package models

import (
	"context"
	"errors"
	"time"
)

const (
	streamsEvery = 30 * time.Second
	purgeEvery   = time.Hour
)

// sweep is the net under what is done at once elsewhere: it ends streams whose session or
// membership is gone, and deletes rows that nobody can use any more.
func (s *Store) sweep(ctx context.Context) {
	streams, purge := time.NewTicker(streamsEvery), time.NewTicker(purgeEvery)
	defer streams.Stop()
	defer purge.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-streams.C:
			open := s.o.Hub.Open()
			err = errors.Join(s.sweepSessions(ctx, open), s.sweepMembers(ctx, open))
		case <-purge.C:
			err = s.purge(ctx)
		}
		if err != nil && ctx.Err() == nil {
			s.o.Log.Error("the sweep failed and will be tried again", "error", err)
		}
	}
}

// purge deletes sessions past their absolute lifetime (a tombstone is needed until then),
// registrations that were given up, and tokens that ran out.
func (s *Store) purge(ctx context.Context) error {
	oldest := s.o.Now().Add(-max(s.o.SessionLifetime, anonymousLife)).UnixMilli()
	db := s.write.WithContext(ctx)
	return errors.Join(
		db.Delete(&sessionRow{}, "auth_ms <= ?", oldest).Error,
		db.Delete(&registrationRow{}, "expires_ms <= ?", s.now()).Error,
		db.Exec("DELETE FROM tokens WHERE expires_ms <= ? AND used_ms IS NULL", s.now()).Error,
	)
}
