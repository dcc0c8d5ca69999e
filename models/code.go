package models

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"

	"gorm.io/gorm"

	"conclave/models/cipher"
)

// A room's code lets whoever knows it in (join.go), under terms that only the owner sets. Code and
// terms are sealed together and stand in one entry of the room's log, so nobody without a key can
// change the one without the other. Only the latest such entry counts: an older one that somebody
// puts back, to bring a dead code or softer terms back, is damage.

const (
	codeLength   = 16 // symbols of 5 bits: 80 bits
	codeAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	codeUsesMost = 1000
)

// newSymbols returns length random symbols of Crockford's base 32. The alphabet has 32 of
// them, so five bits of a random byte choose one without bias.
func newSymbols(length int) string {
	symbols := make([]byte, length)
	rand.Read(symbols)
	for i := range symbols {
		symbols[i] = codeAlphabet[symbols[i]&31]
	}
	return string(symbols)
}

// normalSymbols undoes what people do to a code when they copy it: case, separators, and the
// letters O, I and L for the digits that they look like.
func normalSymbols(s string) string {
	return strings.Map(func(r rune) rune {
		switch r = unicode.ToUpper(r); {
		case r == 'O':
			return '0'
		case r == 'I' || r == 'L':
			return '1'
		case r == '-' || r == '_' || r == '.' || unicode.IsSpace(r) || unicode.Is(unicode.Pd, r):
			return -1
		}
		return r
	}, s)
}

// normalCode returns the 16 symbols of a room code as a person typed it, or an error that says what is wrong.
func normalCode(s string) (string, error) {
	if len(s) > 200 {
		return "", invalid("code", "A room code has %d letters and digits.", codeLength)
	}
	code := normalSymbols(s)
	if code == "" {
		return "", invalid("code", "Enter the room code that you were given.")
	}
	for _, r := range code {
		if !strings.ContainsRune(codeAlphabet, r) {
			return "", invalid("code", "A room code has only letters and digits, and no %q.", r)
		}
	}
	if len(code) != codeLength {
		return "", invalid("code", "A room code has %d letters and digits; this has %d.", codeLength, len(code))
	}
	return code, nil
}

// FormatCode writes 16 symbols as XXXX-XXXX-XXXX-XXXX.
func FormatCode(code string) string { return group(code, 4) }

func group(s string, size int) string {
	var parts []string
	for len(s) > size {
		parts, s = append(parts, s[:size]), s[size:]
	}
	return strings.Join(append(parts, s), "-")
}

// CodeTerms say when a room's code lets somebody in.
type CodeTerms struct {
	Off     bool      // not at all
	Expires time.Time // until then; zero: for ever
	Uses    int       // so many joins from when this was set; 0: any number
	Knock   bool      // only after the owner has agreed
}

// Expired reports whether the code's time is over.
func (t CodeTerms) Expired(now time.Time) bool { return !t.Expires.IsZero() && !now.Before(t.Expires) }

// roomCode is a room's code with its terms. What follows the symbols in the envelope is this, as JSON.
type roomCode struct {
	symbols string
	n       uint64 // the log entry that set it

	Off       bool   `json:"off,omitempty"`
	ExpiresMS int64  `json:"expires,omitempty"` // unix milliseconds; 0: never
	Uses      int    `json:"uses,omitempty"`    // joins after the entry n; 0: any number
	Knock     bool   `json:"knock,omitempty"`
	Made      uint64 `json:"since,omitempty"` // the log entry that made the symbols; 0: the entry n
}

// since is the log entry that made the symbols: who was banned later needs a newer code.
func (r roomCode) since() uint64 {
	if r.Made == 0 {
		return r.n
	}
	return r.Made
}

func (r roomCode) terms() CodeTerms {
	t := CodeTerms{Off: r.Off, Uses: r.Uses, Knock: r.Knock}
	if r.ExpiresMS != 0 {
		t.Expires = time.UnixMilli(r.ExpiresMS)
	}
	return t
}

// content is what is sealed: the symbols alone when there is nothing to add.
func (r roomCode) content() (string, error) {
	terms, err := json.Marshal(r)
	if err != nil || string(terms) == "{}" {
		return r.symbols, err
	}
	return r.symbols + string(terms), nil
}

// openCode is the reverse of content.
func (s *Store) openCode(room ID, n uint64, sealed []byte) (roomCode, error) {
	r := roomCode{n: n}
	content, err := s.service.OpenRoomCode(room, n, sealed)
	if err != nil {
		return r, err
	}
	if len(content) < codeLength {
		return r, cipher.ErrAuth
	}
	if terms := content[codeLength:]; terms != "" {
		if err := json.Unmarshal([]byte(terms), &r); err != nil {
			return r, cipher.ErrAuth
		}
	}
	r.symbols = content[:codeLength]
	return r, nil
}

// codeIndex is under what the code is found: nothing while it is off.
func (s *Store) codeIndex(r roomCode) []byte {
	if r.Off {
		return nil
	}
	return s.service.Index("code", r.symbols)
}

// RotateCode gives the room new symbols under the terms that it has; a time that is over is left
// out. The old code, its links and QR codes are dead at once, and nobody who knocked with it waits
// any more. Only the owner may.
func (s *Store) RotateCode(ctx context.Context, m Membership) error {
	return s.changeCode(ctx, m, func(c *change, code *roomCode) (outcome string, err error) {
		code.symbols, code.Made = newSymbols(codeLength), 0
		if code.terms().Expired(s.o.Now()) {
			code.ExpiresMS = 0
		}
		return "rotated", c.dropKnocks(m.Room)
	})
}

