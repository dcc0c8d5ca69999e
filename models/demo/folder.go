package demo

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/gofrs/flock"
)

// A demo that is not kept has a folder in the system's place for temporary ones, and takes it away at its end. One
// that was killed could not: its folder holds a mark that nobody has locked any more, by which the next demo knows
// it, and takes it away before it makes its own.
const (
	folderPrefix = "conclave-demo-"
	folderMark   = "demo.lock" // locked for as long as the demo runs
	folderData   = "data"
)

// Folder is such a folder.
type Folder struct {
	Data string // inside it, missing so far: where the demo keeps what a server keeps

	dir  string
	lock *flock.Flock
}

// TemporaryFolder takes away what killed demos of the same user have left, and makes a new one.
func TemporaryFolder() (*Folder, error) { return folderIn(os.TempDir()) }

func folderIn(parent string) (*Folder, error) {
	sweep(parent)
	dir, err := os.MkdirTemp(parent, folderPrefix)
	if err != nil {
		return nil, err
	}
	f := &Folder{filepath.Join(dir, folderData), dir, flock.New(filepath.Join(dir, "new.lock"), flock.SetPermissions(0o600))}
	// The mark gets its name once it is locked: an unlocked one is always that of a dead demo.
	locked, err := f.lock.TryLock()
	if err == nil && !locked {
		err = errors.New("somebody else has locked a folder that was just made")
	}
	if err == nil {
		err = os.Rename(f.lock.Path(), filepath.Join(dir, folderMark))
	}
	if err != nil {
		return nil, errors.Join(err, f.Remove())
	}
	return f, nil
}

// Remove takes the folder away with everything in it, the mark last: what is interrupted is taken up by a sweep.
func (f *Folder) Remove() error {
	return errors.Join(os.RemoveAll(f.Data), os.RemoveAll(f.dir), f.lock.Close())
}

// sweep takes away the folders of dead demos, as far as they can be proved to be that: a folder by the right
// name that only this user can enter, with a mark in it that nobody holds. What cannot be read or removed stays
// where it is; it hinders nobody.
func sweep(parent string) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, e := range entries {
		dir := filepath.Join(parent, e.Name())
		if found, _ := filepath.Match(folderPrefix+"*", e.Name()); !found || !private(dir) {
			continue
		}
		lock := flock.New(filepath.Join(dir, folderMark), flock.SetFlag(os.O_RDONLY|syscall.O_NOFOLLOW)) // never makes one
		if locked, err := lock.TryLock(); err == nil && locked {
			(&Folder{filepath.Join(dir, folderData), dir, lock}).Remove()
		}
	}
}

// private tells whether a path is a folder, no link to one, that belongs to this user and that nobody else can enter.
func private(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != fs.ModeDir|0o700 {
		return false
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(owner.Uid) == os.Getuid()
}
