package handlers_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// member is the address of something that is done about a member.
func (r room) member(username, deed string) string {
	return r.path("/members/" + username + "/" + deed)
}

// roles is what the page of the members shows a reader.
func (p *person) roles(r room) string {
	p.o.t.Helper()
	var list []string
	for _, n := range p.get(r.path("/members")).want(200).class("member") {
		list = append(list, strings.Join(strings.Fields(text(withClass(n, "hint")[0])+" "+text(withClass(n, "role")[0])), " "))
	}
	return strings.Join(list, "; ")
}

// notice is the sentence at the top of a page.
func (a *answer) notice() string {
	a.t.Helper()
	var all string
	for _, n := range a.class("notice") {
		all += strings.TrimSpace(text(n))
	}
	return all
}

// ownersRoutes are what only the owner of a room may, about grace and linus.
func ownersRoutes(r room) map[string]fields {
	return map[string]fields{
		r.member("linus", "role"):       {"role": "moderator"},
		r.member("grace", "role"):       {"role": "member"},
		r.member("linus", "remove"):     {},
		r.member("linus", "ban"):        {},
		r.member("linus", "own"):        {},
		r.member("grace", "own"):        {},
		r.member("ada", "remove"):       {},
		r.path("/bans/zoe/lift"):        {},
		r.path("/bans/nobody/lift"):     {},
		r.path("/history"):              {"history": "since_join"},
		r.path("/epoch"):                {},
		r.path("/code"):                 {"expires": "1h"},
		r.path("/code/rotate"):          {},
		r.path("/code/off"):             {},
		r.path("/code/on"):              {},
		r.path("/knocks/zoe/admit"):     {},
		r.path("/knocks/zoe/decline"):   {},
		r.path("/destroy"):              {},
		r.member("nobody", "remove"):    {},
		r.member("nobody", "own"):       {},
		r.member("linus", "role") + "?": {},
	}
}

func TestAMemberWithoutTheRoleIsRefusedAndNothingChanges_T38(t *testing.T) { // R61
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace, linus, zoe := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper"), o.register("linus", "Linus Pauling"), o.register("zoe", "Zoe Washburne")
	r := ada.createRoom("Engine room")
	for _, p := range []*person{grace, linus, zoe} {
		p.join(r)
	}
	ada.post(r.member("grace", "role"), fields{"role": "moderator"}).wantRedirect(r.path("/members"))
	ada.post(r.member("zoe", "ban"), nil).wantRedirect(r.path("/members"))
	n := o.post(ada, r, "By Ada")
	before, head := grace.roles(r), o.head(ada, r)
	for _, p := range []*person{grace, linus} {
		for round := range 2 { // the second time with password and code given again
			for path, f := range ownersRoutes(r) {
				for _, headers := range [][]string{nil, htmx} {
					p.post(path, f, headers...).want(http.StatusForbidden)
				}
			}
			p.get(r.path("/settings")).want(http.StatusForbidden)
			if round == 0 {
				p.confirm(r.path("/members")).wantRedirect(r.path("/members"))
			}
		}
		if forms := p.get(r.path("/members")).want(200).main(); strings.Contains(forms, "<form") || strings.Contains(forms, "/settings") {
			t.Errorf("%s is offered what only the owner may: %s", p.username, forms)
		}
	}
	linus.post(r.message(n, "/delete"), nil).want(http.StatusForbidden)
	if now := o.head(ada, r); now != head {
		t.Errorf("the log went from %d to %d", head, now)
	}
	if now := grace.roles(r); now != before {
		t.Errorf("the members were %s and are %s", before, now)
	}
	grace.post(r.message(n, "/delete"), nil).wantRedirect(r.path("")) // which a moderator may
}

// main is the markup of a page between its header and its end.
func (a *answer) main() string {
	_, body, _ := strings.Cut(a.body, "<main")
	body, _, _ = strings.Cut(body, "</main>")
	return body
}

// head is the last number of a room's log.
func (o *office) head(p *person, r room) uint64 {
	o.t.Helper()
	v, err := o.store.View(context.Background(), o.membership(p, r))
	if err != nil {
		o.t.Fatal(err)
	}
	return v.Page.Head
}

