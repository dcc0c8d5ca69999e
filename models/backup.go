package models

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// A backup is one tar file: the anchors (copied first, so that they are never ahead of the
// database), a copy of the database made in one piece, and a manifest with their SHA-256 sums.
// Never a key.
const manifestName = "MANIFEST"

// Backup writes a backup to a new file. It may run beside a server at work.
func (s *Store) Backup(ctx context.Context, path string) (err error) {
	dir, err := os.MkdirTemp(filepath.Dir(path), ".conclave-backup-")
	if err != nil {
		return fmt.Errorf("the backup cannot be written there: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	names := []string{anchorsName, databaseName}
	text, err := os.ReadFile(filepath.Join(s.o.Dir, anchorsName))
	if err != nil {
		return fmt.Errorf("there are no anchors to back up: start the server once first (%w)", err)
	}
	if err := os.WriteFile(filepath.Join(dir, anchorsName), text, 0o600); err != nil {
		return err
	}
	if err := s.copyDatabase(ctx, filepath.Join(dir, databaseName)); err != nil {
		return fmt.Errorf("the database could not be copied: %w", err)
	}
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is already there: give the backup a new name", path)
	}
	if err != nil {
		return err
	}
	if err = errors.Join(pack(out, dir, names, s.o.Now()), out.Sync(), out.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return syncFolder(filepath.Dir(path))
}

// copyDatabase writes a copy of one moment. VACUUM INTO counts as writing, so it needs a
// connection of its own; the database itself stays read only for it.
func (s *Store) copyDatabase(ctx context.Context, path string) error {
	db, err := s.connect(filepath.Join(s.o.Dir, databaseName), "&mode=ro", 1)
	if err != nil {
		return err
	}
	pool, err := db.DB()
	if err != nil {
		return err
	}
	_, err = pool.ExecContext(ctx, "VACUUM INTO ?", path)
	return errors.Join(err, pool.Close())
}

func pack(w io.Writer, dir string, names []string, now time.Time) error {
	b := bufio.NewWriter(w)
	archive := tar.NewWriter(b)
	var manifest strings.Builder
	add := func(name string, size int64, r io.Reader) error {
		err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: size, ModTime: now, Typeflag: tar.TypeReg})
		if err == nil {
			_, err = io.Copy(archive, r)
		}
		return err
	}
	for _, name := range names {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		info, err := f.Stat()
		sum := sha256.New()
		if err == nil {
			err = add(name, info.Size(), io.TeeReader(f, sum))
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		fmt.Fprintf(&manifest, "%x  %s\n", sum.Sum(nil), name)
	}
	return errors.Join(add(manifestName, int64(manifest.Len()), strings.NewReader(manifest.String())), archive.Close(), b.Flush())
}

// Restore puts a backup into a data folder that no server uses. The database that was there is
// kept beside it, under the name it returns. Anchors that are already there stay, so that the
// start after restoring an older backup says that history went back (ErrRollback).
func Restore(path, dir string) (kept string, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	lock := flock.New(filepath.Join(dir, "lock"), flock.SetPermissions(0o600))
	if free, err := lock.TryLock(); err != nil || !free {
		return "", errors.Join(fmt.Errorf("a server is running on %s: stop it first", dir), err)
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	fresh, err := os.MkdirTemp(dir, ".restore-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(fresh)) }()
	if err := unpack(path, fresh); err != nil {
		return "", fmt.Errorf("%s is no whole backup, nothing was changed: %w", path, err)
	}
	kept, err = setAside(dir)
	if err != nil {
		return kept, err
	}
	if _, err := os.Stat(filepath.Join(dir, anchorsName)); errors.Is(err, fs.ErrNotExist) {
		if err := os.Rename(filepath.Join(fresh, anchorsName), filepath.Join(dir, anchorsName)); err != nil {
			return kept, err
		}
	}
	if err := os.Rename(filepath.Join(fresh, databaseName), filepath.Join(dir, databaseName)); err != nil {
		return kept, err
	}
	return kept, syncFolder(dir)
}

// setAside renames the database that is there, with its write-ahead log.
func setAside(dir string) (string, error) {
	kept := filepath.Join(dir, databaseName+".before-"+time.Now().UTC().Format("20060102-150405.000000000"))
	if _, err := os.Stat(filepath.Join(dir, databaseName)); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	for _, suffix := range []string{"-wal", "-shm", ""} {
		err := os.Rename(filepath.Join(dir, databaseName+suffix), kept+suffix)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return kept, err
		}
	}
	return kept, nil
}

// unpack extracts exactly the files of a backup and checks them against the manifest.
func unpack(path, dir string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	sums := map[string]string{}
	var manifest string
	for archive := tar.NewReader(bufio.NewReader(f)); ; {
		h, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		switch h.Name {
		case manifestName:
			text, err := io.ReadAll(io.LimitReader(archive, 1<<16))
			if err != nil {
				return err
			}
			manifest = string(text)
		case anchorsName, databaseName:
			if sums[h.Name], err = extract(archive, filepath.Join(dir, h.Name)); err != nil {
				return err
			}
		default:
			return fmt.Errorf("it holds %q, which is not ours", h.Name)
		}
	}
	for _, name := range []string{anchorsName, databaseName} {
		if sums[name] == "" || !strings.Contains(manifest, sums[name]+"  "+name+"\n") {
			return fmt.Errorf("%s is missing in it, or does not fit its manifest", name)
		}
	}
	return nil
}

func extract(r io.Reader, path string) (sum string, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(f, h), r)
	return hex.EncodeToString(h.Sum(nil)), errors.Join(err, f.Sync(), f.Close())
}
