package models

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"conclave/models/cipher"
)

// Health is what an operator looks at: the keys, the disk, the people and rooms there are.
type Health struct {
	Key         string // the name of the master key
	KeySince    time.Time
	Unused      []string // files of other keys that lie beside it
	Credentials bool     // the key comes from the service manager

	Database, WriteAhead int64 // bytes
	Free, Disk           int64 // bytes on the disk of the data folder
	DiskKnown            bool

	People, Rooms int
}

// Short reports whether the disk is nearly full: less than 1 GiB is free, or less than a tenth of
// what the database takes.
func (h Health) Short() bool { return h.DiskKnown && h.Free < max(1<<30, h.Database/10) }

// Health looks at the data folder. Only an administrator may be shown it.
func (s *Store) Health(ctx context.Context) (Health, error) {
	key := s.masters.now().Name()
	h := Health{Key: key, Credentials: s.credentials()}
	files, err := cipher.FindKeyFiles(s.keyDir())
	if err != nil {
		return h, err
	}
	for _, file := range files {
		if file != s.keyPath(key) {
			h.Unused = append(h.Unused, filepath.Base(file))
		}
	}
	if h.KeySince, err = s.keySince(ctx, key); err != nil {
		return h, err
	}
	path := filepath.Join(s.o.Dir, databaseName)
	h.Database, h.WriteAhead = fileSize(path), fileSize(path+"-wal")
	h.Free, h.Disk, h.DiskKnown = freeSpace(s.o.Dir)
	err = s.reading(ctx, func(db *handle) error {
		return db.QueryRowContext(ctx, "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM rooms WHERE state = 0)").Scan(&h.People, &h.Rooms)
	})
	return h, err
}

// keySince returns when a master key was taken into use: when the audit log says that it was
// rotated to, or else when its file was written.
func (s *Store) keySince(ctx context.Context, key string) (since time.Time, err error) {
	err = s.reading(ctx, func(db *handle) error {
		var at number
		var object string
		err := db.QueryRowContext(ctx, "SELECT time_ms, CAST(object AS TEXT) FROM audit_log WHERE event = 'keys.rotate' ORDER BY n DESC LIMIT 1").Scan(&at, &object)
		if err == nil && strings.HasSuffix(object, " to "+key) {
			since = time.UnixMilli(int64(at))
		}
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	if info, statErr := os.Stat(s.keyPath(key)); since.IsZero() && statErr == nil {
		since = info.ModTime()
	}
	return since, err
}

func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0 // there is no write-ahead log while nothing was written
	}
	return info.Size()
}
