package models

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// porch is a room of Ada's whose code only knocks, with a clock of its own and the limits as they are.
type porch struct {
	*meeting
	ahead atomic.Int64
	zoe   ID
	code  string
}

func openPorch(t *testing.T) *porch {
	t.Helper()
	p := &porch{meeting: openMeeting(t)}
	must(t, p.Close())
	o := options(p.dir)
	o.LimitScale = 1
	o.Now = func() time.Time { return time.Now().Add(time.Duration(p.ahead.Load())) }
	var err error
	p.Store, err = Open(o)
	must(t, err)
	p.zoe = p.user("zoe", "Zoe Washburne")
	p.terms(CodeTerms{Knock: true})
	p.code = p.codeOf(p.room)
	return p
}

func (p *porch) knocks(user ID) {
	p.t.Helper()
	if room, err := p.Join(p.t.Context(), By{User: user}, p.code); err != nil || !room.Zero() {
		p.t.Fatalf("a knock leads to %v, %v", room, err)
	}
}

// waits lists the user names of those the owner sees.
func (p *porch) waits() string {
	p.t.Helper()
	names := ""
	for _, k := range p.view(p.ada).Waiting {
		names += k.Who.Username + " "
	}
	list, err := p.Waiting(p.t.Context(), p.member(p.ada, p.room))
	if err != nil || len(list) != len(p.view(p.ada).Waiting) {
		p.t.Errorf("the page and its feed do not agree: %v, %v", list, err)
	}
	return names
}

func (p *porch) own(user ID) []OwnKnock {
	p.t.Helper()
	own, err := p.OwnKnocks(p.t.Context(), user)
	must(p.t, err)
	return own
}

func (p *porch) outside(user ID) {
	p.t.Helper()
	if _, err := p.Member(p.t.Context(), By{User: user}, p.room.String()); KindOf(err) != NotFound {
		p.t.Errorf("somebody who waits is a member: %v", err)
	}
}

func TestWhoKnocksWaitsUntilTheOwnerAnswers(t *testing.T) {
	t.Parallel()
	p := openPorch(t)
	p.knocks(p.zoe)
	p.knocks(p.zoe) // twice is once
	p.outside(p.zoe)
	if got := p.waits(); got != "zoe " {
		t.Errorf("the owner sees %q", got)
	}
	if v := p.view(p.grace); v.Waiting != nil {
		t.Errorf("a member sees who waits: %v", v.Waiting)
	}
	if list, err := p.Waiting(t.Context(), p.member(p.grace, p.room)); list != nil || err != nil {
		t.Errorf("a member's feed tells who waits: %v, %v", list, err)
	}
	for what, err := range map[string]error{
		"admit":   second(p.Admit(t.Context(), p.member(p.grace, p.room), "zoe")),
		"decline": second(p.Decline(t.Context(), p.member(p.grace, p.room), "zoe")),
	} {
		if KindOf(err) != Denied {
			t.Errorf("%s by a member: %v", what, err)
		}
	}
	if who, err := p.Admit(t.Context(), p.member(p.ada, p.room), "zoe"); err != nil || who.ID != p.zoe {
		t.Fatal(who, err)
	}
	m := p.member(p.zoe, p.room)
	tail, err := p.After(t.Context(), m, 0)
	must(t, err)
	if e := tail.Entries[len(tail.Entries)-1]; e.Op != OpJoin || e.Target != p.zoe || e.Actor != p.ada {
		t.Errorf("the log says %+v", e)
	}
	if p.waits() != "" || len(p.own(p.zoe)) > 0 {
		t.Error("somebody still waits")
	}
	if _, err := p.Admit(t.Context(), p.member(p.ada, p.room), "zoe"); KindOf(err) != Conflict {
		t.Errorf("to let somebody in twice: %v", err)
	}
	p.whole(t)
}

func second[A, B any](_ A, b B) B { return b }

