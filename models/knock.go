package models

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"gorm.io/gorm"

	"conclave/models/cipher"
)

// Where the owner wants to be asked, the right code is a knock: somebody waits until the owner
// agrees. A knock grants nothing, but it says that somebody had the code; so it is sealed with a
// keyed hash over the room, the person, the time and the code, and one without is ignored. It
// dies with the code that it was made with, and after thirty days.
const (
	knockLife     = 30 * 24 * time.Hour
	knocksPerRoom = 100 // before LimitScale
	knocksPerDay  = 3   // by one person at one room, before LimitScale
)

const eventKnock = "room.knock"

// Knock is somebody who waits to be let in, as the owner of the room sees it.
type Knock struct {
	Who Profile
	At  time.Time
}

// OwnKnock is a room where somebody waits, as that person sees it: without its name or its id.
type OwnKnock struct {
	Name string // of the knock
	At   time.Time
}

// knockRow is a knock as it stands in the database.
type knockRow struct {
	room, user ID
	at         number // unix milliseconds
	seal       blob
}

// counts reports whether a knock was made with the code that the room has now, and not too long ago.
func (s *Store) counts(k knockRow, code roomCode) bool {
	return !code.Off && int64(k.at) > s.o.Now().Add(-knockLife).UnixMilli() && string(k.seal) == string(s.knockSeal(k, code))
}

func (s *Store) knockSeal(k knockRow, code roomCode) []byte {
	return s.service.Index("knock", fmt.Sprintf("%s %s %d %d", k.room, k.user, k.at, code.since()))
}

// name is what the person who knocked calls it by.
func (k knockRow) name() string { return hex.EncodeToString(k.seal[:16]) }

// knock lets somebody wait. Who waits already goes on waiting. It is errNoSuchCode when too many
// wait, and Limited for somebody who has knocked here too often today.
func (c *change) knock(by By, room ID, code roomCode) error {
	k := knockRow{room: room, user: by.User, at: number(c.now)}
	var old knockRow
	err := c.row("SELECT room_id, user_id, created_ms, seal FROM knocks WHERE room_id = ? AND user_id = ?", room, by.User).
		Scan(&old.room, &old.user, &old.at, &old.seal)
	if err == nil && c.s.counts(old, code) {
		return nil
	}
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	var waiting, today int
	if err := c.row("SELECT count(*) FROM knocks WHERE room_id = ?", room).Scan(&waiting); err != nil {
		return err
	}
	if waiting >= knocksPerRoom*c.s.o.LimitScale {
		return errNoSuchCode
	}
	err = c.row("SELECT count(*) FROM audit_log WHERE actor = ? AND event = ? AND object = ? AND time_ms > ?",
		by.User, eventKnock, room.String(), c.now-(24*time.Hour).Milliseconds()).Scan(&today)
	if err != nil {
		return err
	}
	if today >= knocksPerDay*c.s.o.LimitScale {
		return &Error{Kind: Limited, Field: "code", Msg: "You have knocked at this room often enough for today. Ask the person who gave you the code, or knock again tomorrow.", Wait: 24 * time.Hour}
	}
	err = c.exec(`INSERT INTO knocks (room_id, user_id, created_ms, seal) VALUES (?, ?, ?, ?)
		ON CONFLICT (room_id, user_id) DO UPDATE SET created_ms = excluded.created_ms, seal = excluded.seal`, room, by.User, c.now, c.s.knockSeal(k, code))
	if err != nil {
		return err
	}
	if err := c.tellKnock(room, by.User); err != nil {
		return err
	}
	return c.audit(by, eventKnock, room.String())
}

// tellKnock tells the pages of the room's owner, and those of people who knocked, to look again after
// the commit.
func (c *change) tellKnock(room ID, users ...ID) error {
	owners, err := column[ID](c.ctx, c.db, "SELECT user_id FROM memberships WHERE room_id = ? AND role = ?", room, Owner)
	for _, id := range append(owners, users...) {
		c.after = append(c.after, func() { c.s.o.Hub.Knock(id) })
	}
	return err
}

