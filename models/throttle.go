package models

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"gorm.io/gorm"
)

// Guessing is made slow. Counted are
//
//   - failures in a row for one account, whoever makes them: from the fifth on each is followed by
//     a wait that doubles, and after a hundred neither password nor code opens the account any
//     more, unless somebody unlocks it. Names that belong to nobody are treated alike.
//   - failures of one address in the last quarter of an hour, over all names.
//   - registrations and wrong links for a new password of one address, in a window as well.
//   - failures in a row of a browser that its owner has signed in from before: for the first ten
//     of them neither of the above applies, so that strangers lock nobody out.
//
// While somebody has to wait nothing is checked and nothing is written. A try under way counts as a
// failure until it has ended, so that many at once are no more than one after the other. All of it
// lies in the database and survives a restart; the keys of its rows are keyed hashes.
const (
	freeFailures = 5 // the first that is followed by a wait
	firstWait    = 30 * time.Second
	longestWait  = 15 * time.Minute
	locksAccount = 100
	deviceTries  = 10
	attemptsKept = 10_000                                    // rows that belong to nobody's account
	perAddress   = 30                                        // in a window; an IPv4 address, or the /64 of an IPv6 one: what a household gets
	perNetwork   = 100                                       // the /48 of an IPv6 address: what a company gets
	perHour      = 60                                        // registrations begun by an address in an hour: a class behind one address
	attemptsIdle = windowSlots * hourSlot * time.Millisecond // after which a row that says nothing any more is deleted
)

// waitAfter is how long an account has to wait after so many failures in a row.
func waitAfter(failures int) time.Duration {
	if failures < freeFailures {
		return 0
	}
	return min(firstWait<<min(failures-freeFailures, 10), longestWait)
}

// tooOften refuses a try. The text tells nobody what is being counted.
func tooOften(wait time.Duration) error {
	return &Error{Kind: Limited, Wait: wait,
		Msg: "Too many attempts have failed. Wait " + InWords(wait) + " before you try again; until then even what is right is refused."}
}

// InWords writes a waiting time as people say it.
func InWords(d time.Duration) string {
	switch {
	case d <= 2*time.Second:
		return "a moment"
	case d < 90*time.Second:
		return fmt.Sprintf("%d seconds", (d+time.Second-1)/time.Second)
	}
	return fmt.Sprintf("%d minutes", (d+time.Minute-1)/time.Minute)
}

// throttle counts the tries that are under way, by the key of what they will be counted in.
type throttle struct {
	mu     sync.Mutex
	trying map[string]int
}

// counter is one row of attempts that a try is counted in.
type counter struct {
	key  []byte
	user ID // zero: nobody's, and may be dropped to make room

	waits bool // failures in a row, each followed by a longer wait
	most  int  // failures in a window; 0: no window
	hour  bool // the window is an hour, not a quarter of one
}

// attempts is what such a row says.
type attempts struct {
	failures int // in a row
	guessed  int // of them with the right password
	since    int64
	until    int64 // no try before this
	recent   window
}

// row reads what a counter has counted.
func (c counter) row(ctx context.Context, db gorm.ConnPool) (attempts, error) {
	var failures, guessed, since, until number
	var recent blob
	err := db.QueryRowContext(ctx, "SELECT failures, guessed, since_ms, until_ms, recent FROM attempts WHERE key = ?", c.key).
		Scan(&failures, &guessed, &since, &until, &recent)
	if errors.Is(err, sql.ErrNoRows) {
		return attempts{}, nil
	}
	return attempts{int(max(failures, 0)), int(max(guessed, 0)), int64(since), int64(until), readWindow(recent)}, err
}

// wait is how long nobody may try, when so many tries are under way that may still fail.
func (c counter) wait(a attempts, trying int, now int64) time.Duration {
	if c.most > 0 {
		return a.recent.wait(c.most, trying, now, c.slot())
	}
	if !c.waits {
		return 0
	}
	if wait := time.Duration(a.until-now) * time.Millisecond; wait > 0 {
		return min(wait, longestWait) // the clock may have been put back
	}
	if trying > 0 {
		return waitAfter(a.failures + trying)
	}
	return 0
}

// begin begins a try that all these counters allow. It ends with end.
func (s *Store) begin(ctx context.Context, counters []counter) error {
	s.throttle.mu.Lock()
	defer s.throttle.mu.Unlock()
	return s.throttle.begin(ctx, s.readPool(), s.now(), counters)
}

// begin must be called with t.mu held, from the reading of the rows until the try counts as under way.
func (t *throttle) begin(ctx context.Context, db gorm.ConnPool, now int64, counters []counter) error {
	var wait time.Duration
	for _, c := range counters {
		a, err := c.row(ctx, db)
		if err != nil {
			return err
		}
		wait = max(wait, c.wait(a, t.trying[string(c.key)], now))
	}
	if wait > 0 {
		return tooOften(wait)
	}
	for _, c := range counters {
		t.trying[string(c.key)]++
	}
	return nil
}

