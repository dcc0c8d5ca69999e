package models

import (
	"fmt"
	"sync"
	"time"
)

// integrity is how far the walks after the start have come, and what is known of the chain of the
// audit log. What is wrong in a room stands with the room's proof.
type integrity struct {
	mu       sync.Mutex
	walked   int // rooms
	rooms    int // that there were at the start
	finished bool
	audit    AuditState
	damaged  map[uint64]bool // entries of the audit log
	anchored time.Time
}

// AuditState is what has been checked of the audit log's chain.
type AuditState struct {
	Checked bool   // from its first entry to where it ended at the start
	UpTo    uint64 // the log reaches to here, as this process or the anchors know
	Damaged uint64 // the first entry that is not what was written, 0 for none
	What    string // is wrong with it
}

// IntegrityState is what this server knows of the integrity of what it holds.
type IntegrityState struct {
	Walked, Rooms int  // since the start
	Finished      bool // the walk through all rooms
	Harmed        []Harm
	Audit         AuditState
	Anchored      time.Time // the anchors hold everything up to then
}

// Harm is a room in which something is not what was written.
type Harm struct {
	Room   ID
	What   string
	Closed bool // nothing can be added to it
}

const damagedEntries = 1000 // that are told apart

func (i *integrity) state() IntegrityState {
	i.mu.Lock()
	defer i.mu.Unlock()
	return IntegrityState{Walked: i.walked, Rooms: i.rooms, Finished: i.finished, Audit: i.audit, Anchored: i.anchored}
}

func (i *integrity) set(f func(*integrity)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	f(i)
}

// damage notes an entry of the audit log that is not what was written, and reports whether that is news.
func (i *integrity) damage(n uint64, what string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.damaged[n] || len(i.damaged) >= damagedEntries {
		return false
	}
	if i.damaged == nil {
		i.damaged = map[uint64]bool{}
	}
	i.damaged[n] = true
	if i.audit.Damaged == 0 || n < i.audit.Damaged {
		i.audit.Damaged, i.audit.What = n, what
	}
	return true
}

// auditFault writes down, once, that an entry of the audit log is not what was written.
func (s *Store) auditFault(n uint64, what string) {
	if s.integrity.damage(n, what) {
		s.recordFault(faultAudit, fmt.Sprintf("entry %d", n), what)
	}
}

// Integrity returns what is known at this moment.
func (s *Store) Integrity() IntegrityState {
	state := s.integrity.state()
	state.Harmed = s.proofs.harms()
	return state
}
