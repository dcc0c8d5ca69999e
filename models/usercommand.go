package models

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

// Commands about accounts, for whoever can use the command line of the server.
const (
	CommandUsers   = "users list"
	CommandPromote = "users promote"
	CommandDemote  = "users demote"
	CommandDisable = "users disable"
	CommandEnable  = "users enable"
	CommandReset   = "users reset"
)

// userCommand carries out one of them, once it is known which accounts are the latest.
func (s *Store) userCommand(ctx context.Context, command, name string) (string, error) {
	if err := s.ledger.read(ctx); err != nil {
		return "", err
	}
	accounts, err := s.Accounts(ctx)
	if err != nil {
		return "", err
	}
	if command == CommandUsers {
		return accountTable(accounts), nil
	}
	name = strings.ToLower(strings.TrimSpace(name))
	for _, a := range accounts {
		if !a.Damaged && a.Username == name {
			return s.commandFor(ctx, command, a)
		}
	}
	return "", fmt.Errorf("nobody here has the user name %q: conclave users list shows them all", name)
}

func (s *Store) commandFor(ctx context.Context, command string, a Account) (string, error) {
	switch command {
	case CommandPromote:
		return a.Username + " is an administrator now.", s.Promote(ctx, By{}, a.ID)
	case CommandDemote:
		return a.Username + " is no administrator any more.", s.Demote(ctx, By{}, a.ID)
	case CommandDisable:
		return a.Username + " is logged out everywhere and cannot log in, until: conclave users enable " + a.Username, s.Disable(ctx, By{}, a.ID)
	case CommandEnable:
		return a.Username + " can log in.", s.Enable(ctx, By{}, a.ID)
	}
	token, err := s.ResetToken(ctx, By{}, a.ID)
	return s.resetAdvice(a.Username, token), err
}

// resetAdvice is the link with what to do with it.
func (s *Store) resetAdvice(name, token string) string {
	where, hint := "", "No server runs at the moment, so put the address of yours in front of it. "
	if url := s.url.Load(); url != nil {
		where, hint = *url, ""
		if strings.HasPrefix(where, "https://localhost") {
			hint = "From another machine, the address of this one takes the place of localhost. "
		}
	}
	return fmt.Sprintf("%s/reset#reset=%s\n\n%sWith this link %s sets a new password: once, within half an hour. Hand it over so that nobody else sees it. The login afterwards asks for the second factor as always.", where, token, hint, name)
}

// ServedAt says under which address ("https://localhost:8443") this server is reached.
func (s *Store) ServedAt(url string) { s.url.Store(&url) }

func accountTable(accounts []Account) string {
	if len(accounts) == 0 {
		return "Nobody has an account yet. The set-up link that serve prints makes the first administrator."
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "USER NAME\tFULL NAME\tROLE\tSTATE\tCREATED\tLAST LOGIN (UTC)\tROOMS")
	for _, a := range accounts {
		role, state := "member", "active"
		if a.Admin {
			role = "administrator"
		}
		if !a.Disabled.IsZero() {
			state = "disabled"
		}
		if a.Damaged {
			role, state = "?", "damaged, no login"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\n", a.Username, a.FullName, role, state, orNever(a.Created, time.DateOnly), orNever(a.LastLogin, "2006-01-02 15:04"), a.Rooms)
	}
	w.Flush() // into memory
	return strings.TrimRight(b.String(), "\n")
}

func orNever(at time.Time, layout string) string {
	if at.IsZero() {
		return "never"
	}
	return at.Format(layout)
}
