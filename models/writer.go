package models

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"sync"
	"time"

	"conclave/models/cipher"
	"conclave/models/feed"
)

// The rules of the lane:
//
//   - Every change of a room runs in this one goroutine, so the number of an entry is known
//     when its message is sealed, and announcements leave in the order of the log.
//   - It takes all that waits (up to batchSize), gives each change a savepoint of its own, and
//     commits them together: many posts share one fsync.
//   - What it knows of rooms in memory advances only after the commit. Then it announces, then
//     it answers.
//   - No hashing of passwords and no rendering happens here.
const (
	batchSize    = 128
	togetherWait = 3 * time.Millisecond
	changeLimit  = 10 * time.Second // for a whole batch, so that a stuck disk becomes an error

	exclusiveLimit = 10 * time.Minute
)

type lane struct {
	s        *Store
	db       *handle // of its own, so that what is prepared stays
	turn     *sql.DB // the other writers' one connection: whoever holds it writes
	most     int     // changes in a batch
	together int     // how many were in the last one
	jobs     chan *job
	stopped  chan struct{}             // closed when nothing runs any more
	quiet    sync.RWMutex              // held while a batch is committed and noted
	heads    map[ID]head               // committed
	pending  map[ID]head               // moved by the batch that is being written
	rotated  *cipher.Master            // the new master key of that batch
	minted   map[keyID]*cipher.RoomKey // the keys that this batch has made

	unsettled map[ID]bool // the rooms whose members this batch has touched
}

type job struct {
	ctx  context.Context
	run  func(*change) error
	done chan error

	limit time.Duration // how long its batch may take
}

// head is what the lane knows of the end of a room's log.
type head struct {
	n     uint64
	mac   [32]byte
	posts uint64
	epoch uint32
	stale bool // the next post opens a new epoch

	opened      int64  // when the epoch began, 0 when that was not looked up yet
	openedPosts uint64 // and how many posts there were
}

// change is one savepoint: what it may touch, and what is to be announced if it holds.
type change struct {
	s      *Store
	ctx    context.Context
	db     *handle // in the batch's transaction
	now    int64
	from   map[ID]head       // where this change found a room's log
	heads  map[ID]head       // and where it leaves it
	keys   []*cipher.RoomKey // keys that this change made
	events []*feed.Event
	after  []func() // runs after the commit, before the events leave
	noted  []Audit  // what this change wrote into the audit log
	end    mark     // of the audit log, after that
}

func newLane(s *Store) (*lane, error) {
	pool, err := s.write.DB()
	if err != nil {
		return nil, err
	}
	l := &lane{s: s, db: &handle{pool: pool}, turn: pool, most: batchSize, jobs: make(chan *job, 4*batchSize), stopped: make(chan struct{}), heads: map[ID]head{}}
	return l, l.db.open() // now, so that it does not take the connection of the others
}

// do runs f in the lane and returns when its change is durable and announced, or refused.
// A caller that gives up while its change waits is skipped; later than that the change holds.
func (l *lane) do(ctx context.Context, f func(*change) error) error {
	return l.ask(ctx, &job{ctx: ctx, run: f, limit: changeLimit})
}

// exclusive is do for work on the whole database, which may take longer than a change of a
// room. Once begun, it is waited for.
func (l *lane) exclusive(ctx context.Context, f func(*change) error) error {
	return l.ask(context.WithoutCancel(ctx), &job{ctx: ctx, run: f, limit: exclusiveLimit})
}

func (l *lane) ask(patience context.Context, j *job) error {
	j.done = make(chan error, 1)
	select {
	case l.jobs <- j:
	case <-patience.Done():
		return patience.Err()
	case <-l.stopped:
		return errStopped
	}
	select {
	case err := <-j.done:
		return err
	case <-patience.Done():
		return patience.Err()
	case <-l.stopped:
	}
	select {
	case err := <-j.done: // answered with its last breath
		return err
	default:
		return errStopped
	}
}

var errStopped = errors.New("the server is stopping")

