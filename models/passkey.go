package models

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"gorm.io/gorm"

	"conclave/models/cipher"
)

// A passkey is a second factor in place of the authenticator's code: a key pair that a browser, a
// phone or a security key made for one person at one site, and whose private half never leaves
// it. The code always stays; so an account that loses its passkeys loses nothing.
//
// What stands in the table counts only together: the profile vouches for the whole set
// (account.go), so that nobody who writes the database adds a passkey or puts one back.

// Passkey is one of a person's, as that person may see it.
type Passkey struct {
	ID      ID
	Name    string
	Site    string // the name of the server under which it was made, and under which alone it works
	Created time.Time
	Used    time.Time // zero: not yet
}

const (
	passkeysPerUser = 20
	passkeyNameMax  = 40 // code points
)

// sealedPasskey is what stands in a passkey's envelope (kind 08).
type sealedPasskey struct {
	Name       string `json:"name"`
	Site       string `json:"site"`
	Credential []byte `json:"credential"`       // the authenticator's id for it
	Key        []byte `json:"key"`              // the public one, as COSE has it
	Copied     bool   `json:"copied,omitempty"` // the authenticator may keep copies elsewhere; this never changes
}

// passkey is a row of passkeys, opened.
type passkey struct {
	sealedPasskey
	id            ID
	signs         uint32 // the authenticator's own count, 0 when it has none
	created, used int64  // unix milliseconds
}

// Passkeys returns a person's passkeys, the oldest first. When the table does not hold what the
// profile vouches for, none counts and whole is false.
func (s *Store) Passkeys(ctx context.Context, user ID) (list []Passkey, whole bool, err error) {
	_, keys, whole, err := s.passkeys(ctx, user)
	for _, k := range keys {
		p := Passkey{ID: k.id, Name: k.Name, Site: k.Site, Created: time.UnixMilli(k.created)}
		if k.used > 0 {
			p.Used = time.UnixMilli(k.used)
		}
		list = append(list, p)
	}
	return list, whole, err
}

// passkeys reads an account and the passkeys that it vouches for, at one moment. It is NotFound
// for an account that somebody has changed from outside.
func (s *Store) passkeys(ctx context.Context, user ID) (who sealedProfile, keys []passkey, whole bool, err error) {
	err = s.snapshot(ctx, func(db gorm.ConnPool) error {
		a, err := s.readAccount(ctx, db, user, errNotFound)
		if err != nil {
			return err
		}
		who, whole = a.profile, a.passkeysStand
		if !whole {
			return nil
		}
		keys, err = s.readPasskeys(ctx, db, user)
		return err
	})
	if errors.Is(err, cipher.ErrAuth) {
		s.alarmOn(faultProfile, user.String())
		err = errNotFound
	}
	if err == nil && !whole {
		s.alarmOn(faultPasskey, user.String())
	}
	return who, keys, whole, err
}

func (s *Store) readPasskeys(ctx context.Context, db gorm.ConnPool, user ID) (keys []passkey, err error) {
	rows, err := db.QueryContext(ctx, "SELECT id, credential, signs, created_ms, used_ms FROM passkeys WHERE user_id = ? ORDER BY created_ms, id", user)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var k passkey
		var envelope blob
		var signs, created, used number
		if err := rows.Scan(&k.id, &envelope, &signs, &created, &used); err != nil {
			return nil, err
		}
		plain, err := s.service.OpenPasskey(user, k.id, envelope)
		if err != nil || json.Unmarshal(plain, &k.sealedPasskey) != nil || !signs.within(1<<32-1) {
			s.alarmOn(faultPasskey, user.String())
			continue
		}
		k.signs, k.created, k.used = uint32(signs), int64(created), int64(used)
		keys = append(keys, k)
	}
	return keys, rows.Err()
}