// end notes that a try is over, and what came of it is in the database.
func (t *throttle) end(counters []counter) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range counters {
		if t.trying[string(c.key)]--; t.trying[string(c.key)] <= 0 {
			delete(t.trying, string(c.key))
		}
	}
}

// count adds a failure to a counter and returns what there is now.
func (t *act) count(c counter, guessed bool) (attempts, error) {
	db := t.db.Statement.ConnPool
	a, err := c.row(t.ctx, db)
	if err != nil {
		return a, err
	}
	if c.most > 0 {
		a.recent.add(t.now, c.slot())
	} else {
		if a.failures == 0 {
			a.since = t.now
		}
		a.failures++
		if c.waits {
			a.until = t.now + waitAfter(a.failures).Milliseconds()
		}
	}
	if guessed {
		a.guessed++
	}
	var owner any
	if !c.user.Zero() {
		owner = c.user
	}
	_, err = db.ExecContext(t.ctx, `INSERT INTO attempts (key, user_id, failures, guessed, since_ms, last_ms, until_ms, recent) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (key) DO UPDATE SET failures = excluded.failures, guessed = excluded.guessed, since_ms = excluded.since_ms,
			last_ms = excluded.last_ms, until_ms = excluded.until_ms, recent = excluded.recent`,
		c.key, owner, a.failures, a.guessed, a.since, t.now, a.until, a.recent.encoded())
	if err == nil && owner == nil {
		_, err = db.ExecContext(t.ctx, `DELETE FROM attempts WHERE rowid IN
			(SELECT rowid FROM attempts WHERE user_id IS NULL ORDER BY last_ms DESC, rowid DESC LIMIT -1 OFFSET ?)`, attemptsKept)
	}
	return a, err
}

// unlock lets a person's next sign-in wait for nothing, and returns how many counts of
// failures there were. Wrong room codes stay counted.
func (t *act) unlock(user ID) (int64, error) {
	if _, err := t.exec("DELETE FROM attempts WHERE key = ?", t.s.sudoCounter(user)[0].key); err != nil {
		return 0, err
	}
	return t.exec("DELETE FROM attempts WHERE user_id = ? AND failures > 0", user)
}

// sudoCounter counts failed confirmations: whoever holds a stolen session guesses no faster than a
// stranger. A login forgets them; they keep nobody from logging in, and so stand under nobody's name.
func (s *Store) sudoCounter(user ID) []counter {
	return []counter{{waits: true, key: s.service.Index("attempts", "sudo "+user.String())}}
}

// confirmed writes down how a confirmation has ended.
func (s *Store) confirmed(by By, guard []counter, outcome string) {
	err := s.act(context.Background(), func(t *act) error {
		if err := t.audit(by.audit("sudo", "", outcome)); err != nil {
			return err
		}
		if outcome == "done" {
			_, err := t.exec("DELETE FROM attempts WHERE key = ?", guard[0].key)
			return err
		}
		_, err := t.count(guard[0], false)
		return err
	})
	if err != nil {
		s.o.Log.Error("a confirmation could not be written to the audit log", "error", err)
	}
}

// addressCounters are the counters of an address, for one purpose. Nobody's own doing has none.
func (s *Store) addressCounters(purpose, address string) []counter {
	of := func(name string, most int) counter {
		return counter{key: s.service.Index("attempts", purpose+" from "+name), most: most * s.o.LimitScale}
	}
	ip, err := netip.ParseAddr(address)
	switch {
	case address == "":
		return nil
	case err != nil:
		return []counter{of(address, perAddress)}
	}
	if ip = ip.Unmap().WithZone(""); ip.Is4() {
		return []counter{of(ip.String(), perAddress)}
	}
	household, _ := ip.Prefix(64) // fails for a length that the family has not
	company, _ := ip.Prefix(48)
	return []counter{of(household.String(), perAddress), of(company.String(), perNetwork)}
}

// countEach counts something that is no failure in itself, but may not be done without end. It is
// Limited, and nothing is written, where it was done too often.
func (s *Store) countEach(ctx context.Context, counters []counter) error {
	if len(counters) == 0 {
		return nil
	}
	if err := s.begin(ctx, counters); err != nil {
		return err
	}
	defer s.throttle.end(counters)
	return s.countFailure(ctx, counters)
}

// countFailure adds one to counters whose try was begun.
func (s *Store) countFailure(ctx context.Context, counters []counter) error {
	return s.act(context.WithoutCancel(ctx), func(t *act) error {
		for _, c := range counters {
			if _, err := t.count(c, false); err != nil {
				return err
			}
		}
		return nil
	})
}

