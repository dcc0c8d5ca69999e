package models

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"gorm.io/gorm"
)

// Tokens stand in links that one person hands to another: the set-up link of the first
// administrator, invitations, links that reset a password. Stored is a keyed hash, and a keyed
// hash over the terms (seal), so that somebody who can write the database but has no key can
// neither make a token nor lengthen one, give it another purpose or point it at another person.
// Uses and revocations stand in the audit log as well (ledger.go): a row that is put back as it
// was before stays dead.

type purpose string

const (
	forSetup      purpose = "setup"
	forInvitation purpose = "invitation"
	forReset      purpose = "reset"
)

const (
	setupLife = 24 * time.Hour
	tokenKept = 30 * 24 * time.Hour // after its end a token stays in the list for so long
)

// token is a row of tokens.
type token struct {
	hash    hash
	purpose purpose
	user    ID // of a reset: whose password
	creator ID // zero: the server itself or its command line
	created int64
	expires int64
	most    number // how often it can be used
	uses    number
	revoked bool
	seal    hash

	revision uint32 // of a reset: the account's when it was made; in the seal only
}

// terms returns the seal that a token with these terms has.
func (s *Store) terms(t token) hash {
	return hash(s.service.Index("token", fmt.Sprintf("%x %s %s %s %d %d %d %d", t.hash, t.purpose, t.user, t.creator, t.created, t.expires, t.most, t.revision)))
}

// left returns how often a token can still be used. One whose terms are not what was written
// cannot.
func (s *Store) left(t token) int {
	if t.seal != s.terms(t) || t.revoked || t.expires <= s.now() {
		return 0
	}
	return max(int(t.most)-max(int(t.uses), s.ledger.used(t.hash[:], t.created)), 0)
}

