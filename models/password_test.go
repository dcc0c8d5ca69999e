package models

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
)

func TestPasswordsAreAcceptedOrRefusedWithASentence_T17(t *testing.T) {
	about := []string{"ada.lovelace", "Ada Lovelace", "Zoë", "chat.example.org", ""}
	for name, c := range map[string]struct {
		password string
		says     string // part of the refusal; empty when accepted
	}{
		"four words":                     {"orbit walnut sleeve comet", ""},
		"128 emoji, 512 bytes":           {strings.Repeat("🦊", 128), ""},
		"64 spaces and letters":          {strings.Repeat("a ", 31) + "b ", ""},
		"leading and trailing spaces":    {"  quartz fern  ", ""},
		"12 code points of 24 bytes":     {"äöüéèñçßøåîû", ""},
		"a name among other words":       {"ada.lovelace walks", ""},
		"nothing":                        {"", "at least 12"},
		"11 characters":                  {"quartz fern", "at least 12"},
		"12 code points that NFC joins":  {"quartz fere\u0301", "at least 12"},
		"129 characters":                 {strings.Repeat("🦊", 129), "at most 128"},
		"128 characters over 512 bytes":  {strings.Repeat("🦊", 127) + "👩‍👩", "at most 128"},
		"one megabyte":                   {strings.Repeat("x", 1<<20), "at most 128"},
		"not UTF-8":                      {"quartz fern\xff\xfe", "cannot be read"},
		"common":                         {"1q2w3e4r5t6y", "lists"},
		"common in capitals":             {"1Q2W3E4R5T6Y", "lists"},
		"the first of the list":          {"!2h7=aol64#exq0q", "lists"},
		"user name":                      {"Ada.Lovelace", "name"},
		"user name doubled":              {"ada.lovelaceADA.LOVELACE", "name"},
		"full name":                      {"ada lovelace", "name"},
		"full name composed another way": {strings.Repeat("Zoe\u0308", 4), "name"},
		"host name":                      {"chat.example.org", "name"},
		"app name tripled":               {"ConclaveconclaveConclave", "name"},
	} {
		t.Run(name, func(t *testing.T) {
			before := slices.Clone(about)
			err := checkPassword(c.password, about...)
			if !slices.Equal(about, before) {
				t.Error("the caller's names were changed")
			}
			switch {
			case c.says == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)):
				t.Errorf("got %v, want a sentence with %q", err, c.says)
			case err != nil && (!unicode.IsUpper(rune(err.Error()[0])) || !strings.HasSuffix(err.Error(), ".")):
				t.Errorf("not a sentence: %q", err)
			}
		})
	}
}

func TestARefusedPasswordCostsNoHash_T17(t *testing.T) {
	t.Parallel()
	a := openArchive(t)
	a.hasher.working <- struct{}{} // whoever wants to hash now waits
	a.hasher.working <- struct{}{}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	for _, password := range []string{"quartz fern", "1q2w3e4r5t6y", "marguerite.mmarguerite.m", strings.Repeat("x", 129), strings.Repeat("x", 1<<20), strings.Repeat("\xff", 20)} {
		_, err := a.Register(ctx, Registration{Username: "marguerite.m", FullName: "Marguerite Moreau", Email: "m@example.org", Password: password})
		if KindOf(err) != Invalid {
			t.Errorf("%.30q: %v", password, err)
		}
	}
	cancel() // one that is accepted waits for its hash
	_, err := a.Register(ctx, Registration{Username: "marguerite.m", FullName: "Marguerite Moreau", Email: "m@example.org", Password: strings.Repeat("🦊", 128)})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a good one: %v", err)
	}
}

func TestTheListIsSortedAndEveryLineIsFound(t *testing.T) {
	lines := strings.Split(strings.TrimSuffix(commonPasswords, "\n"), "\n")
	if len(lines) != 20_000 || !slices.IsSorted(lines) {
		t.Fatalf("%d lines, sorted: %v", len(lines), slices.IsSorted(lines))
	}
	for _, line := range lines {
		if !isCommon(line) || isCommon(line+"\x00") {
			t.Fatalf("%q: found %v, its longer neighbour %v", line, isCommon(line), isCommon(line+"\x00"))
		}
	}
	for _, other := range []string{"", "\n", "!", "\x00", "~~~~~~~~~~~~~~~~~~~", "\xff"} {
		if isCommon(other) {
			t.Errorf("%q is found", other)
		}
	}
}

