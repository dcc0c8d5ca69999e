package models

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"gorm.io/gorm"

	"conclave/models/cipher"
)

// SignIn is what the form of the login carries.
type SignIn struct {
	Username, Password string
	Code               string // of the authenticator, or a recovery code
	Passkey            Answer // in place of the code; its zero for none
	Device             string // the cookie of a browser that somebody has signed in from before; empty for none
}

// Arrival is a sign-in that succeeded, and what its person should know about those that did not.
type Arrival struct {
	User     User
	Recovery bool   // with a recovery code: good for a new enrolment only
	Factor   Factor // what stood beside the password

	Failures int       // since the last success
	Guessed  int       // of them with the right password
	Since    time.Time // of the first
	Last     time.Time // the sign-in before this one; zero when there was none
	LastFrom string    // its address
}

var (
	errSignIn = &Error{Kind: Invalid, Msg: "User name, password and code or passkey do not fit together. Check all three; each code works once, so wait for the next one."}
	errLocked = &Error{Kind: Invalid, Msg: "Too many attempts in a row have failed for this user name. What opens it now is one of the recovery codes together with the password, a browser in which its owner has logged in before, or whoever runs this server."}
)

// Authenticate checks the user name, the password and a second factor, all together: whichever is
// wrong, the answer is the same, after the same work. The second factor is a current code of the
// authenticator, a passkey's signature, or a recovery code, which is used up and reported, because
// it is good for a new enrolment only. Where too many have failed it is Limited, and nothing is checked; Busy when too
// many are at it, and while the audit log is being read after a start.
func (s *Store) Authenticate(ctx context.Context, by By, in SignIn) (Arrival, error) {
	in.Username = strings.ToLower(strings.TrimSpace(in.Username))
	if err := s.ledger.wait(ctx); err != nil {
		return Arrival{}, err
	}
	y, err := s.admit(ctx, by, in)
	if err != nil {
		return Arrival{}, err
	}
	defer s.throttle.end(y.counters)
	in.Passkey = s.once(in.Passkey)
	for range 3 {
		arrival, err := s.judge(ctx, y, in)
		if !errors.Is(err, errMoved) { // else the account was changed meanwhile: it is looked at again
			return arrival, err
		}
	}
	return Arrival{}, busy(errBusy)
}

// attempt is one try to sign in that was let through.
type attempt struct {
	by       By
	counters []counter // where a failure is counted
	locked   bool      // too many have failed: only a recovery code helps
}

// admit lets a try through unless the account or the address has to wait. A browser that its owner
// has signed in from before waits for neither, until it has failed too often itself.
func (s *Store) admit(ctx context.Context, by By, in SignIn) (attempt, error) {
	y := attempt{by: by}
	s.throttle.mu.Lock()
	defer s.throttle.mu.Unlock()
	err := s.snapshot(ctx, func(db gorm.ConnPool) error {
		account := counter{waits: true, key: s.service.Index("attempts", "name "+in.Username)}
		err := db.QueryRowContext(ctx, "SELECT id FROM users WHERE username_index = ?", s.service.Index("username", in.Username)).Scan(&account.user)
		if err == nil {
			account.key = s.service.Index("attempts", "account "+account.user.String())
		} else if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		y.by.User = account.user
		device, err := s.device(ctx, db, account.user, in.Device)
		if err != nil {
			return err
		}
		if device != nil {
			own := counter{key: device, user: account.user}
			a, err := own.row(ctx, db)
			if err != nil {
				return err
			}
			if a.failures+s.throttle.trying[string(device)] < deviceTries {
				y.counters = []counter{own}
				return s.throttle.begin(ctx, db, s.now(), y.counters)
			}
		}
		a, err := account.row(ctx, db)
		if err != nil {
			return err
		}
		y.locked = a.failures >= locksAccount
		y.counters = append(s.addressCounters("login", by.Address), account)
		return s.throttle.begin(ctx, db, s.now(), y.counters)
	})
	return y, err
}

