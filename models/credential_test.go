package models

import (
	"strings"
	"testing"
	"time"
)

const newPassword = "seven green ladders by the well"

var adaLovelace = Registration{Username: "ada", FullName: "Ada Lovelace", Email: "ada@example.org", Password: goodPassword}

// letsIn tries to sign in as Ada. No code was used before, and nobody has failed.
func (a *archive) letsIn(password, code string) bool {
	a.t.Helper()
	_, err := a.intruder().Exec("DELETE FROM attempts")
	must(a.t, err)
	a.tamper(1, "UPDATE users SET totp_last_step = 0 WHERE username_index = ?", a.service.Index("username", "ada"))
	_, err = a.Authenticate(a.t.Context(), By{}, SignIn{Username: "ada", Password: password, Code: code})
	if err != nil && KindOf(err) != Invalid {
		a.t.Fatal(err)
	}
	return err == nil
}

func TestAnOldPasswordThatIsPutBackSignsNobodyIn(t *testing.T) {
	t.Parallel()
	a := openArchive(t)
	ada, secret, _ := a.registered(adaLovelace)
	old := a.rows("users")
	var sealed, sealedNow []byte
	must(t, a.intruder().QueryRow("SELECT password FROM users").Scan(&sealed))
	must(t, a.ChangePassword(t.Context(), By{User: ada.ID}, newPassword))
	must(t, a.intruder().QueryRow("SELECT password FROM users").Scan(&sealedNow))
	code := codeOf(t, secret, 0)
	if !a.letsIn(newPassword, code) || a.letsIn(goodPassword, code) {
		t.Fatal("the new password does not work, or the old one does")
	}
	a.tamper(1, "UPDATE users SET password = ?", sealed) // the one field
	if a.letsIn(goodPassword, code) || a.letsIn(newPassword, code) {
		t.Error("the old password was put back, and somebody gets in")
	}
	a.tamper(1, "UPDATE users SET password = ?", sealedNow)
	if !a.letsIn(newPassword, code) {
		t.Error("the account as it was does not work any more")
	}
	a.restore("users", old) // the whole account of that time
	if a.letsIn(goodPassword, code) {
		t.Error("the old account was put back, and the old password works")
	}
	a.reopen()
	eventually(t, "refusing the old account after a restart", func() bool {
		_, err := a.User(t.Context(), ada.ID)
		return KindOf(err) == SignedOut
	})
	if a.letsIn(goodPassword, code) {
		t.Error("after a restart the old password works")
	}
}

func TestAnOldAuthenticatorThatIsPutBackSignsNobodyIn(t *testing.T) {
	t.Parallel()
	a := openArchive(t)
	ada, oldSecret, _ := a.registered(adaLovelace)
	old := a.rows("users")
	var sealed []byte
	must(t, a.intruder().QueryRow("SELECT totp FROM users").Scan(&sealed))
	secret := NewOTPSecret()
	_, left, err := a.Enrol(t.Context(), By{User: ada.ID}, secret, codeOf(t, secret, 0))
	if err != nil || left != 10 {
		t.Fatal(left, err)
	}
	lost := codeOf(t, oldSecret, 0)
	if a.letsIn(goodPassword, lost) || !a.letsIn(goodPassword, codeOf(t, secret, 0)) {
		t.Fatal("the lost phone still works, or the new one does not")
	}
	a.tamper(1, "UPDATE users SET totp = ?", sealed)
	if a.letsIn(goodPassword, lost) {
		t.Error("the old secret was put back, and its codes work")
	}
	a.restore("users", old)
	if a.letsIn(goodPassword, lost) {
		t.Error("the old account was put back, and the codes of the lost phone work")
	}
	a.reopen()
	eventually(t, "refusing the old account after a restart", func() bool {
		_, err := a.User(t.Context(), ada.ID)
		return KindOf(err) == SignedOut
	})
	if a.letsIn(goodPassword, lost) {
		t.Error("after a restart the codes of the lost phone work")
	}
}

func TestARecoveryCodeThatIsPutBackIsNone_T9(t *testing.T) {
	t.Parallel()
	a := openArchive(t)
	ada, secret, codes := a.registered(adaLovelace)
	left := func(want int) {
		t.Helper()
		if got, err := a.RecoveryCodesLeft(t.Context(), ada.ID); err != nil || got != want {
			t.Errorf("%d recovery codes are left, want %d: %v", got, want, err)
		}
	}
	left(10)
	full, old := a.rows("recovery_codes"), a.rows("users")
	if !a.letsIn(goodPassword, codes[0]) || a.letsIn(goodPassword, codes[0]) {
		t.Fatal("a recovery code works never, or twice")
	}
	left(9)
	a.restore("recovery_codes", full)
	left(0)
	for _, code := range codes[:2] {
		if a.letsIn(goodPassword, code) {
			t.Error("used codes were put back, and codes work")
		}
	}
	a.tamper(1, "DELETE FROM recovery_codes WHERE hash = ?", a.service.RecoveryHash(ada.ID, normalSymbols(codes[0])))
	left(9)
	fresh, err := a.NewRecoveryCodes(t.Context(), By{User: ada.ID})
	if err != nil || len(fresh) != 10 {
		t.Fatal(fresh, err)
	}
	a.restore("recovery_codes", full) // and the account that vouches for them
	a.restore("users", old)
	if a.letsIn(goodPassword, codes[3]) {
		t.Error("replaced codes were put back, and work")
	}
	a.reopen()
	eventually(t, "refusing the old account after a restart", func() bool {
		_, err := a.User(t.Context(), ada.ID)
		return KindOf(err) == SignedOut
	})
	if a.letsIn(goodPassword, codes[3]) || a.letsIn(goodPassword, codeOf(t, secret, 0)) {
		t.Error("after a restart an old account signs somebody in")
	}
}

