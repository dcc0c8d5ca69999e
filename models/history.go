package models

import (
	"context"
	"encoding/hex"
	"errors"
	"math"
	"slices"
	"time"

	"gorm.io/gorm"

	"conclave/models/cipher"
)

// Limits of reading.
const (
	PageSize  = 40  // lines of the history at a time
	afterSize = 100 // log entries of one catch-up page

	// A room opens at the first unread line, with a few read ones before it. Whoever has more to
	// read than openMost lines gets the newest of them, and finds the others above as older pages:
	// where the talk is now matters more than where it was left days ago.
	openMost    = 200
	openContext = 5
)

// Line is one line of the history, opened for a member. A message is shown as it stands now.
type Line struct {
	N       uint64 // the number of the post, or of the entry itself
	Op      Op     // of the entry: an OpEdit or OpDelete shows the message it is about
	Who     Profile
	At      time.Time
	Body    string
	Edited  bool
	Removed bool
	Damaged bool // it failed verification: everything but N is empty
	Missing int  // no entry at all: so many are missing from N on
}

// message is a message as it stands: its post, its latest entry, and what is stored for it.
type message struct {
	post     *Entry
	latest   *Entry // the post itself, an edit or a removal
	revision uint32
	envelope []byte
}

// readMessages reads the messages whose posts have the numbers from..to. What the latest entry
// about a message says counts; it must be genuine like the post.
func (s *Store) readMessages(ctx context.Context, db gorm.ConnPool, room ID, from, to uint64) (map[uint64]*message, error) {
	found := map[uint64]*message{}
	if to > math.MaxInt64 {
		return found, nil
	}
	chain := s.chain(room)
	read := func(query string, args ...any) error {
		rows, err := db.QueryContext(ctx, query, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var r entryRow
			var previous hash
			var author ID
			var created, revision number
			var envelope blob
			if err := rows.Scan(append(r.into(), &previous, &author, &created, &revision, &envelope)...); err != nil {
				return err
			}
			e := r.entry(room, chain, previous)
			if e.Op == OpPost {
				if author != e.Actor || int64(created) != e.Time || !revision.within(math.MaxUint32) {
					envelope = nil // whoever changed what stands beside it has changed the message
				}
				found[e.N] = &message{post: e, latest: e, revision: uint32(revision), envelope: envelope}
			} else if m := found[e.about()]; m != nil {
				m.latest = e
			}
		}
		return rows.Err()
	}
	const columns = "SELECT " + entryColumns + ", coalesce(b.mac, zeroblob(32)), "
	const before = " LEFT JOIN room_log b ON b.room_id = l.room_id AND b.n = l.n - 1 "
	err := read(columns+`p.author, p.created_ms, p.revision, p.envelope FROM room_log l`+before+`LEFT JOIN messages p ON p.room_id = l.room_id AND p.n = l.n
		WHERE l.room_id = ? AND l.n BETWEEN ? AND ? AND l.op = 7`, room, from, to)
	if err != nil {
		return nil, err
	}
	first, last := ID(cipher.MessageTarget(from)), ID(cipher.MessageTarget(to))
	err = read(columns+`NULL, NULL, NULL, NULL FROM room_log l`+before+`WHERE l.room_id = ? AND l.n IN (SELECT max(n) FROM room_log
		WHERE room_id = ? AND target BETWEEN ? AND ? AND op IN (8, 9) GROUP BY target)`, room, room, first, last)
	return found, err
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

// Message reads one message of the member's room. It is NotFound when there never was one.
func (s *Store) Message(ctx context.Context, m Membership, n uint64) (Line, error) {
	var l Line
	err := s.snapshot(ctx, func(db gorm.ConnPool) error {
		if _, err := s.membership(ctx, db, m.Room, m.User); err != nil {
			return err
		}
		messages, err := s.readMessages(ctx, db, m.Room, n, n)
		if err != nil {
			return err
		}
		if messages[n] == nil {
			return errNotFound
		}
		l, err = s.openEntry(ctx, db, s.profiles(ctx, db), messages, messages[n].post)
		return err
	})
	return l, err
}

// Open verifies an entry and makes it readable: the author's name from the sealed profile, and
// of a message its text. What does not verify comes back as Damaged, never as text.
func (s *Store) Open(ctx context.Context, e *Entry) (Line, error) {
	var opened Line
	err := s.snapshot(ctx, func(db gorm.ConnPool) error {
		var messages map[uint64]*message
		if n := e.about(); n > 0 && e.genuine {
			var err error
			if messages, err = s.readMessages(ctx, db, e.Room, n, n); err != nil {
				return err
			}
		}
		var err error
		opened, err = s.openEntry(ctx, db, s.profiles(ctx, db), messages, e)
		return err
	})
	return opened, err
}

// look is snapshot for one room. known is where its log was known to end before.
func (s *Store) look(ctx context.Context, room ID, f func(db gorm.ConnPool, known mark) error) error {
	known := s.proofs.known(room)
	return s.snapshot(ctx, func(db gorm.ConnPool) error { return f(db, known) })
}

func (s *Store) openEntry(ctx context.Context, db gorm.ConnPool, names *profiles, messages map[uint64]*message, e *Entry) (Line, error) {
	n := e.N
	if about := e.about(); about > 0 && e.genuine {
		n = about
	}
	damaged := Line{N: n, Op: e.Op, Damaged: true}
	if !e.genuine {
		s.fault(e.Room, e.N, faultLog, "this entry of the log was changed")
		return damaged, nil
	}
	l := Line{N: n, Op: e.Op, At: time.UnixMilli(e.Time)}
	who := e.Target
	if e.about() > 0 {
		m := messages[n]
		if m == nil {
			s.fault(e.Room, n, faultMessage, "this message is missing")
			return damaged, nil
		}
		body, err := s.openMessage(ctx, db, m)
		if errors.Is(err, cipher.ErrAuth) {
			s.fault(e.Room, n, faultMessage, "this message is not what was written")
			return damaged, nil
		}
		if err != nil {
			return Line{}, err
		}
		who = m.post.Actor
		l.At = time.UnixMilli(m.post.Time)
		l.Body = string(body)
		l.Edited, l.Removed = m.latest.Op == OpEdit, m.latest.Op == OpDelete
	}
	var err error
	l.Who, err = names.get(who)
	return l, err
}

// Page is a stretch of the history, oldest line first.
type Page struct {
	Lines  []Line
	Before uint64 // older lines end before this number; 0 when these are the first
	Head   uint64 // the room's last number when this was read
}

// gap is the line for the entries from first on, before end, that are missing.
func (s *Store) gap(room ID, first, end uint64) Line {
	s.fault(room, first, faultLog, "entries of the log are missing here")
	return Line{N: first, Missing: int(end - first)}
}

// View is all that the page of a room shows, read at one moment.
type View struct {
	Name        string
	Code        string // 16 symbols
	Log         string // names the incarnation of the log that the numbers belong to
	Fingerprint string // of the whole log up to Page.Head: XXXX-XXXX
	People      []Person
	Page        Page
	Unread      uint64 // posts that the member has not read
	Mark        uint64 // everything up to this entry is read
	ReadOnly    bool   // the log is damaged: nothing can be added
	Harmed      bool   // something that the room holds failed verification
}

// View reads a room with the newest page of its history, which reaches back to where the member
// has stopped reading.
func (s *Store) View(ctx context.Context, m Membership) (View, error) {
	var v View
	err := s.look(ctx, m.Room, func(db gorm.ConnPool, known mark) error {
		if _, err := s.membership(ctx, db, m.Room, m.User); err != nil {
			return err
		}
		room, err := s.readRoom(ctx, db, m.Room)
		if errors.Is(err, cipher.ErrAuth) {
			s.fault(m.Room, 0, faultKey, "the room's key, its name or its code is not what was written")
			return errUnreadable
		}
		if err != nil {
			return err
		}
		s.checkHead(m.Room, known, room.head)
		v.Name, v.Code, v.Log, v.Fingerprint = room.name, room.code, hex.EncodeToString(room.incarnation), fingerprint(room.head)
		if v.People, err = s.people(ctx, db, m.Room); err != nil {
			return err
		}
		unread, err := readUnread(ctx, db, unreadHere, m.User, m.Room)
		if err != nil || len(unread) == 0 {
			return errors.Join(err, errNotFound)
		}
		v.Unread, v.Mark = unread[0].Count, unread[0].Mark
		v.Page, err = s.page(ctx, db, m, room.head.n, room.head.n+1, v.Mark)
		return err
	})
	damage, harmed := s.proofs.status(m.Room)
	v.ReadOnly, v.Harmed = damage != "", harmed
	return v, err
}

// Fingerprint returns the fingerprint of the room's log up to the entry n, for somebody who wrote
// one down, with the room's name and where its log ends now. It is Invalid when there is no such entry.
func (s *Store) Fingerprint(ctx context.Context, m Membership, n uint64) (letters, name string, head uint64, err error) {
	err = s.snapshot(ctx, func(db gorm.ConnPool) error {
		if _, err := s.membership(ctx, db, m.Room, m.User); err != nil {
			return err
		}
		room, err := s.readRoom(ctx, db, m.Room)
		if errors.Is(err, cipher.ErrAuth) {
			return errUnreadable
		}
		if err != nil {
			return err
		}
		name, head = room.name, room.head.n
		entries, err := s.readLog(ctx, db, m.Room, n, n)
		if err != nil {
			return err
		}
		if len(entries) != 1 {
			return invalid("n", "The history has no entry with this number.")
		}
		if !entries[0].genuine {
			s.fault(m.Room, n, faultLog, "this entry of the log was changed")
			return invalid("n", "This entry fails its integrity check, so it has no fingerprint.")
		}
		letters = fingerprint(mark{n, entries[0].MAC})
		return nil
	})
	return letters, name, head, err
}

// fingerprint shortens the MAC of a log's last entry, which depends on all entries before it,
// to 40 bits that two people can read to each other.
func fingerprint(head mark) string {
	bits := uint64(0)
	for _, b := range head.mac[:5] {
		bits = bits<<8 | uint64(b)
	}
	symbols := make([]byte, 8)
	for i := range symbols {
		symbols[i] = codeAlphabet[bits>>(35-5*i)&31]
	}
	return FormatCode(string(symbols))
}

var errUnreadable = &Error{Kind: Conflict, Msg: "This room cannot be opened: its key or its name does not pass the integrity check. Tell the person who runs this server."}

// Older reads the page of the history that ends before the entry with that number.
func (s *Store) Older(ctx context.Context, m Membership, before uint64) (Page, error) {
	var p Page
	err := s.look(ctx, m.Room, func(db gorm.ConnPool, known mark) error {
		if _, err := s.membership(ctx, db, m.Room, m.User); err != nil {
			return err
		}
		head, err := headMark(ctx, db, m.Room)
		if err != nil {
			return err
		}
		s.checkHead(m.Room, known, head)
		p, err = s.page(ctx, db, m, head.n, before, head.n)
		return err
	})
	return p, err
}

// page reads up to PageSize lines that end before the given number, or more when more follow the
// entry up to which the member has read. Between them and up to that number, or the end of the
// log, every entry must be there.
func (s *Store) page(ctx context.Context, db gorm.ConnPool, m Membership, head, before, read uint64) (Page, error) {
	p := Page{Head: head}
	end := min(before, head+1)
	size := pageSize(head - min(read, head)) // no more lines than entries
	numbers, err := shownBefore(ctx, db, m.Room, end, size+1)
	if err != nil || end <= 1 {
		return p, err
	}
	unread := slices.IndexFunc(numbers, func(n uint64) bool { return n <= read })
	if unread >= 0 {
		size = pageSize(uint64(unread))
	}
	first := uint64(1)
	if len(numbers) > size {
		first, p.Before = numbers[size-1], numbers[size-1]
	}
	entries, err := s.readLog(ctx, db, m.Room, first, end-1)
	if err != nil {
		return p, err
	}
	messages, err := s.readMessages(ctx, db, m.Room, first, end-1)
	if err != nil {
		return p, err
	}
	names := s.profiles(ctx, db)
	next := first // the number that must come
	for _, e := range entries {
		if e.N > next {
			p.Lines = append(p.Lines, s.gap(m.Room, next, e.N))
		}
		next = e.N + 1
		if e.genuine && !e.Op.onPage() {
			continue
		}
		l, err := s.openEntry(ctx, db, names, messages, e)
		if err != nil {
			return p, err
		}
		p.Lines = append(p.Lines, l)
	}
	if next < end {
		p.Lines = append(p.Lines, s.gap(m.Room, next, end))
	}
	return p, nil
}

// pageSize is how many lines a page has that shows so many unread ones.
func pageSize(unread uint64) int {
	return int(min(max(unread+openContext, PageSize), openMost))
}

// shownBefore returns the numbers of the shown entries before a number, the newest first.
func shownBefore(ctx context.Context, db gorm.ConnPool, room ID, before uint64, most int) ([]uint64, error) {
	rows, err := db.QueryContext(ctx, "SELECT n FROM room_log WHERE room_id = ? AND n < ? AND op IN "+pageOps+" ORDER BY n DESC LIMIT ?", room, before, most)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var numbers []uint64
	for rows.Next() {
		var n number
		if err := rows.Scan(&n); err != nil {
			return nil, err
		}
		if n > 0 {
			numbers = append(numbers, uint64(n))
		}
	}
	return numbers, rows.Err()
}

// After reads the entries that follow a cursor, up to a hundred of them, still sealed, and how
// far the log reaches. It is NotFound once the membership has ended.
func (s *Store) After(ctx context.Context, m Membership, cursor uint64) (entries []*Entry, head uint64, log string, err error) {
	err = s.snapshot(ctx, func(db gorm.ConnPool) error {
		if _, err := s.membership(ctx, db, m.Room, m.User); err != nil {
			return err
		}
		var incarnation blob
		var end number
		err := db.QueryRowContext(ctx, "SELECT head_n, incarnation FROM rooms WHERE id = ?", m.Room).Scan(&end, &incarnation)
		if err != nil {
			return noRow(err, errNotFound)
		}
		head = uint64(max(end, 0))
		log = hex.EncodeToString(incarnation)
		if cursor >= head {
			return nil
		}
		entries, err = s.readLog(ctx, db, m.Room, cursor+1, min(cursor+afterSize, head))
		return err
	})
	return entries, head, log, err
}

func headMark(ctx context.Context, db gorm.ConnPool, room ID) (head mark, err error) {
	var n number
	var mac hash
	err = db.QueryRowContext(ctx, "SELECT head_n, head_mac FROM rooms WHERE id = ?", room).Scan(&n, &mac)
	return mark{uint64(max(n, 0)), mac}, noRow(err, errNotFound)
}
