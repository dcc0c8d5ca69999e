package models

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// held keeps the lane busy until release is called, so that whatever is asked for meanwhile
// waits, and is then taken as one batch.
func (a *archive) held() (release func()) {
	a.t.Helper()
	gate, running := make(chan struct{}), make(chan struct{})
	release = sync.OnceFunc(func() { close(gate) })
	a.t.Cleanup(release)
	refused := make(chan error, 1)
	go func() {
		refused <- a.lane.do(context.Background(), func(*change) error {
			close(running)
			<-gate
			return nil
		})
	}()
	select {
	case <-running:
	case err := <-refused:
		a.t.Fatalf("the lane takes nothing any more: %v", err)
	}
	return release
}

func (a *archive) waitForJobs(count int) {
	a.t.Helper()
	for end := time.Now().Add(5 * time.Second); len(a.lane.jobs) != count; {
		if time.Now().After(end) {
			a.t.Fatalf("%d jobs wait, want %d", len(a.lane.jobs), count)
		}
		time.Sleep(time.Millisecond)
	}
}

// commits counts the transactions in the write-ahead log: the frames that end one carry the
// size of the database after it (sqlite.org/fileformat2.html, section 4.1).
func (a *archive) commits() int {
	a.t.Helper()
	wal, err := os.ReadFile(filepath.Join(a.dir, databaseName+"-wal"))
	if err != nil {
		a.t.Fatal(err)
	}
	if len(wal) < 32 {
		return 0
	}
	frame := 24 + int(binary.BigEndian.Uint32(wal[8:]))
	count := 0
	for at := 32; at+frame <= len(wal) && string(wal[at+8:at+16]) == string(wal[16:24]); at += frame {
		if binary.BigEndian.Uint32(wal[at+4:]) != 0 {
			count++
		}
	}
	return count
}

// The server turns a panic in a request into an error, and must go on for everybody else.
func TestAnActThatPanicsLeavesNothingAndStopsNobody(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		m.act(t.Context(), func(t *act) error {
			t.audit(Audit{Event: "test.panic"})
			panic("a mistake")
		})
	}()
	said := make(chan uint64, 1)
	go func() { said <- m.say(m.ada, m.room, "Still here?") }()
	select {
	case <-said:
	case <-time.After(5 * time.Second):
		t.Fatal("nobody can write any more")
	}
	if found := events(t, m.Store, "test.panic"); len(found) > 0 {
		t.Errorf("of the act remains %v", found)
	}
}

func TestAChangeThatPanicsIsRefusedAloneAndTheLaneGoesOn(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	ada := m.member(m.ada, m.room)
	for _, together := range []bool{false, true} {
		var release func()
		refused, said := make(chan error, 1), make(chan error, 1)
		if together {
			release = m.held()
		}
		go func() {
			refused <- m.lane.do(t.Context(), func(c *change) error {
				if _, err := c.post(ada, "never said", ""); err != nil {
					return err
				}
				panic("a mistake")
			})
		}()
		if together {
			m.waitForJobs(1)
		} else if err := <-refused; err == nil || !strings.Contains(err.Error(), "a mistake") {
			t.Fatalf("the panic came back as %v", err)
		}
		go func() {
			_, err := m.Post(t.Context(), ada, "said", "")
			said <- err
		}()
		if together {
			m.waitForJobs(2)
			release()
			if err := <-refused; err == nil {
				t.Error("the change that panicked was accepted")
			}
		}
		if err := <-said; err != nil {
			t.Errorf("together %v: %v", together, err)
		}
	}
	if got := m.allSaid(m.ada, m.room); !slices.Equal(got, []string{"said", "said"}) {
		t.Errorf("the room holds %q", got)
	}
}

func TestManyPostersShareOneTransaction(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	posters := []Membership{m.member(m.ada, m.room), m.member(m.grace, m.room)}
	if busy := m.pragma("wal_checkpoint(TRUNCATE)"); busy != 0 {
		t.Fatal("the write-ahead log cannot be emptied")
	}
	release := m.held()
	var wait sync.WaitGroup
	want := numbered(64)
	for i, body := range want {
		wait.Go(func() {
			if _, err := m.Post(t.Context(), posters[i%2], body, ""); err != nil {
				t.Error(err)
			}
		})
	}
	m.waitForJobs(64)
	release()
	wait.Wait()
	if commits := m.commits(); commits == 0 || commits > 4 {
		t.Errorf("64 posts took %d transactions", commits)
	}
	got := m.allSaid(m.ada, m.room)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the room holds %q", got)
	}
}

