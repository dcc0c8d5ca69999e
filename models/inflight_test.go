package models

import (
	"fmt"
	"slices"
	"testing"
)

// What people do at the same moment, who hold a membership from a moment before. The lane takes it one
// after the other, often in one transaction, and each must find what the one before has left.

// together asks for deeds so that all of them stand in one batch, in this order, and returns what each hears.
func (a *archive) together(deeds ...func() error) []error {
	a.t.Helper()
	release := a.held()
	answers := make([]chan error, len(deeds))
	for i, deed := range deeds {
		answers[i] = make(chan error, 1)
		go func() { answers[i] <- deed() }()
		a.waitForJobs(i + 1)
	}
	release()
	heard := make([]error, len(deeds))
	for i := range heard {
		heard[i] = <-answers[i]
	}
	return heard
}

// hear checks the kinds of answers; 0 is none.
func hear(t *testing.T, what string, heard []error, kinds ...Kind) {
	t.Helper()
	for i, err := range heard {
		if KindOf(err) != kinds[i] || kinds[i] == 0 && err != nil {
			t.Errorf("%s: answer %d is %v", what, i, err)
		}
	}
}

func (m *meeting) posts(as Membership, body string) func() error {
	return func() error { _, err := m.Post(ctx, as, body, ""); return err }
}

func (m *meeting) enters(user ID, code string) func() error {
	return func() error { _, err := m.Join(ctx, By{User: user}, code); return err }
}

func (m *meeting) settled(t *testing.T) {
	t.Helper()
	m.checkChain(m.room)
	m.whole(t)
	m.reopen()
	walked(t, m.Store)
	if integrityEvents(t, m.Store) > 0 {
		t.Error("an alarm without a cause")
	}
}

func TestWhatIsInFlightWhileItsAuthorIsRemovedIsNotStored(t *testing.T) { // R63
	t.Parallel()
	for name, expel := range map[string]func(*Store, Membership, ID) error{
		"removed": func(s *Store, m Membership, user ID) error { return s.Expel(ctx, m, user) },
		"banned":  func(s *Store, m Membership, user ID) error { return s.Ban(ctx, m, user) },
		"left":    func(s *Store, m Membership, user ID) error { return s.Leave(ctx, s.memberOf(t, m.Room, user)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := openMeeting(t)
			ada, grace := m.member(m.ada, m.room), m.member(m.grace, m.room)
			hers := m.say(m.grace, m.room, "Before")
			code := m.codeOf(m.room)
			heard := m.together(
				m.posts(grace, "A moment before"),
				func() error { return expel(m.Store, ada, m.grace) },
				m.posts(grace, "A moment after"),
				func() error { return m.Edit(ctx, grace, hers, "Changed") },
				func() error { return m.Store.Remove(ctx, grace, hers) },
				func() error { return m.MarkRead(ctx, grace, hers) },
				func() error { return m.Leave(ctx, grace) },
				m.posts(ada, "Without her"),
			)
			hear(t, name, heard, 0, 0, NotFound, NotFound, NotFound, NotFound, NotFound, 0)
			if got := m.history(m.ada, m.room); !slices.Equal(got, []string{"Before", "A moment before", "Without her"}) {
				t.Errorf("the room holds %q", got)
			}
			if epochs := m.count("SELECT count(*) FROM room_keys WHERE room_id = ?", m.room); epochs != 2 {
				t.Errorf("what was written without her is under one of %d keys", epochs)
			}
			if marks := m.count("SELECT count(*) FROM marks WHERE room_id = ? AND user_id = ?", m.room, m.grace); marks != 0 {
				t.Error("she has a reading mark again")
			}
			m.refuses(t, m.grace)
			if name == "banned" {
				m.refused("the code of before", m.grace, code)
			}
			m.settled(t)
		})
	}
}

func (s *Store) memberOf(t *testing.T, room, user ID) Membership {
	t.Helper()
	m, err := s.Member(ctx, By{User: user}, room.String())
	must(t, err)
	return m
}

