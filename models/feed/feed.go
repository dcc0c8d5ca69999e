// Package feed tells open streams what just happened, inside one process.
//
// A topic is a room. A subscription is one open stream's ear: on one topic, and on what its user
// has not read elsewhere. What is published goes out in blocks (pump.go): bytes that were made once
// and are shared by everybody who writes them. Who is here is a matter of leases (presence.go).
//
// The feed may lose and the database may not: whoever cannot keep up is cut off, never waited for,
// and catches up from the log.
package feed

import (
	"errors"
	"time"
)

// ID names a topic or a user.
type ID = [16]byte

// Kind says what an Event is about.
type Kind byte

// The kinds. Only entries are in a log; the others describe a moment, and a later one of the same
// kind replaces them.
const (
	KindEntry    Kind = iota + 1 // an entry of the topic's log; N is its number, above 0
	KindMembers                  // who belongs to the topic has changed with Entry
	KindPresence                 // Here, Came and Went
	KindTyping                   // Here are writing
	KindUnread                   // what a user has not read has changed: each stream asks for itself
	KindWake                     // the moment has come that the stream asked for with Wake
	KindCode                     // the topic's code has changed with Entry
	KindKnock                    // who waits to be let in, or where the user waits, has changed: each stream asks for itself
)

// An Event is one announcement. Nobody changes it after Publish.
type Event struct {
	Topic ID
	Kind  Kind
	N     uint64
	Entry any // of KindEntry, and of KindMembers and KindCode what brought it about: the sealed row

	Author  ID     // of a post: who is no longer writing
	Removal bool   // it takes something away: what was published before leaves in a block of its own
	About   uint64 // of an entry that shows an earlier one again: the number of that; else 0

	Here, Came, Went []ID
}

// A Listener says who listens to what, and by which the limits are counted.
type Listener struct {
	Topic   ID // zero: to no topic, only to what is unread
	User    ID
	Session [32]byte
	Address string

	// Drain writes what waits (Subscription.Take), unless somebody else is writing: who does looks again
	// when he has finished. It may run in any goroutine. A stream without it is only woken.
	Drain func()

	Abort func() // ends a write that hangs; called at most once, from another goroutine, also after Close
}

// Limits bound the open subscriptions of one session, user and address, all of them together, and
// the blocks and bytes that may wait in one subscription. A field left 0 takes its default.
type Limits struct {
	PerSession, PerUser, PerAddress, Total, Queue, Bytes int
}

// DefaultLimits are used where Options.Limits says nothing.
var DefaultLimits = Limits{PerSession: 16, PerUser: 32, PerAddress: 200, Total: 20_000, Queue: 64, Bytes: 1 << 20}

// Options of a Hub. A duration left 0 takes its default.
type Options struct {
	Limits   Limits
	Gather   time.Duration // how long events of a busy topic are collected at most: 25 ms
	Moment   time.Duration // the shortest time between two updates of one kind to the same pages: 1 s
	Grace    time.Duration // how long somebody without a stream is still here: 10 s
	Beat     time.Duration // a stream that had nothing to write for so long writes a heartbeat: 20 s
	Deadline time.Duration // a write that takes longer is aborted: 10 s
}

// Times that no option changes.
const (
	typingFor = 5 * time.Second        // how long somebody counts as writing
	tick      = time.Second            // how often the hub looks round
	settle    = 100 * time.Millisecond // how long a change of presence waits at least before it is told
)

// A Reason says why a subscription is over.
type Reason int32

// The reasons.
const (
	Open     Reason = iota // it is not over
	Closed                 // the stream itself closed it
	Slow                   // too much was waiting; the client resumes by its cursor
	Revoked                // member removed or session over: the stream must say session-end
	Replaced               // the same session opened too many newer ones
	Shutdown               // the hub closed
)

// Why Subscribe refuses.
var (
	ErrFull   = errors.New("too many open streams")
	ErrClosed = errors.New("the feed is closed")
)
