package feed

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var (
	ada, ben, cleo = ID{'A'}, ID{'B'}, ID{'C'}
	garden, quay   = ID{1}, ID{2}
)

// open makes a hub that renders as show does, and closes with the test.
func open(t testing.TB, o Options) *Hub {
	h := New(o)
	h.Render(show)
	t.Cleanup(func() {
		h.Close()
		time.Sleep(time.Second) // a pump may still be waiting for the end of its moment
	})
	return h
}

// show renders events so that they can be read in a test: "7 ", "here AB +B -C ", "A types ".
func show(e *Event) []byte {
	switch e.Kind {
	case KindEntry:
		return fmt.Appendf(nil, "%d ", e.N)
	case KindPresence:
		return fmt.Appendf(nil, "here %s +%s -%s ", letters(e.Here), letters(e.Came), letters(e.Went))
	case KindTyping:
		return fmt.Appendf(nil, "%s types ", letters(e.Here))
	}
	return []byte("members ")
}

// letters names users, in the order of the alphabet.
func letters(ids []ID) string {
	var text []byte
	for _, id := range ids {
		text = append(text, id[0])
	}
	slices.Sort(text)
	return string(text)
}

// listen subscribes user to topic, from a session and an address of the user's own.
func listen(t testing.TB, h *Hub, topic, user ID) *Subscription {
	t.Helper()
	s, err := h.Subscribe(Listener{Topic: topic, User: user, Session: [32]byte(append(user[:], user[:]...)), Address: string(user[:])})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A page is a stream that writes in no time. Look at it after synctest.Wait only.
type page struct {
	*Subscription
	mu     sync.Mutex // for the race detector, which does not see that a test looks while nothing moves
	since  time.Time
	blocks []*Block
	at     []time.Duration // when they came
	over   bool
}

// follow opens a page.
func follow(t testing.TB, h *Hub, topic, user ID) *page {
	t.Helper()
	p := &page{Subscription: listen(t, h, topic, user), since: time.Now()}
	go func() {
		for b := p.Next(); b != nil; b = p.Next() {
			p.Writing()
			p.mu.Lock()
			p.blocks, p.at = append(p.blocks, b), append(p.at, time.Since(p.since))
			p.mu.Unlock()
			p.Written()
		}
		p.over = true
	}()
	return p
}

// came returns the blocks that have come since it was last asked, and when.
func (p *page) came() ([]*Block, []time.Duration) {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	blocks, at := p.blocks, p.at
	p.blocks, p.at, p.since = nil, nil, time.Now()
	return blocks, at
}

// heard returns what has come since it was last asked, with the time since then: "0s: 1 | 25ms: 2 3".
// Heartbeats are left out.
func (p *page) heard() string {
	var text []string
	blocks, at := p.came()
	for i, b := range blocks {
		switch {
		case b.Kind == KindUnread:
			text = append(text, fmt.Sprint(at[i], ": unread"))
		case b.Kind == KindWake:
			text = append(text, fmt.Sprint(at[i], ": wake"))
		case b != beat:
			text = append(text, fmt.Sprint(at[i], ": ", strings.TrimSpace(string(b.bytes))))
		}
	}
	return strings.Join(text, " | ")
}

// hears fails the test unless exactly this has come since the page was last asked.
func (p *page) hears(t testing.TB, want string) {
	t.Helper()
	if got := p.heard(); got != want {
		t.Errorf("%c heard %q, want %q", p.User[0], got, want)
	}
}

// quiet lets pass what the opening of pages has set off.
func quiet(pages ...*page) {
	time.Sleep(3 * time.Second)
	for _, p := range pages {
		p.heard()
	}
}

// settled fails the test unless the hub has forgotten everything.
func settled(t testing.TB, h *Hub) {
	t.Helper()
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.topics)+len(h.watchers)+len(h.due)+len(h.all)+len(h.sessions)+len(h.users)+len(h.addresses) != 0 {
		t.Errorf("left behind: topics %d, watchers %d, due %d, all %d, sessions %d, users %d, addresses %d",
			len(h.topics), len(h.watchers), len(h.due), len(h.all), len(h.sessions), len(h.users), len(h.addresses))
	}
}

func entry(topic ID, n uint64) *Event { return &Event{Topic: topic, Kind: KindEntry, N: n} }

