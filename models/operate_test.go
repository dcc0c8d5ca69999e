package models

import (
	"context"
	"strings"
	"testing"

	"errors"
)

func TestTheLastAdministratorStaysOne(t *testing.T) {
	t.Parallel()
	a := openArchive(t)
	ada, grace := a.administrator("ada", "Ada Lovelace"), a.user("grace", "Grace Hopper")
	for what, deed := range map[string]func(context.Context, By, ID) error{"demoted": a.Demote, "disabled": a.Disable} {
		if err := deed(t.Context(), By{}, ada); KindOf(err) != Conflict || !strings.Contains(err.Error(), "Make somebody else one first") {
			t.Errorf("the only administrator is %s: %v", what, err)
		}
	}
	if err := a.Promote(t.Context(), By{}, grace); err != nil {
		t.Fatal(err)
	}
	if err := a.Disable(t.Context(), By{User: ada}, ada); KindOf(err) != Conflict {
		t.Errorf("disabled herself: %v", err)
	}
	if err := a.Disable(t.Context(), By{User: ada}, grace); err != nil {
		t.Fatal(err)
	}
	if err := a.Demote(t.Context(), By{User: ada}, ada); KindOf(err) != Conflict {
		t.Errorf("the only one who is not disabled: %v", err)
	}
	for what, err := range map[string]error{
		"promoted while disabled": errors.Join(a.Promote(t.Context(), By{}, grace)),
		"disabled twice":          a.Disable(t.Context(), By{}, grace),
		"a link while disabled":   func() error { _, err := a.ResetToken(t.Context(), By{}, grace); return err }(),
	} {
		if KindOf(err) != Conflict {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := a.Promote(t.Context(), By{}, newID()); KindOf(err) != NotFound {
		t.Errorf("nobody: %v", err)
	}
}

// Whoever was an administrator once, or was not disabled yet, has the row from then.
func TestARightThatWasTakenAwayIsNotBroughtBack(t *testing.T) { // C14
	t.Parallel()
	a := openArchive(t)
	ada, grace := a.administrator("ada", "Ada Lovelace"), a.administrator("grace", "Grace Hopper")
	linus, secret, _ := a.registered(Registration{Username: "linus", FullName: "Linus Pauling", Email: "linus@example.org", Password: goodPassword})
	kept := a.rows("users")
	if err := errors.Join(a.Demote(t.Context(), By{User: ada}, grace), a.Disable(t.Context(), By{User: ada}, linus.ID)); err != nil {
		t.Fatal(err)
	}
	out := func(what string) {
		t.Helper()
		if u, err := a.User(t.Context(), grace); err == nil && u.Admin {
			t.Errorf("%s: Grace administers again", what)
		}
		if _, err := a.User(t.Context(), linus.ID); KindOf(err) != SignedOut {
			t.Errorf("%s: Linus is in: %v", what, err)
		}
		if _, err := a.Authenticate(t.Context(), By{}, SignIn{Username: "linus", Password: goodPassword, Code: codeOf(t, secret, 1)}); err != errSignIn {
			t.Errorf("%s: Linus signs in: %v", what, err)
		}
	}
	out("disabled")
	a.tamper(1, "UPDATE users SET disabled_ms = NULL WHERE id = ?", linus.ID[:])
	out("the column is cleared")
	if p, err := a.Account(t.Context(), linus.ID); err != nil || p.Disabled.IsZero() {
		t.Errorf("the list takes him for active: %+v, %v", p, err)
	}
	a.restore("users", kept)
	out("put back")
	if p, err := a.Account(t.Context(), linus.ID); err != nil || !p.Damaged {
		t.Errorf("put back, he is %+v, %v", p, err)
	}
	if err := a.Enable(t.Context(), By{User: ada}, linus.ID); err == nil {
		t.Error("an account that was put back is enabled")
	}
	a.reopen()
	if err := a.ledger.wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	out("after a restart")
	if text, err := a.perform(t.Context(), request{CommandPromote, "linus"}); err == nil {
		t.Errorf("an account that was put back can be promoted: %s", text)
	}
}

func TestCommandsAboutAccountsNeedNoServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ask := func(command, name string) string {
		t.Helper()
		text, err := Ask(ctx, options(w.dir), command, name)
		must(t, err)
		return text
	}
	ask(CommandPromote, " Ada ")
	ask(CommandDisable, "linus")
	list := ask(CommandUsers, "")
	lines := strings.Split(list, "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[0], "USER NAME") || !strings.Contains(lines[1], "administrator") || !strings.Contains(lines[2], "Grace Hopper") || !strings.Contains(lines[3], "disabled") {
		t.Error(list)
	}
	for _, r := range list {
		if r < ' ' && r != '\n' || r == 0x7f {
			t.Errorf("%q is in the list", r)
		}
	}
	if _, err := Ask(ctx, options(w.dir), CommandDemote, "ada"); err == nil || !strings.Contains(err.Error(), "Make somebody else one first") {
		t.Error(err)
	}
	if _, err := Ask(ctx, options(w.dir), CommandReset, "nobody"); err == nil || !strings.Contains(err.Error(), "users list") {
		t.Error(err)
	}
	text := ask(CommandReset, "grace")
	if !strings.HasPrefix(text, "/reset#reset=") || !strings.Contains(text, "No server runs") {
		t.Error(text)
	}
	s := w.start(t)
	link, _, _ := strings.Cut(text, "\n")
	must(t, s.ResetPassword(ctx, By{}, link, otherPassword))
	ask(CommandEnable, "linus") // and through the server that runs
	s.ServedAt("https://rooms.example.org:8443")
	if text := ask(CommandReset, "linus"); !strings.HasPrefix(text, "https://rooms.example.org:8443/reset#reset=") || strings.Contains(text, "No server") {
		t.Error(text)
	}
	if _, err := Ask(ctx, options(t.TempDir()), CommandUsers, ""); err == nil || !strings.Contains(err.Error(), "--data") {
		t.Errorf("in a folder that holds nothing: %v", err)
	}
	must(t, s.Close())
	w.whole(t)
}
