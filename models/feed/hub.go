package feed

// One lock guards all tables and is held only for bookkeeping: a send never happens under it. A topic's
// listeners are a slice that the pump may keep after unlocking, so what lies within its length is never
// written again: Subscribe appends beyond it, ends put a copy in its place now and then.

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Hub passes events to the subscriptions of this process. All its methods may be called at any time from
// any goroutine, with one promise by the caller: see Publish.
type Hub struct {
	o      Options
	render func(*Event) []byte
	born   time.Time
	first  time.Time    // when somebody subscribed
	clock  atomic.Int64 // nanoseconds since the first subscription and never 0, a tick old at most

	mu        sync.RWMutex
	stop      chan struct{} // ends the look round; nil before the first subscription
	closed    bool
	topics    map[ID]*topic
	watchers  map[ID]map[*Subscription]struct{} // who wants to know what is unread there
	due       map[*Subscription]struct{}        // who is to be told that something is unread
	all       []*Subscription                   // in no order
	sessions  map[[32]byte][]*Subscription      // oldest first
	users     map[ID][]*Subscription
	addresses map[string]int
}

type topic struct {
	id        ID
	listeners []*Subscription // and some that are over already
	gone      int             // how many of them
	waiting   []*Event        // published, and not yet in a block
	pumping   bool

	here         map[ID]*lease
	told         map[ID]bool // who was here when it was last told
	said         []byte      // that once more, for those who come later; nil until somebody does
	toldPresence time.Time
	timer        *time.Timer // nil when there is nothing to look at
	dueAt        time.Time   // when it fires

	typing     map[ID]time.Time // when somebody last was
	toldTyping time.Time
	typists    *time.Timer // nil when nobody new is to be named
}

// New makes an empty hub. It starts no goroutine before the first subscription.
func New(o Options) *Hub {
	l, d := &o.Limits, DefaultLimits
	l.PerSession, l.PerUser, l.PerAddress = cmp.Or(l.PerSession, d.PerSession), cmp.Or(l.PerUser, d.PerUser), cmp.Or(l.PerAddress, d.PerAddress)
	l.Total, l.Queue, l.Bytes = cmp.Or(l.Total, d.Total), cmp.Or(l.Queue, d.Queue), cmp.Or(l.Bytes, d.Bytes)
	o.Gather, o.Moment, o.Grace = cmp.Or(o.Gather, 25*time.Millisecond), cmp.Or(o.Moment, time.Second), cmp.Or(o.Grace, 10*time.Second)
	o.Beat, o.Deadline = cmp.Or(o.Beat, 20*time.Second), cmp.Or(o.Deadline, 10*time.Second)
	h := &Hub{
		o:         o,
		render:    func(*Event) []byte { return nil },
		born:      time.Now(),
		topics:    map[ID]*topic{},
		watchers:  map[ID]map[*Subscription]struct{}{},
		due:       map[*Subscription]struct{}{},
		sessions:  map[[32]byte][]*Subscription{},
		users:     map[ID][]*Subscription{},
		addresses: map[string]int{},
	}
	return h
}

// Render sets what turns an event into the bytes that every listener writes. It runs once for each
// event, outside of every lock, and returns nil when it fails. Call it before anybody subscribes.
func (h *Hub) Render(f func(*Event) []byte) { h.render = f }

