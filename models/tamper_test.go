package models

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"conclave/models/cipher"
)

// The tests of this file are about somebody who can write the database but has no key.

func TestAnInsertedMembershipLetsNobodyIn(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	m.say(m.ada, m.room, "Among ourselves")
	eve := m.user("eve", "Eve Moneypenny")
	own := m.create(eve, "Eve's own room") // entry 2 there makes her an owner
	for name, row := range map[string]struct {
		role            string
		entry, joinedAt int
	}{
		"on the entry that made Ada the owner":   {"owner", 2, 2},
		"on the entry by which Grace joined":     {"member", 4, 4},
		"on an entry that does not exist":        {"member", 99, 99},
		"on no entry":                            {"member", 0, 0},
		"on a post":                              {"member", 5, 5},
		"role by one entry, joining by another":  {"owner", 2, 4},
		"with a role that does not exist":        {"root", 4, 4},
		"with numbers below zero":                {"member", -1, -1},
		"on her own entry, from her own room":    {"owner", 2, 2},
		"on the entry that sets the code, n = 3": {"member", 3, 3},
	} {
		t.Run(name, func(t *testing.T) {
			m.tamper(1, "INSERT INTO memberships (room_id, user_id, role, entry_n, joined_n) VALUES (?, ?, ?, ?, ?)", m.room, eve, row.role, row.entry, row.joinedAt)
			m.refuses(t, eve)
			m.tamper(1, "DELETE FROM memberships WHERE room_id = ? AND user_id = ?", m.room, eve)
		})
	}
	t.Run("with the log entry of her own room", func(t *testing.T) {
		m.tamper(1, `INSERT INTO room_log SELECT ?, 6, op, target, actor, epoch, time_ms, posts, payload, mac FROM room_log WHERE room_id = ? AND n = 2`, m.room, own)
		m.tamper(1, "INSERT INTO memberships (room_id, user_id, role, entry_n, joined_n) VALUES (?, ?, 'owner', 6, 6)", m.room, eve)
		m.refuses(t, eve)
		m.tamper(1, "DELETE FROM memberships WHERE room_id = ? AND user_id = ?", m.room, eve)
		m.tamper(1, "DELETE FROM room_log WHERE room_id = ? AND n = 6", m.room)
	})
	t.Run("with a copy of Grace's entry that names her", func(t *testing.T) {
		m.tamper(1, "UPDATE room_log SET target = ?, actor = ? WHERE room_id = ? AND n = 4", eve, eve, m.room)
		m.tamper(1, "UPDATE memberships SET user_id = ? WHERE room_id = ? AND user_id = ?", eve, m.room, m.grace)
		m.refuses(t, eve)
	})
}

// refuses checks every way into a room.
func (m *meeting) refuses(t *testing.T, user ID) {
	t.Helper()
	if _, err := m.Member(t.Context(), By{User: user}, m.room.String()); KindOf(err) != NotFound {
		t.Errorf("the store takes the row for a membership: %v", err)
	}
	rooms, err := m.Rooms(t.Context(), user)
	if err != nil || slices.ContainsFunc(rooms, func(c Card) bool { return c.Room == m.room }) {
		t.Errorf("the room is in the list: %v", err)
	}
	recent, err := m.Recent(t.Context(), user)
	if err != nil || slices.ContainsFunc(recent.Rooms, func(r RecentRoom) bool { return r.Room == m.room }) {
		t.Errorf("the room is in the list beside other rooms: %v", err)
	}
	forged := Membership{Room: m.room, By: By{User: user}, Role: Owner}
	if _, err := m.View(t.Context(), forged); KindOf(err) != NotFound {
		t.Errorf("the room can be viewed: %v", err)
	}
	if _, err := m.Older(t.Context(), forged, 10); KindOf(err) != NotFound {
		t.Errorf("the history can be read: %v", err)
	}
	if _, err := m.After(t.Context(), forged, 0); KindOf(err) != NotFound {
		t.Errorf("the log can be followed: %v", err)
	}
	if _, err := m.Members(t.Context(), forged); KindOf(err) != NotFound {
		t.Errorf("the members can be listed: %v", err)
	}
	if _, err := m.Post(t.Context(), forged, "I am in", ""); KindOf(err) != NotFound {
		t.Errorf("a message can be posted: %v", err)
	}
	if err := m.Leave(t.Context(), forged); KindOf(err) != NotFound {
		t.Errorf("the room can be left: %v", err)
	}
	people, err := m.Members(t.Context(), m.member(m.ada, m.room))
	if err != nil || slices.ContainsFunc(people, func(p Person) bool { return p.ID == user }) {
		t.Errorf("Ada sees %v among the members: %v", user, err)
	}
}

