package feed

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var (
	ada, ben     = ID{0xA}, ID{0xB}
	garden, quay = ID{1}, ID{2}
)

// listen subscribes user to topic from a session and an address of their own.
func listen(t testing.TB, h *Hub, topic, user ID) *Subscription {
	t.Helper()
	s, err := h.Subscribe(Listener{Topic: topic, User: user, Session: [32]byte(append(user[:], user[:]...)), Address: string(user[:])})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// waiting takes what lies in the channel, apart by kind.
func waiting(s *Subscription) (entries []uint64, presences int) {
	for {
		select {
		case e := <-s.Events():
			if e.Kind == KindPresence {
				presences++
			} else {
				entries = append(entries, e.N)
			}
		default:
			return entries, presences
		}
	}
}

func over(s *Subscription) bool {
	select {
	case <-s.Done():
		return true
	default:
		return false
	}
}

// settled fails the test unless the hub has forgotten everything.
func settled(t *testing.T, h *Hub) {
	t.Helper()
	if len(h.topics)+len(h.sessions)+len(h.users)+len(h.addresses)+h.total != 0 {
		t.Errorf("left behind: topics %d, sessions %d, users %d, addresses %d, total %d",
			len(h.topics), len(h.sessions), len(h.users), len(h.addresses), h.total)
	}
}

func TestEveryListenerGetsEveryEntryOfItsTopicInOrder(t *testing.T) {
	const topics, listeners, entries = 20, 5, 500
	h := New(Options{Limits: Limits{Queue: entries + 10}})
	var streams, writers sync.WaitGroup
	for i := range topics {
		topic := ID{byte(i)}
		for j := range listeners {
			s := listen(t, h, topic, ID{byte(i), byte(j)})
			streams.Go(func() {
				for want := uint64(1); want <= entries; {
					e := <-s.Events()
					if e.Kind == KindPresence {
						continue
					}
					if e.Topic != topic || e.N != want {
						t.Errorf("topic %d got %d of topic %d, want %d", i, e.N, e.Topic[0], want)
						return
					}
					want++
				}
			})
		}
		writers.Go(func() {
			for n := range uint64(entries) {
				h.Publish(&Event{Topic: topic, Kind: KindEntry, N: n + 1})
			}
		})
	}
	writers.Wait()
	streams.Wait()
	h.Close()
	settled(t, h)
}

func TestAFrameIsRenderedOnceForAll(t *testing.T) {
	e := &Event{Topic: garden, Kind: KindEntry, N: 1, Entry: "sealed"}
	var renders int
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			got := e.Frame(func(e *Event) []byte { renders++; return []byte(e.Entry.(string)) })
			if string(got) != "sealed" {
				t.Errorf("got %q", got)
			}
		})
	}
	wg.Wait()
	if renders != 1 {
		t.Errorf("rendered %d times", renders)
	}
}

func TestASlowReaderIsCutAndTheOthersAreNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{Limits: Limits{Queue: 4}})
		slow, quick := listen(t, h, garden, ada), listen(t, h, garden, ben)
		for n := uint64(1); n <= 10; n++ {
			h.Publish(&Event{Topic: garden, Kind: KindEntry, N: n})
			if got, _ := waiting(quick); len(got) != 1 || got[0] != n {
				t.Fatalf("quick got %v, want %d", got, n)
			}
			if over(slow) != (n > 4) {
				t.Fatalf("after %d entries in a queue of 4: over is %v", n, over(slow))
			}
		}
		if got, _ := waiting(slow); slow.Reason() != Slow || len(got) != 4 {
			t.Errorf("reason %v, waiting %v", slow.Reason(), got)
		}
		if present := h.Present(garden); present[ada] || !present[ben] {
			t.Errorf("present: %v", present)
		}
		h.Close()
		settled(t, h)
	})
}

