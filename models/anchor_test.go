package models

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func (w *world) anchors() string { return filepath.Join(w.dir, anchorsName) }

// crashed returns a copy of a folder that is in use, as a power cut would leave it: nothing is
// written while it is made.
func (w *world) crashed(t testing.TB) *world {
	t.Helper()
	copied := *w
	copied.dir = t.TempDir()
	for _, entry := range []string{databaseName, databaseName + "-wal", anchorsName} {
		content, err := os.ReadFile(filepath.Join(w.dir, entry))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		must(t, err)
		must(t, os.WriteFile(filepath.Join(copied.dir, entry), content, 0o600))
	}
	copyFolder(t, filepath.Join(w.dir, "keys"), filepath.Join(copied.dir, "keys"))
	must(t, os.Chmod(copied.dir, 0o700))
	return &copied
}

func TestACrashIsNoRollback(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(t)
	w.crashed(t).start(t) // before anything happened
	ada := w.member(t, s, w.ada, w.engine)
	for _, step := range []func() error{
		func() error { _, err := s.Post(ctx, ada, "after the anchors", ""); return err },
		func() error { return s.writeAnchors(ctx) },
		func() error { return s.Remove(ctx, ada, w.kettle) },
		func() error { _, err := s.CreateRoom(ctx, By{User: w.grace}, "Made after the anchors"); return err },
		func() error { _, _, err := s.rotate(ctx); return err },
		func() error {
			defer eventually(t, "the end of the shredding, which writes", func() bool { return w.state(t, s, w.library) == roomDestroyed })
			return s.Destroy(ctx, w.member(t, s, w.ada, w.library))
		},
		func() error { return s.writeAnchors(ctx) },
	} {
		must(t, step())
		crashed := w.crashed(t)
		again, err := Open(options(crashed.dir))
		if err != nil {
			t.Fatal(err)
		}
		must(t, again.Close())
		crashed.whole(t)
	}
}

func TestAFolderThatWasNeverServedRaisesNoAlarm(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := OpenToRead(options(dir)); err == nil {
		t.Error("an empty folder can be verified")
	}
	for range 2 {
		s, err := Open(options(dir))
		must(t, err)
		must(t, s.Close())
	}
	o := options(dir)
	if r := verified(t, o); len(r.Findings) != 0 || r.Rooms != 0 {
		t.Errorf("it reports %+v", r)
	}
	o.AcceptRollback = true
	if _, err := Open(o); err == nil || errors.Is(err, ErrRollback) {
		t.Errorf("accepting nothing: %v", err)
	}
	// A crash between the first transaction and the first anchors.
	must(t, os.Remove(filepath.Join(dir, anchorsName)))
	opened(t, options(dir))
}

func TestARollbackStopsTheStartUntilItIsAcceptedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.crashed(t)
	s := w.start(t)
	n, err := s.Post(ctx, w.member(t, s, w.ada, w.engine), "what the backup does not know", "")
	must(t, err)
	must(t, s.Close())
	head := n

	content, err := os.ReadFile(filepath.Join(before.dir, databaseName))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(w.dir, databaseName), content, 0o600))
	var incarnation []byte
	must(t, w.sql(t).QueryRow("SELECT incarnation FROM rooms WHERE id = ?", w.engine[:]).Scan(&incarnation))

	for range 2 { // and a start that was refused changes nothing
		s, err := Open(options(w.dir))
		if !errors.Is(err, ErrRollback) {
			s.Close()
			t.Fatalf("start: %v", err)
		}
		if !strings.Contains(err.Error(), w.engine.String()) || !strings.Contains(err.Error(), "--accept-rollback") {
			t.Errorf("the sentence does not help: %v", err)
		}
	}
	r := verified(t, options(w.dir))
	if len(r.Findings) == 0 || r.Findings[0].Room != w.engine.String() && r.Findings[len(r.Findings)-1].Room != w.engine.String() {
		t.Errorf("verify says %v", r.Findings)
	}

	o := options(w.dir)
	o.AcceptRollback = true
	s = opened(t, o)
	walked(t, s)
	ada := w.member(t, s, w.ada, w.engine)
	v, err := s.View(ctx, ada)
	must(t, err)
	if v.Page.Head != head || v.ReadOnly || v.Harmed {
		t.Errorf("the head is %d, read only %v, harmed %v", v.Page.Head, v.ReadOnly, v.Harmed)
	}
	if v.Log == hex.EncodeToString(incarnation) {
		t.Error("the incarnation is the old one: open tabs would mix two histories")
	}
	tail, err := s.After(ctx, ada, 0)
	if err != nil || tail.Log != v.Log {
		t.Errorf("the feed names the log %s, the page %s, %v", tail.Log, v.Log, err)
	}
	var op Op
	must(t, s.read.Raw("SELECT op FROM room_log WHERE room_id = ? AND n = ?", w.engine, v.Page.Head).Scan(&op).Error)
	var events int
	must(t, s.read.Raw("SELECT count(*) FROM audit_log WHERE event = 'rollback.accepted' AND object = ?", w.engine.String()).Scan(&events).Error)
	if op != OpRestored || events != 1 {
		t.Errorf("the log ends in op %d, %d audit events", op, events)
	}
	library, err := s.View(ctx, w.member(t, s, w.ada, w.library))
	must(t, err)
	must(t, s.read.Raw("SELECT op FROM room_log WHERE room_id = ? AND n = ?", w.library, library.Page.Head).Scan(&op).Error)
	if op == OpRestored {
		t.Error("a room that did not go back is marked as restored")
	}

	crashed := w.crashed(t) // the very moment after
	if again, err := Open(options(crashed.dir)); err != nil {
		t.Errorf("a crash after accepting: %v", err)
	} else {
		must(t, again.Close())
	}
	must(t, s.Close())
	w.whole(t)
	if s, err := Open(o); err == nil || errors.Is(err, ErrRollback) {
		t.Errorf("accepting twice: %v", err)
		if s != nil {
			s.Close()
		}
	}
	must(t, opened(t, options(w.dir)).Close())
}

