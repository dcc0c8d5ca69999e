package models

import (
	"context"
	"errors"

	"conclave/models/cipher"
)

// What whoever runs the server does with an account. The doer is an administrator, or nobody:
// then it was the command line. All of it holds at once, for whoever is signed in too, since each
// request reads the account anew.

// Promote makes somebody an administrator. It is a Conflict for one who is, or who is disabled.
func (s *Store) Promote(ctx context.Context, by By, user ID) error {
	return s.operate(ctx, by, user, "promote", func(_ *act, a *account) error {
		switch {
		case a.profile.Admin:
			return conflict("%s is an administrator already.", a.profile.Username)
		case a.disabled():
			return conflict("%s is disabled. Enable the account first.", a.profile.Username)
		}
		a.profile.Admin = true
		return nil
	})
}

// Demote takes that away again. The last administrator stays one.
func (s *Store) Demote(ctx context.Context, by By, user ID) error {
	return s.operate(ctx, by, user, "demote", func(t *act, a *account) error {
		if !a.profile.Admin {
			return conflict("%s is no administrator.", a.profile.Username)
		}
		if err := t.notTheLast(a); err != nil {
			return err
		}
		a.profile.Admin = false
		return nil
	})
}

// Disable keeps somebody out: no sign-in, no session, no stream, until Enable. Memberships and
// what was written stay. The last administrator cannot be disabled, and nobody disables himself.
func (s *Store) Disable(ctx context.Context, by By, user ID) error {
	return s.operate(ctx, by, user, "disable", func(t *act, a *account) error {
		switch {
		case a.disabled():
			return conflict("%s is disabled already.", a.profile.Username)
		case by.User == user:
			return conflict("You cannot disable yourself. Another administrator can, or whoever can use the command line of the server.")
		}
		if err := t.notTheLast(a); err != nil {
			return err
		}
		a.profile.DisabledMS = t.now
		return t.revoke(by, "the account was disabled", "user_id = ?", user)
	})
}

// Enable lets somebody in again who was disabled, or whose sign-ins wait after too many failures.
func (s *Store) Enable(ctx context.Context, by By, user ID) error {
	return s.operate(ctx, by, user, "enable", func(t *act, a *account) error {
		failures, err := t.unlock(user)
		if err == nil && !a.disabled() && failures == 0 {
			err = conflict("%s is not disabled, and no failed login makes anybody wait there.", a.profile.Username)
		}
		a.profile.DisabledMS = 0
		return err
	})
}

// EndSessions signs somebody out everywhere.
func (s *Store) EndSessions(ctx context.Context, by By, user ID) error {
	return s.act(ctx, func(t *act) error {
		if err := t.mayStill(by, user); err != nil {
			return err
		}
		return t.revoke(by, "ended by an administrator", "user_id = ?", user)
	})
}

// operate changes an account once the audit log has been read, so that nothing is built on an
// account that somebody has put back.
func (s *Store) operate(ctx context.Context, by By, user ID, event string, f func(*act, *account) error) error {
	if err := s.ledger.wait(ctx); err != nil {
		return err
	}
	return s.act(ctx, func(t *act) error {
		if err := t.mayStill(by, user); err != nil {
			return err
		}
		return t.change(by, user, event, func(a *account) error { return f(t, a) })
	})
}

// mayStill checks that the doer's session has not ended, and that whoever changes somebody else's
// account still administers the server: a password is hashed meanwhile, and much happens in that time.
func (t *act) mayStill(by By, user ID) error {
	if err := t.alive(by); err != nil || by.User == user || by.User.Zero() {
		return err
	}
	doer, err := t.s.readAccount(t.ctx, t.db.Statement.ConnPool, by.User, errSignedOut)
	if errors.Is(err, cipher.ErrAuth) || err == nil && (doer.disabled() || !doer.profile.Admin) {
		return errNoAdministrator
	}
	return err
}

var errNoAdministrator = &Error{Kind: Denied, Msg: "Only whoever administers this server can do this."}

// notTheLast refuses what would leave a server that nobody administers.
func (t *act) notTheLast(a *account) error {
	if !a.profile.Admin {
		return nil
	}
	others, err := t.s.administered(t.ctx, t.db.Statement.ConnPool, a.row.ID)
	if err == nil && !others {
		err = conflict("%s is the only administrator. Make somebody else one first.", a.profile.Username)
	}
	return err
}
