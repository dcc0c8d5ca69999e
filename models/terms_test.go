package models

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// refused checks that a code leads nowhere, in the very words of a code that never was.
func (a *archive) refused(what string, user ID, code string) {
	a.t.Helper()
	_, unknown := a.Join(a.t.Context(), By{User: user}, codeAlphabet[:codeLength])
	room, err := a.Join(a.t.Context(), By{User: user}, code)
	if err == nil || KindOf(err) != NotFound || err.Error() != unknown.Error() {
		a.t.Errorf("%s: the code leads to %v, %v; an unknown one to %v", what, room, err, unknown)
	}
}

func (m *meeting) terms(t CodeTerms) {
	m.t.Helper()
	must(m.t, m.SetCodeTerms(m.t.Context(), m.member(m.ada, m.room), t))
	if m.view(m.ada).Terms.Off != t.Off {
		must(m.t, m.SwitchCode(m.t.Context(), m.member(m.ada, m.room), t.Off))
	}
}

func (m *meeting) view(user ID) View {
	m.t.Helper()
	v, err := m.View(m.t.Context(), m.member(user, m.room))
	if err != nil {
		m.t.Fatal(err)
	}
	return v
}

func (m *meeting) findings() []Finding {
	m.t.Helper()
	return slices.DeleteFunc(verified(m.t, options(m.dir)).Findings, func(f Finding) bool { return f.Room != m.room.String() })
}

func TestARotatedCodeIsDeadAtOnceAndTheNewOneLetsIn(t *testing.T) { // R59
	t.Parallel()
	m := openMeeting(t)
	zoe := m.user("zoe", "Zoe Washburne")
	old := m.view(m.grace).Code
	if err := m.RotateCode(t.Context(), m.member(m.ada, m.room)); err != nil {
		t.Fatal(err)
	}
	now := m.view(m.grace).Code
	if now == old || len(now) != codeLength {
		t.Fatalf("the code was %q and is %q", old, now)
	}
	m.refused("the old code", zoe, old)
	m.refused("the old code, for a member", m.grace, old)
	m.reopen()
	m.refused("the old code after a restart", zoe, old)
	if room, err := m.Join(t.Context(), By{User: zoe}, now); err != nil || room != m.room {
		t.Errorf("the new code leads to %v, %v", room, err)
	}
	m.whole(t)
	m.checkChain(m.room)
}

func TestACodeThatIsOffIsShownToNobodyAndComesBackAsItWas(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	zoe := m.user("zoe", "Zoe Washburne")
	code := m.view(m.grace).Code
	m.terms(CodeTerms{Off: true, Uses: 5})
	for _, user := range []ID{m.ada, m.grace} {
		if v := m.view(user); v.Code != "" || !v.Terms.Off || v.Harmed || v.Invitation != nil {
			t.Errorf("the room shows the code %q, %+v, harmed %v", v.Code, v.Terms, v.Harmed)
		}
	}
	m.refused("a code that is off", zoe, code)
	m.whole(t)
	m.reopen()
	m.refused("a code that is off, after a restart", zoe, code)
	m.terms(CodeTerms{Uses: 5})
	if v := m.view(m.grace); v.Code != code || v.Terms != (CodeTerms{Uses: 5}) {
		t.Errorf("it came back as %q, %+v", v.Code, v.Terms)
	}
	m.join(zoe, m.room)
	if v := m.view(m.ada); v.Joined != 1 {
		t.Errorf("%d joins are counted", v.Joined)
	}
	m.whole(t)
}

