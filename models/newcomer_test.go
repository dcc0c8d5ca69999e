package models

import (
	"fmt"
	"slices"
	"testing"
)

// openLate is a room where something was said before Grace came, and something since. old and young are
// messages of Ada's from before and after.
func openLate(t *testing.T) (m *meeting, old, young uint64) {
	t.Helper()
	m = &meeting{archive: openArchive(t)}
	m.ada, m.grace = m.user("ada", "Ada Lovelace"), m.user("grace", "Grace Hopper")
	m.room = m.create(m.ada, "Engine room")
	old = m.say(m.ada, m.room, "Before she came")
	m.join(m.grace, m.room)
	young = m.say(m.ada, m.room, "After she came")
	return m, old, young
}

func (m *meeting) setHistory(t *testing.T, h History) {
	t.Helper()
	must(t, m.SetHistory(ctx, m.member(m.ada, m.room), h))
}

// sees checks every way to a text from before Grace came.
func (m *meeting) sees(t *testing.T, old, young uint64, all bool) {
	t.Helper()
	grace := m.member(m.grace, m.room)
	want := []string{"After she came"}
	if all {
		want = []string{"Before she came", "After she came"}
	}
	if got := m.history(m.grace, m.room); !slices.Equal(got, want) {
		t.Errorf("her page shows %q, want %q", got, want)
	}
	v, err := m.View(ctx, grace)
	must(t, err)
	if (v.Page.From > 0) == all || v.Page.Before != 0 {
		t.Errorf("her page begins with %d, and there is more before %d", v.Page.From, v.Page.Before)
	}
	for _, before := range []uint64{old + 1, young, v.Page.Head, 1 << 62} {
		p, err := m.Older(ctx, grace, before)
		must(t, err)
		for _, l := range p.Lines {
			if (l.N == old && !all) || l.Damaged || l.Missing > 0 {
				t.Errorf("the page before %d shows %+v", before, l)
			}
		}
		if shown := slices.ContainsFunc(p.Lines, func(l Line) bool { return l.N == old }); shown != all {
			t.Errorf("the page before %d shows the old message: %v", before, shown)
		}
	}
	if _, err := m.Message(ctx, grace, old); (err == nil) != all || !all && KindOf(err) != NotFound {
		t.Errorf("the page of the old message: %v", err)
	}
	if _, err := m.Message(ctx, grace, young); err != nil {
		t.Errorf("the page of the young message: %v", err)
	}
	tail, err := m.After(ctx, grace, 0)
	must(t, err)
	var told []uint64
	for _, e := range tail.Entries {
		if tail.Member.Shows(e) {
			told = append(told, e.N)
		}
	}
	if slices.Contains(told, old) != all || !slices.Contains(told, young) || slices.ContainsFunc(tail.Entries, func(e *Entry) bool { return e.N == old }) != all {
		t.Errorf("catching up tells her %v", told)
	}
	// Ada was there from the beginning
	if got := m.history(m.ada, m.room); !slices.Contains(got, "Before she came") {
		t.Errorf("Ada's page shows %q", got)
	}
}

func TestNewcomersSeeWhatTheOwnerDecides(t *testing.T) { // R64
	t.Parallel()
	m, old, young := openLate(t)
	m.sees(t, old, young, true)
	m.setHistory(t, HistorySinceJoin)
	m.sees(t, old, young, false)
	m.setHistory(t, HistorySinceJoin) // again: nothing happens
	m.setHistory(t, HistoryAll)
	m.sees(t, old, young, true)
	m.setHistory(t, HistorySinceJoin)
	m.sees(t, old, young, false)
	if found := events(t, m.Store, "room.history"); len(found) != 3 || found[2] != "room.history "+m.room.String()+" since_join" {
		t.Errorf("the audit log says %v", found)
	}
	m.checkChain(m.room)
	m.whole(t)
	m.reopen()
	walked(t, m.Store)
	m.sees(t, old, young, false)
	if integrityEvents(t, m.Store) > 0 {
		t.Error("an alarm without a cause")
	}
}

