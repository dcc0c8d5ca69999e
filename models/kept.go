package models

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"sync"
	"sync/atomic"

	lru "github.com/hashicorp/golang-lru/v2/simplelru"
)

// The rules of what is kept in memory:
//
//   - Nothing is believed because it was read once. What was read is kept with the state of the
//     database that it was read in, and used again only while the database is in that very state:
//     after any commit, by whomever, a program that is not ours included, it is read again. So
//     nothing has to be invalidated, and whatever was revoked, removed or damaged is so at once.
//   - A line of a history, which is costly to verify and to open, is also used again after a
//     commit, when every byte that it was verified from is read again and is the same.
//   - Text and what is made of it lies here only. It is bounded by its size, and goes with the
//     change, the removal, the departure or the destruction that ends it.

// state names a state of the database and of what this process knows of its logs. When two
// answers are equal, nothing has been committed between the two questions.
type state struct {
	version int64
	ticks   uint64
}

// watch is a connection that does nothing but ask for the state. (SQLite counts, for each
// connection, the commits of all others.) It is asked several times in each request, so it speaks
// to the driver itself, which takes a third of the time.
type watch struct {
	mu   sync.Mutex
	conn *sql.Conn
	ask  driver.StmtQueryContext
}

func (s *Store) state(ctx context.Context) (state, error) {
	if err := ctx.Err(); err != nil {
		return state{}, err
	}
	now := state{ticks: s.proofs.now()}
	var err error
	now.version, err = s.watch.version(s.readPool())
	return now, err
}

func (w *watch) version(pool *sql.DB) (version int64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conn == nil {
		if w.conn, err = pool.Conn(context.Background()); err != nil {
			return 0, err
		}
	}
	err = w.conn.Raw(func(conn any) error {
		if w.ask == nil {
			ask, err := conn.(driver.ConnPrepareContext).PrepareContext(context.Background(), "PRAGMA data_version")
			if err != nil {
				return err
			}
			w.ask = ask.(driver.StmtQueryContext)
		}
		rows, err := w.ask.QueryContext(context.Background(), nil)
		if err != nil {
			return err
		}
		defer rows.Close()
		var answer [1]driver.Value
		if err := rows.Next(answer[:]); err != nil {
			return err
		}
		version = answer[0].(int64)
		return nil
	})
	return version, err
}

func (w *watch) close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conn == nil {
		return nil
	}
	if w.ask != nil {
		w.ask.(driver.Stmt).Close()
	}
	conn := w.conn
	w.conn, w.ask = nil, nil
	return conn.Close()
}

// dated is a value with the state of the database before it was read.
type dated[V any] struct {
	value V
	at    state
}

// recall returns what read has returned before, if the database is as it was then.
func recall[K comparable, V any](ctx context.Context, s *Store, from *shelf[K, dated[V]], key K, read func() (V, error)) (V, error) {
	now, err := s.state(ctx)
	if err != nil {
		var none V
		return none, err
	}
	if d, ok := from.get(key); ok && d.at == now {
		return d.value, nil
	}
	v, err := read()
	if err == nil {
		from.put(key, dated[V]{v, now})
	}
	if err != nil || s.proofs.now() != now.ticks { // what was forgotten meanwhile is not put back
		from.remove(key)
	}
	return v, err
}

// shelf holds what was used last, up to a size.
type shelf[K comparable, V any] struct {
	mu    sync.Mutex
	items *lru.LRU[K, V]
	size  func(V) int
	room  int // what is left
}

func newShelf[K comparable, V any](most int, size func(V) int) *shelf[K, V] {
	f := &shelf[K, V]{size: size, room: most}
	f.items, _ = lru.NewLRU(most, func(_ K, v V) { f.room += size(v) }) // fails for a size below 1 only
	return f
}

func (f *shelf[K, V]) get(k K) (V, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.items.Get(k)
}

func (f *shelf[K, V]) put(k K, v V) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.items.Remove(k)
	f.items.Add(k, v)
	f.room -= f.size(v)
	for f.room < 0 {
		f.items.RemoveOldest()
	}
}

func (f *shelf[K, V]) drop(these func(K) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, k := range f.items.Keys() {
		if these(k) {
			f.items.Remove(k)
		}
	}
}

func (f *shelf[K, V]) remove(k K) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.items.Remove(k)
}

// one is the size of what is counted, not weighed.
func one[V any](V) int { return 1 }

// shelves are what a Store keeps of what it has read.
type shelves struct {
	sessions *shelf[[32]byte, dated[sessionRow]] // sealed
	decoded  *shelf[string, sessionData]         // by the bytes, which say it all
	users    *shelf[ID, dated[User]]
	profiles *shelf[ID, keptProfile]
	views    *shelf[reader, dated[View]]
	recent   *shelf[ID, dated[Recent]]
	lines    *shelf[place, *keptLine]
	invites  *shelf[ID, *invite]
}

