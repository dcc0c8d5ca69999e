package models

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	"gorm.io/gorm"

	"conclave/models/cipher"
)

// masters are the master keys that this process has met. The current one wraps; the others
// still open what a reader saw just before a rotation, or what a rotation elsewhere has wrapped.
type masters struct {
	mu      sync.Mutex
	current *cipher.Master
	byID    map[uint32]*cipher.Master
}

func (m *masters) use(key *cipher.Master) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.current = key
	if m.byID == nil {
		m.byID = map[uint32]*cipher.Master{}
	}
	m.byID[key.ID()] = key
}

func (m *masters) now() *cipher.Master {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.current
}

// masterOf returns the master that an envelope of kind 05 names. cipher.ErrAuth means that there is none.
func (s *Store) masterOf(wrapped []byte) (*cipher.Master, error) {
	id, err := cipher.MasterOf(wrapped)
	if err != nil {
		return nil, err
	}
	s.masters.mu.Lock()
	defer s.masters.mu.Unlock()
	if key := s.masters.byID[id]; key != nil {
		return key, nil
	}
	key, err := cipher.LoadKeyFile(s.keyPath(fmt.Sprintf("%08x", id)))
	if err != nil {
		return nil, cipher.ErrAuth
	}
	s.masters.byID[id] = key
	return key, nil
}

// keyDir is where the key files are: with the service manager's credentials if it has put one
// there, otherwise in the data folder.
func (s *Store) keyDir() string {
	if s.credentials() {
		return s.o.Credentials
	}
	return filepath.Join(s.o.Dir, "keys")
}

func (s *Store) credentials() bool {
	if s.o.Credentials == "" {
		return false
	}
	files, err := cipher.FindKeyFiles(s.o.Credentials)
	return err == nil && len(files) > 0
}

func (s *Store) keyPath(name string) string {
	return filepath.Join(s.keyDir(), "mk-"+name+".key")
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

// openMaster finds the key file that belongs to the database. It makes one
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
	wanted := s.keyPath(fmt.Sprintf("%08x", id))
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
