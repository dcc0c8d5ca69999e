package models

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"gorm.io/gorm"

	"conclave/models/cipher"
)

// Limits of a message (SECURITY.md R53) and of reading.
const (
	messageMax      = 4000     // code points
	messageMaxBytes = 16 << 10 // UTF-8
	clientIDMax     = 64       // bytes
	PageSize        = 40       // lines of the history at a time
	afterSize       = 100      // log entries of one catch-up page
)

// Post stores a message of the member and announces it. It returns the message's number.
//
// A client id (letters, digits, "-" and "_"; empty for none) makes a repetition harmless: the
// same id with the same text answers with the number of the first, with another text it is a Conflict.
func (s *Store) Post(ctx context.Context, m Membership, body, clientID string) (uint64, error) {
	body, err := cleanBody(body)
	if err != nil {
		return 0, err
	}
	if !validClientID(clientID) {
		return 0, invalid("client_id", "This form is not one of ours. Reload the page and send your message again.")
	}
	var n uint64
	err = s.lane.do(ctx, func(c *change) error {
		if _, err := s.membership(c.ctx, c.db, m.Room, m.User); err != nil {
			return err
		}
		var err error
		if n, err = c.posted(m, body, clientID); err != nil || n > 0 {
			return err
		}
		n, err = c.post(m, body, clientID)
		return err
	})
	if err != nil {
		return 0, err // n may still be written by a change that nobody waits for any more
	}
	return n, nil
}

// posted looks for a message that this member has already sent under the client id.
func (c *change) posted(m Membership, body, clientID string) (uint64, error) {
	if clientID == "" {
		return 0, nil
	}
	var p cipher.MessagePlace
	var envelope []byte
	err := c.row("SELECT n, created_ms, revision, envelope FROM messages WHERE room_id = ? AND author = ? AND client_id = ?", m.Room, m.User, clientID).
		Scan(&p.N, &p.Created, &p.Revision, &envelope)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	p.Author = m.User
	key, err := c.roomKey(m.Room, cipher.EpochOf(envelope))
	if err != nil {
		return 0, err
	}
	first, err := key.OpenMessage(p, envelope)
	if err != nil {
		return 0, err
	}
	if string(first) != body {
		return 0, &Error{Kind: Conflict, Field: "body", Msg: "Another text has already been sent from this form. Yours has not been sent: send it again."}
	}
	return p.N, nil
}

func (c *change) post(m Membership, body, clientID string) (uint64, error) {
	h, err := c.head(m.Room)
	if err != nil {
		return 0, err
	}
	if h.stale {
		if err := c.openEpoch(m.Room, m.User); err != nil {
			return 0, err
		}
		h = c.heads[m.Room]
	}
	key, err := c.roomKey(m.Room, h.epoch)
	if err != nil {
		return 0, err
	}
	n := h.n + 1
	envelope, err := key.SealMessage(cipher.MessagePlace{Author: m.User, N: n, Created: c.now}, []byte(body))
	if err != nil {
		return 0, err
	}
	client := sql.NullString{String: clientID, Valid: clientID != ""}
	err = c.exec("INSERT INTO messages (room_id, n, author, created_ms, revision, client_id, envelope) VALUES (?, ?, ?, ?, 0, ?, ?)",
		m.Room, n, m.User, c.now, client, envelope)
	if err != nil {
		return 0, err
	}
	return n, c.append(&Entry{Room: m.Room, Op: OpPost, Target: cipher.MessageTarget(n), Actor: m.User, Payload: cipher.Tag(envelope), envelope: envelope})
}

// cleanBody checks a message's text and makes its line ends "\n".
func cleanBody(body string) (string, error) {
	if !utf8.ValidString(body) {
		return "", invalid("body", "This contains something that is no text.")
	}
	body = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(body)
	if strings.TrimSpace(body) == "" {
		return "", invalid("body", "Write something first.")
	}
	if count := utf8.RuneCountInString(body); count > messageMax {
		return "", invalid("body", "A message can have at most %d characters; this has %d. Send it in parts.", messageMax, count)
	}
	if len(body) > messageMaxBytes {
		return "", invalid("body", "This is too long for one message. Send it in parts.")
	}
	for _, r := range body {
		if unicode.Is(unicode.Cc, r) && r != '\n' && r != '\t' {
			return "", invalid("body", "This contains a control character (U+%04X), which cannot be sent.", r)
		}
	}
	return body, nil
}

func validClientID(s string) bool {
	return len(s) <= clientIDMax && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	})
}

// Line is an entry of the history, opened for a member.
type Line struct {
	N       uint64
	Op      Op
	Who     Profile // the author of a post, or whom the entry is about
	At      time.Time
	Body    string // of a post
	Damaged bool   // it failed verification: everything but N is empty
}

// Open verifies an entry and makes it readable: the author's name from the sealed profile, and
// of a post its text. What does not verify comes back as Damaged, never as text.
func (s *Store) Open(ctx context.Context, e *Entry) (Line, error) {
	var opened Line
	err := s.snapshot(ctx, func(db gorm.ConnPool) error {
		lines, err := s.open(ctx, db, []*Entry{e})
		if err == nil {
			opened = lines[0]
		}
		return err
	})
	return opened, err
}

