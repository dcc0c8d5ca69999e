package feed

// A user is here while a lease runs. Each open stream holds one, for as long as its connection takes
// what is written to it (see Hub.look); the last lease of a user runs out Options.Grace after its stream
// ended. So a reload, a change of the network or a restart of the server is not told as a going and a
// coming, and nobody stays here because something forgot to count down.
//
// What is told about presence is the difference to what was told before, so a coming and a going in
// between are as if nothing had happened. At most one update a Moment leaves, however many come and
// go: 1,000 arrivals must not become 1,000,000 writes.

import (
	"maps"
	"slices"
	"time"
)

// lease says that somebody is here.
type lease struct {
	streams int
	until   time.Time // when it runs out, once there is no stream any more
}

// enter begins or renews a user's lease. The caller holds h.mu.
func (h *Hub) enter(t *topic, user ID) {
	l := t.here[user]
	if l == nil {
		l = &lease{}
		t.here[user] = l
		h.arm(t, 0)
	}
	l.streams++
}

// leave takes one stream from a lease; grace says how long the user is still here without any.
func (h *Hub) leave(t *topic, user ID, grace time.Duration) {
	l := t.here[user]
	if l.streams--; l.streams == 0 {
		l.until = time.Now().Add(grace)
		h.arm(t, grace)
	}
}

// remove ends the lease of a user who has no stream here any more, and forgets that the user was writing.
func (h *Hub) remove(t *topic, user ID) {
	delete(t.typing, user)
	if l := t.here[user]; l != nil {
		l.until = time.Now()
		h.arm(t, 0)
	}
}

// arm makes sure that the topic's presence is looked at after that time, or soon after; a change waits
// a moment for others, and for the Moment since the last update.
func (h *Hub) arm(t *topic, after time.Duration) {
	at := time.Now().Add(max(after, settle, time.Until(t.toldPresence.Add(h.o.Moment))))
	if t.timer != nil && !t.dueAt.After(at) {
		return
	}
	if t.timer != nil {
		t.timer.Stop()
	}
	t.dueAt = at
	t.timer = time.AfterFunc(time.Until(at), func() { h.tellPresence(t) })
}

// tellPresence takes away the leases that have run out, and tells what has changed.
func (h *Hub) tellPresence(t *topic) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	t.timer = nil
	next := time.Time{} // when the next lease runs out
	for user, l := range t.here {
		switch {
		case l.streams > 0:
		case !l.until.After(now):
			delete(t.here, user)
		case next.IsZero() || l.until.Before(next):
			next = l.until
		}
	}
	if len(t.here) == 0 || h.closed {
		h.forget(t)
		return
	}
	e := &Event{Topic: t.id, Kind: KindPresence}
	for user := range t.here {
		if !t.told[user] {
			e.Came = append(e.Came, user)
		}
	}
	for user := range t.told {
		if t.here[user] == nil {
			e.Went = append(e.Went, user)
		}
	}
	if len(e.Came)+len(e.Went) > 0 {
		e.Here = slices.Collect(maps.Keys(t.here))
		t.told = map[ID]bool{}
		for _, user := range e.Here {
			t.told[user] = true
		}
		t.toldPresence, t.said = now, nil
		if now.Sub(h.born) < h.o.Grace+h.o.Moment { // after a start all come back, which is no news
			e.Came, e.Went = nil, nil
		}
		h.queue(t, e)
	}
	if !next.IsZero() {
		h.arm(t, next.Sub(now))
	}
}

// Present returns the users who are here.
func (h *Hub) Present(topic ID) map[ID]bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	present := map[ID]bool{}
	if t := h.topics[topic]; t != nil {
		for user := range t.here {
			present[user] = true
		}
	}
	return present
}

// Presence returns the bytes that say once more who was here when it was last told, for a stream of the
// user that begins; nil when that user has just come, and all will be told soon.
func (h *Hub) Presence(topic, user ID) []byte {
	h.mu.Lock()
	t := h.topics[topic]
	if t == nil || !t.told[user] {
		h.mu.Unlock()
		return nil
	}
	said, at := t.said, t.toldPresence
	here := slices.Collect(maps.Keys(t.told))
	h.mu.Unlock()
	if said == nil {
		said = h.render(&Event{Topic: topic, Kind: KindPresence, Here: here})
		h.mu.Lock()
		if t.toldPresence.Equal(at) {
			t.said = said
		}
		h.mu.Unlock()
	}
	return said
}

// Typing notes that a user who is here is writing in the topic. It counts for five seconds, or until the
// user's next post.
func (h *Hub) Typing(topic, user ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.topics[topic]
	if t == nil || t.here[user] == nil {
		return
	}
	t.typing[user] = time.Now()
	if t.typists == nil {
		t.typists = time.AfterFunc(max(0, time.Until(t.toldTyping.Add(h.o.Moment))), func() { h.tellTyping(t) })
	}
}

// tellTyping names who has been writing since it was last told.
func (h *Hub) tellTyping(t *topic) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := &Event{Topic: t.id, Kind: KindTyping}
	for user, at := range t.typing {
		switch {
		case time.Since(at) > typingFor:
			delete(t.typing, user)
		case at.After(t.toldTyping):
			e.Here = append(e.Here, user)
		}
	}
	t.typists, t.toldTyping = nil, time.Now()
	if len(e.Here) > 0 {
		h.queue(t, e)
	}
}