func TestARaisedRoleIsNoRole(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	m.tamper(1, "UPDATE memberships SET role = 'owner' WHERE room_id = ? AND user_id = ?", m.room, m.grace)
	m.refuses(t, m.grace)
	m.tamper(1, "UPDATE memberships SET role = 'owner', entry_n = 2 WHERE room_id = ? AND user_id = ?", m.room, m.grace)
	m.refuses(t, m.grace)
}

func TestARestoredMembershipDoesNotUndoALeave(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	if err := m.Leave(t.Context(), m.member(m.grace, m.room)); err != nil {
		t.Fatal(err)
	}
	m.tamper(1, "INSERT INTO memberships (room_id, user_id, role, entry_n, joined_n) VALUES (?, ?, 'member', 4, 4)", m.room, m.grace)
	m.refuses(t, m.grace)
	// and the honest way is still open: the false row is replaced
	m.join(m.grace, m.room)
	m.say(m.grace, m.room, "Back by the code")
}

func TestAnOldRoleDoesNotComeBack(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	if err := m.Leave(t.Context(), m.member(m.ada, m.room)); err != nil { // entries 5 and 6: Grace becomes the owner
		t.Fatal(err)
	}
	m.join(m.ada, m.room)
	m.tamper(1, "UPDATE memberships SET role = 'owner', entry_n = 2, joined_n = 2 WHERE room_id = ? AND user_id = ?", m.room, m.ada)
	if _, err := m.Member(t.Context(), By{User: m.ada}, m.room.String()); KindOf(err) != NotFound {
		t.Errorf("Ada is the owner again by her first entry: %v", err)
	}
	m.tamper(1, "UPDATE memberships SET role = 'member', entry_n = joined_n WHERE room_id = ? AND user_id = ?", m.room, m.grace)
	if _, err := m.Member(t.Context(), By{User: m.grace}, m.room.String()); KindOf(err) != NotFound {
		t.Errorf("Grace is made less than the log says: %v", err)
	}
}

func TestSwappedProfilesNameNobody(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	m.say(m.ada, m.room, "By Ada")
	profiles := map[ID][]byte{m.ada: m.envelope("SELECT profile FROM users WHERE id = ?", m.grace), m.grace: m.envelope("SELECT profile FROM users WHERE id = ?", m.ada)}
	for id, profile := range profiles {
		m.tamper(1, "UPDATE users SET profile = ? WHERE id = ?", profile, id)
	}
	for _, id := range []ID{m.ada, m.grace} {
		if u, err := m.User(t.Context(), id); KindOf(err) != SignedOut {
			t.Errorf("somebody is logged in as %q: %v", u.FullName, err)
		}
	}
	v, err := m.View(t.Context(), m.member(m.ada, m.room))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range v.Page.Lines {
		if l.Who.FullName != "Unknown person" {
			t.Errorf("entry %d is shown under the name %q", l.N, l.Who.FullName)
		}
	}
	for _, p := range v.People {
		if p.FullName != "Unknown person" {
			t.Errorf("the member list shows %q", p.FullName)
		}
	}
}

func TestAnOlderRevisionOfAProfileIsNotBelievedUnderANewNumber(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	m.tamper(1, "UPDATE users SET revision = 2 WHERE id = ?", m.ada)
	if _, err := m.User(t.Context(), m.ada); KindOf(err) != SignedOut {
		t.Errorf("the profile opens under another revision: %v", err)
	}
}

