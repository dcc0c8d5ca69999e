package models

// This file reads stretches of a room's log together with what is stored for their messages, and
// verifies them: bytes first, so that a line that is kept can be compared with what it was made from.

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"

	"gorm.io/gorm"

	"conclave/models/cipher"
)

// message is a message as it stands: its post, its latest entry, and what is stored for it.
type message struct {
	post     *Entry
	latest   *Entry // the post itself, an edit or a removal
	revision uint32
	envelope []byte
}

// rawLine is an entry of a log as it is read, with what is stored for its message.
type rawLine struct {
	n       number
	entry   blob // a packedEntry
	message blob // created_ms, revision, author and envelope, packed alike; nil when there is no message
}

func (l rawLine) equal(other rawLine) bool {
	return l.n == other.n && bytes.Equal(l.entry, other.entry) && bytes.Equal(l.message, other.message)
}

// stretch reads the entries from..to of a room's log in order.
func stretch(ctx context.Context, db gorm.ConnPool, room ID, from, to uint64) ([]rawLine, error) {
	rows, err := db.QueryContext(ctx, stretchQuery, room, int64(min(from, math.MaxInt64)), int64(min(to, math.MaxInt64)))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	lines := make([]rawLine, 0, min(to-from+1, openMost))
	for rows.Next() {
		var l rawLine
		if err := rows.Scan(&l.n, &l.entry, &l.message); err != nil {
			return nil, err
		}
		lines = append(lines, l)
	}
	return lines, rows.Err()
}

const stretchQuery = "SELECT l.n, " + packedEntry + ", CAST(p.created_ms||' '||p.revision||' '||p.author||p.envelope AS BLOB)" +
	" FROM room_log l LEFT JOIN messages p ON p.room_id = l.room_id AND p.n = l.n WHERE l.room_id = ? AND l.n BETWEEN ? AND ? ORDER BY l.n"

// changes reads the latest entries about the messages from..to, packed, each with the MAC before
// it behind it; by message.
func changes(ctx context.Context, db gorm.ConnPool, room ID, from, to uint64) (map[uint64]blob, error) {
	first, last := ID(cipher.MessageTarget(from)), ID(cipher.MessageTarget(to))
	rows, err := db.QueryContext(ctx, changesQuery, room, room, first, last)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found map[uint64]blob
	for rows.Next() {
		var target ID
		var entry, previous blob
		if err := rows.Scan(&target, &entry, &previous); err != nil {
			return nil, err
		}
		if found == nil {
			found = map[uint64]blob{}
		}
		found[binary.BigEndian.Uint64(target[8:])] = append(entry, previous...)
	}
	return found, rows.Err()
}

const changesQuery = "SELECT l.target, " + packedEntry + ", b.mac FROM room_log l LEFT JOIN room_log b ON b.room_id = l.room_id AND b.n = l.n - 1" +
	" WHERE l.room_id = ? AND l.n IN (SELECT max(n) FROM room_log WHERE room_id = ? AND target BETWEEN ? AND ? AND op IN (8, 9) GROUP BY target)"

// readMessages reads the messages whose posts have the numbers from..to. What the latest entry
// about a message says counts; it must be genuine like the post.
func (s *Store) readMessages(ctx context.Context, db gorm.ConnPool, room ID, from, to uint64) (map[uint64]*message, error) {
	found := map[uint64]*message{}
	if to > math.MaxInt64 || from == 0 {
		return found, nil
	}
	lines, err := stretch(ctx, db, room, from-1, to)
	if err != nil {
		return nil, err
	}
	changed, err := changes(ctx, db, room, from, to)
	if err != nil {
		return nil, err
	}
	chain := s.chain(room)
	last := mark{mac: chain.Genesis()}
	for _, l := range lines {
		e := l.follow(room, chain, last)
		last = mark{uint64(l.n), e.MAC}
		if e.N >= from && e.Op == OpPost {
			found[e.N] = l.read(e, changed[e.N], chain)
		}
	}
	return found, nil
}

// follow returns the entry, genuine when it follows the one that was read before it.
func (l rawLine) follow(room ID, chain *cipher.Chain, last mark) *Entry {
	var r entryRow
	r.unpack(l.entry)
	e := r.entry(room, chain, last.mac)
	e.genuine = e.genuine && r.n == l.n && e.N == last.n+1
	e.N = uint64(l.n) // where it stands, whatever it is
	return e
}

// read returns the message of a post as it stands.
func (l rawLine) read(post *Entry, change blob, chain *cipher.Chain) *message {
	m := &message{post: post, latest: post}
	var created, revision number
	var author ID
	rest := revision.cut(created.cut(l.message))
	rest = rest[copy(author[:], rest):]
	// Whoever changed what stands beside the envelope has changed the message.
	if author == post.Actor && int64(created) == post.Time && revision.within(math.MaxUint32) {
		m.revision, m.envelope = uint32(revision), rest
	}
	if len(change) > len(hash{}) {
		var r entryRow
		split := len(change) - len(hash{})
		r.unpack(change[:split])
		m.latest = r.entry(post.Room, chain, hash(change[split:]))
	}
	return m
}

// openMessage verifies a message and returns its text. cipher.ErrAuth means that it is not
// what was written: its log entries, the order of them as far as this process knows it, or its
// envelope. A removed message has no text, and must have no envelope. errMoved: read again.
func (s *Store) openMessage(ctx context.Context, db gorm.ConnPool, m *message) ([]byte, error) {
	if !m.post.genuine || !m.latest.genuine || m.post.about() != m.post.N || m.latest.about() != m.post.N {
		return nil, cipher.ErrAuth
	}
	if err := s.proofs.isLatest(m.latest, since(db)); err != nil {
		return nil, err
	}
	if m.latest.Op == OpDelete {
		if len(m.envelope) > 0 {
			return nil, cipher.ErrAuth
		}
		return nil, nil
	}
	if cipher.Tag(m.envelope) != m.latest.Payload {
		return nil, cipher.ErrAuth
	}
	key, err := s.roomKey(ctx, db, m.post.Room, m.latest.Epoch)
	if err != nil {
		return nil, err
	}
	return key.OpenMessage(cipher.MessagePlace{Author: m.post.Actor, N: m.post.N, Created: m.post.Time, Revision: m.revision}, m.envelope)
}