// ends are all the ways in which a subscription is over, but for being slow.
var ends = map[string]struct {
	end  func(*Hub, *Subscription)
	want Reason
}{
	"the stream closes":     {func(_ *Hub, s *Subscription) { s.Close() }, Closed},
	"the member is removed": {func(h *Hub, s *Subscription) { h.EndMember(s.Topic, s.User) }, Revoked},
	"the topic ends":        {func(h *Hub, s *Subscription) { h.EndTopic(s.Topic) }, Revoked},
	"the session ends":      {func(h *Hub, s *Subscription) { h.EndSession(s.Session) }, Revoked},
	"the topic is let go":   {func(h *Hub, s *Subscription) { h.ReleaseTopic(s.Topic) }, Replaced},
	"the token changes":     {func(h *Hub, s *Subscription) { h.Release(s.Session) }, Replaced},
	"the hub closes":        {func(h *Hub, _ *Subscription) { h.Close() }, Shutdown},
}

func TestAfterAnEndNextReturnsNothingMoreAndTheReasonStays(t *testing.T) {
	for name, c := range ends {
		for _, waiting := range []int{0, 1, 4} { // in a queue of 4
			t.Run(fmt.Sprint(name, " with blocks waiting: ", waiting), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := open(t, Options{Limits: Limits{Queue: 4}})
					s := listen(t, h, garden, ada)
					for range waiting {
						s.put(&Block{bytes: []byte("before")})
					}
					c.end(h, s)
					h.Publish(entry(garden, 1))
					time.Sleep(time.Second)
					for range 6 {
						if b := s.Next(); b != nil {
							t.Fatalf("Next returned %q", b.bytes)
						}
					}
					s.Close()
					h.EndMember(garden, ada)
					h.Release(s.Session)
					h.Close()
					if s.Reason() != c.want {
						t.Errorf("reason %v, want %v", s.Reason(), c.want)
					}
					settled(t, h)
				})
			})
		}
	}
}

func TestAStreamThatWaitsIsWokenByItsEnd(t *testing.T) {
	for name, c := range ends {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := open(t, Options{})
				p := follow(t, h, garden, ada)
				quiet(p)
				c.end(h, p.Subscription)
				synctest.Wait()
				if !p.over || p.Reason() != c.want {
					t.Errorf("over %v, reason %v", p.over, p.Reason())
				}
			})
		})
	}
}

// The stream waits, a block comes, and before the stream has taken it the member is removed.
func TestABlockThatMeetsAnEndIsNotReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, Options{})
		p := follow(t, h, garden, ada)
		quiet(p)
		p.reason.Store(int32(Revoked)) // as EndMember does, before it wakes the stream
		h.deliver(&Block{bytes: []byte("after")}, p.Subscription)
		p.hears(t, "")
		if !p.over {
			t.Error("Next went on")
		}
	})
}

func TestAnEndConcernsNobodyElse(t *testing.T) {
	for name, c := range map[string]struct {
		end                        func(*Hub)
		second, elsewhere, another Reason // ada's second tab, ada on the quay, ben in the garden
	}{
		"member":  {func(h *Hub) { h.EndMember(garden, ada) }, Revoked, Open, Open},
		"topic":   {func(h *Hub) { h.EndTopic(garden) }, Revoked, Open, Revoked},
		"session": {func(h *Hub) { h.EndSession([32]byte(append(ada[:], ada[:]...))) }, Revoked, Revoked, Open},
		"release": {func(h *Hub) { h.Release([32]byte(append(ada[:], ada[:]...))) }, Replaced, Replaced, Open},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := open(t, Options{})
				listen(t, h, garden, ada)
				second, elsewhere, another := listen(t, h, garden, ada), listen(t, h, quay, ada), listen(t, h, garden, ben)
				c.end(h)
				if second.Reason() != c.second || elsewhere.Reason() != c.elsewhere || another.Reason() != c.another {
					t.Errorf("reasons %v, %v, %v", second.Reason(), elsewhere.Reason(), another.Reason())
				}
			})
		})
	}
}

func TestACloseEndsAllAndRefusesNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, Options{})
		a, b := follow(t, h, garden, ada), follow(t, h, quay, ben)
		a.Watch([]ID{quay})
		h.Typing(garden, ada)
		synctest.Wait()
		h.Typing(garden, ada)
		if len(h.Open()) != 2 {
			t.Errorf("open: %v", h.Open())
		}
		h.mu.Lock()
		topic := h.topics[garden]
		h.mu.Unlock()
		h.Close()
		if topic.timer.Stop() || topic.typists.Stop() {
			t.Error("a timer goes on")
		}
		h.Close()
		settled(t, h)
		if a.Reason() != Shutdown || b.Reason() != Shutdown || !a.over || !b.over || len(h.Open()) != 0 {
			t.Errorf("reasons %v, %v; open %v", a.Reason(), b.Reason(), h.Open())
		}
		if _, err := h.Subscribe(Listener{Topic: garden}); !errors.Is(err, ErrClosed) {
			t.Errorf("subscribe after close: %v", err)
		}
		h.Publish(entry(garden, 1))
		h.Typing(garden, ada)
		h.Join(garden, ada)
		h.Unread(ada)
		h.EndTopic(garden)
		a.Watch([]ID{quay})
		time.Sleep(time.Minute)
		settled(t, h)
	}) // which fails when a goroutine is left
}

func TestAfterACloseNothingIsRendered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, Options{})
		var renders atomic.Int32
		h.Render(func(e *Event) []byte { renders.Add(1); return show(e) })
		p := follow(t, h, garden, ada)
		quiet(p)
		h.Publish(entry(garden, 1))
		synctest.Wait()
		h.Publish(entry(garden, 2)) // waits for the moment to end
		before := renders.Load()
		h.Close()
		time.Sleep(time.Second)
		if renders.Load() != before {
			t.Errorf("%d renderings", renders.Load()-before)
		}
	})
}

func TestAHubThatNobodyUsedHasNoGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{})
		h.Publish(entry(garden, 1))
		h.EndTopic(garden)
	})
}

func TestLimits(t *testing.T) {
	limits := Limits{PerSession: 2, PerUser: 3, PerAddress: 4, Total: 5}
	subscribe := func(h *Hub, user, session byte, address string) (*Subscription, error) {
		return h.Subscribe(Listener{Topic: garden, User: ID{user}, Session: [32]byte{session}, Address: address})
	}
	t.Run("a session loses its oldest", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := open(t, Options{Limits: limits})
			first, _ := subscribe(h, 1, 1, "a")
			second, _ := subscribe(h, 1, 1, "a")
			third, err := subscribe(h, 1, 1, "a")
			if err != nil || first.Reason() != Replaced || second.Reason() != Open || third.Reason() != Open {
				t.Errorf("err %v, reasons %v %v", err, first.Reason(), second.Reason())
			}
			if fourth, err := subscribe(h, 1, 1, "a"); err != nil || second.Reason() != Replaced || third.Reason() != Open || fourth.Reason() != Open {
				t.Errorf("err %v, reasons %v %v", err, second.Reason(), third.Reason())
			}
		})
	})
	for name, listeners := range map[string][]struct {
		user, session byte
		address       string
	}{
		"user":    {{1, 1, "a"}, {1, 2, "b"}, {1, 3, "c"}, {1, 4, "d"}},
		"address": {{1, 1, "a"}, {2, 2, "a"}, {3, 3, "a"}, {4, 4, "a"}, {5, 5, "a"}},
		"total":   {{1, 1, "a"}, {2, 2, "b"}, {3, 3, "c"}, {4, 4, "d"}, {5, 5, "e"}, {6, 6, "f"}},
	} {
		t.Run("full by "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := open(t, Options{Limits: limits})
				var opened []*Subscription
				for i, l := range listeners {
					s, err := subscribe(h, l.user, l.session, l.address)
					if last := i == len(listeners)-1; errors.Is(err, ErrFull) != last {
						t.Fatalf("number %d: %v", i+1, err)
					}
					if err == nil {
						opened = append(opened, s)
					}
				}
				opened[0].Close()
				last := listeners[len(listeners)-1]
				if _, err := subscribe(h, last.user, last.session, last.address); err != nil {
					t.Errorf("after one left: %v", err)
				}
				h.Close()
				settled(t, h)
			})
		})
	}
}

