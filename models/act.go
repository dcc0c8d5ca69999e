package models

import (
	"context"

	"gorm.io/gorm"
)

// act is a write transaction on what belongs to no room: accounts, sessions, tokens. What it
// writes into the audit log is noted in the ledger as soon as it is durable, before anybody can
// read what it has changed a second time.
type act struct {
	s     *Store
	ctx   context.Context
	db    *gorm.DB
	now   int64 // unix milliseconds
	noted []Audit
	end   mark     // of the audit log, after that
	after []func() // runs after the commit
}

// act runs f in one transaction. Of an error, nothing remains. No password is hashed in it.
func (s *Store) act(ctx context.Context, f func(*act) error) error {
	t, err := s.committed(ctx, f)
	if err == nil {
		for _, f := range t.after {
			f()
		}
	}
	return err
}

// committed returns the act of f once it is durable and noted. Whatever f does, a panic included, others
// can act again afterwards.
func (s *Store) committed(ctx context.Context, f func(*act) error) (t *act, err error) {
	s.lane.quiet.Lock()
	defer s.lane.quiet.Unlock()
	err = s.write.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		t = &act{s: s, ctx: ctx, db: tx, now: s.now()}
		return f(t)
	})
	if err == nil {
		s.proofs.tick()
		s.note(t.noted, t.now, t.end)
	}
	return t, err
}

// audit writes an event into the audit log.
func (t *act) audit(e Audit) error {
	t.noted = append(t.noted, e)
	var err error
	t.end, err = t.s.appendAudit(t.ctx, t.db.Statement.ConnPool, e)
	return err
}

// exec runs a statement and returns how many rows it has changed. A []byte among the arguments
// must not stand right behind a parenthesis: gorm would take it for a list.
func (t *act) exec(statement string, args ...any) (rows int64, err error) {
	result := t.db.Exec(statement, args...)
	return result.RowsAffected, result.Error
}
