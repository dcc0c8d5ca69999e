package models

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/mattn/go-sqlite3"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

const (
	databaseName = "conclave.db"
	readers      = 4 // transactions at a time; as many connections are left for single queries
	readOnly     = "&mode=ro&_query_only=1"
)

// openDatabase opens the database file with its one writer and its readers, brings it to the newest
// schema, and finds the keys that belong to it.
func (s *Store) openDatabase() error {
	path := filepath.Join(s.o.Dir, databaseName)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) // SQLite gives -wal and -shm the mode of this file
	if err != nil {
		return fmt.Errorf("the database %s cannot be opened: %w", path, cause(err))
	}
	f.Close()
	if err := os.Chmod(path, 0o600); err != nil {
		return err
	}
	if s.write, err = s.connect(path, "&_txlock=immediate", 2); err != nil {
		return err
	}
	pool, err := s.write.DB()
	if err != nil {
		return err
	}
	check, err := checkValue(pool)
	if err != nil {
		return err
	}
	if err := s.openMaster(check); err != nil {
		return err
	}
	before, err := migrate(context.Background(), pool)
	if err != nil {
		return err
	}
	s.upgraded = before > 0 && before < anchorsSince
	if err := s.openService(check == nil); err != nil {
		return err
	}
	return s.openReaders(path)
}

func (s *Store) openReaders(path string) (err error) {
	if s.read, err = s.connect(path, readOnly, 2*readers+1); err != nil {
		return err
	}
	s.readers = make(chan *handle, readers)
	for range readers {
		s.readers <- &handle{pool: s.readPool()}
	}
	return nil
}

// openPool is the writer, or the readers of a store that only reads.
func (s *Store) openPool() *gorm.DB {
	if s.write != nil {
		return s.write
	}
	return s.read
}

// readPool is the readers' pool for plain SQL.
func (s *Store) readPool() *sql.DB {
	pool, err := s.read.DB()
	if err != nil {
		panic(err) // connect has asked for it already
	}
	return pool
}

// driverName is go-sqlite3 with the one protection that its DSN cannot express: no SQL
// function may be called from the schema, which an attacker could have edited.
const driverName = "conclave-sqlite3"

func init() {
	sql.Register(driverName, &sqlite3.SQLiteDriver{ConnectHook: func(c *sqlite3.SQLiteConn) error {
		// By its interface, because the driver's stand-in for builds without C has no such method.
		_, err := any(c).(driver.ExecerContext).ExecContext(context.Background(), "PRAGMA trusted_schema = OFF", nil)
		return err
	}})
}

// connect opens a pool. Foreign keys guard references; WAL lets readers and the writer work
// at the same time; FULL makes a commit durable before it is acknowledged; secure_delete
// overwrites what is deleted; a busy database is waited for.
func (s *Store) connect(path, more string, connections int) (*gorm.DB, error) {
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() +
		"?_foreign_keys=1&_journal_mode=WAL&_synchronous=FULL&_secure_delete=on&_busy_timeout=5000" + more
	db, err := gorm.Open(sqlite.Dialector{DriverName: driverName, DSN: dsn}, &gorm.Config{
		TranslateError:         true,
		PrepareStmt:            true,
		SkipDefaultTransaction: true,
		NowFunc:                func() time.Time { return s.o.Now().UTC() },
		Logger: logger.NewSlogLogger(s.o.Log, logger.Config{
			SlowThreshold:             time.Second,
			LogLevel:                  logger.Warn,
			IgnoreRecordNotFoundError: true,
			ParameterizedQueries:      true, // no values in the log
		}),
	})
	if err != nil {
		return nil, fmt.Errorf("the database %s cannot be opened: %w", path, err)
	}
	pool, err := db.DB()
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(connections)
	pool.SetMaxIdleConns(connections)
	for pragma, want := range map[string]string{
		"foreign_keys": "1", "journal_mode": "wal", "synchronous": "2", "secure_delete": "1",
		"busy_timeout": "5000", "trusted_schema": "0",
	} {
		var got string
		if err := pool.QueryRow("PRAGMA " + pragma).Scan(&got); err != nil {
			return nil, fmt.Errorf("the database %s cannot be read: %w", path, err)
		}
		if got != want {
			return nil, fmt.Errorf("SQLite runs with %s = %s instead of %s: this build of it cannot be used", pragma, got, want)
		}
	}
	return db, nil
}
