package demo

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// codeLife is how long a code of an authenticator is the current one (RFC 6238, the time step).
const codeLife = 30 * time.Second

// Console is the terminal on which a demo runs. It stands in for the authenticators of people who have none.
type Console struct {
	Out    io.Writer
	People []Person            // whom a visitor can log in as, at most two
	Zone   *time.Location      // of whoever sits there
	Inside func(p Person) bool // who has logged in already; asked at each new code
}

// Place is where a demo runs, as its console says it.
type Place struct {
	URLs        []string // the first is the one to open
	Fingerprint string   // of the certificate, SHA-256
	Data        string   // the folder
	Temporary   bool     // whether the folder goes at the end
}

// Greet tells whoever started the demo what it is and how to get in.
func (c Console) Greet(at Place) {
	data, end := at.Data+", kept", "keeps its folder"
	if at.Temporary {
		data, end = at.Data+", deleted at the end (--data DIR keeps it)", "deletes it"
	}
	fmt.Fprintf(c.Out, "\nThis is an example: a week in the rooms of a small repair co-op. Its people and all that they say are invented.\n\n")
	fmt.Fprintf(c.Out, "  open          %s\n", at.URLs[0])
	for _, url := range at.URLs[1:] {
		fmt.Fprintf(c.Out, "  also at       %s\n", url)
	}
	fmt.Fprintf(c.Out, "  certificate   SHA-256 %s\n  data          %s\n", at.Fingerprint, data)
	for i, p := range c.People {
		fmt.Fprintf(c.Out, "\n%s %s:\n\n  user name     %s\n  password      %s\n  code          %s\n  or an app     with the secret %s\n",
			[]string{"Log in as", "In another browser or a private window be"}[i], p.FullName, p.Username, p.Password, shownCode(p), grouped(p.Secret, 4))
	}
	fmt.Fprintf(c.Out, "\nA code works once, for about a minute. New ones come below until the first login; Enter shows them at any time.\n")
	fmt.Fprintf(c.Out, "Browsers ask about the certificate on the first visit: compare the fingerprint. Ctrl+C ends the demo and %s.\n\n", end)
}

// TellCodes prints, at each new code, those of the people who are not inside yet, and everybody's when a line is
// typed, until ctx ends.
func (c Console) TellCodes(ctx context.Context, in io.Reader) {
	typed := make(chan struct{})
	go func() {
		for lines := bufio.NewScanner(in); lines.Scan(); {
			typed <- struct{}{}
		}
	}()
	for ctx.Err() == nil {
		all := false
		select {
		case <-ctx.Done():
			return
		case <-typed:
			all = true
		case <-time.After(codeLife - time.Duration(time.Now().UnixNano())%codeLife):
		}
		line := ""
		for _, p := range c.People {
			if all || !c.Inside(p) {
				line += fmt.Sprintf("   %s %s", p.Username, shownCode(p))
			}
		}
		if line != "" {
			fmt.Fprintf(c.Out, "  codes at %s%s\n", time.Now().In(c.Zone).Format("15:04:05"), line)
		}
	}
}

// shownCode is somebody's current code in two halves, as authenticators show it.
func shownCode(p Person) string {
	code, err := p.Code(time.Now())
	if err != nil {
		return err.Error()
	}
	return grouped(code, 3)
}

// grouped puts a space between groups of letters.
func grouped(s string, size int) string {
	var groups []string
	for group := range slices.Chunk([]byte(s), size) {
		groups = append(groups, string(group))
	}
	return strings.Join(groups, " ")
}
