package models

import (
	"context"
	"strings"
	"sync"
	"testing"
)

func TestAThousandRoomCodesAreRandomAndNoTwoAlike_T45(t *testing.T) {
	t.Parallel()
	a := openArchive(t)
	ada, grace := a.user("ada", "Ada Lovelace"), a.user("grace", "Grace Hopper")
	const rooms = 1000
	var wait sync.WaitGroup
	turns := make(chan struct{}, 64)
	for i := range rooms {
		wait.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			owner := ada
			if i%2 == 1 {
				owner = grace
			}
			if _, err := a.CreateRoom(context.Background(), By{User: owner}, "Room"); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	rows, err := a.intruder().Query("SELECT id FROM rooms")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	seen := map[string]bool{}
	var counts [codeLength][len(codeAlphabet)]int
	for rows.Next() {
		var room ID
		if err := rows.Scan(&room); err != nil {
			t.Fatal(err)
		}
		code := a.codeOf(room)
		if len(code) != codeLength || strings.Trim(code, "0123456789ABCDEFGHJKMNPQRSTVWXYZ") != "" {
			t.Fatalf("%q is no room code", code)
		}
		if shown := FormatCode(code); len(shown) != 19 || strings.Count(shown, "-") != 3 {
			t.Fatalf("the code is shown as %q", shown)
		}
		if seen[code] {
			t.Fatalf("the code %s comes twice", code)
		}
		seen[code] = true
		for at, symbol := range code {
			counts[at][strings.IndexRune(codeAlphabet, symbol)]++
		}
	}
	if len(seen) != rooms {
		t.Fatalf("%d codes, want %d", len(seen), rooms)
	}
	// With 31 degrees of freedom, chance alone gives more than 90 once in ten million runs.
	var all [len(codeAlphabet)]int
	for at := range counts {
		for symbol, count := range counts[at] {
			all[symbol] += count
		}
		if x := chiSquare(counts[at][:]); x > 90 {
			t.Errorf("symbols at place %d are not evenly spread: chi-square %.1f", at, x)
		}
	}
	if x := chiSquare(all[:]); x > 90 {
		t.Errorf("symbols are not evenly spread: chi-square %.1f", x)
	}
}

func chiSquare(counts []int) (x float64) {
	total := 0
	for _, c := range counts {
		total += c
	}
	want := float64(total) / float64(len(counts))
	for _, c := range counts {
		x += (float64(c) - want) * (float64(c) - want) / want
	}
	return x
}

func TestARoomCodeIsForgivenHowItIsTyped(t *testing.T) {
	const code = "0123456789ABCD1F"
	for _, typed := range []string{
		code, "0123-4567-89AB-CD1F", "o123-4567-89ab-cdif", "O123 4567 89AB CDLF", "  0123456789abcdIf\r\n", "0123–4567—89AB‑CD1F",
		"0 1 2 3 4 5 6 7 8 9 A B C D 1 F", "0123_4567.89ab_cdlf", "0123\u00a04567\u200989AB\tCD1F",
	} {
		if got, err := normalCode(typed); err != nil || got != code {
			t.Errorf("%q is read as %q, %v", typed, got, err)
		}
	}
	for _, wrong := range []string{
		"", "   ", "----", "0123456789ABCD1", "0123456789ABCD1FF", "0123456789ABCD1U", "0123456789ABCD1é", "０123456789ABCD1F",
		"0123456789ABCD1F\x00", "%", "' OR 1=1 --", strings.Repeat("0", 100_000), strings.Repeat("-", 300), "\xff\xfe",
	} {
		if got, err := normalCode(wrong); KindOf(err) != Invalid || got != "" {
			t.Errorf("%.40q is read as %q, %v", wrong, got, err)
		}
	}
}

func TestOneCodeOpensOneRoomAndOnlyWhileSomebodyIsInIt(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	zoe := m.user("zoe", "Zoe Washburne")
	code := m.codeOf(m.room)
	unknown := codeAlphabet[:codeLength]
	_, errUnknown := m.Join(t.Context(), By{User: zoe}, unknown)
	if KindOf(errUnknown) != NotFound {
		t.Fatalf("an unknown code: %v", errUnknown)
	}
	for _, user := range []ID{m.ada, m.grace} {
		if err := m.Leave(t.Context(), m.member(user, m.room)); err != nil {
			t.Fatal(err)
		}
	}
	for _, user := range []ID{zoe, m.ada, m.grace} {
		if _, err := m.Join(t.Context(), By{User: user}, code); err == nil || err.Error() != errUnknown.Error() || KindOf(err) != NotFound {
			t.Errorf("a room that everybody has left: %v, an unknown code: %v", err, errUnknown)
		}
	}
	m.checkChain(m.room)
}

func TestOwnershipPassesToTheLongestMember(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	zoe := m.user("zoe", "Zoe Washburne")
	m.join(zoe, m.room)
	owner := func(as ID) (owners []ID) {
		t.Helper()
		people, err := m.Members(t.Context(), m.member(as, m.room))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range people {
			if p.Role == Owner {
				owners = append(owners, p.ID)
			}
		}
		return owners
	}
	leave := func(user ID) {
		t.Helper()
		if err := m.Leave(t.Context(), m.member(user, m.room)); err != nil {
			t.Fatal(err)
		}
	}
	leave(m.ada)
	if got := owner(zoe); len(got) != 1 || got[0] != m.grace {
		t.Errorf("after Ada the owner is %v", got)
	}
	m.join(m.ada, m.room) // now the youngest
	leave(m.grace)
	if got := owner(m.ada); len(got) != 1 || got[0] != zoe {
		t.Errorf("after Grace the owner is %v", got)
	}
	leave(m.ada) // no owner leaves: nothing passes
	if got := owner(zoe); len(got) != 1 || got[0] != zoe {
		t.Errorf("after a plain member the owner is %v", got)
	}
	m.reopen()
	if got := owner(zoe); len(got) != 1 || got[0] != zoe {
		t.Errorf("after a restart the owner is %v", got)
	}
	m.checkChain(m.room)
}
