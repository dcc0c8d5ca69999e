package models

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// trio is a meeting that Linus has joined too.
func openTrio(t *testing.T) (m *meeting, linus ID) {
	t.Helper()
	m = openMeeting(t)
	linus = m.user("linus", "Linus Pauling")
	m.join(linus, m.room)
	return m, linus
}

// whole checks what verify says of everything but the users of an archive, which have no real passwords.
func (a *archive) whole(t *testing.T) {
	t.Helper()
	for _, f := range verified(t, a.o).Findings {
		if !strings.Contains(f.What, "the profile, the password or the second factor") {
			t.Errorf("finding: %v", f)
		}
	}
}

// roles is who belongs to a room and as what, the longest member first.
func (m *meeting) roles(t *testing.T, user ID) string {
	t.Helper()
	people, err := m.Members(t.Context(), m.member(user, m.room))
	must(t, err)
	var list []string
	for _, p := range people {
		list = append(list, p.Username+" "+string(p.Role))
	}
	return strings.Join(list, ", ")
}

func TestOnlyTheOwnerManagesMembers(t *testing.T) { // R61
	t.Parallel()
	m, linus := openTrio(t)
	eve := m.user("eve", "Eve Moneypenny")
	must(t, m.SetRole(ctx, m.member(m.ada, m.room), m.grace, Moderator))
	before := m.roles(t, m.ada)
	deeds := func(by Membership) map[string]error {
		return map[string]error{
			"role":      m.SetRole(ctx, by, linus, Moderator),
			"demote":    m.SetRole(ctx, by, m.grace, Plain),
			"remove":    m.Expel(ctx, by, linus),
			"ban":       m.Ban(ctx, by, linus),
			"own":       m.HandOver(ctx, by, linus),
			"unban":     m.Unban(ctx, by, "linus"),
			"history":   m.SetHistory(ctx, by, HistorySinceJoin),
			"the owner": m.Expel(ctx, by, m.ada),
		}
	}
	for name, by := range map[string]Membership{
		"a moderator": m.member(m.grace, m.room), "a member": m.member(linus, m.room),
		"a member who says that he owns it": {Room: m.room, By: By{User: linus}, Role: Owner},
	} {
		for deed, err := range deeds(by) {
			if KindOf(err) != Denied {
				t.Errorf("%s, %s: %v", name, deed, err)
			}
		}
		if _, err := m.Banned(ctx, by); KindOf(err) != Denied {
			t.Errorf("%s sees who is banned: %v", name, err)
		}
	}
	for deed, err := range deeds(Membership{Room: m.room, By: By{User: eve}, Role: Owner}) {
		if KindOf(err) != NotFound {
			t.Errorf("a stranger, %s: %v", deed, err)
		}
	}
	ada := m.member(m.ada, m.room)
	for what, err := range map[string]error{
		"herself removed": m.Expel(ctx, ada, m.ada), "herself banned": m.Ban(ctx, ada, m.ada),
		"herself a moderator": m.SetRole(ctx, ada, m.ada, Moderator), "to herself": m.HandOver(ctx, ada, m.ada),
		"a second owner": m.SetRole(ctx, ada, linus, Owner), "no role": m.SetRole(ctx, ada, linus, "root"), "no history": m.SetHistory(ctx, ada, "some"),
	} {
		if KindOf(err) != Invalid {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, err := range map[string]error{
		"role": m.SetRole(ctx, ada, eve, Moderator), "remove": m.Expel(ctx, ada, eve), "ban": m.Ban(ctx, ada, eve), "own": m.HandOver(ctx, ada, eve),
		"unban": m.Unban(ctx, ada, "eve"), "unban nobody": m.Unban(ctx, ada, "nobody"), "unban a member": m.Unban(ctx, ada, "grace"),
	} {
		if KindOf(err) != NotFound {
			t.Errorf("of a stranger, %s: %v", what, err)
		}
	}
	if _, err := m.MemberNamed(ctx, ada, "eve"); KindOf(err) != NotFound {
		t.Errorf("a stranger is found among the members: %v", err)
	}
	if now := m.roles(t, m.ada); now != before {
		t.Errorf("the room had %s and has %s", before, now)
	}
	for _, event := range []string{"room.remove", "room.ban", "room.own", "room.unban", "room.history"} {
		if found := events(t, m.Store, event); len(found) > 0 {
			t.Errorf("the audit log says %v", found)
		}
	}
	m.whole(t)
}

func TestRolesAndTheOwnershipGoFromHandToHand(t *testing.T) { // R61
	t.Parallel()
	m, linus := openTrio(t)
	ada := m.member(m.ada, m.room)
	must(t, m.SetRole(ctx, ada, m.grace, Moderator))
	n := m.say(linus, m.room, "By Linus")
	must(t, m.Remove(ctx, m.member(m.grace, m.room), n))
	must(t, m.SetRole(ctx, ada, m.grace, Moderator)) // again: nothing happens
	must(t, m.SetRole(ctx, ada, m.grace, Plain))
	if err := m.Remove(ctx, m.member(m.grace, m.room), m.say(linus, m.room, "By Linus, once more")); KindOf(err) != Denied {
		t.Errorf("who is no moderator any more removes a message: %v", err)
	}
	must(t, m.HandOver(ctx, ada, linus))
	if now := m.roles(t, m.grace); now != "ada moderator, grace member, linus owner" {
		t.Errorf("the room has %s", now)
	}
	if err := m.SetRole(ctx, ada, m.grace, Moderator); KindOf(err) != Denied {
		t.Errorf("the old owner appoints a moderator: %v", err)
	}
	must(t, m.Expel(ctx, m.member(linus, m.room), m.ada))
	m.join(m.ada, m.room)
	if now := m.roles(t, m.ada); now != "grace member, linus owner, ada member" {
		t.Errorf("the room has %s", now)
	}
	r := m.room.String()
	for event, want := range map[string][]string{
		"room.role": {fmt.Sprintf("room.role %s %s moderator", r, m.grace), fmt.Sprintf("room.role %s %s member", r, m.grace)},
		"room.own":  {fmt.Sprintf("room.own %s %s", r, linus)}, "room.remove": {fmt.Sprintf("room.remove %s %s", r, m.ada)},
	} {
		if found := events(t, m.Store, event); !slices.Equal(found, want) {
			t.Errorf("the audit log says %v, not %v", found, want)
		}
	}
	m.checkChain(m.room)
	m.whole(t)
	m.reopen()
	walked(t, m.Store)
	if now := m.roles(t, m.ada); now != "grace member, linus owner, ada member" || integrityEvents(t, m.Store) > 0 {
		t.Errorf("after a restart the room has %s", now)
	}
}

func TestWhoOwnsAsManyRoomsAsAnybodyCanIsHandedNoMore(t *testing.T) { // R54
	t.Parallel()
	m := openMeeting(t)
	ada := m.member(m.ada, m.room)
	m.o.LimitScale = 0 // of which nobody can own one
	if err := m.HandOver(ctx, ada, m.grace); KindOf(err) != Conflict {
		t.Errorf("handed over: %v", err)
	}
}

func TestARemovalOpensAnEpochAtTheNextPost(t *testing.T) { // R63, C7
	t.Parallel()
	for name, expel := range map[string]func(*Store, Membership, ID) error{
		"removed": func(s *Store, m Membership, user ID) error { return s.Expel(ctx, m, user) },
		"banned":  func(s *Store, m Membership, user ID) error { return s.Ban(ctx, m, user) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := openMeeting(t)
			m.say(m.ada, m.room, "With Grace")
			must(t, expel(m.Store, m.member(m.ada, m.room), m.grace))
			m.refuses(t, m.grace)
			m.reopen() // the log knows it, not only the memory
			m.say(m.ada, m.room, "Without her")
			m.say(m.ada, m.room, "Still without")
			var epochs int
			must(t, m.intruder().QueryRow("SELECT count(*) FROM room_keys WHERE room_id = ?", m.room).Scan(&epochs))
			if epochs != 2 {
				t.Errorf("%d epochs", epochs)
			}
			var marks int
			must(t, m.intruder().QueryRow("SELECT count(*) FROM marks WHERE room_id = ? AND user_id = ?", m.room, m.grace).Scan(&marks))
			if marks != 0 {
				t.Error("her reading mark is still there")
			}
			v, err := m.View(ctx, m.member(m.ada, m.room))
			must(t, err)
			op := map[string]Op{"removed": OpRemove, "banned": OpBan}[name]
			if i := slices.IndexFunc(v.Page.Lines, func(l Line) bool { return l.Op == op }); i < 0 || v.Page.Lines[i].Who.ID != m.grace {
				t.Errorf("the history does not say that Grace was %s: %+v", name, v.Page.Lines)
			}
			m.checkChain(m.room)
			m.whole(t)
		})
	}
}

func TestABannedPersonComesBackOnlyWhenTheBanIsLifted(t *testing.T) { // R63, T46
	t.Parallel()
	m, linus := openTrio(t)
	ada := m.member(m.ada, m.room)
	code := m.codeOf(m.room)
	must(t, m.Expel(ctx, ada, m.grace))
	m.join(m.grace, m.room) // who was only removed has a valid code
	must(t, m.Ban(ctx, ada, m.grace))
	must(t, m.Ban(ctx, ada, linus))
	_, unknown := m.Join(ctx, By{User: m.grace}, "0000-0000-0000-0000")
	for range 2 {
		if _, err := m.Join(ctx, By{User: m.grace}, code); !errors.Is(err, unknown) || err.Error() != unknown.Error() {
			t.Errorf("a banned person hears %v, with an unknown code %v", err, unknown)
		}
		m.refuses(t, m.grace)
		m.reopen()
		walked(t, m.Store)
	}
	banned := func() (names []string) {
		list, err := m.Banned(ctx, ada)
		must(t, err)
		for _, p := range list {
			names = append(names, p.Username)
		}
		return names
	}
	if list := banned(); !slices.Equal(list, []string{"linus", "grace"}) {
		t.Errorf("banned are %v", list)
	}
	must(t, m.Unban(ctx, ada, "grace"))
	if err := m.Unban(ctx, ada, "grace"); KindOf(err) != NotFound {
		t.Errorf("lifted twice: %v", err)
	}
	if list := banned(); !slices.Equal(list, []string{"linus"}) {
		t.Errorf("banned are %v", list)
	}
	m.refuses(t, m.grace) // not a member yet
	m.join(m.grace, m.room)
	m.say(m.grace, m.room, "Here I am again")
	must(t, m.Ban(ctx, ada, m.grace))
	must(t, m.Unban(ctx, ada, "linus"))
	if list := banned(); !slices.Equal(list, []string{"grace"}) {
		t.Errorf("banned are %v", list)
	}
	m.checkChain(m.room)
	m.whole(t)
	m.reopen()
	walked(t, m.Store)
	if _, err := m.Join(ctx, By{User: m.grace}, code); !errors.Is(err, unknown) {
		t.Errorf("she comes back: %v", err)
	}
	m.join(linus, m.room)
	if integrityEvents(t, m.Store) > 0 {
		t.Error("an alarm without a cause")
	}
}

// Somebody who can write the database but has no key does not undo what the owner has done.
func TestWhatTheOwnerHasDoneIsNotUndoneInTheDatabase(t *testing.T) { // C14
	t.Parallel()
	back := "INSERT INTO memberships (room_id, user_id, role, entry_n, joined_n) VALUES (?1, ?2, 'member', 4, 4)"
	for name, c := range map[string]struct {
		deed       func(m *meeting) error
		statements []string
	}{
		"a removed member's row is put back": {func(m *meeting) error { return m.Expel(ctx, m.member(m.ada, m.room), m.grace) }, []string{back}},
		"a banned member's row is put back":  {func(m *meeting) error { return m.Ban(ctx, m.member(m.ada, m.room), m.grace) }, []string{back}},
		"and the removal deleted": {func(m *meeting) error { return m.Expel(ctx, m.member(m.ada, m.room), m.grace) },
			[]string{back, "DELETE FROM room_log WHERE room_id = ?1 AND op = 4"}},
		"and the ban deleted": {func(m *meeting) error { return m.Ban(ctx, m.member(m.ada, m.room), m.grace) },
			[]string{back, "DELETE FROM room_log WHERE room_id = ?1 AND op = 5"}},
		"and the ban about another": {func(m *meeting) error { return m.Ban(ctx, m.member(m.ada, m.room), m.grace) },
			[]string{back, "UPDATE room_log SET target = zeroblob(16) WHERE room_id = ?1 AND op = 5"}},
		"and the ban a setting": {func(m *meeting) error { return m.Ban(ctx, m.member(m.ada, m.room), m.grace) },
			[]string{back, "UPDATE room_log SET op = 13 WHERE room_id = ?1 AND op = 5"}},
	} {
		for _, running := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, running %v", name, running), func(t *testing.T) {
				t.Parallel()
				m := openMeeting(t)
				must(t, c.deed(m))
				m.say(m.ada, m.room, "After it")
				if !running {
					must(t, m.Close())
				}
				for _, statement := range c.statements {
					if strings.Contains(statement, "?2") {
						m.tamper(1, statement, m.room, m.grace)
					} else {
						m.tamper(1, statement, m.room)
					}
				}
				if !running {
					m.open()
					walked(t, m.Store)
				}
				if _, err := m.Member(ctx, By{User: m.grace}, m.room.String()); KindOf(err) != NotFound {
					t.Errorf("Grace is a member again: %v", err)
				}
				if cards, err := m.Rooms(ctx, m.grace); err != nil || len(cards) > 0 {
					t.Errorf("she sees %v, %v", cards, err)
				}
				eventually(t, "an audit event", func() bool { return integrityEvents(t, m.Store) > 0 })
				if !slices.ContainsFunc(verified(t, m.o).Findings, func(f Finding) bool { return f.Room == m.room.String() }) {
					t.Error("verify finds nothing in the room")
				}
			})
		}
	}
	t.Run("a ban that is deleted lets nobody in by the code", func(t *testing.T) {
		t.Parallel()
		for _, statement := range []string{"DELETE FROM room_log WHERE room_id = ? AND op = 5", "UPDATE room_log SET op = 18 WHERE room_id = ? AND op = 5", "UPDATE room_log SET target = zeroblob(16) WHERE room_id = ? AND op = 5"} {
			for _, running := range []bool{true, false} {
				m := openMeeting(t)
				code := m.codeOf(m.room)
				must(t, m.Ban(ctx, m.member(m.ada, m.room), m.grace))
				m.say(m.ada, m.room, "After it")
				m.tamper(1, statement, m.room)
				if !running {
					m.reopen()
					walked(t, m.Store)
				}
				if _, err := m.Join(ctx, By{User: m.grace}, code); err == nil {
					t.Errorf("%s, running %v: she is in", statement, running)
				}
			}
		}
	})
	t.Run("a role that was taken away is put back", func(t *testing.T) {
		t.Parallel()
		for _, running := range []bool{true, false} {
			m := openMeeting(t)
			ada := m.member(m.ada, m.room)
			must(t, m.SetRole(ctx, ada, m.grace, Moderator)) // 5
			must(t, m.SetRole(ctx, ada, m.grace, Plain))     // 6
			m.say(m.ada, m.room, "After it")
			m.tamper(1, "UPDATE memberships SET role = 'moderator', entry_n = 5 WHERE room_id = ? AND user_id = ?", m.room, m.grace)
			if !running {
				m.reopen()
				walked(t, m.Store)
			}
			for _, more := range []string{"", "DELETE FROM room_log WHERE room_id = ? AND n = 6"} {
				if more != "" {
					m.tamper(1, more, m.room)
				}
				if got, err := m.Member(ctx, By{User: m.grace}, m.room.String()); err == nil && got.Role != Plain {
					t.Errorf("%q, running %v: Grace is %s again", more, running, got.Role)
				}
			}
		}
	})
	t.Run("another person under a name", func(t *testing.T) {
		t.Parallel()
		m, _ := openTrio(t)
		grace := m.envelope("SELECT username_index FROM users WHERE id = ?", m.grace)
		m.tamper(1, "UPDATE users SET username_index = x'00' WHERE id = ?", m.grace)
		m.tamper(1, "UPDATE users SET username_index = ? WHERE username_index = ?", grace, m.service.Index("username", "linus"))
		if user, err := m.MemberNamed(ctx, m.member(m.ada, m.room), "grace"); KindOf(err) != NotFound {
			t.Errorf("by the name of Grace the owner finds %v, %v", user, err)
		}
	})
}

