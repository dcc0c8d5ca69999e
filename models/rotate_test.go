package models

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"conclave/models/cipher"
)

// keysNamed counts, by the name of a master key, the envelopes that it wraps.
func keysNamed(t testing.TB, s *Store) map[string]int {
	t.Helper()
	named := map[string]int{}
	rows, err := s.readPool().Query("SELECT wrapped FROM room_keys UNION ALL SELECT value FROM meta")
	must(t, err)
	defer rows.Close()
	for rows.Next() {
		var wrapped []byte
		must(t, rows.Scan(&wrapped))
		id, err := cipher.MasterOf(wrapped)
		must(t, err)
		named[fmt.Sprintf("%08x", id)]++
	}
	must(t, rows.Err())
	return named
}

func (w *world) keyFiles(t testing.TB) (names []string) {
	t.Helper()
	files, err := cipher.FindKeyFiles(filepath.Join(w.dir, "keys"))
	must(t, err)
	for _, f := range files {
		names = append(names, strings.TrimSuffix(strings.TrimPrefix(filepath.Base(f), "mk-"), ".key"))
	}
	return names
}

func TestARotationUnderLoadLosesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(t)
	reader, err := OpenToRead(options(w.dir)) // another process, which has the first key only
	must(t, err)
	defer reader.Close()
	first := w.keyFiles(t)[0]
	var work sync.WaitGroup
	stop := make(chan struct{})
	for _, user := range []ID{w.ada, w.grace} {
		work.Go(func() {
			m := w.member(t, s, user, w.library)
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := s.Post(ctx, m, fmt.Sprintf("message %d", i), ""); err != nil {
					t.Error(err)
				}
				if i%5 == 0 {
					room, err := s.CreateRoom(ctx, By{User: user}, "Another room")
					if err != nil {
						t.Error(err)
					}
					if _, err := s.Post(ctx, w.member(t, s, user, room), "hello", ""); err != nil {
						t.Error(err)
					}
				}
				if i%7 == 0 {
					_, err := s.Join(ctx, By{User: w.linus}, w.codes["engine"])
					linus, memberErr := s.Member(ctx, By{User: w.linus}, w.engine.String())
					if err = errors.Join(err, memberErr); err == nil {
						err = s.Leave(ctx, linus)
					}
					if err != nil && KindOf(err) != NotFound {
						t.Error(err)
					}
				}
			}
		})
	}
	was := first
	for range 5 {
		time.Sleep(30 * time.Millisecond)
		old, now, err := s.rotate(ctx)
		must(t, err)
		if old != was || now == old {
			t.Errorf("it rotated from %s to %s, not from %s", old, now, was)
		}
		was = now
	}
	close(stop)
	work.Wait()
	if named := keysNamed(t, s); len(named) != 1 || named[was] == 0 {
		t.Errorf("the keys that are named: %v, the current one is %s", named, was)
	}
	w.believedWithMore(t, s, w.ada, w.engine)
	w.believedWithMore(t, reader, w.ada, w.library)
	must(t, s.Close())
	w.whole(t)
	s = w.start(t)
	w.believedWithMore(t, s, w.ada, w.engine)
	if s.masters.now().Name() != was {
		t.Errorf("it starts with key %s", s.masters.now().Name())
	}
}

// believedWithMore checks that a room's newest page holds nothing damaged.
func (w *world) believedWithMore(t testing.TB, s *Store, user, room ID) {
	t.Helper()
	v, err := s.View(ctx, w.member(t, s, user, room))
	must(t, err)
	for _, l := range v.Page.Lines {
		if l.Damaged || l.Missing > 0 {
			t.Errorf("line %+v", l)
		}
	}
	if v.Harmed {
		t.Error("the room is harmed")
	}
}