func (l *lane) run(ctx context.Context) {
	defer close(l.stopped)
	for {
		select {
		case first := <-l.jobs:
			l.batch(l.waiting(first))
		case <-ctx.Done():
			for len(l.jobs) > 0 {
				l.batch(l.waiting(<-l.jobs))
			}
			return
		}
	}
}

// waiting takes all that waits. Where many wrote together a moment ago, as many and more are likely to
// come again, so they are waited for a little: a commit costs more than that.
func (l *lane) waiting(first *job) []*job {
	jobs := []*job{first}
	var patience <-chan time.Time
	for len(jobs) < l.most {
		select {
		case j := <-l.jobs:
			jobs = append(jobs, j)
			continue
		default:
		}
		if len(jobs) >= l.together+l.together/4 {
			break
		}
		if patience == nil {
			patience = time.After(togetherWait)
		}
		select {
		case j := <-l.jobs:
			jobs = append(jobs, j)
			continue
		case <-patience:
		}
		break
	}
	l.together = len(jobs)
	return jobs
}

// batch writes all changes that hold in one transaction, announces them, and answers everybody.
func (l *lane) batch(jobs []*job) {
	limit := time.Duration(0)
	for _, j := range jobs {
		limit = max(limit, j.limit)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	answers := make([]error, len(jobs))
	l.quiet.Lock()
	held, err := l.write(ctx, jobs, answers)
	if err == nil {
		l.note(held)
	}
	l.quiet.Unlock()
	if err == nil {
		for _, c := range held {
			c.announce()
		}
	}
	for i, j := range jobs {
		if answers[i] == nil && err != nil {
			answers[i] = fmt.Errorf("commit: %v", err)
		}
		j.done <- answers[i]
	}
}

// write returns the changes that hold, once they are durable, and fills in the answers to the others. An
// error means that none of them holds.
func (l *lane) write(ctx context.Context, jobs []*job, answers []error) (held []*change, err error) {
	l.pending, l.minted, l.rotated, l.unsettled = map[ID]head{}, map[keyID]*cipher.RoomKey{}, nil, map[ID]bool{}
	err = l.transaction(ctx, func() error {
		for i, j := range jobs {
			if answers[i] = j.ctx.Err(); answers[i] != nil {
				continue
			}
			var c *change
			if c, answers[i] = l.try(ctx, j, len(jobs) == 1); answers[i] == nil {
				held = append(held, c)
			} else if len(jobs) == 1 || errors.Is(answers[i], errBatchLost) {
				return answers[i]
			}
		}
		return nil
	})
	return held, err
}

// note moves what is known in memory on to what was written.
func (l *lane) note(held []*change) {
	maps.Copy(l.heads, l.pending)
	if l.rotated != nil {
		l.s.masters.use(l.rotated)
	}
	var entries []*Entry
	for _, c := range held {
		entries = append(entries, c.entries()...)
		l.s.note(c.noted, c.now, c.end)
	}
	l.s.proofs.advance(entries)
	l.s.tally.entries(entries)
	for _, e := range entries {
		l.s.shelves.forget(e)
	}
}

// transaction runs f in a transaction, while no other writer of this process is in one.
func (l *lane) transaction(ctx context.Context, f func() error) error {
	turn, err := l.turn.Conn(ctx)
	if err != nil {
		return err
	}
	defer turn.Close()
	return l.db.transaction(ctx, "BEGIN IMMEDIATE", f)
}

// try runs one change in a savepoint, which one that is alone in its batch does not need. A failure
// leaves the batch as if the change had never been asked for, or is errBatchLost.
func (l *lane) try(ctx context.Context, j *job, alone bool) (*change, error) {
	c := &change{s: l.s, ctx: ctx, db: l.db, now: l.s.now(), from: map[ID]head{}, heads: map[ID]head{}}
	if !alone {
		if err := c.exec("SAVEPOINT change"); err != nil {
			return nil, err
		}
	}
	err := c.run(j)
	if err == nil {
		err = c.storeHeads()
	}
	if alone && err != nil {
		return nil, err
	}
	if err != nil {
		if undo := c.exec("ROLLBACK TO change"); undo != nil {
			return nil, fmt.Errorf("%w: %v; %v", errBatchLost, err, undo)
		}
	} else {
		maps.Copy(l.pending, c.heads)
		for _, k := range c.keys {
			l.minted[keyID{k.Room(), k.Epoch()}] = k
		}
	}
	if !alone {
		if release := c.exec("RELEASE change"); release != nil {
			return nil, fmt.Errorf("%w: %v; %v", errBatchLost, err, release)
		}
	}
	return c, err
}

// run makes a panic an error, as in any other request: the lane goes on for everybody else.
func (c *change) run(j *job) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return j.run(c)
}

