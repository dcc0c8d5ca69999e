// Package models is the domain of Conclave and its database.
//
// A room is a log (log.go). Whatever happens in a room is one numbered, chained entry of
// that log, written by one goroutine (writer.go) in the same transaction as the change
// itself, and announced on the feed only after the commit. The number n of an entry is at
// once the order of messages, the id of the live event, the cursor of catching up and the
// place bound into the sealed message.
//
// Text is sealed before it is stored (package cipher) and leaves this package only through
// verbs that take a Membership: View, Older, After, Open. Holding a Membership is the
// permission; Member makes one, from a row that the room's log confirms.
//
// What was read is kept with the state of the database that it was read in, and with the bytes
// that it was verified from (kept.go); nothing is believed for having been read once.
//
// A person becomes a user in two steps, Register and Confirm (user.go), signs in through
// Authenticate, and stays signed in through a session row (session.go).
package models

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"
	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/mattn/go-sqlite3"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"conclave/models/cipher"
	"conclave/models/feed"
)

// Options are what a Store needs to know.
type Options struct {
	Dir             string // data folder; made if missing
	Hub             *feed.Hub
	Log             *slog.Logger
	Now             func() time.Time // nil: time.Now
	SessionIdle     time.Duration    // a session ends this long after its last use
	SessionLifetime time.Duration    // and this long after the sign-in in any case
	LimitScale      int              // multiplies every count of the limits; 0 is 1
	AppHost         string           // a word that is no password here
	LightHashes     bool             // hash passwords with the least memory that is allowed, 19 MiB instead of 64
	Credentials     string           // $CREDENTIALS_DIRECTORY: where a service manager puts the key file; may be empty
	AcceptRollback  bool             // let history go on from a database older than its anchors, once
}

// Store is an open data folder.
type Store struct {
	o       Options
	lock    *flock.Flock
	write   *gorm.DB // one connection besides the lane's
	read    *gorm.DB // many, read only
	readers chan *handle
	masters masters
	service *cipher.Service
	keys    *lru.Cache[keyID, *cipher.RoomKey]
	chains  *lru.Cache[ID, *cipher.Chain]
	hasher  *hasher
	lane    *lane
	proofs  proofs
	shelves shelves
	watch   watch
	alarm   alarm
	life    context.Context // until Close; of the background work that the store itself does
	stop    context.CancelFunc
	tasks   sync.WaitGroup

	anchorsMu   sync.Mutex
	anchors     anchors
	anchorsText []byte // as last written
	upgraded    bool   // the database comes from a version that had no anchors
}

type keyID struct {
	room  ID
	epoch uint32
}

const (
	databaseName = "conclave.db"
	readers      = 4 // transactions at a time; as many connections are left for single queries
	readOnly     = "&mode=ro&_query_only=1"
)

func newStore(o Options) *Store {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.LimitScale == 0 {
		o.LimitScale = 1
	}
	cost := phcToday
	if o.LightHashes {
		cost = phcLight
	}
	s := &Store{o: o, hasher: newHasher(32*o.LimitScale, cost)}
	s.keys, _ = lru.New[keyID, *cipher.RoomKey](4096) // fails for a size below 1 only
	s.chains, _ = lru.New[ID, *cipher.Chain](4096)
	s.shelves = newShelves()
	return s
}

// Open takes the data folder for this process, makes what is missing in it, and starts the
// writer. It fails with ErrKey or ErrModes (errors.Is) when the key file is the reason, and
// with one sentence for the operator in every case.
func Open(o Options) (*Store, error) {
	s := newStore(o)
	if err := s.openFolder(); err != nil {
		return nil, err
	}
	if err := s.openDatabase(); err != nil {
		s.closeFiles()
		return nil, err
	}
	var err error
	if s.lane, err = newLane(s); err != nil {
		return nil, errors.Join(err, s.closeFiles())
	}
	s.life, s.stop = context.WithCancel(context.Background())
	s.tasks.Go(func() { s.lane.run(s.life) })
	if err := s.checkAnchors(s.life); err != nil {
		return nil, errors.Join(err, s.close())
	}
	if socket, err := s.listenControl(); err != nil {
		s.o.Log.Warn("commands cannot ask this server while it runs", "error", err)
	} else {
		s.tasks.Go(func() { s.control(s.life, socket) })
	}
	s.tasks.Go(func() { s.sweep(s.life) })
	s.tasks.Go(func() { s.shred(s.life) })
	s.tasks.Go(func() { s.proveRooms(s.life) })
	return s, nil
}

// OpenToRead opens a data folder for verifying and copying it, beside a server or without one.
// Nothing in it is changed, and the store can do nothing else.
func OpenToRead(o Options) (*Store, error) {
	s := newStore(o)
	path := filepath.Join(s.o.Dir, databaseName)
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("there is no database in %s: name its folder with --data", s.o.Dir)
	}
	var err error
	if err := s.openReaders(path); err != nil {
		return nil, err
	}
	check, err := checkValue(s.readPool())
	if err == nil && check == nil {
		err = fmt.Errorf("the database in %s was never used", s.o.Dir)
	}
	if err == nil {
		err = s.openMaster(check)
	}
	if err == nil {
		err = s.openService(false)
	}
	if err != nil {
		return nil, errors.Join(err, s.closeFiles())
	}
	s.life, s.stop = context.WithCancel(context.Background())
	return s, nil
}

// Close answers what is already in the lane, writes the anchors, closes the database and
// releases the folder.
func (s *Store) Close() error {
	if s.write == nil {
		return s.close()
	}
	s.stop()
	s.tasks.Wait()
	return errors.Join(s.writeAnchors(context.Background()), s.closeFiles())
}