func TestOnlyAKeyThatOpensNothingIsDestroyed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(t)
	first := w.keyFiles(t)[0]
	backup := w.crashed(t)
	if err := s.destroyKey(ctx, first); KindOf(err) != Denied {
		t.Errorf("the current key: %v", err)
	}
	for _, name := range []string{"", "00000000", "../../" + first, first + ".key", "zzzzzzzz"} {
		if err := s.destroyKey(ctx, name); KindOf(err) != NotFound {
			t.Errorf("key %q: %v", name, err)
		}
	}
	_, second, err := s.rotate(ctx)
	must(t, err)
	w.tamper(t, "CREATE TABLE kept AS SELECT * FROM room_keys WHERE room_id = $engine AND epoch = 1")
	// One room's secret is still wrapped under the first key, as after putting an old row back.
	old, err := backup.sql(t).Query("SELECT wrapped FROM room_keys WHERE room_id = ? AND epoch = 1", w.engine[:])
	must(t, err)
	var wrapped []byte
	old.Next()
	must(t, old.Scan(&wrapped))
	old.Close()
	w.tamper(t, fmt.Sprintf("UPDATE room_keys SET wrapped = x'%x' WHERE room_id = $engine AND epoch = 1", wrapped))
	if err := s.destroyKey(ctx, first); KindOf(err) != Denied {
		t.Errorf("a key in use: %v", err)
	}
	w.tamper(t, "UPDATE room_keys SET wrapped = (SELECT wrapped FROM kept) WHERE room_id = $engine AND epoch = 1", "DROP TABLE kept")
	path := s.keyPath(first)
	linked := filepath.Join(w.dir, "linked") // shows what became of the bytes
	must(t, os.Link(path, linked))
	must(t, s.destroyKey(ctx, first))
	if left, _ := os.ReadFile(linked); len(bytes.Trim(left, "\x00")) != 0 {
		t.Error("the bytes of the key file are still on the disk")
	}
	must(t, os.Remove(linked))
	if got := w.keyFiles(t); !slices.Equal(got, []string{second}) {
		t.Errorf("the key files are %v", got)
	}
	must(t, s.Close())
	w.whole(t)
	w.believed(t, w.start(t), w.ada, w.engine, nothing)

	// A backup from before the rotation cannot be opened any more with what is left.
	must(t, os.RemoveAll(filepath.Join(backup.dir, "keys")))
	copyFolder(t, filepath.Join(w.dir, "keys"), filepath.Join(backup.dir, "keys"))
	if _, err := Open(options(backup.dir)); !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), first) {
		t.Errorf("the old backup: %v", err)
	}
}

// A crash between the key file and the transaction leaves a file that nothing names; the next
// rotation takes it up, and a retired key it never takes up again.
func TestTheNextRotationTakesUpASpareKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	spare, err := cipher.CreateKeyFile(filepath.Join(w.dir, "keys"), time.Now())
	must(t, err)
	var log bytes.Buffer
	o := options(w.dir)
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	s, err := Open(o)
	must(t, err)
	first, second, err := s.rotate(ctx)
	must(t, err)
	if second != spare.Name() || len(w.keyFiles(t)) != 2 {
		t.Errorf("it rotated to %s instead of the spare %s; files %v", second, spare.Name(), w.keyFiles(t))
	}
	_, third, err := s.rotate(ctx)
	must(t, err)
	if third == first || third == second || len(w.keyFiles(t)) != 3 {
		t.Errorf("it rotated to %s; files %v", third, w.keyFiles(t))
	}
	must(t, s.Close())
	if !strings.Contains(log.String(), "mk-"+spare.Name()+".key") {
		t.Errorf("the start does not name the key that is not used:\n%s", &log)
	}
	w.whole(t)
	w.believed(t, w.start(t), w.ada, w.engine, nothing)
}

func TestARoomWhoseKeyIsDamagedStaysDamagedThroughARotation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.tamper(t, "UPDATE room_keys SET wrapped = (SELECT wrapped FROM room_keys WHERE room_id = $library AND epoch = 1) WHERE room_id = $engine AND epoch = 2")
	s := w.start(t)
	_, _, err := s.rotate(ctx)
	must(t, err)
	w.believed(t, s, w.ada, w.engine, nothing)
	w.believed(t, s, w.ada, w.library, nothing)
	if r := verified(t, options(w.dir)); len(r.Findings) == 0 {
		t.Error("the rotation has hidden the damage")
	}
}

