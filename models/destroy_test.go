package models

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"conclave/models/feed"
)

// secretsOf returns every byte string that the database holds for a room and that opens something.
func (w *world) secretsOf(t testing.TB, room ID) (secrets [][]byte) {
	t.Helper()
	db := w.sql(t)
	defer db.Close()
	for _, query := range []string{
		"SELECT wrapped FROM room_keys WHERE room_id = ?", "SELECT envelope FROM messages WHERE room_id = ? AND length(envelope) > 0",
		"SELECT name FROM rooms WHERE id = ?", "SELECT code FROM rooms WHERE id = ?", "SELECT code_index FROM rooms WHERE id = ?",
	} {
		rows, err := db.Query(query, room[:])
		must(t, err)
		for rows.Next() {
			var secret []byte
			must(t, rows.Scan(&secret))
			secrets = append(secrets, secret)
		}
		must(t, errors.Join(rows.Err(), rows.Close()))
	}
	return secrets
}

// remains counts how many of the secrets stand in the database or its write-ahead log. An envelope
// may lie across two pages, so each is looked for by its middle.
func (w *world) remains(t testing.TB, secrets [][]byte) (count int) {
	t.Helper()
	for _, name := range []string{databaseName, databaseName + "-wal"} {
		content, err := os.ReadFile(filepath.Join(w.dir, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		must(t, err)
		for _, secret := range secrets {
			middle := secret[len(secret)/2-8 : len(secret)/2+8]
			if bytes.Contains(content, middle) {
				count++
			}
		}
	}
	return count
}

func (w *world) state(t testing.TB, s *Store, room ID) (state int) {
	t.Helper()
	must(t, s.read.Raw("SELECT state FROM rooms WHERE id = ?", room).Scan(&state).Error)
	return state
}

func TestADestroyedRoomIsGoneFromTheFilesOnceNobodyReadsIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(t)
	// In the write-ahead log, too.
	for range 5 {
		if _, err := s.Post(ctx, w.member(t, s, w.ada, w.engine), "a word more", ""); err != nil {
			t.Fatal(err)
		}
	}
	secrets := w.secretsOf(t, w.engine)
	if found := w.remains(t, secrets); len(secrets) < 14 || found < len(secrets) {
		t.Fatalf("%d secrets, of which %d can be found at all", len(secrets), found)
	}
	ada, grace := w.member(t, s, w.ada, w.engine), w.member(t, s, w.grace, w.engine)
	stream, err := s.o.Hub.Subscribe(feed.Listener{Topic: w.engine, User: w.grace, Session: [32]byte{1}})
	must(t, err)
	other, err := s.o.Hub.Subscribe(feed.Listener{Topic: w.library, User: w.grace, Session: [32]byte{1}})
	must(t, err)
	reader, err := w.sql(t).Begin()
	must(t, err)
	var entries int
	must(t, reader.QueryRow("SELECT count(*) FROM room_log").Scan(&entries))

	if err := s.Destroy(ctx, grace); KindOf(err) != Denied {
		t.Errorf("destroyed by a member who is not the owner: %v", err)
	}
	must(t, s.Destroy(ctx, ada))
	if stream.Reason() != feed.Revoked {
		t.Errorf("a member's stream is still open, or ended otherwise: %v", stream.Reason())
	}
	if other.Reason() != feed.Open {
		t.Error("the stream of another room ended")
	}
	for what, err := range map[string]error{
		"member":  func() error { _, err := s.Member(ctx, By{User: w.ada}, w.engine.String()); return err }(),
		"view":    func() error { _, err := s.View(ctx, ada); return err }(),
		"post":    func() error { _, err := s.Post(ctx, ada, "anybody?", ""); return err }(),
		"join":    func() error { _, err := s.Join(ctx, By{User: w.linus}, w.codes["engine"]); return err }(),
		"destroy": s.Destroy(ctx, ada),
		"after":   func() error { _, err := s.After(ctx, grace, 0); return err }(),
	} {
		if KindOf(err) != NotFound {
			t.Errorf("%s: %v", what, err)
		}
	}
	time.Sleep(50 * time.Millisecond)
	if w.state(t, s, w.engine) != roomDestroying {
		t.Errorf("it counts as destroyed (%d) while somebody still reads it", w.state(t, s, w.engine))
	}
	if w.remains(t, secrets) == 0 {
		t.Error("this test shows nothing: the reader keeps no old page")
	}
	must(t, reader.Rollback())
	s.shred(ctx) // what the store does every five seconds
	if found := w.remains(t, secrets); found != 0 || w.state(t, s, w.engine) != roomDestroyed {
		t.Errorf("%d secrets are left, state %d", found, w.state(t, s, w.engine))
	}
	for key := range map[keyID]bool{{w.engine, 1}: true, {w.engine, 2}: true} {
		if s.keys.Contains(key) {
			t.Errorf("the key of epoch %d is still in memory", key.epoch)
		}
	}
	var now int
	must(t, s.read.Raw("SELECT count(*) FROM room_log").Scan(&now).Error)
	if now != entries+1 {
		t.Errorf("the log has %d entries instead of %d", now, entries+1)
	}
	w.believed(t, s, w.ada, w.library, nothing)
	w.whole(t)
	must(t, s.Close())
	w.whole(t)
	if found := w.remains(t, secrets); found != 0 {
		t.Errorf("%d secrets are back", found)
	}
	s = w.start(t)
	if _, harmed := s.proofs.status(w.engine); harmed {
		t.Error("a destroyed room counts as harmed")
	}
}

func TestADestructionThatWasInterruptedIsFinishedAtTheNextStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(t)
	secrets := w.secretsOf(t, w.library)
	reader, err := w.sql(t).Begin()
	must(t, err)
	var one int
	must(t, reader.QueryRow("SELECT count(*) FROM room_log").Scan(&one))
	must(t, s.Destroy(ctx, w.member(t, s, w.ada, w.library)))
	crashed := w.crashed(t)
	must(t, reader.Rollback())
	if crashed.remains(t, secrets) == 0 {
		t.Error("this test shows nothing: no old page is left")
	}
	s = crashed.start(t)
	eventually(t, "the end of the destruction", func() bool { return crashed.state(t, s, w.library) == roomDestroyed })
	if found := crashed.remains(t, secrets); found != 0 {
		t.Errorf("%d secrets are left", found)
	}
	crashed.whole(t)
}

