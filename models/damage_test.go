package models

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A page that is read while somebody edits may show the text before or the text after, and
// neither is damage.
func TestReadingWhileSomebodyEditsRaisesNoAlarm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(t)
	ada := w.member(t, s, w.ada, w.engine)
	stop := time.Now().Add(1500 * time.Millisecond)
	var work sync.WaitGroup
	work.Go(func() {
		for i := 0; time.Now().Before(stop); i++ {
			if err := s.Edit(ctx, ada, w.kettle, fmt.Sprintf("the kettle is on %d", i)); err != nil {
				t.Error(err)
			}
			n, err := s.Post(ctx, ada, "short-lived", "")
			if err = errors.Join(err, s.Remove(ctx, ada, n)); err != nil {
				t.Error(err)
			}
		}
	})
	damaged := make(chan Line, 1)
	for range 3 {
		work.Go(func() {
			for time.Now().Before(stop) {
				v, err := s.View(ctx, ada)
				if err != nil {
					t.Error(err)
				}
				m, err := s.Message(ctx, ada, w.kettle)
				if err != nil {
					t.Error(err)
				}
				for _, l := range append(v.Page.Lines, m) {
					if l.Damaged || l.Missing > 0 {
						select {
						case damaged <- l:
						default:
						}
					}
				}
			}
		})
	}
	work.Wait()
	select {
	case l := <-damaged:
		t.Errorf("a false alarm: %+v", l)
	default:
	}
	if damage, harmed := s.proofs.status(w.engine); damage != "" || harmed || integrityEvents(t, s) != 0 {
		t.Errorf("a false alarm: %q, %v, %d events", damage, harmed, integrityEvents(t, s))
	}
	w.whole(t)
}

// verify walks beside a server at work, slice by slice, and never takes work for damage.
func TestVerifyBesideAServerAtWorkFindsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(t)
	stop := time.Now().Add(3 * time.Second)
	working := func() bool { return time.Now().Before(stop) }
	var work sync.WaitGroup
	fail := func(what string, err error) {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, user := range []ID{w.ada, w.grace} {
		work.Go(func() {
			m := w.member(t, s, user, w.engine)
			for i := 0; working(); i++ {
				n, err := s.Post(ctx, m, fmt.Sprintf("message %d", i), "")
				fail("post", err)
				if i%3 == 0 {
					fail("edit", s.Edit(ctx, m, n, "something else"))
				}
				if i%4 == 0 {
					fail("remove", s.Remove(ctx, m, n))
				}
			}
		})
	}
	work.Go(func() {
		for working() {
			_, err := s.Join(ctx, By{User: w.linus}, w.codes["engine"])
			fail("join", err)
			m, err := s.Member(ctx, By{User: w.linus}, w.engine.String())
			fail("member", err)
			fail("leave", s.Leave(ctx, m))
		}
	})
	work.Go(func() {
		for working() {
			_, _, err := s.rotate(ctx)
			fail("rotate", err)
			time.Sleep(50 * time.Millisecond)
		}
	})
	work.Go(func() {
		for working() {
			room, err := s.CreateRoom(ctx, By{User: w.linus}, "For a moment")
			fail("create", err)
			m, err := s.Member(ctx, By{User: w.linus}, room.String())
			fail("member", err)
			_, err = s.Post(ctx, m, "gone soon", "")
			fail("post", err)
			fail("destroy", s.Destroy(ctx, m))
			time.Sleep(20 * time.Millisecond)
		}
	})
	work.Go(func() {
		sessions := s.Sessions()
		for i := 0; working(); i++ {
			token := fmt.Sprintf("token-%d", i)
			data, err := sessions.Encode(s.o.Now().Add(time.Hour), map[string]any{SessionUser: w.ada.String(), SessionAuth: s.now()})
			fail("encode", err)
			fail("commit", sessions.Commit(token, data, time.Time{}))
			fail("anchors", s.writeAnchors(ctx))
			time.Sleep(5 * time.Millisecond)
		}
	})
	walks := 0
	for ; working(); walks++ {
		r := verified(t, options(w.dir))
		for _, f := range r.Findings {
			t.Errorf("a false finding: %v", f)
		}
		if t.Failed() {
			break
		}
	}
	work.Wait()
	t.Logf("%d walks", walks)
	w.whole(t)
	if integrityEvents(t, s) != 0 {
		t.Error("a false alarm is in the audit log")
	}
}