func TestWhoIsRemovedHearsAndReadsNothingMore_T40(t *testing.T) { // R63
	t.Parallel()
	for _, deed := range []string{"remove", "ban"} {
		t.Run(deed, func(t *testing.T) {
			t.Parallel()
			o := openOffice(t, quick)
			ada, grace, linus := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper"), o.register("linus", "Linus Pauling")
			r, other := ada.createRoom("Engine room"), ada.createRoom("Another room")
			for _, p := range []*person{grace, linus} {
				p.join(r)
				p.join(other)
			}
			n := o.post(grace, r, "What she wrote stays")
			hers, hersToo := grace.listen(r), grace.login().listen(r)
			elsewhere, linuss := grace.listen(other), linus.listen(r)
			adas := o.membership(ada, r)
			ada.post(r.member("grace", deed), nil).wantRedirect(r.path("/members"))
			began := time.Now()
			after, err := o.store.Post(context.Background(), adas, "After it", "")
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range []*listener{hers, hersToo} {
				for _, e := range l.sessionEnd(2 * time.Second) {
					if strings.Contains(e.data, "After it") {
						t.Errorf("she hears %s", e.data)
					}
				}
			}
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("her streams ended after %v", took)
			}
			for _, id := range []string{"0", fmt.Sprint(n), fmt.Sprint(after - 1), "999"} {
				if l := grace.stream(r.path("/feed"), "Last-Event-ID", id); l.status != http.StatusNotFound {
					t.Errorf("the feed from %s on answers her with %d", id, l.status)
				}
			}
			for _, path := range []string{"", "/messages?before=99", "/members", "/proof", fmt.Sprintf("/messages/%d/edit", n)} {
				grace.get(r.path(path)).want(http.StatusNotFound)
			}
			grace.post(r.path("/messages"), fields{"body": "Still here"}).want(http.StatusNotFound)
			grace.post(r.message(n, ""), fields{"body": "Changed"}).want(http.StatusNotFound)
			if list := grace.get("/rooms").want(200).body; strings.Contains(list, r.id) {
				t.Error("the room is in her list")
			}
			if notice := grace.get("/rooms?gone=1").notice(); !strings.HasPrefix(notice, "You are no longer in this room.") {
				t.Errorf("she is told %q", notice)
			}
			// the others hear of it, in the order of the log, and go on
			word := map[string]string{"remove": "was removed", "ban": "was banned"}[deed]
			line := linuss.next("the removal", func(e event) bool { return strings.Contains(e.data, word) })
			if !strings.Contains(line.data, "Grace Hopper") {
				t.Errorf("the others are told %s", line.data)
			}
			linuss.next("the list without her", func(e event) bool { return strings.Contains(e.data, "#members") && !strings.Contains(e.data, "grace") })
			linuss.message("After it")
			page := linus.get(r.path("")).want(200)
			if got := page.bodies(); !slices.Equal(got, []string{"What she wrote stays", "After it"}) || !strings.Contains(page.body, word) {
				t.Errorf("the room shows %q", got)
			}
			o.post(ada, other, "Elsewhere all goes on")
			elsewhere.message("Elsewhere all goes on")
		})
	}
}

