package models

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql/driver"
	"encoding/hex"
	"math"

	"gorm.io/gorm"
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

// Scan reads a 16-byte BLOB. Anything else is the zero ID, which names nothing: somebody who can
// write the database must not be able to turn a page into an error.
func (id *ID) Scan(v any) error {
	*id = ID{}
	if raw, ok := v.([]byte); ok && len(raw) == len(id) {
		copy(id[:], raw)
	}
	return nil
}

// hash is a 32-byte MAC or digest as a column. Anything else that stands there reads as zeros,
// which no MAC and no digest is.
type hash [32]byte

func (h hash) Value() (driver.Value, error) { return h[:], nil }

func (h *hash) Scan(v any) error {
	*h = hash{}
	if raw, ok := v.([]byte); ok && len(raw) == len(h) {
		copy(h[:], raw)
	}
	return nil
}

// number is an integer column. What is no integer reads as nonsense, below every range.
type number int64

func (n *number) Scan(v any) error {
	i, ok := v.(int64)
	if !ok {
		i = noNumber
	}
	*n = number(i)
	return nil
}

const noNumber = math.MinInt64

// within reports whether a number is from 0 to most.
func (n number) within(most int64) bool { return n >= 0 && int64(n) <= most }

// blob is a BLOB column; nil when something else stands there.
type blob []byte

func (b *blob) Scan(v any) error {
	raw, _ := v.([]byte)
	*b = bytes.Clone(raw)
	return nil
}

// column reads what a query with one column finds.
func column[T any](ctx context.Context, db gorm.ConnPool, query string, args ...any) (found []T, err error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var value T
		if err := rows.Scan(&value); err != nil {
			return nil, err
		}
		found = append(found, value)
	}
	return found, rows.Err()
}