// judge compares all that was sent with all that is known. errMoved: the account was changed
// meanwhile, and nothing was decided.
func (s *Store) judge(ctx context.Context, y attempt, in SignIn) (Arrival, error) {
	c, err := s.claim(ctx, in)
	if err != nil {
		return Arrival{}, err
	}
	right, err := s.passwordFits(ctx, c.row, c.known, in.Password)
	if err != nil {
		return Arrival{}, busy(err) // nothing was judged, and nothing counts
	}
	ctx = context.WithoutCancel(ctx) // from here on it counts, even when the person goes away
	second := s.secondFactor(y.by, in, c)
	right = right && c.known
	if !right || c.account.disabled() || second == nil || y.locked && second.Factor != ByRecovery {
		return Arrival{}, s.refuse(ctx, y, right && second == nil)
	}
	arrival, err := s.enter(ctx, y, c, second)
	if errors.Is(err, errSignIn) { // another sign-in has used the code up
		return Arrival{}, s.refuse(ctx, y, true)
	}
	if err != nil {
		return Arrival{}, err
	}
	arrival.User.revision, err = s.rehash(ctx, y.by, c.row, arrival.User.revision, in.Password)
	if err != nil && !errors.Is(err, errMoved) {
		s.o.Log.Error("a password could not be hashed with today's parameters", "error", err)
	}
	return arrival, nil
}

// claim is what the database says, at one moment, about whom a sign-in claims to be.
type claim struct {
	row     userRow
	known   bool // there is such an account, and it is what was written
	account account
	spare   []byte // the stored hash of the recovery code that was sent; nil when it is none
	keys    []passkey

	last     number
	lastFrom string
}

func (s *Store) claim(ctx context.Context, in SignIn) (c claim, err error) {
	var damage error
	err = s.snapshot(ctx, func(db gorm.ConnPool) error {
		c, damage = claim{}, nil
		err := db.QueryRowContext(ctx, `SELECT id, username_index, email_index, profile, revision, password, totp, totp_last_step, created_ms, disabled_ms,
			login_ms, CAST(login_address AS TEXT) FROM users WHERE username_index = ?`, s.service.Index("username", in.Username)).
			Scan(&c.row.ID, &c.row.UsernameIndex, &c.row.EmailIndex, &c.row.Profile, &c.row.Revision, &c.row.Password, &c.row.TOTP,
				&c.row.TOTPLastStep, &c.row.CreatedMS, &c.row.DisabledMS, &c.last, &c.lastFrom)
		c.known = err == nil
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if c.spare, err = s.spareCode(ctx, db, c.row.ID, in.Code); err != nil || !c.known {
			return err
		}
		c.account, err = s.openAccount(ctx, db, c.row)
		if errors.Is(err, cipher.ErrAuth) {
			damage, err = err, nil
		}
		if err == nil && c.account.passkeysStand {
			c.keys, err = s.readPasskeys(ctx, db, c.row.ID)
		}
		return err
	})
	if damage != nil {
		s.alarmOn(faultProfile, c.row.ID.String())
	}
	c.known = c.known && damage == nil && c.account.profile.Username == in.Username
	return c, err
}

// spareCode returns the stored hash of a recovery code of the user, nil when it is none.
func (s *Store) spareCode(ctx context.Context, db gorm.ConnPool, user ID, code string) (found []byte, err error) {
	err = db.QueryRowContext(ctx, "SELECT hash FROM recovery_codes WHERE user_id = ? AND hash = ?",
		user, s.service.RecoveryHash(user, normalSymbols(code))).Scan(&found)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return found, err
}

// Factor names what stands beside the password at a login. The audit log says it.
type Factor string

// The second factors.
const (
	ByCode     Factor = "code"
	ByPasskey  Factor = "passkey"
	ByRecovery Factor = "recovery code" // good for a new enrolment only
)

// factor is a second factor that fits.
type factor struct {
	Factor

	// use uses it up, in the transaction that lets the person in: errSignIn when another sign-in
	// has done so. Of two with the same code, exactly one gets through.
	use func(*act, By) error
}

// secondFactor returns the second factor that fits, nil when none does. It does the same work for
// somebody unknown.
func (s *Store) secondFactor(by By, in SignIn, c claim) *factor {
	secret, err := s.service.OpenTOTP(c.row.ID, c.row.TOTP)
	if err != nil {
		secret = make([]byte, otpSecretSize)
	}
	step, fits := matchStep(secret, spaceless(in.Code), s.o.Now(), c.row.TOTPLastStep)
	key := s.matchPasskey(by, c.row.ID, c.keys, in.Passkey)
	switch {
	case !c.known || err != nil:
		return nil
	case fits:
		return &factor{ByCode, func(t *act, _ By) error { return t.acceptStep(c.row.ID, step) }}
	case key != nil:
		return &factor{ByPasskey, func(t *act, _ By) error { return t.acceptSignature(c.row.ID, key) }}
	case c.spare != nil && c.account.codesStand:
		return &factor{ByRecovery, func(t *act, by By) error { return t.spendCode(by, c.row.ID, c.spare) }}
	}
	return nil
}

