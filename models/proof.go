package models

import (
	"errors"
	"math"
	"slices"
	"sync"

	"gorm.io/gorm"

	"conclave/models/cipher"
)

// proofs is what this process knows of the rooms' logs beyond what one page can prove: where
// each log ends, and, once the walk after the start has been through a room, which entry about
// each changed message is the latest. With it a page notices an old envelope that was put back
// together with the removal of the entry that replaced it.
type proofs struct {
	mu    sync.Mutex
	ticks uint64 // commits that were noted, and walks
	rooms map[ID]*proof
}

type proof struct {
	known    mark // where the log ends, 0 before this process has seen it
	walked   bool
	changed  map[uint64]noted // by message: its latest edit or removal
	standing map[ID]noted     // by person: the latest entry about the membership
	members  map[ID]Membership
	everyone []Membership // all of them, the longest member first; nil when that is not known
	moved    uint64       // when somebody's membership, or what newcomers see, was last changed
	setting  noted        // the latest entry that says what newcomers see
	history  History      // the same, once verified; empty when that is not known
	unsure   bool         // one such entry may be missing after it
	doubtful uint64       // before this entry something is missing that was no post
	code     noted        // the latest entry that set the room code
	codeTag  [32]byte     // of its envelope
	joins    []uint64     // the entries after it by which somebody joined

	destroyed bool
	damage    string // what is wrong with the log itself: nothing may be added to it
	harmed    bool   // something that the room shows failed verification
	harm      string // the first such thing
}

// mark is an entry of a log, named by its number and its MAC.
type mark struct {
	n   uint64
	mac [32]byte
}

// noted is an entry and when it was noted.
type noted struct {
	mark
	tick uint64
}

// now is the moment by which snapshot.since tells what was noted later.
func (p *proofs) now() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ticks
}

// since returns when a transaction began; the writer's sees all there is.
func since(db gorm.ConnPool) uint64 {
	if v, ok := db.(snapshot); ok {
		return v.since
	}
	return math.MaxUint64
}

func (p *proofs) of(room ID) *proof {
	if p.rooms == nil {
		p.rooms = map[ID]*proof{}
	}
	r := p.rooms[room]
	if r == nil {
		r = &proof{changed: map[uint64]noted{}, standing: map[ID]noted{}, members: map[ID]Membership{}}
		p.rooms[room] = r
	}
	return r
}

// tick says that something other than a log has changed.
func (p *proofs) tick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ticks++
}

// advance notes entries that were committed, in their order.
func (p *proofs) advance(entries []*Entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ticks++
	for _, e := range entries {
		r := p.of(e.Room)
		r.known = mark{e.N, e.MAC}
		switch e.Op {
		case OpEdit, OpDelete:
			r.changed[e.about()] = noted{r.known, p.ticks}
		case OpCreate, OpJoin, OpLeave, OpRemove, OpBan, OpRole, OpUnban:
			r.standing[e.Target] = noted{r.known, p.ticks}
			r.everyone, r.moved = nil, p.ticks
			delete(r.members, e.Target)
			if e.Op == OpJoin {
				r.joins = append(r.joins, e.N)
			}
		case OpCode:
			r.code, r.codeTag, r.joins = noted{r.known, p.ticks}, e.Payload, nil
		case OpSetting:
			r.setting = noted{r.known, p.ticks}
			r.everyone, r.moved, r.history, r.unsure = nil, p.ticks, "", false
			clear(r.members)
		case OpDestroy:
			r.destroyed, r.everyone = true, nil
			clear(r.members)
		}
	}
}

// walked takes over what a walk through a whole log has found. Entries that were committed
// meanwhile are newer and stay.
func (p *proofs) walked(w *walker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.of(w.room)
	if w.proven.n > r.known.n {
		r.known = w.proven
	}
	for message, at := range w.changed {
		if at.n > r.changed[message].n {
			r.changed[message] = noted{at, 0}
		}
	}
	for user, at := range w.standing {
		if at.n > r.standing[user].n {
			r.standing[user] = noted{at, 0}
		}
	}
	if w.code.at.n >= r.code.n {
		r.code, r.codeTag = noted{w.code.at, r.code.tick}, w.code.tag
		since := slices.IndexFunc(r.joins, func(n uint64) bool { return n > w.n })
		if since < 0 {
			since = len(r.joins)
		}
		r.joins = append(w.joins, r.joins[since:]...)
	}
	if w.setting.n > r.setting.n {
		r.setting = noted{w.setting, 0}
	}
	r.unsure = w.unsure && w.setting.n == r.setting.n
	r.doubtful = w.doubtful
	r.destroyed = r.destroyed || w.destroyed
	r.walked = true
	p.ticks++
	r.everyone, r.history = nil, ""
	clear(r.members) // the walk knows more than they were verified against
}

func (p *proofs) known(room ID) mark {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.of(room).known
}

// errMoved means that something was changed while it was being read: read again.
var errMoved = errors.New("this was changed while it was read")

// isChanged reports whether a message is known to have been edited or removed.
func (p *proofs) isChanged(room ID, n uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, changed := p.of(room).changed[n]
	return changed
}

// isLatest checks that an entry about a message is the latest one, as far as is known, by a
// reader whose transaction began at that moment.
func (p *proofs) isLatest(e *Entry, since uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.of(e.Room)
	if e.N < r.doubtful {
		return cipher.ErrAuth
	}
	latest, changed := r.changed[e.about()]
	if !changed && (!r.walked || e.Op == OpPost) {
		return nil
	}
	return r.judge(e, latest, since)
}

// stands checks that an entry is the latest one about a membership, as far as is known.
func (p *proofs) stands(e *Entry, since uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.of(e.Room)
	latest, known := r.standing[e.Target]
	switch {
	case r.destroyed:
		return errNotFound
	case !known && !r.walked:
		return nil
	}
	return r.judge(e, latest, since)
}

// judge compares an entry with the latest one that was noted about the same thing.
func (r *proof) judge(e *Entry, latest noted, since uint64) error {
	switch {
	case latest.mark == mark{e.N, e.MAC}:
		return nil
	case e.N > r.known.n:
		return nil // committed a moment ago, and not noted yet
	case latest.n > e.N && latest.tick > since:
		return errMoved
	}
	return cipher.ErrAuth
}

// moveOn moves anchors to where this process knows the logs to end. That of a damaged log stays.
func (p *proofs) moveOn(anchors map[ID]mark) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for room, r := range p.rooms {
		if r.damage == "" && r.known.n > anchors[room].n {
			anchors[room] = r.known
		}
	}
}

// checkHead compares where the database says that a log ends with what this process knows: a
// head that goes back, or is another one under the same number, is damage. known must have
// been asked for before the transaction that read the head began.
func (s *Store) checkHead(room ID, known, head mark) {
	if head.n < known.n || head.n == known.n && head.mac != known.mac {
		s.fault(room, head.n, faultLog, "the end of the room's log is not where this server left it")
	}
}
