package feed

// One lock guards all tables and is held only for bookkeeping: a send never happens under it. A topic's
// listeners are a slice that Publish may keep after unlocking, so what lies within its length is never
// written again: Subscribe appends beyond it, an end puts a copy in its place.
//
// A presence event is due when the set of users here differs from the set last told (or after Touch). It waits
// a moment for the leave and enter of a reload to cancel out, and for PresenceEvery since the last one; the
// timer exists only while an event is due. A topic without listeners is forgotten, timer and all.

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// settle is how long a change of presence waits at least before it is told.
const settle = 100 * time.Millisecond

// A Hub passes events to the subscriptions of this process. All its methods may be called at any time from
// any goroutine, with one promise by the caller: see Publish.
type Hub struct {
	limits Limits
	every  time.Duration

	mu        sync.RWMutex
	closed    bool
	topics    map[ID]*topic
	sessions  map[[32]byte][]*Subscription // oldest first
	users     map[ID][]*Subscription
	addresses map[string]int
	total     int
}

type topic struct {
	listeners []*Subscription
	here      map[ID]int      // open subscriptions by user
	changed   map[ID]struct{} // users here now and not when last told, or the reverse
	touched   bool
	told      time.Time
	timer     *time.Timer // nil when nothing is due
}

// A Subscription is one stream's ear on one topic. The stream reads Events and checks Done before each write:
//
//	for {
//		select {
//		case <-s.Done():
//			return s.Reason()
//		case e := <-s.Events():
//			if s.Reason() != feed.Open {
//				return s.Reason()
//			}
//			write(e)
//		}
//	}
type Subscription struct {
	Listener
	hub    *Hub
	events chan *Event
	done   chan struct{}
	reason Reason // guarded by hub.mu
}

// New makes an empty hub; it starts no goroutine.
func New(o Options) *Hub {
	l, d := o.Limits, DefaultLimits
	return &Hub{
		limits: Limits{
			PerSession: cmp.Or(l.PerSession, d.PerSession),
			PerUser:    cmp.Or(l.PerUser, d.PerUser),
			PerAddress: cmp.Or(l.PerAddress, d.PerAddress),
			Total:      cmp.Or(l.Total, d.Total),
			Queue:      cmp.Or(l.Queue, d.Queue),
		},
		every:     cmp.Or(o.PresenceEvery, time.Second),
		topics:    map[ID]*topic{},
		sessions:  map[[32]byte][]*Subscription{},
		users:     map[ID][]*Subscription{},
		addresses: map[string]int{},
	}
}

// Subscribe opens an ear on l.Topic: everything published after it returns will be in Events. A session that
// has PerSession of them already loses its oldest (Replaced). It fails with ErrFull when the user, the address
// or the hub has too many, and with ErrClosed after Close.
//
// A user who was here already causes no presence event, so a stream shows Present itself when it begins.
func (h *Hub) Subscribe(l Listener) (*Subscription, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, ErrClosed
	}
	if own := h.sessions[l.Session]; len(own) >= h.limits.PerSession {
		h.end(Replaced, own[0])
	}
	if len(h.users[l.User]) >= h.limits.PerUser || h.addresses[l.Address] >= h.limits.PerAddress || h.total >= h.limits.Total {
		return nil, ErrFull
	}

	s := &Subscription{Listener: l, hub: h, events: make(chan *Event, h.limits.Queue), done: make(chan struct{})}
	h.sessions[l.Session] = append(h.sessions[l.Session], s)
	h.users[l.User] = append(h.users[l.User], s)
	h.addresses[l.Address]++
	h.total++

	t := h.topics[l.Topic]
	if t == nil {
		t = &topic{here: map[ID]int{}, changed: map[ID]struct{}{}}
		h.topics[l.Topic] = t
	}
	t.listeners = append(t.listeners, s)
	if t.here[l.User]++; t.here[l.User] == 1 {
		t.toggle(l.User)
		h.arm(l.Topic, t)
	}
	return s, nil
}

// Events delivers what was published, in order. It is never closed; see Done.
func (s *Subscription) Events() <-chan *Event { return s.events }

// Done is closed when the subscription is over. Events that were waiting may still be in the channel and
// must not be written any more.
func (s *Subscription) Done() <-chan struct{} { return s.done }

// Reason says why the subscription is over; Open while it is not.
func (s *Subscription) Reason() Reason {
	s.hub.mu.RLock()
	defer s.hub.mu.RUnlock()
	return s.reason
}

// Close ends the subscription from the stream's side. A second Close does nothing.
func (s *Subscription) Close() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.hub.end(Closed, s)
}