func TestOnlyTheOwnerChangesTheCode(t *testing.T) { // R61, T38
	t.Parallel()
	m := openMeeting(t)
	before := m.view(m.grace)
	forged := m.member(m.grace, m.room)
	forged.Role = Owner // the store looks for itself
	zoe := m.user("zoe", "Zoe Washburne")
	for what, as := range map[string]Membership{"a member": m.member(m.grace, m.room), "a member who says she is the owner": forged, "a stranger": {Room: m.room, By: By{User: zoe}, Role: Owner}} {
		for _, err := range []error{m.RotateCode(t.Context(), as), m.SetCodeTerms(t.Context(), as, CodeTerms{}), m.SwitchCode(t.Context(), as, true)} {
			if kind := KindOf(err); kind != Denied && !(as.User == zoe && kind == NotFound) {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	if after := m.view(m.grace); after.Code != before.Code || after.Terms != before.Terms || after.Page.Head != before.Page.Head {
		t.Errorf("the room has changed: %+v", after)
	}
}

func TestTermsThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	for field, terms := range map[string]CodeTerms{"uses": {Uses: -1}, "expires": {Expires: time.Now().Add(-time.Second)}} {
		var fault *Error
		err := m.SetCodeTerms(t.Context(), m.member(m.ada, m.room), terms)
		if !errors.As(err, &fault) || fault.Kind != Invalid || fault.Field != field {
			t.Errorf("%+v: %v", terms, err)
		}
	}
	if err := m.SetCodeTerms(t.Context(), m.member(m.ada, m.room), CodeTerms{Uses: codeUsesMost + 1}); KindOf(err) != Invalid {
		t.Errorf("a million joins: %v", err)
	}
}

func TestOfTwoWhoTakeTheLastUseAtOnceOneGetsIn(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	code := m.codeOf(m.room)
	m.terms(CodeTerms{Uses: 1})
	people := make([]ID, 8)
	for i := range people {
		people[i] = m.user(fmt.Sprintf("guest%d", i), "A guest")
	}
	var wait sync.WaitGroup
	var mu sync.Mutex
	in := 0
	for _, user := range people {
		wait.Go(func() {
			_, err := m.Join(context.Background(), By{User: user}, code)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				in++
			} else if KindOf(err) != NotFound {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if in != 1 {
		t.Errorf("%d people came in", in)
	}
	m.refused("a code that is used up", m.user("late", "Late Comer"), code)
	if room, err := m.Join(t.Context(), By{User: m.grace}, code); err != nil || room != m.room {
		t.Errorf("a member who enters the code again: %v, %v", room, err)
	}
	m.terms(CodeTerms{Uses: 1}) // counted from here
	m.join(m.user("next", "Next Guest"), m.room)
	m.whole(t)
}

func TestABannedPersonNeedsANewerCode(t *testing.T) { // R63
	t.Parallel()
	m := openMeeting(t)
	code := m.codeOf(m.room)
	if err := m.Leave(t.Context(), m.member(m.grace, m.room)); err != nil {
		t.Fatal(err)
	}
	ban := func() {
		t.Helper()
		err := m.lane.do(t.Context(), func(c *change) error {
			return c.append(&Entry{Room: m.room, Op: OpBan, Target: m.grace, Actor: m.ada})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	ban()
	m.refused("the code from before the ban", m.grace, code)
	m.terms(CodeTerms{Uses: 9}) // the symbols are as old as they were
	m.refused("the same code under new terms", m.grace, code)
	if err := m.RotateCode(t.Context(), m.member(m.ada, m.room)); err != nil {
		t.Fatal(err)
	}
	m.join(m.grace, m.room)
}

// codeRow is what stands in a room's row about its code.
type codeRow struct {
	code, index []byte
	n           int64
}

func (m *meeting) codeRow() (r codeRow) {
	m.t.Helper()
	if err := m.intruder().QueryRow("SELECT code, code_index, code_n FROM rooms WHERE id = ?", m.room).Scan(&r.code, &r.index, &r.n); err != nil {
		m.t.Fatal(err)
	}
	return r
}

func (m *meeting) putBack(r codeRow) {
	m.t.Helper()
	m.tamper(1, "UPDATE rooms SET code = ?, code_index = ?, code_n = ? WHERE id = ?", r.code, r.index, r.n, m.room)
}

// Whoever writes the database but has no key brings no old code and no old terms back.
func TestAnOldCodeThatIsPutBackLeadsNowhere(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*meeting){
		"rotated":      func(m *meeting) { must(m.t, m.RotateCode(ctx, m.member(m.ada, m.room))) },
		"switched off": func(m *meeting) { m.terms(CodeTerms{Off: true}) },
		"limited": func(m *meeting) {
			m.terms(CodeTerms{Uses: 1})
			m.join(m.user("first", "First Guest"), m.room)
		},
		"asking": func(m *meeting) { m.terms(CodeTerms{Knock: true}) },
	} {
		for _, way := range []string{"", ", with the entry taken out", ", with the entry turned into another", "; the server was started since", "; with the entry taken out before the start"} {
			t.Run(name+way, func(t *testing.T) {
				t.Parallel()
				m := openMeeting(t)
				zoe := m.user("zoe", "Zoe Washburne")
				code, old := m.codeOf(m.room), m.codeRow()
				change(m)
				last := m.codeRow().n
				m.say(m.ada, m.room, "Something else")
				if strings.HasPrefix(way, ";") {
					must(t, m.Close())
				}
				m.putBack(old)
				switch way {
				case ", with the entry taken out":
					m.tamper(1, "DELETE FROM room_log WHERE room_id = ? AND n = ?", m.room, last)
				case ", with the entry turned into another":
					m.tamper(1, "UPDATE room_log SET op = 14 WHERE room_id = ? AND n = ?", m.room, last)
				case "; with the entry taken out before the start":
					m.tamper(1, "DELETE FROM room_log WHERE room_id = ? AND n = ?", m.room, last)
				}
				if strings.HasPrefix(way, ";") {
					m.open()
					walked(t, m.Store)
				}
				m.refused("the old code", zoe, code)
				v := m.view(m.ada)
				if v.Code != "" || !v.Harmed {
					t.Errorf("the room shows the code %q, harmed %v", v.Code, v.Harmed)
				}
				if len(m.findings()) == 0 {
					t.Error("verify finds nothing")
				}
				eventually(t, "an audit event", func() bool { return integrityEvents(t, m.Store) > 0 })
				if way == "" { // the log is whole: the owner makes a new code
					must(t, m.RotateCode(ctx, m.member(m.ada, m.room)))
					m.join(zoe, m.room)
					m.whole(t)
				}
			})
		}
	}
}

func TestTheIndexOfACodeCannotBeSetOrTakenAway(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	zoe := m.user("zoe", "Zoe Washburne")
	code, old := m.codeOf(m.room), m.codeRow()
	m.tamper(1, "UPDATE rooms SET code_index = NULL WHERE id = ?", m.room)
	m.refused("a code without its index", zoe, code)
	if v := m.view(m.ada); v.Code != "" || !v.Harmed {
		t.Errorf("the room shows the code %q, harmed %v", v.Code, v.Harmed)
	}
	m.putBack(old)
	m.terms(CodeTerms{Off: true})
	m.tamper(1, "UPDATE rooms SET code_index = ? WHERE id = ?", old.index, m.room)
	m.refused("a code that is off, with its index", zoe, code)
	if len(m.findings()) == 0 {
		t.Error("verify finds nothing")
	}
}

// Uses are counted by the entries of the log. To take some out is damage, not more uses.
func TestUsesThatAreTakenOutOfTheLogDoNotComeBack(t *testing.T) {
	t.Parallel()
	for name, statement := range map[string]string{
		"taken out": "DELETE FROM room_log WHERE room_id = ? AND op = 2 AND n > ?",
		"turned":    "UPDATE room_log SET op = 3 WHERE room_id = ? AND op = 2 AND n > ?",
		"moved":     "UPDATE room_log SET n = -n WHERE room_id = ? AND op = 2 AND n > ?",
	} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, restart %v", name, restart), func(t *testing.T) {
				t.Parallel()
				m := openMeeting(t)
				code := m.codeOf(m.room)
				m.terms(CodeTerms{Uses: 1})
				m.join(m.user("first", "First Guest"), m.room)
				m.say(m.ada, m.room, "Full house")
				if restart {
					must(t, m.Close())
				}
				m.tamper(1, statement, m.room, m.codeRow().n)
				if restart {
					m.open()
					walked(t, m.Store)
				}
				m.refused("the code", m.user("second", "Second Guest"), code)
				if damage, _ := m.proofs.status(m.room); damage == "" {
					t.Error("nobody is told")
				}
			})
		}
	}
}

// What the log said last about a banned person is not forgotten when its row goes.
func TestABanThatIsTakenOutOfTheLogLetsNobodyIn(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	code := m.codeOf(m.room)
	must(t, m.Leave(ctx, m.member(m.grace, m.room)))
	m.tamper(1, "DELETE FROM room_log WHERE room_id = ? AND target = ? AND op = 3", m.room, m.grace)
	m.refused("the code", m.grace, code)
	if _, harmed := m.proofs.status(m.room); !harmed {
		t.Error("nobody is told")
	}
	m.tamper(1, "DELETE FROM room_log WHERE room_id = ? AND target = ? AND op = 2", m.room, m.grace)
	m.refused("the code", m.grace, code)
}

// A database of before there were terms holds codes without any.
func TestACodeFromBeforeTermsHasNone(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	content, err := m.service.OpenRoomCode(m.room, 3, m.codeRow().code)
	if err != nil || len(content) != codeLength {
		t.Fatalf("a new room's code is sealed as %q, %v", content, err)
	}
	code, err := m.readCode(t.Context(), m.read.Statement.ConnPool, m.room)
	if err != nil || code.terms() != (CodeTerms{}) || code.since() != 3 {
		t.Errorf("it reads as %+v, %v", code, err)
	}
}

func TestACodeEndsAtItsMomentAndANewOneDoesNotEndWithIt(t *testing.T) { // R59
	t.Parallel()
	at := time.Now()
	for ahead, want := range map[time.Duration]bool{-time.Millisecond: false, 0: true, time.Millisecond: true} {
		if (CodeTerms{Expires: at}).Expired(at.Add(ahead)) != want {
			t.Errorf("%v after its moment a code has expired: %v", ahead, !want)
		}
	}
	p := openPorch(t)
	p.terms(CodeTerms{Expires: p.o.Now().Add(time.Hour), Knock: true})
	p.knocks(p.zoe)
	p.ahead.Add(int64(2 * time.Hour))
	eve := p.user("eve", "Eve Moneypenny")
	p.refused("a code whose time is over", eve, p.code)
	must(t, p.RotateCode(ctx, p.member(p.ada, p.room)))
	if n := p.count("SELECT count(*) FROM knocks"); n != 0 { // it would count among the most that may wait
		t.Errorf("%d people wait with the old code", n)
	}
	if terms := p.view(p.ada).Terms; !terms.Expires.IsZero() || !terms.Knock {
		t.Errorf("the new code has the terms %+v", terms)
	}
	p.code = p.codeOf(p.room)
	p.knocks(eve)
}

// Terms without a code would let in whoever has none.
func TestADamagedCodeTakesNoTermsAndIsMadeAnew(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	zoe := m.user("zoe", "Zoe Washburne")
	code := m.codeOf(m.room)
	m.tamper(1, "UPDATE rooms SET code = x'00' WHERE id = ?", m.room)
	before := m.codeRow()
	for _, err := range []error{m.SetCodeTerms(ctx, m.member(m.ada, m.room), CodeTerms{Uses: 3}), m.SwitchCode(ctx, m.member(m.ada, m.room), true), m.SwitchCode(ctx, m.member(m.ada, m.room), false)} {
		if KindOf(err) != Conflict {
			t.Errorf("terms of a damaged code: %v", err)
		}
	}
	if now := m.codeRow(); now.n != before.n {
		t.Errorf("the code is that of entry %d", now.n)
	}
	for _, typed := range []string{code, "", codeAlphabet[:codeLength]} {
		if room, err := m.Join(ctx, By{User: zoe}, typed); err == nil {
			t.Errorf("%q leads to %v", typed, room)
		}
	}
	m.refused("a damaged code, by a member", m.grace, code)
	must(t, m.RotateCode(ctx, m.member(m.ada, m.room)))
	m.join(zoe, m.room)
}

// In the first moments after a start nobody has read the log yet: it is asked itself.
func TestAnOldCodeLeadsNowhereEvenBeforeTheLogWasWalked(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	zoe := m.user("zoe", "Zoe Washburne")
	code, old := m.codeOf(m.room), m.codeRow()
	must(t, m.RotateCode(ctx, m.member(m.ada, m.room)))
	m.reopen()
	walked(t, m.Store)
	now := m.codeOf(m.room)
	m.putBack(old)
	m.unwalked()
	m.refused("the old code", zoe, code)
	m.refused("the code that it stands in for", zoe, now)
}

// unwalked makes the store as it is just after a start: nothing of any room's log was read.
func (a *archive) unwalked() {
	a.proofs.mu.Lock()
	defer a.proofs.mu.Unlock()
	clear(a.proofs.rooms)
}

func TestUsesAreCountedOnWhileACodeIsOff(t *testing.T) { // R59
	t.Parallel()
	m := openMeeting(t)
	code, guest := m.codeOf(m.room), func(name string) ID { return m.user(name, "A guest") }
	m.terms(CodeTerms{Uses: 2})
	m.join(guest("first"), m.room)
	ada := m.member(m.ada, m.room)
	for range 2 {
		must(t, m.SwitchCode(ctx, ada, true))
		must(t, m.SwitchCode(ctx, ada, false))
		must(t, m.SwitchCode(ctx, ada, false)) // it is on
	}
	if v := m.view(m.ada); v.Joined != 1 || v.Terms.Uses != 2 {
		t.Errorf("%d of %d uses", v.Joined, v.Terms.Uses)
	}
	m.join(guest("second"), m.room)
	m.reopen()
	walked(t, m.Store)
	m.refused("a code that is used up", guest("third"), code)
	must(t, m.SwitchCode(ctx, ada, true))
	must(t, m.SwitchCode(ctx, ada, false))
	m.refused("and was off since", guest("fourth"), code)
	m.terms(CodeTerms{Uses: 2}) // counted from here
	m.join(guest("fifth"), m.room)
	must(t, m.RotateCode(ctx, ada)) // and from here
	if v := m.view(m.ada); v.Joined != 0 {
		t.Errorf("a new code was used %d times", v.Joined)
	}
	m.whole(t)
}