func TestWhoKnocksAtTheDoorInFlightFindsItAsItIsThen(t *testing.T) { // R59, R60
	t.Parallel()
	m := openMeeting(t)
	ada, grace := m.member(m.ada, m.room), m.member(m.grace, m.room)
	guests := make([]ID, 6)
	for i := range guests {
		guests[i] = m.user(fmt.Sprintf("guest%d", i), "A guest")
	}
	code := m.codeOf(m.room)
	hear(t, "banned in flight", m.together(
		func() error { return m.Ban(ctx, ada, m.grace) },
		m.enters(m.grace, code),
		func() error { return m.Unban(ctx, ada, "grace") },
		m.enters(m.grace, code),
		func() error { return m.Expel(ctx, ada, m.grace) },
	), 0, NotFound, 0, 0, 0)
	m.refuses(t, m.grace)
	hear(t, "rotated in flight", m.together(
		m.enters(guests[0], code),
		func() error { return m.RotateCode(ctx, ada) },
		m.enters(guests[1], code),
		func() error { return m.SetCodeTerms(ctx, ada, CodeTerms{Uses: 1}) },
	), 0, 0, NotFound, 0)
	m.member(guests[0], m.room)
	m.refuses(t, guests[1])
	code = m.codeOf(m.room)
	hear(t, "one use, and one person in two tabs", m.together(m.enters(guests[1], code), m.enters(guests[1], code), m.enters(guests[2], code)), 0, 0, NotFound)
	hear(t, "more uses in flight", m.together(
		m.enters(guests[2], code),
		func() error { return m.SetCodeTerms(ctx, ada, CodeTerms{Uses: 2}) },
		m.enters(guests[2], code),
		func() error { return m.SetCodeTerms(ctx, ada, CodeTerms{Knock: true}) },
		m.enters(guests[3], code),
		m.enters(guests[3], code),
		func() error { return m.SwitchCode(ctx, ada, true) },
		m.enters(guests[4], code),
		func() error { _, err := m.Admit(ctx, ada, "guest3"); return err },
	), NotFound, 0, 0, 0, 0, 0, 0, NotFound, Conflict)
	m.member(guests[2], m.room)
	m.refuses(t, guests[3])
	hear(t, "saved in another tab", m.together(
		func() error { return m.SetCodeTerms(ctx, ada, CodeTerms{Uses: 3}) },
		m.enters(guests[5], code),
	), 0, NotFound)
	if joins := m.count("SELECT count(*) FROM room_log WHERE room_id = ? AND op = 2 AND target = ?", m.room, guests[1]); joins != 1 {
		t.Errorf("who joins in two tabs has joined %d times", joins)
	}
	if n := m.count("SELECT count(*) FROM knocks"); n != 0 {
		t.Errorf("%d people wait at a door that is shut", n)
	}
	if knocks := events(t, m.Store, eventKnock); len(knocks) != 1 {
		t.Errorf("who knocks in two tabs has knocked as %v", knocks)
	}
	if _, err := m.Post(ctx, grace, "From before", ""); KindOf(err) != NotFound {
		t.Errorf("a membership of before opens the room again: %v", err)
	}
	m.settled(t)
}

func TestAKnockIsAnsweredOnce(t *testing.T) { // R60
	t.Parallel()
	p := openPorch(t)
	ada := p.member(p.ada, p.room)
	admit := func() error { _, err := p.Admit(ctx, ada, "zoe"); return err }
	decline := func() error { _, err := p.Decline(ctx, ada, "zoe"); return err }
	p.terms(CodeTerms{Knock: true, Uses: 2})
	p.knocks(p.zoe)
	own := p.own(p.zoe)[0].Name
	hear(t, "let in twice", p.together(admit, admit, decline, func() error { return p.Withdraw(ctx, By{User: p.zoe}, own) }), 0, Conflict, Conflict, 0)
	if joins := p.count("SELECT count(*) FROM room_log WHERE room_id = ? AND op = 2 AND target = ?", p.room, p.zoe); joins != 1 {
		t.Errorf("she has joined %d times", joins)
	}
	must(t, p.Expel(ctx, ada, p.zoe))
	p.knocks(p.zoe)
	own = p.own(p.zoe)[0].Name
	hear(t, "let in while she goes away", p.together(func() error { return p.Withdraw(ctx, By{User: p.zoe}, own) }, admit), 0, Conflict)
	p.outside(p.zoe)
	p.ahead.Add(int64(25 * 3600e9))
	p.knocks(p.zoe)
	hear(t, "let in while the code is made anew", p.together(func() error { return p.RotateCode(ctx, ada) }, admit), 0, Conflict)
	p.outside(p.zoe)
	p.code = p.codeOf(p.room)
	p.knocks(p.zoe)
	hear(t, "let in while the room changes hands", p.together(func() error { return p.HandOver(ctx, ada, p.grace) }, admit), 0, Denied)
	p.outside(p.zoe)
	must(t, p.Disable(ctx, By{}, p.zoe))
	if _, err := p.Admit(ctx, p.member(p.grace, p.room), "zoe"); KindOf(err) != Conflict {
		t.Errorf("somebody whose account is disabled is let in: %v", err)
	}
	p.checkChain(p.room)
}

