package models

import "sync/atomic"

// OneByOne gives each change a transaction of its own. Call it before the first.
func (s *Store) OneByOne() { s.lane.most = 1 }

// Commits counts the transactions that SQLite commits on the lane's connection from now on.
func (s *Store) Commits() (*atomic.Int64, error) {
	count := new(atomic.Int64)
	return count, s.lane.db.conn.Raw(func(driver any) error {
		// By its interface: the driver's stand-in for builds without C has no such method.
		driver.(interface{ RegisterCommitHook(func() int) }).RegisterCommitHook(func() int {
			count.Add(1)
			return 0
		})
		return nil
	})
}
