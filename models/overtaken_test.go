package models

import (
	"context"
	"testing"
	"time"
)

// meanwhile starts what hashes a password, does something else while it does, and returns what has come of it.
func (a *archive) meanwhile(begun func() error, something func()) error {
	a.t.Helper()
	var leave [2]func()
	for i := range leave {
		var err error
		if leave[i], err = a.hasher.enter(a.t.Context()); err != nil {
			a.t.Fatal(err)
		}
	}
	done := make(chan error, 1)
	go func() { done <- begun() }()
	eventually(a.t, "the queue for a hash", func() bool { return len(a.hasher.admitted) == 3 })
	something()
	for i := range leave {
		leave[i]()
	}
	return <-done
}

// hashed makes the hash of a password beforehand, for a change that must not wait.
func (a *archive) hashed(password string) func(user ID) error {
	a.t.Helper()
	phc, err := a.hasher.hash(a.t.Context(), password)
	if err != nil {
		a.t.Fatal(err)
	}
	return func(user ID) error {
		return a.operate(context.Background(), By{User: user}, user, "password", func(t *act, c *account) error {
			c.row.Password = a.service.SealPassword(user, []byte(phc))
			return t.revokeOthers(By{User: user}, "a new password")
		})
	}
}

// What somebody may change about an account while a login with the old credentials is on its way:
// every one of them keeps that login out, whenever it comes.
func (a *archive) changes(user ID) map[string]func() error {
	changed := a.hashed(newPassword)
	secret := NewOTPSecret()
	return map[string]func() error{
		"a new password":     func() error { return changed(user) },
		"a disabled account": func() error { return a.Disable(context.Background(), By{}, user) },
		"another authenticator": func() error {
			_, _, err := a.Enrol(context.Background(), By{User: user}, secret, a.codeNow(secret))
			return err
		},
		"a new password by link": func() error {
			link, err := a.ResetToken(context.Background(), By{}, user)
			if err != nil {
				return err
			}
			return a.ResetPassword(context.Background(), By{}, link, otherPassword)
		},
	}
}

func TestALoginThatIsOnItsWayDoesNotOutliveWhatEndsAllSessions(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"a new password", "a disabled account", "another authenticator", "a new password by link"} {
		for _, when := range []string{"before its session is stored", "after that"} {
			t.Run(what+" "+when, func(t *testing.T) {
				t.Parallel()
				a := openArchive(t)
				user, secret, _ := a.registered(adaLovelace)
				change := a.changes(user.ID)[what]
				a.ahead.Add(int64(time.Minute))
				arrival, err := a.Authenticate(t.Context(), By{}, SignIn{Username: "ada", Password: goodPassword, Code: a.codeNow(secret)})
				if err != nil {
					t.Fatal(err)
				}
				if when == "after that" {
					a.signedInAs(user.ID, "late")
				}
				if err := change(); err != nil {
					t.Fatal(err)
				}
				if when != "after that" {
					a.signedInAs(user.ID, "late")
				}
				by := By{User: user.ID, Session: a.SessionHash("late")}
				if _, err := a.Arrive(t.Context(), by, arrival.User, arrival.Factor, "", ""); KindOf(err) != Invalid {
					t.Errorf("the login goes through: %v", err)
				}
				if _, found, err := a.Sessions().Find("late"); found || err != nil {
					t.Errorf("its session is one: %v", err)
				}
				if err := a.Settle(t.Context(), by, arrival.User); KindOf(err) != Invalid {
					t.Errorf("a session for a new enrolment goes through: %v", err)
				}
			})
		}
	}
}

func TestASessionThatIsEndedBeforeItHasBegunStaysSo(t *testing.T) {
	t.Parallel()
	a := openArchive(t)
	user, _, _ := a.registered(adaLovelace)
	a.signedInAs(user.ID, "late")
	must(t, a.EndSessions(t.Context(), By{}, user.ID))
	if _, err := a.Arrive(t.Context(), By{User: user.ID, Session: a.SessionHash("late")}, user, ByCode, "", ""); KindOf(err) != Invalid {
		t.Errorf("the login goes through: %v", err)
	}
}

