package models

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// count asks the intruder's connection.
func (a *archive) count(query string, args ...any) int {
	a.t.Helper()
	var n int
	must(a.t, a.intruder().QueryRow(query, args...).Scan(&n))
	return n
}

// wholeAgain closes the archive, verifies all of it, and opens it again.
func (a *archive) wholeAgain() {
	a.t.Helper()
	must(a.t, a.Close())
	for _, f := range verified(a.t, options(a.dir)).Findings {
		a.t.Errorf("finding: %v", f)
	}
	a.open()
}

func TestADeletedAccountLeavesANeutralNameAndNothingElse(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	linus, secret, codes := m.registered(Registration{Username: "linus", FullName: "Linus Pauling", Email: "linus@example.org", Password: goodPassword})
	alone := m.create(linus.ID, "Only his")
	owned := m.create(linus.ID, "Workshop")
	m.join(linus.ID, m.room)
	m.join(m.grace, owned)
	m.say(linus.ID, m.room, "I was here")
	old := m.rows("users")
	token := m.SessionHash("his")
	data, err := m.Sessions().Encode(time.Now().Add(time.Hour), map[string]any{SessionUser: linus.ID.String(), SessionAuth: m.now()})
	must(t, err)
	must(t, m.Sessions().Commit("his", data, time.Time{}))
	m.tamper(1, "INSERT INTO knocks (room_id, user_id, created_ms, seal) VALUES (?, ?, 1, x'00')", m.room[:], linus.ID[:])

	must(t, m.DeleteAccount(t.Context(), By{User: linus.ID, Session: token}, false))

	if got := m.history(m.ada, m.room); !slices.Equal(got, []string{"I was here"}) {
		t.Errorf("the room holds %q", got)
	}
	v, err := m.View(t.Context(), m.member(m.ada, m.room))
	must(t, err)
	for _, l := range v.Page.Lines {
		if l.Who.ID == linus.ID && (l.Who.FullName != "Former member" || usernameForm.MatchString(l.Who.Username)) {
			t.Errorf("a line of his bears the name %+v", l.Who)
		}
	}
	if len(v.People) != 2 {
		t.Errorf("the members are %v", v.People)
	}
	if role := m.member(m.grace, owned).Role; role != Owner {
		t.Errorf("of his room Grace is %s", role)
	}
	for name, room := range map[string]ID{"alone": alone, "owned": owned} {
		if _, err := m.Member(t.Context(), By{User: linus.ID}, room.String()); KindOf(err) != NotFound {
			t.Errorf("%s: he is still a member: %v", name, err)
		}
		if _, err := m.Join(t.Context(), By{User: linus.ID}, m.codeOf(room)); err == nil {
			t.Errorf("%s: he comes in again", name)
		}
	}
	for _, code := range []string{codeOf(t, secret, 1), codes[0]} {
		if _, err := m.Authenticate(t.Context(), By{}, SignIn{Username: "linus", Password: goodPassword, Code: code}); KindOf(err) != Invalid {
			t.Errorf("he signs in: %v", err)
		}
	}
	if _, found, _ := m.Sessions().Find("his"); found {
		t.Error("his session is still one")
	}
	for _, table := range []string{"recovery_codes", "passkeys", "devices", "attempts", "tokens", "marks", "knocks", "memberships"} {
		if n := m.count("SELECT count(*) FROM "+table+" WHERE user_id = ?", linus.ID[:]); n > 0 {
			t.Errorf("%d rows in %s", n, table)
		}
	}
	if n := m.count("SELECT count(*) FROM audit_log WHERE event = 'account.delete' AND actor = ?", linus.ID[:]); n != 1 {
		t.Errorf("%d entries in the audit log", n)
	}
	m.wholeAgain()
	// The name and the address are free, and are somebody else's then.
	other, _, _ := m.registered(Registration{Username: "linus", FullName: "Linus Torvalds", Email: "linus@example.org", Password: goodPassword})
	if other.ID == linus.ID {
		t.Error("the new account is the old one")
	}
	if v, err = m.View(t.Context(), m.member(m.ada, m.room)); err != nil || strings.Contains(fmt.Sprint(v.Page.Lines), "Linus") {
		t.Errorf("the old messages bear the new name: %v", err)
	}
	if log := m.log.String(); strings.Contains(log, "integrity") {
		t.Error(log)
	}
	// Whoever puts the old row back brings nobody back.
	m.tamper(1, "DELETE FROM users WHERE id = ?", other.ID[:])
	m.restore("users", old)
	m.reopen()
	eventually(t, "refusing the deleted account", func() bool {
		_, err := m.User(t.Context(), linus.ID)
		return KindOf(err) == SignedOut
	})
	if _, err := m.Authenticate(t.Context(), By{}, SignIn{Username: "linus", Password: goodPassword, Code: codeOf(t, secret, 1)}); KindOf(err) != Invalid {
		t.Errorf("the old row was put back, and he signs in: %v", err)
	}
}