// A number that is none must not turn the pages of everybody who knows the person into errors.
func TestARevisionThatIsNoNumberNamesNobodyAndStopsNoPage(t *testing.T) {
	t.Parallel()
	for _, revision := range []any{-1, 1 << 40, "x", 1.5} {
		m := openMeeting(t)
		m.say(m.grace, m.room, "By Grace")
		m.tamper(1, "UPDATE users SET revision = ? WHERE id = ?", revision, m.grace)
		m.tamper(1, "INSERT INTO sessions (token_hash, user_id, data, auth_ms, seen_ms) VALUES (zeroblob(32), ?, x'00', ?, 0)", m.grace, revision)
		if _, err := m.User(t.Context(), m.grace); KindOf(err) != SignedOut {
			t.Errorf("%v: Grace is signed in, or nothing at all: %v", revision, err)
		}
		v, err := m.View(t.Context(), m.member(m.ada, m.room))
		if err != nil {
			t.Fatalf("%v: Ada's room: %v", revision, err)
		}
		if last := v.Page.Lines[len(v.Page.Lines)-1]; last.Who.FullName != "Unknown person" || last.Body != "By Grace" {
			t.Errorf("%v: the message is shown as %+v", revision, last)
		}
		found := 0
		for _, f := range verified(t, options(m.dir)).Findings {
			if strings.Contains(f.What, m.grace.String()) {
				found++
			}
		}
		if found != 2 {
			t.Errorf("%v: verify finds %d things about Grace, want her account and a session", revision, found)
		}
	}
}

func TestCredentialsDoNotMoveBetweenPeople(t *testing.T) {
	t.Parallel()
	a := openArchive(t)
	_, adaSecret, adaCodes := a.registered(Registration{Username: "ada", FullName: "Ada Lovelace", Email: "ada@example.org", Password: goodPassword})
	_, eveSecret, eveCodes := a.registered(Registration{Username: "eve", FullName: "Eve Moneypenny", Email: "eve@example.org", Password: "green ladder beside the well"})
	backup := a.rows("users")
	signIn := func(password, code string) (Arrival, error) {
		if _, err := a.intruder().Exec("DELETE FROM attempts"); err != nil { // what refuses is not the wait
			t.Fatal(err)
		}
		return a.Authenticate(t.Context(), By{}, SignIn{Username: "ada", Password: password, Code: code})
	}
	for name, c := range map[string]struct{ move, secret string }{
		"her password and authenticator":   {"UPDATE users SET password = (SELECT password FROM users WHERE username_index = ?2), totp = (SELECT totp FROM users WHERE username_index = ?2) WHERE username_index = ?1", eveSecret},
		"her password":                     {"UPDATE users SET password = (SELECT password FROM users WHERE username_index = ?2) WHERE username_index = ?1", adaSecret},
		"her profile, password and device": {"UPDATE users SET profile = (SELECT profile FROM users WHERE username_index = ?2), password = (SELECT password FROM users WHERE username_index = ?2), totp = (SELECT totp FROM users WHERE username_index = ?2) WHERE username_index = ?1", eveSecret},
	} {
		t.Run(name, func(t *testing.T) {
			a.tamper(1, c.move, a.service.Index("username", "ada"), a.service.Index("username", "eve"))
			a.tamper(2, "UPDATE users SET totp_last_step = 0")
			if u, err := signIn("green ladder beside the well", codeOf(t, c.secret, 0)); err == nil {
				t.Errorf("Eve signs in as %s", u.User.Username)
			}
			a.restore("users", backup)
		})
	}
	t.Run("her authenticator", func(t *testing.T) {
		a.tamper(1, "UPDATE users SET totp = (SELECT totp FROM users WHERE username_index = ?2), totp_last_step = 0 WHERE username_index = ?1", a.service.Index("username", "ada"), a.service.Index("username", "eve"))
		if _, err := signIn(goodPassword, codeOf(t, eveSecret, 0)); err == nil {
			t.Error("Ada's password and Eve's authenticator let in")
		}
		a.restore("users", backup)
	})
	t.Run("the name itself", func(t *testing.T) {
		a.tamper(1, "UPDATE users SET username_index = x'00' WHERE username_index = ?", a.service.Index("username", "ada"))
		a.tamper(1, "UPDATE users SET username_index = ? WHERE username_index = ?", a.service.Index("username", "ada"), a.service.Index("username", "eve"))
		a.tamper(2, "UPDATE users SET totp_last_step = 0")
		if u, err := signIn("green ladder beside the well", codeOf(t, eveSecret, 0)); err == nil {
			t.Errorf("Eve signs in as ada and becomes %s", u.User.Username)
		}
		a.restore("users", backup)
	})
	t.Run("her recovery codes", func(t *testing.T) {
		a.tamper(10, "DELETE FROM recovery_codes WHERE user_id = (SELECT id FROM users WHERE username_index = ?)", a.service.Index("username", "ada"))
		a.tamper(10, "UPDATE recovery_codes SET user_id = (SELECT id FROM users WHERE username_index = ?)", a.service.Index("username", "ada"))
		for _, code := range []string{eveCodes[0], adaCodes[0]} {
			if _, err := signIn(goodPassword, code); err == nil {
				t.Errorf("a moved recovery code lets in")
			}
		}
	})
	if _, err := signIn(goodPassword, codeOf(t, adaSecret, 1)); err != nil {
		t.Errorf("Ada herself: %v", err)
	}
}

