package models

import (
	"errors"
	"fmt"
	"time"
)

// Kind sorts errors by what the caller can do about them. handlers/errors.go maps each
// kind to one HTTP status; an error that is not an *Error is our own fault.
type Kind int

// The kinds of errors.
const (
	Invalid   Kind = iota + 1 // the input must be changed
	NotFound                  // no such thing, or none that this person may see
	Denied                    // visible, but not allowed in this role
	SignedOut                 // sign in first
	Conflict                  // true a moment ago, not any more
	Limited                   // too often; try again after Wait
	Busy                      // the server has too much to do; try again after Wait
)

// Error is a failure that a person can be told about.
type Error struct {
	Kind  Kind
	Field string // the form field it belongs to; empty for the whole form
	Msg   string // a sentence a person may read
	Err   error  // the cause, for operators
	Wait  time.Duration
}

func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %v", e.Msg, e.Err)
	}
	return e.Msg
}

func (e *Error) Unwrap() error { return e.Err }

// Errors are several faults of one form, so that all of them can be shown at once.
type Errors []*Error

func (e Errors) Error() string { return e[0].Error() }

// Unwrap makes errors.As find the first fault.
func (e Errors) Unwrap() []error {
	errs := make([]error, len(e))
	for i := range e {
		errs[i] = e[i]
	}
	return errs
}

// KindOf returns the kind of the first *Error in err, 0 when there is none.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return 0
}

func invalid(field, format string, args ...any) *Error {
	return &Error{Kind: Invalid, Field: field, Msg: fmt.Sprintf(format, args...)}
}

func conflict(format string, args ...any) *Error {
	return &Error{Kind: Conflict, Msg: fmt.Sprintf(format, args...)}
}

var errNotFound = &Error{Kind: NotFound, Msg: "There is nothing here, or nothing that you may see."}

// Why the data folder could not be opened. The text around them is one sentence for the operator.
var (
	ErrKey   = errors.New("key file missing or wrong")
	ErrModes = errors.New("file modes too open")
)
