package cipher

// The rules of this file:
//
//   - A key file is never overwritten and never changed; a new key is a new file.
//   - Nobody but its owner may read a key file or list its directory, else it is
//     not used.
//   - What the file says is believed only if its checksum and its name fit.
//   - Errors say what to do about the file, never what is in it.

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// What can be wrong with a key file; test with errors.Is. The errors that are
// returned name the file and are sentences a person can act on.
var (
	ErrKeyMissing = errors.New("the key file is missing")
	ErrKeyCorrupt = errors.New("the key file is damaged")
	ErrKeyModes   = errors.New("the key file is not private")
)

const (
	keyPrefix   = "CONCLAVE-MASTER-1-"
	keyFileMax  = 4096 // bytes; one of ours has about 220
	keyTextSize = 86   // characters of base64url for 64 bytes
	keySumSize  = 8    // hex digits of the checksum
)

// The alphabet has '-' in it, so a key line is cut by length. Strict: one secret
// has one text.
var keyEncoding = base64.RawURLEncoding.Strict()

// CreateKeyFile makes a new master and returns it when its file is safely on
// the disk, in a directory that is made if it is missing (mode 0700). A
// directory that others may look into is ErrKeyModes.
func CreateKeyFile(dir string, now time.Time) (*Master, error) {
	if err := makeKeyDir(dir); err != nil {
		return nil, err
	}
	id, secret := newMasterID(), newSecret()
	path := filepath.Join(dir, keyFileName(id))
	if err := writeKeyFile(path, formatKey(id, secret, now)); err != nil {
		return nil, err
	}
	return LoadKeyFile(path)
}

// WriteKeyFile puts the text of a key file into a directory, as CreateKeyFile does, and returns
// its path. It never replaces a file (fs.ErrExist); a text that is no key file is ErrKeyCorrupt.
func WriteKeyFile(dir string, text []byte) (path string, err error) {
	id, _, err := parseKey(text)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrKeyCorrupt, err)
	}
	if err := makeKeyDir(dir); err != nil {
		return "", err
	}
	path = filepath.Join(dir, keyFileName(id))
	return path, writeKeyFile(path, text)
}

// LoadKeyFile reads the master from a key file. Its errors are ErrKeyMissing,
// ErrKeyModes (the file or its directory can be read by others, or the file is
// a symbolic link), ErrKeyCorrupt, or those of the file system.
func LoadKeyFile(path string) (*Master, error) {
	text, err := readKeyFile(path)
	if err != nil {
		return nil, err
	}
	id, secret, err := parseKey(text)
	if err != nil {
		return nil, fmt.Errorf("%w: put %s back from its backup, because %w", ErrKeyCorrupt, path, err)
	}
	if filepath.Base(path) != keyFileName(id) {
		return nil, fmt.Errorf("%w: %s holds the key of %s; give it that name, or put it back from its backup", ErrKeyCorrupt, path, keyFileName(id))
	}
	return newMaster(id, secret), nil
}

// FindKeyFiles returns the paths of the key files in a directory, sorted. A
// missing directory has none.
func FindKeyFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var paths []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "mk-") && strings.HasSuffix(e.Name(), ".key") {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths, err
}

func keyFileName(id uint32) string { return "mk-" + masterName(id) + ".key" }

func newMasterID() uint32 {
	var b [4]byte
	for binary.BigEndian.Uint32(b[:]) == 0 {
		rand.Read(b[:])
	}
	return binary.BigEndian.Uint32(b[:])
}

// makeKeyDir makes sure that the directory exists, also after a crash, and is
// private.
func makeKeyDir(dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if err := syncDir(filepath.Dir(dir)); err != nil {
			return err
		}
	}
	return checkKeyDir(dir)
}

func checkKeyDir(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%w: others may look into its directory, so run: chmod 700 %s", ErrKeyModes, dir)
	}
	return nil
}

// writeKeyFile writes a file that does not exist yet and waits until it and its
// name are on the disk. The name appears when the content is whole, so that a
// crash leaves no half a key.
func writeKeyFile(path string, text []byte) error {
	fresh := path + ".new"
	f, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Link(fresh, path) // unlike a rename it never replaces
	}
	if err = errors.Join(err, os.Remove(fresh)); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// readKeyFile returns the text of a file that is one itself and private.
func readKeyFile(path string) ([]byte, error) {
	named, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: put %s back from its backup", ErrKeyMissing, path)
	}
	if err != nil {
		return nil, err
	}
	if !named.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s is a link or no file, so put the key file itself there", ErrKeyModes, path)
	}
	if named.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%w: others may read it, so run: chmod 600 %s", ErrKeyModes, path)
	}
	if err := checkKeyDir(filepath.Dir(path)); err != nil {
		return nil, err
	}

	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if opened, err := f.Stat(); err != nil || !os.SameFile(named, opened) {
		return nil, fmt.Errorf("%w: %s was exchanged while it was read, so find out by whom", ErrKeyModes, path)
	}
	return io.ReadAll(io.LimitReader(f, keyFileMax+1))
}

// formatKey is the text of a key file.
func formatKey(id uint32, secret []byte, now time.Time) []byte {
	return fmt.Appendf(nil, "# created %s\n# id %s\n# back this up apart from the database\n%s%s-%s\n",
		now.UTC().Format(time.RFC3339), masterName(id), keyPrefix, keyEncoding.EncodeToString(secret), keySum(secret))
}

// parseKey reads the text of a key file: comments, of which one names the id,
// and one line with the key. White space around lines is no fault.
func parseKey(text []byte) (id uint32, secret []byte, err error) {
	if len(text) > keyFileMax {
		return 0, nil, errors.New("it is too long")
	}
	for line := range bytes.Lines(text) {
		line := strings.TrimSpace(string(line))
		name, named := strings.CutPrefix(line, "# id ")
		switch {
		case named && id != 0:
			return 0, nil, errors.New("it names two ids")
		case named:
			n, err := strconv.ParseUint(name, 16, 32)
			if id = uint32(n); err != nil || id == 0 || masterName(id) != name {
				return 0, nil, errors.New("its id is not 8 hex digits")
			}
		case line == "" || strings.HasPrefix(line, "#"):
		case secret != nil:
			return 0, nil, errors.New("it holds more than one key")
		default:
			if secret, err = parseKeyLine(line); err != nil {
				return 0, nil, err
			}
		}
	}
	if id == 0 || secret == nil {
		return 0, nil, errors.New("its id or its key is not there")
	}
	return id, secret, nil
}

func parseKeyLine(line string) ([]byte, error) {
	line, ours := strings.CutPrefix(line, keyPrefix)
	if !ours || len(line) != keyTextSize+1+keySumSize || line[keyTextSize] != '-' {
		return nil, errors.New("its key line is not whole")
	}
	secret, err := keyEncoding.DecodeString(line[:keyTextSize])
	if err != nil || len(secret) != secretSize || keySum(secret) != line[keyTextSize+1:] {
		return nil, errors.New("its key does not fit its checksum")
	}
	return secret, nil
}

// keySum finds mistakes of copying; it protects against nobody.
func keySum(secret []byte) string {
	sum := sha256.Sum256(secret)
	return hex.EncodeToString(sum[:keySumSize/2])
}
