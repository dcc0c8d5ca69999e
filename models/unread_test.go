package models

import (
	"context"
	"errors"
	"testing"
	"time"
)

// unread takes from a store what it knows of the audit log, as it is right after a start. walk reads
// the log.
func (a *archive) unread() (walk func()) {
	a.t.Helper()
	eventually(a.t, "the walk after the start", func() bool { return a.Integrity().Finished })
	last, err := readAuditMark(a.t.Context(), a.readPool())
	if err != nil {
		a.t.Fatal(err)
	}
	a.ledger = ledger{from: last.n, filled: make(chan struct{}), patience: 5 * time.Millisecond}
	a.proofs.tick() // nothing that was believed before is
	return func() {
		a.t.Helper()
		if _, err := a.readLedger(a.t.Context()); err != nil {
			a.t.Fatal(err)
		}
		a.proofs.tick()
	}
}

// signedInAs stores a session of somebody under a token.
func (a *archive) signedInAs(user ID, token string) {
	a.t.Helper()
	s := a.Sessions()
	data, err := s.Encode(a.o.Now().Add(time.Hour), map[string]any{SessionUser: user.String(), SessionAuth: a.now()})
	if err == nil {
		err = s.Commit(token, data, time.Time{})
	}
	if err != nil {
		a.t.Fatal(err)
	}
}