func (s *Store) close() error {
	s.stop()
	s.tasks.Wait()
	return s.closeFiles()
}

// Ready reports whether the database answers.
func (s *Store) Ready(ctx context.Context) error {
	var one int
	return s.read.WithContext(ctx).Raw("SELECT 1").Scan(&one).Error
}

func (s *Store) closeFiles() error {
	var errs []error
	if s.lane != nil {
		errs = append(errs, s.lane.db.close())
	}
	errs = append(errs, s.watch.close())
	for range cap(s.readers) { // each goes to the end of the queue
		h := <-s.readers
		errs = append(errs, h.close())
		s.readers <- h
	}
	for _, db := range []*gorm.DB{s.read, s.write} {
		if db == nil {
			continue
		}
		if pool, err := db.DB(); err == nil {
			errs = append(errs, pool.Close())
		}
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Unlock())
	}
	return errors.Join(errs...)
}

func (s *Store) now() int64 { return s.o.Now().UnixMilli() }

func (s *Store) openFolder() error {
	if err := os.MkdirAll(s.o.Dir, 0o700); err != nil {
		return fmt.Errorf("the data folder %s cannot be made (%w): choose another with --data or fix its permissions", s.o.Dir, cause(err))
	}
	if err := os.Chmod(s.o.Dir, 0o700); err != nil {
		return fmt.Errorf("the data folder %s does not belong to this user (%w): choose another with --data", s.o.Dir, cause(err))
	}
	s.lock = flock.New(filepath.Join(s.o.Dir, "lock"), flock.SetPermissions(0o600))
	locked, err := s.lock.TryLock()
	if err != nil {
		return fmt.Errorf("the data folder %s cannot be written (%w): choose another with --data or fix its permissions", s.o.Dir, cause(err))
	}
	if !locked {
		return fmt.Errorf("another Conclave is already running on the data folder %s: stop it first, or choose another folder with --data", s.o.Dir)
	}
	return nil
}

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

// checkValue returns the envelope that tells which key file belongs to this database, nil
// for a database that was never used.
func checkValue(db *sql.DB) (check []byte, err error) {
	err = db.QueryRow("SELECT value FROM meta WHERE name = 'check'").Scan(&check)
	if errors.Is(err, sql.ErrNoRows) || err != nil && strings.Contains(err.Error(), "no such table") {
		return nil, nil
	}
	return check, err
}

// openMaster finds the key file that belongs to the database (SECURITY.md C8). It makes one
// only when there is neither a key nor a used database.
func (s *Store) openMaster(check []byte) error {
	dir := s.keyDir()
	files, err := cipher.FindKeyFiles(dir)
	if err != nil {
		return keyError(err)
	}
	if check == nil {
		return s.firstMaster(dir, files)
	}
	id, err := cipher.MasterOf(check)
	if err != nil {
		return fmt.Errorf("%w: the database's check value is damaged, restore a backup", ErrKey)
	}
	wanted := filepath.Join(dir, fmt.Sprintf("mk-%08x.key", id))
	for _, file := range files {
		if file != wanted {
			s.o.Log.Info("a key file is not used by this database", "file", file)
		}
	}
	master, err := cipher.LoadKeyFile(wanted)
	if errors.Is(err, cipher.ErrKeyMissing) && len(files) > 0 {
		return fmt.Errorf("%w: key %s does not open this database, which wants %s: put that file back", ErrKey, filepath.Base(files[0]), wanted)
	}
	if err != nil {
		return keyError(err)
	}
	if err := master.OpenCheck(check); err != nil {
		return fmt.Errorf("%w: key %s does not open this database, which wants the key with the same name that it was made with: restore it from your copy", ErrKey, wanted)
	}
	s.masters.use(master)
	return nil
}

// firstMaster is for a database that was never used: the key that lies there already, or a new one.
func (s *Store) firstMaster(dir string, files []string) error {
	var master *cipher.Master
	var err error
	if len(files) == 0 {
		master, err = cipher.CreateKeyFile(dir, s.o.Now())
	} else {
		s.o.Log.Warn("a new database is made with a key file that was already there", "file", files[len(files)-1])
		master, err = cipher.LoadKeyFile(files[len(files)-1])
	}
	if err != nil {
		return keyError(err)
	}
	s.masters.use(master)
	return nil
}

func keyError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, cipher.ErrKeyModes):
		return fmt.Errorf("%w: %w", ErrModes, err)
	default:
		return fmt.Errorf("%w: %w", ErrKey, err)
	}
}

// openService opens the service secret, or makes it together with the check value in the
// first transaction of a new database.
func (s *Store) openService(fresh bool) error {
	if fresh {
		s.service = cipher.NewService()
		return s.write.Transaction(func(tx *gorm.DB) error {
			const insert = "INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)"
			if err := tx.Exec(insert, "service", s.masters.now().SealService(s.service)).Error; err != nil {
				return err
			}
			return tx.Exec(insert, "check", s.masters.now().SealCheck()).Error
		})
	}
	var sealed []byte
	if err := s.openPool().Raw("SELECT value FROM meta WHERE name = 'service'").Row().Scan(&sealed); err != nil {
		return fmt.Errorf("%w: the database holds no service secret, restore a backup", ErrKey)
	}
	master, err := s.masterOf(sealed) // a rotation may have run since the check value was read
	if err == nil {
		s.service, err = master.OpenService(sealed)
	}
	if err != nil {
		return fmt.Errorf("%w: the database's service secret is damaged, restore a backup", ErrKey)
	}
	return nil
}

// cause strips the path from a file error, for sentences that name it already.
func cause(err error) error {
	if pathErr := (*fs.PathError)(nil); errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}
