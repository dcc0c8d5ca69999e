package handlers_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// joins returns the answer to somebody who enters a code.
func (p *person) joins(code string) *answer {
	p.o.t.Helper()
	return p.post("/rooms/join", fields{"code": code})
}

// settings sets the terms of a room's code as its owner.
func (p *person) settings(r room, f fields) {
	p.o.t.Helper()
	p.post(r.path("/code"), f).wantRedirect(r.path("/settings"))
	p.get(r.path("/settings")).want(200) // takes the notice
}

func (a *answer) has(id string) bool {
	return len(elements(a.doc(), func(n *html.Node) bool { return attr(n, "id") == id })) > 0
}

// words are the words of an element, with single spaces.
func words(n *html.Node) string { return strings.Join(strings.Fields(text(n)), " ") }

func TestEveryCodeThatLetsNobodyInLooksLikeOneThatNeverWas_T46(t *testing.T) { // R60
	t.Parallel()
	o := openOffice(t)
	ada, grace, zoe := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper"), o.register("zoe", "Zoe Washburne")
	const unknown = "0123-4567-89AB-CDEF"
	codes := map[string]string{}
	make := func(name string) room {
		r := ada.createRoom("Room " + name)
		codes[name] = r.code
		return r
	}
	ada.post(make("rotated").path("/code/rotate"), nil).want(303)
	ada.post(make("off").path("/code/off"), nil).want(303)
	ada.settings(make("expired"), fields{"expires": "1h"})
	spent := make("used up")
	ada.settings(spent, fields{"uses": "1"})
	grace.join(spent)
	full := make("full")
	id := o.membership(ada, full).Room
	db := o.intruder()
	fill := func(statement string) {
		t.Helper()
		result, err := db.Exec(statement, id[:])
		if err != nil {
			t.Fatal(err)
		}
		if n, _ := result.RowsAffected(); n < 99 {
			t.Fatalf("%d rows", n)
		}
	}
	fill(`WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 499)
		INSERT INTO memberships (room_id, user_id, role, entry_n, joined_n) SELECT ?, randomblob(16), 'member', 1, 1 FROM i`)
	banned := make("banned from")
	zoe.join(banned)
	ada.post(banned.path("/members/zoe/ban"), nil).want(303)
	left := make("left by everybody")
	ada.post(left.path("/leave"), nil).want(303)
	crowded := make("with too many waiting")
	ada.settings(crowded, fields{"knock": "on"})
	id = o.membership(ada, crowded).Room
	fill(`WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 100)
		INSERT INTO knocks (room_id, user_id, created_ms, seal) SELECT ?, randomblob(16), 1, randomblob(32) FROM i`)
	o.clock.advance(2 * time.Hour)

	want := same(zoe.joins(unknown).want(404), unknown)
	wantPart := same(zoe.post("/rooms/join", fields{"code": unknown}, htmx...).want(404), unknown)
	for name, code := range codes {
		o.clock.advance(16 * time.Minute) // too many wrong ones have to wait
		if got := same(zoe.joins(code), code); got != want {
			t.Errorf("%s is told apart from unknown:\n%s", name, shortened(got))
		}
		if got := same(zoe.post("/rooms/join", fields{"code": code}, htmx...), code); got != wantPart {
			t.Errorf("%s is told apart from unknown in a fragment:\n%s", name, shortened(got))
		}
	}
	if rooms := zoe.get("/rooms").class("room-card"); len(rooms) > 0 {
		t.Errorf("Zoe is in %d rooms", len(rooms))
	}
}