// SetCodeTerms sets all terms of the room's code anew, and counts its uses from here. It is
// Invalid for terms that make no sense. Only the owner may.
func (s *Store) SetCodeTerms(ctx context.Context, m Membership, t CodeTerms) error {
	if t.Uses < 0 || t.Uses > codeUsesMost {
		return invalid("uses", "Give a number from 1 to %d, or leave the field empty for no limit.", codeUsesMost)
	}
	if !t.Off && t.Expired(s.o.Now()) {
		return invalid("expires", "This moment has passed. Choose a later one.")
	}
	return s.changeCode(ctx, m, func(c *change, code *roomCode) (outcome string, err error) {
		if code.symbols == "" {
			return "", errCodeDamaged
		}
		switch {
		case t.Off && !code.Off:
			outcome, err = "off", c.dropKnocks(m.Room)
		case code.Off && !t.Off:
			outcome = "on"
		default:
			outcome = "terms"
		}
		code.Made = code.since()
		code.Off, code.Uses, code.Knock, code.ExpiresMS = t.Off, t.Uses, t.Knock, 0
		if !t.Expires.IsZero() {
			code.ExpiresMS = t.Expires.UnixMilli()
		}
		return outcome, err
	})
}

var errCodeDamaged = &Error{Kind: Conflict, Msg: "The room code does not pass its integrity check, so its terms cannot be changed. Make a new code."}

// changeCode lets f change the code of the member's room. A code that is not what was written has
// no symbols there.
func (s *Store) changeCode(ctx context.Context, m Membership, f func(*change, *roomCode) (outcome string, err error)) error {
	return s.lane.do(ctx, func(c *change) error {
		if err := c.ownerOnly(m, &Error{Kind: Denied, Msg: "Only the owner can change the room code."}); err != nil {
			return err
		}
		code, err := s.readCode(c.ctx, c.db, m.Room)
		if errors.Is(err, cipher.ErrAuth) {
			code, err = roomCode{}, nil
		}
		if err != nil {
			return err
		}
		outcome, err := f(c, &code)
		if err != nil {
			return err
		}
		if err := c.setCode(m.Room, m.User, code); err != nil {
			return err
		}
		return c.record(m.By.audit("room.code", m.Room.String(), outcome))
	})
}

// setCode gives a room this code. It fills in the number.
func (c *change) setCode(room, actor ID, code roomCode) error {
	h, err := c.head(room)
	if err != nil {
		return err
	}
	code.n = h.n + 1
	content, err := code.content()
	if err != nil {
		return err
	}
	sealed := c.s.service.SealRoomCode(room, code.n, content)
	if err := c.append(&Entry{Room: room, Op: OpCode, Actor: actor, Payload: cipher.Tag(sealed)}); err != nil {
		return err
	}
	return c.exec("UPDATE rooms SET code = ?, code_n = ?, code_index = ? WHERE id = ?", sealed, code.n, c.s.codeIndex(code), room)
}

// sealedCode is a room's code as it stands in its row.
type sealedCode struct {
	envelope blob
	n        number
	index    blob
}

// readCode reads a room's code, like latestCode. NotFound: there is no such room.
func (s *Store) readCode(ctx context.Context, db gorm.ConnPool, room ID) (roomCode, error) {
	var c sealedCode
	err := db.QueryRowContext(ctx, "SELECT code, code_n, code_index FROM rooms WHERE id = ?", room).Scan(&c.envelope, &c.n, &c.index)
	if err != nil {
		return roomCode{}, noRow(err, errNotFound)
	}
	return s.latestCode(ctx, db, room, c)
}

// latestCode opens a room's code and checks that it is the one that was set last. cipher.ErrAuth
// means that somebody else has written there, or put an older one back; errMoved: read again.
func (s *Store) latestCode(ctx context.Context, db gorm.ConnPool, room ID, c sealedCode) (roomCode, error) {
	code, err := s.openCode(room, uint64(c.n), c.envelope)
	if err == nil && (!c.n.within(math.MaxInt64) || string(c.index) != string(s.codeIndex(code))) {
		err = cipher.ErrAuth
	}
	if err == nil {
		var known bool
		known, err = s.proofs.latestCode(room, code.n, cipher.Tag(c.envelope), since(db))
		if err == nil && !known {
			err = s.lastCodeEntry(ctx, db, room, code.n, cipher.Tag(c.envelope))
		}
	}
	if errors.Is(err, cipher.ErrAuth) {
		s.fault(room, uint64(max(c.n, 0)), faultKey, "the room's code is not the one that was set last")
	}
	return code, err
}

// lastCodeEntry asks the log itself whether this entry set that code, and none after it another.
func (s *Store) lastCodeEntry(ctx context.Context, db gorm.ConnPool, room ID, n uint64, tag [32]byte) error {
	entries, err := s.readLog(ctx, db, room, n, n)
	if err != nil {
		return err
	}
	var last number
	if err := db.QueryRowContext(ctx, "SELECT coalesce(max(n), 0) FROM room_log WHERE room_id = ? AND op = 12", room).Scan(&last); err != nil {
		return err
	}
	if len(entries) != 1 || !entries[0].genuine || entries[0].Op != OpCode || entries[0].Payload != tag || last != number(n) {
		return cipher.ErrAuth
	}
	return nil
}

// joined counts how often a code was used since its terms were set. Fewer times than this process
// knows of means that entries were taken out of the log.
func (s *Store) joined(ctx context.Context, db gorm.ConnPool, room ID, code roomCode) (used int, err error) {
	err = db.QueryRowContext(ctx, "SELECT count(*) FROM room_log WHERE room_id = ? AND op = 2 AND n > ?", room, code.n).Scan(&used)
	if known := s.proofs.joins(room, code.n, since(db)); err == nil && used < known {
		s.fault(room, code.n, faultLog, fmt.Sprintf("%d entries by which somebody joined are missing", known-used))
		used = known
	}
	return used, err
}
