package models

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var graces = Registration{Username: "grace", FullName: "Grace Hopper", Email: "grace@example.org", Password: goodPassword}

const otherPassword = "an otter reads the evening paper"

// with returns the same form with a token.
func (r Registration) with(token string) Registration {
	r.Token = token
	return r
}

// administrator is somebody who administers the server.
func (a *archive) administrator(username, fullName string) ID {
	a.t.Helper()
	id := a.user(username, fullName)
	if err := a.Promote(a.t.Context(), By{}, id); err != nil {
		a.t.Fatal(err)
	}
	return id
}

func (a *archive) invited(by ID, most int) (token string) {
	a.t.Helper()
	token, err := a.Invite(a.t.Context(), By{User: by}, most, time.Hour)
	if err != nil {
		a.t.Fatal(err)
	}
	return token
}

// refuses checks that nobody can register with a token.
func (a *archive) refuses(what, token string) {
	a.t.Helper()
	r := Registration{Username: "mallory", FullName: "Mallory", Email: "mallory@example.org", Password: goodPassword, Token: token}
	if _, err := a.Register(a.t.Context(), r); KindOf(err) != Invalid {
		a.t.Errorf("%s: %v", what, err)
	}
}

func TestAnInvitationAdmitsAsManyPeopleAsItSaysAndMakesNoAdministrator(t *testing.T) {
	t.Parallel()
	a := openArchive(t)
	ada := a.administrator("ada", "Ada Lovelace")
	token := a.invited(ada, 2)
	for _, name := range []string{"grace", "linus"} {
		user, _, _ := a.registered(Registration{Username: name, FullName: name, Email: name + "@example.org", Password: goodPassword, Token: "https://localhost/register#invite=" + strings.ToUpper(token)})
		if again, err := a.User(t.Context(), user.ID); err != nil || again.Admin {
			t.Errorf("%s: %+v, %v", name, again, err)
		}
	}
	a.refuses("a third person", token)
	list, err := a.Invitations(t.Context())
	if err != nil || len(list) != 1 || list[0].By.Username != "ada" || list[0].Used != 2 || list[0].Left != 0 || list[0].Revoked {
		t.Errorf("%+v, %v", list, err)
	}
	used := 0
	err = a.walkAudit(t.Context(), func(_ uint64, _ int64, e Audit) {
		if e.Event == eventTokenUse && e.Object == list[0].ID.String() && !e.Actor.Zero() {
			used++
		}
	}, func(n uint64, what string) { t.Errorf("%d %s", n, what) })
	if err != nil || used != 2 {
		t.Errorf("the audit log knows of %d people who came through it: %v", used, err)
	}
	for _, bad := range []struct {
		most int
		life time.Duration
	}{{0, time.Hour}, {501, time.Hour}, {-1, time.Hour}, {1, time.Hour - 1}, {1, 90*24*time.Hour + 1}} {
		if _, err := a.Invite(t.Context(), By{User: ada}, bad.most, bad.life); KindOf(err) != Invalid {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestTwoPendingRegistrationsWithOneLastUseMakeOneAccount(t *testing.T) {
	t.Parallel()
	a := openArchive(t)
	token := a.invited(a.administrator("ada", "Ada Lovelace"), 1)
	var pending []ID
	for _, name := range []string{"grace", "linus"} {
		id, err := a.Register(t.Context(), Registration{Username: name, FullName: name, Email: name + "@example.org", Password: goodPassword, Token: token})
		if err != nil {
			t.Fatal(err)
		}
		pending = append(pending, id)
	}
	var made atomic.Int32
	var wait sync.WaitGroup
	for _, id := range pending {
		p, err := a.Pending(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		code := codeOf(t, p.Secret, 0)
		wait.Go(func() {
			_, _, err := a.Confirm(context.Background(), By{}, id, code)
			if err == nil {
				made.Add(1)
			} else if KindOf(err) != Conflict {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if list, err := a.Accounts(t.Context()); err != nil || made.Load() != 1 || len(list) != 2 {
		t.Errorf("%d accounts were made, there are %d: %v", made.Load(), len(list), err)
	}
	if _, err := a.Register(t.Context(), Registration{Username: "linus", FullName: "Linus Pauling", Email: "linus@example.org", Password: goodPassword}); err != nil {
		if _, err := a.Register(t.Context(), graces); err != nil {
			t.Errorf("the name of whoever came too late is still taken: %v", err)
		}
	}
}

// An invitation's row that somebody without a key changes, moves or puts back lets nobody in.
func TestAnInvitationIsNotBroughtBackOrStretched(t *testing.T) {
	t.Parallel()
	a := openArchive(t)
	ada := a.administrator("ada", "Ada Lovelace")
	used, revoked, short := a.invited(ada, 1), a.invited(ada, 3), a.invited(ada, 1)
	kept := a.rows("tokens")
	a.registered(graces.with(used))
	list, err := a.Invitations(t.Context())
	if err != nil || len(list) != 3 {
		t.Fatal(list, err)
	}
	name := func(token string) ID { return ID(a.service.TokenHash(string(forInvitation), token)[:16]) }
	if err := a.RevokeInvitation(t.Context(), By{User: ada}, name(revoked)); err != nil {
		t.Fatal(err)
	}
	if err := a.RevokeInvitation(t.Context(), By{User: ada}, newID()); KindOf(err) != NotFound {
		t.Errorf("an invitation that is none: %v", err)
	}
	a.refuses("used", used)
	a.refuses("revoked", revoked)
	a.restore("tokens", kept)
	a.refuses("used and put back", used)
	a.refuses("revoked and put back", revoked)
	a.reopen()
	a.refuses("used and put back, after a restart", used)
	a.refuses("revoked and put back, after a restart", revoked)
	for what, change := range map[string]string{
		"lengthened":     "expires_ms = expires_ms + 1",
		"more uses":      "most = 500",
		"made a set-up":  "purpose = 'setup'",
		"another's":      "created_by = randomblob(16)",
		"earlier":        "created_ms = created_ms - 1",
		"for somebody":   fmt.Sprintf("user_id = x'%x'", ada[:]),
		"unsealed":       "seal = x''",
		"most of text":   "most = 'many'",
		"a purpose of 0": "purpose = x'00'",
	} {
		hash := a.service.TokenHash(string(forInvitation), short)
		a.tamper(1, "UPDATE tokens SET "+change+" WHERE hash = ?", hash)
		a.refuses(what, short)
		a.restore("tokens", kept)
	}
	a.registered(Registration{Username: "linus", FullName: "Linus Pauling", Email: "linus@example.org", Password: goodPassword, Token: short})
	if admins, err := a.administered(t.Context(), a.readPool(), ada); err != nil || admins {
		t.Errorf("somebody else is an administrator: %v", err)
	}
}

// The ledger knows all uses only if the audit log is whole: of tokens from before, none is good.
func TestWhenTheAuditLogIsDamagedOldTokensAreNotBelieved(t *testing.T) {
	t.Parallel()
	a := openArchive(t)
	ada := a.administrator("ada", "Ada Lovelace")
	token := a.invited(ada, 1)
	kept := a.rows("tokens")
	a.registered(graces.with(token))
	a.user("linus", "Linus Pauling") // so that the log has an entry behind the use
	if err := a.EndSessions(t.Context(), By{User: ada}, ada); err != nil {
		t.Fatal(err)
	}
	a.record(Audit{Event: "something.else"})
	a.restore("tokens", kept)
	a.tamper(1, "DELETE FROM audit_log WHERE event = ?", eventTokenUse)
	a.reopen()
	a.refuses("a used one whose use was taken out of the log", token)
	time.Sleep(2 * time.Millisecond)
	if _, err := a.Register(t.Context(), Registration{Username: "mary", FullName: "Mary Somerville", Email: "mary@example.org", Password: goodPassword, Token: a.invited(ada, 1)}); err != nil {
		t.Errorf("a new one: %v", err)
	}
}

func TestASetUpLinkIsOfNoUseWhereSomebodyAdministers(t *testing.T) {
	t.Parallel()
	a := openArchive(t)
	first, err := a.SetupToken(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	kept := a.rows("tokens")
	second, err := a.SetupToken(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	a.restore("tokens", kept)
	a.refuses("an older link that was put back", first)
	id, err := a.Register(t.Context(), graces.with(second))
	if err != nil {
		t.Fatal(err)
	}
	a.administrator("ada", "Ada Lovelace")
	a.refuses("a link beside an administrator", second)
	p, err := a.Pending(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if user, _, err := a.Confirm(t.Context(), By{}, id, codeOf(t, p.Secret, 0)); KindOf(err) != Conflict {
		t.Errorf("%+v, %v", user, err)
	}
	if token, err := a.SetupToken(t.Context()); err != nil || token != "" {
		t.Errorf("another link %q, %v", token, err)
	}
}

// Whoever writes a registration into the users, without its code, has no account.
func TestARegistrationIsNoAccount(t *testing.T) { // T2
	t.Parallel()
	a := openArchive(t)
	id, err := a.Register(t.Context(), graces)
	if err != nil {
		t.Fatal(err)
	}
	p, err := a.Pending(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	a.tamper(1, `INSERT INTO users (id, username_index, email_index, profile, revision, password, totp, totp_last_step, created_ms)
		SELECT id, username_index, email_index, profile, 1, password, totp, 0, expires_ms FROM registrations`)
	if user, err := a.Authenticate(t.Context(), By{}, SignIn{Username: "grace", Password: goodPassword, Code: codeOf(t, p.Secret, 0)}); err == nil {
		t.Errorf("logged in as %+v", user)
	}
}

func TestAResetTokenWorksOnceAndOnlyForItsAccountAsItWas(t *testing.T) { // R8
	t.Parallel()
	a := openArchive(t)
	ada := a.administrator("ada", "Ada Lovelace")
	grace, secret, _ := a.registered(graces)
	reset := func() (token string) {
		t.Helper()
		token, err := a.ResetToken(t.Context(), By{User: ada}, grace.ID)
		if err != nil || len(token) != 64 {
			t.Fatalf("%q, %v", token, err)
		}
		return token
	}
	refused := func(what, token string) {
		t.Helper()
		if err := a.ResetPassword(t.Context(), By{}, token, otherPassword); err != errBadReset {
			t.Errorf("%s: %v", what, err)
		}
	}
	older, token := reset(), reset()
	refused("one that a newer one has replaced", older)
	refused("an invitation", a.invited(ada, 1))
	for _, bad := range []string{"", token[:63], strings.Repeat("0", 64), token + "0"} {
		refused("made up", bad)
	}
	a.refuses("a reset token as an invitation", token)
	if err := a.ResetPassword(t.Context(), By{}, token, "grace"); KindOf(err) != Invalid || err == errBadReset {
		t.Errorf("a bad password: %v", err)
	}
	kept := a.rows("tokens")
	hash := a.service.TokenHash(string(forReset), token)
	for what, change := range map[string]string{
		"lengthened": "expires_ms = expires_ms + 1", "re-pointed": fmt.Sprintf("user_id = x'%x'", ada[:]), "unlimited": "most = 2", "unsealed": "seal = x''", "of nobody": "user_id = NULL",
	} {
		a.tamper(1, "UPDATE tokens SET "+change+" WHERE hash = ?", hash)
		refused(what, token)
		a.restore("tokens", kept)
	}
	var through atomic.Int32
	var wait sync.WaitGroup
	for range 2 {
		wait.Go(func() {
			if err := a.ResetPassword(context.Background(), By{}, "https://localhost/reset#reset="+token, otherPassword); err == nil {
				through.Add(1)
			}
		})
	}
	wait.Wait()
	if through.Load() != 1 {
		t.Errorf("%d of two got through with one link", through.Load())
	}
	refused("used", token)
	a.restore("tokens", kept)
	refused("used and put back", token)
	if _, err := a.Authenticate(t.Context(), By{}, SignIn{Username: "grace", Password: otherPassword, Code: ""}); err != errSignIn {
		t.Errorf("without a code: %v", err)
	}
	if _, err := a.Authenticate(t.Context(), By{}, SignIn{Username: "grace", Password: goodPassword, Code: codeOf(t, secret, 1)}); err != errSignIn {
		t.Errorf("with the old password: %v", err)
	}
	if _, err := a.Authenticate(t.Context(), By{}, SignIn{Username: "grace", Password: otherPassword, Code: codeOf(t, secret, 1)}); err != nil {
		t.Errorf("with the new password: %v", err)
	}
	// A link does not outlive a change of the account: what it was made for may be over.
	token = reset()
	a.rename(grace.ID, "Grace Brewster Hopper")
	refused("one from before the account was changed", token)
	token = reset()
	users, tokens := a.rows("users"), a.rows("tokens")
	if err := a.Disable(t.Context(), By{User: ada}, grace.ID); err != nil {
		t.Fatal(err)
	}
	refused("of somebody who is disabled", token)
	a.restore("users", users)
	a.restore("tokens", tokens)
	refused("of somebody whose account was put back", token)
	a.reopen()
	refused("the same after a restart", token)
	if strings.Contains(a.log.String(), token) {
		t.Error("a token is in the log")
	}
}

func TestAResetForgetsFailedAttemptsAndDevices(t *testing.T) {
	t.Parallel()
	a := openArchive(t)
	grace, _, _ := a.registered(graces)
	fail := func() {
		a.tamper(1, "INSERT OR REPLACE INTO attempts VALUES (x'01', ?, 99, 0, 1, 1, 9999999999999, x'')", grace.ID[:])
	}
	left := func() (n int) {
		if err := a.intruder().QueryRow("SELECT (SELECT count(*) FROM attempts WHERE failures > 0) + (SELECT count(*) FROM devices)").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	fail()
	a.tamper(1, "INSERT INTO devices VALUES (zeroblob(32), ?, 1, 9999999999999)", grace.ID[:])
	token, err := a.ResetToken(t.Context(), By{}, grace.ID)
	if err != nil {
		t.Fatal(err)
	}
	if left() != 2 {
		t.Error("a link alone forgets them")
	}
	if err := a.ResetPassword(t.Context(), By{}, token, otherPassword); err != nil || left() != 0 {
		t.Errorf("%d are left: %v", left(), err)
	}
	fail()
	if err := a.Enable(t.Context(), By{}, grace.ID); err != nil || left() != 0 {
		t.Errorf("%d are left: %v", left(), err)
	}
	if err := a.Enable(t.Context(), By{}, grace.ID); KindOf(err) != Conflict {
		t.Errorf("enabling whom nothing keeps out: %v", err)
	}
}

func TestAnInvitationEndsAndTheListSaysHow(t *testing.T) { // R7
	t.Parallel()
	a := openArchive(t)
	setup, err := a.SetupToken(ctx)
	must(t, err)
	if err := a.RevokeInvitation(ctx, By{}, ID(a.service.TokenHash(string(forSetup), setup)[:16])); KindOf(err) != NotFound {
		t.Errorf("the set-up link is withdrawn as an invitation: %v", err)
	}
	ada := a.administrator("ada", "Ada Lovelace")
	late, revoked, forged := a.invited(ada, 2), a.invited(ada, 2), a.invited(ada, 2)
	hash := func(token string) []byte { return a.service.TokenHash(string(forInvitation), token) }
	kept := a.rows("tokens")
	must(t, a.RevokeInvitation(ctx, By{User: ada}, ID(hash(revoked)[:16])))
	a.restore("tokens", kept)
	a.tamper(1, "UPDATE tokens SET most = 500 WHERE hash = ?", hash(forged))
	list, err := a.Invitations(ctx)
	must(t, err)
	if len(list) != 2 {
		t.Fatalf("listed are %+v", list)
	}
	for _, i := range list {
		if is := i.ID == ID(hash(revoked)[:16]); i.Revoked != is || i.Most != 2 || i.Used != 0 {
			t.Errorf("the list says %+v", i)
		}
	}
	a.ahead.Add(int64(2 * invitationLongest))
	a.refuses("one whose time is over", late)
	if list, err = a.Invitations(ctx); err != nil || len(list) > 2 || len(list) > 0 && list[0].Left != 0 {
		t.Errorf("the list says %+v, %v", list, err)
	}
}