// Subscribe opens an ear on l.Topic: everything published after it returns will come, and perhaps what was
// published a moment before. A session that has PerSession of them already loses its oldest (Replaced). It
// fails with ErrFull when the user, the address or the hub has too many, and with ErrClosed after Close.
func (h *Hub) Subscribe(l Listener) (*Subscription, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, ErrClosed
	}
	limits := h.o.Limits
	own, user, address, all := h.sessions[l.Session], len(h.users[l.User]), h.addresses[l.Address], len(h.all)
	var replaced []*Subscription
	if len(own) >= limits.PerSession {
		replaced = own[:1]
		user, all = user-1, all-1
		if own[0].Address == l.Address {
			address--
		}
	}
	if user >= limits.PerUser || address >= limits.PerAddress || all >= limits.Total {
		return nil, ErrFull
	}
	h.end(Replaced, replaced...)
	if h.stop == nil {
		h.stop = make(chan struct{})
		h.first = time.Now()
		h.clock.Store(1)
		go h.lookRound(h.stop)
	}

	s := &Subscription{Listener: l, hub: h, blocks: make(chan *Block, limits.Queue), woken: make(chan struct{}, 1), place: len(h.all)}
	s.wrote.Store(h.clock.Load())
	h.all = append(h.all, s)
	h.sessions[l.Session] = append(h.sessions[l.Session], s)
	h.users[l.User] = append(h.users[l.User], s)
	h.addresses[l.Address]++
	if l.Topic != (ID{}) {
		t := h.topics[l.Topic]
		if t == nil {
			t = &topic{id: l.Topic, here: map[ID]*lease{}, typing: map[ID]time.Time{}}
			h.topics[l.Topic] = t
		}
		t.listeners = append(t.listeners, s)
		h.enter(t, l.User)
	}
	return s, nil
}

// EndMember ends what user has open on topic (Revoked), and the watch that the user's other streams keep on
// it. When it returns, nothing published later reaches those subscriptions.
func (h *Hub) EndMember(topic, user ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.end(Revoked, slices.DeleteFunc(slices.Clone(h.users[user]), func(s *Subscription) bool { return s.Topic != topic })...)
	if t := h.topics[topic]; t != nil {
		h.remove(t, user)
	}
	for _, s := range h.users[user] {
		h.unwatch(s, topic)
		h.due[s] = struct{}{}
	}
}

// EndTopic ends, as Revoked, every subscription of a topic.
func (h *Hub) EndTopic(topic ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t := h.topics[topic]; t != nil {
		h.end(Revoked, t.listeners...)
	}
	for s := range h.watchers[topic] {
		h.unwatch(s, topic)
		h.due[s] = struct{}{}
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

// ReleaseTopic ends, as Replaced, every subscription of a topic: its listeners come back, and are looked
// at anew.
func (h *Hub) ReleaseTopic(topic ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t := h.topics[topic]; t != nil {
		h.end(Replaced, t.listeners...)
	}
}

// Close ends every subscription (Shutdown) and refuses new ones.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stop != nil && !h.closed {
		close(h.stop)
	}
	h.closed = true
	h.end(Shutdown, h.all...)
	for _, t := range h.topics {
		h.forget(t)
	}
}

// Open returns the listeners of all open subscriptions, in no order.
func (h *Hub) Open() []Listener {
	h.mu.RLock()
	defer h.mu.RUnlock()
	open := make([]Listener, len(h.all))
	for i, s := range h.all {
		open[i] = s.Listener
	}
	return open
}

// Join makes the user's open streams watch a topic that the user has become a member of.
func (h *Hub) Join(topic, user ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.users[user] {
		h.watch(s, topic)
		h.due[s] = struct{}{}
	}
}

// Unread tells the user's streams that what is unread has changed.
func (h *Hub) Unread(user ID) {
	h.mu.Lock()
	var streams []*Subscription
	for _, s := range h.users[user] {
		streams = h.news(streams, s)
	}
	h.mu.Unlock()
	h.deliver(unread, streams...)
}

// Knock tells the user's streams that somebody waits to be let into a room, or does not any more.
func (h *Hub) Knock(user ID) {
	h.mu.RLock()
	streams := slices.Clone(h.users[user])
	h.mu.RUnlock()
	h.deliver(knock, streams...)
}

// What needs no rendering.
var (
	unread = &Block{Kind: KindUnread}
	wakeUp = &Block{Kind: KindWake}
	knock  = &Block{Kind: KindKnock}
)

