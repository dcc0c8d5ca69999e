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
// A person becomes a user in two steps, Register and Confirm (register.go), logs in through
// Authenticate (signin.go), which waits after failures (throttle.go), and stays so through a
// session row (session.go). An account has revisions, each of which vouches for all that logs
// the person in (account.go); the audit log names the latest, and no row that says otherwise is
// believed (ledger.go).
package models

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"
	lru "github.com/hashicorp/golang-lru/v2"
	"gorm.io/gorm"

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
	LightHashes     bool             // for tests alone: hash passwords with next to no work
	Credentials     string           // $CREDENTIALS_DIRECTORY: where a service manager puts the key file; may be empty
	AcceptRollback  bool             // let history go on from a database older than its anchors, once
}

// Store is an open data folder.
type Store struct {
	o         Options
	lock      *flock.Flock
	write     *gorm.DB // one connection besides the lane's
	read      *gorm.DB // many, read only
	readers   chan *handle
	masters   masters
	service   *cipher.Service
	keys      *lru.Cache[keyID, *cipher.RoomKey]
	chains    *lru.Cache[ID, *cipher.Chain]
	hasher    *hasher
	lane      *lane
	proofs    proofs
	ledger    ledger
	tally     tally
	sizes     sizes
	integrity integrity
	shelves   shelves
	watch     watch
	alarm     alarm
	throttle  throttle
	answered  answered
	url       atomic.Pointer[string] // where this server is reached; nil: none runs
	life      context.Context        // until Close; of the background work that the store itself does
	stop      context.CancelFunc
	tasks     sync.WaitGroup

	anchorsMu   sync.Mutex
	anchors     anchors
	anchorsText []byte // as last written
	serving     bool   // the audit log says that the server has started
	upgraded    bool   // the database comes from a version that had no anchors
}

type keyID struct {
	room  ID
	epoch uint32
}

func newStore(o Options) *Store {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.LimitScale == 0 {
		o.LimitScale = 1
	}
	cost := phcToday
	if o.LightHashes {
		cost = phcTests
	}
	s := &Store{o: o, hasher: newHasher(32*o.LimitScale, cost), throttle: throttle{trying: map[string]int{}}}
	s.keys, _ = lru.New[keyID, *cipher.RoomKey](4096) // fails for a size below 1 only
	s.chains, _ = lru.New[ID, *cipher.Chain](4096)
	s.shelves = newShelves()
	s.ledger.filled, s.ledger.patience = make(chan struct{}), ledgerPatience
	s.tally = tally{opened: s.now(), posts: map[int64]int{}, logins: map[int64]int{}, refused: map[int64]int{}}
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
	start, err := readAuditMark(s.life, s.readPool())
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	s.ledger.from = start.n
	if err := s.tellUntold(s.life); err != nil {
		s.o.Log.Error("an imported key could not be written to the audit log", "error", err)
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
	if err := inUse(s.o.Dir); err != nil {
		return nil, err
	}
	if err := s.openReaders(filepath.Join(s.o.Dir, databaseName)); err != nil {
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
	s.ledger.from = math.MaxUint64 // there is nothing but what stands there
	s.life, s.stop = context.WithCancel(context.Background())
	return s, nil
}

// inUse reports a folder in which there is nothing to open.
func inUse(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, databaseName)); err != nil {
		return fmt.Errorf("there is no database in %s: name its folder with --data", dir)
	}
	return nil
}

// Close answers what is already in the lane, writes the anchors, closes the database and
// releases the folder.
func (s *Store) Close() error {
	if s.write == nil {
		return s.close()
	}
	s.stop()
	s.tasks.Wait()
	if s.serving {
		s.record(Audit{Event: eventStop, Outcome: "done"})
	}
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

// cause strips the path from a file error, for sentences that name it already.
func cause(err error) error {
	if pathErr := (*fs.PathError)(nil); errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}