// dropKnocks ends all waiting at a room.
func (c *change) dropKnocks(room ID) error {
	users, err := column[ID](c.ctx, c.db, "SELECT user_id FROM knocks WHERE room_id = ?", room)
	if err != nil || len(users) == 0 {
		return err
	}
	if err := c.tellKnock(room, users...); err != nil {
		return err
	}
	return c.exec("DELETE FROM knocks WHERE room_id = ?", room)
}

// Waiting lists who waits to be let into the member's room, who has waited longest first. It is
// empty for every member but the owner.
func (s *Store) Waiting(ctx context.Context, m Membership) ([]Knock, error) {
	var list []Knock
	err := s.snapshot(ctx, func(db gorm.ConnPool) error {
		list = nil
		now, err := s.membership(ctx, db, m.Room, m.User)
		if err != nil || now.Role != Owner {
			return err
		}
		code, err := s.readCode(ctx, db, m.Room)
		if errors.Is(err, cipher.ErrAuth) {
			return nil
		}
		if err == nil {
			list, err = s.waiting(ctx, db, m.Room, code)
		}
		return err
	})
	return list, err
}

func (s *Store) waiting(ctx context.Context, db gorm.ConnPool, room ID, code roomCode) ([]Knock, error) {
	rows, err := s.knocks(ctx, db, "k.room_id = ?", room)
	if err != nil {
		return nil, err
	}
	var list []Knock
	for _, k := range rows {
		if !s.counts(k, code) {
			continue
		}
		who, err := s.guest(ctx, db, k.user)
		if KindOf(err) == SignedOut {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, Knock{who, time.UnixMilli(int64(k.at))})
	}
	return list, nil
}

// guest reads who knocked. It is SignedOut for somebody who may not use the server any more, or
// whose profile is not what was written: the owner must not take one person for another.
func (s *Store) guest(ctx context.Context, db gorm.ConnPool, user ID) (Profile, error) {
	var sealed blob
	var revision number
	err := db.QueryRowContext(ctx, "SELECT profile, revision FROM users WHERE id = ?", user).Scan(&sealed, &revision)
	if err != nil {
		return Profile{}, noRow(err, errSignedOut)
	}
	profile, err := s.latestProfile(db, user, revision, sealed)
	if errors.Is(err, cipher.ErrAuth) || err == nil && profile.DisabledMS > 0 {
		return Profile{}, errSignedOut
	}
	return profile.user(user).Profile, err
}

// knocks reads knocks, the oldest first.
func (s *Store) knocks(ctx context.Context, db gorm.ConnPool, where string, arg any) ([]knockRow, error) {
	rows, err := db.QueryContext(ctx, "SELECT k.room_id, k.user_id, k.created_ms, k.seal FROM knocks k WHERE "+where, arg)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []knockRow
	for rows.Next() {
		var k knockRow
		if err := rows.Scan(&k.room, &k.user, &k.at, &k.seal); err != nil {
			return nil, err
		}
		list = append(list, k)
	}
	slices.SortStableFunc(list, func(a, b knockRow) int { return cmp.Compare(a.at, b.at) })
	return list, rows.Err()
}

// OwnKnocks lists where the user waits to be let in, the oldest first.
func (s *Store) OwnKnocks(ctx context.Context, user ID) ([]OwnKnock, error) {
	var list []OwnKnock
	err := s.snapshot(ctx, func(db gorm.ConnPool) error {
		list = nil
		rows, err := s.ownKnocks(ctx, db, user)
		for _, k := range rows {
			list = append(list, OwnKnock{k.name(), time.UnixMilli(int64(k.at))})
		}
		return err
	})
	return list, err
}

func (s *Store) ownKnocks(ctx context.Context, db gorm.ConnPool, user ID) ([]knockRow, error) {
	rows, err := s.knocks(ctx, db, "k.user_id = ?", user)
	if err != nil {
		return nil, err
	}
	var list []knockRow
	for _, k := range rows {
		code, err := s.readCode(ctx, db, k.room)
		if errors.Is(err, cipher.ErrAuth) || KindOf(err) == NotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		if s.counts(k, code) {
			list = append(list, k)
		}
	}
	return list, nil
}