func TestTheOwnerRotatesTheCodeAndOpenPagesSayIt(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	ada, grace, zoe := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper"), o.register("zoe", "Zoe Washburne")
	r := ada.createRoom("Engine room")
	grace.join(r)
	l := grace.listen(r)
	settings := ada.get(r.path("/settings")).want(200)
	if got := strings.TrimSpace(text(settings.id("room-code"))); got != r.code {
		t.Errorf("the settings show the code %q", got)
	}
	ada.post(r.path("/code/rotate"), nil).wantRedirect(r.path("/settings"))
	page := ada.get(r.path("/settings")).want(200).contains("lead nowhere any more")
	now := strings.TrimSpace(text(page.id("room-code")))
	if now == r.code {
		t.Error("the code is the old one")
	}
	e := l.next("the change of the code", func(e event) bool { return strings.Contains(e.data, "#code") })
	if strings.Contains(e.data, now) || e.id != "" {
		t.Errorf("the event is %+v", e)
	}
	for _, p := range []*person{ada, grace} {
		room := p.get(r.path("")).want(200)
		if got := strings.TrimSpace(text(room.id("room-code"))); got != now || strings.Contains(room.body, r.code) {
			t.Errorf("%s sees the code %q", p.username, got)
		}
		if link := text(room.id("join-link")); !strings.HasSuffix(link, "/join#"+now) {
			t.Errorf("%s sees the link %q", p.username, link)
		}
	}
	zoe.joins(r.code).want(404)
	zoe.joins(now).wantRedirect(r.path(""))
	if strings.Contains(o.log.String(), now) {
		t.Error("the code is in the server's log")
	}
	// who was away is told on the way back
	again := grace.stream(r.path("/feed?after=4"))
	again.next("the change of the code", func(e event) bool { return strings.Contains(e.data, "#code") })
}

func TestACodeThatIsOffIsNotShown(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	grace.join(r)
	ada.post(r.path("/code/off"), nil).wantRedirect(r.path("/settings"))
	for _, page := range []*answer{grace.get(r.path("")), ada.get(r.path("")), ada.get(r.path("/settings"))} {
		page.want(200).contains("switched off")
		if page.has("room-code") || page.has("join-link") || strings.Contains(page.body, r.code) || len(page.class("qr")) > 0 {
			t.Errorf("%s still shows the code", page.what)
		}
	}
	ada.post(r.path("/code/rotate"), nil).want(303)
	if ada.get(r.path("")).has("room-code") {
		t.Error("a new code has switched itself on")
	}
	ada.post(r.path("/code/on"), nil).wantRedirect(r.path("/settings"))
	r.code = strings.TrimSpace(text(grace.get(r.path("")).want(200).id("room-code")))
	o.register("zoe", "Zoe Washburne").join(r)
}

func TestTheTermsOfACodeAreSaidInWords(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	ada.settings(r, fields{"expires": "1d", "uses": " 3 "})
	grace.join(r)
	for _, page := range []*answer{grace.get(r.path("")), ada.get(r.path("")), ada.get(r.path("/settings"))} {
		for _, want := range []string{"Open until", "1 of 3 joins used"} {
			page.want(200).says(want)
		}
	}
	form := ada.get(r.path("/settings"))
	if got := attr(form.id("uses"), "value"); got != "3" {
		t.Errorf("the form holds %q uses", got)
	}
	chosen := elements(form.doc(), func(n *html.Node) bool {
		return n.Data == "option" && strings.Contains(fmt.Sprint(n.Attr), "selected")
	})
	if len(chosen) != 1 || attr(chosen[0], "value") != "keep" {
		t.Errorf("%d choices are chosen", len(chosen))
	}
	end := words(form.id("code-terms"))
	o.clock.advance(time.Hour)
	ada.settings(r, fields{"expires": "keep", "uses": "9"})
	if now := words(ada.get(r.path("/settings")).id("code-terms")); now != strings.ReplaceAll(end, "1 of 3", "0 of 9") {
		t.Errorf("the terms were %q and are %q", end, now)
	}
	// the page of somebody who does not touch anything notices the end all the same
	grace.get(r.path("")).contains("Open until")
	o.clock.advance(22*time.Hour + 58*time.Minute) // their sessions have not ended yet
	grace.get(r.path("")).contains("Open until")
	o.clock.advance(3 * time.Minute)
	zoe := o.register("zoe", "Zoe Washburne")
	zoe.joins(r.code).want(404)
	grace.get(r.path("")).contains("has expired")
	ada.post(r.path("/code/off"), nil).want(303)
	ada.post(r.path("/code/on"), nil).want(303)
	zoe.joins(r.code).wantRedirect(r.path(""))
	ada.get(r.path("/settings")).says("1 of 9 joins used")
}

