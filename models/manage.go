package models

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"gorm.io/gorm"

	"conclave/models/cipher"
)

// What the owner of a room does about its members. Each is Denied for anybody else, and NotFound where
// there is no such member. The owner does nothing of it to himself: he leaves, or hands the room over.

var errNotManager = &Error{Kind: Denied, Msg: "Only the owner manages the members of a room."}

var errOwnself = &Error{Kind: Invalid, Msg: "This is your own room. Leave it, or hand it over to somebody first."}

// MemberNamed finds a member of the member's room by user name.
func (s *Store) MemberNamed(ctx context.Context, m Membership, username string) (ID, error) {
	var id ID
	err := s.snapshot(ctx, func(db gorm.ConnPool) error {
		if _, err := s.membership(ctx, db, m.Room, m.User); err != nil {
			return err
		}
		var err error
		if id, err = s.named(ctx, db, username); err != nil {
			return err
		}
		_, err = s.membership(ctx, db, m.Room, id)
		return err
	})
	return id, err
}

// named finds somebody by user name. The sealed profile has the last word: whoever can write the
// database could have moved the index to another person.
func (s *Store) named(ctx context.Context, db gorm.ConnPool, username string) (ID, error) {
	var id ID
	err := db.QueryRowContext(ctx, "SELECT id FROM users WHERE username_index = ?", s.service.Index("username", username)).Scan(&id)
	if err != nil {
		return ID{}, noRow(err, errNotFound)
	}
	profile, err := s.profiles(ctx, db).get(id)
	if err == nil && profile.Username != username {
		err = errNotFound
	}
	return id, err
}

// SetRole makes a member a moderator, or a plain member again.
func (s *Store) SetRole(ctx context.Context, m Membership, user ID, r Role) error {
	return s.manage(ctx, m, user, func(c *change, target Membership) error {
		if r != Moderator && r != Plain {
			return invalid("role", "A member can be a moderator or a plain member.")
		}
		if target.Role == r {
			return nil
		}
		if err := c.setRole(m, user, r); err != nil {
			return err
		}
		return c.audit(m.By, "room.role", fmt.Sprintf("%s %s %s", m.Room, user, r))
	})
}

// HandOver makes a member the owner. The old owner becomes a moderator.
func (s *Store) HandOver(ctx context.Context, m Membership, user ID) error {
	return s.manage(ctx, m, user, func(c *change, _ Membership) error {
		var owned int
		if err := c.row("SELECT count(*) FROM memberships WHERE user_id = ? AND role = ?", user, Owner).Scan(&owned); err != nil {
			return err
		}
		if owned >= ownedPerUser*s.o.LimitScale {
			return &Error{Kind: Conflict, Msg: "This member owns as many rooms as anybody can. Hand the room over to somebody else."}
		}
		if err := c.setRole(m, user, Owner); err != nil {
			return err
		}
		if err := c.setRole(m, m.User, Moderator); err != nil {
			return err
		}
		return c.audit(m.By, "room.own", fmt.Sprintf("%s %s", m.Room, user))
	})
}

// Expel ends somebody's membership against his will. He can come back with the room's code.
func (s *Store) Expel(ctx context.Context, m Membership, user ID) error {
	return s.manage(ctx, m, user, func(c *change, _ Membership) error { return c.expel(m, user, OpRemove, auditRemove) })
}

// Ban does the same, and no code that was made before lets him in again.
func (s *Store) Ban(ctx context.Context, m Membership, user ID) error {
	return s.manage(ctx, m, user, func(c *change, _ Membership) error { return c.expel(m, user, OpBan, auditBan) })
}

func (c *change) expel(m Membership, user ID, op Op, event string) error {
	if err := c.endMembership(&Entry{Room: m.Room, Op: op, Target: user, Actor: m.User}); err != nil {
		return err
	}
	return c.audit(m.By, event, fmt.Sprintf("%s %s", m.Room, user))
}

// manage runs f for the owner and another member of the room, whose membership it is given.
func (s *Store) manage(ctx context.Context, m Membership, user ID, f func(*change, Membership) error) error {
	return s.lane.do(ctx, func(c *change) error {
		if err := c.ownerOnly(m, errNotManager); err != nil {
			return err
		}
		if user == m.User {
			return errOwnself
		}
		target, err := s.membership(c.ctx, c.db, m.Room, user)
		if err != nil {
			return err
		}
		return f(c, target)
	})
}

// ownerOnly refuses everybody but the owner as the log has him now.
func (c *change) ownerOnly(m Membership, refusal *Error) error {
	now, err := c.s.membership(c.ctx, c.db, m.Room, m.User)
	if err == nil && now.Role != Owner {
		return refusal
	}
	return err
}