func (s *Store) open(ctx context.Context, db gorm.ConnPool, entries []*Entry) ([]Line, error) {
	names := s.profiles(ctx, db)
	lines := make([]Line, len(entries))
	for i, e := range entries {
		var err error
		if lines[i], err = s.openEntry(ctx, db, names, e); err != nil {
			return nil, err
		}
	}
	return lines, nil
}

func (s *Store) openEntry(ctx context.Context, db gorm.ConnPool, names *profiles, e *Entry) (Line, error) {
	damaged := Line{N: e.N, Op: e.Op, Damaged: true}
	if !e.genuine {
		return damaged, nil
	}
	l := Line{N: e.N, Op: e.Op, At: time.UnixMilli(e.Time)}
	who := e.Target
	if e.Op == OpPost {
		who = e.Actor
		body, err := s.openBody(ctx, db, e)
		if errors.Is(err, cipher.ErrAuth) {
			return damaged, nil
		}
		if err != nil {
			return Line{}, err
		}
		l.Body = string(body)
	}
	var err error
	l.Who, err = names.get(who)
	return l, err
}

// openBody opens a post's envelope, which must be the one its log entry records.
func (s *Store) openBody(ctx context.Context, db gorm.ConnPool, e *Entry) ([]byte, error) {
	if cipher.Tag(e.envelope) != e.Payload {
		return nil, cipher.ErrAuth
	}
	key, err := s.roomKey(ctx, db, e.Room, e.Epoch)
	if err != nil {
		return nil, err
	}
	return key.OpenMessage(cipher.MessagePlace{Author: e.Actor, N: e.N, Created: e.Time, Revision: e.revision}, e.envelope)
}

// Page is a stretch of the history, oldest line first.
type Page struct {
	Lines  []Line
	Before uint64 // older lines end before this number; 0 when these are the first
	Head   uint64 // the room's last number when this was read
}

// View is all that the page of a room shows, read at one moment.
type View struct {
	Name   string
	Code   string // 16 symbols
	Log    string // names the incarnation of the log that the numbers belong to
	People []Person
	Page   Page
}

// View reads a room with the newest page of its history.
func (s *Store) View(ctx context.Context, m Membership) (View, error) {
	var v View
	err := s.snapshot(ctx, func(db gorm.ConnPool) error {
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
		v.Name, v.Code, v.Log = room.name, room.code, hex.EncodeToString(room.incarnation)
		if v.People, err = s.people(ctx, db, m.Room); err != nil {
			return err
		}
		v.Page, err = s.page(ctx, db, m, room.head, room.head+1)
		return err
	})
	return v, err
}

var errUnreadable = &Error{Kind: Conflict, Msg: "This room cannot be opened: its key or its name does not pass the integrity check. Tell the person who runs this server."}

// Older reads the page of the history that ends before the entry with that number.
func (s *Store) Older(ctx context.Context, m Membership, before uint64) (Page, error) {
	var p Page
	err := s.snapshot(ctx, func(db gorm.ConnPool) error {
		if _, err := s.membership(ctx, db, m.Room, m.User); err != nil {
			return err
		}
		head, err := headNumber(ctx, db, m.Room)
		if err != nil {
			return err
		}
		p, err = s.page(ctx, db, m, head, before)
		return err
	})
	return p, err
}

// page reads up to PageSize lines that end before the given number.
func (s *Store) page(ctx context.Context, db gorm.ConnPool, m Membership, head, before uint64) (Page, error) {
	p := Page{Head: head}
	numbers, err := shownBefore(ctx, db, m.Room, min(before, head+1))
	if err != nil || len(numbers) == 0 {
		return p, err
	}
	if len(numbers) > PageSize {
		numbers = numbers[:PageSize]
		p.Before = numbers[PageSize-1]
	}
	entries, err := s.readLog(ctx, db, m.Room, numbers[len(numbers)-1], numbers[0])
	if err != nil {
		return p, err
	}
	entries = slices.DeleteFunc(entries, func(e *Entry) bool { return !e.Op.Shown() })
	p.Lines, err = s.open(ctx, db, entries)
	return p, err
}

// shownBefore returns the numbers of up to PageSize+1 shown entries before a number, the newest first.
func shownBefore(ctx context.Context, db gorm.ConnPool, room ID, before uint64) ([]uint64, error) {
	rows, err := db.QueryContext(ctx, "SELECT n FROM room_log WHERE room_id = ? AND n < ? AND op IN "+shownOps+" ORDER BY n DESC LIMIT ?", room, before, PageSize+1)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var numbers []uint64
	for rows.Next() {
		var n uint64
		if err := rows.Scan(&n); err != nil {
			return nil, err
		}
		numbers = append(numbers, n)
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
		var incarnation []byte
		err := db.QueryRowContext(ctx, "SELECT head_n, incarnation FROM rooms WHERE id = ?", m.Room).Scan(&head, &incarnation)
		if err != nil {
			return noRow(err, errNotFound)
		}
		log = hex.EncodeToString(incarnation)
		if cursor >= head {
			return nil
		}
		entries, err = s.readLog(ctx, db, m.Room, cursor+1, min(cursor+afterSize, head))
		return err
	})
	return entries, head, log, err
}

func headNumber(ctx context.Context, db gorm.ConnPool, room ID) (n uint64, err error) {
	err = db.QueryRowContext(ctx, "SELECT head_n FROM rooms WHERE id = ?", room).Scan(&n)
	return n, noRow(err, errNotFound)
}