func TestAHashVerifiesItsPasswordAndNoOther(t *testing.T) {
	h := newHasher(32, phcToday)
	encoded, err := h.hash(t.Context(), "caf\u00e9 walnut sleeve")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(encoded, "$argon2id$v=19$m=65536,t=3,p=1$") || h.stale(encoded) {
		t.Errorf("made %s, stale: %v", encoded, h.stale(encoded))
	}
	for password, want := range map[string]bool{
		"cafe\u0301 walnut sleeve": true, // typed on another system
		"caf\u00e9 walnut sleeves": false,
		"":                         false,
	} {
		if ok, err := h.verify(t.Context(), encoded, password); ok != want || err != nil {
			t.Errorf("%q: %v, %v", password, ok, err)
		}
	}
	if err := h.verifyNobody(t.Context(), "caf\u00e9 walnut sleeve"); err != nil {
		t.Errorf("nobody: %v", err)
	}
}

// The vector is one of src/test.c in the reference implementation, github.com/P-H-C/phc-winner-argon2.
func TestAForeignHashVerifiesAndIsStale(t *testing.T) {
	const encoded = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	h := newHasher(0, phcToday)
	if ok, err := h.verify(t.Context(), encoded, "password"); !ok || err != nil {
		t.Errorf("verify: %v, %v", ok, err)
	}
	if !h.stale(encoded) {
		t.Error("not stale")
	}
}

func TestAStoredHashOutsideTheBoundsIsAnErrorWithoutWork(t *testing.T) {
	const salt, sum = "c29tc2FsdHNvbWVzYWx0", "CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	with := func(parameters string) string { return "$argon2id$v=19$" + parameters + "$" + salt + "$" + sum }
	h := newHasher(0, phcToday)
	if _, err := h.parse(with("m=19456,t=2,p=1")); err != nil {
		t.Errorf("the weakest allowed: %v", err)
	}
	h.working <- struct{}{} // whoever wants to hash now waits until the test times out
	h.working <- struct{}{}
	for name, encoded := range map[string]string{
		"empty":            "",
		"too little":       with("m=19455,t=2,p=1"),
		"one pass":         with("m=65536,t=1,p=1"),
		"no thread":        with("m=65536,t=3,p=0"),
		"too much memory":  with("m=1048577,t=3,p=1"),
		"too many passes":  with("m=65536,t=11,p=1"),
		"overflow":         with("m=4295032832,t=3,p=1"),
		"negative":         with("m=-65536,t=3,p=1"),
		"another order":    with("t=3,m=65536,p=1"),
		"leading zero":     with("m=065536,t=3,p=1"),
		"another function": strings.Replace(with("m=65536,t=3,p=1"), "argon2id", "argon2i", 1),
		"another version":  strings.Replace(with("m=65536,t=3,p=1"), "v=19", "v=16", 1),
		"something after":  with("m=65536,t=3,p=1") + "$",
		"padded":           with("m=65536,t=3,p=1") + "=",
		"short salt":       strings.Replace(with("m=65536,t=3,p=1"), salt, "c29t", 1),
		"short sum":        strings.Replace(with("m=65536,t=3,p=1"), sum, "CTFh", 1),
		"no sum":           strings.Replace(with("m=65536,t=3,p=1"), sum, "", 1),
	} {
		if ok, err := h.verify(t.Context(), encoded, "password"); ok || err == nil {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
		if !h.stale(encoded) {
			t.Errorf("%s: not stale", name)
		}
	}
}

func TestTwoHashTheQueueWaitsAndTheRestIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHasher(3, phcToday)
		var atWork, most, served atomic.Int32
		for range 5 {
			go func() {
				leave, err := h.enter(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				defer leave()
				most.Store(max(most.Load(), atWork.Add(1)))
				time.Sleep(time.Second)
				atWork.Add(-1)
				served.Add(1)
			}()
			synctest.Wait()
		}
		if _, err := h.hash(t.Context(), "one too many of us"); !errors.Is(err, errBusy) {
			t.Errorf("the sixth: %v", err)
		}
		time.Sleep(10 * time.Second)
		if most.Load() != 2 || served.Load() != 5 {
			t.Errorf("at once %d, served %d", most.Load(), served.Load())
		}
		if leave, err := h.enter(t.Context()); err != nil {
			t.Errorf("afterwards: %v", err)
		} else {
			leave()
		}
	})
}

func TestWhoGivesUpWaitingLeavesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHasher(1, phcToday)
		first, _ := h.enter(t.Context())
		second, _ := h.enter(t.Context())
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, err := h.hash(ctx, "orbit walnut sleeve"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("waiting: %v", err)
			}
			cancel()
		}
		first()
		second()
	})
}