// Who left a room cannot let himself in again by taking back what the log says about it.
func TestADepartedMemberWhoDeletesHisDepartureStaysOut(t *testing.T) {
	t.Parallel()
	back := "INSERT INTO memberships (room_id, user_id, role, entry_n, joined_n) VALUES ($engine, $linus, 'member', 5, 5)"
	for name, statement := range map[string]string{
		"deleted":           "DELETE FROM room_log WHERE room_id = $engine AND n = $left",
		"about another":     "UPDATE room_log SET target = zeroblob(16) WHERE room_id = $engine AND n = $left",
		"another operation": "UPDATE room_log SET op = 12 WHERE room_id = $engine AND n = $left",
	} {
		t.Run(name+", while the server runs", func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s := w.start(t)
			w.tamper(t, statement, back)
			w.staysOut(t, s)
		})
		t.Run(name+", before the start", func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.tamper(t, statement, back)
			w.staysOut(t, w.start(t))
		})
	}
}

func (w *world) staysOut(t *testing.T, s *Store) {
	t.Helper()
	m, err := s.Member(ctx, By{User: w.linus}, w.engine.String())
	if KindOf(err) != NotFound {
		t.Errorf("Linus is a member again: %v, %v", m.Role, err)
	}
	cards, err := s.Rooms(ctx, w.linus)
	must(t, err)
	for _, c := range cards {
		if c.Room == w.engine {
			t.Errorf("Linus sees %q in his list", c.Name)
		}
	}
	eventually(t, "an audit event", func() bool { return integrityEvents(t, s) > 0 })
}

// One room that cannot be read at all must not keep the others from being walked.
func TestOneUnreadableRoomDoesNotStopTheWalk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second := "$engine", "$library"
	if string(w.library[:]) < string(w.engine[:]) {
		first, second = second, first
	}
	w.tamper(t, "UPDATE room_log SET time_ms = 'noon' WHERE room_id = "+first+" AND n = 4",
		"UPDATE messages SET envelope = x'' WHERE room_id = "+second)
	s := opened(t, options(w.dir))
	harmed := w.engine
	if second == "$library" {
		harmed = w.library
	}
	eventually(t, "the walk through the second room", func() bool {
		_, bad := s.proofs.status(harmed)
		return bad
	})
}

// The room says that it was harmed and takes no more entries when its log was; when one message
// was, it goes on.
func TestDamageOfTheLogClosesTheRoomForWriting(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.tamper(t, "DELETE FROM room_log WHERE room_id = $engine AND n = $kettle")
	s := w.start(t)
	ada := w.member(t, s, w.ada, w.engine)
	v, err := s.View(ctx, ada)
	if err != nil || !v.ReadOnly || !v.Harmed {
		t.Errorf("read only %v, harmed %v, %v", v.ReadOnly, v.Harmed, err)
	}
	if _, err := s.Post(ctx, ada, "still there?", ""); KindOf(err) != Denied {
		t.Errorf("posting: %v", err)
	}
	if err := s.Edit(ctx, ada, w.last, "something else"); KindOf(err) != Denied {
		t.Errorf("editing: %v", err)
	}
	if err := s.Leave(ctx, w.member(t, s, w.grace, w.engine)); KindOf(err) != Denied {
		t.Errorf("leaving: %v", err)
	}
	gaps := 0
	for _, l := range v.Page.Lines {
		if l.Missing > 0 {
			gaps++
			if l.N != w.kettle || l.Missing != 1 {
				t.Errorf("the gap is %+v", l)
			}
		}
	}
	if gaps != 1 {
		t.Errorf("%d gaps", gaps)
	}

	other := newWorld(t)
	other.tamper(t, "UPDATE messages SET envelope = x'' WHERE room_id = $engine AND n = $kettle")
	s = other.start(t)
	ada = other.member(t, s, other.ada, other.engine)
	if v, err = s.View(ctx, ada); err != nil || v.ReadOnly || !v.Harmed {
		t.Errorf("read only %v, harmed %v, %v", v.ReadOnly, v.Harmed, err)
	}
	if _, err := s.Post(ctx, ada, "still there?", ""); err != nil {
		t.Error(err)
	}
	for what, err := range map[string]error{"edit": s.Edit(ctx, ada, other.kettle, "the kettle"), "remove": s.Remove(ctx, ada, other.kettle)} {
		if KindOf(err) != Conflict {
			t.Errorf("%s of a damaged message: %v", what, err)
		}
	}
}