// The page of the account counts them, and must open all the same.
func TestOfAnAccountThatSomebodyHasChangedNoRecoveryCodeCounts(t *testing.T) {
	t.Parallel()
	a := openArchive(t)
	ada, _, _ := a.registered(adaLovelace)
	a.tamper(1, "UPDATE users SET password = ?", a.service.SealPassword(ada.ID, []byte("another")))
	if left, err := a.RecoveryCodesLeft(t.Context(), ada.ID); left != 0 || err != nil {
		t.Errorf("%d are left, %v", left, err)
	}
}

func TestWhatIsChangedAboutAnAccountIsInTheAuditLogAndVerifies(t *testing.T) { // R74
	t.Parallel()
	a := openArchive(t)
	ada, _, _ := a.registered(adaLovelace)
	a.signedInAs(ada.ID, "this one")
	by := By{User: ada.ID, Session: a.SessionHash("this one"), Address: "192.0.2.7"}
	secret := NewOTPSecret()
	_, _, err := a.Enrol(t.Context(), by, secret, codeOf(t, secret, 0))
	must(t, err)
	_, err = a.NewRecoveryCodes(t.Context(), by)
	must(t, err)
	must(t, a.ChangePassword(t.Context(), by, newPassword))
	must(t, a.Rename(t.Context(), by, "Augusta Byron-King"))
	must(t, a.ChangeEmail(t.Context(), by, "countess@example.org"))
	for _, event := range []string{"account.totp", "account.codes", "account.password", "account.profile", "account.email"} {
		var count int
		must(t, a.intruder().QueryRow("SELECT count(*) FROM audit_log WHERE event = ? AND actor = ? AND address = '192.0.2.7' AND outcome = 'done'", event, ada.ID[:]).Scan(&count))
		if count != 1 {
			t.Errorf("%d entries %s", count, event)
		}
	}
	var said string
	must(t, a.intruder().QueryRow("SELECT group_concat(event || object || outcome) FROM audit_log").Scan(&said))
	for _, secret := range []string{"Lovelace", "Augusta", "countess", newPassword, secret} { // none is hexadecimal, as the random identifiers are
		if strings.Contains(strings.ToLower(said), strings.ToLower(secret)) {
			t.Errorf("the audit log holds %q", secret)
		}
	}
	must(t, a.Close())
	for _, f := range verified(t, options(a.dir)).Findings {
		t.Errorf("finding: %v", f)
	}
	a.open()
}

// A person's session has one name in pages, which is neither the token nor the stored hash, and
// sessions that are over have none.
func TestSessionsAreNamedByWhatOpensNothing(t *testing.T) { // R29
	t.Parallel()
	a := openArchive(t)
	ada, grace := a.user("ada", "Ada Lovelace"), a.user("grace", "Grace Hopper")
	sessions := a.Sessions()
	sign := func(user ID, token string) [32]byte {
		data, err := sessions.Encode(time.Now().Add(time.Hour), map[string]any{
			SessionUser: user.String(), SessionAuth: a.now(), SessionAddress: "192.0.2.7", SessionAgent: "Chrome"})
		must(t, err)
		must(t, sessions.Commit(token, data, time.Time{}))
		return a.SessionHash(token)
	}
	here := sign(ada, "here")
	sign(ada, "there")
	sign(ada, "gone")
	sign(grace, "hers")
	must(t, sessions.Delete("gone"))
	list, err := a.OwnSessions(t.Context(), By{User: ada, Session: here})
	must(t, err)
	if len(list) != 2 || !list[0].This || list[1].This || list[1].Address != "192.0.2.7" || list[1].Agent != "Chrome" {
		t.Fatalf("the list is %+v", list)
	}
	must(t, a.EndSession(t.Context(), By{User: ada, Session: here}, list[1].Name))
	if _, found, err := sessions.Find("there"); found || err != nil {
		t.Errorf("the ended session is still one: %v", err)
	}
	hers, err := a.OwnSessions(t.Context(), By{User: grace})
	must(t, err)
	if err := a.EndSession(t.Context(), By{User: ada, Session: here}, hers[0].Name); KindOf(err) != NotFound {
		t.Errorf("Ada ends Grace's session: %v", err)
	}
	if _, found, _ := sessions.Find("hers"); !found {
		t.Error("Grace's session has ended")
	}
}