// rows and restore keep a table's rows and put them back.
func (a *archive) rows(table string) string {
	a.t.Helper()
	copied := "kept_" + table
	if _, err := a.intruder().Exec(fmt.Sprintf("DROP TABLE IF EXISTS %[1]s; CREATE TABLE %[1]s AS SELECT * FROM %[2]s", copied, table)); err != nil {
		a.t.Fatal(err)
	}
	return copied
}

func (a *archive) restore(table, copied string) {
	a.t.Helper()
	if _, err := a.intruder().Exec(fmt.Sprintf("REPLACE INTO %s SELECT * FROM %s", table, copied)); err != nil {
		a.t.Fatal(err)
	}
}

func TestAForgedOrRelabelledSessionIsNoSession(t *testing.T) {
	t.Parallel()
	a := openArchive(t)
	ada, eve := a.user("ada", "Ada Lovelace"), a.user("eve", "Eve Moneypenny")
	commit := func(token string, user ID) {
		t.Helper()
		data, err := a.Sessions().Encode(time.Now().Add(time.Hour), map[string]any{SessionUser: user.String(), SessionAuth: a.now()})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Sessions().Commit(token, data, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	commit("token of Ada", ada)
	commit("token of Eve", eve)
	found := func(token string) bool {
		t.Helper()
		_, found, err := a.Sessions().Find(token)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if !found("token of Ada") || !found("token of Eve") {
		t.Fatal("the sessions were not stored")
	}
	kept := a.rows("sessions")
	hash := a.SessionHash("token of Eve")
	for name, statement := range map[string]string{
		"handed to another user":                 "UPDATE sessions SET user_id = ?2 WHERE token_hash = ?1",
		"with the data of another session":       "UPDATE sessions SET data = (SELECT data FROM sessions WHERE user_id = ?2) WHERE token_hash = ?1",
		"with user and data of another session":  "UPDATE sessions SET user_id = ?2, data = (SELECT data FROM sessions WHERE user_id = ?2) WHERE token_hash = ?1",
		"all of it from another session":         "UPDATE sessions SET user_id = ?2, auth_ms = (SELECT auth_ms FROM sessions WHERE user_id = ?2), data = (SELECT data FROM sessions WHERE user_id = ?2) WHERE token_hash = ?1",
		"with a longer absolute lifetime":        "UPDATE sessions SET auth_ms = auth_ms + 86400000 WHERE token_hash = ?1",
		"without data":                           "UPDATE sessions SET data = x'' WHERE token_hash = ?1",
		"one byte of the data changed":           "UPDATE sessions SET data = substr(data, 1, 40) || x'00' || substr(data, 42) WHERE token_hash = ?1",
		"for a user who does not exist any more": "UPDATE sessions SET user_id = randomblob(16) WHERE token_hash = ?1",
	} {
		t.Run(name, func(t *testing.T) {
			a.tamper(1, statement, hash[:], ada)
			if found("token of Eve") {
				t.Error("it is a session")
			}
			a.restore("sessions", kept)
		})
	}
	t.Run("revoked and brought back", func(t *testing.T) {
		if err := a.Sessions().Delete("token of Eve"); err != nil {
			t.Fatal(err)
		}
		a.tamper(1, "UPDATE sessions SET revoked_ms = NULL WHERE token_hash = ?", hash[:])
		if found("token of Eve") {
			t.Error("it is a session")
		}
	})
	t.Run("a plain hash instead of the keyed one", func(t *testing.T) {
		made := digest("chosen by Eve")
		a.tamper(1, "INSERT INTO sessions SELECT ?, user_id, data, auth_ms, seen_ms, NULL, NULL FROM sessions WHERE user_id = ?", made[:], ada)
		if found("chosen by Eve") {
			t.Error("it is a session")
		}
	})
	if !found("token of Ada") {
		t.Error("Ada's own session is gone")
	}
}

func TestARevokedSessionIsNotRevivedByALateCommit(t *testing.T) {
	t.Parallel()
	a := openArchive(t)
	ada := a.user("ada", "Ada Lovelace")
	data, err := a.Sessions().Encode(time.Now().Add(time.Hour), map[string]any{SessionUser: ada.String(), SessionAuth: a.now()})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []func() error{
		func() error { return a.Sessions().Commit("token", data, time.Now().Add(time.Hour)) },
		func() error { return a.Sessions().Delete("token") },
		func() error { return a.Sessions().Commit("token", data, time.Now().Add(time.Hour)) },
		func() error { return a.TouchSession(t.Context(), a.SessionHash("another")) },
	} {
		if err := step(); err != nil && KindOf(err) != SignedOut {
			t.Fatal(err)
		}
	}
	if _, found, err := a.Sessions().Find("token"); found || err != nil {
		t.Errorf("the session lives again (%v)", err)
	}
	if _, err := a.SessionEnd(t.Context(), a.SessionHash("token")); KindOf(err) != SignedOut {
		t.Errorf("the end of the session: %v", err)
	}
}

// Whoever asks for a passkey's challenge gets a session, signed in or not: such rows must not pile up.
func TestSessionsOfNobodyGoAfterAnHour(t *testing.T) {
	t.Parallel()
	a := openArchive(t)
	ada := a.user("ada", "Ada Lovelace")
	for token, values := range map[string]map[string]any{"of Ada": {SessionUser: ada.String(), SessionAuth: a.now()}, "of nobody": {SessionAuth: a.now()}} {
		data, err := a.Sessions().Encode(time.Now().Add(time.Hour), values)
		must(t, err)
		must(t, a.Sessions().Commit(token, data, time.Now().Add(time.Hour)))
	}
	for _, c := range []struct {
		after time.Duration
		left  int
	}{{anonymousLife / 2, 2}, {anonymousLife + time.Minute, 1}, {25 * time.Hour, 0}} {
		a.ahead.Store(int64(c.after))
		must(t, a.purge(t.Context()))
		if left := a.count("SELECT count(*) FROM sessions"); left != c.left {
			t.Errorf("after %v: %d rows, want %d", c.after, left, c.left)
		}
	}
}

func TestTheEleventhSessionEndsTheOldest(t *testing.T) { // R29
	t.Parallel()
	a := openArchive(t)
	ada, grace := a.user("ada", "Ada Lovelace"), a.user("grace", "Grace Hopper")
	commit := func(token string, user ID, auth int64) {
		t.Helper()
		data, err := a.Sessions().Encode(time.Now().Add(time.Hour), map[string]any{SessionUser: user.String(), SessionAuth: auth})
		if err == nil {
			err = a.Sessions().Commit(token, data, time.Now().Add(time.Hour))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	start := a.now()
	commit("of Grace", grace, start-10)
	for i := range 11 {
		commit(fmt.Sprintf("of Ada %d", i), ada, start+int64(i/2)) // some in the same millisecond
	}
	for i := range 11 {
		if _, found, err := a.Sessions().Find(fmt.Sprintf("of Ada %d", i)); found != (i > 0) || err != nil {
			t.Errorf("session %d: %v, %v", i, found, err)
		}
	}
	if _, found, _ := a.Sessions().Find("of Grace"); !found {
		t.Error("somebody else's session has ended")
	}
}

func TestAMovedCodeLeadsNowhere(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	eve := m.user("eve", "Eve Moneypenny")
	own := m.create(eve, "Eve's own room")
	hers := m.codeOf(own)
	zoe := m.user("zoe", "Zoe Washburne")
	index := m.envelope("SELECT code_index FROM rooms WHERE id = ?", own)
	m.tamper(1, "UPDATE rooms SET code_index = NULL WHERE id = ?", own)
	m.tamper(1, "UPDATE rooms SET code_index = ? WHERE id = ?", index, m.room)
	if room, err := m.Join(t.Context(), By{User: zoe}, hers); KindOf(err) != NotFound {
		t.Errorf("the code of one room opens %v: %v", room, err)
	}
	m.tamper(1, "UPDATE rooms SET (code, code_n) = (SELECT code, code_n FROM rooms WHERE id = ?) WHERE id = ?", own, m.room)
	if room, err := m.Join(t.Context(), By{User: zoe}, hers); KindOf(err) != NotFound {
		t.Errorf("with its envelope, the code of one room opens %v: %v", room, err)
	}
}

func TestAMovedRoomKeyOpensNothing(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	m.say(m.ada, m.room, "Sealed")
	other := m.create(m.ada, "Another room")
	m.say(m.ada, other, "Sealed too")
	m.tamper(1, "UPDATE room_keys SET wrapped = (SELECT wrapped FROM room_keys WHERE room_id = ?) WHERE room_id = ?", other, m.room)
	m.reopen()
	if _, err := m.View(t.Context(), m.member(m.ada, m.room)); KindOf(err) != Conflict {
		t.Errorf("the room opens: %v", err)
	}
	if got := m.history(m.ada, other); !slices.Equal(got, []string{"Sealed too"}) {
		t.Errorf("the other room shows %q", got)
	}
	cards, err := m.Rooms(t.Context(), m.ada)
	if err != nil || len(cards) != 2 {
		t.Fatalf("%d cards, %v", len(cards), err)
	}
	for _, c := range cards {
		if c.Broken != (c.Room == m.room) || c.Broken && c.Name != "" {
			t.Errorf("the list shows %+v", c)
		}
	}
	recent, err := m.Recent(t.Context(), m.ada)
	if err != nil || len(recent.Rooms) != 1 || recent.Rooms[0].Name != "Another room" {
		t.Errorf("beside a room, the list shows %+v, %v", recent.Rooms, err)
	}
}

func TestOneFlippedByteDamagesOneMessageOnly(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	numbers := map[string]uint64{}
	for _, body := range []string{"First", "Second", "Third"} {
		numbers[body] = m.say(m.ada, m.room, body)
	}
	envelope := m.envelope("SELECT envelope FROM messages WHERE room_id = ? AND n = ?", m.room, numbers["Second"])
	for at := range envelope {
		flipped := slices.Clone(envelope)
		flipped[at] ^= 0x40
		m.tamper(1, "UPDATE messages SET envelope = ? WHERE room_id = ? AND n = ?", flipped, m.room, numbers["Second"])
		if got := m.history(m.ada, m.room); !slices.Equal(got, []string{"First", "DAMAGED", "Third"}) {
			t.Fatalf("byte %d flipped: the room shows %q", at, got)
		}
	}
	// even one that the server itself could have sealed for this place, but did not record
	key, err := m.roomKey(t.Context(), m.read.Statement.ConnPool, m.room, 1)
	if err != nil {
		t.Fatal(err)
	}
	e := m.rawLog(m.room)[numbers["Second"]-1].link
	unrecorded, err := key.SealMessage(cipher.MessagePlace{Author: m.ada, N: e.N, Created: e.Time}, []byte("Never recorded"))
	if err != nil {
		t.Fatal(err)
	}
	for name, changed := range map[string][]byte{
		"unrecorded": unrecorded, "empty": {}, "cut": envelope[:len(envelope)-1], "longer": append(slices.Clone(envelope), 0), "of another message": m.envelope("SELECT envelope FROM messages WHERE n = ?", numbers["First"]),
		"the tag alone": envelope[len(envelope)-32:],
	} {
		m.tamper(1, "UPDATE messages SET envelope = ? WHERE room_id = ? AND n = ?", changed, m.room, numbers["Second"])
		if got := m.history(m.ada, m.room); !slices.Equal(got, []string{"First", "DAMAGED", "Third"}) {
			t.Errorf("%s: the room shows %q", name, got)
		}
	}
	m.tamper(1, "DELETE FROM messages WHERE room_id = ? AND n = ?", m.room, numbers["Second"])
	if got := m.history(m.ada, m.room); !slices.Equal(got, []string{"First", "DAMAGED", "Third"}) {
		t.Errorf("deleted: the room shows %q", got)
	}
	m.say(m.ada, m.room, "The room goes on")
}

func TestAPostWhoseRecordWasChangedIsNotShown(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	n := m.say(m.ada, m.room, "By Ada, now")
	m.say(m.grace, m.room, "After it")
	kept := m.rows("room_log")
	for name, statement := range map[string]string{
		"the author":  "UPDATE room_log SET actor = ?3 WHERE room_id = ?1 AND n = ?2",
		"the time":    "UPDATE room_log SET time_ms = time_ms - 3600000 WHERE room_id = ?1 AND n = ?2",
		"the epoch":   "UPDATE room_log SET epoch = epoch + 1 WHERE room_id = ?1 AND n = ?2",
		"the count":   "UPDATE room_log SET posts = posts + 1 WHERE room_id = ?1 AND n = ?2",
		"the payload": "UPDATE room_log SET payload = zeroblob(32) WHERE room_id = ?1 AND n = ?2",
		"the target":  "UPDATE room_log SET target = ?3 WHERE room_id = ?1 AND n = ?2",
		"the mac":     "UPDATE room_log SET mac = zeroblob(32) WHERE room_id = ?1 AND n = ?2",
	} {
		t.Run(name, func(t *testing.T) {
			m.tamper(1, statement, m.room, n, m.grace)
			if got := m.history(m.ada, m.room); got[0] != "DAMAGED" {
				t.Errorf("the room shows %q", got)
			}
			m.restore("room_log", kept)
		})
	}
	t.Run("two posts exchanged", func(t *testing.T) {
		for _, table := range []string{"room_log", "messages"} {
			m.tamper(1, fmt.Sprintf("UPDATE %s SET n = 1000 WHERE room_id = ? AND n = ?", table), m.room, n)
			m.tamper(1, fmt.Sprintf("UPDATE %s SET n = ? WHERE room_id = ? AND n = ?", table), n, m.room, n+1)
			m.tamper(1, fmt.Sprintf("UPDATE %s SET n = ? WHERE room_id = ? AND n = 1000", table), n+1, m.room)
		}
		if got := m.history(m.ada, m.room); !slices.Equal(got, []string{"DAMAGED", "DAMAGED"}) {
			t.Errorf("the room shows %q", got)
		}
	})
}

func TestAMessageCopiedToAnotherRoomIsNotShownThere(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	other := m.create(m.ada, "Another room") // has entries 1 to 3
	m.join(m.grace, other)                   // 4
	m.say(m.ada, m.room, "Only for the engine room")
	m.say(m.ada, other, "Something else") // 5 in both
	m.tamper(1, "UPDATE messages SET envelope = (SELECT envelope FROM messages WHERE room_id = ? AND n = 5) WHERE room_id = ? AND n = 5", m.room, other)
	m.tamper(1, "UPDATE room_log SET (op, target, actor, epoch, time_ms, posts, payload, mac) = (SELECT op, target, actor, epoch, time_ms, posts, payload, mac FROM room_log WHERE room_id = ? AND n = 5) WHERE room_id = ? AND n = 5", m.room, other)
	if got := m.history(m.grace, other); !slices.Equal(got, []string{"DAMAGED"}) {
		t.Errorf("the room shows %q", got)
	}
}

func TestALogChangedBehindTheServersBackIsNotContinued(t *testing.T) {
	t.Parallel()
	for name, statements := range map[string][]string{
		"the head moved on":   {"UPDATE rooms SET head_n = head_n + 1 WHERE id = ?"},
		"the head moved back": {"UPDATE rooms SET head_n = head_n - 1, head_mac = (SELECT mac FROM room_log l WHERE l.room_id = rooms.id AND l.n = rooms.head_n - 1) WHERE id = ?"},
		"another head MAC":    {"UPDATE rooms SET head_mac = randomblob(32) WHERE id = ?"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := openMeeting(t)
			m.say(m.ada, m.room, "Before")
			for _, s := range statements {
				m.tamper(1, s, m.room)
			}
			if n, err := m.Post(t.Context(), m.member(m.ada, m.room), "After", ""); err == nil {
				t.Errorf("the post became number %d", n)
			}
		})
	}
	t.Run("while it was down", func(t *testing.T) {
		t.Parallel()
		m := openMeeting(t)
		m.say(m.ada, m.room, "Before")
		m.tamper(1, "UPDATE room_log SET time_ms = 0 WHERE room_id = ? AND n = 5", m.room)
		m.reopen()
		if _, err := m.Post(t.Context(), m.member(m.ada, m.room), "After", ""); KindOf(err) != Denied {
			t.Errorf("a post on a damaged head: %v", err)
		}
	})
}

func TestWhatTheIntruderDoesIsInTheLogWithoutSecrets(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	m.tamper(1, "UPDATE memberships SET role = 'owner' WHERE user_id = ?", m.grace)
	m.Member(t.Context(), By{User: m.grace}, m.room.String())
	m.tamper(1, "UPDATE users SET profile = x'00' WHERE id = ?", m.ada)
	m.User(t.Context(), m.ada)
	for _, want := range []string{"a membership is not what the room's log says", "class=profile"} {
		if !strings.Contains(m.log.String(), want) {
			t.Errorf("the log does not say %q", want)
		}
	}
}
