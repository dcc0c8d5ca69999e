package models

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
)

// events lists the audit log as "event object".
func events(t testing.TB, s *Store, event string) (found []string) {
	t.Helper()
	rows, err := s.readPool().Query("SELECT event || ' ' || object FROM audit_log WHERE event LIKE ? ORDER BY n", event)
	must(t, err)
	defer rows.Close()
	for rows.Next() {
		var e string
		must(t, rows.Scan(&e))
		found = append(found, e)
	}
	must(t, rows.Err())
	return found
}

func TestEventsOfManyAtOnceAreOneChain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(t)
	before := len(events(t, s, "%"))
	var work sync.WaitGroup
	for i := range 8 {
		work.Go(func() {
			for j := range 10 {
				s.record(Audit{Event: "test", Actor: w.ada, Session: []byte{byte(i), byte(j)}, Address: "192.0.2.7", Object: fmt.Sprintf("%d %d", i, j), Outcome: "done"})
			}
		})
		work.Go(func() {
			if _, err := s.CreateRoom(ctx, By{User: w.grace}, "One of many"); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	if now := len(events(t, s, "%")); now != before+88 {
		t.Errorf("%d events instead of %d", now, before+88)
	}
	must(t, s.walkAudit(ctx, func(uint64, int64, Audit) {}, func(n uint64, what string) { t.Errorf("n %d: %s", n, what) }))
	w.whole(t)
}

func TestEveryFieldOfAnEventIsInItsChain(t *testing.T) {
	t.Parallel()
	for _, set := range []string{"time_ms = time_ms - 1", "event = 'room.creatf'", "actor = $linus", "session = x'00'", "address = '::1'",
		"object = object || ' '", "outcome = ''", "mac = zeroblob(32)", "(event, address) = (event || 'x', substr(address, 2))", "n = 1000"} {
		t.Run(set, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.tamper(t, "UPDATE audit_log SET "+set+" WHERE n = 2")
			r := verified(t, options(w.dir))
			if len(r.Findings) == 0 || r.Findings[0].Room != "" {
				t.Errorf("verify says %v", r.Findings)
			}
			s, err := Open(options(w.dir))
			if set == "n = 1000" { // then it is the last one
				if errors.Is(err, ErrRollback) {
					return
				}
			}
			must(t, err)
			must(t, s.Close())
		})
	}
}

func TestWhatDestroysIsInTheAuditLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(t)
	old, now, err := s.rotate(ctx)
	must(t, err)
	must(t, s.destroyKey(ctx, old))
	must(t, s.Destroy(ctx, w.member(t, s, w.ada, w.engine)))
	code, err := totp.GenerateCode(w.secret["ada"], time.Now().Add(30*time.Second))
	must(t, err)
	if err := s.Reauthenticate(ctx, By{User: w.ada}, "something else entirely", code, Answer{}); KindOf(err) != Invalid {
		t.Errorf("sudo with a wrong password: %v", err)
	}
	must(t, s.Reauthenticate(ctx, By{User: w.ada}, passphrase, code, Answer{}))
	if err := s.Reauthenticate(ctx, By{User: w.ada}, passphrase, code, Answer{}); KindOf(err) != Invalid {
		t.Errorf("sudo with a used code: %v", err)
	}
	for event, want := range map[string]int{"keys.rotate": 1, "keys.destroy": 1, "room.destroy": 1, "room.create": 2, "room.join": 4, "room.leave": 1, "sudo": 3} {
		if found := events(t, s, event); len(found) != want {
			t.Errorf("%s: %v", event, found)
		}
	}
	if found := events(t, s, "keys.rotate"); found[0] != "keys.rotate "+old+" to "+now {
		t.Errorf("it says %q", found[0])
	}
}