func TestALoginWhosePasswordIsReplacedWhileItIsHashedIsRefused(t *testing.T) {
	t.Parallel()
	a := openArchive(t)
	user, secret, _ := a.registered(adaLovelace)
	change := a.hashed(newPassword)
	a.ahead.Add(int64(time.Minute))
	code := a.codeNow(secret)
	err := a.meanwhile(func() error {
		_, err := a.Authenticate(context.Background(), By{}, SignIn{Username: "ada", Password: goodPassword, Code: code})
		return err
	}, func() {
		if err := change(user.ID); err != nil {
			t.Error(err)
		}
	})
	if KindOf(err) != Invalid {
		t.Errorf("the old password opens: %v", err)
	}
}

func TestAConfirmationWithThePasswordFromBeforeConfirmsNothing(t *testing.T) { // R33
	t.Parallel()
	a := openArchive(t)
	user, secret, _ := a.registered(adaLovelace)
	a.signedInAs(user.ID, "a token")
	by := By{User: user.ID, Session: a.SessionHash("a token")}
	change := a.hashed(newPassword)
	a.ahead.Add(int64(time.Minute))
	code := a.codeNow(secret)
	err := a.meanwhile(func() error { return a.Reauthenticate(context.Background(), by, goodPassword, code, Answer{}) }, func() {
		if err := change(user.ID); err != nil {
			t.Error(err)
		}
	})
	if KindOf(err) != Invalid {
		t.Errorf("it confirms: %v", err)
	}
	if _, err := a.RetireSession(t.Context(), by); KindOf(err) != SignedOut {
		t.Errorf("the session, which has ended, has an heir: %v", err)
	}
}

// A sudo with a password that somebody put back in the database is none.
func TestAPasswordThatIsPutBackConfirmsNothing(t *testing.T) { // C14
	t.Parallel()
	a := openArchive(t)
	user, secret, _ := a.registered(adaLovelace)
	var old []byte
	must(t, a.intruder().QueryRow("SELECT password FROM users").Scan(&old))
	must(t, a.ChangePassword(t.Context(), By{User: user.ID}, newPassword))
	a.tamper(1, "UPDATE users SET password = ?", old)
	a.ahead.Add(int64(time.Minute))
	if err := a.Reauthenticate(t.Context(), By{User: user.ID}, goodPassword, a.codeNow(secret), Answer{}); KindOf(err) != Invalid {
		t.Errorf("it confirms: %v", err)
	}
}

// A session that its person ends does no more harm, not even by what it began before.
func TestAChangeThatASessionBeganBeforeItsEndIsNotMade(t *testing.T) { // R30
	t.Parallel()
	a := openArchive(t)
	boss := a.administrator("boss", "Betty Holberton")
	user, _, _ := a.registered(adaLovelace)
	a.signedInAs(user.ID, "stolen")
	a.signedInAs(boss, "of the boss")
	by, bosses := By{User: user.ID, Session: a.SessionHash("stolen")}, By{User: boss, Session: a.SessionHash("of the boss")}
	err := a.meanwhile(func() error { return a.ChangePassword(context.Background(), by, newPassword) }, func() {
		must(t, a.EndSessions(t.Context(), By{}, user.ID))
	})
	if KindOf(err) != SignedOut {
		t.Errorf("the password is another one: %v", err)
	}
	if err := a.Rename(t.Context(), by, "Eve"); KindOf(err) != SignedOut {
		t.Errorf("the name is another one: %v", err)
	}
	a.administrator("grace", "Grace Hopper")
	must(t, a.Demote(t.Context(), By{}, boss))
	if err := a.Disable(t.Context(), bosses, user.ID); KindOf(err) != Denied {
		t.Errorf("somebody who administers no more disables others: %v", err)
	}
	if _, err := a.Invite(t.Context(), bosses, 1, time.Hour); KindOf(err) != Denied {
		t.Errorf("somebody who administers no more invites: %v", err)
	}
	if err := a.EndSessions(t.Context(), bosses, user.ID); KindOf(err) != Denied {
		t.Errorf("somebody who administers no more ends sessions: %v", err)
	}
}
