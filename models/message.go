package models

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"conclave/models/cipher"
)

// Limits of a message.
const (
	messageMax      = 4000     // code points
	messageMaxBytes = 16 << 10 // UTF-8
	clientIDMax     = 64       // bytes
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
	if p.Revision > 0 || len(envelope) == 0 {
		return p.N, nil // edited or removed since: it had arrived
	}
	p.Author = m.User
	key, err := c.roomKey(m.Room, cipher.EpochOf(envelope))
	if err != nil {
		return 0, err
	}
	first, err := key.OpenMessage(p, envelope)
	if err != nil {
		return 0, errDamagedMessage
	}
	if string(first) != body {
		return 0, &Error{Kind: Conflict, Field: "body", Msg: "Another text has already been sent from this form. Yours has not been sent: send it again."}
	}
	return p.N, nil
}

func (c *change) post(m Membership, body, clientID string) (uint64, error) {
	key, err := c.currentKey(m)
	if err != nil {
		return 0, err
	}
	n := c.heads[m.Room].n + 1
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
	e := &Entry{Room: m.Room, Op: OpPost, Target: cipher.MessageTarget(n), Actor: m.User, Payload: cipher.Tag(envelope), sealed: envelope}
	if err := c.append(e); err != nil {
		return 0, err
	}
	return n, c.ownPost(e)
}

// currentKey returns the key that what is written now is sealed under. It opens a new epoch
// first when somebody has left, when the epoch is over ninety days old, or when it has sealed
// enough.
func (c *change) currentKey(m Membership) (*cipher.RoomKey, error) {
	h, err := c.head(m.Room)
	if err != nil {
		return nil, err
	}
	worn := h.stale
	if !worn {
		if worn, err = c.epochWorn(m.Room, h); err != nil {
			return nil, err
		}
	}
	if worn {
		if err := c.openEpoch(m.Room, m.User); err != nil {
			return nil, err
		}
	}
	key, err := c.roomKey(m.Room, c.heads[m.Room].epoch)
	if errors.Is(err, cipher.ErrAuth) {
		return nil, errUnreadable
	}
	return key, err
}

// Edit replaces the text of the member's own message. Its number and its time stay; the
// envelope that was there is overwritten, and the log keeps that there was one.
func (s *Store) Edit(ctx context.Context, m Membership, n uint64, body string) error {
	body, faulty := cleanBody(body)
	return s.lane.do(ctx, func(c *change) error {
		old, _, err := c.message(m, n)
		if err != nil {
			return err
		}
		if old.post.Actor != m.User {
			return &Error{Kind: Denied, Msg: "Only the author can change a message."}
		}
		if faulty != nil {
			return faulty
		}
		key, err := c.currentKey(m)
		if err != nil {
			return err
		}
		envelope, err := key.SealMessage(cipher.MessagePlace{Author: old.post.Actor, N: n, Created: old.post.Time, Revision: old.revision + 1}, []byte(body))
		if err != nil {
			return err
		}
		err = c.exec("UPDATE messages SET envelope = ?, revision = ? WHERE room_id = ? AND n = ?", envelope, old.revision+1, m.Room, n)
		if err != nil {
			return err
		}
		return c.append(&Entry{Room: m.Room, Op: OpEdit, Target: cipher.MessageTarget(n), Actor: m.User, Payload: cipher.Tag(envelope)})
	})
}

// Remove takes a message away: the author's own, or any for a moderator and the owner. The
// envelope is overwritten; that there was a message, and who removed it, stays in the log.
func (s *Store) Remove(ctx context.Context, m Membership, n uint64) error {
	return s.lane.do(ctx, func(c *change) error { return c.remove(m, n) })
}

func (c *change) remove(m Membership, n uint64) error {
	old, now, err := c.message(m, n)
	if err != nil {
		return err
	}
	if old.post.Actor != m.User && now.Role == Plain {
		return &Error{Kind: Denied, Msg: "Only its author, a moderator or the owner can remove a message."}
	}
	return c.blank(m, n)
}

// blank overwrites a message.
func (c *change) blank(m Membership, n uint64) error {
	if err := c.exec("UPDATE messages SET envelope = x'' WHERE room_id = ? AND n = ?", m.Room, n); err != nil {
		return err
	}
	return c.append(&Entry{Room: m.Room, Op: OpDelete, Target: cipher.MessageTarget(n), Actor: m.User})
}

// message finds a message that the member may see and that is still what was written, to
// change it. A removed one is gone.
func (c *change) message(m Membership, n uint64) (*message, Membership, error) {
	now, err := c.s.membership(c.ctx, c.db, m.Room, m.User)
	if err != nil {
		return nil, now, err
	}
	found, err := c.s.readMessages(c.ctx, c.db, m.Room, n, n)
	if err != nil {
		return nil, now, err
	}
	old := found[n]
	if old == nil || n < now.From || old.latest.Op == OpDelete {
		return nil, now, errNotFound
	}
	if _, err := c.s.openMessage(c.ctx, c.db, old); err != nil {
		return nil, now, errDamagedMessage
	}
	return old, now, nil
}

var errDamagedMessage = &Error{Kind: Conflict, Msg: "This message does not pass its integrity check, so it cannot be changed."}

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