func TestWhoeverLeavesCanTakeTheirWordsAlong(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	for i := range 2*removeChunk + 7 {
		m.say(m.grace, m.room, fmt.Sprintf("Grace says %d", i))
		if i%40 == 0 {
			m.say(m.ada, m.room, fmt.Sprintf("Ada says %d", i))
		}
	}
	other := m.create(m.ada, "Library")
	m.join(m.grace, other)
	m.say(m.grace, other, "Hers, too")
	damaged := m.say(m.grace, other, "Nobody can read this")
	m.tamper(1, "UPDATE messages SET envelope = zeroblob(80) WHERE room_id = ? AND n = ?", other[:], damaged)
	must(t, m.DeleteAccount(t.Context(), By{User: m.grace}, true))
	var said []string
	for _, text := range m.allSaid(m.ada, m.room) {
		if text != "" {
			said = append(said, text)
		}
	}
	if !slices.Equal(said, []string{"Ada says 0", "Ada says 40", "Ada says 80"}) {
		t.Errorf("what is left: %q", said)
	}
	if got := m.history(m.ada, other); !slices.Equal(got, []string{"", "DAMAGED"}) {
		t.Errorf("what is left in the other room: %q", got)
	}
	if n := m.count("SELECT count(*) FROM messages WHERE author = ? AND length(envelope) > 0", m.grace[:]); n != 1 {
		t.Errorf("%d of her messages are still there", n)
	}
}

// A room can keep from somebody who came back what was said before, which may be their own words.
func TestWordsFromBeforeALastJoinGoToo(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	m.say(m.grace, m.room, "From her first time here")
	must(t, m.Leave(t.Context(), m.member(m.grace, m.room)))
	must(t, m.SetHistory(t.Context(), m.member(m.ada, m.room), HistorySinceJoin))
	m.join(m.grace, m.room)
	if got := m.history(m.grace, m.room); len(got) > 0 {
		t.Fatalf("she sees %q", got)
	}
	must(t, m.DeleteAccount(t.Context(), By{User: m.grace}, true))
	if got := m.history(m.ada, m.room); !slices.Equal(got, []string{""}) {
		t.Errorf("what is left: %q", got)
	}
}

func TestTheLastAdministratorStaysWhileThereIsAnybodyElse(t *testing.T) {
	t.Parallel()
	a := openArchive(t)
	admin := func(user ID, is bool, disabled int64) {
		must(t, a.act(t.Context(), func(t *act) error {
			return t.change(By{}, user, "role", func(c *account) error {
				c.profile.Admin, c.profile.DisabledMS = is, disabled
				return nil
			})
		}))
	}
	ada, grace := a.user("ada", "Ada Lovelace"), a.user("grace", "Grace Hopper")
	admin(ada, true, 0)
	room := a.create(ada, "Engine room")
	refused := func(why string) {
		t.Helper()
		for what, err := range map[string]error{"before": a.MayDelete(t.Context(), ada), "done": a.DeleteAccount(t.Context(), By{User: ada}, true)} {
			if KindOf(err) != Conflict {
				t.Errorf("%s, %s: %v", why, what, err)
			}
		}
		a.member(ada, room) // nothing has been begun
	}
	refused("Grace is not one")
	admin(grace, true, 1)
	refused("Grace may not log in")
	admin(grace, true, 0)
	must(t, a.MayDelete(t.Context(), ada))
	must(t, a.DeleteAccount(t.Context(), By{User: grace}, false))
	must(t, a.DeleteAccount(t.Context(), By{User: ada}, false)) // there is nobody else any more
}

// If the server stops on the way, the person is still there and can do it again.
func TestADeletionThatWasCutShortCanBeDoneAgain(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	linus, secret, _ := m.registered(Registration{Username: "linus", FullName: "Linus Pauling", Email: "linus@example.org", Password: goodPassword})
	m.join(linus.ID, m.room)
	m.say(linus.ID, m.room, "I was here")
	second := m.create(linus.ID, "Workshop")
	by := By{User: linus.ID}
	must(t, m.removeOwn(t.Context(), m.member(linus.ID, m.room)))
	must(t, m.Leave(t.Context(), m.member(linus.ID, m.room)))
	m.reopen()
	if _, err := m.Authenticate(t.Context(), By{}, SignIn{Username: "linus", Password: goodPassword, Code: codeOf(t, secret, 1)}); err != nil {
		t.Fatalf("he cannot log in to do it again: %v", err)
	}
	must(t, m.DeleteAccount(t.Context(), by, true))
	if _, err := m.Member(t.Context(), by, second.String()); KindOf(err) != NotFound {
		t.Errorf("he is still a member: %v", err)
	}
	if err := m.DeleteAccount(t.Context(), by, true); KindOf(err) != NotFound && KindOf(err) != SignedOut {
		t.Errorf("once more: %v", err)
	}
	m.wholeAgain()
}

// A room whose log is damaged takes no departure, and holds nobody back.
func TestADamagedRoomHoldsNobodyBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.tamper(t, "DELETE FROM room_log WHERE room_id = $engine AND n = $kettle")
	s := w.start(t)
	must(t, s.DeleteAccount(ctx, By{User: w.grace}, true))
	if _, err := s.User(ctx, w.grace); KindOf(err) != SignedOut {
		t.Errorf("she is still a user: %v", err)
	}
	v, err := s.View(ctx, w.member(t, s, w.ada, w.engine))
	must(t, err)
	for _, p := range v.People {
		if p.ID == w.grace && p.FullName != "Former member" {
			t.Errorf("the list of members names her %q", p.FullName)
		}
	}
}