// A room whose owner cannot log in would let nobody in any more, and nobody could change that.
func TestTheOwnerOfARoomIsSomebodyWhoCanLogIn(t *testing.T) { // R63
	t.Parallel()
	m, linus := openTrio(t)
	must(t, m.Disable(ctx, By{}, m.grace))
	ada := m.member(m.ada, m.room)
	if err := m.HandOver(ctx, ada, m.grace); KindOf(err) != Conflict {
		t.Errorf("handed over to a disabled account: %v", err)
	}
	if now := m.roles(t, m.ada); now != "ada owner, grace member, linus member" {
		t.Errorf("the room has %s", now)
	}
	must(t, m.Leave(ctx, ada)) // Grace is the longest member
	if now := m.roles(t, linus); now != "grace member, linus owner" {
		t.Errorf("the room has %s", now)
	}
	must(t, m.Leave(ctx, m.member(linus, m.room)))
	if now := m.roles(t, m.grace); now != "grace owner" { // she may come back
		t.Errorf("the room has %s", now)
	}
	if found := events(t, m.Store, "room.own"); !slices.Equal(found, []string{fmt.Sprintf("room.own %s %s", m.room, linus), fmt.Sprintf("room.own %s %s", m.room, m.grace)}) { // R74
		t.Errorf("the audit log says %v", found)
	}
	m.whole(t)
}

