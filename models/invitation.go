package models

import (
	"context"
	"time"

	"gorm.io/gorm"
)

const (
	invitationMost     = 500 // people
	invitationShortest = time.Hour
	invitationLongest  = 90 * 24 * time.Hour
)

// Invitation is a link with which people may register, as administrators see it. The link itself
// is shown once, when it is made.
type Invitation struct {
	ID      ID
	By      Profile
	Created time.Time
	Expires time.Time
	Most    int // how many people it is for
	Used    int // how many have come
	Left    int // how many can still come
	Revoked bool
}

// Invite makes the token (128 bits) of an invitation for so many people that ends after a time.
func (s *Store) Invite(ctx context.Context, by By, most int, life time.Duration) (text string, err error) {
	var faults Errors
	if most < 1 || most > invitationMost {
		faults = append(faults, invalid("uses", "An invitation is for 1 to %d people.", invitationMost))
	}
	if life < invitationShortest || life > invitationLongest {
		faults = append(faults, invalid("hours", "An invitation lasts from one hour to 90 days."))
	}
	if len(faults) > 0 {
		return "", faults
	}
	err = s.act(ctx, func(t *act) error {
		if err := t.mayStill(by, ID{}); err != nil {
			return err
		}
		var made hash
		var err error
		if text, made, err = t.newToken(token{purpose: forInvitation, creator: by.User, most: number(most)}, 16, life); err != nil {
			return err
		}
		return t.audit(by.audit(eventTokenCreate, handleOf(made[:]), string(forInvitation)))
	})
	return text, err
}

// Invitations lists them, the newest first; those that ended more than a month ago are gone.
func (s *Store) Invitations(ctx context.Context) (list []Invitation, err error) {
	err = s.snapshot(ctx, func(db gorm.ConnPool) error {
		tokens, err := s.tokens(ctx, db, "purpose = ?", string(forInvitation))
		if err != nil {
			return err
		}
		list = nil
		names := s.profiles(ctx, db)
		for _, t := range tokens {
			if t.seal != s.terms(t) {
				s.alarmOn(faultToken, handleOf(t.hash[:]))
				continue
			}
			noted := s.ledger.used(t.hash[:], t.created)
			i := Invitation{ID: ID(t.hash[:16]), Created: moment(number(t.created)), Expires: moment(number(t.expires)), Most: int(t.most), Left: s.left(t)}
			if i.Revoked = t.revoked || noted >= usedUp; noted >= usedUp {
				noted = 0
			}
			i.Used = min(max(int(t.uses), noted), i.Most)
			if i.By, err = names.get(t.creator); err != nil {
				return err
			}
			list = append(list, i)
		}
		return nil
	})
	return list, err
}

// RevokeInvitation ends an invitation.
func (s *Store) RevokeInvitation(ctx context.Context, by By, id ID) error {
	return s.act(ctx, func(t *act) error {
		const which = "substr(hash, 1, 16) = ? AND purpose = 'invitation'"
		list, err := s.tokens(ctx, t.db.Statement.ConnPool, which, id)
		if err == nil && len(list) == 0 {
			err = errNotFound
		}
		if err != nil {
			return err
		}
		return t.withdraw(by, which, id)
	})
}