func TestNothingPublishedAfterAnEndArrives(t *testing.T) {
	for name, end := range map[string]func(*Hub, *Subscription){
		"member removed":  func(h *Hub, s *Subscription) { h.EndMember(s.Topic, s.User) },
		"session revoked": func(h *Hub, s *Subscription) { h.EndSession(s.Session) },
	} {
		t.Run(name, func(t *testing.T) {
			h := New(Options{})
			gone, second, elsewhere, stays := listen(t, h, garden, ada), listen(t, h, garden, ada), listen(t, h, quay, ada), listen(t, h, garden, ben)
			h.Publish(&Event{Topic: garden, Kind: KindEntry, N: 1})
			end(h, gone)
			h.Publish(&Event{Topic: garden, Kind: KindEntry, N: 2})

			for _, s := range []*Subscription{gone, second} {
				if got, _ := waiting(s); !over(s) || s.Reason() != Revoked || len(got) != 1 {
					t.Errorf("over %v, reason %v, got %v", over(s), s.Reason(), got)
				}
			}
			if over(elsewhere) != (name != "member removed") {
				t.Errorf("the other room's stream: over is %v", over(elsewhere))
			}
			if got, _ := waiting(stays); over(stays) || len(got) != 2 {
				t.Errorf("the one who stays got %v", got)
			}
			h.Close()
			settled(t, h)
		})
	}
}

func TestTheEndOfATopicEndsAllOfItAndNothingElse(t *testing.T) {
	h := New(Options{})
	first, second, elsewhere := listen(t, h, garden, ada), listen(t, h, garden, ben), listen(t, h, ID{0xE}, ada)
	h.EndTopic(garden)
	if first.Reason() != Revoked || second.Reason() != Revoked || elsewhere.Reason() != Open {
		t.Errorf("reasons %v, %v and %v", first.Reason(), second.Reason(), elsewhere.Reason())
	}
	elsewhere.Close()
	settled(t, h)
}

func TestOwnCloseIsIdempotentAndFirstReasonStays(t *testing.T) {
	h := New(Options{})
	s := listen(t, h, garden, ada)
	if s.Reason() != Open || over(s) {
		t.Error("over before its end")
	}
	s.Close()
	s.Close()
	h.EndMember(garden, ada)
	h.Close()
	if s.Reason() != Closed {
		t.Errorf("reason %v", s.Reason())
	}
	settled(t, h)
}

func TestACloseEndsAllAndRefusesNew(t *testing.T) {
	h := New(Options{})
	a, b := listen(t, h, garden, ada), listen(t, h, quay, ben)
	if len(h.Open()) != 2 {
		t.Errorf("open: %v", h.Open())
	}
	h.Close()
	h.Close()
	if a.Reason() != Shutdown || b.Reason() != Shutdown || len(h.Open()) != 0 {
		t.Errorf("reasons %v, %v; open %v", a.Reason(), b.Reason(), h.Open())
	}
	if _, err := h.Subscribe(Listener{}); !errors.Is(err, ErrClosed) {
		t.Errorf("subscribe after close: %v", err)
	}
	h.Touch(garden)
	h.Publish(&Event{Topic: garden, Kind: KindEntry, N: 1})
	settled(t, h)
}

func TestLimits(t *testing.T) {
	limits := Limits{PerSession: 2, PerUser: 3, PerAddress: 4, Total: 5}
	open := func(h *Hub, user, session byte, address string) (*Subscription, error) {
		return h.Subscribe(Listener{Topic: garden, User: ID{user}, Session: [32]byte{session}, Address: address})
	}

	t.Run("a session loses its oldest", func(t *testing.T) {
		h := New(Options{Limits: limits})
		first, _ := open(h, 1, 1, "a")
		second, _ := open(h, 1, 1, "a")
		third, err := open(h, 1, 1, "a")
		if err != nil || first.Reason() != Replaced || over(second) || over(third) {
			t.Errorf("err %v, reasons %v %v", err, first.Reason(), second.Reason())
		}
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
			h := New(Options{Limits: limits})
			var opened *Subscription
			for i, l := range listeners {
				s, err := open(h, l.user, l.session, l.address)
				if last := i == len(listeners)-1; errors.Is(err, ErrFull) != last {
					t.Fatalf("number %d: %v", i+1, err)
				}
				if err == nil {
					opened = s
				}
			}
			opened.Close()
			last := listeners[len(listeners)-1]
			if _, err := open(h, last.user, last.session, last.address); err != nil {
				t.Errorf("after one left: %v", err)
			}
			h.Close()
			settled(t, h)
		})
	}
}