func TestAnExportedKeyOpensTheDatabaseElsewhere(t *testing.T) {
	t.Parallel()
	for _, pass := range []string{"", "a long phrase for the safe"} {
		w := newWorld(t)
		text, err := ExportKey(options(w.dir), pass)
		must(t, err)
		if ExportIsSealed(text) != (pass != "") || pass != "" && strings.Contains(text, "CONCLAVE-MASTER") {
			t.Errorf("exported as %q", text)
		}
		path := filepath.Join(w.dir, "keys", "mk-"+w.keyFiles(t)[0]+".key")
		kept, err := os.ReadFile(path)
		must(t, err)
		if _, err := ImportKey(options(w.dir), text, pass); err == nil {
			t.Error("a key file is imported over itself")
		}
		must(t, os.RemoveAll(filepath.Join(w.dir, "keys")))
		if pass != "" {
			another := "A"
			if text[60:61] == another {
				another = "B"
			}
			for name, bad := range map[string][2]string{
				"wrong passphrase": {text, "a long phrase for the sofa"},
				"no passphrase":    {text, ""},
				"cut":              {text[:len(text)-20], pass},
				"another name":     {strings.Replace(text, w.engineKeyName(text), "0badc0de", 1), pass},
				"one letter":       {text[:60] + another + text[61:], pass},
				"nothing":          {exportMark, pass},
			} {
				if _, err := ImportKey(options(w.dir), bad[0], bad[1]); err == nil {
					t.Errorf("%s: imported", name)
				}
			}
		}
		if _, err := ImportKey(options(w.dir), "hello", pass); err == nil {
			t.Error("a greeting is imported")
		}
		if files := w.keyFiles(t); len(files) != 0 {
			t.Fatalf("something was written: %v", files)
		}
		if _, err := Open(options(w.dir)); !errors.Is(err, ErrKey) {
			t.Errorf("without a key: %v", err)
		}
		imported, err := ImportKey(options(w.dir), text, pass)
		must(t, err)
		now, err := os.ReadFile(imported)
		if err != nil || imported != path || !bytes.Equal(now, kept) {
			t.Errorf("imported to %s, not to %s, %v", imported, path, err)
		}
		if info, err := os.Stat(imported); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		w.whole(t)
		s := w.start(t)
		w.believed(t, s, w.ada, w.engine, nothing)
		name := w.keyFiles(t)[0]
		if got := events(t, s, "keys.import"); !slices.Equal(got, []string{"keys.import " + name}) {
			t.Errorf("the audit log says %q of the import", got)
		}
		must(t, os.Remove(path)) // beside a server that runs
		_, err = ImportKey(options(w.dir), text, pass)
		must(t, err)
		if got := events(t, s, "keys.import"); len(got) != 2 || got[1] != "keys.import "+name {
			t.Errorf("the audit log says %q of both imports", got)
		}
		must(t, s.Close())
		s = w.start(t)
		if got := events(t, s, "keys.import"); len(got) != 2 {
			t.Errorf("after another start the audit log says %q", got)
		}
	}
}

func TestWhatWaitsForTheAuditLogIsNothingButImportsOfKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	path := filepath.Join(w.dir, untoldName)
	must(t, os.WriteFile(path, []byte(`{"imported_key":"../../etc"}`+"\n"+`{"imported_key":"<script>"}`+"\nrubbish\n"+strings.Repeat(`{"imported_key":"0badc0de"}`+"\n", 1000)), 0o600))
	s := w.start(t)
	got := events(t, s, "keys.import")
	if len(got) == 0 || len(got) > untoldMost || got[0] != "keys.import 0badc0de" {
		t.Errorf("%d events, %q", len(got), got)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file stays: %v", err)
	}
	for _, bad := range []string{"keys.import", "keys.import ../../etc", "keys.export 0badc0de"} {
		if err := s.told(ctx, bad); err == nil {
			t.Errorf("%q is written down", bad)
		}
	}
}

func (w *world) engineKeyName(text string) string {
	return strings.Split(strings.TrimPrefix(text, exportMark), "-")[0]
}