// Whatever an intruder has put back while the server was down is believed at no moment: until the
// audit log has been read nobody is let in, and who asks is told so in a bounded time.
func TestNobodyIsLetInBeforeTheAuditLogHasBeenRead(t *testing.T) { // C14
	t.Parallel()
	a := openArchive(t)
	boss := a.administrator("boss", "Betty Holberton")
	ada, secret, _ := a.registered(adaLovelace)
	grace := a.user("grace", "Grace Hopper")
	a.signedInAs(ada.ID, "ended")
	a.signedInAs(ada.ID, "alive")
	invitation := a.invited(boss, 1)
	link, err := a.ResetToken(t.Context(), By{}, grace)
	if err != nil {
		t.Fatal(err)
	}
	users, sessions := a.rows("users"), a.rows("sessions")
	if err := a.Sessions().Delete("ended"); err != nil {
		t.Fatal(err)
	}
	if err := a.ChangePassword(t.Context(), By{User: ada.ID, Session: a.SessionHash("alive")}, otherPassword); err != nil {
		t.Fatal(err)
	}
	a.signedInAs(ada.ID, "alive too")
	a.restore("users", users)
	a.restore("sessions", sessions)
	walk := a.unread()

	waits := func(what string, err error) {
		t.Helper()
		var e *Error
		if !errors.As(err, &e) || e.Kind != Busy || e.Wait <= 0 || e.Msg == "" {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err = a.Authenticate(t.Context(), By{}, SignIn{Username: "ada", Password: goodPassword, Code: codeOf(t, secret, 1)})
	waits("a login with the old password", err)
	for _, token := range []string{"ended", "alive", "alive too"} {
		_, found, err := a.Sessions().Find(token)
		waits("the session "+token, err)
		if found {
			t.Errorf("%s is a session", token)
		}
		_, err = a.SessionEnd(t.Context(), a.SessionHash(token))
		waits("the end of the session "+token, err)
	}
	_, err = a.User(t.Context(), ada.ID)
	waits("the old account", err)
	waits("a new password by link", a.ResetPassword(t.Context(), By{}, link, otherPassword))
	_, err = a.Register(t.Context(), graces.with(invitation))
	waits("an invitation", err)
	waits("what an administrator does", a.Promote(t.Context(), By{User: boss}, grace))

	a.ledger.patience = time.Minute
	asked := make(chan error)
	go func() {
		_, err := a.Authenticate(context.Background(), By{}, SignIn{Username: "ada", Password: goodPassword, Code: codeOf(t, secret, 1)})
		asked <- err
	}()
	select {
	case err := <-asked:
		t.Errorf("it did not wait: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	walk()
	if err := <-asked; KindOf(err) != Invalid {
		t.Errorf("the login with the old password, once the log was read: %v", err)
	}
	if _, err := a.User(t.Context(), ada.ID); KindOf(err) != SignedOut {
		t.Errorf("the old account: %v", err)
	}
	for token, want := range map[string]bool{"ended": false, "alive": true, "alive too": true} {
		if _, found, err := a.Sessions().Find(token); err != nil || found != want {
			t.Errorf("the session %q: %v, %v", token, found, err)
		}
	}
	if _, err := a.User(t.Context(), grace); err != nil {
		t.Errorf("somebody else: %v", err)
	}
	if err := a.ResetPassword(t.Context(), By{}, link, otherPassword); err != nil {
		t.Errorf("the link for somebody else: %v", err)
	}
}

// A log that cannot be read says nothing, and who might have been locked out by it is not let in.
func TestNobodyIsLetInWhenTheAuditLogCannotBeRead(t *testing.T) {
	t.Parallel()
	a := openArchive(t)
	ada, secret, _ := a.registered(adaLovelace)
	a.signedInAs(ada.ID, "a token")
	a.unread()
	broken, stop := context.WithCancel(t.Context())
	stop()
	if _, err := a.readLedger(broken); err == nil {
		t.Fatal("it was read")
	}
	if _, found, err := a.Sessions().Find("a token"); found || KindOf(err) != Busy {
		t.Errorf("the session: %v, %v", found, err)
	}
	if _, err := a.Authenticate(t.Context(), By{}, SignIn{Username: "ada", Password: goodPassword, Code: codeOf(t, secret, 1)}); KindOf(err) != Busy {
		t.Errorf("the login: %v", err)
	}
}

// An entry that was taken out of the audit log may have ended any session that there was.
func TestAHoleInTheAuditLogEndsTheSessionsFromBeforeTheStart(t *testing.T) {
	t.Parallel()
	a := openArchive(t)
	ada := a.user("ada", "Ada Lovelace")
	a.signedInAs(ada, "ended")
	kept := a.rows("sessions")
	if err := a.Sessions().Delete("ended"); err != nil {
		t.Fatal(err)
	}
	a.rename(ada, "Ada King") // the end of the log is where it was
	a.restore("sessions", kept)
	a.tamper(1, "DELETE FROM audit_log WHERE event = ?", eventSessionEnd)
	a.ahead.Add(int64(time.Second))
	a.reopen()
	if _, found, err := a.Sessions().Find("ended"); found || err != nil {
		t.Errorf("the session that was ended: %v, %v", found, err)
	}
	a.ahead.Add(int64(time.Second))
	a.signedInAs(ada, "new")
	if _, found, err := a.Sessions().Find("new"); !found || err != nil {
		t.Errorf("a new session: %v, %v", found, err)
	}
}

// BenchmarkReadLedger measures how long after a start it takes until somebody can be let in, with a
// hundred thousand events in the audit log.
func BenchmarkReadLedger(b *testing.B) {
	w := newWorld(b)
	s := w.start(b)
	must(b, s.act(ctx, func(t *act) error {
		for i := range 100_000 {
			if err := t.audit(Audit{Event: []string{eventSignIn, "login.fail", eventSessionEnd}[i%3], Actor: w.ada, Address: "192.0.2.7", Object: handleOf(t.s.service.Index("x", string(rune(i)))), Outcome: "done"}); err != nil {
				return err
			}
		}
		return nil
	}))
	must(b, s.Close())
	var opened, read time.Duration
	for b.Loop() {
		begin := time.Now()
		s, err := Open(options(w.dir))
		must(b, err)
		opened += time.Since(begin)
		must(b, s.ledger.read(ctx))
		read += time.Since(begin)
		b.StopTimer()
		must(b, s.Close())
		b.StartTimer()
	}
	b.ReportMetric(float64(opened.Milliseconds())/float64(b.N), "ms/open")
	b.ReportMetric(float64(read.Milliseconds())/float64(b.N), "ms/read")
}