// Whatever happens to the anchors file, the start says so.
func TestTheAnchorsFileCannotBeChangedRemovedOrExchanged(t *testing.T) {
	t.Parallel()
	foreign := t.TempDir()
	s, err := Open(options(foreign))
	must(t, err)
	must(t, s.Close())
	other, err := os.ReadFile(filepath.Join(foreign, anchorsName))
	must(t, err)
	for name, change := range map[string]func(text []byte) []byte{
		"removed":             func([]byte) []byte { return nil },
		"emptied":             func([]byte) []byte { return []byte{} },
		"of another database": func([]byte) []byte { return other },
		"cut":                 func(b []byte) []byte { return b[:len(b)-5] },
		"one line cut out": func(b []byte) []byte {
			i := bytes.Index(b, []byte("\nroom "))
			return append(bytes.Clone(b[:i]), b[i+100:]...)
		},
		"another number":  func(b []byte) []byte { return bytes.Replace(b, []byte(" 17 "), []byte(" 16 "), 1) },
		"something after": func(b []byte) []byte { return append(bytes.Clone(b), '\n') },
		"a second sum":    func(b []byte) []byte { return append(bytes.Clone(b), b[bytes.Index(b, []byte("sum ")):]...) },
		"a NUL in it":     func(b []byte) []byte { return bytes.Replace(b, []byte("audit"), []byte("aud\x00t"), 1) },
		"upper-case digits": func(b []byte) []byte {
			i := bytes.Index(b, []byte("sum "))
			return append(bytes.Clone(b[:i]), bytes.ToUpper(b[i:])...)
		},
		"an empty line at top": func(b []byte) []byte { return append([]byte("\n"), b...) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			text, err := os.ReadFile(w.anchors())
			must(t, err)
			changed := change(text)
			if bytes.Equal(changed, text) {
				t.Fatalf("nothing is changed in\n%s", text)
			}
			must(t, os.Remove(w.anchors()))
			if changed != nil {
				must(t, os.WriteFile(w.anchors(), changed, 0o600))
			}
			if r := verified(t, options(w.dir)); len(r.Findings) != 1 {
				t.Errorf("verify says %v", r.Findings)
			}
			s, err := Open(options(w.dir))
			if !errors.Is(err, ErrRollback) {
				t.Errorf("start: %v", err)
				if s != nil {
					s.Close()
				}
				return
			}
			left, err := os.ReadFile(w.anchors())
			if changed == nil != errors.Is(err, os.ErrNotExist) || !bytes.Equal(left, changed) {
				t.Error("the refused start has changed the anchors")
			}
			o := options(w.dir)
			o.AcceptRollback = true
			s, err = Open(o)
			must(t, err)
			walked(t, s)
			w.believed(t, s, w.ada, w.engine, nothing)
			must(t, s.Close())
			w.whole(t)
			must(t, opened(t, options(w.dir)).Close())
		})
	}
}

// Without its anchors a database that has lost all rooms looks like one that was never served,
// but for what else stands in it.
func TestAnEmptiedDatabaseIsNotTakenForAFreshOne(t *testing.T) {
	t.Parallel()
	everything := []string{"DELETE FROM memberships", "DELETE FROM messages", "DELETE FROM room_keys", "DELETE FROM room_log", "DELETE FROM rooms"}
	for name, more := range map[string][]string{"rooms": nil, "rooms and the audit log": {"DELETE FROM audit_log"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.tamper(t, append(more, everything...)...)
			must(t, os.Remove(w.anchors()))
			if r := verified(t, options(w.dir)); len(r.Findings) == 0 {
				t.Error("verify finds nothing")
			}
			if s, err := Open(options(w.dir)); !errors.Is(err, ErrRollback) {
				t.Errorf("start: %v", err)
				if s != nil {
					s.Close()
				}
			}
		})
	}
}

// What somebody did to a running server is not written into the anchors: the shutdown and the
// minute's turn must not make it look right.
func TestTheAnchorsNeverGoBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(t)
	w.tamper(t, "DELETE FROM messages WHERE room_id = $engine AND n > $later", "DELETE FROM room_log WHERE room_id = $engine AND n > $later",
		"UPDATE rooms SET head_n = $later, head_mac = (SELECT mac FROM room_log WHERE room_id = $engine AND n = $later) WHERE id = $engine",
		"DELETE FROM audit_log WHERE n > 3")
	_, err := s.Post(ctx, w.member(t, s, w.ada, w.library), "somewhere else", "")
	must(t, err)
	if err := s.writeAnchors(ctx); err != nil {
		t.Log(err)
	}
	crashed := w.crashed(t)
	s.Close()
	for _, w := range []*world{crashed, w} {
		if again, err := Open(options(w.dir)); !errors.Is(err, ErrRollback) {
			t.Errorf("start: %v", err)
			if again != nil {
				again.Close()
			}
		}
	}
}