func TestARoomHasOneOwnerWhateverHappensAtOnce(t *testing.T) { // R61, R63
	t.Parallel()
	owners := func(m *meeting) int {
		return m.count("SELECT count(*) FROM memberships WHERE room_id = ? AND role = 'owner'", m.room)
	}
	for name, c := range map[string]struct {
		deeds func(m *meeting, ada, grace, linus Membership) []func() error
		kinds []Kind
		roles string // as Linus sees them in the end
	}{
		"handed to two": {func(m *meeting, ada, grace, linus Membership) []func() error {
			return []func() error{func() error { return m.HandOver(ctx, ada, m.grace) }, func() error { return m.HandOver(ctx, ada, linus.User) }}
		}, []Kind{0, Denied}, "ada moderator, grace owner, linus member"},
		"handed over and left": {func(m *meeting, ada, grace, linus Membership) []func() error {
			return []func() error{func() error { return m.HandOver(ctx, ada, linus.User) }, func() error { return m.Leave(ctx, ada) }}
		}, []Kind{0, 0}, "grace member, linus owner"},
		"left and handed over": {func(m *meeting, ada, grace, linus Membership) []func() error {
			return []func() error{func() error { return m.Leave(ctx, ada) }, func() error { return m.HandOver(ctx, ada, linus.User) }}
		}, []Kind{0, NotFound}, "grace owner, linus member"},
		"left in two tabs": {func(m *meeting, ada, grace, linus Membership) []func() error {
			return []func() error{func() error { return m.Leave(ctx, ada) }, func() error { return m.Leave(ctx, ada) }}
		}, []Kind{0, NotFound}, "grace owner, linus member"},
		"the heir has left": {func(m *meeting, ada, grace, linus Membership) []func() error {
			return []func() error{func() error { return m.Leave(ctx, grace) }, func() error { return m.HandOver(ctx, ada, m.grace) }}
		}, []Kind{0, NotFound}, "ada owner, linus member"},
		"all but one leave": {func(m *meeting, ada, grace, linus Membership) []func() error {
			return []func() error{func() error { return m.Leave(ctx, ada) }, func() error { return m.Leave(ctx, grace) }}
		}, []Kind{0, 0}, "linus owner"},
		"the old owner goes on": {func(m *meeting, ada, grace, linus Membership) []func() error {
			return []func() error{
				func() error { return m.HandOver(ctx, ada, m.grace) },
				func() error { return m.Expel(ctx, ada, m.grace) },
				func() error { return m.SetRole(ctx, ada, linus.User, Moderator) },
				func() error { return m.RotateCode(ctx, ada) },
				func() error { return m.SetHistory(ctx, ada, HistorySinceJoin) },
				func() error { return m.TurnEpoch(ctx, ada) },
				func() error { return m.Unban(ctx, ada, "eve") },
				func() error { return m.Destroy(ctx, ada) },
			}
		}, []Kind{0, Denied, Denied, Denied, Denied, Denied, Denied, Denied}, "ada moderator, grace owner, linus member"},
		"the new owner at once": {func(m *meeting, ada, grace, linus Membership) []func() error {
			return []func() error{
				func() error { return m.HandOver(ctx, ada, m.grace) },
				func() error { return m.SetRole(ctx, grace, linus.User, Moderator) }, // who was a plain member when she asked
				func() error { return m.Expel(ctx, grace, m.ada) },
			}
		}, []Kind{0, 0, 0}, "grace owner, linus moderator"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, linus := openTrio(t)
			heard := m.together(c.deeds(m, m.member(m.ada, m.room), m.member(m.grace, m.room), m.member(linus, m.room))...)
			hear(t, name, heard, c.kinds...)
			if got := m.roles(t, linus); got != c.roles || owners(m) != 1 {
				t.Errorf("the room has %s", got)
			}
			m.settled(t)
			if got := m.roles(t, linus); got != c.roles {
				t.Errorf("after a restart the room has %s", got)
			}
		})
	}
}

func TestAModeratorWhoIsOneNoMoreRemovesNothing(t *testing.T) { // R61
	t.Parallel()
	m, linus := openTrio(t)
	ada := m.member(m.ada, m.room)
	must(t, m.SetRole(ctx, ada, m.grace, Moderator))
	grace := m.member(m.grace, m.room)
	n, other := m.say(linus, m.room, "By Linus"), m.say(linus, m.room, "By Linus too")
	hear(t, "a moderator of a moment before", m.together(
		func() error { return m.Store.Remove(ctx, grace, other) },
		func() error { return m.SetRole(ctx, ada, m.grace, Plain) },
		func() error { return m.Store.Remove(ctx, grace, n) },
		func() error { return m.SetRole(ctx, grace, linus, Plain) },
	), 0, 0, Denied, Denied)
	if got := m.history(m.ada, m.room); !slices.Contains(got, "By Linus") || slices.Contains(got, "By Linus too") {
		t.Errorf("the room holds %q", got)
	}
	m.settled(t)
}

