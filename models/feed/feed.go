// Package feed tells open streams what just happened, inside one process.
//
// A topic is a room (or a user); a subscription is one open stream's ear on one topic. The feed may lose
// and the database may not: whoever cannot keep up is cut off, never waited for, and catches up from the log.
package feed

import (
	"errors"
	"sync"
	"time"
)

// ID names a topic or a user.
type ID = [16]byte

// Kind says what an Event is about.
type Kind byte

const (
	KindEntry    Kind = iota + 1 // an entry of the topic's log; N is its number, above 0
	KindPresence                 // who is here may have changed: ask Hub.Present; N is 0
)

// An Event is one announcement. It is shared by all listeners of its topic: nobody changes it after Publish.
type Event struct {
	Topic ID
	Kind  Kind
	N     uint64
	Entry any // the sealed row; opened by the first listener that renders it

	once  sync.Once
	frame []byte
}

// Frame returns the bytes that every listener writes. The first to ask renders them, the others wait for it.
// They are nil when that render returned nil or panicked: such an entry must be read from the log.
func (e *Event) Frame(render func(*Event) []byte) []byte {
	e.once.Do(func() { e.frame = render(e) })
	return e.frame
}

// A Listener says who listens to what, and by which the limits are counted.
type Listener struct {
	Topic, User ID
	Session     [32]byte
	Address     string
}

// Limits bound the open subscriptions of one session, user and address, all of them together,
// and the events that may wait in one subscription. A field left 0 takes its default.
type Limits struct {
	PerSession, PerUser, PerAddress, Total, Queue int
}

// DefaultLimits are used where Options.Limits says nothing.
var DefaultLimits = Limits{PerSession: 16, PerUser: 32, PerAddress: 200, Total: 20_000, Queue: 64}

// Options of a Hub. PresenceEvery is the shortest time between two presence events of a topic; 0 means one second.
type Options struct {
	Limits        Limits
	PresenceEvery time.Duration
}

// A Reason says why a subscription is over.
type Reason byte

const (
	Open     Reason = iota // it is not over
	Closed                 // the stream itself closed it
	Slow                   // its queue was full; the client resumes by its cursor
	Revoked                // member removed or session over: the stream must say session-end
	Replaced               // the same session opened too many newer ones
	Shutdown               // the hub closed
)

var (
	ErrFull   = errors.New("too many open streams")
	ErrClosed = errors.New("the feed is closed")
)