// The same alarm is written down once a minute, however often somebody looks.
func TestTheSameDamageIsWrittenDownOnceAMinute(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(t)
	w.tamper(t, "UPDATE messages SET envelope = x'' WHERE room_id = $engine AND n = $kettle")
	ada := w.member(t, s, w.ada, w.engine)
	for range 20 {
		if _, err := s.View(ctx, ada); err != nil {
			t.Fatal(err)
		}
	}
	must(t, s.Close())
	var events []string
	db := w.sql(t)
	rows, err := db.Query("SELECT event || ' ' || object FROM audit_log WHERE event LIKE 'integrity.%'")
	must(t, err)
	for rows.Next() {
		var e string
		must(t, rows.Scan(&e))
		events = append(events, e)
	}
	if len(events) != 1 || events[0] != fmt.Sprintf("integrity.message %s %d", w.engine, w.kettle) {
		t.Errorf("the audit log holds %v", events)
	}
}

// toSchemaFour takes back what migration 5 has made.
var toSchemaFour = []string{
	"DROP TABLE attempts", "DROP TABLE devices", "DROP TABLE passkeys", "DROP TABLE knocks",
	"ALTER TABLE users DROP COLUMN login_ms", "ALTER TABLE users DROP COLUMN login_address",
	"ALTER TABLE tokens DROP COLUMN user_id", "ALTER TABLE tokens DROP COLUMN created_ms", "ALTER TABLE tokens DROP COLUMN created_by",
	"ALTER TABLE registrations ADD COLUMN token BLOB", "ALTER TABLE tokens DROP COLUMN most", "ALTER TABLE tokens DROP COLUMN uses", "ALTER TABLE tokens DROP COLUMN revoked_ms", "ALTER TABLE tokens DROP COLUMN seal",
	"ALTER TABLE sessions DROP COLUMN news", "ALTER TABLE rooms DROP COLUMN history", "ALTER TABLE rooms DROP COLUMN history_n",
	"DROP INDEX audit_log_event", "DROP INDEX audit_log_actor", "DROP INDEX audit_log_first", "DROP INDEX audit_log_second", "DROP INDEX room_log_codes", "DROP INDEX room_log_joins",
	"DROP INDEX room_log_settings",
	"DROP INDEX room_log_leaves", "CREATE INDEX room_log_leaves ON room_log (room_id, n) WHERE op = 3", "PRAGMA user_version = 4",
}

// A database of the version before this one has neither anchors nor an audit log.
func TestADatabaseOfTheVersionBeforeStartsWithoutAnAlarm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	must(t, os.Remove(filepath.Join(w.dir, anchorsName)))
	w.tamper(t, toSchemaFour...)
	w.tamper(t, "DROP TABLE marks", "ALTER TABLE users DROP COLUMN shows_typing", "DROP TABLE audit_log", "DROP INDEX room_log_changes", "DROP INDEX room_log_epochs", "DROP INDEX room_log_leaves", "ALTER TABLE rooms DROP COLUMN state",
		"ALTER TABLE rooms ADD COLUMN epoch_stale INTEGER NOT NULL DEFAULT 0", "PRAGMA user_version = 1")
	s := w.start(t)
	w.believed(t, s, w.ada, w.engine, nothing)
	must(t, s.Close())
	w.whole(t)
}

// A room whose current key is damaged says so in a sentence; it is not a fault of the server.
func TestWritingIntoARoomWithoutItsKeyIsAnErrorOneCanRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.tamper(t, "UPDATE room_keys SET wrapped = substr(wrapped, 1, 100) WHERE room_id = $engine AND epoch = 2")
	s := w.start(t)
	_, err := s.Post(ctx, w.member(t, s, w.ada, w.engine), "is anybody here?", "")
	if kind := KindOf(err); kind != Conflict && kind != Denied {
		t.Errorf("posting: %v", err)
	}
	if err != nil && strings.Contains(err.Error(), "wrong key") {
		t.Errorf("the error tells how it failed: %v", err)
	}
	cards, err := s.Rooms(ctx, w.ada)
	must(t, err)
	if len(cards) != 2 {
		t.Errorf("Ada has %d rooms", len(cards))
	}
}