func TestTermsThatMakeNoSenseComeBackAsTheyWereTyped(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	for typed, f := range map[string]fields{
		"0": {"uses": "0", "expires": "1d", "knock": "on"}, "-3": {"uses": "-3", "expires": "1d", "knock": "on"}, "ten": {"uses": "ten", "expires": "1d", "knock": "on"},
		"99999999999999999999": {"uses": "99999999999999999999", "expires": "1d", "knock": "on"}, "1001": {"uses": "1001", "expires": "1d", "knock": "on"},
	} {
		page := ada.post(r.path("/code"), f).want(422)
		if got := attr(page.id("uses"), "value"); got != typed || !page.has("uses-error") {
			t.Errorf("%q has become %q", typed, got)
		}
		page.contains(`value="1d" selected`).contains("checked")
	}
	page := ada.post(r.path("/code"), fields{"expires": "yesterday", "uses": "4"}).want(422)
	if !page.has("expires-error") || attr(page.id("uses"), "value") != "4" {
		t.Error("a length of time that is none is not named")
	}
	if got := words(ada.get(r.path("/settings")).id("code-terms")); got != "Whoever has an account here and this code can come in." {
		t.Errorf("the terms are %q", got)
	}
}

func TestOnlyTheOwnerChangesTheCodeOrAnswers_T38(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	ada, grace, zoe := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper"), o.register("zoe", "Zoe Washburne")
	r := ada.createRoom("Engine room")
	grace.join(r)
	ada.settings(r, fields{"knock": "on"})
	zoe.joins(r.code).wantRedirect("/rooms")
	before := words(ada.get(r.path("/settings")).id("main"))
	for _, headers := range [][]string{nil, htmx} {
		for path, f := range map[string]fields{
			"/code": {"expires": "1h", "uses": "7"}, "/code/rotate": nil, "/code/off": nil, "/code/on": nil, "/knocks/zoe/admit": nil, "/knocks/zoe/decline": {"from": "settings"}, "/knocks/nobody/admit": nil,
		} {
			grace.post(r.path(path), f, headers...).want(403)
		}
	}
	if after := words(ada.get(r.path("/settings")).id("main")); after != before {
		t.Errorf("the settings were\n%s\nand are\n%s", before, after)
	}
	if page := grace.get(r.path("")); page.has("knocks") || page.has("knocking") || strings.Contains(page.body, "Zoe") {
		t.Error("a member sees who waits")
	}
}

func TestSomebodyKnocksAndIsLetIn(t *testing.T) { // without JavaScript
	t.Parallel()
	o := openOffice(t)
	ada, grace, zoe := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper"), o.register("zoe", "Zoe Washburne")
	r := ada.createRoom("Engine room")
	grace.join(r)
	ada.settings(r, fields{"knock": "on"})
	owners, members, list := ada.stream(seenIn(ada.get(r.path("")))), grace.stream(seenIn(grace.get(r.path("")))), zoe.stream(seenIn(zoe.get("/rooms")))

	zoe.joins(r.code).wantRedirect("/rooms")
	mine := zoe.get("/rooms").want(200).contains("You have knocked. The owner of the room has to let you in.").contains("A room where you knocked")
	if strings.Contains(mine.body, "Engine room") || strings.Contains(mine.body, r.id) {
		t.Error("who waits learns which room it is")
	}
	zoe.get(r.path("")).want(404)
	owners.next("the knock", func(e event) bool {
		return strings.Contains(e.data, "#knocks") && strings.Contains(e.data, "Zoe Washburne") && strings.Contains(e.data, "waiting to be let in")
	})
	list.next("her own knock", func(e event) bool {
		return strings.Contains(e.data, "#your-rooms") && strings.Contains(e.data, "A room where you knocked")
	})
	for _, page := range []*answer{ada.get(r.path("")), ada.get(r.path("/settings"))} {
		page.want(200).contains("Zoe Washburne").contains(">zoe<")
	}
	if got := words(ada.get(r.path("")).id("knocking")); got != "1 waiting to be let in" {
		t.Errorf("beside the members stands %q", got)
	}

	ada.post(r.path("/knocks/zoe/admit"), nil).wantRedirect(r.path(""))
	if page := ada.get(r.path("")).contains("Zoe Washburne\u2069 is in the room now."); words(page.id("knocks")) != "" {
		t.Error("she still waits")
	}
	owners.next("nobody waits", func(e event) bool { return strings.Contains(e.data, "#knocks") && !strings.Contains(e.data, "Zoe") })
	list.next("the room", func(e event) bool { return strings.Contains(e.data, "#your-rooms") && strings.Contains(e.data, r.id) })
	zoe.say(r, "Thank you")
	members.message("Thank you")
	members.cancel()
	for e := range members.events {
		if strings.Contains(e.data, "#knock") {
			t.Errorf("a member's page was told: %s", e.data)
		}
	}
	ada.post(r.path("/knocks/zoe/admit"), fields{"from": "settings"}).wantRedirect(r.path("/settings"))
	ada.get(r.path("/settings")).contains("Nobody with this user name is waiting any more.")
	events := 0
	for _, event := range []string{"room.knock", "room.admit"} {
		var n int
		if err := o.intruder().QueryRow("SELECT count(*) FROM audit_log WHERE event = ?", event).Scan(&n); err != nil {
			t.Fatal(err)
		}
		events += n
	}
	if events != 2 {
		t.Errorf("%d events in the audit log", events)
	}
}