// Withdraw ends the doer's waiting. A knock that is not there any more is none.
func (s *Store) Withdraw(ctx context.Context, by By, name string) error {
	return s.lane.do(ctx, func(c *change) error {
		own, err := s.ownKnocks(c.ctx, c.db, by.User)
		if err != nil {
			return err
		}
		for _, k := range own {
			if k.name() == name {
				return c.dropKnock(k.room, k.user)
			}
		}
		return nil
	})
}

// dropKnock ends somebody's waiting at a room.
func (c *change) dropKnock(room, user ID) error {
	result, err := c.db.ExecContext(c.ctx, "DELETE FROM knocks WHERE room_id = ? AND user_id = ?", room, user)
	if err != nil {
		return err
	}
	if gone, err := result.RowsAffected(); gone == 0 || err != nil {
		return err
	}
	return c.tellKnock(room, user)
}

// Admit lets somebody who waits at the member's room in. Only the owner may. It is Conflict when
// nobody with this name waits any more, and when the room, the person or the code can take no more.
func (s *Store) Admit(ctx context.Context, m Membership, username string) (Profile, error) {
	return s.answerKnock(ctx, m, username, func(c *change, who Profile, code roomCode) error {
		barred, err := c.s.barred(c.ctx, c.db, m.Room, who.ID, code.since())
		if err != nil {
			return err
		}
		full, err := c.fullRoom(m.Room)
		if err != nil {
			return err
		}
		spent, err := c.spentCode(m.Room, code)
		if err != nil {
			return err
		}
		rooms, err := c.roomsOf(who.ID)
		switch {
		case err != nil:
			return err
		case barred:
			return conflict("%s is banned from this room. Lift the ban first.", who.FullName)
		case full:
			return conflict("The room is full: %d people are in it.", membersPerRoom*s.o.LimitScale)
		case spent:
			return conflict("The code has let in as many people as it may. Allow more in the room settings first.")
		case rooms > roomsPerUser*s.o.LimitScale: // this one counts already
			return conflict("%s is in as many rooms as one can be in, and has to leave one first.", who.FullName)
		}
		if err := c.enter(m.Room, who.ID, m.User); err != nil {
			return err
		}
		return c.audit(m.By, "room.admit", m.Room.String()+" "+who.ID.String())
	})
}

// Decline sends somebody who waits at the member's room away, who may knock again. Only the owner may.
func (s *Store) Decline(ctx context.Context, m Membership, username string) (Profile, error) {
	return s.answerKnock(ctx, m, username, func(c *change, who Profile, _ roomCode) error {
		return c.audit(m.By, "room.decline", m.Room.String()+" "+who.ID.String())
	})
}

// answerKnock finds who knocked, lets f say what follows, and takes the knock away.
func (s *Store) answerKnock(ctx context.Context, m Membership, username string, f func(c *change, who Profile, code roomCode) error) (Profile, error) {
	var answered Profile
	err := s.lane.do(ctx, func(c *change) error {
		if err := c.ownerOnly(m, &Error{Kind: Denied, Msg: "Only the owner of the room can let somebody in."}); err != nil {
			return err
		}
		code, err := s.readCode(c.ctx, c.db, m.Room)
		if errors.Is(err, cipher.ErrAuth) {
			return errCodeDamaged
		}
		if err != nil {
			return err
		}
		waiting, err := s.waiting(c.ctx, c.db, m.Room, code)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(waiting, func(k Knock) bool { return k.Who.Username == username })
		if at < 0 {
			return conflict("Nobody with this user name is waiting any more.")
		}
		who := waiting[at].Who
		if err := f(c, who, code); err != nil {
			return err
		}
		if err := c.dropKnock(m.Room, who.ID); err != nil {
			return err
		}
		answered = who
		return nil
	})
	if err != nil {
		return Profile{}, err
	}
	return answered, nil
}
