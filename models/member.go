package models

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"

	"conclave/models/cipher"
)

// Role is what a member may do in a room.
type Role string

// The roles.
const (
	Owner     Role = "owner"
	Moderator Role = "moderator"
	Plain     Role = "member"
)

// Membership is the permission to read a room and to write in it. Only this package makes one,
// and only for a row that agrees with the latest entry about that person in the room's log.
type Membership struct {
	Room ID
	By   // the member; in one that Member returned, also from where
	Role Role
	From uint64 // the member sees entries and messages from this number on; 0: all

	joined uint64 // the entry of the latest join
	since  int64  // and its time, unix milliseconds
}

// Shows reports whether an entry shows the member anything: a line, or a change of one, that is not
// from before the member's time.
func (m Membership) Shows(e *Entry) bool {
	if about := e.about(); about > 0 && about < m.From {
		return false
	}
	return e.N >= m.From && e.Op.Shown()
}

// Member returns the doer's membership of the room with that name. It is NotFound for a room
// that does not exist, one the user is not a member of, and a malformed name: the three must
// look alike.
func (s *Store) Member(ctx context.Context, by By, room string) (Membership, error) {
	id, err := ParseID(room)
	if err != nil {
		return Membership{}, err
	}
	var m Membership
	err = s.snapshot(ctx, func(db gorm.ConnPool) error {
		m, err = s.membership(ctx, db, id, by.User)
		return err
	})
	m.By = by
	return m, err
}

// membership returns one membership, for the transaction that will use it: one that was read and
// verified before, unless the log has said something about it since. The lane does not rely on that
// for a room whose members its batch has changed.
func (s *Store) membership(ctx context.Context, db gorm.ConnPool, room, user ID) (Membership, error) {
	_, reading := db.(snapshot)
	if reading || !s.lane.unsettled[room] {
		if m, ok := s.proofs.member(room, user); ok {
			return m, nil
		}
	}
	if reading && !s.proofs.met(room) { // its page will ask for all of them
		if _, err := s.everyone(ctx, db, room); err != nil {
			return Membership{}, err
		}
		if m, ok := s.proofs.member(room, user); ok {
			return m, nil
		}
	}
	found, err := s.memberships(ctx, db, "m.room_id = ? AND m.user_id = ?", room, user)
	if err != nil {
		return Membership{}, err
	}
	if len(found) == 0 {
		return Membership{}, errNotFound
	}
	if reading {
		s.proofs.remember(found[0], since(db))
	}
	return found[0], nil
}

// everyone returns the members of a room, the longest first: as they were verified before, unless
// the log has said something about one of them since.
func (s *Store) everyone(ctx context.Context, db gorm.ConnPool, room ID) ([]Membership, error) {
	if all := s.proofs.everyone(room); all != nil {
		return all, nil
	}
	all, err := s.memberships(ctx, db, "m.room_id = ?", room)
	if err == nil {
		s.proofs.rememberEveryone(room, all, since(db))
	}
	return all, err
}