func TestARemovedMemberComesBackWithTheCodeAndABannedOneOnlyWhenTheBanIsLifted_T46(t *testing.T) { // R63
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	grace.join(r)
	ada.post(r.member("grace", "remove"), nil).wantRedirect(r.path("/members"))
	if notice := ada.get(r.path("/members")).want(200).notice(); notice != "grace was removed from the room." {
		t.Errorf("the owner is told %q", notice)
	}
	ada.post(r.member("grace", "remove"), nil).want(http.StatusNotFound)
	grace.join(r)
	ada.post(r.member("grace", "ban"), nil).wantRedirect(r.path("/members"))
	ada.get(r.path("/members")) // takes the notice
	for _, headers := range [][]string{nil, htmx} {
		banned := grace.post("/rooms/join", fields{"code": r.code}, headers...).want(http.StatusNotFound)
		unknown := grace.post("/rooms/join", fields{"code": "0000-0000-0000-0000"}, headers...).want(http.StatusNotFound)
		if same(banned, r.code) != same(unknown, "0000-0000-0000-0000") {
			t.Errorf("the code of a room that she is banned from is told apart:\n%s\nfrom\n%s", banned.body, unknown.body)
		}
	}
	settings := ada.get(r.path("/settings")).want(200).contains("Grace Hopper").contains(r.path("/bans/grace/lift"))
	checkMarkup(t, "the settings", settings.body)
	ada.post(r.path("/bans/ada/lift"), nil).want(http.StatusNotFound)
	ada.post(r.path("/bans/grace/lift"), nil).wantRedirect(r.path("/settings"))
	if page := ada.get(r.path("/settings")).want(200); page.notice() != "grace may come back with the room code." || strings.Contains(page.main(), "Grace Hopper") {
		t.Errorf("afterwards the owner is told %q in\n%s", page.notice(), page.main())
	}
	ada.post(r.path("/bans/grace/lift"), nil).want(http.StatusNotFound)
	grace.join(r)
	grace.say(r, "Thank you")
}

func TestTheRoomGoesFromHandToHandAfterPasswordAndCode(t *testing.T) { // R33, R61
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	grace.join(r)
	l := grace.listen(r)
	ada.post(r.member("grace", "own"), nil).wantRedirect("/sudo?next=" + r.path("/members"))
	if got := ada.roles(r); got != "ada owner, you; grace member" {
		t.Errorf("without a confirmation: %s", got)
	}
	ada.confirm(r.path("/members")).wantRedirect(r.path("/members"))
	ada.post(r.member("ada", "own"), nil).want(http.StatusUnprocessableEntity).contains("This is your own room")
	ada.post(r.member("ada", "ban"), nil).want(http.StatusUnprocessableEntity).contains("This is your own room")
	ada.post(r.member("grace", "role"), fields{"role": "owner"}).want(http.StatusUnprocessableEntity).contains("moderator or a plain member")
	ada.post(r.member("grace", "own"), nil).wantRedirect(r.path("/members"))
	if notice := ada.get(r.path("/members")).want(200).notice(); notice != "grace owns the room now, and you are a moderator." {
		t.Errorf("the old owner is told %q", notice)
	}
	l.next("the new roles, live", func(e event) bool {
		return strings.Contains(e.data, "#members") && strings.Contains(e.data, "moderator") && strings.Contains(e.data, "owner")
	})
	if got := grace.roles(r); got != "ada moderator; grace owner, you" {
		t.Errorf("the members are %s", got)
	}
	ada.post(r.member("grace", "remove"), nil).want(http.StatusForbidden)
	grace.get(r.path("/settings")).want(200)
	grace.post(r.member("ada", "role"), fields{"role": "member"}).wantRedirect(r.path("/members"))
	if page := grace.get(r.path("/members")).want(200); page.notice() != "ada is a plain member now." {
		t.Errorf("the new owner is told %q", page.notice())
	} else {
		checkMarkup(t, "the members", page.body)
	}
}

