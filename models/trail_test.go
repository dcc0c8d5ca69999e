package models

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// told lists a page of the audit log as "n event", and what is damaged, missing or cut.
func inWords(page []AuditEntry) (list []string) {
	for _, e := range page {
		switch {
		case e.Cut > 0:
			list = append(list, fmt.Sprintf("cut %d", e.Cut))
		case e.Damaged != "":
			list = append(list, fmt.Sprintf("%d damaged", e.N))
		default:
			list = append(list, fmt.Sprintf("%d %s", e.N, e.Event))
		}
		if e.Missing > 0 {
			list = append(list, fmt.Sprintf("missing %d", e.Missing))
		}
	}
	return list
}

// hands are those of a clock that a test turns.
type hands struct{ at atomic.Int64 }

func (h *hands) set(at time.Time) { h.at.Store(at.UnixMilli()) }
func (h *hands) read() time.Time  { return time.UnixMilli(h.at.Load()).UTC() }

// leaf turns all pages, most entries each.
func leaf(t *testing.T, s *Store, f AuditFilter, most int) (all []AuditEntry) {
	t.Helper()
	for before := uint64(0); ; {
		page, older, err := s.AuditPage(ctx, f, before, most)
		must(t, err)
		all = append(all, page...)
		if !older {
			return all
		}
		if len(page) != most {
			t.Fatalf("a page of %d in the middle", len(page))
		}
		before = page[len(page)-1].N
	}
}

func TestThePagesOfTheAuditLogShowEachEventOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var now hands
	now.set(time.Now().Add(-3 * 24 * time.Hour))
	o := options(w.dir)
	o.Now = now.read
	s, err := Open(o)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	for i := range 40 {
		now.set(now.read().Add(90 * time.Minute))
		s.record(Audit{Event: []string{"login.ok", "login.fail", "login.code", "session.end", "keys.rotate"}[i%5], Actor: []ID{w.ada, w.grace, {}}[i%3], Address: "192.0.2.7", Outcome: "done"})
	}
	s.record(Audit{Event: "login.fail", Address: "192.0.2.7", Object: w.ada.String(), Outcome: "refused"})
	s.record(Audit{Event: "account.disable", Actor: w.grace, Object: accountObject(w.ada, 1), Outcome: "done"})
	for _, event := range []string{"room.remove", "room.ban", "room.unban", "room.role", "room.own", "room.admit", "room.decline"} {
		s.record(Audit{Event: event, Actor: w.grace, Object: w.engine.String() + " " + w.ada.String(), Outcome: "done"})
		s.record(Audit{Event: event, Actor: w.grace, Object: w.engine.String() + " " + w.linus.String() + " moderator", Outcome: "done"})
	}
	s.record(Audit{Event: "room.code", Actor: w.grace, Object: w.engine.String() + " rotated", Outcome: "done"})
	s.record(Audit{Event: eventSessionEnd, Actor: w.grace, Object: strings.Repeat("0", 32) + " " + w.ada.String(), Outcome: "ended by an administrator"})

	day := now.read().Truncate(24 * time.Hour)
	for name, f := range map[string]AuditFilter{
		"all":                   {},
		"an event":              {Events: []string{"login.fail"}},
		"the beginning of some": {Events: []string{"login.", "keys.rotate"}},
		"a person":              {Person: w.ada},
		"a person's logins":     {Person: w.ada, Events: []string{"login."}},
		"a person's rooms":      {Person: w.linus, Events: []string{"room."}},
		"a removed person":      {Person: w.ada, Events: []string{"room.remove"}},
		"a day":                 {From: day.AddDate(0, 0, -1), To: day},
		"a person's day":        {Person: w.grace, From: day.AddDate(0, 0, -1), To: day},
		"before all":            {To: day.AddDate(0, 0, -90)},
		"nobody":                {Person: ID{1}},
	} {
		var want []string
		must(t, s.walkAudit(ctx, func(n uint64, at int64, e Audit) {
			when := time.UnixMilli(at)
			fits := len(f.Events) == 0 || slices.ContainsFunc(f.Events, func(w string) bool { return strings.HasPrefix(e.Event, w) })
			fits = fits && (f.Person.Zero() || e.Actor == f.Person || slices.Contains(strings.Fields(e.Object), f.Person.String()))
			if fits && !when.Before(f.From) && (f.To.IsZero() || when.Before(f.To)) {
				want = append([]string{fmt.Sprintf("%d %s", n, e.Event)}, want...)
			}
		}, func(n uint64, what string) { t.Error(n, what) }))
		for _, most := range []int{1, 7, 1000} {
			if got := inWords(leaf(t, s, f, most)); !slices.Equal(got, want) {
				t.Errorf("%s, %d at a time:\n%v\nwant\n%v", name, most, got, want)
			}
		}
		if strings.HasPrefix(name, "a") && len(want) == 0 {
			t.Errorf("%s: nothing to see", name)
		}
	}
}

func TestNoPageOfTheAuditLogScansIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(t)
	for query, by := range map[string]string{
		"SELECT n FROM audit_log WHERE n > ? AND n < ? ORDER BY n DESC LIMIT ?": "INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
		auditByEvent:  "audit_log_event (event=? AND n>? AND n<?)",
		auditByActor:  "audit_log_actor (actor=? AND event=? AND n>? AND n<?)",
		auditByFirst:  "audit_log_first (<expr>=? AND event=? AND n>? AND n<?)",
		auditBySecond: "audit_log_second (<expr>=? AND event=? AND n>? AND n<?)",
		"SELECT CAST(min(event) AS TEXT) FROM audit_log WHERE event > ?": "audit_log_event (event>?)",
		"SELECT time_ms FROM audit_log WHERE n >= ? ORDER BY n LIMIT 1":  "INTEGER PRIMARY KEY (rowid>?)",
	} {
		args := make([]any, strings.Count(query, "?"))
		for i := range args {
			args[i] = 1
		}
		rows, err := s.readPool().Query("EXPLAIN QUERY PLAN "+query, args...)
		must(t, err)
		for rows.Next() {
			var a, b, c int
			var step string
			must(t, rows.Scan(&a, &b, &c, &step))
			if !strings.HasPrefix(step, "SEARCH") || !strings.HasSuffix(step, by) {
				t.Errorf("%s: %s", query, step)
			}
		}
		must(t, rows.Close())
	}
}

func TestAnEntryOfTheAuditLogThatWasTouchedIsNotShownAsGenuine(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		tamper string
		gone   []string // of these entries nothing is shown
		extra  string   // this is shown besides
	}{
		"a changed outcome":  {"UPDATE audit_log SET outcome = 'nothing' WHERE n = 5", []string{"5"}, "5 damaged"},
		"another doer":       {"UPDATE audit_log SET actor = $linus WHERE n = 5", []string{"5"}, "5 damaged"},
		"another time":       {"UPDATE audit_log SET time_ms = time_ms + 1 WHERE n = 5", []string{"5"}, "5 damaged"},
		"a changed MAC":      {"UPDATE audit_log SET mac = zeroblob(32) WHERE n = 5", []string{"5", "6"}, "6 damaged"},
		"a text for a MAC":   {"UPDATE audit_log SET mac = 'x' WHERE n = 5", []string{"5", "6"}, "5 damaged"},
		"two that are gone":  {"DELETE FROM audit_log WHERE n IN (4, 5)", []string{"4", "5", "6"}, "missing 2"},
		"the first two gone": {"DELETE FROM audit_log WHERE n IN (1, 2)", []string{"1", "2", "3"}, "missing 2"},
		"the end is gone":    {"DELETE FROM audit_log WHERE n > (SELECT max(n) - 2 FROM audit_log)", nil, "cut 2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s := w.start(t)
			eventually(t, "the end of the walk", func() bool { return s.Integrity().Audit.Checked })
			s.record(Audit{Event: "sudo", Actor: w.ada, Outcome: "done"}) // no anchor names it yet
			before := inWords(leaf(t, s, AuditFilter{}, 10))
			w.tamper(t, c.tamper)
			after := inWords(leaf(t, s, AuditFilter{}, 10))
			if !slices.Contains(after, c.extra) {
				t.Errorf("%q is not in %v", c.extra, after)
			}
			for _, line := range before {
				n, _, _ := strings.Cut(line, " ")
				if shown := slices.Contains(after, line); shown && slices.Contains(c.gone, n) || !shown && c.gone != nil && !slices.Contains(c.gone, n) {
					t.Errorf("%s: shown %v", line, shown)
				}
			}
			if s.Integrity().Audit.Damaged == 0 {
				t.Error("nothing is known of it")
			}
			eventually(t, "an event", func() bool { return len(events(t, s, "integrity.audit")) > 0 })
			leaf(t, s, AuditFilter{}, 10)
			must(t, s.writeAnchors(ctx))
			leaf(t, s, AuditFilter{}, 10)
			if found := events(t, s, "integrity.audit"); slices.ContainsFunc(found, func(e string) bool {
				return strings.Count(strings.Join(found, "\n")+"\n", e+"\n") > 1
			}) {
				t.Errorf("the same is written down twice: %v", found)
			}
		})
	}
}