// hang begins a write that nothing but Abort ends, and reports when that came, and how often.
func hang(t testing.TB, h *Hub, user ID) (s *Subscription, took func() time.Duration, times *atomic.Int32) {
	t.Helper()
	var begun time.Time
	var after atomic.Int64
	times = new(atomic.Int32)
	s, err := h.Subscribe(Listener{Topic: garden, User: user, Session: [32]byte(append(user[:], user[:]...)), Abort: func() {
		after.Store(int64(time.Since(begun)))
		times.Add(1)
	}})
	if err != nil {
		t.Fatal(err)
	}
	begun = time.Now()
	s.Writing()
	return s, func() time.Duration { synctest.Wait(); return time.Duration(after.Load()) }, times
}

func TestAWriteThatTakesLongerThanTheDeadlineIsAbortedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, Options{Limits: Limits{PerAddress: 1000}})
		listen(t, h, quay, ben) // from here on the hub looks round
		var tooks []func() time.Duration
		var counts []*atomic.Int32
		for i := range 30 { // wherever between two looks it begins
			_, took, times := hang(t, h, ID{'A', byte(i)})
			tooks, counts = append(tooks, took), append(counts, times)
			time.Sleep(101 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		for i := range tooks {
			if took, times := tooks[i](), counts[i].Load(); took <= 10*time.Second || took > 11*time.Second+time.Millisecond || times != 1 {
				t.Errorf("number %d: aborted %d times after %v", i, times, took)
			}
		}
	})
}

func TestAWriteThatEndsInTimeIsNotAborted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, Options{})
		s, _, times := hang(t, h, ada)
		for range 20 {
			time.Sleep(9900 * time.Millisecond)
			s.Written()
			time.Sleep(time.Duration(rand.N(3000)) * time.Millisecond)
			s.Writing()
		}
		s.Written()
		time.Sleep(10 * time.Minute)
		s.Close()
		time.Sleep(10 * time.Minute)
		if times.Load() != 0 {
			t.Errorf("aborted %d times", times.Load())
		}
	})
}

func TestTheFirstWriteOfAHubThatWasIdleHasItsWholeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, Options{})
		time.Sleep(time.Hour)
		_, took, _ := hang(t, h, ada)
		time.Sleep(time.Minute)
		if took() <= 10*time.Second {
			t.Errorf("aborted after %v", took())
		}
	})
}

// Otherwise whoever opens streams, reads nothing and opens more would hold ever more of them.
func TestAWriteThatHangsIsAbortedAlsoWhenItsStreamIsOver(t *testing.T) {
	for name, c := range ends {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := open(t, Options{})
				s, took, times := hang(t, h, ada)
				time.Sleep(3 * time.Second)
				c.end(h, s)
				time.Sleep(time.Minute)
				if c.want != Closed && (took() > 14*time.Second || times.Load() != 1) {
					t.Errorf("aborted %d times, after %v", times.Load(), took())
				}
			})
		})
	}
}

// "session-end" is written when the subscription is over.
func TestALastWordThatHangsIsAborted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, Options{})
		s, took, times := hang(t, h, ada)
		s.Written()
		h.EndSession(s.Session)
		time.Sleep(time.Second)
		s.Writing()
		time.Sleep(time.Minute)
		if took() > 13*time.Second || times.Load() != 1 {
			t.Errorf("aborted %d times, after %v", times.Load(), took())
		}
	})
}

func TestALastWordThatIsWrittenIsNotAborted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, Options{})
		s, _, times := hang(t, h, ada)
		time.Sleep(time.Second)
		h.EndSession(s.Session)
		time.Sleep(time.Second)
		s.Written()
		s.Writing()
		time.Sleep(time.Second)
		s.Written()
		time.Sleep(time.Hour)
		if times.Load() != 0 {
			t.Errorf("aborted %d times", times.Load())
		}
	})
}

func TestAHeartbeatComesAfterTwentySecondsOfSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, Options{})
		p := follow(t, h, garden, ada)
		quiet(p)
		h.Publish(entry(garden, 1))
		time.Sleep(19 * time.Second)
		if got := p.heard(); got != "0s: 1" {
			t.Errorf("within 19 s: %q", got)
		}
		time.Sleep(50 * time.Second)
		blocks, times := p.came()
		if n := len(blocks); n != 3 || blocks[0] != beat {
			t.Errorf("%d blocks in 50 s of silence: %v", n, times)
		}
		for _, at := range times {
			if between := (at + 19*time.Second) % (20 * time.Second); between > 3*time.Second {
				t.Errorf("a heartbeat %v late", between)
			}
		}
		if bytes, ok := beat.After(7, 0); !ok || string(bytes) != ":\n\n" {
			t.Errorf("it is written as %q, %v", bytes, ok)
		}
	})
}

func TestABusyTopicNeedsNoHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, Options{})
		p := follow(t, h, garden, ada)
		for n := range uint64(30) {
			h.Publish(entry(garden, n+1))
			time.Sleep(15 * time.Second)
		}
		if blocks, _ := p.came(); slices.Contains(blocks, beat) {
			t.Errorf("heartbeats among %d blocks", len(blocks))
		}
	})
}

func TestAStreamIsWokenWhenItAskedForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, Options{})
		p := follow(t, h, garden, ada)
		quiet(p)
		p.Wake(time.Now().Add(90*time.Minute + 300*time.Millisecond))
		time.Sleep(5 * time.Hour)
		if got := p.heard(); got != "1h30m1s: wake" {
			t.Errorf("heard %q", got)
		}
		p.Wake(time.Now().Add(time.Hour))
		p.Wake(time.Now().Add(2 * time.Hour))
		p.Wake(time.Now().Add(-time.Hour))
		time.Sleep(5 * time.Hour)
		if got := p.heard(); got != "1s: wake" {
			t.Errorf("heard %q", got)
		}
	})
}

// Else a session that ends while much is waiting would keep its stream for ever.
func TestAWakeIsNotLostInAFullQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, Options{Limits: Limits{Queue: 3}})
		s := listen(t, h, quay, ada)
		s.Wake(time.Now().Add(1500 * time.Millisecond))
		time.Sleep(1200 * time.Millisecond)
		for s.put(&Block{bytes: []byte("x")}) {
		}
		time.Sleep(2 * time.Second)
		time.AfterFunc(time.Minute, s.Close)
		woken := false
		for b := s.Next(); b != nil; b = s.Next() {
			woken = woken || b == wakeUp
		}
		if s.Reason() != Slow && !woken {
			t.Error("neither woken nor cut off")
		}
	})
}

func TestTheFirstNewsIsNotLostInAFullQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, Options{Limits: Limits{Queue: 3}})
		s := listen(t, h, quay, ada)
		for range 3 {
			s.put(&Block{bytes: []byte("x")})
		}
		s.Watch([]ID{garden})
		if s.Reason() != Slow {
			t.Error("neither told nor cut off")
		}
	})
}

func TestWatchersAreToldOfNewPostsAtOnceThenAtMostOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, Options{})
		p, own := follow(t, h, quay, ada), follow(t, h, ID{}, ben)
		p.Watch([]ID{garden, quay})
		p.hears(t, "0s: unread")
		own.Watch([]ID{garden})
		quiet(p, own)
		p.Watch([]ID{garden}) // says that there may be news, so
		h.Publish(&Event{Topic: garden, Kind: KindEntry, Author: cleo})
		p.hears(t, "0s: unread") // this must wait
		quiet(p, own)
		time.Sleep(950 * time.Millisecond)
		p.heard()
		own.heard()
		post := &Event{Topic: garden, Kind: KindEntry, N: 1, Author: cleo}
		h.Publish(post)
		p.hears(t, "0s: unread")
		own.hears(t, "0s: unread")

		for range 1000 { // 10 s
			h.Publish(post)
			time.Sleep(10 * time.Millisecond)
		}
		for _, p := range []*page{p, own} {
			_, times := p.came()
			if n := len(times); n < 9 || n > 10 {
				t.Errorf("told %d times in ten seconds", n)
			}
			before := time.Duration(0)
			for _, at := range times {
				if at-before < time.Second {
					t.Errorf("told again after %v", at-before)
				}
				before = at
			}
		}
		time.Sleep(3 * time.Second)
		if got := p.heard(); !strings.HasSuffix(got, ": unread") || strings.Contains(got, "|") {
			t.Errorf("after the last post: %q", got)
		}
		time.Sleep(time.Hour)
		p.hears(t, "")
	})
}

func TestNoNewsIsNoNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, Options{})
		p := follow(t, h, quay, ada)
		p.Watch([]ID{garden, quay})
		quiet(p)
		h.Publish(entry(garden, 1)) // no post
		h.Publish(&Event{Topic: garden, Kind: KindMembers})
		time.Sleep(3 * time.Second)
		p.hears(t, "")
		h.Publish(&Event{Topic: quay, Kind: KindEntry, N: 1, Author: ben}) // the own topic
		time.Sleep(3 * time.Second)
		p.hears(t, "0s: 1")
	})
}

func TestAWatchFollowsTheMembership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, Options{})
		p, other := follow(t, h, quay, ada), follow(t, h, quay, ben)
		p.Watch(nil)
		other.Watch(nil)
		quiet(p, other)
		told := func(what string, want bool) {
			t.Helper()
			time.Sleep(3 * time.Second)
			if got := p.heard(); strings.HasSuffix(got, ": unread") != want || strings.Contains(got, "|") {
				t.Errorf("%s: heard %q", what, got)
			}
			other.hears(t, "")
		}
		post := &Event{Topic: garden, Kind: KindEntry, N: 1, Author: cleo}
		h.Publish(post)
		told("a post in a strange room", false)
		h.Join(garden, ada)
		told("a member", true)
		h.Join(garden, ada)
		told("again", true)
		h.mu.Lock()
		if len(p.watched) != 1 {
			t.Errorf("watched: %v", p.watched)
		}
		h.mu.Unlock()
		h.Publish(post)
		told("a post", true)
		h.EndMember(garden, ada)
		told("no member any more", true)
		h.Publish(post)
		told("a post afterwards", false)
		h.Join(garden, ada)
		told("a member again", true)
		h.EndTopic(garden)
		told("the room is gone", true)
		h.Publish(post)
		told("a post in a room that is gone", false)
		if len(h.watchers) != 0 {
			t.Errorf("watchers: %v", h.watchers)
		}
		h.Unread(ada)
		p.hears(t, "0s: unread")
		h.Unread(ada)
		h.Unread(ada)
		told("two more", true)
		h.Unread(ada)
		h.Unread(ada)
		p.Close()
		p.Watch([]ID{garden})
		other.Close()
		h.mu.Lock()
		if len(h.due) != 0 {
			t.Errorf("due: %v", h.due)
		}
		h.mu.Unlock()
		time.Sleep(time.Minute)
		settled(t, h)
	})
}

// The log stands for the database: what is in it is published afterwards, mostly.
type log struct {
	mu sync.Mutex
	n  uint64
}

func (l *log) after(cursor uint64) (page []uint64, head uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n := cursor + 1; n <= l.n && len(page) < 7; n++ {
		page = append(page, n)
	}
	return page, l.n
}

// A reader reads as handlers/feed.go does: catch up, follow, catch up again where something is missing.
type reader struct {
	l      *log
	cursor uint64
	read   bytes.Buffer
}

func (r *reader) catchUp() {
	for {
		page, head := r.l.after(r.cursor)
		for _, n := range page {
			fmt.Fprintf(&r.read, "%d ", n)
			r.cursor = n
		}
		time.Sleep(time.Duration(rand.N(2000)) * time.Microsecond)
		if r.cursor >= head {
			return
		}
	}
}

// stream reads from one connection until it is cut, or everything is there.
func (r *reader) stream(s *Subscription, all uint64) {
	defer s.Close()
	r.catchUp()
	for r.cursor < all {
		b := s.Next()
		if b == nil {
			return
		}
		bytes, ok := b.After(r.cursor, 0)
		switch {
		case b.Last() == 0:
			continue
		case !ok:
			r.catchUp()
			continue
		}
		s.Writing()
		r.read.Write(bytes)
		if rand.N(10) == 0 {
			time.Sleep(time.Duration(rand.N(300)) * time.Millisecond) // slow
		}
		s.Written()
		r.cursor = max(r.cursor, b.Last())
	}
}