// errBatchLost means that the whole transaction is gone. On a full disk, for instance, SQLite
// rolls it back by itself; a savepoint after that would be a transaction of its own.
var errBatchLost = errors.New("the batch could not be written")

// announce tells what happened: first the streams that must end, then the entries in order.
func (c *change) announce() {
	for _, k := range c.keys {
		c.s.keys.Add(keyID{k.Room(), k.Epoch()}, k)
	}
	for _, f := range c.after {
		f()
	}
	for _, e := range c.events {
		hub, entry := c.s.o.Hub, e.Entry.(*Entry)
		hub.Publish(e)
		if entry.Op == OpCreate || entry.Op == OpJoin {
			hub.Join(entry.Room, entry.Target)
		}
		if entry.Op.OfMember() {
			hub.Publish(&feed.Event{Topic: entry.Room, Kind: feed.KindMembers, Entry: entry})
		}
		if entry.Op == OpCode {
			hub.Publish(&feed.Event{Topic: entry.Room, Kind: feed.KindCode, Entry: entry})
		}
	}
}

// entries are what this change has added to the logs.
func (c *change) entries() []*Entry {
	entries := make([]*Entry, len(c.events))
	for i, e := range c.events {
		entries[i] = e.Entry.(*Entry)
	}
	return entries
}

// audit writes an event into the audit log, in the same transaction.
func (c *change) audit(by By, event, object string) error {
	return c.record(by.audit(event, object, "done"))
}

// record is audit for an event whose outcome says more.
func (c *change) record(e Audit) error {
	c.noted = append(c.noted, e)
	var err error
	c.end, err = c.s.appendAudit(c.ctx, c.db, e)
	return err
}

// exec is for statements that touch a row for each message: plain SQL through the
// transaction's prepared statements.
func (c *change) exec(query string, args ...any) error {
	_, err := c.db.ExecContext(c.ctx, query, args...)
	return err
}

func (c *change) row(query string, args ...any) *sql.Row {
	return c.db.QueryRowContext(c.ctx, query, args...)
}

// head returns the end of a room's log as this change sees it. It trusts what the lane
// remembers; a room met for the first time is read, and its last entry verified.
func (c *change) head(room ID) (head, error) {
	if h, ok := c.heads[room]; ok {
		return h, nil
	}
	h, ok := c.s.lane.pending[room]
	if !ok {
		h, ok = c.s.lane.heads[room]
	}
	if !ok {
		var err error
		if h, err = c.s.readHead(c.ctx, c.db, room); err != nil {
			return head{}, err
		}
	}
	c.from[room], c.heads[room] = h, h
	return h, nil
}

// storeHeads moves the rows of the rooms on. A row that is not where this process left it
// has been changed behind its back: the change is refused.
func (c *change) storeHeads() error {
	for id, h := range c.heads {
		old := c.from[id]
		if h == old {
			continue
		}
		result, err := c.db.ExecContext(c.ctx,
			"UPDATE rooms SET head_n = ?, head_mac = ?, epoch = ? WHERE id = ? AND head_n = ? AND head_mac = ? AND epoch = ?",
			h.n, h.mac[:], h.epoch, id, old.n, old.mac[:], old.epoch)
		if err != nil {
			return err
		}
		rows, err := result.RowsAffected()
		if err != nil {
			return err
		}
		if rows != 1 {
			return errDamagedLog
		}
	}
	return nil
}