func TestADeclinedPersonMayKnockAgainButNotAllDay(t *testing.T) {
	t.Parallel()
	p := openPorch(t)
	for range knocksPerDay {
		p.knocks(p.zoe)
		if _, err := p.Decline(t.Context(), p.member(p.ada, p.room), "zoe"); err != nil {
			t.Fatal(err)
		}
		if len(p.own(p.zoe)) > 0 {
			t.Fatal("she still waits")
		}
	}
	if _, err := p.Join(t.Context(), By{User: p.zoe}, p.code); KindOf(err) != Limited {
		t.Errorf("a fourth knock: %v", err)
	}
	p.ahead.Add(int64(25 * time.Hour))
	p.knocks(p.zoe)
}

func TestAKnockDiesWithItsCodeAndAfterAMonth(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		do   func(*porch)
		dies bool
	}{
		"rotated":      {func(p *porch) { must(p.t, p.RotateCode(ctx, p.member(p.ada, p.room))) }, true},
		"switched off": {func(p *porch) { p.terms(CodeTerms{Off: true, Knock: true}) }, true},
		"a month":      {func(p *porch) { p.ahead.Add(int64(knockLife)) }, true},
		"withdrawn":    {func(p *porch) { must(p.t, p.Withdraw(ctx, By{User: p.zoe}, p.own(p.zoe)[0].Name)) }, true},
		"disabled":     {func(p *porch) { p.disable(p.zoe) }, true},
		"by another":   {func(p *porch) { must(p.t, p.Withdraw(ctx, By{User: p.grace}, p.own(p.zoe)[0].Name)) }, false},
		"new terms":    {func(p *porch) { p.terms(CodeTerms{Uses: 3}) }, false},
		"restarted":    {func(p *porch) { p.reopen() }, false},
		"29 days":      {func(p *porch) { p.ahead.Add(int64(knockLife - 24*time.Hour)) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := openPorch(t)
			p.knocks(p.zoe)
			c.do(p)
			waits := p.waits() != ""
			if waits == c.dies {
				t.Errorf("she waits: %v", waits)
			}
			if name != "disabled" && (len(p.own(p.zoe)) == 0) != c.dies {
				t.Errorf("her own list says %v", p.own(p.zoe))
			}
			_, err := p.Admit(t.Context(), p.member(p.ada, p.room), "zoe")
			if c.dies && KindOf(err) != Conflict || !c.dies && err != nil {
				t.Errorf("letting her in: %v", err)
			}
		})
	}
}

// disable takes somebody's account away as an administrator does.
func (a *archive) disable(user ID) {
	a.t.Helper()
	must(a.t, a.act(a.t.Context(), func(t *act) error {
		return t.change(By{}, user, "disable", func(acc *account) error {
			acc.profile.DisabledMS = a.now()
			return nil
		})
	}))
}

// A knock says that somebody had the code. Whoever can write the database but has no code and no key
// cannot say so.
func TestAForgedKnockIsNone(t *testing.T) {
	t.Parallel()
	p := openPorch(t)
	eve := p.user("eve", "Eve Moneypenny")
	p.tamper(1, "INSERT INTO knocks (room_id, user_id, created_ms, seal) VALUES (?, ?, ?, randomblob(32))", p.room, eve, p.now())
	refuses := func(what string) {
		t.Helper()
		if got := p.waits(); got != "" {
			t.Errorf("%s: the owner sees %q", what, got)
		}
		if _, err := p.Admit(t.Context(), p.member(p.ada, p.room), "eve"); KindOf(err) != Conflict {
			t.Errorf("%s: Eve is let in: %v", what, err)
		}
	}
	refuses("a made up seal")
	p.tamper(1, "UPDATE knocks SET seal = x'00' WHERE user_id = ?", eve)
	refuses("a short seal")
	p.tamper(1, "UPDATE knocks SET seal = 'word', created_ms = 'noon' WHERE user_id = ?", eve)
	refuses("words")
	p.tamper(1, "DELETE FROM knocks")
	p.knocks(p.zoe)
	p.tamper(1, "UPDATE knocks SET user_id = ?", eve)
	refuses("Zoe's knock under Eve's name")
	p.tamper(1, "UPDATE knocks SET user_id = ?", p.zoe)
	if got := p.waits(); got != "zoe " {
		t.Errorf("the owner sees %q", got)
	}
	p.tamper(1, "UPDATE knocks SET created_ms = created_ms + 1000")
	refuses("a knock made younger")
	p.tamper(1, "UPDATE knocks SET created_ms = created_ms - 1000")
	kept := p.rows("knocks")
	must(t, p.RotateCode(t.Context(), p.member(p.ada, p.room)))
	p.restore("knocks", kept)
	refuses("a knock with the old code, put back")
}