// AddPasskey gives the doer a passkey: what the browser made of an offer (OfferPasskey).
func (s *Store) AddPasskey(ctx context.Context, by By, name string, in Answer) error {
	name, err := passkeyName(name)
	if err != nil {
		return err
	}
	who, _, _, err := s.passkeys(ctx, by.User)
	if err != nil {
		return err
	}
	made, err := s.made(by.User, who, in)
	if err != nil {
		return err
	}
	made.Name = name
	plain, err := json.Marshal(made.sealedPasskey)
	if err != nil {
		return err
	}
	id := newID()
	err = s.operate(ctx, by, by.User, "passkey", func(t *act, _ *account) error {
		var count int
		if err := t.db.Raw("SELECT count(*) FROM passkeys WHERE user_id = ?", by.User).Scan(&count).Error; err != nil {
			return err
		}
		if count >= passkeysPerUser {
			return errTooManyPasskeys
		}
		_, err := t.exec("INSERT INTO passkeys (id, user_id, handle, credential, signs, created_ms, used_ms) VALUES (?, ?, ?, ?, ?, ?, 0)",
			id, by.User, s.service.Index("passkey", string(made.Credential)), s.service.SealPasskey(by.User, id, plain), made.signs, t.now)
		return err
	})
	if errors.Is(err, gorm.ErrDuplicatedKey) {
		return &Error{Kind: Conflict, Msg: "This passkey is in use already."}
	}
	return err
}

var errTooManyPasskeys = &Error{Kind: Conflict, Msg: "An account can have at most 20 passkeys. Remove one that you no longer use first."}

// passkeyName brings the name of a passkey into its one form. The error is Invalid.
func passkeyName(name string) (string, error) {
	return line("name", "The name", name, passkeyNameMax)
}

// RenamePasskey gives one of the doer's passkeys another name. It is Invalid in the field "name" for a
// name that is none, NotFound when the doer has no such passkey.
func (s *Store) RenamePasskey(ctx context.Context, by By, id ID, name string) error {
	_, own, _, err := s.passkeys(ctx, by.User)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(own, func(k passkey) bool { return k.id == id }) {
		return errNotFound
	}
	if name, err = passkeyName(name); err != nil {
		return err
	}
	return s.operate(ctx, by, by.User, "passkey-name", func(t *act, _ *account) error {
		keys, err := s.readPasskeys(ctx, t.db.Statement.ConnPool, by.User)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(keys, func(k passkey) bool { return k.id == id })
		if i < 0 {
			return errNotFound
		}
		keys[i].Name = name
		plain, err := json.Marshal(keys[i].sealedPasskey)
		if err != nil {
			return err
		}
		_, err = t.exec("UPDATE passkeys SET credential = ? WHERE id = ? AND user_id = ?", s.service.SealPasskey(by.User, id, plain), id, by.User)
		return err
	})
}

// RemovePasskey takes a passkey away from the doer, for good. It is NotFound when there is none of that id.
func (s *Store) RemovePasskey(ctx context.Context, by By, id ID) error {
	return s.operate(ctx, by, by.User, "passkey-remove", func(t *act, _ *account) error {
		rows, err := t.exec("DELETE FROM passkeys WHERE id = ? AND user_id = ?", id, by.User)
		if err == nil && rows != 1 {
			return errNotFound
		}
		return err
	})
}

// signature is a passkey's answer to a challenge, found right.
type signature struct {
	passkey
	count uint32 // the authenticator's count now
}

// signed returns the signature of one of the doer's passkeys, nil when the answer is none.
func (s *Store) signed(ctx context.Context, by By, in Answer) (*signature, error) {
	if in = s.once(in); in.JSON == "" {
		return nil, nil
	}
	_, keys, _, err := s.passkeys(ctx, by.User)
	return s.matchPasskey(by, by.User, keys, in), err
}

// matchPasskey returns the signature of one of a person's passkeys, nil when the answer is none. A
// count that did not rise is refused and an audit event: another device holds the same key.
func (s *Store) matchPasskey(by By, user ID, keys []passkey, in Answer) *signature {
	if in.JSON == "" {
		return nil
	}
	credential, err := s.check(user, keys, in)
	if err != nil {
		return nil
	}
	i := slices.IndexFunc(keys, func(k passkey) bool { return bytes.Equal(k.Credential, credential.ID) })
	if credential.Authenticator.CloneWarning {
		s.record(by.audit("passkey.clone", user.String()+" "+keys[i].id.String(), "refused"))
		return nil
	}
	return &signature{keys[i], credential.Authenticator.SignCount}
}

// acceptSignature notes that a passkey was used: of two sign-ins with the same count, exactly one
// gets through.
func (t *act) acceptSignature(user ID, k *signature) error {
	rows, err := t.exec("UPDATE passkeys SET signs = ?, used_ms = ? WHERE id = ? AND user_id = ? AND signs = ?", k.count, t.now, k.id, user, k.signs)
	if err == nil && rows != 1 {
		return errSignIn
	}
	return err
}