func TestNothingIsAddedToARoomThatIsDestroyedMeanwhile(t *testing.T) { // C10
	t.Parallel()
	m, linus := openTrio(t)
	ada, grace := m.member(m.ada, m.room), m.member(m.grace, m.room)
	n := m.say(m.grace, m.room, "Before")
	code := m.codeOf(m.room)
	eve := m.user("eve", "Eve Moneypenny")
	heard := m.together(
		m.posts(grace, "A moment before"),
		func() error { return m.Destroy(ctx, ada) },
		m.posts(grace, "A moment after"),
		m.posts(ada, "By who destroyed it"),
		func() error { return m.Edit(ctx, grace, n, "Changed") },
		func() error { return m.Store.Remove(ctx, ada, n) },
		func() error { return m.MarkRead(ctx, grace, n) },
		m.enters(eve, code),
		func() error { return m.RotateCode(ctx, ada) },
		func() error { return m.SetCodeTerms(ctx, ada, CodeTerms{Knock: true}) },
		func() error { return m.SwitchCode(ctx, ada, false) },
		func() error { return m.SetHistory(ctx, ada, HistorySinceJoin) },
		func() error { return m.TurnEpoch(ctx, ada) },
		func() error { return m.HandOver(ctx, ada, linus) },
		func() error { return m.Leave(ctx, grace) },
		func() error { return m.Destroy(ctx, ada) },
	)
	kinds := slices.Repeat([]Kind{NotFound}, len(heard))
	kinds[0], kinds[1] = 0, 0
	hear(t, "destroyed", heard, kinds...)
	for _, query := range []string{
		"SELECT count(*) FROM messages WHERE room_id = ? AND length(envelope) > 0",
		"SELECT count(*) FROM room_keys WHERE room_id = ?",
		"SELECT count(*) FROM memberships WHERE room_id = ?",
		"SELECT count(*) FROM marks WHERE room_id = ?",
		"SELECT count(*) FROM knocks WHERE room_id = ?",
		"SELECT count(*) FROM rooms WHERE id = ? AND (code_index IS NOT NULL OR length(code) > 0 OR length(name) > 0)",
		"SELECT count(*) FROM room_log WHERE room_id = ?1 AND n > (SELECT n FROM room_log WHERE room_id = ?1 AND op = 17)",
	} {
		if left := m.count(query, m.room); left != 0 {
			t.Errorf("%d left: %s", left, query)
		}
	}
	m.checkChain(m.room)
}

// A membership that somebody holds since before shows no more than the one that stands now.
func TestAMembershipOfBeforeShowsNoMoreThanTheOneOfNow(t *testing.T) { // R64
	t.Parallel()
	m, old, young := openLate(t)
	before := m.member(m.grace, m.room)
	shown := func(what string) {
		t.Helper()
		v, err := m.View(ctx, before)
		must(t, err)
		p, err := m.Older(ctx, before, young)
		must(t, err)
		tail, err := m.After(ctx, before, 0)
		must(t, err)
		for _, l := range append(v.Page.Lines, p.Lines...) {
			if l.N <= old {
				t.Errorf("%s: a page shows entry %d", what, l.N)
			}
		}
		for _, e := range tail.Entries {
			if e.N <= old {
				t.Errorf("%s: catching up tells of entry %d", what, e.N)
			}
		}
		if _, err := m.Message(ctx, before, old); KindOf(err) != NotFound {
			t.Errorf("%s: the page of the message: %v", what, err)
		}
	}
	hear(t, "closed in flight", m.together(
		func() error { return m.SetHistory(ctx, m.member(m.ada, m.room), HistorySinceJoin) },
		func() error { return m.SetHistory(ctx, m.member(m.ada, m.room), HistoryAll) },
		func() error { return m.SetHistory(ctx, m.member(m.ada, m.room), HistorySinceJoin) },
		func() error { return m.SetRole(ctx, m.member(m.ada, m.room), m.grace, Moderator) },
		func() error { return m.Store.Remove(ctx, before, old) },
	), 0, 0, 0, 0, NotFound)
	shown("since the room was closed")
	must(t, m.Leave(ctx, before))
	m.join(m.grace, m.room)
	old = young
	shown("since she came back")
	if role := m.member(m.grace, m.room).Role; role != Plain {
		t.Errorf("who was a moderator comes back as %s", role)
	}
	m.settled(t)
}