func TestCatchUpMeetsLiveAndNothingIsLostDoubledOrOutOfOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const all, readers = 3000, 12
		h := open(t, Options{Limits: Limits{Queue: 3}})
		h.Render(func(e *Event) []byte {
			if e.Kind == KindEntry && e.N%97 == 0 {
				return nil
			}
			time.Sleep(time.Duration(rand.N(200)) * time.Microsecond)
			return show(e)
		})
		var want bytes.Buffer
		for n := range all {
			fmt.Fprintf(&want, "%d ", n+1)
		}
		l := &log{}
		var wg sync.WaitGroup
		reasons := [Shutdown + 1]atomic.Int32{}
		for i := range readers {
			wg.Go(func() {
				r := &reader{l: l}
				user := ID{'A', byte(i)}
				for r.cursor < all {
					s := listen(t, h, garden, user)
					cut := time.AfterFunc(time.Duration(rand.N(2000))*time.Millisecond, func() {
						switch rand.N(4) {
						case 0:
							h.EndSession(s.Session)
						case 1:
							h.EndMember(garden, user)
						case 2:
							h.Release(s.Session)
						default:
							s.Close()
						}
					})
					r.stream(s, all)
					cut.Stop()
					reasons[s.Reason()].Add(1)
					time.Sleep(time.Duration(rand.N(100)) * time.Millisecond)
				}
				if r.read.String() != want.String() {
					t.Errorf("reader %d has %d bytes of %d: %.200q", i, r.read.Len(), want.Len(), r.read.String())
				}
			})
		}
		for n := range uint64(all) {
			l.mu.Lock()
			l.n++
			l.mu.Unlock()
			if rand.N(50) > 0 || n+1 == all { // the others are lost on their way
				h.Publish(&Event{Topic: garden, Kind: KindEntry, N: n + 1, Author: ada, Removal: rand.N(20) == 0})
			}
			if rand.N(3) == 0 {
				time.Sleep(time.Duration(rand.N(20)) * time.Millisecond)
			}
		}
		wg.Wait()
		if reasons[Slow].Load() == 0 || reasons[Revoked].Load() == 0 || reasons[Closed].Load() < readers {
			t.Errorf("the cuts were too few to say anything: %v slow, %v revoked, %v closed", reasons[Slow].Load(), reasons[Revoked].Load(), reasons[Closed].Load())
		}
		time.Sleep(20 * time.Second)
		settled(t, h)
	})
}

func TestClosesAndEndsRacePublishesWithoutDeadlockOrLeak(t *testing.T) {
	for name, closes := range map[string]bool{"the hub stays": false, "the hub closes meanwhile": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := open(t, Options{Limits: Limits{Queue: 2, PerSession: 3, PerUser: 9}, Grace: 10 * time.Millisecond, Moment: time.Millisecond})
				users := []ID{ada, ben, cleo, {'D'}}
				var wg sync.WaitGroup
				pause := func() {
					if rand.N(4) == 0 {
						time.Sleep(time.Duration(rand.N(1000)) * time.Microsecond)
					}
				}
				for i := range 4 {
					topic := ID{byte(i + 1)}
					wg.Go(func() {
						for n := range uint64(1000) {
							h.Publish(&Event{Topic: topic, Kind: KindEntry, N: n + 1, Author: users[rand.N(len(users))]})
							pause()
						}
					})
					wg.Go(func() {
						for range 500 {
							user := users[rand.N(len(users))]
							switch rand.N(8) {
							case 0:
								h.EndTopic(topic)
							case 1:
								h.EndMember(topic, user)
							case 2:
								h.EndSession([32]byte{byte(rand.N(6))})
							case 3:
								h.Release([32]byte{byte(rand.N(6))})
							case 4:
								h.Typing(topic, user)
							case 5:
								h.Join(topic, user)
							case 6:
								h.Unread(user)
							default:
								h.Present(topic)
								h.Presence(topic, user)
								h.Open()
								h.look()
							}
							pause()
						}
					})
					for range 4 {
						wg.Go(func() {
							for range 200 {
								s, err := h.Subscribe(Listener{Topic: topic, User: users[rand.N(len(users))], Session: [32]byte{byte(rand.N(6))}})
								if err != nil {
									pause()
									continue
								}
								s.Watch([]ID{{1}, {2}, {3}, {4}})
								s.Wake(time.Now())
								giveUp := time.AfterFunc(time.Duration(rand.N(20))*time.Millisecond, s.Close)
								for b := s.Next(); b != nil && rand.N(20) > 0; b = s.Next() {
									s.Writing()
									pause()
									s.Written()
								}
								giveUp.Stop()
								s.Close()
							}
						})
					}
				}
				if closes {
					time.AfterFunc(30*time.Millisecond, h.Close)
				}
				wg.Wait()
				time.Sleep(time.Minute)
				settled(t, h)
			})
		})
	}
}