func TestTheLatestJoinCounts(t *testing.T) { // R64
	t.Parallel()
	m, old, young := openLate(t)
	m.setHistory(t, HistorySinceJoin)
	hers := m.say(m.grace, m.room, "By Grace, the first time")
	must(t, m.Leave(ctx, m.member(m.grace, m.room)))
	m.say(m.ada, m.room, "While she was away")
	m.join(m.grace, m.room)
	m.say(m.ada, m.room, "Back again")
	if got := m.history(m.grace, m.room); !slices.Equal(got, []string{"Back again"}) {
		t.Errorf("after coming back she sees %q", got)
	}
	grace := m.member(m.grace, m.room)
	for _, n := range []uint64{old, young, hers} {
		if _, err := m.Message(ctx, grace, n); KindOf(err) != NotFound {
			t.Errorf("message %d: %v", n, err)
		}
	}
	for what, err := range map[string]error{"edited": m.Edit(ctx, grace, hers, "Changed"), "removed": m.Store.Remove(ctx, grace, hers)} {
		if KindOf(err) != NotFound {
			t.Errorf("her own message from before is %s: %v", what, err)
		}
	}
	// a role says nothing about when somebody came
	must(t, m.SetRole(ctx, m.member(m.ada, m.room), m.grace, Moderator))
	if err := m.Store.Remove(ctx, m.member(m.grace, m.room), old); KindOf(err) != NotFound {
		t.Errorf("a moderator removes what she does not see: %v", err)
	}
	must(t, m.HandOver(ctx, m.member(m.ada, m.room), m.grace))
	if got := m.history(m.grace, m.room); !slices.Equal(got, []string{"Back again"}) {
		t.Errorf("as the owner she sees %q", got)
	}
	must(t, m.Leave(ctx, m.member(m.ada, m.room)))
	m.join(m.ada, m.room)
	if got := m.history(m.ada, m.room); len(got) != 0 {
		t.Errorf("who opened the room, left and came back sees %q", got)
	}
	m.whole(t)
}

// A change of an old message is no way to its text.
func TestAnEditOfAnOldMessageShowsANewcomerNothing(t *testing.T) { // R64
	t.Parallel()
	m, old, young := openLate(t)
	m.setHistory(t, HistorySinceJoin)
	ada := m.member(m.ada, m.room)
	must(t, m.Edit(ctx, ada, old, "Before she came, edited"))
	must(t, m.Edit(ctx, ada, young, "After she came, edited"))
	must(t, m.Store.Remove(ctx, ada, old))
	for user, want := range map[ID]int{m.grace: 1, m.ada: 3} {
		tail, err := m.After(ctx, m.member(user, m.room), young+1)
		must(t, err)
		shown := 0
		for _, e := range tail.Entries {
			if tail.Member.Shows(e) {
				shown++
			}
		}
		if shown != want || len(tail.Entries) != 3 {
			t.Errorf("of %d entries %d show something, want %d", len(tail.Entries), shown, want)
		}
	}
}

// A page that is far from the joining reaches back to it and no further.
func TestOlderPagesReachBackToTheJoining(t *testing.T) {
	t.Parallel()
	for _, count := range []int{1, pageLines - 2, pageLines - 1, pageLines, pageLines + 1, 3 * pageLines} {
		m, _, _ := openLate(t)
		m.setHistory(t, HistorySinceJoin)
		for _, body := range numbered(count) {
			m.say(m.ada, m.room, body)
		}
		grace := m.member(m.grace, m.room)
		must(t, m.MarkRead(ctx, grace, 1<<62))
		v, err := m.View(ctx, grace)
		must(t, err)
		p, seen := v.Page, []Line{}
		for {
			seen = append(slices.Clone(p.Lines), seen...)
			if p.Before == 0 {
				break
			}
			p, err = m.Older(ctx, grace, p.Before)
			must(t, err)
		}
		if want := count + 2; len(seen) != want || seen[0].Op != OpJoin || seen[0].N != grace.From {
			t.Errorf("with %d messages she finds %d lines, want %d; the first is %+v", count, len(seen), want, seen[0])
		}
		for _, l := range seen {
			if l.Damaged || l.Missing > 0 {
				t.Errorf("she is shown %+v", l)
			}
		}
	}
}