// What a start makes of the key files that it finds.
func TestTheKeyFileDecidesHowAFolderOpens(t *testing.T) {
	t.Parallel()
	foreign := filepath.Join(t.TempDir(), "keys")
	other, err := cipher.CreateKeyFile(foreign, time.Now())
	must(t, err)
	for name, c := range map[string]struct {
		change func(t *testing.T, w *world, key string)
		want   error
		says   string
		creds  bool
	}{
		"no key":            {change: func(t *testing.T, w *world, key string) { must(t, os.Remove(key)) }, want: ErrKey, says: "$key"},
		"no folder of keys": {change: func(t *testing.T, w *world, key string) { must(t, os.RemoveAll(filepath.Dir(key))) }, want: ErrKey, says: "$key"},
		"another key": {change: func(t *testing.T, w *world, key string) {
			must(t, os.Remove(key))
			copyFolder(t, foreign, filepath.Join(w.dir, "more"))
			must(t, os.Rename(filepath.Join(w.dir, "more", "mk-"+other.Name()+".key"), filepath.Join(filepath.Dir(key), "mk-"+other.Name()+".key")))
		}, want: ErrKey, says: "wants"},
		"another key under its name": {change: func(t *testing.T, w *world, key string) {
			text, err := os.ReadFile(filepath.Join(foreign, "mk-"+other.Name()+".key"))
			must(t, err)
			name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(key), "mk-"), ".key")
			must(t, os.WriteFile(key, bytes.Replace(text, []byte(other.Name()), []byte(name), 1), 0o600))
		}, want: ErrKey, says: "does not open this database"},
		"a cut key":           {change: func(t *testing.T, w *world, key string) { must(t, os.Truncate(key, 100)) }, want: ErrKey, says: "$key"},
		"a key for the group": {change: func(t *testing.T, w *world, key string) { must(t, os.Chmod(key, 0o640)) }, want: ErrModes, says: "chmod 600"},
		"a key for all":       {change: func(t *testing.T, w *world, key string) { must(t, os.Chmod(key, 0o604)) }, want: ErrModes, says: "chmod 600"},
		"a folder for all":    {change: func(t *testing.T, w *world, key string) { must(t, os.Chmod(filepath.Dir(key), 0o755)) }, want: ErrModes, says: "chmod 700"},
		"a link": {change: func(t *testing.T, w *world, key string) {
			must(t, os.Rename(key, key+".there"))
			must(t, os.Symlink(key+".there", key))
		}, want: ErrModes, says: "link"},
		"several keys": {change: func(t *testing.T, w *world, key string) {
			_, err := cipher.CreateKeyFile(filepath.Dir(key), time.Now())
			must(t, err)
		}},
		"credentials": {change: func(t *testing.T, w *world, key string) {
			must(t, os.Mkdir(filepath.Join(w.dir, "credentials"), 0o700))
			must(t, os.Rename(key, filepath.Join(w.dir, "credentials", filepath.Base(key))))
		}, creds: true},
		"credentials without a key": {change: func(t *testing.T, w *world, key string) {
			must(t, os.Mkdir(filepath.Join(w.dir, "credentials"), 0o700))
		}, creds: true},
		"credentials for all": {change: func(t *testing.T, w *world, key string) {
			must(t, os.Mkdir(filepath.Join(w.dir, "credentials"), 0o700))
			must(t, os.Rename(key, filepath.Join(w.dir, "credentials", filepath.Base(key))))
			must(t, os.Chmod(filepath.Join(w.dir, "credentials", filepath.Base(key)), 0o644))
		}, creds: true, want: ErrModes},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			key := filepath.Join(w.dir, "keys", "mk-"+w.keyFiles(t)[0]+".key")
			c.change(t, w, key)
			before := listing(t, w.dir)
			o := options(w.dir)
			if c.creds {
				o.Credentials = filepath.Join(w.dir, "credentials")
			}
			s, err := Open(o)
			if c.want == nil {
				must(t, err)
				walked(t, s)
				w.believed(t, s, w.ada, w.engine, nothing)
				must(t, s.Close())
				return
			}
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), strings.ReplaceAll(c.says, "$key", key)) {
				t.Errorf("start: %v", err)
			}
			if after := listing(t, w.dir); !slices.Equal(before, after) {
				t.Errorf("the refused start has left %v instead of %v", after, before)
			}
			if _, err := OpenToRead(o); !errors.Is(err, c.want) {
				t.Errorf("verify: %v", err)
			}
		})
	}
	t.Run("a key and no database", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		before := w.keyFiles(t)
		must(t, os.Remove(filepath.Join(w.dir, databaseName)))
		must(t, os.Remove(w.anchors()))
		var log bytes.Buffer
		o := options(w.dir)
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
		must(t, opened(t, o).Close())
		if !slices.Equal(w.keyFiles(t), before) || !strings.Contains(log.String(), before[0]) {
			t.Errorf("keys %v, log %s", w.keyFiles(t), &log)
		}
	})
	t.Run("credentials cannot be rotated", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		o := options(w.dir)
		o.Credentials = filepath.Join(w.dir, "keys")
		s := opened(t, o)
		if _, _, err := s.rotate(ctx); KindOf(err) != Denied {
			t.Errorf("rotate: %v", err)
		}
	})
}

func listing(t testing.TB, dir string) (names []string) {
	t.Helper()
	for _, sub := range []string{".", "keys"} {
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		for _, e := range entries {
			if name := e.Name(); name != "lock" && !strings.HasPrefix(name, databaseName+"-") {
				names = append(names, name)
			}
		}
	}
	return names
}

// BenchmarkRotate measures a rotation with 50,000 wrapped room keys, as people would notice it:
// the time in which nobody can post.
func BenchmarkRotate(b *testing.B) {
	w := newWorld(b)
	s := w.start(b)
	master := s.masters.now()
	const count = 50_000
	must(b, s.lane.do(ctx, func(c *change) error {
		for epoch := uint32(1000); epoch < 1000+count; epoch++ {
			if err := c.exec("INSERT INTO room_keys (room_id, epoch, wrapped) VALUES (?, ?, ?)", w.library, epoch, master.SealRoomKey(cipher.NewRoomKey(w.library, epoch))); err != nil {
				return err
			}
		}
		return nil
	}))
	b.ResetTimer()
	for b.Loop() {
		if _, _, err := s.rotate(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(count)*float64(b.N)/b.Elapsed().Seconds(), "keys/s")
}