// registrationCounters count the registrations that an address begins.
func (s *Store) registrationCounters(address string) []counter {
	counters := s.addressCounters("register", address)
	for i := range counters {
		counters[i].hour, counters[i].most = true, perHour*s.o.LimitScale
	}
	return counters[:min(len(counters), 1)] // a network has many houses
}

// window counts what happened in the last quarter of an hour, or in the last hour, by slots of a
// fifteenth of that. It never forgets sooner, and at most a slot later.
type window struct {
	Slot   int64 // the latest that was counted in, since 1970
	Counts [windowSlots]uint32
}

const (
	windowSlots = 16     // fifteen, and the one that is under way
	quarterSlot = 60_000 // milliseconds
	hourSlot    = 4 * quarterSlot
)

func (c counter) slot() int64 {
	if c.hour {
		return hourSlot
	}
	return quarterSlot
}

func readWindow(b []byte) (w window) {
	if _, err := binary.Decode(b, binary.BigEndian, &w); err != nil {
		return window{} // empty, or not what was written
	}
	return w
}

func (w *window) encoded() []byte {
	b, _ := binary.Append(nil, binary.BigEndian, w) // fails for a type without a fixed size
	return b
}

// turn drops what lies too far back. A clock that was put back by more than a window starts anew.
func (w *window) turn(now, slot int64) {
	today := now / slot
	if today-w.Slot >= windowSlots || w.Slot-today >= windowSlots {
		*w = window{Slot: today}
	}
	for w.Slot < today {
		w.Slot++
		w.Counts[w.Slot%windowSlots] = 0
	}
}

func (w *window) add(now, slot int64) {
	w.turn(now, slot)
	w.Counts[w.Slot%windowSlots]++
}

// wait is how long it takes until fewer than most are left; with others under way that may be
// counted yet, at least a moment when they would be too many.
func (w window) wait(most, trying int, now, slot int64) time.Duration {
	w.turn(now, slot)
	sum := 0
	for _, n := range w.Counts {
		sum += int(n)
	}
	if sum+trying < most {
		return 0
	}
	end := now
	for back := int64(windowSlots - 1); back >= 0 && sum >= most; back-- {
		of := w.Slot - back
		sum -= int(w.Counts[of%windowSlots])
		end = (of + windowSlots) * slot
	}
	return max(time.Duration(end-now)*time.Millisecond, 2*time.Second)
}

// Room codes.

const (
	codesPerAccount = 10  // wrong ones in a window; by address as for signing in
	codesAlarm      = 500 // wrong ones in an hour, by all
)

// TryCode runs join, which tries a room code for the doer. Once the doer, or the doer's address, has
// tried too many wrong ones in a quarter of an hour, it is Limited without a look at the code.
func (s *Store) TryCode(ctx context.Context, by By, code string, join func() error) error {
	counters := append(s.addressCounters("code", by.Address), counter{
		key: s.service.Index("attempts", "code by "+by.User.String()), user: by.User, most: codesPerAccount * s.o.LimitScale,
	})
	if err := s.begin(ctx, counters); err != nil {
		return err
	}
	defer s.throttle.end(counters)
	err := join()
	if _, malformed := normalCode(code); malformed == nil && KindOf(err) != NotFound {
		return err
	}
	if uncounted := s.countCode(context.WithoutCancel(ctx), by, counters); uncounted != nil {
		return uncounted
	}
	return err
}

// countCode counts a wrong room code. Many of them, whoever they come from, mean that somebody is
// trying them out with many accounts: the operator is told, once an hour.
func (s *Store) countCode(ctx context.Context, by By, counters []counter) error {
	return s.act(ctx, func(t *act) error {
		for _, c := range counters {
			if _, err := t.count(c, false); err != nil {
				return err
			}
		}
		db := t.db.Statement.ConnPool
		var wrong int
		err := db.QueryRowContext(t.ctx, `INSERT INTO attempts (key, user_id, failures, guessed, since_ms, last_ms, until_ms) VALUES (?1, NULL, 1, 0, ?2, ?2, 0)
			ON CONFLICT (key) DO UPDATE SET failures = iif(since_ms > ?2 - 3600000, failures + 1, 1), since_ms = iif(since_ms > ?2 - 3600000, since_ms, ?2), last_ms = ?2
			RETURNING failures`, s.service.Index("attempts", "codes"), t.now).Scan(&wrong)
		if err != nil || wrong != codesAlarm*s.o.LimitScale {
			return err
		}
		s.o.Log.Warn("many wrong room codes: somebody may be trying them out", "in an hour", wrong)
		return t.audit(By{Address: by.Address}.audit("alarm.codes", "", fmt.Sprintf("%d in an hour", wrong)))
	})
}
