package models

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"gorm.io/gorm"
)

// handle is one connection to the database with the statements that were prepared on it, for
// one goroutine at a time. Preparing a statement costs more than most of them do, and what is
// prepared inside a transaction of database/sql (or gorm) dies with it.
//
// Statements run to their end: a context that can be cancelled costs the driver a goroutine for
// each of them, and none takes long. The caller's patience is asked before each.
type handle struct {
	pool     *sql.DB
	conn     *sql.Conn // nil until first used
	prepared map[string]*sql.Stmt
}

func (h *handle) open() (err error) {
	if h.conn == nil {
		h.conn, err = h.pool.Conn(context.Background())
		h.prepared = map[string]*sql.Stmt{}
	}
	return err
}

func (h *handle) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s := h.prepared[query]; s != nil {
		return s, nil
	}
	if err := h.open(); err != nil {
		return nil, err
	}
	s, err := h.conn.PrepareContext(context.Background(), query)
	if err == nil {
		h.prepared[query] = s // queries are constants of this package: there are only so many
	}
	return s, err
}

func (h *handle) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	s, err := h.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.ExecContext(context.Background(), args...)
}

func (h *handle) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	s, err := h.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(context.Background(), args...)
}

func (h *handle) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	s, err := h.PrepareContext(ctx, query)
	if err != nil {
		return h.failed(ctx, query)
	}
	return s.QueryRowContext(context.Background(), args...)
}

// failed lets database/sql find the same error again, since only it can make a Row that holds one.
func (h *handle) failed(ctx context.Context, query string) *sql.Row {
	if h.conn == nil {
		return h.pool.QueryRowContext(ctx, query)
	}
	return h.conn.QueryRowContext(ctx, query)
}

// transaction runs f between begin and COMMIT. An error of either, or a panic, takes everything back.
func (h *handle) transaction(ctx context.Context, begin string, f func() error) error {
	if _, err := h.ExecContext(ctx, begin); err != nil {
		return err
	}
	committed := false
	defer func() {
		if !committed {
			h.ExecContext(context.Background(), "ROLLBACK") // fails where SQLite has done it by itself
		}
	}()
	err := f()
	if err == nil {
		_, err = h.ExecContext(context.Background(), "COMMIT")
		committed = err == nil
	}
	return err
}

func (h *handle) close() error {
	if h.conn == nil {
		return nil
	}
	for _, s := range h.prepared {
		s.Close()
	}
	conn := h.conn
	h.conn, h.prepared = nil, nil
	return conn.Close()
}

// snapshot is a read transaction, with the tick before it began: what was noted later is not to be held
// against what it shows.
type snapshot struct {
	gorm.ConnPool
	since uint64
}

// snapshot runs f in one read transaction, so that everything it reads fits together. When
// something that it read was changed in between (errMoved) it reads again, while the lane waits.
func (s *Store) snapshot(ctx context.Context, f func(gorm.ConnPool) error) error {
	read := func() error {
		return s.reading(ctx, func(h *handle) error {
			since := s.proofs.now()
			return h.transaction(ctx, "BEGIN", func() error { return f(snapshot{h, since}) })
		})
	}
	err := read()
	if errors.Is(err, errMoved) {
		s.lane.quiet.RLock()
		defer s.lane.quiet.RUnlock()
		err = read()
	}
	return err
}

// reading lends f a connection that reads.
func (s *Store) reading(ctx context.Context, f func(*handle) error) error {
	select {
	case h := <-s.readers:
		defer func() { s.readers <- h }()
		return f(h)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// noRow turns the absence of a row into the given error.
func noRow(err error, absent *Error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return absent
	}
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	return nil
}