func TestAsManyKnockAsAnOwnerCanSee(t *testing.T) {
	t.Parallel()
	p := openPorch(t)
	var wait sync.WaitGroup
	for i := range knocksPerRoom {
		user := p.user(fmt.Sprintf("guest%d", i), "A guest")
		wait.Go(func() {
			if room, err := p.Join(context.Background(), By{User: user}, p.code); err != nil || !room.Zero() {
				t.Error(room, err)
			}
		})
	}
	wait.Wait()
	p.refused("one knock too many", p.zoe, p.code)
	if _, err := p.Decline(t.Context(), p.member(p.ada, p.room), "guest7"); err != nil {
		t.Fatal(err)
	}
	p.knocks(p.zoe)
}

func TestLettingInKeepsToTheLimits(t *testing.T) {
	t.Parallel()
	p := openPorch(t)
	p.terms(CodeTerms{Knock: true, Uses: 1})
	other := p.user("other", "Other Guest")
	p.knocks(p.zoe)
	p.knocks(other)
	admit := func(name string) error { return second(p.Admit(t.Context(), p.member(p.ada, p.room), name)) }
	must(t, admit("other"))
	if err := admit("zoe"); KindOf(err) != Conflict {
		t.Errorf("the code has let in all it may, and then: %v", err)
	}
	p.refused("a code that is used up", p.user("late", "Late Comer"), p.code)
	p.terms(CodeTerms{Knock: true})
	p.tamper(roomsPerUser, `WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < ?2)
		INSERT INTO memberships (room_id, user_id, role, entry_n, joined_n) SELECT randomblob(16), ?1, 'member', 1, 1 FROM i`, p.zoe, roomsPerUser)
	if err := admit("zoe"); KindOf(err) != Conflict {
		t.Errorf("somebody who is in as many rooms as one can be: %v", err)
	}
	p.tamper(roomsPerUser, "DELETE FROM memberships WHERE user_id = ?", p.zoe)
	p.tamper(membersPerRoom-3, `WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < ?2)
		INSERT INTO memberships (room_id, user_id, role, entry_n, joined_n) SELECT ?1, randomblob(16), 'member', 1, 1 FROM i`, p.room, membersPerRoom-3)
	if err := admit("zoe"); KindOf(err) != Conflict {
		t.Errorf("a room that is full: %v", err)
	}
	p.refused("a full room", p.user("later", "Still Later"), p.code)
	p.outside(p.zoe)
}

func TestNobodyWaitsAtARoomThatIsGone(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*porch){
		"destroyed": func(p *porch) { must(p.t, p.Destroy(ctx, p.member(p.ada, p.room))) },
		"left": func(p *porch) {
			must(p.t, p.Leave(ctx, p.member(p.ada, p.room)))
			must(p.t, p.Leave(ctx, p.member(p.grace, p.room)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := openPorch(t)
			p.knocks(p.zoe)
			end(p)
			if own := p.own(p.zoe); len(own) > 0 {
				t.Errorf("she waits at %v", own)
			}
			var rows int
			must(t, p.intruder().QueryRow("SELECT count(*) FROM knocks").Scan(&rows))
			if rows > 0 {
				t.Errorf("%d rows of it are left", rows)
			}
		})
	}
}