// Somebody who can write the database but has no key does not open what the owner has closed.
func TestWhatNewcomersSeeIsNotDecidedInTheDatabase(t *testing.T) { // C14, R64
	t.Parallel()
	for name, statements := range map[string][]string{
		"the column":                      {"UPDATE rooms SET history = 0 WHERE id = ?"},
		"the column and its number":       {"UPDATE rooms SET history = 0, history_n = 0 WHERE id = ?"},
		"an old entry's":                  {"UPDATE rooms SET history = 0, history_n = (SELECT min(n) FROM room_log WHERE room_id = rooms.id AND op = 13) WHERE id = ?"},
		"an entry about something else":   {"UPDATE rooms SET history = 0, history_n = 2 WHERE id = ?"},
		"an entry that is not there":      {"UPDATE rooms SET history = 0, history_n = 999 WHERE id = ?"},
		"a value that means nothing":      {"UPDATE rooms SET history = 7 WHERE id = ?"},
		"a word":                          {"UPDATE rooms SET history = 'all' WHERE id = ?"},
		"and the entry with it":           {"UPDATE rooms SET history = 0, history_n = 0 WHERE id = ?", "DELETE FROM room_log WHERE room_id = ? AND op = 13"},
		"the latest entry, and the old":   {"UPDATE rooms SET history = 0, history_n = (SELECT min(n) FROM room_log WHERE room_id = rooms.id AND op = 13) WHERE id = ?", "DELETE FROM room_log WHERE room_id = ?1 AND n = (SELECT max(n) FROM room_log WHERE room_id = ?1 AND op = 13)"},
		"the latest entry is another":     {"UPDATE rooms SET history = 0, history_n = (SELECT min(n) FROM room_log WHERE room_id = rooms.id AND op = 13) WHERE id = ?", "UPDATE room_log SET op = 12 WHERE room_id = ?1 AND n = (SELECT max(n) FROM room_log WHERE room_id = ?1 AND op = 13)"},
		"the latest entry says the other": {"UPDATE rooms SET history = 0 WHERE id = ?", "UPDATE room_log SET payload = (SELECT payload FROM room_log WHERE room_id = ?1 AND op = 13 ORDER BY n LIMIT 1) WHERE room_id = ?1 AND n = (SELECT max(n) FROM room_log WHERE room_id = ?1 AND op = 13)"},
	} {
		for _, running := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, running %v", name, running), func(t *testing.T) {
				t.Parallel()
				m, old, _ := openLate(t)
				m.setHistory(t, HistorySinceJoin)
				m.setHistory(t, HistoryAll)
				m.setHistory(t, HistorySinceJoin)
				m.say(m.ada, m.room, "The end of the log is another matter")
				if running {
					m.history(m.grace, m.room) // and so it is remembered
				} else {
					must(t, m.Close())
				}
				for _, s := range statements {
					if _, err := m.intruder().Exec(s, m.room); err != nil {
						t.Fatal(err)
					}
				}
				if running {
					m.shelves = newShelves()
				} else {
					m.open()
					walked(t, m.Store)
				}
				grace := m.member(m.grace, m.room)
				if grace.From == 0 {
					t.Errorf("running %v: Grace sees all", running)
				}
				if _, err := m.Message(ctx, grace, old); KindOf(err) != NotFound {
					t.Errorf("running %v: the old message: %v", running, err)
				}
				v, err := m.View(ctx, grace)
				must(t, err)
				if slices.ContainsFunc(v.Page.Lines, func(l Line) bool { return l.N == old }) {
					t.Errorf("running %v: the old message is on her page", running)
				}
				if !running {
					eventually(t, "an audit event", func() bool { return integrityEvents(t, m.Store) > 0 })
				}
				if !slices.ContainsFunc(verified(t, m.o).Findings, func(f Finding) bool { return f.Room == m.room.String() }) {
					t.Error("verify finds nothing in the room")
				}
			})
		}
	}
	t.Run("and the owner puts it right", func(t *testing.T) {
		t.Parallel()
		m, old, young := openLate(t)
		m.setHistory(t, HistorySinceJoin)
		m.tamper(1, "UPDATE rooms SET history = 0, history_n = 0 WHERE id = ?", m.room)
		m.reopen()
		walked(t, m.Store)
		if m.member(m.grace, m.room).From == 0 {
			t.Error("Grace sees all")
		}
		m.setHistory(t, HistorySinceJoin)
		m.sees(t, old, young, false)
		m.setHistory(t, HistoryAll)
		m.sees(t, old, young, true)
		m.whole(t)
	})
}

