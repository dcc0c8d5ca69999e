package models

import (
	"context"
	"database/sql"
	"errors"

	"conclave/models/cipher"
)

var errNoSuchCode = &Error{Kind: NotFound, Field: "code", Msg: "No room can be entered with this code. Check it with the person who gave it to you."}

// Join makes the doer a member of the room with that code, which may be written in any of the
// forms that normalCode forgives. A member stays one. Where the owner wants to be asked it returns
// the zero ID: the doer has knocked and waits. It is NotFound, in one and the same way and after
// the same work, when the code is unknown or was replaced, is off, has expired or is used up, when
// the room is full or nobody is left in it, when too many wait already, and for somebody who was
// banned after the code was made.
func (s *Store) Join(ctx context.Context, by By, code string) (ID, error) {
	normal, err := normalCode(code)
	if err != nil {
		return ID{}, err
	}
	var entered ID
	err = s.lane.do(ctx, func(c *change) error {
		d, err := c.door(by.User, normal)
		if err != nil {
			return err
		}
		switch {
		case d.member:
			entered = d.room
			return nil
		case d.shut:
			return errNoSuchCode
		case d.rooms >= roomsPerUser*s.o.LimitScale:
			return invalid("code", "You are a member of %d rooms, those included where you wait to be let in, and there can be no more. Leave one first.", d.rooms)
		case d.code.Knock:
			return c.knock(by, d.room, d.code)
		}
		entered = d.room
		if err := c.enter(d.room, by.User, by.User); err != nil {
			return err
		}
		return c.audit(by, "room.join", d.room.String())
	})
	if err != nil {
		return ID{}, err // entered may still be written by a change that nobody waits for any more
	}
	return entered, nil
}

// door is a room as somebody with a code stands before it.
type door struct {
	room   ID
	code   roomCode
	member bool // has been in there for long
	shut   bool
	rooms  int // how many rooms the person is in
}

// door looks for the room with a code. It asks all its questions about no room as well, so that
// nobody learns from the time they take which answer was no.
func (c *change) door(user ID, normal string) (d door, err error) {
	err = c.row("SELECT id FROM rooms WHERE code_index = ?", c.s.service.Index("code", normal)).Scan(&d.room)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return d, err
	}
	d.code, err = c.s.readCode(c.ctx, c.db, d.room)
	right := err == nil && d.code.symbols == normal && !d.code.Off
	if err != nil && KindOf(err) != NotFound && !errors.Is(err, cipher.ErrAuth) {
		return d, err
	}
	if _, err := c.s.membership(c.ctx, c.db, d.room, user); err == nil {
		d.member = right
	} else if KindOf(err) != NotFound {
		return d, err
	}
	barred, err := c.s.barred(c.ctx, c.db, d.room, user, d.code.since())
	if err != nil {
		return d, err
	}
	full, err := c.fullRoom(d.room)
	if err != nil {
		return d, err
	}
	spent, err := c.spentCode(d.room, d.code)
	if err != nil {
		return d, err
	}
	d.rooms, err = c.roomsOf(user)
	d.shut = !right || barred || full || spent || d.code.terms().Expired(c.s.o.Now())
	return d, err
}

// fullRoom reports whether nobody more fits in, which is also so when nobody is left.
func (c *change) fullRoom(room ID) (bool, error) {
	var members int
	err := c.row("SELECT count(*) FROM memberships WHERE room_id = ?", room).Scan(&members)
	return members == 0 || members >= membersPerRoom*c.s.o.LimitScale, err
}

// spentCode reports whether as many people have joined as the code's terms allow.
func (c *change) spentCode(room ID, code roomCode) (bool, error) {
	if code.Uses == 0 {
		return false, nil
	}
	used, err := c.s.joined(c.ctx, c.db, room, code)
	return used >= code.Uses, err
}

// roomsOf counts the rooms that somebody is in, or waits to be let into.
func (c *change) roomsOf(user ID) (count int, err error) {
	err = c.row("SELECT (SELECT count(*) FROM memberships WHERE user_id = ?1) + (SELECT count(*) FROM knocks WHERE user_id = ?1)", user).Scan(&count)
	return count, err
}

// enter makes somebody a member, who waits no longer.
func (c *change) enter(room, user, actor ID) error {
	e := &Entry{Room: room, Op: OpJoin, Target: user, Actor: actor}
	if err := c.append(e); err != nil {
		return err
	}
	if err := c.addMember(e, Plain); err != nil {
		return err
	}
	return c.dropKnock(room, user)
}