// acceptStep uses a code of the authenticator up.
func (t *act) acceptStep(user ID, step int64) error {
	rows, err := t.exec("UPDATE users SET totp_last_step = ? WHERE id = ? AND totp_last_step < ?", step, user, step)
	if err == nil && rows != 1 {
		return errSignIn
	}
	return err
}

// spendCode uses a recovery code up.
func (t *act) spendCode(by By, user ID, hash []byte) error {
	return t.change(by, user, "recovery", func(a *account) error {
		rows, err := t.exec("DELETE FROM recovery_codes WHERE user_id = ? AND hash = ?", user, hash)
		if err == nil && (rows != 1 || !a.codesStand) {
			return errSignIn
		}
		return err
	})
}

// enter lets a person in. The second factor is used up, and what has failed before is forgotten.
func (s *Store) enter(ctx context.Context, y attempt, c claim, second *factor) (Arrival, error) {
	user := c.row.ID
	arrival := Arrival{User: c.account.profile.user(user), Recovery: second.Factor == ByRecovery, Factor: second.Factor, LastFrom: c.lastFrom}
	if c.last > 0 {
		arrival.Last = time.UnixMilli(int64(c.last))
	}
	err := s.act(ctx, func(t *act) error {
		db := t.db.Statement.ConnPool
		if err := t.unmoved(user, c.row.Revision); err != nil {
			return err
		}
		if err := second.use(t, y.by); err != nil {
			return err
		}
		if err := db.QueryRowContext(ctx, "SELECT revision FROM users WHERE id = ?", user).Scan(&arrival.User.revision); err != nil {
			return err
		}
		var failures, guessed, since number
		err := db.QueryRowContext(ctx, `SELECT sum(failures), sum(guessed), min(since_ms) FROM attempts WHERE user_id = ? AND failures > 0`, user).
			Scan(&failures, &guessed, &since)
		if err != nil {
			return err
		}
		if failures > 0 {
			arrival.Failures, arrival.Guessed, arrival.Since = int(failures), int(max(guessed, 0)), time.UnixMilli(int64(since))
		}
		_, err = t.unlock(user)
		return err
	})
	return arrival, err
}

// refuse counts a failure and says no, in the same way whatever was wrong. What was typed as a user
// name is not written down: people type passwords there.
func (s *Store) refuse(ctx context.Context, y attempt, guessed bool) error {
	answer := errSignIn
	err := s.act(ctx, func(t *act) error {
		event := "login.fail"
		if guessed {
			event = "login.code"
		}
		if err := t.audit(y.by.audit(event, "", "refused")); err != nil {
			return err
		}
		for _, c := range y.counters {
			a, err := t.count(c, guessed)
			if err != nil {
				return err
			}
			if c.waits && a.failures >= locksAccount {
				answer = errLocked
			}
			if wait := c.wait(a, 0, t.now); wait > 0 {
				if err := t.audit(y.by.audit("login.wait", "", fmt.Sprintf("%d s", (wait+time.Second-1)/time.Second))); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.o.Log.Warn("sign-in failed", "address", plainAddress(y.by.Address)) // README has a filter for this line
	return answer
}

// plainAddress writes an address in the one form that a firewall knows it by.
func plainAddress(address string) string {
	if ip, err := netip.ParseAddr(address); err == nil {
		return ip.Unmap().WithZone("").String()
	}
	return address
}

func (s *Store) passwordFits(ctx context.Context, row userRow, known bool, password string) (bool, error) {
	if len(password) > 512 || !utf8.ValidString(password) {
		password, known = "", false // nobody has such a password; the work stays the same
	}
	if known {
		if phc, err := s.service.OpenPassword(row.ID, row.Password); err == nil {
			return s.hasher.verify(ctx, string(phc), normalPassword(password))
		}
	}
	return false, s.hasher.verifyNobody(ctx, normalPassword(password))
}

func busy(err error) error {
	if errors.Is(err, errBusy) {
		return &Error{Kind: Busy, Msg: "Too many people are logging in at this moment. Wait a few seconds and send the form again.", Wait: 2 * time.Second}
	}
	return err
}