// A hole in the log of a room that never had another setting hides nothing from anybody.
func TestAHoleElsewhereDoesNotChangeWhatNewcomersSee(t *testing.T) {
	t.Parallel()
	m, old, _ := openLate(t)
	n := m.say(m.grace, m.room, "Removed")
	must(t, m.Store.Remove(ctx, m.member(m.grace, m.room), n))
	m.say(m.ada, m.room, "After it")
	m.tamper(1, "DELETE FROM room_log WHERE room_id = ? AND op = 9", m.room)
	m.reopen()
	walked(t, m.Store)
	if m.member(m.grace, m.room).From != 0 {
		t.Error("Grace sees less than before")
	}
	if _, err := m.Message(ctx, m.member(m.grace, m.room), old); err != nil {
		t.Errorf("the old message: %v", err)
	}
}

// While somebody reads, a change of the setting is noticed, and no alarm is raised.
func TestReadingWhileTheSettingChangesRaisesNoAlarm(t *testing.T) {
	t.Parallel()
	m, old, _ := openLate(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 40 {
			if err := m.SetHistory(ctx, Membership{Room: m.room, By: By{User: m.ada}}, []History{HistorySinceJoin, HistoryAll}[i%2]); err != nil {
				t.Error(err)
			}
		}
		must(t, m.SetHistory(ctx, Membership{Room: m.room, By: By{User: m.ada}}, HistorySinceJoin))
	}()
	for reading := true; reading; {
		select {
		case <-done:
			reading = false
		default:
		}
		m.history(m.grace, m.room)
		_, err := m.Rooms(ctx, m.grace)
		must(t, err)
	}
	if _, err := m.Message(ctx, m.member(m.grace, m.room), old); KindOf(err) != NotFound {
		t.Errorf("the old message at last: %v", err)
	}
	if integrityEvents(t, m.Store) > 0 {
		t.Error("an alarm without a cause")
	}
	m.whole(t)
}

