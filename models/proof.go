package models

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
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

// now is the moment by which view.since tells what was noted later.
func (p *proofs) now() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ticks
}

// since returns when a transaction began; the writer's sees all there is.
func since(db gorm.ConnPool) uint64 {
	if v, ok := db.(view); ok {
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

// status returns what members are told about a room: whether its log is damaged, so that
// nothing can be added, and whether anything that it shows is.
func (p *proofs) status(room ID) (damage string, harmed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.of(room)
	return r.damage, r.harmed || r.damage != ""
}

// harms lists the rooms in which something is damaged, in the order of their ids.
func (p *proofs) harms() []Harm {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []Harm
	for room, r := range p.rooms {
		if r.harmed || r.damage != "" {
			list = append(list, Harm{room, cmp.Or(r.damage, r.harm), r.damage != ""})
		}
	}
	slices.SortFunc(list, func(a, b Harm) int { return bytes.Compare(a.Room[:], b.Room[:]) })
	return list
}

// fault is damage that verification met: it is written down, once a minute for each place, and
// shown in the room. Nothing is repaired.
func (s *Store) fault(room ID, n uint64, class, what string) {
	s.proofs.mu.Lock()
	r := s.proofs.of(room)
	r.harmed, r.harm = true, cmp.Or(r.harm, what)
	if class == faultLog && r.damage == "" {
		r.damage = what
	}
	s.proofs.mu.Unlock()
	if s.alarm.due(class+room.String(), s.o.Now()) {
		s.recordFault(class, fmt.Sprintf("%s %d", room, n), what)
	}
}

// alarmOn writes down damage that is in no room.
func (s *Store) alarmOn(class, object string) {
	if s.alarm.due(class+object, s.o.Now()) {
		s.recordFault(class, object, "failed its integrity check and is ignored")
	}
}

// recordFault works beside whatever was being read when the damage was met.
func (s *Store) recordFault(class, object, what string) {
	s.o.Log.Error("integrity check failed", "class", class, "object", object, "what", what)
	if s.life.Err() == nil {
		s.tasks.Go(func() { s.record(Audit{Event: "integrity." + class, Object: object, Outcome: what}) })
	}
}

// Classes of damage.
const (
	faultLog     = "log"     // an entry of the log, or its order
	faultMessage = "message" // an envelope
	faultKey     = "key"     // a room's secret, name or code
	faultMember  = "member"  // a membership that the log does not know
	faultSetting = "setting" // what newcomers see is not what the log says
	faultProfile = "profile"
	faultPasskey = "passkey"
	faultSession = "session"
	faultAudit   = "audit"
	faultToken   = "token"
)

// checkHead compares where the database says that a log ends with what this process knows: a
// head that goes back, or is another one under the same number, is damage. known must have
// been asked for before the transaction that read the head began.
func (s *Store) checkHead(room ID, known, head mark) {
	if head.n < known.n || head.n == known.n && head.mac != known.mac {
		s.fault(room, head.n, faultLog, "the end of the room's log is not where this server left it")
	}
}

// proveRooms walks every room's log once after the start, beside normal work.
func (s *Store) proveRooms(ctx context.Context) {
	told, err := s.readLedger(ctx)
	s.proofs.tick() // what was read before the ledger knew all is read again
	if err != nil && ctx.Err() == nil {
		s.o.Log.Error("the audit log could not be read", "error", err)
	}
	rooms, err := s.roomIDs(ctx, s.read.Statement.ConnPool)
	if err != nil && ctx.Err() == nil {
		s.o.Log.Error("the rooms' logs could not be walked; pages prove only what they show", "error", err)
	}
	s.integrity.set(func(i *integrity) { i.rooms = len(rooms) })
	for _, room := range rooms {
		w := s.newWalker(room, func(n uint64, class, what string) { s.fault(room, n, class, what) })
		if err := w.run(ctx, s.readPool()); ctx.Err() != nil {
			return
		} else if err != nil {
			s.fault(room, w.n, faultLog, "the room's log could not be read: "+err.Error())
			continue
		}
		if !w.gone {
			w.doubt(told)
			s.proofs.walked(w)
			if w.unsure { // who has listened since the start may see less than it seemed
				s.o.Hub.ReleaseTopic(room)
			}
		}
		s.tally.walked(w.days)
		s.integrity.set(func(i *integrity) { i.walked++ })
	}
	s.integrity.set(func(i *integrity) { i.finished = err == nil })
	if err := s.measureAll(ctx); err != nil && ctx.Err() == nil {
		s.o.Log.Error("the sizes of the rooms could not be counted", "error", err)
	}
}

func (s *Store) roomIDs(ctx context.Context, db gorm.ConnPool) ([]ID, error) {
	rows, err := db.QueryContext(ctx, "SELECT id FROM rooms ORDER BY id")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var rooms []ID
	for rows.Next() {
		var id ID
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		rooms = append(rooms, id)
	}
	return rooms, rows.Err()
}
