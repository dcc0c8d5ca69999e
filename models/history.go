package models

import (
	"bytes"
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
	pageLines = 40  // lines of the history at a time
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

// Message reads one message of the member's room. It is NotFound when there never was one, and when it
// is from before the member's time where newcomers do not see that.
func (s *Store) Message(ctx context.Context, m Membership, n uint64) (Line, error) {
	var l Line
	err := s.snapshot(ctx, func(db gorm.ConnPool) error {
		now, err := s.membership(ctx, db, m.Room, m.User)
		if err != nil {
			return err
		}
		messages, err := s.readMessages(ctx, db, m.Room, n, n)
		if err != nil {
			return err
		}
		if messages[n] == nil || n < now.From {
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
		if n := e.about(); e.sealed != nil && !s.proofs.isChanged(e.Room, n) {
			messages = map[uint64]*message{n: {post: e, latest: e, envelope: e.sealed}}
		} else if n > 0 && e.genuine {
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
	From   uint64 // where what the reader may see begins; 0: with the room
	Head   uint64 // the room's last number when this was read

	Renderings []*Rendering // of the lines
}

// gap is the line for the entries from first on, before end, that are missing.
func (s *Store) gap(room ID, first, end uint64) Line {
	s.fault(room, first, faultLog, "entries of the log are missing here")
	return Line{N: first, Missing: int(end - first)}
}

// Older reads the page of the history that ends before the entry with that number.
func (s *Store) Older(ctx context.Context, m Membership, before uint64) (Page, error) {
	var p Page
	err := s.look(ctx, m.Room, func(db gorm.ConnPool, known mark) error {
		now, err := s.membership(ctx, db, m.Room, m.User)
		if err != nil {
			return err
		}
		head, err := headMark(ctx, db, m.Room)
		if err != nil {
			return err
		}
		s.checkHead(m.Room, known, head)
		p, err = s.page(ctx, db, now, s.profiles(ctx, db), head.n, before, head.n)
		return err
	})
	return p, err
}

// page reads up to pageLines lines that end before the given number, or more when more follow the
// entry up to which the member has read, and none from before the member's time where newcomers do not
// see that. Between them and up to that number, or the end of the log, every entry must be there. The
// membership must have been read in the same transaction.
func (s *Store) page(ctx context.Context, db gorm.ConnPool, m Membership, names *profiles, head, before, read uint64) (Page, error) {
	p := Page{Head: head, From: m.From}
	start, end := max(m.From, 1), min(before, head+1)
	if end <= start {
		return p, nil
	}
	raw, first, err := newest(ctx, db, m.Room, start, end, read)
	if err != nil {
		return p, err
	}
	if first > start {
		p.Before = first
	}
	changed, err := changes(ctx, db, m.Room, first, end-1)
	if err != nil {
		return p, err
	}
	chain := s.chain(m.Room)
	last, next := mark{mac: chain.Genesis()}, first // the number that must come
	for _, r := range raw {
		n := uint64(r.n)
		if n < first {
			var e entryRow
			e.unpack(r.entry)
			last = mark{n, e.mac}
			continue
		}
		if n > next {
			p.add(s.gap(m.Room, next, n), nil)
		}
		next = n + 1
		l, err := s.line(ctx, db, m.Room, names, chain, last, r, changed[n])
		if err != nil {
			return p, err
		}
		last = mark{n, l.mac}
		if l.shown {
			p.add(l.line, l.rendering)
		}
	}
	if next < end {
		p.add(s.gap(m.Room, next, end), nil)
	}
	p.Lines = slices.Clip(p.Lines) // others read them too: whoever adds to them gets lines of his own
	return p, nil
}

func (p *Page) add(l Line, r *Rendering) {
	p.Lines, p.Renderings = append(p.Lines, l), append(p.Renderings, r)
}

// newest reads the entries from start on and before end that a page needs, and some before them, and
// finds the first that is on the page; start when the page reaches back to there.
func newest(ctx context.Context, db gorm.ConnPool, room ID, start, end, read uint64) (raw []rawLine, first uint64, err error) {
	const spare = 4 // entries that are not shown are few
	shown, unread, size := 0, 0, pageLines
	more := uint64(pageSize(int(min(end-min(read, end), openMost))) + spare)
	for from := end; ; more *= 2 {
		to := from - 1
		from -= min(more, to)
		part, err := stretch(ctx, db, room, from, to)
		if err != nil {
			return nil, 0, err
		}
		raw = append(part, raw...)
		for _, r := range slices.Backward(part) {
			if r.n < number(start) || !r.onPage() {
				continue
			}
			if shown == size {
				return raw, first, nil
			}
			if shown++; uint64(r.n) > read {
				unread++
				size = pageSize(unread)
			}
			first = uint64(r.n)
		}
		if from < start || from <= 1 {
			return raw, start, nil
		}
	}
}

// onPage reports whether what stands there says that it has a line of its own.
func (l rawLine) onPage() bool {
	var n, op number
	op.cut(n.cut(l.entry))
	return op.within(math.MaxUint8) && Op(op).onPage()
}

// line opens one entry, which must follow the last, as a line of the page if it has one.
func (s *Store) line(ctx context.Context, db gorm.ConnPool, room ID, names *profiles, chain *cipher.Chain, last mark, raw rawLine, change blob) (*keptLine, error) {
	at := place{room, uint64(raw.n)}
	if k, ok := s.shelves.lines.get(at); ok && k.last == last && k.raw.equal(raw) && bytes.Equal(k.change, change) {
		if stands, err := s.stillStands(db, names, k); stands || err != nil {
			return k, err
		}
	}
	e := raw.follow(room, chain, last)
	k := &keptLine{raw: raw, last: last, mac: e.MAC, change: change, latest: e, shown: !e.genuine || e.Op.onPage()}
	if !k.shown {
		return k, nil
	}
	var messages map[uint64]*message
	if e.Op == OpPost {
		m := raw.read(e, change, chain)
		k.latest = m.latest
		messages = map[uint64]*message{e.N: m}
	}
	var err error
	if k.line, err = s.openEntry(ctx, db, names, messages, e); err == nil && !k.line.Damaged {
		k.rendering = &Rendering{}
		s.keep(at, k, since(db))
	}
	return k, err
}

// stillStands reports whether a line that was made of the same bytes would be the same now: nothing
// is known of a later change, and its person has the same name.
func (s *Store) stillStands(db gorm.ConnPool, names *profiles, k *keptLine) (bool, error) {
	who, err := names.get(k.line.Who.ID)
	if err != nil || who != k.line.Who {
		return false, err
	}
	if k.latest.about() == 0 {
		return true, nil
	}
	err = s.proofs.isLatest(k.latest, since(db))
	if errors.Is(err, cipher.ErrAuth) {
		return false, nil
	}
	return err == nil, err
}

// pageSize is how many lines a page has that shows so many unread ones.
func pageSize(unread int) int {
	return min(max(unread+openContext, pageLines), openMost)
}

// Tail is what follows a cursor in a room's log, for a member.
type Tail struct {
	Member  Membership // as it stands: it knows which of the entries show the member anything
	Entries []*Entry   // up to a hundred, still sealed
	Head    uint64     // how far the log reaches
	Log     string     // names the incarnation of the log that the numbers belong to
}

// After reads the entries that follow a cursor. Those from before the member's time are passed over
// where newcomers do not see that. It is NotFound once the membership has ended.
func (s *Store) After(ctx context.Context, m Membership, cursor uint64) (Tail, error) {
	var t Tail
	err := s.snapshot(ctx, func(db gorm.ConnPool) error {
		t = Tail{}
		var err error
		if t.Member, err = s.membership(ctx, db, m.Room, m.User); err != nil {
			return err
		}
		t.Member.By = m.By
		var incarnation blob
		var end number
		err = db.QueryRowContext(ctx, "SELECT head_n, incarnation FROM rooms WHERE id = ?", m.Room).Scan(&end, &incarnation)
		if err != nil {
			return noRow(err, errNotFound)
		}
		t.Head = uint64(max(end, 0))
		t.Log = hex.EncodeToString(incarnation)
		if first := max(cursor+1, t.Member.From); cursor < t.Head && first <= t.Head {
			t.Entries, err = s.readLog(ctx, db, m.Room, first, min(first+afterSize-1, t.Head))
		}
		return err
	})
	return t, err
}

func headMark(ctx context.Context, db gorm.ConnPool, room ID) (head mark, err error) {
	var n number
	var mac hash
	err = db.QueryRowContext(ctx, "SELECT head_n, head_mac FROM rooms WHERE id = ?", room).Scan(&n, &mac)
	return mark{uint64(max(n, 0)), mac}, noRow(err, errNotFound)
}
