package models

import (
	stdcipher "crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/argon2"

	"conclave/models/cipher"
)

// An exported key is the text of its key file, or that text sealed under a passphrase:
//
//	CONCLAVE-EXPORT-1-<key name>-<base64url of salt 16, IV 16, ciphertext>
//
// The key for it is argon2id of the passphrase (64 MiB, 3 passes, 1 lane, 64 bytes), the cipher
// that of the messages, and the key's name the associated data.
const (
	exportMark = "CONCLAVE-EXPORT-1-"
	exportSalt = 16
)

// ExportKey returns the master key of the database in the folder; with a passphrase, sealed.
func ExportKey(o Options, passphrase string) (string, error) {
	s, err := OpenToRead(o)
	if err != nil {
		return "", err
	}
	name := s.masters.now().Name()
	text, err := os.ReadFile(s.keyPath(name))
	if err = errors.Join(err, s.Close()); err != nil || passphrase == "" {
		return string(text), err
	}
	packed := make([]byte, 2*exportSalt)
	rand.Read(packed)
	aead, err := exportCipher(passphrase, packed[:exportSalt])
	if err != nil {
		return "", err
	}
	packed = aead.Seal(packed, packed[exportSalt:], text, []byte(name))
	return exportMark + name + "-" + base64.RawURLEncoding.EncodeToString(packed) + "\n", nil
}

// ExportIsSealed reports whether a passphrase is needed to import the text.
func ExportIsSealed(text string) bool { return strings.HasPrefix(text, exportMark) }

var errImport = errors.New("this is no exported key, or the passphrase is another one: nothing was written")

// ImportKey writes an exported key back as a key file, never over another, and returns its path. The
// audit log says so, at once where a server runs, else from the next start on.
func ImportKey(o Options, text, passphrase string) (string, error) {
	if ExportIsSealed(text) {
		name, sealed, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(text), exportMark), "-")
		packed, err := base64.RawURLEncoding.DecodeString(sealed)
		if err != nil || len(packed) < 2*exportSalt {
			return "", errImport
		}
		aead, err := exportCipher(passphrase, packed[:exportSalt])
		if err != nil {
			return "", err
		}
		plain, err := aead.Open(nil, packed[exportSalt:2*exportSalt], packed[2*exportSalt:], []byte(name))
		if err != nil {
			return "", errImport
		}
		text = string(plain)
	}
	path, err := cipher.WriteKeyFile(filepath.Join(o.Dir, "keys"), []byte(text))
	if errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("%s is already there and stays as it is", path)
	}
	if errors.Is(err, cipher.ErrKeyCorrupt) {
		return "", errImport
	}
	if err != nil {
		return path, err
	}
	name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), "mk-"), ".key")
	if err := tellImport(o, name); err != nil {
		return path, fmt.Errorf("the key is in %s, but that could not be noted for the audit log: %w", path, err)
	}
	return path, nil
}

func exportCipher(passphrase string, salt []byte) (stdcipher.AEAD, error) {
	return cipher.NewAEAD(argon2.IDKey([]byte(normalPassword(passphrase)), salt, 3, 64<<10, 1, 64))
}