// setRole gives a member a role. The pages of an old owner and of a new one look again who waits to be let in.
func (c *change) setRole(by Membership, user ID, r Role) error {
	e := &Entry{Room: by.Room, Op: OpRole, Target: user, Actor: by.User, Payload: digest(string(r))}
	if err := c.append(e); err != nil {
		return err
	}
	if r == Owner {
		c.after = append(c.after, func() { c.s.o.Hub.Knock(by.User) }, func() { c.s.o.Hub.Knock(user) })
	}
	return c.exec("UPDATE memberships SET role = ?, entry_n = ? WHERE room_id = ? AND user_id = ?", r, e.N, e.Room, e.Target)
}

// Unban lets somebody who was banned come back with any valid code. It is NotFound for who is not banned.
func (s *Store) Unban(ctx context.Context, m Membership, username string) error {
	var user ID
	err := s.snapshot(ctx, func(db gorm.ConnPool) (err error) {
		user, err = s.named(ctx, db, username)
		return err
	})
	if err != nil && KindOf(err) != NotFound {
		return err
	}
	return s.lane.do(ctx, func(c *change) error {
		if err := c.ownerOnly(m, errNotManager); err != nil {
			return err
		}
		last, err := s.lastWord(c.ctx, c.db, m.Room, user)
		if errors.Is(err, cipher.ErrAuth) {
			return errDamagedLog
		}
		if err != nil {
			return err
		}
		if last.Op != OpBan {
			return errNotFound
		}
		if err := c.append(&Entry{Room: m.Room, Op: OpUnban, Target: user, Actor: m.User}); err != nil {
			return err
		}
		return c.audit(m.By, "room.unban", fmt.Sprintf("%s %s", m.Room, user))
	})
}

// Banned lists who is banned from the member's room, the latest first. Only the owner may ask.
func (s *Store) Banned(ctx context.Context, m Membership) ([]Profile, error) {
	var list []Profile
	err := s.snapshot(ctx, func(db gorm.ConnPool) error {
		list = nil
		now, err := s.membership(ctx, db, m.Room, m.User)
		if err != nil {
			return err
		}
		if now.Role != Owner {
			return errNotManager
		}
		banned, err := bannedFrom(ctx, db, m.Room)
		if err != nil {
			return err
		}
		names := s.profiles(ctx, db)
		for _, user := range banned {
			last, err := s.lastWord(ctx, db, m.Room, user)
			if errors.Is(err, cipher.ErrAuth) || err == nil && last.Op != OpBan {
				continue
			}
			if err != nil {
				return err
			}
			profile, err := names.get(user)
			if err != nil {
				return err
			}
			if _, err := s.named(ctx, db, profile.Username); err == nil { // else the account is gone and comes back nowhere
				list = append(list, profile)
			}
		}
		return nil
	})
	return list, err
}

// bannedFrom finds whose last word in a room's log may be a ban. (The first condition is that of an index.)
func bannedFrom(ctx context.Context, db gorm.ConnPool, room ID) ([]ID, error) {
	return column[ID](ctx, db, `SELECT l.target FROM room_log l WHERE l.room_id = ? AND l.op IN (3, 4, 5) AND l.op = 5
		AND NOT EXISTS (SELECT 1 FROM room_log k WHERE k.room_id = l.room_id AND k.target = l.target AND k.n > l.n AND k.op IN `+membershipOps+`)
		ORDER BY l.n DESC`, room)
}

// barred reports whether a code of the room that the entry codeN set lets somebody not in: who was
// banned later, and of whom the log does not say for sure that he was not.
func (s *Store) barred(ctx context.Context, db gorm.ConnPool, room, user ID, codeN uint64) (bool, error) {
	last, err := s.lastWord(ctx, db, room, user)
	if errors.Is(err, cipher.ErrAuth) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return last.Op == OpBan && last.N > codeN, nil
}

// lastWord returns the latest entry of a room's log about somebody's membership; one without a number
// when there is none. cipher.ErrAuth means that it is not what was written.
func (s *Store) lastWord(ctx context.Context, db gorm.ConnPool, room, user ID) (*Entry, error) {
	var r entryRow
	var previous hash
	err := db.QueryRowContext(ctx, "SELECT "+entryColumns+`, b.mac FROM room_log l LEFT JOIN room_log b ON b.room_id = l.room_id AND b.n = l.n - 1
		WHERE l.room_id = ? AND l.target = ? AND l.op IN `+membershipOps+` ORDER BY l.n DESC LIMIT 1`, room, user).Scan(append(r.into(), &previous)...)
	none := errors.Is(err, sql.ErrNoRows)
	if err != nil && !none {
		return nil, err
	}
	e := &Entry{Room: room, Target: user}
	if !none {
		e = r.entry(room, s.chain(room), previous)
	}
	err = s.proofs.stands(e, since(db))
	if err == nil && !none && !e.genuine {
		err = cipher.ErrAuth
	}
	if errors.Is(err, cipher.ErrAuth) {
		s.fault(room, e.N, faultLog, "what the room's log says last about somebody's membership is not what was written")
	}
	return e, err
}
