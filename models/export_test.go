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

// Forget drops what is kept of what was read, as a restart does. Call it while nobody reads.
func (s *Store) Forget() {
	s.shelves = newShelves()
	s.keys.Purge()
	s.chains.Purge()
	s.proofs.mu.Lock()
	defer s.proofs.mu.Unlock()
	for _, r := range s.proofs.rooms {
		r.everyone, r.history = nil, ""
		clear(r.members)
	}
}