func TestTheWalkAfterTheStartTellsWhatIsWrongWithTheAuditLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(t)
	eventually(t, "the end of the walk", func() bool { return s.Integrity().Audit.Checked })
	if state := s.Integrity().Audit; state.Damaged != 0 || state.UpTo == 0 {
		t.Errorf("of a whole log it says %+v", state)
	}
	must(t, s.Close())
	w.tamper(t, "UPDATE audit_log SET address = '::1' WHERE n = 3")
	s = w.start(t)
	eventually(t, "the end of the walk", func() bool { return s.Integrity().Audit.Checked })
	if state := s.Integrity().Audit; state.Damaged != 3 {
		t.Errorf("it says %+v", state)
	}
}

func TestEachEventOfTheServerIsWrittenDownOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(t)
	must(t, s.TurnEpoch(ctx, w.member(t, s, w.ada, w.engine)))
	if err := s.TurnEpoch(ctx, w.member(t, s, w.grace, w.engine)); KindOf(err) != Denied {
		t.Errorf("Grace turns the key: %v", err)
	}
	s.Serving("v1", "registration open")
	s.NoteCertificate(ctx, "AA:01", "BB:01", true)
	s.NoteCertificate(ctx, "AA:01", "BB:01", true)
	s.NoteCertificate(ctx, "AA:02", "BB:01", true)
	must(t, s.Close())
	s = w.start(t)
	s.Serving("v1", "registration open")
	s.NoteCertificate(ctx, "AA:02", "BB:01", true)
	s.NoteCertificate(ctx, "AA:03", "BB:03", false)
	must(t, Tell(options(w.dir), EventBackup))
	must(t, Tell(options(w.dir), EventKeyExport))
	if err := Tell(options(w.dir), "account.promote"); err == nil {
		t.Error("a command can write down whatever it likes")
	}
	want := []string{"server.start v1", "cert.new AA01 BB01", "cert.renew AA02 BB01", "server.stop ", "server.start v1", "cert.key AA03 BB03", "backup.made ", "keys.export " + s.masters.now().Name()}
	var got []string
	for _, like := range []string{"server.%", "cert.%", "backup.%", "keys.%"} {
		got = append(got, events(t, s, like)...)
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if found := events(t, s, "room.epoch"); len(found) != 1 || found[0] != "room.epoch "+w.engine.String() {
		t.Errorf("%v", found)
	}
	must(t, s.Close())
	if err := Tell(options(w.dir), EventBackup); err != nil {
		t.Errorf("without a server: %v", err)
	}
}

// A deed whose event cannot be written down does not happen, and an event of its own that cannot
// be written is in the server's log.
func TestAnAuditWriteThatFailsIsLogged(t *testing.T) {
	t.Parallel()
	a := openArchive(t)
	ada := a.user("ada", "Ada Lovelace")
	room := a.create(ada, "Engine room")
	a.tamper(0, "CREATE TRIGGER closed BEFORE INSERT ON audit_log BEGIN SELECT RAISE(ABORT, 'the book is closed'); END")
	if err := a.TurnEpoch(ctx, a.member(ada, room)); err == nil {
		t.Error("the epoch turned")
	}
	a.Serving("v1", "registration open")
	if log := a.log.String(); !strings.Contains(log, "server.start") || !strings.Contains(log, "the book is closed") {
		t.Errorf("the log says %q", log)
	}
	a.tamper(0, "DROP TRIGGER closed")
}