// tokens reads the tokens that a condition names, the newest first.
func (s *Store) tokens(ctx context.Context, db gorm.ConnPool, where string, args ...any) ([]token, error) {
	rows, err := db.QueryContext(ctx, `SELECT hash, CAST(purpose AS TEXT), user_id, created_by, created_ms, expires_ms, most, uses, revoked_ms IS NOT NULL, seal
		FROM tokens WHERE `+where+" ORDER BY created_ms DESC, rowid DESC", args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []token
	for rows.Next() {
		var t token
		var created, expires number
		if err := rows.Scan(&t.hash, &t.purpose, &t.user, &t.creator, &created, &expires, &t.most, &t.uses, &t.revoked, &t.seal); err != nil {
			return nil, err
		}
		t.created, t.expires = int64(created), int64(expires)
		list = append(list, t)
	}
	return list, rows.Err()
}

// token finds a token by what stands in its link. A token that is not there has no uses left.
func (s *Store) token(ctx context.Context, db gorm.ConnPool, purpose purpose, text string) (token, error) {
	list, err := s.tokens(ctx, db, "hash = ? AND purpose = ?", s.service.TokenHash(string(purpose), normalToken(text)), string(purpose))
	if err != nil || len(list) == 0 {
		return token{}, err
	}
	return list[0], nil
}

// newToken makes a token of so many random bytes and returns what stands in its link.
func (t *act) newToken(terms token, bytes int, life time.Duration) (text string, hash hash, err error) {
	raw := make([]byte, bytes)
	rand.Read(raw)
	text = hex.EncodeToString(raw)
	terms.hash = [32]byte(t.s.service.TokenHash(string(terms.purpose), text))
	terms.created, terms.expires = t.now, t.now+life.Milliseconds()
	_, err = t.exec("INSERT INTO tokens (purpose, hash, user_id, created_by, created_ms, expires_ms, most, seal) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		string(terms.purpose), terms.hash, terms.user, terms.creator, terms.created, terms.expires, int64(terms.most), t.s.terms(terms))
	return text, terms.hash, err
}

// spend uses a token once; by is whom it has served.
func (t *act) spend(by By, used token) error {
	if _, err := t.exec("UPDATE tokens SET uses = uses + 1, used_ms = ? WHERE hash = ?", t.now, used.hash); err != nil {
		return err
	}
	return t.audit(by.audit(eventTokenUse, handleOf(used.hash[:]), string(used.purpose)))
}

// withdraw ends the tokens that a condition names.
func (t *act) withdraw(by By, where string, args ...any) error {
	list, err := t.s.tokens(t.ctx, t.db.Statement.ConnPool, where, args...)
	if err != nil {
		return err
	}
	for _, old := range list {
		if old.seal == t.s.terms(old) && (old.expires <= t.now || t.s.ledger.used(old.hash[:], old.created) >= int(old.most)) {
			continue // over without that, whatever else its row says
		}
		if _, err := t.exec("UPDATE tokens SET revoked_ms = ? WHERE hash = ?", t.now, old.hash); err != nil {
			return err
		}
		if err := t.audit(by.audit(eventTokenRevoke, handleOf(old.hash[:]), string(old.purpose))); err != nil {
			return err
		}
	}
	return nil
}

// SetupToken makes the one-time token (128 bits) that lets the first administrator register, and
// ends the one before it. It returns "" once there is an administrator.
func (s *Store) SetupToken(ctx context.Context) (text string, err error) {
	err = s.act(ctx, func(t *act) error {
		if err := t.withdraw(By{}, "purpose = ?", string(forSetup)); err != nil {
			return err
		}
		administered, err := s.administered(ctx, t.db.Statement.ConnPool, ID{})
		if err != nil || administered {
			return err
		}
		var hash hash
		if text, hash, err = t.newToken(token{purpose: forSetup, most: 1}, 16, setupLife); err != nil {
			return err
		}
		return t.audit(Audit{Event: eventTokenCreate, Object: handleOf(hash[:]), Outcome: string(forSetup)})
	})
	return text, err
}

// admission finds the token with which somebody wants to register, if it is good: an
// invitation, or the set-up link while nobody administers the server.
func (s *Store) admission(ctx context.Context, db gorm.ConnPool, text string) (token, error) {
	for _, purpose := range []purpose{forInvitation, forSetup} {
		found, err := s.token(ctx, db, purpose, text)
		if err != nil {
			return token{}, err
		}
		if admits, err := s.admits(ctx, db, found); err != nil || admits {
			return found, err
		}
	}
	return token{}, errBadToken
}

func (s *Store) admits(ctx context.Context, db gorm.ConnPool, t token) (bool, error) {
	if t.purpose != forInvitation && t.purpose != forSetup || s.left(t) == 0 {
		return false, nil
	}
	if t.purpose == forInvitation {
		return true, nil
	}
	administered, err := s.administered(ctx, db, ID{})
	return !administered, err
}

// redeem uses up the token that a registration came with. It is a Conflict when it is not good
// any more.
func (t *act) redeem(by By, handle string) (token, error) {
	id, err := ParseID(handle)
	if err != nil {
		return token{}, err
	}
	db := t.db.Statement.ConnPool
	list, err := t.s.tokens(t.ctx, db, "substr(hash, 1, 16) = ?", id)
	if err != nil {
		return token{}, err
	}
	for _, found := range list {
		if admits, err := t.s.admits(t.ctx, db, found); err != nil {
			return token{}, err
		} else if admits {
			return found, t.spend(by, found)
		}
	}
	return token{}, errTokenGone
}

var errTokenGone = &Error{Kind: Conflict, Msg: "The link you registered with was used up by somebody else, was withdrawn or has run out, so nothing was stored. Ask for another one and start again."}

var errBadToken = &Error{Kind: Invalid, Field: "token", Msg: "This link has been used up, was withdrawn or has run out. Ask whoever gave it to you for another."}

// normalToken takes a token out of whatever was pasted: the token alone, or the whole link.
func normalToken(s string) string {
	s = strings.TrimSpace(s)
	return strings.ToLower(s[strings.LastIndexAny(s, "#=")+1:])
}