// What the page says about old backups is so.
func TestAnOldBackupHoldsADestroyedRoomUntilItsKeyIsDestroyed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(t)
	backup := filepath.Join(t.TempDir(), "before.tar")
	must(t, s.Backup(ctx, backup))
	must(t, s.Destroy(ctx, w.member(t, s, w.ada, w.engine)))
	old, _, err := s.rotate(ctx)
	must(t, err)

	restored := *w
	restored.dir = t.TempDir()
	_, err = Restore(backup, restored.dir)
	must(t, err)
	copyFolder(t, filepath.Join(w.dir, "keys"), filepath.Join(restored.dir, "keys"))
	before := restored.start(t)
	restored.believed(t, before, w.ada, w.engine, nothing)
	must(t, before.Close())

	must(t, s.destroyKey(ctx, old))
	must(t, os.RemoveAll(filepath.Join(restored.dir, "keys")))
	copyFolder(t, filepath.Join(w.dir, "keys"), filepath.Join(restored.dir, "keys"))
	if _, err := Open(options(restored.dir)); !errors.Is(err, ErrKey) {
		t.Errorf("the old backup without its key: %v", err)
	}
}

func TestADestroyedRoomThatIsPutBackIsNoticed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(t)
	must(t, s.Destroy(ctx, w.member(t, s, w.ada, w.engine)))
	s.shred(ctx)
	must(t, s.Close())
	for name, statements := range map[string][]string{
		"the state":              {"UPDATE rooms SET state = 0 WHERE id = $engine"},
		"the state and a member": {"UPDATE rooms SET state = 0 WHERE id = $engine", "INSERT INTO memberships (room_id, user_id, role, entry_n, joined_n) VALUES ($engine, $grace, 'member', 4, 4)"},
		"a message":              {"UPDATE messages SET envelope = $oldEdited WHERE room_id = $engine AND n = $edited"},
	} {
		t.Run(name, func(t *testing.T) {
			crashed := w.crashed(t)
			crashed.tamper(t, statements...)
			if r := verified(t, options(crashed.dir)); len(r.Findings) == 0 {
				t.Error("verify finds nothing")
			}
			s := crashed.start(t)
			if m, err := s.Member(ctx, By{User: w.grace}, w.engine.String()); err == nil {
				t.Errorf("Grace is a member of the destroyed room: %+v", m)
			}
		})
	}
}

// The store may be closed while a room is still being taken out of the write-ahead log.
func TestACheckpointThatIsCalledOffIsAnErrorAndNothingElse(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.checkpoint(over); !errors.Is(err, context.Canceled) {
		t.Errorf("it answers %v", err)
	}
}