// Who was banned and is gone comes back nowhere; the list of the banned is for who could.
func TestTheListOfTheBannedHoldsWhoCouldComeBack(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	linus, _, _ := m.registered(Registration{Username: "linus", FullName: "Linus Pauling", Email: "linus@example.org", Password: goodPassword})
	m.join(linus.ID, m.room)
	ada := m.member(m.ada, m.room)
	for _, user := range []ID{m.grace, linus.ID} {
		must(t, m.Ban(ctx, ada, user))
	}
	must(t, m.DeleteAccount(ctx, By{User: linus.ID}, false))
	if list, err := m.Banned(ctx, ada); err != nil || len(list) != 1 || list[0].ID != m.grace {
		t.Errorf("banned are %v, %v", list, err)
	}
}

// Nobody learns by a room of others what somebody's user name leads to.
func TestOnlyMembersFindMembersByName(t *testing.T) { // R61
	t.Parallel()
	m := openMeeting(t)
	eve := m.user("eve", "Eve Moneypenny")
	ada := m.member(m.ada, m.room)
	if id, err := m.MemberNamed(ctx, ada, "grace"); err != nil || id != m.grace {
		t.Errorf("Grace is %v, %v", id, err)
	}
	for _, name := range []string{"eve", "nobody", "", "GRACE"} {
		if id, err := m.MemberNamed(ctx, ada, name); KindOf(err) != NotFound {
			t.Errorf("%q is %v, %v", name, id, err)
		}
	}
	if id, err := m.MemberNamed(ctx, Membership{Room: m.room, By: By{User: eve}, Role: Owner}, "grace"); KindOf(err) != NotFound {
		t.Errorf("a stranger finds %v, %v", id, err)
	}
}
