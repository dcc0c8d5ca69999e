package feed

import (
	"sync/atomic"
	"time"
)

// A Subscription is one stream's ear. The stream writes what it takes, marks that it does, and waits to be
// woken when nothing is left; Listener.Drain may do the same for it from elsewhere.
//
//	for s.Reason() == Open {
//		for b := s.Take(); b != nil; b = s.Take() {
//			s.Writing()
//			write(b)
//			s.Written()
//		}
//		<-s.Woken()
//	}
type Subscription struct {
	Listener
	hub    *Hub
	blocks chan *Block
	size   atomic.Int64 // bytes in blocks
	woken  chan struct{}
	reason atomic.Int32

	begun   atomic.Int64 // when the write that is going on began, by the hub's clock; 0: none is
	wrote   atomic.Int64 // when the last one ended
	wake    atomic.Int64 // when the stream wants to be woken; 0: never
	aborted atomic.Bool

	// Guarded by hub.mu.
	place   int // in hub.all
	watched []ID
	told    time.Time // when the stream was last told that something is unread
}

// put adds a block unless too much is waiting already.
func (s *Subscription) put(b *Block) bool {
	n := int64(len(b.bytes))
	if size := s.size.Add(n); size > int64(s.hub.o.Limits.Bytes) && size > n {
		return false
	}
	select {
	case s.blocks <- b:
		return true
	default:
		return false
	}
}

// Take returns the next block, nil when none waits or the subscription is over: what was waiting then is
// not to be written any more.
func (s *Subscription) Take() *Block {
	select {
	case b := <-s.blocks:
		s.size.Add(-int64(len(b.bytes)))
		if s.Reason() == Open {
			return b
		}
	default:
	}
	return nil
}

// Waiting reports whether there is something to take.
func (s *Subscription) Waiting() bool { return s.Reason() == Open && len(s.blocks) > 0 }

// Woken says that something may wait, or that the subscription is over.
func (s *Subscription) Woken() <-chan struct{} { return s.woken }

// nudge lets the stream write what waits, or notice that it is over.
func (s *Subscription) nudge() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// Reason says why the subscription is over; Open while it is not.
func (s *Subscription) Reason() Reason { return Reason(s.reason.Load()) }

// Close ends the subscription from the stream's side. A second Close does nothing.
func (s *Subscription) Close() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.hub.end(Closed, s)
}

// Writing notes that a write begins. One that takes longer than Options.Deadline is aborted.
func (s *Subscription) Writing() {
	s.begun.Store(s.hub.clock.Load())
	if s.Reason() != Open {
		s.guard()
	}
}

// guard sees to it that what is written when the subscription is over does not hang either: the hub looks
// at it no more. Of an end and a write that begin together at least one sees the other.
func (s *Subscription) guard() {
	if begun := s.begun.Load(); begun > 0 {
		time.AfterFunc(s.hub.o.Deadline, func() {
			if s.begun.Load() == begun {
				s.abort()
			}
		})
	}
}

// Written notes that it has ended. The next heartbeat is due Options.Beat later.
func (s *Subscription) Written() {
	s.wrote.Store(s.hub.clock.Load())
	s.begun.Store(0)
}

// Wake asks for a block of KindWake at a moment, give or take a second.
func (s *Subscription) Wake(at time.Time) { s.wake.Store(s.hub.since(at)) }

// Watch adds topics whose unread posts the stream wants to know of; its own is none of them. A block
// of KindUnread follows at once, and one whenever there is something new, at most one a second.
func (s *Subscription) Watch(topics []ID) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	if s.Reason() != Open {
		return
	}
	for _, id := range topics {
		s.hub.watch(s, id)
	}
	s.told = time.Now()
	if !s.put(unread) {
		s.hub.end(Slow, s)
	}
	s.nudge()
}

// over notes that the subscription has ended and wakes the stream.
func (s *Subscription) over(why Reason) {
	s.reason.Store(int32(why))
	s.nudge()
	s.guard()
}

func (s *Subscription) abort() {
	if s.Abort != nil && !s.aborted.Swap(true) {
		go s.Abort() // it may have to wait for the connection
	}
}