// seenIn is the address of the feed that a page listens to, with what the page says that it shows.
func seenIn(page *answer) string {
	_, rest, _ := strings.Cut(page.body, `hx-sse:connect="`)
	address, _, _ := strings.Cut(rest, `"`)
	return html.UnescapeString(address)
}

func TestSomebodyKnocksAndIsSentAwayOrGivesUp(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	ada, zoe, eve := o.register("ada", "Ada Lovelace"), o.register("zoe", "Zoe Washburne"), o.register("eve", "Eve Moneypenny")
	r := ada.createRoom("Engine room")
	ada.settings(r, fields{"knock": "on"})
	waits := func() bool { return strings.Contains(zoe.get("/rooms").body, "A room where you knocked") }
	zoe.joins(r.code).wantRedirect("/rooms")
	ada.post(r.path("/knocks/zoe/decline"), fields{"from": "settings"}).wantRedirect(r.path("/settings"))
	if waits() {
		t.Error("she waits though she was sent away")
	}
	zoe.joins(r.code).wantRedirect("/rooms")
	_, rest, _ := strings.Cut(zoe.get("/rooms").body, `action="/rooms/knocks/`)
	name, _, _ := strings.Cut(rest, "/")
	for _, wrong := range []string{r.id, strings.Repeat("0", 32), "x", name + "0"} {
		eve.post("/rooms/knocks/"+wrong+"/withdraw", nil).wantRedirect("/rooms")
	}
	eve.post("/rooms/knocks/"+name+"/withdraw", nil).wantRedirect("/rooms")
	if !waits() {
		t.Fatal("somebody else has given up for her")
	}
	zoe.post("/rooms/knocks/"+name+"/withdraw", nil).wantRedirect("/rooms")
	if waits() {
		t.Error("she waits though she has given up")
	}
	zoe.joins(r.code).wantRedirect("/rooms")
	o.clock.advance(31 * 24 * time.Hour)
	ada, zoe = ada.login(), zoe.login()
	if waits() || strings.Contains(ada.get(r.path("")).body, "Zoe") {
		t.Error("she waits after a month")
	}
	zoe.joins(r.code).wantRedirect("/rooms")
	ada.settings(r, fields{})
	zoe.joins(r.code).wantRedirect(r.path(""))
	if waits() || strings.Contains(words(ada.get(r.path("")).id("knocks")), "Zoe") {
		t.Error("she is in the room and waits before it")
	}
}

func TestTheFourthKnockOfADayIsRefusedInWords(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	ada, zoe := o.register("ada", "Ada Lovelace"), o.register("zoe", "Zoe Washburne")
	r := ada.createRoom("Engine room")
	ada.settings(r, fields{"knock": "on"})
	for range 3 {
		zoe.joins(r.code).wantRedirect("/rooms")
		ada.post(r.path("/knocks/zoe/decline"), nil).want(303)
	}
	a := zoe.joins(r.code).want(429).contains("knock again tomorrow")
	if a.header.Get("Retry-After") == "" || attr(a.id("code"), "value") != r.code {
		t.Error("it does not say when, or what was typed is lost")
	}
}

func TestTwoWhoJoinAtOnceWithTheLastUse(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	people := []*person{o.register("zoe", "Zoe Washburne"), o.register("eve", "Eve Moneypenny")}
	r := ada.createRoom("Engine room")
	ada.settings(r, fields{"uses": "1"})
	var wait sync.WaitGroup
	var statuses [2]int
	for i, p := range people {
		wait.Go(func() { statuses[i] = p.joins(r.code).status })
	}
	wait.Wait()
	if statuses != [2]int{303, 404} && statuses != [2]int{404, 303} {
		t.Errorf("the answers are %v", statuses)
	}
}