type reader struct{ room, user ID }

// place names a line of a room's history.
type place struct {
	room ID
	n    uint64
}

const (
	sessionsKept = 4096
	usersKept    = 4096
	viewsKept    = 32 << 20 // bytes
	recentKept   = 8 << 20  // bytes
	linesKept    = 32 << 20 // bytes
	invitesKept  = 256
)

func newShelves() shelves {
	return shelves{
		sessions: newShelf[[32]byte](sessionsKept, one[dated[sessionRow]]),
		decoded:  newShelf[string](sessionsKept, one[sessionData]),
		users:    newShelf[ID](usersKept, one[dated[User]]),
		profiles: newShelf[ID](usersKept, one[keptProfile]),
		views:    newShelf[reader](viewsKept, func(d dated[View]) int { return d.value.size() }),
		recent:   newShelf[ID](recentKept, func(d dated[Recent]) int { return d.value.size() }),
		lines:    newShelf[place](linesKept, (*keptLine).size),
		invites:  newShelf[ID](invitesKept, one[*invite]),
	}
}

// forget drops what is kept of text that an entry has ended: all of it when somebody has left or
// the room is gone, else the one message, or the code; and all that anybody was shown when newcomers
// see less.
func (k *shelves) forget(e *Entry) {
	switch e.Op {
	case OpLeave, OpRemove, OpBan, OpDestroy:
		k.lines.drop(func(p place) bool { return p.room == e.Room })
		k.invites.remove(e.Room)
		gone := func(user ID) bool { return user == e.Target || e.Op == OpDestroy }
		k.recent.drop(gone) // it names the room
		k.views.drop(func(r reader) bool { return gone(r.user) })
	case OpEdit, OpDelete:
		k.lines.remove(place{e.Room, e.about()})
	case OpCode:
		k.invites.remove(e.Room)
	case OpSetting:
	default:
		return
	}
	k.views.drop(func(r reader) bool { return r.room == e.Room })
}

// keptProfile is a profile with the bytes that it was verified from.
type keptProfile struct {
	revision uint32
	sealed   []byte
	profile  Profile
}

// invite is a room's code with what was made of it.
type invite struct {
	code      string
	rendering Rendering
}

// invitation returns what was made of the room's code, if that is the code.
func (s *Store) invitation(room ID, code string, since uint64) *Rendering {
	if i, ok := s.shelves.invites.get(room); ok && i.code == code {
		return &i.rendering
	}
	i := &invite{code: code}
	s.shelves.invites.put(room, i)
	if s.proofs.now() != since {
		s.shelves.invites.remove(room)
	}
	return &i.rendering
}

// keptLine is a line with every byte that it was verified from.
type keptLine struct {
	raw    rawLine
	last   mark     // the entry before it
	change blob     // its latest edit or removal
	latest *Entry   // the same, or the entry itself
	mac    [32]byte // the entry's own
	shown  bool     // it has a line of its own
	line   Line

	rendering *Rendering // nil for damage
}

// keep keeps a line that was read in a transaction begun at that moment, unless something was
// committed since: what was forgotten is not put back.
func (s *Store) keep(at place, l *keptLine, since uint64) {
	s.shelves.lines.put(at, l)
	if s.proofs.now() != since {
		s.shelves.lines.remove(at)
	}
}

// lineFrame is about what a line takes besides its text.
const lineFrame = 1 << 10

func (l *keptLine) size() int {
	return lineFrame + len(l.raw.entry) + len(l.raw.message) + len(l.change) + l.line.size()
}

// size is about what a line takes, with its text as HTML.
func (l Line) size() int { return lineFrame + 3*len(l.Body) }

// size is about what a view takes, with the lines, which may be kept by nobody else any more, and
// with all of it as HTML once more.
func (v View) size() int {
	const page, person = 32 << 10, 1 << 10
	size := page + person*len(v.People)
	for _, l := range v.Page.Lines {
		size += 2 * l.size()
	}
	return size
}

// Rendering keeps what a caller makes of something that this package keeps, for as long as that
// is kept. A nil one keeps nothing.
type Rendering struct{ made atomic.Pointer[made] }

type made struct {
	by   string
	what any
}

// Rendered returns what was made last, for whomever, if the same went into it; else it makes it
// anew. Nothing is kept of an error.
func Rendered[T any](r *Rendering, by string, render func() (T, error)) (T, error) {
	if r == nil {
		return render()
	}
	if m := r.made.Load(); m != nil && m.by == by {
		return m.what.(T), nil
	}
	what, err := render()
	if err == nil {
		r.made.Store(&made{by, what})
	}
	return what, err
}
