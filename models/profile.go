package models

import (
	"context"
	"strings"

	"conclave/models/feed"
)

// What a person changes about the own profile, and about being seen to write. The user name stays: others
// know the person by it.

// Rename gives the doer another full name, which the pages of the person's rooms are told. It is
// Invalid when it is none.
func (s *Store) Rename(ctx context.Context, by By, fullName string) error {
	fullName, err := line("full_name", "Your name", fullName, fullNameMax)
	if err != nil {
		return err
	}
	return s.operate(ctx, by, by.User, "profile", func(t *act, a *account) error {
		a.profile.FullName = fullName
		return t.tellRooms(by.User)
	})
}

// tellRooms sends the lists of members anew, after the commit, to all who have a room of the
// person's open.
func (t *act) tellRooms(user ID) error {
	rooms, err := column[ID](t.ctx, t.db.Statement.ConnPool, "SELECT room_id FROM memberships WHERE user_id = ?", user)
	if err != nil {
		return err
	}
	for _, room := range rooms {
		t.after = append(t.after, func() {
			t.s.o.Hub.Publish(&feed.Event{Topic: room, Kind: feed.KindMembers, Entry: &Entry{Room: room}})
		})
	}
	return nil
}

// ChangeEmail gives the doer another address. It is Invalid when it is none, or when another
// account has it, or will have it once its registration is confirmed.
func (s *Store) ChangeEmail(ctx context.Context, by By, email string) error {
	email, err := cleanEmail(email)
	if err != nil {
		return err
	}
	index := s.service.Index("email", strings.ToLower(email))
	return s.operate(ctx, by, by.User, "email", func(t *act, a *account) error {
		var taken bool
		err := t.db.Raw(`SELECT EXISTS (SELECT 1 FROM users WHERE email_index = ? AND id <> ?)
			OR EXISTS (SELECT 1 FROM registrations WHERE email_index = ? AND expires_ms > ?)`, index, by.User, index, t.now).Scan(&taken).Error
		if err != nil {
			return err
		}
		if taken {
			return errEmailTaken
		}
		a.profile.Email = email
		return nil
	})
}

// ShowTyping says whether others are told while the user is writing.
func (s *Store) ShowTyping(ctx context.Context, user ID, show bool) error {
	return s.write.WithContext(ctx).Exec("UPDATE users SET shows_typing = ? WHERE id = ?", show, user).Error
}

var errEmailTaken = invalid("email", "There is already an account with this email address.")

// former is the name of somebody who has deleted the account. The user name is one that nobody
// can register, and tells two such people apart.
func former(id ID) Profile {
	return Profile{ID: id, Username: "-" + id.String()[:8], FullName: "Former member"}
}
