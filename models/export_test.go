package models

import (
	"context"
	"sync/atomic"
)

// OneByOne gives each change a transaction of its own. Call it before the first.
func (s *Store) OneByOne() { s.lane.most = 1 }

// Commits counts the transactions that SQLite commits on the writing connection from now on.
func (s *Store) Commits() (*atomic.Int64, error) {
	count := new(atomic.Int64)
	pool, err := s.write.DB()
	if err != nil {
		return nil, err
	}
	conn, err := pool.Conn(context.Background())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return count, conn.Raw(func(driver any) error {
		// By its interface: the driver's stand-in for builds without C has no such method.
		driver.(interface{ RegisterCommitHook(func() int) }).RegisterCommitHook(func() int {
			count.Add(1)
			return 0
		})
		return nil
	})
}
