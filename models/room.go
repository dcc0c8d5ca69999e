package models

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
	"gorm.io/gorm"

	"conclave/models/cipher"
	"conclave/models/feed"
)

const roomNameMax = 80 // code points

// line checks a text that must stand on one line: trimmed, NFC, 1 to most code points, no
// control or invisible formatting characters.
func line(field, what, s string, most int) (string, error) {
	if !utf8.ValidString(s) {
		return "", invalid(field, "%s contains something that is no text.", what)
	}
	s = strings.TrimSpace(norm.NFC.String(s))
	if s == "" {
		return "", invalid(field, "%s is missing.", what)
	}
	if count := utf8.RuneCountInString(s); count > most {
		return "", invalid(field, "%s can have at most %d characters; this has %d.", what, most, count)
	}
	for _, r := range s {
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			return "", invalid(field, "%s contains an invisible character (U+%04X). Type it again without it.", what, r)
		}
	}
	return s, nil
}

// CreateRoom makes a room with its first epoch, its code and its owner, who is its first member.
func (s *Store) CreateRoom(ctx context.Context, by By, name string) (ID, error) {
	name, err := line("name", "The room's name", name, roomNameMax)
	if err != nil {
		return ID{}, err
	}
	owner, room := by.User, newID()
	incarnation := newID()
	err = s.lane.do(ctx, func(c *change) error {
		var owned int
		if err := c.row("SELECT count(*) FROM memberships WHERE user_id = ? AND role = ?", owner, Owner).Scan(&owned); err != nil {
			return err
		}
		if owned >= ownedPerUser*s.o.LimitScale {
			return invalid("name", "You own %d rooms, and there can be no more. Leave one first.", owned)
		}
		genesis := s.chain(room).Genesis()
		err := c.exec(`INSERT INTO rooms (id, name, name_n, code, code_n, code_index, incarnation, epoch, head_n, head_mac)
			VALUES (?, x'', 0, x'', 0, NULL, ?, 0, 0, ?)`, room, incarnation[:8], genesis[:])
		if err != nil {
			return err
		}
		if err := c.openEpoch(room, owner); err != nil {
			return err
		}
		nameN := c.heads[room].n + 1
		sealedName := c.keys[0].SealName(nameN, []byte(name))
		create := &Entry{Room: room, Op: OpCreate, Target: owner, Actor: owner, Payload: cipher.Tag(sealedName)}
		if err := c.append(create); err != nil {
			return err
		}
		if err := c.exec("UPDATE rooms SET name = ?, name_n = ? WHERE id = ?", sealedName, nameN, room); err != nil {
			return err
		}
		if err := c.setCode(room, owner, roomCode{symbols: newSymbols(codeLength)}); err != nil {
			return err
		}
		if err := c.audit(by, "room.create", room.String()); err != nil {
			return err
		}
		return c.addMember(create, Owner)
	})
	return room, err
}

// TurnEpoch gives the room a new key for everything that is written from now on. Only the owner
// may ask for it; a departure does it by itself.
func (s *Store) TurnEpoch(ctx context.Context, m Membership) error {
	return s.lane.do(ctx, func(c *change) error {
		if err := c.ownerOnly(m, &Error{Kind: Denied, Msg: "Only the owner can give the room a new key."}); err != nil {
			return err
		}
		if err := c.audit(m.By, "room.epoch", m.Room.String()); err != nil {
			return err
		}
		return c.openEpoch(m.Room, m.User)
	})
}

// Card is one room in the list of a person's rooms.
type Card struct {
	Room   ID
	Name   string
	People []Person
	Last   time.Time
	Broken bool // its key, its name or its log failed verification
	Unread uint64
}

// Rooms lists the user's rooms, the one where something happened last first.
func (s *Store) Rooms(ctx context.Context, user ID) ([]Card, error) {
	var cards []Card
	err := s.snapshot(ctx, func(db gorm.ConnPool) error {
		cards = nil
		mine, err := s.memberships(ctx, db, "m.user_id = ?", user)
		if err != nil {
			return err
		}
		unread, err := readUnread(ctx, db, unreadEverywhere, user)
		if err != nil {
			return err
		}
		for _, m := range mine {
			card, err := s.card(ctx, db, m.Room)
			if err != nil {
				return err
			}
			if i := slices.IndexFunc(unread, func(u Unread) bool { return u.Room == m.Room }); i >= 0 {
				card.Unread = unread[i].Count
			}
			cards = append(cards, card)
		}
		return nil
	})
	slices.SortStableFunc(cards, func(a, b Card) int { return b.Last.Compare(a.Last) })
	return cards, err
}

// RoomIDs names the rooms that the user seems to be a member of: a hint what to listen to, without
// the proof that Rooms asks for.
func (s *Store) RoomIDs(ctx context.Context, user ID) (rooms []feed.ID, err error) {
	err = s.reading(ctx, func(h *handle) error {
		found, err := column[ID](ctx, h, "SELECT room_id FROM memberships WHERE user_id = ?", user)
		for _, room := range found {
			rooms = append(rooms, room)
		}
		return err
	})
	return rooms, err
}

func (s *Store) card(ctx context.Context, db gorm.ConnPool, room ID) (Card, error) {
	card := Card{Room: room}
	h, err := s.readHead(ctx, db, room)
	if KindOf(err) != 0 {
		card.Broken = true
	} else if err != nil {
		return card, err
	}
	row, err := s.readRoom(ctx, db, room)
	if errors.Is(err, cipher.ErrAuth) {
		card.Broken = true
	} else if err != nil {
		return card, err
	}
	card.Name = row.name
	last, err := s.readLog(ctx, db, room, h.n, h.n)
	if err != nil {
		return card, err
	}
	if len(last) == 1 && last[0].genuine {
		card.Last = time.UnixMilli(last[0].Time)
	}
	card.People, err = s.people(ctx, db, s.profiles(ctx, db), room)
	return card, err
}

// roomRow is what stands in a room's row, opened but for the code.
type roomRow struct {
	name        string
	code        sealedCode
	incarnation []byte
	head        mark
}

// readRoom opens a room's name. cipher.ErrAuth means that it is not what was written.
func (s *Store) readRoom(ctx context.Context, db gorm.ConnPool, room ID) (roomRow, error) {
	var r roomRow
	var sealedName, incarnation blob
	var nameN, headN number
	var mac hash
	err := db.QueryRowContext(ctx, "SELECT name, name_n, code, code_n, code_index, incarnation, head_n, head_mac FROM rooms WHERE id = ?", room).
		Scan(&sealedName, &nameN, &r.code.envelope, &r.code.n, &r.code.index, &incarnation, &headN, &mac)
	if err != nil {
		return r, noRow(err, errNotFound)
	}
	r.incarnation, r.head = incarnation, mark{uint64(max(headN, 0)), mac}
	r.name, err = s.openName(ctx, db, room, nameN, sealedName)
	return r, err
}

func (s *Store) openName(ctx context.Context, db gorm.ConnPool, room ID, n number, sealed []byte) (string, error) {
	key, err := s.roomKey(ctx, db, room, cipher.EpochOf(sealed))
	if err != nil {
		return "", err
	}
	name, err := key.OpenName(uint64(n), sealed)
	return string(name), err
}
