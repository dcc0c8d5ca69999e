package feed

// A topic that has something to tell has a pump: one goroutine that renders what was published,
// hands it to the listeners as a block, and waits a moment. What is published meanwhile leaves
// together, with one write and one flush for each listener instead of many. The first event of a
// quiet topic leaves at once; when nothing came in that moment, the pump ends.

import (
	"fmt"
	"slices"
	"time"
)

// A Block is what one write carries: the entries of a busy moment, or one other event. It is
// shared by all listeners of its topic.
type Block struct {
	Kind  Kind
	first uint64 // the numbers of its entries; 0 when it has none
	last  uint64
	ends  []int // where the bytes of each entry end
	bytes []byte

	abouts []uint64 // what each entry is about; nil when none is about an earlier one
}

// beat is what a stream writes when it has nothing to say, so that both sides and all between know
// that the line is up: a comment.
var beat = &Block{bytes: []byte(":\n\n")}

// Last returns the number of the last entry in the block, 0 when there is none.
func (b *Block) Last() uint64 { return b.last }

// After returns the bytes for a listener who has everything up to the cursor: all of them, what
// follows the cursor, or none. ok is false when something between is missing, and when an event
// could not be rendered: of an entry, the log must be read then. Of an entry that is about one before
// the number from, which the listener may not see, it returns the bare number.
func (b *Block) After(cursor, from uint64) (bytes []byte, ok bool) {
	switch {
	case b.last > 0 && b.last <= cursor:
		return nil, true
	case b.first > cursor+1 || len(b.bytes) == 0:
		return nil, false
	}
	had := 0 // entries
	if b.first > 0 {
		had = int(cursor + 1 - b.first)
	}
	for _, about := range b.abouts[min(had, len(b.abouts)):] {
		if 0 < about && about < from {
			return b.without(had, from), true
		}
	}
	return b.bytes[b.start(had):], true
}

// start is where the bytes of the entry i begin, counted from 0.
func (b *Block) start(i int) int {
	if i == 0 {
		return 0
	}
	return b.ends[i-1]
}

// without copies what follows the first entries, with the bare number of each that is about one before from.
func (b *Block) without(had int, from uint64) (kept []byte) {
	for i := had; i < len(b.ends); i++ {
		if about := b.abouts[i]; 0 < about && about < from {
			kept = append(kept, Bare(b.first+uint64(i))...)
		} else {
			kept = append(kept, b.bytes[b.start(i):b.ends[i]]...)
		}
	}
	return kept
}

// Bare is an entry of which a listener sees nothing: its number, so that the next one follows it.
func Bare(n uint64) []byte { return fmt.Appendf(nil, "id: %d\n\n", n) }

// waitingMost is how many events of a topic wait for their rendering at most.
const waitingMost = 1024

// blockBytes is about how large a block gets: what does not fit goes into the next.
const blockBytes = 64 << 10

// Publish hands e to every subscription of its topic. It never waits and never renders. The caller
// publishes one topic's entries from one goroutine at a time; they arrive in that order.
func (h *Hub) Publish(e *Event) {
	h.mu.Lock()
	if t := h.topics[e.Topic]; t != nil {
		delete(t.typing, e.Author)
		h.queue(t, e)
	}
	var others []*Subscription
	if e.Author != (ID{}) {
		for s := range h.watchers[e.Topic] {
			others = h.news(others, s)
		}
	}
	h.mu.Unlock()
	h.deliver(unread, others...)
}

// queue gives e to the pump. What it cannot keep up with is dropped: the log has it, and everybody
// notices the gap. The caller holds h.mu.
func (h *Hub) queue(t *topic, e *Event) {
	if len(t.waiting) == waitingMost {
		t.waiting = slices.Clone(t.waiting[waitingMost/2:])
	}
	t.waiting = append(t.waiting, e)
	if !t.pumping {
		t.pumping = true
		go h.pump(t)
	}
}

func (h *Hub) pump(t *topic) {
	for {
		h.mu.Lock()
		events := t.waiting
		t.waiting = nil
		if h.closed || len(t.listeners) == t.gone {
			events = nil // nobody listens, and the log may be closed too
		}
		t.pumping = len(events) > 0
		h.mu.Unlock()
		if len(events) == 0 {
			return
		}
		for len(events) > 0 {
			var b *Block
			b, events = h.block(events)
			h.mu.RLock()
			listeners, quiet := t.listeners, len(b.ends) < 2 && len(events)+len(t.waiting) == 0
			h.mu.RUnlock()
			if quiet && len(listeners) >= manyListeners {
				h.enqueue(b, listeners)
				drain(listeners)
			} else {
				h.deliver(b, listeners...)
			}
		}
		time.Sleep(h.o.Gather)
	}
}

// block renders the next block and returns what is left for others.
func (h *Hub) block(events []*Event) (*Block, []*Event) {
	b := &Block{Kind: events[0].Kind}
	for i, e := range events {
		full := i > 0 && (e.Kind != KindEntry || b.Kind != KindEntry || e.Removal || e.N != b.last+1 || len(b.bytes) > blockBytes)
		if full {
			return b, events[i:]
		}
		bytes := h.render(e)
		if e.Kind != KindEntry {
			b.bytes = bytes
			return b, events[1:]
		}
		if i == 0 {
			b.first, b.bytes = e.N, slices.Clip(bytes)
		} else {
			b.bytes = append(b.bytes, bytes...)
		}
		b.last, b.ends = e.N, append(b.ends, len(b.bytes))
		if e.About > 0 && b.abouts == nil {
			b.abouts = make([]uint64, i, i+1)
		}
		if b.abouts != nil {
			b.abouts = append(b.abouts, e.About)
		}
		if len(bytes) == 0 { // whoever comes to it reads the log
			b.bytes = nil
			return b, events[i+1:]
		}
	}
	return b, nil
}

// deliver gives a block to streams, each of which writes it by itself.
func (h *Hub) deliver(b *Block, streams ...*Subscription) {
	h.enqueue(b, streams)
	for _, s := range streams {
		s.nudge()
	}
}

// enqueue puts a block into every queue and cuts off whose is full.
func (h *Hub) enqueue(b *Block, streams []*Subscription) {
	var slow []*Subscription
	for _, s := range streams {
		if !s.put(b) {
			slow = append(slow, s)
		}
	}
	if len(slow) > 0 {
		h.mu.Lock()
		h.end(Slow, slow...)
		h.mu.Unlock()
	}
}