func TestARefusedChangeInABatchTakesNothingElseWithIt(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	leaver := m.member(m.grace, m.room)
	if err := m.Leave(t.Context(), leaver); err != nil {
		t.Fatal(err)
	}
	ada := m.member(m.ada, m.room)
	release := m.held()
	var wait sync.WaitGroup
	refused := make([]error, 10)
	for i := range 10 {
		wait.Go(func() {
			if _, err := m.Post(t.Context(), ada, fmt.Sprintf("Message number %d", i), ""); err != nil {
				t.Error(err)
			}
		})
		wait.Go(func() { _, refused[i] = m.Post(t.Context(), leaver, "I am still here", "") })
	}
	m.waitForJobs(20)
	release()
	wait.Wait()
	for _, err := range refused {
		if KindOf(err) != NotFound {
			t.Errorf("a post of somebody who has left: %v", err)
		}
	}
	if got := m.allSaid(m.ada, m.room); len(got) != 10 || slices.Contains(got, "I am still here") {
		t.Errorf("the room holds %q", got)
	}
}

func TestTheSameClientIDPostsOnceEvenInOneBatch(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	ada, grace := m.member(m.ada, m.room), m.member(m.grace, m.room)
	release := m.held()
	var wait sync.WaitGroup
	numbers := make([]uint64, 8)
	for i := range numbers {
		wait.Go(func() {
			var err error
			if numbers[i], err = m.Post(t.Context(), ada, "Only once", "abc"); err != nil {
				t.Error(err)
			}
		})
	}
	m.waitForJobs(8)
	release()
	wait.Wait()
	if slices.Sort(numbers); numbers[0] == 0 || numbers[0] != numbers[7] {
		t.Errorf("the answers are %d", numbers)
	}
	if _, err := m.Post(t.Context(), ada, "Another text", "abc"); KindOf(err) != Conflict {
		t.Errorf("another text under the same client id: %v", err)
	}
	if _, err := m.Post(t.Context(), grace, "Grace chose the same", "abc"); err != nil {
		t.Errorf("a client id of one member stands in the way of another: %v", err)
	}
	if got, want := m.history(m.ada, m.room), []string{"Only once", "Grace chose the same"}; !slices.Equal(got, want) {
		t.Errorf("the room holds %q, want %q", got, want)
	}
	for _, bad := range []string{"a b", "a\x00", "ä", strings.Repeat("a", 65), "a'--"} {
		if _, err := m.Post(t.Context(), ada, "text", bad); KindOf(err) != Invalid {
			t.Errorf("client id %q: %v", bad, err)
		}
	}
}

// fillDisk lets the database grow no further, as on a full disk; the result makes room again.
func (a *archive) fillDisk() (free func()) {
	a.t.Helper()
	a.pragma(fmt.Sprintf("max_page_count = %d", a.pragma("page_count")))
	return func() { a.pragma("max_page_count = 1073741823") }
}

// pragma runs a pragma on both connections that write and returns the first column of the last
// answer. (Exec would leave such a statement unfinished.)
func (a *archive) pragma(text string) (value int) {
	a.t.Helper()
	a.pragmaOn(a.write.Statement.ConnPool, text)
	return a.pragmaOn(a.lane.db.conn, text)
}

func (a *archive) pragmaOn(db interface {
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
}, text string) (value int) {
	a.t.Helper()
	rows, err := db.QueryContext(a.t.Context(), "PRAGMA "+text)
	if err != nil {
		a.t.Fatal(err)
	}
	defer rows.Close()
	var rest any
	for rows.Next() {
		columns, _ := rows.Columns()
		into := []any{&value}
		for range len(columns) - 1 {
			into = append(into, &rest)
		}
		if err := rows.Scan(into...); err != nil {
			a.t.Fatal(err)
		}
	}
	return value
}

func TestAFullDiskLosesNothingThatWasAcknowledged(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	other := m.create(m.grace, "Another room")
	rooms := []Membership{m.member(m.ada, m.room), m.member(m.grace, other)}
	accepted := map[ID][]string{}
	for _, r := range rooms {
		accepted[r.Room] = append(accepted[r.Room], "Before")
		if _, err := m.Post(t.Context(), r, "Before", ""); err != nil {
			t.Fatal(err)
		}
	}
	free := m.fillDisk()
	// Small posts that still find room in half-filled pages stand between large ones that do not.
	var mu sync.Mutex
	failed := 0
	for round := range 4 {
		release := m.held()
		var wait sync.WaitGroup
		for i := range 16 {
			r := rooms[i/2%2]
			body := fmt.Sprintf("Round %d, message %d", round, i)
			if i%2 == 1 {
				body += strings.Repeat(" is long", 450)
			}
			wait.Go(func() {
				_, err := m.Post(t.Context(), r, body, "")
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					accepted[r.Room] = append(accepted[r.Room], body)
					return
				}
				if failed++; KindOf(err) != 0 {
					t.Errorf("a full disk is answered like a mistake of the sender: %v", err)
				}
			})
			m.waitForJobs(i + 1)
		}
		release()
		wait.Wait()
	}
	if failed == 0 {
		t.Fatal("the disk was not full")
	}
	compare := func(when string) {
		t.Helper()
		for _, r := range rooms {
			got, want := m.allSaid(r.User, r.Room), slices.Clone(accepted[r.Room])
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("%s: the room holds %d posts, acknowledged were %d", when, len(got), len(want))
			}
		}
	}
	compare("while the disk is full")
	free()
	for _, r := range rooms {
		if _, err := m.Post(t.Context(), r, "After", ""); err != nil {
			t.Errorf("the lane does not go on when there is room again: %v", err)
			continue
		}
		accepted[r.Room] = append(accepted[r.Room], "After")
	}
	compare("afterwards")
	m.reopen()
	compare("after a restart")
	m.checkChain(m.room)
	m.checkChain(other)
}

