package models

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
)

func TestTheSetUpLinkMakesOneAdministrator(t *testing.T) {
	t.Parallel()
	a := openArchive(t)
	first, err := a.SetupToken(t.Context())
	if err != nil || len(first) != 32 {
		t.Fatalf("the token is %q, %v", first, err)
	}
	token, err := a.SetupToken(t.Context()) // the next start prints another
	if err != nil || token == first {
		t.Fatalf("the next token is %q, %v", token, err)
	}
	ada := Registration{Username: "ada", FullName: "Ada Lovelace", Email: "ada@example.org", Password: goodPassword}
	for name, bad := range map[string]string{"forgotten": first, "cut": token[:31], "made up": strings.Repeat("0", 32)} {
		r := ada
		r.Token = bad
		if _, err := a.Register(t.Context(), r); KindOf(err) != Invalid {
			t.Errorf("a %s token: %v", name, err)
		}
	}
	r := ada
	r.Token = "https://localhost:8443/register#setup=" + token
	user, _, _ := a.registered(r)
	if !user.Admin {
		t.Error("the token did not make an administrator")
	}
	if again, err := a.User(t.Context(), user.ID); err != nil || !again.Admin {
		t.Errorf("read again: %+v, %v", again, err)
	}
	grace := Registration{Username: "grace", FullName: "Grace Hopper", Email: "grace@example.org", Password: goodPassword, Token: token}
	if _, err := a.Register(t.Context(), grace); KindOf(err) != Invalid {
		t.Errorf("the token works twice: %v", err)
	}
	grace.Token = ""
	if user, _, _ := a.registered(grace); user.Admin {
		t.Error("somebody without a token is an administrator")
	}
	a.reopen()
	if token, err := a.SetupToken(t.Context()); err != nil || token != "" {
		t.Errorf("there is an administrator, and still a token: %q, %v", token, err)
	}
	if strings.Contains(a.log.String(), token) && token != "" || strings.Contains(a.log.String(), first) {
		t.Error("a token is in the log")
	}
}

func TestTwoPendingRegistrationsWithOneTokenMakeOneAdministrator(t *testing.T) {
	t.Parallel()
	a := openArchive(t)
	token, err := a.SetupToken(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var admins atomic.Int32
	var wait sync.WaitGroup
	for _, name := range []string{"ada", "grace"} {
		wait.Go(func() {
			id, err := a.Register(context.Background(), Registration{Username: name, FullName: name, Email: name + "@example.org", Password: goodPassword, Token: token})
			if err != nil {
				if KindOf(err) != Invalid { // the other one was quicker
					t.Error(err)
				}
				return
			}
			p, err := a.Pending(context.Background(), id)
			if err != nil {
				t.Error(err)
				return
			}
			if user, _, err := a.Confirm(context.Background(), By{}, id, codeOf(t, p.Secret, 0)); err == nil && user.Admin {
				admins.Add(1)
			}
		})
	}
	wait.Wait()
	if admins.Load() != 1 {
		t.Errorf("%d administrators", admins.Load())
	}
}

func TestOfManySignInsWithOneCodeExactlyOneGetsThrough(t *testing.T) {
	t.Parallel()
	a := openArchive(t)
	_, secret, codes := a.registered(Registration{Username: "ada", FullName: "Ada Lovelace", Email: "ada@example.org", Password: goodPassword})
	for name, code := range map[string]string{"authenticator": codeOf(t, secret, 1), "recovery": codes[3]} {
		var through atomic.Int32
		var wait sync.WaitGroup
		for range 3 {
			wait.Go(func() {
				if _, err := a.Authenticate(context.Background(), By{}, SignIn{Username: "ada", Password: goodPassword, Code: code}); err == nil {
					through.Add(1)
				} else if KindOf(err) != Invalid {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		if through.Load() != 1 {
			t.Errorf("%s: %d of three got through", name, through.Load())
		}
	}
}

func TestOnlySixPlainDigitsAreACode(t *testing.T) {
	secret, now := make([]byte, otpSecretSize), time.Unix(1_800_000_000, 0)
	right, err := totp.GenerateCode(otpText.EncodeToString(secret), now)
	if err != nil {
		t.Fatal(err)
	}
	if step, ok := matchStep(secret, right, now, 0); !ok || step != now.Unix()/otpPeriod {
		t.Fatalf("the right code is step %d, %v", step, ok)
	}
	for _, code := range []string{"", " " + right, right + " ", right + "\n", right[:5], right + "0", "+" + right[1:], "０" + right[1:], "abcdef"} {
		if _, ok := matchStep(secret, code, now, 0); ok {
			t.Errorf("%q is taken for a code", code)
		}
	}
	for _, size := range []int{0, 10, 19, 21} {
		if _, ok := matchStep(make([]byte, size), right, now, 0); ok {
			t.Errorf("a secret of %d bytes works", size)
		}
	}
	if _, ok := matchStep(nil, "328482", now, 0); ok {
		t.Error("an empty secret works")
	}
}
