package models

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"conclave/models/cipher"
)

// ledger is what the audit log says and no row of the database may contradict: the latest
// revision of each account, which sessions were ended, which one-time tokens were used up.
// Somebody who can write the database but has no key can put an old row back, an old password
// or a revoked session for instance; the audit log, which is chained and anchored, knows better.
//
// It is filled by one walk after the start and by every event since. Until the walk has ended nobody
// is let in and no session is one: a row that is put back while the server is down is believed no
// sooner than one that is put back later. The server itself answers meanwhile.
type ledger struct {
	mu       sync.Mutex
	from     uint64 // what stands in the audit log up to this number is read by the walk
	accounts map[ID]noticed
	sessions map[string]int64 // ended ones, by the first 16 bytes of their hash: when
	tokens   map[string]int   // how often each was used, by the first 16 bytes of its hash; revoked ones: usedUp

	filled   chan struct{} // closed once the walk has ended
	unread   error         // why the walk did not come to the end; set before filled is closed
	patience time.Duration // how long anybody waits for it
	doubtful int64         // the log is damaged: what it says about tokens and sessions made before then may not be all
}

// ledgerPatience is how long a request waits for the walk: hardly ever that long, since a second is
// enough for a hundred thousand events and more.
const ledgerPatience = 2 * time.Second

type noticed struct {
	revision uint32
	tick     uint64 // of proofs
}

const usedUp = 1 << 30

// Events that the ledger reads. All events of an account begin alike.
const (
	eventAccount     = "account."    // object: user and the profile's new revision
	eventSessionEnd  = "session.end" // object: the session, and whose it was when somebody else has ended it
	eventTokenCreate = "token.create"
	eventTokenUse    = "token.use"
	eventTokenRevoke = "token.revoke"
)

// handleOf names a keyed hash in the audit log: half of it, in hexadecimal digits.
func handleOf(hash []byte) string { return hex.EncodeToString(hash[:16]) }

// note takes over events that were committed a moment ago, and where the audit log ends with them.
func (s *Store) note(events []Audit, at int64, end mark) {
	if len(events) == 0 {
		return
	}
	s.integrity.set(func(i *integrity) { i.audit.UpTo = max(i.audit.UpTo, end.n) })
	s.ledger.note(events, s.proofs.now(), at)
	for _, e := range events {
		s.tally.event(e, at)
	}
}

// note takes over events that were committed at a tick.
func (l *ledger) note(events []Audit, tick uint64, at int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.accounts == nil {
		l.accounts, l.sessions, l.tokens = map[ID]noticed{}, map[string]int64{}, map[string]int{}
	}
	for _, e := range events {
		switch {
		case strings.HasPrefix(e.Event, eventAccount):
			user, revision, ok := parseAccountObject(e.Object)
			if ok && revision > l.accounts[user].revision {
				l.accounts[user] = noticed{revision, tick}
			}
		case e.Event == eventSessionEnd:
			session, _, _ := strings.Cut(e.Object, " ")
			l.sessions[session] = at
		case e.Event == eventTokenUse:
			l.tokens[e.Object]++
		case e.Event == eventTokenRevoke:
			l.tokens[e.Object] = usedUp
		}
	}
}

func accountObject(user ID, revision uint32) string { return fmt.Sprintf("%s %d", user, revision) }

func parseAccountObject(object string) (user ID, revision uint32, ok bool) {
	name, number, found := strings.Cut(object, " ")
	user, err := ParseID(name)
	n, numberErr := strconv.ParseUint(number, 10, 32)
	return user, uint32(n), found && err == nil && numberErr == nil
}

// account checks that the audit log knows of no later revision of an account than the one that
// was read in a transaction begun at that moment. errMoved: read again; cipher.ErrAuth: an old one.
func (l *ledger) account(user ID, revision uint32, since uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch latest := l.accounts[user]; {
	case revision >= latest.revision:
		return nil // the newest, or committed a moment ago and not noted yet
	case latest.tick > since:
		return errMoved
	}
	return cipher.ErrAuth
}