// Somebody who can write the database but has no key lets himself in nowhere, and each try is
// written down.
func TestNobodyLetsHimselfInThroughTheDatabase(t *testing.T) {
	t.Parallel()
	member := "INSERT INTO memberships (room_id, user_id, role, entry_n, joined_n) VALUES ($engine, $linus, "
	for name, c := range map[string]struct {
		statements []string
		event      string
	}{
		"a membership of an entry about somebody else": {statements: []string{member + "'member', 4, 4)"}, event: "integrity.member"},
		"a membership of the owner's entry":            {statements: []string{member + "'owner', 2, 2)"}, event: "integrity.member"},
		"a membership that has ended":                  {statements: []string{member + "'member', 5, 5)"}, event: "integrity.member"},
		"a membership of no entry":                     {statements: []string{member + "'member', 77, 77)"}, event: "integrity.member"},
		"a membership of entry 0":                      {statements: []string{member + "'member', 0, 0)"}, event: "integrity.member"},
		"a membership with an entry of its own": {statements: []string{
			"INSERT INTO room_log SELECT room_id, $last + 1, 2, $linus, $linus, epoch, time_ms, posts, zeroblob(32), zeroblob(32) FROM room_log WHERE room_id = $engine AND n = $last",
			member + "'member', $last + 1, $last + 1)"}, event: "integrity.member"},
		"another room's membership": {statements: []string{
			"INSERT INTO memberships SELECT $engine, user_id, role, entry_n, joined_n FROM memberships WHERE room_id = $library AND user_id = $linus"}, event: "integrity.member"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s := w.start(t)
			w.tamper(t, c.statements...)
			if m, err := s.Member(ctx, By{User: w.linus}, w.engine.String()); KindOf(err) != NotFound {
				t.Errorf("Linus is a member: %+v, %v", m, err)
			}
			cards, err := s.Rooms(ctx, w.linus)
			if err != nil || len(cards) != 1 {
				t.Errorf("Linus has %d rooms, %v", len(cards), err)
			}
			people, err := s.Members(ctx, w.member(t, s, w.ada, w.engine))
			if err != nil || len(people) != 2 {
				t.Errorf("the room has %v, %v", people, err)
			}
			if r := verified(t, options(w.dir)); len(r.Findings) == 0 {
				t.Error("verify finds nothing")
			}
			eventually(t, "an audit event", func() bool { return len(events(t, s, c.event)) > 0 })
		})
	}

	t.Run("a raised role", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		s := w.start(t)
		w.tamper(t, "UPDATE memberships SET role = 'moderator' WHERE room_id = $engine AND user_id = $grace")
		if m, err := s.Member(ctx, By{User: w.grace}, w.engine.String()); err == nil && m.Role != Plain {
			t.Errorf("Grace is %s", m.Role)
		}
		if err := s.Remove(ctx, Membership{Room: w.engine, By: By{User: w.grace}, Role: Moderator}, w.kettle); err == nil {
			t.Error("Grace removes what Ada wrote")
		}
		if err := s.Destroy(ctx, Membership{Room: w.engine, By: By{User: w.grace}, Role: Owner}); err == nil {
			t.Error("Grace destroys the room")
		}
		eventually(t, "an audit event", func() bool { return len(events(t, s, "integrity.member")) == 1 })
	})

	t.Run("sessions", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		s := w.start(t)
		sessions := s.Sessions()
		commit := func(token string, user ID) [32]byte {
			data, err := sessions.Encode(s.o.Now().Add(time.Hour), map[string]any{SessionUser: user.String(), SessionAuth: s.now()})
			must(t, err)
			must(t, sessions.Commit(token, data, time.Time{}))
			return s.SessionHash(token)
		}
		mine, hers := commit("the token of Linus", w.linus), commit("the token of Ada", w.ada)
		old := commit("an old token of Linus", w.linus)
		for name, statement := range map[string]string{
			"relabelled":      fmt.Sprintf("UPDATE sessions SET user_id = $ada WHERE token_hash = x'%x'", mine),
			"her data":        fmt.Sprintf("UPDATE sessions SET data = (SELECT data FROM sessions WHERE token_hash = x'%x'), user_id = $ada WHERE token_hash = x'%x'", hers, mine),
			"a longer life":   fmt.Sprintf("UPDATE sessions SET auth_ms = auth_ms + 1000 WHERE token_hash = x'%x'", mine),
			"an unknown hash": fmt.Sprintf("INSERT INTO sessions SELECT zeroblob(32), user_id, data, auth_ms, seen_ms, NULL, NULL FROM sessions WHERE token_hash = x'%x'", hers),
			"emptied":         fmt.Sprintf("UPDATE sessions SET data = x'' WHERE token_hash = x'%x'", mine),
		} {
			w.tamper(t, "CREATE TABLE kept AS SELECT * FROM sessions", statement)
			if data, found, err := sessions.Find("the token of Linus"); name != "an unknown hash" && (found || err != nil) {
				t.Errorf("%s: found %v, %v", name, data, err)
			}
			if r := verified(t, options(w.dir)); len(r.Findings) != 1 {
				t.Errorf("%s: verify says %v", name, r.Findings)
			}
			w.tamper(t, "DELETE FROM sessions", "INSERT INTO sessions SELECT * FROM kept", "DROP TABLE kept")
		}
		eventually(t, "an audit event", func() bool { return len(events(t, s, "integrity.session")) > 0 })
		if _, found, err := sessions.Find("the token of Linus"); !found || err != nil {
			t.Errorf("the session itself: %v, %v", found, err)
		}
		must(t, sessions.Delete("an old token of Linus"))
		w.tamper(t, fmt.Sprintf("UPDATE sessions SET revoked_ms = NULL WHERE token_hash = x'%x'", old))
		if _, found, _ := sessions.Find("an old token of Linus"); found {
			t.Error("a revoked session is back")
		}
	})

	t.Run("profiles, passwords and factors", func(t *testing.T) {
		t.Parallel()
		for name, statements := range map[string][]string{
			"password":            {"UPDATE users SET password = (SELECT password FROM users WHERE id = $linus) WHERE id = $ada"},
			"password and factor": {"UPDATE users SET (password, totp) = (SELECT password, totp FROM users WHERE id = $linus) WHERE id = $ada"},
			"the whole row but its id": {"UPDATE users SET email_index = id, username_index = id WHERE id = $linus",
				"UPDATE users SET (password, totp, profile) = (SELECT password, totp, profile FROM users WHERE id = $linus) WHERE id = $ada"},
			"the index of the name": {"UPDATE users SET username_index = zeroblob(32) WHERE id = $ada",
				"UPDATE users SET username_index = " + "x'$index' WHERE id = $linus"},
		} {
			w := newWorld(t)
			s := w.start(t)
			index := hex.EncodeToString(s.service.Index("username", "ada")) // in the file for all to see
			for i := range statements {
				statements[i] = strings.ReplaceAll(statements[i], "$index", index)
			}
			w.tamper(t, statements...)
			code, err := totp.GenerateCode(w.secret["linus"], time.Now())
			must(t, err)
			if user, err := s.Authenticate(ctx, By{}, SignIn{Username: "ada", Password: passphrase, Code: code}); err == nil {
				t.Errorf("%s: Linus is %s now", name, user.User.FullName)
			}
			if r := verified(t, options(w.dir)); len(r.Findings) == 0 {
				t.Errorf("%s: verify finds nothing", name)
			}
		}
		w := newWorld(t)
		s := w.start(t)
		w.tamper(t, swapped("profile")...)
		if user, err := s.User(ctx, w.grace); KindOf(err) != SignedOut {
			t.Errorf("Grace is %+v, %v", user, err)
		}
		w.believed(t, s, w.linus, w.library, nothing)
		eventually(t, "an audit event", func() bool { return len(events(t, s, "integrity.profile")) > 0 })
	})

	t.Run("set-up links", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		s := w.start(t)
		w.tamper(t, "DELETE FROM tokens", "INSERT INTO tokens (hash, purpose, expires_ms) VALUES (zeroblob(32), 'setup', 9999999999999)")
		_, err := s.Register(ctx, Registration{Username: "mallory", FullName: "Mallory", Email: "m@example.org", Password: passphrase, Token: hex.EncodeToString(make([]byte, 16))})
		if KindOf(err) != Invalid {
			t.Errorf("registered: %v", err)
		}
		// An invitation that takes the place of a set-up link makes no administrator, nor anybody else.
		_, err = s.SetupToken(ctx)
		must(t, err)
		must(t, s.Promote(ctx, By{}, w.ada))
		invitation, err := s.Invite(ctx, By{User: w.ada}, 5, time.Hour)
		must(t, err)
		id, err := s.Register(ctx, Registration{Username: "mallory", FullName: "Mallory", Email: "m@example.org", Password: passphrase, Token: invitation})
		must(t, err)
		hers := fmt.Sprintf("x'%x'", s.service.TokenHash(string(forInvitation), invitation))
		w.tamper(t, "DELETE FROM tokens WHERE hash = "+hers, "UPDATE tokens SET hash = "+hers+" WHERE purpose = 'setup' AND length(seal) = 32")
		pending, err := s.Pending(ctx, id)
		must(t, err)
		code, err := totp.GenerateCode(pending.Secret, time.Now())
		must(t, err)
		if user, _, err := s.Confirm(ctx, By{}, id, code); err == nil {
			t.Errorf("%+v has an account", user)
		}
	})
}
