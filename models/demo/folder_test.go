package demo

import (
	"os"
	"path/filepath"
	"testing"
)

// A demo that was killed left its folder behind. The next one takes it away, and nothing that could be anything else.
func TestADemoTakesAwayWhatAKilledOneLeft(t *testing.T) {
	t.Parallel()
	parent, elsewhere := t.TempDir(), t.TempDir()
	put := func(mode os.FileMode, parts ...string) string {
		t.Helper()
		path := filepath.Join(parts...)
		for _, err := range []error{os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("words"), 0o600), os.Chmod(filepath.Dir(path), mode)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		return path
	}
	made := func() *Folder {
		t.Helper()
		f, err := folderIn(parent)
		if err != nil {
			t.Fatal(err)
		}
		put(0o700, f.Data, "conclave.db")
		return f
	}
	killed, alive := made(), made()
	if err := killed.lock.Unlock(); err != nil { // as the system does for a process that has ended
		t.Fatal(err)
	}
	marked := put(0o700, elsewhere, folderMark)
	stay := []string{
		filepath.Join(alive.Data, "conclave.db"),
		put(0o700, parent, "conclave-demo-without-a-mark", "diary"),
		put(0o755, parent, "conclave-demo-open-to-others", folderMark),
		put(0o700, parent, "another-program", folderMark),
		put(0o700, parent, "conclave-demo-linked", "diary"),
		marked,
	}
	for _, link := range []string{"conclave-demo-link", "conclave-demo-linked/" + folderMark} {
		target := elsewhere
		if filepath.Base(link) == folderMark {
			target = marked
		}
		if err := os.Symlink(target, filepath.Join(parent, link)); err != nil {
			t.Fatal(err)
		}
	}
	next := made()
	if _, err := os.Stat(killed.dir); !os.IsNotExist(err) {
		t.Errorf("what a killed demo left is still there: %v", err)
	}
	for _, path := range stay {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("it took away what was not its own: %v", err)
		}
	}
	for _, f := range []*Folder{next, alive} {
		if err := f.Remove(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(f.dir); !os.IsNotExist(err) {
			t.Errorf("a folder outlives its demo: %v", err)
		}
	}
}
