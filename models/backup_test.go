package models

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
)

func TestABackupUnderPostingIsWholeElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(t)
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
				n, err := s.Post(ctx, m, fmt.Sprintf("message %d", i), "")
				if err == nil && i%3 == 0 {
					err = s.Edit(ctx, m, n, "something else")
				}
				if err = errors.Join(err, s.writeAnchors(ctx)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var files []string
	for i := range 3 {
		time.Sleep(50 * time.Millisecond)
		reader, err := OpenToRead(options(w.dir)) // as the command does
		must(t, err)
		path := filepath.Join(t.TempDir(), fmt.Sprintf("%d.tar", i))
		must(t, errors.Join(reader.Backup(ctx, path), reader.Close()))
		files = append(files, path)
	}
	close(stop)
	work.Wait()
	for _, path := range files {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the backup has mode %v, %v", info.Mode(), err)
		}
		content, err := os.ReadFile(path)
		must(t, err)
		if bytes.Contains(content, []byte("CONCLAVE-MASTER")) {
			t.Error("the backup holds a key")
		}
		if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
			t.Errorf("it has left something behind: %v", left)
		}
		restored := *w
		restored.dir = filepath.Join(t.TempDir(), "a", "new", "folder")
		kept, err := Restore(path, restored.dir)
		if err != nil || kept != "" {
			t.Fatalf("restore: %v, kept %q", err, kept)
		}
		if _, err := Open(options(restored.dir)); !errors.Is(err, ErrKey) {
			t.Errorf("a backup opens without a key: %v", err)
		}
		copyFolder(t, filepath.Join(w.dir, "keys"), filepath.Join(restored.dir, "keys"))
		restored.whole(t)
		there := restored.start(t)
		restored.believed(t, there, w.ada, w.engine, nothing)
		restored.believedWithMore(t, there, w.ada, w.library)
		code, err := totp.GenerateCode(w.secret["ada"], time.Now())
		must(t, err)
		if user, err := there.Authenticate(ctx, By{}, SignIn{Username: "ada", Password: passphrase, Code: code}); err != nil || user.User.ID != w.ada {
			t.Errorf("logging in after the restore: %v", err)
		}
		must(t, there.Close())
		restored.whole(t)
	}
	if err := s.Backup(ctx, files[0]); err == nil {
		t.Error("a backup is written over another")
	}
}

func TestAnOldBackupOverANewerFolderMustBeAccepted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(t)
	path := filepath.Join(t.TempDir(), "old.tar")
	must(t, s.Backup(ctx, path))
	_, err := s.Post(ctx, w.member(t, s, w.ada, w.engine), "after the backup", "")
	must(t, err)
	if _, err := Restore(path, w.dir); err == nil {
		t.Error("a folder in use is restored over")
	}
	must(t, s.Close())
	newer, err := os.ReadFile(filepath.Join(w.dir, databaseName))
	must(t, err)

	kept, err := Restore(path, w.dir)
	must(t, err)
	if content, err := os.ReadFile(kept); err != nil || !bytes.Equal(content, newer) {
		t.Errorf("the database that was there is not kept in %q: %v", kept, err)
	}
	again, err := Restore(path, w.dir) // somebody tries twice within a second
	must(t, err)
	if content, err := os.ReadFile(kept); again == kept || err != nil || !bytes.Equal(content, newer) {
		t.Errorf("the second restore has written over what the first had kept (%q, %q)", kept, again)
	}
	if s, err := Open(options(w.dir)); !errors.Is(err, ErrRollback) {
		s.Close()
		t.Fatalf("start: %v", err)
	}
	o := options(w.dir)
	o.AcceptRollback = true
	s = opened(t, o)
	walked(t, s)
	w.believed(t, s, w.ada, w.engine, anything)
	w.believed(t, s, w.ada, w.library, nothing)
	must(t, s.Close())
	w.whole(t)
	must(t, opened(t, options(w.dir)).Close())
}

// repack returns a backup after a change of its members.
func repack(t testing.TB, path string, change func(name string, content []byte) (string, []byte)) []byte {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		must(t, err)
		content, err := io.ReadAll(r)
		must(t, err)
		name, content := change(h.Name, content)
		if name == "" {
			continue
		}
		h.Name, h.Size = name, int64(len(content))
		must(t, w.WriteHeader(h))
		_, err = w.Write(content)
		must(t, err)
	}
	must(t, w.Close())
	return out.Bytes()
}

func TestABackupThatIsNotWholeChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(t)
	path := filepath.Join(t.TempDir(), "backup.tar")
	must(t, s.Backup(ctx, path))
	must(t, s.Close())
	whole, err := os.ReadFile(path)
	must(t, err)
	only := func(name string, f func([]byte) []byte) []byte {
		return repack(t, path, func(n string, content []byte) (string, []byte) {
			if n == name {
				content = f(content)
				if content == nil {
					return "", nil
				}
			}
			return n, content
		})
	}
	renamed := func(name, to string) []byte {
		return repack(t, path, func(n string, content []byte) (string, []byte) {
			if n == name {
				n = to
			}
			return n, content
		})
	}
	flip := func(b []byte) []byte { b[len(b)/2] ^= 1; return b }
	gone := func([]byte) []byte { return nil }
	cases := map[string][]byte{
		"empty":                   {},
		"half":                    whole[:len(whole)/2],
		"without its end":         whole[:len(whole)-3000],
		"a bit of the database":   only(databaseName, flip),
		"a bit of the anchors":    only(anchorsName, flip),
		"a bit of the manifest":   only(manifestName, flip),
		"no manifest":             only(manifestName, gone),
		"no anchors":              only(anchorsName, gone),
		"no database":             only(databaseName, gone),
		"another name":            renamed(anchorsName, "keys/mk-00000000.key"),
		"a name above the folder": renamed(anchorsName, "../anchors"),
		"no tar":                  []byte("this is a letter to my aunt\n"),
	}
	before := listing(t, w.dir)
	database, err := os.ReadFile(filepath.Join(w.dir, databaseName))
	must(t, err)
	for name, content := range cases {
		bad := filepath.Join(t.TempDir(), "bad.tar")
		must(t, os.WriteFile(bad, content, 0o600))
		if _, err := Restore(bad, w.dir); err == nil {
			t.Errorf("%s: restored", name)
		}
		now, err := os.ReadFile(filepath.Join(w.dir, databaseName))
		if after := listing(t, w.dir); err != nil || !slices.Equal(before, after) || !bytes.Equal(now, database) {
			t.Errorf("%s: something was changed: %v instead of %v, %v", name, after, before, err)
		}
	}
	if _, err := Restore(filepath.Join(w.dir, "nothing.tar"), w.dir); err == nil {
		t.Error("nothing is restored")
	}
	w.whole(t)
}
