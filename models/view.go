package models

import (
	"context"
	"encoding/hex"
	"errors"

	"gorm.io/gorm"

	"conclave/models/cipher"
)

// View is all that the page of a room shows, read at one moment.
type View struct {
	Name        string
	Code        string // 16 symbols; empty while it is off, or when it fails its integrity check
	Terms       CodeTerms
	Joined      int     // how often the code was used, when its terms limit that
	Waiting     []Knock // for the owner: who wants to come in
	Log         string  // names the incarnation of the log that the numbers belong to
	Fingerprint string  // of the whole log up to Page.Head: XXXX-XXXX
	People      []Person
	Page        Page
	Unread      uint64 // posts that the member has not read
	Mark        uint64 // everything up to this entry is read
	ReadOnly    bool   // the log is damaged: nothing can be added
	Harmed      bool   // something that the room holds failed verification

	Invitation *Rendering // of the code
	Rendering  *Rendering // of all this
}

// View reads a room with the newest page of its history, which reaches back to where the member
// has stopped reading.
func (s *Store) View(ctx context.Context, m Membership) (View, error) {
	v, err := recall(ctx, s, s.shelves.views, reader{m.Room, m.User}, func() (View, error) { return s.readView(ctx, m) })
	damage, harmed := s.proofs.status(m.Room)
	v.ReadOnly, v.Harmed = damage != "", harmed
	if harmed {
		s.shelves.views.remove(reader{m.Room, m.User}) // damage is looked at, and reported, each time
	}
	return v, err
}

func (s *Store) readView(ctx context.Context, m Membership) (View, error) {
	var v View
	err := s.look(ctx, m.Room, func(db gorm.ConnPool, known mark) error {
		v = View{Rendering: &Rendering{}}
		now, err := s.membership(ctx, db, m.Room, m.User)
		if err != nil {
			return err
		}
		room, err := s.readRoom(ctx, db, m.Room)
		if errors.Is(err, cipher.ErrAuth) {
			s.fault(m.Room, 0, faultKey, "the room's key or its name is not what was written")
			return errUnreadable
		}
		if err != nil {
			return err
		}
		s.checkHead(m.Room, known, room.head)
		v.Name, v.Log, v.Fingerprint = room.name, hex.EncodeToString(room.incarnation), fingerprint(room.head)
		if err := s.viewCode(ctx, db, &v, now, room.code); err != nil {
			return err
		}
		names := s.profiles(ctx, db)
		if v.People, err = s.people(ctx, db, names, m.Room); err != nil {
			return err
		}
		unread, err := readUnread(ctx, db, unreadHere, m.User, m.Room)
		if err != nil {
			return err
		}
		if len(unread) == 0 {
			return errNotFound
		}
		v.Unread, v.Mark = unread[0].Count, unread[0].Mark
		v.Page, err = s.page(ctx, db, now, names, room.head.n, room.head.n+1, v.Mark)
		return err
	})
	return v, err
}

// viewCode fills in what a member sees of the room's code, and the owner of those who knocked.
func (s *Store) viewCode(ctx context.Context, db gorm.ConnPool, v *View, m Membership, sealed sealedCode) error {
	code, err := s.latestCode(ctx, db, m.Room, sealed)
	if errors.Is(err, cipher.ErrAuth) {
		return nil
	}
	if err != nil {
		return err
	}
	v.Terms = code.terms()
	if !code.Off {
		v.Code = code.symbols
		v.Invitation = s.invitation(m.Room, v.Code, since(db))
	}
	if code.Uses > 0 {
		if v.Joined, err = s.joined(ctx, db, m.Room, code); err != nil {
			return err
		}
	}
	if m.Role == Owner {
		v.Waiting, err = s.waiting(ctx, db, m.Room, code)
	}
	return err
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
