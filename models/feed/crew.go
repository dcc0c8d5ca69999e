package feed

// To wake a thousand streams for one block costs more than most of what they do then. So where many
// listen to a quiet room, a few goroutines go through them and write what waits. (In a busy one they
// would be the narrow place: there each stream takes what has gathered.) A write may hang, and nobody
// may wait for it: a goroutine that has been at one listener for too long keeps only that one, and
// another takes its place.

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	manyListeners = 16 // fewer are woken
	patience      = 5 * time.Millisecond
)

// crew goes through listeners.
type crew struct {
	listeners []*Subscription
	next      atomic.Int64
	done      chan struct{} // closed when each listener is in somebody's hands
	once      sync.Once
}

// worker is one goroutine of a crew.
type worker struct {
	at       atomic.Int64 // the listener it writes for, counted from 1; 0 when it has finished
	relieved atomic.Bool
}

// drain lets everybody's queue be written, and returns when the last is in somebody's hands.
func drain(listeners []*Subscription) {
	c := &crew{listeners: listeners, done: make(chan struct{})}
	workers := make([]*worker, 2*runtime.GOMAXPROCS(0))
	seen := make([]int64, len(workers))
	for i := range workers {
		workers[i] = c.start()
	}
	look := time.NewTicker(patience)
	defer look.Stop()
	for {
		select {
		case <-c.done:
			return
		case <-look.C:
		}
		for i, w := range workers {
			at := w.at.Load()
			if at > 0 && at == seen[i] {
				w.relieved.Store(true)
				workers[i], at = c.start(), 0
			}
			seen[i] = at
		}
	}
}

func (c *crew) start() *worker {
	w := &worker{}
	go func() {
		defer w.at.Store(0)
		for !w.relieved.Load() {
			i := c.next.Add(1)
			if i > int64(len(c.listeners)) {
				c.once.Do(func() { close(c.done) })
				return
			}
			w.at.Store(i)
			if s := c.listeners[i-1]; s.Drain != nil {
				s.Drain()
			} else {
				s.nudge()
			}
		}
	}()
	return w
}