func TestWhatHappensIsCountedByTheDay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var now hands
	now.set(time.Now().UTC().Truncate(24 * time.Hour).Add(24*time.Hour - time.Minute)) // the end of the day that the world was made on
	o := options(w.dir)
	o.Now = now.read
	start := func() *Store {
		s, err := Open(o)
		must(t, err)
		eventually(t, "the end of the walk", func() bool { _, counted := s.Days(); return counted })
		return s
	}
	today := func(s *Store) Day {
		days, _ := s.Days()
		if len(days) != tallyDays {
			t.Fatalf("%d days", len(days))
		}
		return days[tallyDays-1]
	}
	s := start()
	before := today(s)
	if before.Posts == 0 || before.Logins != 0 {
		t.Fatalf("at first %+v", before)
	}
	ada := w.member(t, s, w.ada, w.engine)
	for range 3 {
		_, err := s.Post(ctx, ada, "one more", "")
		must(t, err)
	}
	late := s.newWalker(w.engine, func(n uint64, class, what string) { t.Error(n, class, what) }) // one that comes after them
	must(t, late.run(ctx, s.readPool()))
	var all int
	must(t, s.readPool().QueryRow("SELECT count(*) FROM room_log WHERE room_id = ? AND op = 7", w.engine).Scan(&all))
	if walked := late.days[now.read().UnixMilli()/dayMS]; walked != all-3 {
		t.Errorf("the walk counts %d of %d posts, of which 3 were counted when they were written", walked, all)
	}
	for _, e := range []string{"login.ok", "login.ok", "login.fail", "login.code", "login.wait"} {
		s.record(Audit{Event: e, Address: "192.0.2.7"})
	}
	want := Day{before.Start, before.Posts + 3, 2, 2}
	if got := today(s); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	must(t, s.Close())
	now.set(now.read().Add(time.Second))
	s = start()
	if got := today(s); got != want {
		t.Errorf("after a restart %+v, want %+v", got, want)
	}
	now.set(now.read().Add(24 * time.Hour))
	days, _ := s.Days()
	if days[tallyDays-2] != want || days[tallyDays-1].Posts != 0 {
		t.Errorf("the next day %+v", days[tallyDays-2:])
	}
	now.set(now.read().Add(tallyDays * 24 * time.Hour))
	if days, _ := s.Days(); days[0].Posts != 0 {
		t.Errorf("a month later %+v", days[0])
	}
	must(t, s.Close())
}

