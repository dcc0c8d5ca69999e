package models

import "conclave/models/cipher"

// What is kept of a room between two requests: who belongs to it, the latest code, and what newcomers see.
// Each is kept only if nothing about it was noted since the transaction that read it began.

// member returns a membership that was remembered.
func (p *proofs) member(room, user ID) (Membership, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.rooms[room] // anybody can ask for a room that does not exist: nothing is kept of that
	if r == nil {
		return Membership{}, false
	}
	m, ok := r.members[user]
	return m, ok
}

// remember keeps a membership that was read in a transaction begun at that moment, unless the log
// has moved on about it.
func (p *proofs) remember(m Membership, since uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.of(m.Room); !r.destroyed && r.standing[m.User].tick <= since && r.setting.tick <= since {
		r.members[m.User] = m
	}
}

// met reports whether any membership of a room is remembered.
func (p *proofs) met(room ID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.rooms[room]
	return r != nil && len(r.members) > 0
}

// everyone returns who belongs to a room, if that was remembered.
func (p *proofs) everyone(room ID) []Membership {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.rooms[room]; r != nil {
		return r.everyone
	}
	return nil
}

// rememberEveryone keeps the members of a room, the longest first, like remember. Where something
// is damaged it is looked at, and reported, each time.
func (p *proofs) rememberEveryone(room ID, members []Membership, since uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(members) == 0 {
		return // nor of a room that does not exist
	}
	r := p.of(room)
	if r.destroyed || r.harmed || r.moved > since {
		return
	}
	r.everyone = members
	for _, m := range members {
		r.members[m.User] = m
	}
}

// latestCode checks that an entry is the latest one that set the room code, with an envelope of
// that tag, as far as is known; known is false when the log must be asked.
func (p *proofs) latestCode(room ID, n uint64, tag [32]byte, since uint64) (known bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.of(room)
	switch {
	case n < r.doubtful:
		return false, cipher.ErrAuth
	case r.code.n == 0 && !r.walked, n > r.known.n: // or committed a moment ago, and not noted yet
		return false, nil
	case r.code.n == n && r.codeTag == tag:
		return true, nil
	case r.code.n > n && r.code.tick > since:
		return false, errMoved
	}
	return false, cipher.ErrAuth
}

// joins is how many entries after that one, which set the room code, are known by which somebody
// joined; 0 when that is not known, or when something was noted since that moment.
func (p *proofs) joins(room ID, n, since uint64) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.of(room)
	if r.code.n != n || since < p.ticks {
		return 0
	}
	return len(r.joins)
}

// isSetting checks that an entry is the latest one about what newcomers see, as far as is known. One
// without a number stands for there being none.
func (p *proofs) isSetting(e *Entry, since uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.of(e.Room)
	switch {
	case r.unsure:
		return cipher.ErrAuth
	case r.setting.n == 0 && !r.walked:
		return nil
	}
	return r.judge(e, r.setting, since)
}

// history returns what newcomers see of a room, empty when that is not remembered.
func (p *proofs) history(room ID) History {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.rooms[room]; r != nil {
		return r.history
	}
	return ""
}

// rememberHistory keeps what newcomers see of a room, like remember.
func (p *proofs) rememberHistory(room ID, h History, since uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.of(room); r.setting.tick <= since {
		r.history = h
	}
}