func TestWhoWaitsIsTheNewOwnersBusiness(t *testing.T) { // R60, R61
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace, linus, zoe := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper"), o.register("linus", "Linus Pauling"), o.register("zoe", "Zoe Washburne")
	r := ada.createRoom("Engine room")
	grace.join(r)
	linus.join(r)
	ada.settings(r, fields{"knock": "on"})
	zoe.joins(r.code).wantRedirect("/rooms")
	ada.confirm(r.path("/members")).wantRedirect(r.path("/members"))
	adasSleeping := seenIn(ada.get(r.path("")))
	adas, graces, others := ada.stream(seenIn(ada.get(r.path("")).contains("Zoe"))), grace.stream(seenIn(grace.get(r.path("")))), linus.stream(seenIn(linus.get(r.path(""))))
	ada.post(r.member("grace", "own"), nil).wantRedirect(r.path("/members"))
	door := r.path("/settings")
	adas.next("no knock and no settings any more", func(e event) bool {
		return strings.Contains(e.data, "#knocks") && strings.Contains(e.data, "#owning") && !strings.Contains(e.data, "Zoe") && !strings.Contains(e.data, door)
	})
	ada.stream(adasSleeping).next("the same, on a page that slept", func(e event) bool {
		return strings.Contains(e.data, "#owning") && !strings.Contains(e.data, "Zoe") && !strings.Contains(e.data, door)
	})
	graces.next("who waits, and the way to the settings", func(e event) bool {
		return strings.Contains(e.data, "#knocks") && strings.Contains(e.data, "Zoe Washburne") && strings.Contains(e.data, "You own this room now.") && strings.Contains(e.data, door)
	})
	if page := ada.get(r.path("")).want(200); strings.Contains(page.body, "Zoe") {
		t.Error("the old owner still sees who waits")
	}
	ada.post(r.path("/knocks/zoe/admit"), nil).want(http.StatusForbidden)
	grace.get(r.path("")).want(200).contains("Zoe Washburne")
	grace.post(r.path("/knocks/zoe/admit"), nil).wantRedirect(r.path(""))
	graces.next("nobody waits", func(e event) bool {
		return strings.Contains(e.data, "#knocks") && !strings.Contains(e.data, "Zoe") && !strings.Contains(e.data, "#owning") // a link that somebody may just be on
	})
	o.register("eve", "Eve Moneypenny").joins(r.code).wantRedirect("/rooms")
	late := linus.stream(seenIn(linus.get(r.path("")))) // two pages, one of which is asleep while it becomes the owner's
	asleep := seenIn(linus.get(r.path("")))
	grace.post(r.path("/leave"), nil).wantRedirect("/rooms")
	ada.post(r.path("/leave"), nil).wantRedirect("/rooms")
	for what, l := range map[string]*listener{"the page": others, "one that came later": late, "one that slept": linus.stream(asleep)} {
		l.next("who waits, on "+what, func(e event) bool {
			return strings.Contains(e.data, "Eve Moneypenny") && strings.Contains(e.data, "You own this room now.") && strings.Contains(e.data, door)
		})
	}
	zoe.say(r, "Thank you")
	for what, l := range map[string]*listener{"her own": zoe.listen(r), "the owner's": others} {
		zoe.say(r, "To "+what)
		l.next("the message", func(e event) bool {
			if what == "her own" && strings.Contains(e.data, "Eve") {
				t.Errorf("a member's page is told who waits: %s", e.data)
			}
			return len(e.bodies()) == 1 && e.bodies()[0] == "To "+what
		})
	}
}

// A page is told what it shows and does not show yet, and a program that shows none of it nothing.
func TestNothingIsSaidTwiceOfWhoWaits(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada, zoe := o.register("ada", "Ada Lovelace"), o.register("zoe", "Zoe Washburne")
	r := ada.createRoom("Engine room")
	ada.settings(r, fields{"knock": "on"})
	zoe.joins(r.code).wantRedirect("/rooms")
	page, program, list := ada.stream(seenIn(ada.get(r.path("")).contains("Zoe"))), ada.listen(r), zoe.stream(seenIn(zoe.get("/rooms")))
	ada.say(r, "All of them listen")
	page.message("All of them listen")
	program.next("the message", func(e event) bool {
		if strings.Contains(e.data, "#knock") {
			t.Errorf("a program was told: %s", e.data)
		}
		return slices.Equal(e.bodies(), []string{"All of them listen"})
	})
	list.next("what is unread", func(e event) bool { return e.data != "" })
	for _, p := range []*person{ada, zoe} {
		o.hub.Knock(o.account(p.username).ID) // that something may be new, which it is not
	}
	ada.say(r, "Nothing was new")
	for what, l := range map[string]*listener{"the page": page, "a program": program} {
		l.next("the message", func(e event) bool {
			if strings.Contains(e.data, "#knock") || strings.Contains(e.data, "#owning") {
				t.Errorf("%s was told: %s", what, e.data)
			}
			return slices.Equal(e.bodies(), []string{"Nothing was new"})
		})
	}
	ada.post(r.path("/knocks/zoe/decline"), nil).want(http.StatusSeeOther)
	page.next("that nobody waits", func(e event) bool { return strings.Contains(e.data, "#knocks") && !strings.Contains(e.data, "Zoe") })
	list.next("that she waits nowhere", func(e event) bool {
		if strings.Contains(e.data, "A room where you knocked") {
			t.Errorf("the list was told: %s", e.data)
		}
		return strings.Contains(e.data, "#your-rooms")
	})
}

