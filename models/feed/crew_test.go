package feed

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

// turn is a lock whose waiting synctest understands: a mutex would stop its clock.
type turn chan struct{}

func (t turn) Lock()   { t <- struct{}{} }
func (t turn) Unlock() { <-t }

func (t turn) TryLock() bool {
	select {
	case t <- struct{}{}:
		return true
	default:
		return false
	}
}

// seat is a stream that lets the crew write for it, as handlers/feed.go does.
type seat struct {
	sub     *Subscription
	writing turn
	slow    func() // how long a write takes
	cursor  uint64
	heard   []uint64
	at      []time.Time
	moments []int // of KindTyping, as their bytes say
}

func (r *seat) drain() {
	for r.writing.TryLock() {
		for b := r.sub.Take(); b != nil; b = r.sub.Take() {
			r.write(b)
		}
		r.writing.Unlock()
		if !r.sub.Waiting() {
			return
		}
	}
}

func (r *seat) write(b *Block) {
	r.slow()
	if b.Kind == KindTyping {
		n, _ := strconv.Atoi(string(b.bytes))
		r.moments = append(r.moments, n)
	}
	for n := max(b.first, r.cursor+1); b.last > 0 && n <= b.last; n++ {
		r.heard, r.at = append(r.heard, n), append(r.at, time.Now())
	}
	r.cursor = max(r.cursor, b.last)
}

func (r *seat) follow() {
	for range r.sub.Woken() {
		if r.drain(); r.sub.Reason() != Open {
			return
		}
	}
}

// hall is a topic with so many readers.
func hall(t *testing.T, h *Hub, readers int, slow func(i int) func()) []*seat {
	t.Helper()
	topic := ID{1}
	list := make([]*seat, readers)
	for i := range list {
		r := &seat{slow: slow(i), writing: make(turn, 1)}
		r.writing.Lock()
		var err error
		r.sub, err = h.Subscribe(Listener{Topic: topic, User: ID{2, byte(i)}, Session: [32]byte{byte(i)}, Address: fmt.Sprint(i), Drain: r.drain})
		if err != nil {
			t.Fatal(err)
		}
		r.writing.Unlock()
		go r.follow()
		list[i] = r
	}
	return list
}

func TestAWriteThatHangsHoldsUpNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{})
		defer h.Close()
		h.Render(func(e *Event) []byte { return []byte("x") })
		hangs := func(i int) bool { return i%5 == 2 }
		readers := hall(t, h, 60, func(i int) func() {
			if hangs(i) {
				return func() { time.Sleep(3 * time.Second) }
			}
			return func() {}
		})
		time.Sleep(5 * time.Second) // who is here has been told
		start := time.Now()
		for n := range uint64(20) {
			h.Publish(&Event{Topic: ID{1}, Kind: KindEntry, N: n + 1})
			time.Sleep(30 * time.Millisecond)
		}
		time.Sleep(2 * time.Minute)
		for i, r := range readers {
			r.writing.Lock()
			if want := 20; len(r.heard) != want || !slices.IsSorted(r.heard) {
				t.Errorf("reader %d heard %v", i, r.heard)
			} else if late := r.at[0].Sub(start); !hangs(i) && late > 200*time.Millisecond {
				t.Errorf("reader %d waited %v for others", i, late)
			}
			r.writing.Unlock()
		}
	})
}

func TestTheCrewKeepsEverybodysOrder(t *testing.T) {
	h := New(Options{Gather: time.Microsecond, Limits: Limits{Queue: 4096}})
	defer h.Close()
	h.Render(func(e *Event) []byte { return []byte(strconv.Itoa(len(e.Here))) })
	readers := hall(t, h, 50, func(int) func() {
		return func() {
			if rand.IntN(40) == 0 {
				time.Sleep(time.Duration(rand.IntN(8)) * time.Millisecond)
			}
		}
	})
	const entries = 400
	for n := range uint64(entries) {
		h.Publish(&Event{Topic: ID{1}, Kind: KindEntry, N: n + 1})
		h.Publish(&Event{Topic: ID{1}, Kind: KindTyping, Here: make([]ID, n+1)})
		if n%3 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	for i, r := range readers {
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			r.writing.Lock()
			cursor, heard := r.cursor, len(r.heard)
			r.writing.Unlock()
			if cursor == entries && heard == entries {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("reader %d heard %d of %d up to %d", i, heard, entries, cursor)
			}
		}
		r.writing.Lock()
		if !slices.IsSorted(r.heard) || !slices.IsSorted(r.moments) {
			t.Errorf("reader %d heard out of order", i)
		}
		r.writing.Unlock()
	}
}