// memberships reads the rows that fit the condition, the longest member first, and leaves out any that
// the room's log does not confirm: whoever can write the database but has no key must not be able to
// let himself in or raise his role.
func (s *Store) memberships(ctx context.Context, db gorm.ConnPool, where string, args ...any) ([]Membership, error) {
	rows, err := db.QueryContext(ctx, `SELECT m.room_id, m.user_id, m.role, coalesce(r.state, 0), m.joined_n = m.entry_n,
			`+strings.ReplaceAll(packedEntry, "l.", "e.")+`, ep.mac, `+strings.ReplaceAll(packedEntry, "l.", "j.")+`, jp.mac,
			EXISTS (SELECT 1 FROM room_log l WHERE l.room_id = m.room_id AND l.target = m.user_id
				AND l.n > m.joined_n AND l.op IN `+membershipOps+` AND (l.n > m.entry_n OR l.op <> 6))
		FROM memberships m
		LEFT JOIN rooms r ON r.id = m.room_id
		LEFT JOIN room_log e ON e.room_id = m.room_id AND e.n = m.entry_n
		LEFT JOIN room_log ep ON ep.room_id = m.room_id AND ep.n = m.entry_n - 1
		LEFT JOIN room_log j ON j.room_id = m.room_id AND j.n = nullif(m.joined_n, m.entry_n)
		LEFT JOIN room_log jp ON jp.room_id = m.room_id AND jp.n = nullif(m.joined_n, m.entry_n) - 1
		WHERE `+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []Membership
	for rows.Next() {
		var m Membership
		var state, joinedLast, overtaken number
		var e, j entryRow
		var packedE, packedJ blob
		var ePrevious, jPrevious hash
		if err := rows.Scan(&m.Room, &m.User, &m.Role, &state, &joinedLast, &packedE, &ePrevious, &packedJ, &jPrevious, &overtaken); err != nil {
			return nil, err
		}
		e.unpack(packedE)
		if joinedLast == 1 {
			j, jPrevious = e, ePrevious
		} else {
			j.unpack(packedJ)
		}
		if state != roomOpen {
			continue
		}
		chain := s.chain(m.Room)
		latest, join := e.entry(m.Room, chain, ePrevious), j.entry(m.Room, chain, jPrevious)
		sound := overtaken == 0 && latest.genuine && join.genuine && latest.Target == m.User && join.Target == m.User &&
			(join.Op == OpCreate || join.Op == OpJoin) && latest.grants(m.Role)
		if sound {
			switch err := s.proofs.stands(latest, since(db)); err {
			case nil:
			case cipher.ErrAuth:
				sound = false
			case errMoved:
				return nil, err
			default: // destroyed
				continue
			}
		}
		if !sound {
			s.fault(m.Room, latest.N, faultMember, "a membership is not what the room's log says and is ignored")
			continue
		}
		m.joined, m.since = join.N, join.Time
		if join.Op == OpJoin { // who opened the room was there from the beginning
			m.From = join.N
		}
		found = append(found, m)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	slices.SortFunc(found, func(a, b Membership) int {
		return cmp.Or(bytes.Compare(a.Room[:], b.Room[:]), cmp.Compare(a.joined, b.joined))
	})
	return found, s.reach(ctx, db, found)
}

// grants reports whether an entry makes its target a member with that role.
func (e *Entry) grants(r Role) bool {
	switch e.Op {
	case OpCreate:
		return r == Owner
	case OpJoin:
		return r == Plain
	case OpRole:
		return e.Payload == digest(string(r))
	}
	return false
}

// Person is a member as other members may see them.
type Person struct {
	Profile
	Role  Role
	Since time.Time
}

// Members lists who belongs to the member's room, the longest member first.
func (s *Store) Members(ctx context.Context, m Membership) ([]Person, error) {
	var people []Person
	err := s.snapshot(ctx, func(db gorm.ConnPool) error {
		if _, err := s.membership(ctx, db, m.Room, m.User); err != nil {
			return err
		}
		var err error
		people, err = s.people(ctx, db, s.profiles(ctx, db), m.Room)
		return err
	})
	return people, err
}

// MembersAfter lists who belongs to the room of an entry that says something about a member, for
// those who listen to it.
func (s *Store) MembersAfter(ctx context.Context, e *Entry) ([]Person, error) {
	var people []Person
	err := s.snapshot(ctx, func(db gorm.ConnPool) error {
		var err error
		people, err = s.people(ctx, db, s.profiles(ctx, db), e.Room)
		return err
	})
	return people, err
}

func (s *Store) people(ctx context.Context, db gorm.ConnPool, names *profiles, room ID) ([]Person, error) {
	members, err := s.everyone(ctx, db, room)
	if err == nil {
		err = names.of(room)
	}
	if err != nil {
		return nil, err
	}
	people := make([]Person, len(members))
	for i, m := range members {
		profile, err := names.get(m.User)
		if err != nil {
			return nil, err
		}
		people[i] = Person{Profile: profile, Role: m.Role, Since: time.UnixMilli(m.since)}
	}
	return people, nil
}

// Limits of membership, before LimitScale.
const (
	membersPerRoom = 500
	roomsPerUser   = 200
	ownedPerUser   = 50
)

// addMember stores the row for an entry that begins a membership. A row that was there already
// was not confirmed by the log, and is replaced. Somebody whose account has ended since the
// request began, or while waiting to be let in, becomes no member.
func (c *change) addMember(e *Entry, role Role) error {
	var able bool
	if err := c.row("SELECT EXISTS (SELECT 1 FROM users WHERE id = ? AND disabled_ms IS NULL)", e.Target).Scan(&able); err != nil {
		return err
	}
	if !able {
		return conflict("This person's account has ended or is disabled.")
	}
	err := c.exec(`INSERT INTO memberships (room_id, user_id, role, entry_n, joined_n) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (room_id, user_id) DO UPDATE SET role = excluded.role, entry_n = excluded.entry_n, joined_n = excluded.joined_n`,
		e.Room, e.Target, role, e.N, e.N)
	if err != nil {
		return err
	}
	return c.startMark(e)
}

// Leave ends the membership. The member's streams end before anything later is announced, the
// next post opens a new epoch, and when an owner leaves the longest member becomes the owner.
func (s *Store) Leave(ctx context.Context, m Membership) error {
	return s.lane.do(ctx, func(c *change) error {
		now, err := s.membership(c.ctx, c.db, m.Room, m.User)
		if err != nil {
			return err
		}
		if err := c.endMembership(&Entry{Room: m.Room, Op: OpLeave, Target: m.User, Actor: m.User}); err != nil {
			return err
		}
		if now.Role == Owner {
			if err := c.passOwnership(m); err != nil {
				return err
			}
		}
		return c.audit(m.By, auditLeave, m.Room.String())
	})
}

// endMembership adds the entry by which its target is no member any more. That person's streams end
// before anything later is announced, and the next post opens a new epoch.
func (c *change) endMembership(e *Entry) error {
	if err := c.append(e); err != nil {
		return err
	}
	if err := c.exec("DELETE FROM memberships WHERE room_id = ? AND user_id = ?", e.Room, e.Target); err != nil {
		return err
	}
	if err := c.dropMark(e.Room, e.Target); err != nil {
		return err
	}
	h := c.heads[e.Room]
	h.stale = true
	c.heads[e.Room] = h
	c.after = append(c.after, func() { c.s.o.Hub.EndMember(e.Room, e.Target) })
	return nil
}

func (c *change) passOwnership(from Membership) error {
	rest, err := c.s.memberships(c.ctx, c.db, "m.room_id = ?", from.Room)
	if err != nil {
		return err
	}
	if len(rest) == 0 {
		return c.dropKnocks(from.Room) // nobody will ever answer
	}
	return c.setRole(from, rest[0].User, Owner)
}