func (p *person) setHistory(r room, history string) {
	p.o.t.Helper()
	p.post(r.path("/history"), fields{"history": history}).wantRedirect(r.path("/settings"))
}

func TestANewcomerSeesNothingFromBeforeAnywhere(t *testing.T) { // R64
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	old, oldToo := o.post(ada, r, "Old secret"), o.post(ada, r, "Old secret too")
	grace.join(r)
	young := o.post(ada, r, "Young")
	grace.get(r.path("")).want(200).contains("Old secret").contains("The beginning of the room")

	bad := ada.post(r.path("/history"), fields{"history": "some"}).want(http.StatusUnprocessableEntity).contains("Choose what newcomers see")
	checkMarkup(t, "the settings", bad.body)
	early := grace.listen(r) // opened when she saw all
	ada.setHistory(r, "since_join")
	settings := ada.get(r.path("/settings")).want(200)
	if settings.notice() != "Newcomers see what is said from when they join." {
		t.Errorf("the owner is told %q", settings.notice())
	}
	for _, n := range elements(settings.doc(), func(n *nodeT) bool { return attr(n, "name") == "history" }) {
		chosen := slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == "checked" })
		if chosen != (attr(n, "value") == "since_join") {
			t.Errorf("%s is chosen: %v", attr(n, "value"), chosen)
		}
	}
	for _, e := range early.ends(2 * time.Second) { // it is let go, without a word about the session
		if e.name == "session-end" {
			t.Error("her page is told that it is over")
		}
	}

	l, adas := grace.listen(r), ada.listen(r)
	page := grace.get(r.path("")).want(200).contains("You see this room from when you joined")
	if got := page.bodies(); !slices.Equal(got, []string{"Young"}) || strings.Contains(page.body, "The beginning of the room") {
		t.Errorf("her page shows %q", got)
	}
	for _, headers := range [][]string{nil, htmx} {
		for _, before := range []uint64{1, old, old + 1, oldToo + 1, young, young + 1, 1 << 40} {
			a := grace.get(r.path(fmt.Sprintf("/messages?before=%d", before)), headers...).want(200).contains("You see this room from when you joined")
			if strings.Contains(a.body, "Old secret") || strings.Contains(a.body, fmt.Sprintf("m-%d\"", old)) {
				t.Errorf("the page before %d shows %s", before, a.body)
			}
		}
	}
	nothing := grace.get(r.message(999, "/edit")).want(404)
	for _, n := range []uint64{old, oldToo} {
		if a := grace.get(r.message(n, "/edit")).want(404); same(a, "") != same(nothing, "") {
			t.Errorf("an old message is told apart from none: %s", a.body)
		}
		grace.post(r.message(n, ""), fields{"body": "Mine"}).want(404)
		grace.post(r.message(n, "/delete"), nil).want(404)
	}

	// live: a change of an old message is a bare number for her
	ada.post(r.message(old, ""), fields{"body": "Old secret, edited"}).wantRedirect(r.path(""))
	ada.post(r.message(oldToo, "/delete"), nil).wantRedirect(r.path(""))
	ada.post(r.message(young, ""), fields{"body": "Young, edited"}).wantRedirect(r.path(""))
	for i, want := range []string{"Old secret, edited", "", "Young, edited"} {
		n := oldToo + 4 + uint64(i) // the joining, the young one, the setting
		hers, hisOwn := l.numbered(n), adas.numbered(n)
		if i < 2 && hers.data != "" || i == 2 && !slices.Equal(hers.bodies(), []string{want}) {
			t.Errorf("event %d brings her %q", n, hers.data)
		}
		if hisOwn.data == "" || want != "" && !slices.Equal(hisOwn.bodies(), []string{want}) {
			t.Errorf("event %d brings Ada %q", n, hisOwn.data)
		}
	}

	// afterwards: from everywhere she could say to stand
	last := o.post(ada, r, "The last")
	for _, from := range []string{"0", fmt.Sprint(old), fmt.Sprint(oldToo + 1), fmt.Sprint(young), fmt.Sprint(young + 1), "99999", "x"} {
		s := grace.stream(r.path("/feed"), "Last-Event-ID", from)
		for seen := false; !seen; {
			e := s.next("the last number", func(e event) bool { return e.id != "" })
			if strings.Contains(e.data, "Old secret") || strings.Contains(e.data, fmt.Sprintf("m-%d\"", old)) || strings.Contains(e.data, fmt.Sprintf("m-%d\"", oldToo)) {
				t.Errorf("from %s on she hears %s", from, e.data)
			}
			seen = e.id == fmt.Sprint(last)
		}
		s.cancel()
	}
	for i := range 210 { // far behind
		o.post(ada, r, fmt.Sprintf("And %d", i))
	}
	far := grace.stream(r.path(fmt.Sprintf("/feed?after=%d", young)))
	if e := far.next("the newest page", func(e event) bool { return e.id != "" }); len(e.bodies()) != 40 {
		t.Errorf("far behind she hears %d messages", len(e.bodies()))
	}

	// whoever comes back begins again
	grace.post(r.path("/leave"), nil).wantRedirect("/rooms")
	o.post(ada, r, "While she was away")
	grace.join(r)
	o.post(ada, r, "She is back")
	page = grace.get(r.path("")).want(200)
	if got := page.bodies(); !slices.Equal(got, []string{"She is back"}) {
		t.Errorf("after coming back she sees %q", got)
	}
	s := grace.stream(r.path(fmt.Sprintf("/feed?after=%d", last)))
	if e := s.next("a fresh page", func(e event) bool { return e.id != "" }); !slices.Equal(e.bodies(), []string{"She is back"}) || !strings.Contains(e.data, "You see this room from when you joined") {
		t.Errorf("an old page of hers hears %s", e.data)
	}
	s.cancel()

	ada.setHistory(r, "all")
	grace.get(r.path("/messages?before=" + fmt.Sprint(young+1))).want(200).contains("Old secret, edited").contains("The beginning of the room")
}