func TestTheWaitOfAnAccountCanBeLifted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(t)
	later := s.now() + time.Hour.Milliseconds()
	add := func(key string, user any, failures int, until int64) {
		must(t, s.write.Exec("INSERT INTO attempts (key, user_id, failures, guessed, since_ms, last_ms, until_ms) VALUES (?, ?, ?, 1, 0, 0, ?)", key, user, failures, until).Error)
	}
	add("grace", w.grace, 7, later)
	add("linus", w.linus, locksAccount, 0)
	add("ada", w.ada, 6, s.now()-1)
	add("stranger", nil, 8, later)
	add("codes", []byte{}, 10*locksAccount, 0) // wrong room codes of everybody together
	list, err := s.WaitingAccounts(ctx)
	must(t, err)
	if len(list) != 2 || list[0].Username != "linus" || !list[0].Until.IsZero() || list[1].Username != "grace" || list[1].Until.UnixMilli() != later || list[1].Failures != 7 || list[1].Guessed != 1 {
		t.Errorf("%+v", list)
	}
	must(t, s.Lift(ctx, By{User: w.ada}, w.grace))
	if err := s.Lift(ctx, By{User: w.ada}, w.grace); KindOf(err) != Conflict {
		t.Errorf("lifted twice: %v", err)
	}
	if found := events(t, s, "attempts.lift"); len(found) != 1 || found[0] != "attempts.lift "+w.grace.String() {
		t.Errorf("%v", found)
	}
	if list, err = s.WaitingAccounts(ctx); err != nil || len(list) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestRefusedSignInsAreAddedUpByHousehold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := options(w.dir)
	o.LimitScale = 1
	s, err := Open(o)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	for address, failures := range map[string]int{"2001:db8:1:2::7": 14, "2001:db8:1:2:ffff::1": 16, "2001:db8:1:3::1": 2, "192.0.2.7": 3} {
		for range failures {
			if err := s.refuse(ctx, attempt{by: By{Address: address}, counters: s.addressCounters("login", address)}, false); KindOf(err) != Invalid {
				t.Fatal(err)
			}
		}
	}
	s.record(Audit{Event: eventSignIn, Actor: w.ada, Address: "192.0.2.9", Outcome: "done"})
	page, _, err := s.AuditPage(ctx, AuditFilter{Events: []string{"login."}}, 0, 1000)
	must(t, err)
	list, err := s.Sources(ctx, page, 100)
	must(t, err)
	var got []string
	for _, r := range list {
		got = append(got, fmt.Sprintf("%s %d %v", r.Address, r.Refused, r.Limited))
	}
	if want := []string{"2001:db8:1:2::/64 30 true", "192.0.2.7 3 false", "2001:db8:1:3::/64 2 false"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestTheListOfRoomsTellsFiguresAndNamesToMembersOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(t)
	find := func(order string, room ID) Figures {
		page, next, all, err := s.Census(ctx, w.grace, order, RoomsAfter{})
		must(t, err)
		if all != 2 || len(page) != 2 || !next.Room.Zero() {
			t.Fatalf("%d of %d rooms", len(page), all)
		}
		i := slices.IndexFunc(page, func(f Figures) bool { return f.Room == room })
		return page[i]
	}
	bytes := func() (n int64) {
		must(t, s.readPool().QueryRow("SELECT sum(length(envelope)) FROM messages WHERE room_id = ?", w.engine).Scan(&n))
		return n
	}
	eventually(t, "the end of the walk", func() bool { return s.Integrity().Finished })
	f := find(ByActivity, w.engine)
	if f.Name != "Engine room" || f.Members != 2 || f.Bytes != bytes() || f.Posts == 0 || f.Last.IsZero() || f.Created.After(f.Last) || f.Destroyed || f.Harm != "" {
		t.Errorf("%+v", f)
	}
	page, _, _, err := s.Census(ctx, w.linus, BySize, RoomsAfter{})
	must(t, err)
	for _, f := range page {
		if f.Room == w.engine && f.Name != "" {
			t.Errorf("Linus, who has left, sees the name %q", f.Name)
		}
	}
	ada := w.member(t, s, w.ada, w.engine)
	_, err = s.Post(ctx, ada, "one more", "")
	must(t, err)
	if got := find(ByPosts, w.engine); got.Bytes != bytes() || got.Posts != f.Posts+1 {
		t.Errorf("after a post: %+v, %d", got, bytes())
	}
	must(t, s.Edit(ctx, ada, w.kettle, strings.Repeat("a much longer text ", 20)))
	if got := find(ByActivity, w.engine); got.Bytes != bytes() {
		t.Errorf("after an edit: %d, %d", got.Bytes, bytes())
	}
	must(t, s.Remove(ctx, ada, w.kettle))
	if got := find(ByActivity, w.engine); got.Bytes != bytes() {
		t.Errorf("after a removal: %d, %d", got.Bytes, bytes())
	}
	must(t, s.Destroy(ctx, ada))
	if got := find(ByActivity, w.engine); got.Bytes != 0 || !got.Destroyed || got.Members != 0 || got.Name != "" {
		t.Errorf("after its destruction: %+v", got)
	}
}

func TestThePagesOfTheListOfRoomsShowEachRoomOnce(t *testing.T) {
	t.Parallel()
	a := openArchive(t)
	ada, grace := a.user("ada", "Ada Lovelace"), a.user("grace", "Grace Hopper")
	for i := range censusPage + 7 {
		room := a.create(ada, fmt.Sprintf("Room %d", i))
		if i%3 == 0 {
			a.say(ada, room, strings.Repeat("word ", i+1))
		}
	}
	for _, order := range []string{ByActivity, BySize, ByPosts} {
		seen := map[ID]bool{}
		last := int64(1) << 62
		var at RoomsAfter
		for pages := 0; pages < 3; pages++ {
			page, next, all, err := a.Census(ctx, grace, order, at)
			must(t, err)
			for _, f := range page {
				if seen[f.Room] || f.value(order) > last || f.Name != "" || all != censusPage+7 {
					t.Errorf("%s: %+v", order, f)
				}
				seen[f.Room], last = true, f.value(order)
			}
			if at = next; at.Room.Zero() {
				break
			}
		}
		if len(seen) != censusPage+7 {
			t.Errorf("%s: %d rooms", order, len(seen))
		}
	}
}