// failCommit is a change whose transaction cannot be committed.
func failCommit(c *change) error {
	nowhere := newID()
	return errors.Join(c.exec("PRAGMA defer_foreign_keys = ON"),
		c.exec("INSERT INTO room_keys (room_id, epoch, wrapped) VALUES (?, 1, x'00')", nowhere))
}

func TestAFailedCommitStoresNothingAndLeavesNoKeyBehind(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	if err := m.Leave(t.Context(), m.member(m.grace, m.room)); err != nil { // the next post opens an epoch
		t.Fatal(err)
	}
	ada := m.member(m.ada, m.room)
	batch := func(last func(*change) error, bodies ...string) []error {
		release := m.held()
		answers := make([]error, len(bodies)+1)
		var wait sync.WaitGroup
		for i, body := range bodies {
			wait.Go(func() { _, answers[i] = m.Post(t.Context(), ada, body, "") })
			m.waitForJobs(i + 1)
		}
		wait.Go(func() { answers[len(bodies)] = m.lane.do(t.Context(), last) })
		m.waitForJobs(len(bodies) + 1)
		release()
		wait.Wait()
		return answers
	}
	for _, err := range batch(failCommit, "Lost one", "Lost two") {
		if err == nil || KindOf(err) != 0 {
			t.Errorf("a post whose commit failed is answered with %v", err)
		}
	}
	if got := m.allSaid(m.ada, m.room); len(got) != 0 {
		t.Errorf("the room holds %q", got)
	}
	want := []string{"First of the epoch", "Second of the epoch", "Third of the epoch"}
	for _, err := range batch(func(*change) error { return nil }, want...) {
		if err != nil {
			t.Error(err)
		}
	}
	for _, when := range []string{"at once", "after a restart"} {
		if got := m.history(m.ada, m.room); !slices.Equal(got, want) {
			t.Errorf("%s, the room shows %q, want %q", when, got, want)
		}
		m.reopen()
	}
	m.checkChain(m.room)
}

func TestADiskThatBecomesReadOnlyIsAnErrorUntilItIsNot(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	m.say(m.ada, m.room, "Before")
	m.pragma("query_only = 1")
	ada := m.member(m.ada, m.room)
	if _, err := m.Post(t.Context(), ada, "Meanwhile", ""); err == nil || KindOf(err) != 0 {
		t.Errorf("a post on a read-only database: %v", err)
	}
	m.pragma("query_only = 0")
	m.say(m.ada, m.room, "After")
	if got, want := m.history(m.grace, m.room), []string{"Before", "After"}; !slices.Equal(got, want) {
		t.Errorf("the room holds %q, want %q", got, want)
	}
	m.checkChain(m.room)
}

func TestWhoGivesUpWhileWaitingHasPostedNothing(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	ada := m.member(m.ada, m.room)
	release := m.held()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := m.Post(ctx, ada, "Never mind", "")
		done <- err
	}()
	m.waitForJobs(1)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the answer is %v", err)
	}
	release()
	m.say(m.ada, m.room, "Here I am")
	if got, want := m.history(m.ada, m.room), []string{"Here I am"}; !slices.Equal(got, want) {
		t.Errorf("the room holds %q, want %q", got, want)
	}
}

func TestClosingAnswersWhatWaits(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	ada := m.member(m.ada, m.room)
	release := m.held()
	var wait sync.WaitGroup
	for i := range 20 {
		wait.Go(func() {
			if _, err := m.Post(t.Context(), ada, fmt.Sprintf("Message number %d", i), ""); err != nil {
				t.Error(err)
			}
		})
	}
	m.waitForJobs(20)
	closed := make(chan error)
	go func() { closed <- m.Close() }()
	release()
	wait.Wait()
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	m.open()
	if got := m.allSaid(m.ada, m.room); len(got) != 20 {
		t.Errorf("the room holds %d of 20 acknowledged posts", len(got))
	}
}