// Where many things happen at once, blocks with old and new in them are shared by all.
func TestInABusyRoomANewcomerHearsOnlyWhatIsNew(t *testing.T) { // R64
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	old := o.post(ada, r, "Old secret")
	grace.join(r)
	ada.setHistory(r, "since_join")
	m := o.membership(ada, r)
	l := grace.listen(r)
	for i := range 60 {
		var err error
		if i%3 == 0 {
			err = o.store.Edit(t.Context(), m, old, fmt.Sprintf("Old secret %d", i))
		} else {
			_, err = o.store.Post(t.Context(), m, fmt.Sprintf("Young %d", i), "")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	next := o.head(ada, r) - 59
	for i := range uint64(60) {
		e := l.numbered(next + i)
		if strings.Contains(e.data, "Old secret") || (e.data == "") != (i%3 == 0) {
			t.Errorf("event %s brings %q", e.id, e.data)
		}
	}
}

func TestTheMembersPageNamesPeopleAsText(t *testing.T) { // T33
	t.Parallel()
	o := openOffice(t, quick)
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom(`<img src=x onerror=alert(1)>`)
	eve := o.register("eve", `<b hx-get="/logout">Eve</b>`)
	eve.join(r)
	for _, path := range []string{"/members", "/settings"} {
		page := ada.get(r.path(path)).want(200)
		checkMarkup(t, path, page.body)
		if strings.Contains(page.body, "<img src=x") || strings.Contains(page.body, "<b hx-get") {
			t.Errorf("%s: a name has become markup", path)
		}
		ada.post(r.member("eve", "ban"), nil)
	}
	ada.get(r.path("/settings")).want(200).contains("&lt;b hx-get")
}