// Somebody who can write the database but has no key does not make anybody's membership older, nor a role
// another one, whatever entries are taken out to fit.
func TestHowLongSomebodyBelongsIsNotDecidedInTheDatabase(t *testing.T) { // C14, R64
	t.Parallel()
	for name, statements := range map[string][]string{
		"her first join":                   {"UPDATE memberships SET joined_n = 5 WHERE room_id = ?1 AND user_id = ?2"},
		"and what was between taken out":   {"UPDATE memberships SET joined_n = 5 WHERE room_id = ?1 AND user_id = ?2", "DELETE FROM room_log WHERE room_id = ?1 AND n IN (8, 9) AND ?2 <> ''"},
		"what made the room":               {"UPDATE memberships SET joined_n = 2 WHERE room_id = ?1 AND user_id = ?2", "DELETE FROM room_log WHERE room_id = ?1 AND n IN (5, 8, 9) AND ?2 <> ''"},
		"her removal":                      {"UPDATE memberships SET joined_n = 8 WHERE room_id = ?1 AND user_id = ?2", "DELETE FROM room_log WHERE room_id = ?1 AND n = 9 AND ?2 <> ''"},
		"her removal as a join":            {"UPDATE memberships SET joined_n = 8 WHERE room_id = ?1 AND user_id = ?2", "DELETE FROM room_log WHERE room_id = ?1 AND n = 9 AND ?2 <> ''", "UPDATE room_log SET op = 2 WHERE room_id = ?1 AND n = 8 AND ?2 <> ''"},
		"an older message as a join":       {"UPDATE memberships SET joined_n = 4 WHERE room_id = ?1 AND user_id = ?2", "UPDATE room_log SET op = 2, target = ?2 WHERE room_id = ?1 AND n = 4", "DELETE FROM room_log WHERE room_id = ?1 AND n IN (5, 8, 9) AND ?2 <> ''"},
		"a role that its entry is made to": {"UPDATE memberships SET role = 'owner' WHERE room_id = ?1 AND user_id = ?2", fmt.Sprintf("UPDATE room_log SET payload = x'%x' WHERE room_id = ?1 AND n = 11 AND ?2 <> ''", digest(string(Owner)))},
		"an earlier role":                  {"UPDATE memberships SET role = 'member', entry_n = 9 WHERE room_id = ?1 AND user_id = ?2"},
	} {
		for _, running := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, running %v", name, running), func(t *testing.T) {
				t.Parallel()
				m, old, young := openLate(t)
				m.setHistory(t, HistorySinceJoin)
				must(t, m.Expel(ctx, m.member(m.ada, m.room), m.grace))               // entry 8
				m.join(m.grace, m.room)                                               // entry 9
				m.say(m.ada, m.room, "So that the next entry follows one that stays") // 10
				must(t, m.SetRole(ctx, m.member(m.ada, m.room), m.grace, Moderator))
				m.say(m.ada, m.room, "The end of the log is another matter")
				if !running {
					must(t, m.Close())
				}
				for _, s := range statements {
					if _, err := m.intruder().Exec(s, m.room, m.grace); err != nil {
						t.Fatal(err)
					}
				}
				if !running {
					m.open()
				}
				if !running {
					walked(t, m.Store)
				}
				for range 2 { // the second time as it is remembered
					grace, err := m.Member(ctx, By{User: m.grace}, m.room.String())
					if KindOf(err) == NotFound {
						grace = Membership{Room: m.room, By: By{User: m.grace}}
					} else if err != nil || grace.From < 9 && running || grace.Role == Owner { // after a start, what is before a hole is shown to nobody
						t.Errorf("she is %s and sees what came from %d on: %v", grace.Role, grace.From, err)
					}
					for _, n := range []uint64{old, young} {
						if l, err := m.Message(ctx, grace, n); KindOf(err) != NotFound && !l.Damaged {
							t.Errorf("message %d: %+v, %v", n, l, err)
						}
					}
				}
			})
		}
	}
}

// In the first moments after a start nobody has read the log yet: it is asked itself.
func TestWhatNewcomersSeeIsAskedOfTheLogBeforeItWasWalked(t *testing.T) { // C14, R64
	t.Parallel()
	for name, column := range map[string]string{
		"without an entry": "history_n = 0",
		"an earlier entry": "history_n = (SELECT min(n) FROM room_log WHERE room_id = rooms.id AND op = 13)",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, _, _ := openLate(t)
			for _, h := range []History{HistorySinceJoin, HistoryAll, HistorySinceJoin} {
				m.setHistory(t, h)
			}
			m.reopen()
			walked(t, m.Store)
			m.tamper(1, "UPDATE rooms SET history = 0, "+column+" WHERE id = ?", m.room)
			m.unwalked()
			if m.member(m.grace, m.room).From == 0 {
				t.Error("Grace sees all")
			}
		})
	}
}