func TestThreeKnocksADayAreThreeAtEachDoor(t *testing.T) { // R60
	t.Parallel()
	p := openPorch(t)
	ada := p.member(p.ada, p.room)
	for range knocksPerDay {
		p.knocks(p.zoe)
		_, err := p.Decline(ctx, ada, "zoe")
		must(t, err)
	}
	if _, err := p.Join(ctx, By{User: p.zoe}, p.code); KindOf(err) != Limited {
		t.Errorf("one knock more: %v", err)
	}
	other := p.create(p.ada, "Boiler room")
	must(t, p.SetCodeTerms(ctx, p.member(p.ada, other), CodeTerms{Knock: true}))
	p.code = p.codeOf(other)
	p.knocks(p.zoe)
}

func TestWhoEntersByTheCodeWaitsNoLonger(t *testing.T) {
	t.Parallel()
	p := openPorch(t)
	p.knocks(p.zoe)
	p.terms(CodeTerms{}) // whoever has the code may come in now
	p.join(p.zoe, p.room)
	if n := p.count("SELECT count(*) FROM knocks"); n != 0 {
		t.Errorf("%d knocks are left", n)
	}
	if waits := p.waits(); waits != "" || len(p.own(p.zoe)) > 0 {
		t.Errorf("there wait %q", waits)
	}
}

func TestNobodyWhoIsBannedIsLetIn(t *testing.T) { // R63
	t.Parallel()
	p := openPorch(t)
	p.knocks(p.zoe)
	must(t, p.lane.do(ctx, func(c *change) error {
		return c.append(&Entry{Room: p.room, Op: OpBan, Target: p.zoe, Actor: p.ada})
	}))
	if _, err := p.Admit(ctx, p.member(p.ada, p.room), "zoe"); KindOf(err) != Conflict {
		t.Errorf("somebody who is banned is let in: %v", err)
	}
	p.outside(p.zoe)
}

// The owner lets somebody in by name, so it must be the latest one.
func TestAnOldNameThatIsPutBackKnocksAtNoDoor(t *testing.T) { // C14
	t.Parallel()
	p := openPorch(t)
	p.knocks(p.zoe)
	var old []byte
	must(t, p.intruder().QueryRow("SELECT profile FROM users WHERE id = ?", p.zoe).Scan(&old))
	must(t, p.Rename(ctx, By{User: p.zoe}, "Zoe Alleyne"))
	if p.waits() != "zoe " {
		t.Error("she does not wait under her new name")
	}
	p.tamper(1, "UPDATE users SET profile = ?, revision = ? WHERE id = ?", old, firstRevision, p.zoe)
	if waits := p.waits(); waits != "" {
		t.Errorf("there wait %q", waits)
	}
	if _, err := p.Admit(ctx, p.member(p.ada, p.room), "zoe"); KindOf(err) != Conflict {
		t.Errorf("let in: %v", err)
	}
}

func TestWhoIsInAsManyRoomsAsOneCanBeEntersAndKnocksNoMore(t *testing.T) { // R54
	t.Parallel()
	p := openPorch(t)
	other := p.create(p.ada, "Boiler room")
	p.knocks(p.zoe) // which counts as a room
	rooms := func() (n int) {
		must(t, p.lane.do(ctx, func(c *change) (err error) { n, err = c.roomsOf(p.zoe); return err }))
		return n
	}
	if n := rooms(); n != 1 {
		t.Errorf("she is in, or waits at, %d rooms", n)
	}
	p.join(p.zoe, other)
	if n := rooms(); n != 2 {
		t.Errorf("she is in, or waits at, %d rooms", n)
	}
	third := p.create(p.ada, "Attic")
	p.tamper(roomsPerUser-2, `WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < ?2)
		INSERT INTO memberships (room_id, user_id, role, entry_n, joined_n) SELECT randomblob(16), ?1, 'member', 1, 1 FROM i`, p.zoe, roomsPerUser-2)
	for what, code := range map[string]string{"another room": p.codeOf(third), "where she waits": p.code} {
		if room, err := p.Join(ctx, By{User: p.zoe}, code); KindOf(err) != Invalid || !room.Zero() {
			t.Errorf("%s: %v, %v", what, room, err)
		}
	}
	if room, err := p.Join(ctx, By{User: p.zoe}, p.codeOf(other)); err != nil || room != other {
		t.Errorf("where she is: %v, %v", room, err)
	}
}
