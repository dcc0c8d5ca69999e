package models

import (
	"crypto/rand"
	"database/sql/driver"
	"encoding/hex"
	"fmt"
)

// ID names a user, a room or a pending registration: 128 random bits, written as 32
// lower-case hexadecimal digits.
type ID [16]byte

func newID() (id ID) {
	rand.Read(id[:]) // crashes the program rather than fail, since Go 1.24
	return id
}

// ParseID reads what String writes. Anything else is NotFound: a malformed name and the
// name of nothing must look alike.
func ParseID(s string) (id ID, err error) {
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) != len(id) {
		return ID{}, errNotFound
	}
	copy(id[:], raw)
	if id.String() != s {
		return ID{}, errNotFound // upper-case digits would give a room a second address
	}
	return id, nil
}

func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Zero reports whether id names nothing.
func (id ID) Zero() bool { return id == ID{} }

// Value stores an ID as a 16-byte BLOB.
func (id ID) Value() (driver.Value, error) { return id[:], nil }

// Scan reads a 16-byte BLOB; NULL is the zero ID.
func (id *ID) Scan(v any) error {
	if v == nil {
		*id = ID{}
		return nil
	}
	raw, ok := v.([]byte)
	if !ok || len(raw) != len(id) {
		return fmt.Errorf("an id is 16 bytes, not %T of %d", v, len(raw))
	}
	copy(id[:], raw)
	return nil
}

// hash is a 32-byte MAC or digest as a column.
type hash [32]byte

func (h hash) Value() (driver.Value, error) { return h[:], nil }

func (h *hash) Scan(v any) error {
	raw, ok := v.([]byte)
	if !ok || len(raw) != len(h) {
		return fmt.Errorf("a digest is 32 bytes, not %T of %d", v, len(raw))
	}
	copy(h[:], raw)
	return nil
}
