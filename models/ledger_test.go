package models

import (
	"strings"
	"testing"
	"time"

	"gorm.io/gorm"
)

// rename gives somebody another name, as one revision of the account.
func (a *archive) rename(user ID, name string) {
	a.t.Helper()
	err := a.act(a.t.Context(), func(t *act) error {
		return t.change(By{User: user}, user, "profile", func(c *account) error {
			c.profile.FullName = name
			return nil
		})
	})
	if err != nil {
		a.t.Fatal(err)
	}
}

func TestAnAccountThatIsPutBackIsNoAccount(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	old := m.rows("users")
	m.rename(m.grace, "Grace Brewster Hopper")
	if u, err := m.User(t.Context(), m.grace); err != nil || u.FullName != "Grace Brewster Hopper" {
		t.Fatal(u, err)
	}
	m.restore("users", old)
	if u, err := m.User(t.Context(), m.grace); KindOf(err) != SignedOut {
		t.Errorf("somebody is logged in as %q: %v", u.FullName, err)
	}
	if v, err := m.View(t.Context(), m.member(m.ada, m.room)); err != nil || v.People[1].FullName != "Unknown person" {
		t.Errorf("the room shows %q: %v", v.People[1].FullName, err)
	}
	m.reopen()
	eventually(t, "refusing the old account after a restart", func() bool {
		_, err := m.User(t.Context(), m.grace)
		return KindOf(err) == SignedOut
	})
	if u, err := m.User(t.Context(), m.ada); err != nil || u.FullName != "Ada Lovelace" {
		t.Errorf("the other account: %q, %v", u.FullName, err)
	}
}

func TestASessionThatWasEndedIsNotBroughtBack(t *testing.T) {
	t.Parallel()
	a := openArchive(t)
	ada := a.user("ada", "Ada Lovelace")
	s := a.Sessions()
	data, err := s.Encode(time.Now().Add(time.Hour), map[string]any{SessionUser: ada.String(), SessionAuth: a.now()})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Commit("a token", data, time.Time{}); err != nil {
		t.Fatal(err)
	}
	kept := a.rows("sessions")
	if err := s.Delete("a token"); err != nil {
		t.Fatal(err)
	}
	a.restore("sessions", kept)
	if _, found, err := s.Find("a token"); found || err != nil {
		t.Errorf("it is a session again: %v", err)
	}
	a.reopen()
	eventually(t, "refusing the ended session after a restart", func() bool {
		_, found, err := a.Sessions().Find("a token")
		return !found && err == nil
	})
}

// A page that began before a change reads again; an honest change is no damage.
func TestANameThatChangesWhileAPageIsReadRaisesNoAlarm(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	reads, name := 0, ""
	err := m.snapshot(t.Context(), func(db gorm.ConnPool) error {
		var any int
		if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM users").Scan(&any); err != nil { // here the snapshot begins
			return err
		}
		if reads++; reads == 1 {
			m.rename(m.grace, "Grace Brewster Hopper")
		}
		p, err := m.profiles(t.Context(), db).get(m.grace)
		name = p.FullName
		return err
	})
	if err != nil || reads != 2 || name != "Grace Brewster Hopper" {
		t.Errorf("%d reads, the name is %q: %v", reads, name, err)
	}
	if log := m.log.String(); strings.Contains(log, "integrity") {
		t.Error(log)
	}
}