// ended reports whether a session that began with a sign-in at that time has been ended, or whether
// that cannot be known.
func (l *ledger) ended(session []byte, auth int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ended := l.sessions[handleOf(session)]
	return ended || auth < l.doubtful
}

// used returns how often a token that was made at that time has been used; usedUp or more when
// it was revoked, or when that cannot be known.
func (l *ledger) used(token []byte, created int64) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if created < l.doubtful {
		return usedUp
	}
	return l.tokens[handleOf(token)]
}

// wait waits until the ledger is filled, for what must not happen before. It is Busy when that takes
// too long, and when it failed.
func (l *ledger) wait(ctx context.Context) error {
	select {
	case <-l.filled:
		return l.unread
	default:
	}
	ctx, cancel := context.WithTimeoutCause(ctx, l.patience, errStarting)
	defer cancel()
	return l.read(ctx)
}

// read waits for the same for as long as ctx lasts.
func (l *ledger) read(ctx context.Context) error {
	select {
	case <-l.filled:
		return l.unread
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

var (
	errStarting = &Error{Kind: Busy, Wait: 5 * time.Second,
		Msg: "This server has just been started and is still reading its audit log, without which it lets nobody in. Wait a few seconds and try again."}
	errUnread = &Error{Kind: Busy, Wait: time.Minute,
		Msg: "This server could not read its audit log, without which it lets nobody in. Tell whoever runs it: its own log says why."}
)

// forget drops what says nothing any more: sessions whose lifetime is over.
func (l *ledger) forget(before int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for session, at := range l.sessions {
		if at < before {
			delete(l.sessions, session)
		}
	}
}

// told is what the audit log says about a room, for a log of the room that has a hole.
type told struct {
	left     map[ID]int64 // who has left it when, unix milliseconds
	settings int          // how often it was said what newcomers see
}

// readLedger fills the ledger from the audit log, and returns what it tells about rooms; nil when the
// log is damaged, since then it may not tell all.
func (s *Store) readLedger(ctx context.Context) (map[ID]told, error) {
	defer close(s.ledger.filled)
	whole, start := true, s.now()
	rooms := map[ID]told{}
	oldest := s.o.Now().Add(-s.o.SessionLifetime - time.Hour).UnixMilli()
	err := s.walkAudit(ctx, func(n uint64, at int64, e Audit) {
		if n > s.ledger.from {
			return // noted when it happened
		}
		s.tally.event(e, at)
		if e.Event != eventSessionEnd || at > oldest {
			s.ledger.note([]Audit{e}, 0, at)
		}
		if room, user, ok := e.departure(); ok {
			r := rooms[room]
			if r.left == nil {
				r.left = map[ID]int64{}
			}
			r.left[user] = at
			rooms[room] = r
		}
		if room, ok := e.ofHistory(); ok {
			r := rooms[room]
			r.settings++
			rooms[room] = r
		}
	}, func(n uint64, what string) {
		whole = false
		s.auditFault(n, what)
	})
	if err == nil {
		s.integrity.set(func(i *integrity) { i.audit.Checked = true })
	} else {
		s.ledger.unread = errUnread
	}
	if !whole || err != nil {
		rooms = nil
		s.ledger.mu.Lock()
		s.ledger.doubtful = start
		s.ledger.mu.Unlock()
	}
	return rooms, err
}

// departure reads whose membership of which room an event has ended.
func (e Audit) departure() (room, user ID, ok bool) {
	switch e.Event {
	case auditLeave:
		room, err := ParseID(e.Object)
		return room, e.Actor, err == nil
	case auditRemove, auditBan:
		name, member, _ := strings.Cut(e.Object, " ")
		room, err := ParseID(name)
		user, memberErr := ParseID(member)
		return room, user, err == nil && memberErr == nil
	}
	return ID{}, ID{}, false
}

// ofHistory reads of which room an event has said what newcomers see.
func (e Audit) ofHistory() (room ID, ok bool) {
	if e.Event != auditHistory {
		return ID{}, false
	}
	name, _, _ := strings.Cut(e.Object, " ")
	room, err := ParseID(name)
	return room, err == nil
}