// Publish hands e to every subscription of its topic without ever waiting: one whose queue is full is ended
// (Slow). The caller publishes one topic's entries from one goroutine at a time; they arrive in that order.
func (h *Hub) Publish(e *Event) {
	h.mu.RLock()
	var listeners []*Subscription
	if t := h.topics[e.Topic]; t != nil {
		listeners = t.listeners
	}
	h.mu.RUnlock()
	h.deliver(e, listeners)
}

func (h *Hub) deliver(e *Event, listeners []*Subscription) {
	var slow []*Subscription
	for _, s := range listeners {
		select {
		case s.events <- e:
		default:
			slow = append(slow, s)
		}
	}
	if len(slow) > 0 {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.end(Slow, slow...)
	}
}

// EndMember ends what user has open on topic (Revoked). When it returns, nothing published later reaches
// those subscriptions; what waits in their channels is stopped by the stream's look at Done.
func (h *Hub) EndMember(topic, user ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.end(Revoked, slices.DeleteFunc(slices.Clone(h.users[user]), func(s *Subscription) bool { return s.Topic != topic })...)
}

// EndTopic ends, as Revoked, every subscription of a topic.
func (h *Hub) EndTopic(topic ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t := h.topics[topic]; t != nil {
		h.end(Revoked, slices.Clone(t.listeners)...)
	}
}

// EndSession ends all that a session has open, as EndMember does.
func (h *Hub) EndSession(session [32]byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.end(Revoked, h.sessions[session]...)
}

// Release ends all that a session has open, as Replaced: the streams close without a word, and the browser
// comes back with the token that the session has by then.
func (h *Hub) Release(session [32]byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.end(Replaced, h.sessions[session]...)
}

// Close ends every subscription (Shutdown) and refuses new ones.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for _, t := range h.topics {
		h.end(Shutdown, t.listeners...)
	}
}

// Present returns the users with at least one open subscription to topic.
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

// Open returns the listeners of all open subscriptions, in no order.
func (h *Hub) Open() []Listener {
	h.mu.RLock()
	defer h.mu.RUnlock()
	open := make([]Listener, 0, h.total)
	for _, t := range h.topics {
		for _, s := range t.listeners {
			open = append(open, s.Listener)
		}
	}
	return open
}

// Touch asks for a presence event although nobody came or left.
func (h *Hub) Touch(topic ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t := h.topics[topic]; t != nil {
		t.touched = true
		h.arm(topic, t)
	}
}

// arm makes sure that the topic's presence is told as soon as it may be. The caller holds h.mu.
func (h *Hub) arm(id ID, t *topic) {
	if t.timer == nil {
		wait := max(settle, time.Until(t.told.Add(h.every)))
		t.timer = time.AfterFunc(wait, func() { h.tell(id, t) })
	}
}

func (h *Hub) tell(id ID, t *topic) {
	h.mu.Lock()
	due := t.touched || len(t.changed) > 0
	listeners := t.listeners
	t.timer, t.touched = nil, false
	if due {
		t.told = time.Now()
		clear(t.changed)
	}
	h.mu.Unlock()
	if due {
		h.deliver(&Event{Topic: id, Kind: KindPresence}, listeners)
	}
}

// toggle notes that user came or left; who does both is as if nothing had happened.
func (t *topic) toggle(user ID) {
	if _, ok := t.changed[user]; ok {
		delete(t.changed, user)
	} else {
		t.changed[user] = struct{}{}
	}
}

// end takes subscriptions out of every table, passing over those that are over already. The caller holds h.mu.
func (h *Hub) end(why Reason, subscriptions ...*Subscription) {
	affected := map[ID]*topic{}
	for _, s := range slices.Clone(subscriptions) {
		if s.reason != Open {
			continue
		}
		s.reason = why
		close(s.done)
		drop(h.sessions, s.Session, s)
		drop(h.users, s.User, s)
		if h.addresses[s.Address]--; h.addresses[s.Address] == 0 {
			delete(h.addresses, s.Address)
		}
		h.total--

		t := h.topics[s.Topic]
		affected[s.Topic] = t
		if t.here[s.User]--; t.here[s.User] == 0 {
			delete(t.here, s.User)
			t.toggle(s.User)
		}
	}
	for id, t := range affected {
		t.listeners = slices.DeleteFunc(slices.Clone(t.listeners), func(s *Subscription) bool { return s.reason != Open })
		switch {
		case len(t.listeners) > 0 && len(t.changed) > 0:
			h.arm(id, t)
		case len(t.listeners) == 0:
			delete(h.topics, id)
			if t.timer != nil {
				t.timer.Stop()
			}
		}
	}
}

// drop takes s out of the list under key, and the key with its last.
func drop[K comparable](lists map[K][]*Subscription, key K, s *Subscription) {
	lists[key] = slices.DeleteFunc(lists[key], func(o *Subscription) bool { return o == s })
	if len(lists[key]) == 0 {
		delete(lists, key)
	}
}