func TestAThousandArrivalsInASecondAreAtMostTwoPresenceEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{Limits: Limits{Total: 2000}})
		var all []*Subscription
		for i := range 1000 {
			all = append(all, listen(t, h, garden, ID{byte(i), byte(i >> 8)}))
			time.Sleep(time.Millisecond)
		}
		time.Sleep(10 * time.Second)
		if _, presences := waiting(all[0]); presences != 2 {
			t.Errorf("the first heard %d presence events", presences)
		}
		if len(h.Present(garden)) != 1000 {
			t.Errorf("%d present", len(h.Present(garden)))
		}
		for _, s := range all[1:] {
			s.Close()
		}
		time.Sleep(10 * time.Second)
		if _, presences := waiting(all[0]); presences != 1 {
			t.Errorf("999 left at once in %d presence events", presences)
		}
		all[0].Close()
		settled(t, h)
	})
}

func TestPresence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{})
		stays, reloads := listen(t, h, garden, ada), listen(t, h, garden, ben)
		heard := func(after time.Duration, want int, what string) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			if _, got := waiting(stays); got != want {
				t.Errorf("%s: %d presence events, want %d", what, got, want)
			}
		}
		heard(99*time.Millisecond, 0, "before it settles")
		heard(time.Millisecond, 1, "two arrivals")
		heard(time.Hour, 0, "nobody moves")

		reloads.Close()
		time.Sleep(50 * time.Millisecond)
		reloads = listen(t, h, garden, ben)
		heard(time.Minute, 0, "a reload")

		second := listen(t, h, garden, ben)
		second.Close()
		heard(time.Minute, 0, "a second tab")

		reloads.Close()
		heard(100*time.Millisecond, 1, "ben leaves")
		reloads = listen(t, h, garden, ben)
		heard(999*time.Millisecond, 0, "back within the second")
		heard(time.Millisecond, 1, "a second later")

		time.Sleep(time.Minute)
		h.Touch(garden)
		h.Touch(garden)
		heard(time.Minute, 1, "two touches")

		h.Touch(quay)
		reloads.Close()
		stays.Close()
		settled(t, h)
	})
}

func TestClosesAndEndsRacePublishesWithoutDeadlockOrLeak(t *testing.T) {
	before := runtime.NumGoroutine()
	h := New(Options{Limits: Limits{Queue: 2}, PresenceEvery: time.Millisecond})
	users := []ID{ada, ben, {0xC}, {0xD}}
	var wg sync.WaitGroup
	for i := range 4 {
		topic := ID{byte(i)}
		wg.Go(func() {
			for n := range uint64(2000) {
				h.Publish(&Event{Topic: topic, Kind: KindEntry, N: n + 1})
			}
		})
		wg.Go(func() {
			for range 300 {
				user := users[rand.N(len(users))]
				switch rand.N(8) {
				case 0:
					h.EndTopic(topic)
				case 1:
					h.EndMember(topic, user)
				case 2:
					h.EndSession([32]byte{byte(rand.N(6))})
				case 3:
					h.Touch(topic)
				default:
					h.Present(topic)
					h.Open()
				}
			}
		})
		for range 4 {
			wg.Go(func() {
				for range 300 {
					s, err := h.Subscribe(Listener{Topic: topic, User: users[rand.N(len(users))], Session: [32]byte{byte(rand.N(6))}})
					if err != nil {
						continue
					}
					for reading := true; reading && rand.N(5) > 0; {
						select {
						case <-s.Events():
						case <-s.Done():
							reading = false
						case <-time.After(time.Millisecond):
						}
					}
					s.Close()
				}
			})
		}
	}
	time.AfterFunc(50*time.Millisecond, h.Close)
	wg.Wait()
	h.Close()
	settled(t, h)
	time.Sleep(10 * time.Millisecond)
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("%d goroutines before, %d after", before, after)
	}
}