// news adds s to the streams that are to be told now that something is unread, unless it was told a moment
// ago: then it waits for a look round. The caller holds h.mu.
func (h *Hub) news(now []*Subscription, s *Subscription) []*Subscription {
	if time.Since(s.told) < h.o.Moment {
		h.due[s] = struct{}{}
		return now
	}
	delete(h.due, s)
	s.told = time.Now()
	return append(now, s)
}

func (h *Hub) watch(s *Subscription, topic ID) {
	if topic == s.Topic || slices.Contains(s.watched, topic) {
		return
	}
	s.watched = append(s.watched, topic)
	if h.watchers[topic] == nil {
		h.watchers[topic] = map[*Subscription]struct{}{}
	}
	h.watchers[topic][s] = struct{}{}
}

func (h *Hub) unwatch(s *Subscription, topic ID) {
	s.watched = slices.DeleteFunc(s.watched, func(id ID) bool { return id == topic })
	delete(h.watchers[topic], s)
	if len(h.watchers[topic]) == 0 {
		delete(h.watchers, topic)
	}
}

// lookRound looks at every subscription once a tick.
func (h *Hub) lookRound(stop chan struct{}) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			h.look()
		case <-stop:
			return
		}
	}
}

// look aborts writes that hang, and gives the streams what is due: a heartbeat, the wake they asked for, the
// news that something is unread.
func (h *Hub) look() {
	now := h.since(time.Now())
	h.clock.Store(now)
	h.mu.Lock()
	var told []*Subscription
	for s := range h.due {
		told = h.news(told, s)
	}
	all := slices.Clone(h.all)
	h.mu.Unlock()

	h.deliver(unread, told...)
	for _, s := range all {
		if begun := s.begun.Load(); begun > 0 && now-begun > int64(h.o.Deadline) {
			s.abort()
		}
		if wake := s.wake.Load(); wake > 0 && wake <= now && s.wake.CompareAndSwap(wake, 0) {
			h.deliver(wakeUp, s)
		}
		if now-s.wrote.Load() >= int64(h.o.Beat) {
			s.wrote.Store(now)
			h.deliver(beat, s)
		}
	}
}

// since turns a moment into a reading of h.clock, which no setting of the system time moves.
func (h *Hub) since(at time.Time) int64 { return max(1, int64(at.Sub(h.first))) }

// end takes subscriptions out of every table, passing over those that are over already. The caller holds h.mu.
func (h *Hub) end(why Reason, subscriptions ...*Subscription) {
	for _, s := range slices.Clone(subscriptions) {
		if s.Reason() != Open {
			continue
		}
		s.over(why)
		last := h.all[len(h.all)-1]
		h.all[s.place], last.place = last, s.place
		h.all[len(h.all)-1] = nil
		h.all = h.all[:len(h.all)-1]
		drop(h.sessions, s.Session, s)
		drop(h.users, s.User, s)
		if h.addresses[s.Address]--; h.addresses[s.Address] == 0 {
			delete(h.addresses, s.Address)
		}
		for _, id := range slices.Clone(s.watched) {
			h.unwatch(s, id)
		}
		delete(h.due, s)
		if t := h.topics[s.Topic]; t != nil {
			t.gone++
			grace := h.o.Grace
			if why == Revoked {
				grace = 0
			}
			h.leave(t, s.User, grace)
			if 2*t.gone > len(t.listeners) { // only then: a thousand who go one by one must not cost a million
				t.listeners = slices.DeleteFunc(slices.Clone(t.listeners), func(s *Subscription) bool { return s.Reason() != Open })
				t.gone = 0
			}
		}
		if why == Slow {
			s.abort()
		}
	}
}

// forget takes a topic out of the tables. The caller holds h.mu.
func (h *Hub) forget(t *topic) {
	delete(h.topics, t.id)
	for _, timer := range []*time.Timer{t.timer, t.typists} {
		if timer != nil {
			timer.Stop()
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
