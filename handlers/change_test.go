package handlers_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// part is what one <hx-partial> of an event does.
type part struct{ target, swap, entry string }

func (e event) parts(t *testing.T) (parts []part) {
	t.Helper()
	a := &answer{t: t, what: "the event " + e.id, body: e.data}
	for _, n := range elements(a.doc(), func(n *nodeT) bool { return n.Data == "hx-partial" }) {
		p := part{target: attr(n, "hx-target"), swap: attr(n, "hx-swap")}
		for _, li := range elements(n, func(n *nodeT) bool { return n.Data == "li" }) {
			p.entry += attr(li, "id")
		}
		parts = append(parts, p)
	}
	return parts
}

// class returns the elements of an event with a class.
func (e event) class(t *testing.T, class string) []*nodeT {
	t.Helper()
	return (&answer{t: t, what: "the event " + e.id, body: e.data}).class(class)
}

// numbered waits for the event with a number and fails when another one with a number comes first.
func (l *listener) numbered(n uint64) event {
	l.t.Helper()
	e := l.next(fmt.Sprintf("event %d", n), func(e event) bool { return e.id != "" })
	if e.id != fmt.Sprint(n) || e.name != "" {
		l.t.Fatalf("the event %q %q came instead of %d: %s", e.id, e.name, n, shortened(e.data))
	}
	return e
}

func (r room) message(n uint64, rest string) string {
	return r.path(fmt.Sprintf("/messages/%d%s", n, rest))
}

// entryOf returns the line of a message on a page.
func (a *answer) entryOf(n uint64) *nodeT {
	a.t.Helper()
	return a.id(fmt.Sprintf("m-%d", n))
}

func withClass(n *nodeT, class string) []*nodeT {
	return elements(n, func(n *nodeT) bool { return slices.Contains(strings.Fields(attr(n, "class")), class) })
}

func TestAnEditIsSeenLiveOnThePageAndAfterAReconnect(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	grace.join(r)
	n := o.post(ada, r, "The kettel is on")
	later := o.post(grace, r, "Which kettle?")
	graces := grace.listen(r)

	// what the author gets to see first
	page := ada.get(r.message(n, "/edit")).want(200)
	if got := text(page.id("edit-body")); strings.TrimPrefix(got, "\n") != "The kettel is on" {
		t.Errorf("the form holds %q", got)
	}
	ada.post(r.message(n, ""), fields{"body": "The kettle is on"}).wantRedirect(r.path(""))
	check := func(what string, e event) {
		t.Helper()
		want := part{fmt.Sprintf("#m-%d", n), "outerHTML", fmt.Sprintf("m-%d", n)}
		if got := e.parts(t); !slices.Equal(got, []part{want}) {
			t.Errorf("%s: the event does %v, want %v", what, got, want)
		}
		if got := e.bodies(); !slices.Equal(got, []string{"The kettle is on"}) {
			t.Errorf("%s: the event says %q", what, got)
		}
		if len(e.class(t, "edited")) != 1 || strings.Contains(e.data, "kettel") {
			t.Errorf("%s: %s", what, e.data)
		}
	}
	check("live", graces.numbered(later+1))
	check("caught up", grace.stream(r.path("/feed"), "Last-Event-ID", fmt.Sprint(later)).numbered(later+1))
	// nothing else has come: the next number is the next message's
	next := o.post(ada, r, "Tea?")
	if e := graces.numbered(next); next != later+2 || !slices.Equal(e.bodies(), []string{"Tea?"}) {
		t.Errorf("after the edit came %s: %q", e.id, e.bodies())
	}

	for _, p := range []*person{ada, grace} {
		for what, a := range map[string]*answer{"the page": p.get(r.path("")), "the older page": p.get(r.path("/messages?before=99")), "the older fragment": p.get(r.path("/messages?before=99"), htmx...)} {
			if got := a.want(200).bodies(); !slices.Equal(got, []string{"The kettle is on", "Which kettle?", "Tea?"}) {
				t.Errorf("%s shows %q", what, got)
			}
			if len(withClass(a.entryOf(n), "edited")) != 1 || len(withClass(a.entryOf(later), "edited")) != 0 {
				t.Errorf("%s: not exactly the edited message is marked", what)
			}
		}
	}
	// htmx gets nothing, because the feed brings it
	if a := ada.post(r.message(n, ""), fields{"body": "Once more"}, htmx...).want(204); a.body != "" {
		t.Errorf("the answer is %q", a.body)
	}
	if e := graces.numbered(next + 1); !slices.Equal(e.bodies(), []string{"Once more"}) {
		t.Errorf("the second edit says %q", e.bodies())
	}
	// catching up from the beginning never shows what is no longer there
	all := grace.stream(r.path("/feed?after=0"))
	for e := all.next("an event", func(e event) bool { return e.id != "" }); e.id != fmt.Sprint(next+1); e = all.next("an event", func(e event) bool { return e.id != "" }) {
		if strings.Contains(e.data, "kettle is on") || strings.Contains(e.data, "kettel") {
			t.Errorf("the event %s still says %s", e.id, e.data)
		}
	}
}

func TestOnlyTheAuthorEdits(t *testing.T) { // R61
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	grace.join(r)
	adas, graces := o.post(ada, r, "By Ada"), o.post(grace, r, "By Grace")
	for _, headers := range [][]string{nil, htmx} {
		grace.post(r.message(adas, ""), fields{"body": "By a member"}, headers...).want(http.StatusForbidden)
		ada.post(r.message(graces, ""), fields{"body": "By the owner"}, headers...).want(http.StatusForbidden)
	}
	if page := ada.get(r.path("")).want(200); !slices.Equal(page.bodies(), []string{"By Ada", "By Grace"}) || len(page.class("edited")) > 0 {
		t.Errorf("the room shows %q", page.bodies())
	}
	// and the form is there for nobody else
	for _, c := range []struct {
		who          *person
		n            uint64
		edit, remove int
	}{{ada, adas, 1, 1}, {grace, adas, 0, 0}, {ada, graces, 0, 1}, {grace, graces, 1, 1}} {
		page := c.who.get(r.message(c.n, "/edit")).want(200)
		count := func(id string) int {
			return len(elements(page.doc(), func(n *nodeT) bool { return attr(n, "id") == id }))
		}
		if count("edit") != c.edit || count("remove") != c.remove {
			t.Errorf("%s sees %d forms to edit and %d to remove message %d", c.who.username, count("edit"), count("remove"), c.n)
		}
	}
}

func TestARemovedMessageIsNowhereAnyMore(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	linus := o.register("linus", "Linus Pauling")
	r := ada.createRoom("Engine room")
	grace.join(r)
	linus.join(r)
	const secret, edited = "an unhappy word", "an unhappier word"
	first := o.post(grace, r, secret)
	second := o.post(linus, r, "another "+secret)
	stays := o.post(linus, r, "this one stays")
	// a plain member cannot remove another's
	for _, headers := range [][]string{nil, htmx} {
		linus.post(r.message(first, "/delete"), nil, headers...).want(http.StatusForbidden)
		grace.post(r.message(second, "/delete"), nil, headers...).want(http.StatusForbidden)
	}
	if got := ada.get(r.path("")).bodies(); len(got) != 3 {
		t.Fatalf("the room shows %q", got)
	}
	grace.post(r.message(first, ""), fields{"body": edited}).wantRedirect(r.path(""))
	head := stays + 1
	adas := ada.listen(r)
	grace.post(r.message(first, "/delete"), nil).wantRedirect(r.path("")) // the author, without JavaScript
	if a := ada.post(r.message(second, "/delete"), nil, htmx...).want(204); a.body != "" {
		t.Errorf("the answer is %q", a.body)
	}
	for i, n := range []uint64{first, second} { // the author, and the owner
		e := adas.numbered(head + 1 + uint64(i))
		want := part{fmt.Sprintf("#m-%d", n), "outerHTML", fmt.Sprintf("m-%d", n)}
		if got := e.parts(t); !slices.Equal(got, []part{want}) {
			t.Errorf("the event does %v, want %v", got, want)
		}
		if len(e.class(t, "body")) > 0 || len(e.class(t, "gone")) != 1 || len(e.class(t, "removed")) != 1 {
			t.Errorf("the event: %s", e.data)
		}
	}
	for range 60 {
		o.post(ada, r, "so that there is an older page")
	}
	o.restart()
	for _, p := range []*person{ada, grace, linus} {
		p.reconnect()
		answers := []*answer{
			p.get(r.path("")), p.get(r.path(fmt.Sprintf("/messages?before=%d", stays+1))), p.get(r.path(fmt.Sprintf("/messages?before=%d", stays+1)), htmx...),
			p.get(r.message(first, "/edit")), p.get(r.message(second, "/edit")), p.get(r.message(first, "/edit"), htmx...), p.get("/rooms"), p.get(r.path("/proof?n=" + fmt.Sprint(first))),
		}
		for _, a := range answers {
			if strings.Contains(a.want(200).body, "unhapp") {
				t.Errorf("%s still holds the text", a.what)
			}
		}
		older := answers[1]
		for _, n := range []uint64{first, second} {
			if li := older.entryOf(n); len(withClass(li, "body"))+len(withClass(li, "act"))+len(withClass(li, "edited")) > 0 || len(withClass(li, "gone")) != 1 {
				t.Errorf("message %d is shown as %q", n, text(li))
			}
		}
		if got := older.bodies(); !slices.Equal(got, []string{"this one stays"}) {
			t.Errorf("the older page shows %q", got)
		}
		for _, from := range []string{"0", "999999"} { // entry by entry, and as the newest page
			l := p.stream(r.path("/feed?after=" + from))
			for {
				e := l.next("the last event", func(e event) bool { return e.id != "" })
				if strings.Contains(e.data, "unhapp") {
					t.Errorf("the feed from %s still holds the text: %s", from, e.data)
				}
				if e.id == fmt.Sprint(head+62) {
					break
				}
			}
			l.cancel()
		}
	}
	// it can be changed and removed no more
	for _, p := range []*person{ada, grace} {
		p.post(r.message(first, ""), fields{"body": "back again"}).want(http.StatusNotFound)
		p.post(r.message(first, "/delete"), nil).want(http.StatusNotFound)
	}
	o.holdsNothingOf(map[string]string{"the removed message": secret, "the edited one": edited})
}

func TestABadEditIsRefusedAndItsDraftIsKept(t *testing.T) { // R53
	t.Parallel()
	o := openOffice(t, quick)
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	n := o.post(ada, r, "As it was")
	for name, body := range map[string]string{
		"empty": "", "blank": " \n\t ", "too long": "\n" + strings.Repeat("ü", 4001), "too long, of four bytes each": strings.Repeat("\U0001F600", 4001), "a control character": "a\x01b", "no text": "a\xffb",
	} {
		for _, headers := range [][]string{nil, htmx} {
			a := ada.post(r.message(n, ""), fields{"body": body}, headers...).want(422)
			if len(strings.TrimSpace(text(a.id("problem")))) < 10 {
				t.Errorf("%s: nothing says what is wrong", name)
			}
			if got := strings.TrimPrefix(text(a.id("edit-body")), "\n"); got != strings.TrimPrefix(body, "\n") && got != body && name != "no text" {
				t.Errorf("%s: the draft has become %.60q", name, got)
			}
		}
	}
	page := ada.get(r.path(""))
	if len(page.class("edited")) > 0 || !slices.Equal(page.bodies(), []string{"As it was"}) {
		t.Errorf("the room shows %q", page.bodies())
	}
}

func TestAnEditThatWasRefusedChangesNothing(t *testing.T) {
	t.Parallel()
	o := openOffice(t) // with its limit of posts
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	n := o.post(ada, r, "As it was")
	l := ada.listen(r)
	ada.post(r.message(n, ""), fields{"body": ""}).want(422)
	ada.post(r.message(n, ""), fields{"body": strings.Repeat("x", 70<<10)}).want(http.StatusRequestEntityTooLarge)
	next := o.post(ada, r, "next")
	if e := l.numbered(next); next != n+1 || len(e.parts(t)) != 1 {
		t.Errorf("the refused edits have left entries: %d follows %d", next, n)
	}
	// edits count as posts do
	limited := false
	for i := range 40 {
		a := ada.post(r.message(n, ""), fields{"body": fmt.Sprintf("Change %d", i)}, htmx...)
		if limited = a.status == http.StatusTooManyRequests; limited {
			if a.header.Get("Retry-After") == "" || strings.TrimSpace(text(a.id("edit-body"))) != fmt.Sprintf("Change %d", i) {
				t.Error("too fast: no time to wait, or the draft is lost")
			}
			break
		}
	}
	if !limited {
		t.Error("forty edits in a moment are let through")
	}
}

// oddNumbers are what no message of the room has.
func oddNumbers(r room, own ...uint64) []string {
	list := []string{"0", "1", "2", "3", "9999", "9223372036854775807", "9223372036854775808", "18446744073709551615", "18446744073709551616", "-1", "x", "1e1", "0x5", "%00", "5%2f..", "'", "+5%20", "%205"}
	for _, n := range own {
		list = append(list, fmt.Sprint(n))
	}
	return list
}

func TestWhatIsNoMessageOfTheRoomIsNotFoundInOneWay(t *testing.T) { // R62
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r, other := ada.createRoom("Engine room"), ada.createRoom("Library")
	joined := o.post(ada, r, "before Grace") + 1
	grace.join(r)
	removed := o.post(grace, r, "short-lived")
	grace.post(r.message(removed, "/delete"), nil).wantRedirect(r.path(""))
	var foreign uint64
	for range 12 {
		foreign = o.post(ada, other, "elsewhere")
	}
	for _, p := range []*person{ada, grace} {
		for _, route := range []struct {
			method, rest string
			f            fields
		}{{"GET", "/edit", nil}, {"POST", "", fields{"body": "Changed"}}, {"POST", "", fields{}}, {"POST", "", fields{"body": strings.Repeat("x", 5000)}}, {"POST", "/delete", fields{}}} {
			for _, headers := range [][]string{nil, htmx} {
				first := ""
				for _, n := range oddNumbers(r, joined, foreign, removed+1) {
					if strings.Contains(n, "%2f") && route.rest == "" {
						continue
					}
					a := p.do(route.method, r.path("/messages/"+n+route.rest), route.f, headers...).want(http.StatusNotFound)
					if first == "" {
						first = same(a, "")
					}
					if got := same(a, ""); got != first {
						t.Errorf("%s is told apart:\n%s\nfrom\n%s", a.what, shortened(got), shortened(first))
					}
				}
			}
		}
	}
	if got := ada.get(other.path("")).want(200); len(got.bodies()) != 12 || len(got.class("edited")) > 0 {
		t.Error("the other room has changed")
	}
}

// changeRoutes are the addresses that came with the proof.
var changeRoutes = []struct {
	method, rest string
	f            fields
}{
	{"GET", "/messages/5/edit", nil}, {"GET", "/messages/999/edit", nil}, {"GET", "/messages/x/edit", nil},
	{"POST", "/messages/5", fields{"body": "Changed"}}, {"POST", "/messages/5", fields{}}, {"POST", "/messages/999", fields{"body": "Changed"}}, {"POST", "/messages/x", fields{"body": strings.Repeat("x", 70<<10)}},
	{"POST", "/messages/5/delete", fields{}}, {"POST", "/messages/x/delete", fields{}},
	{"GET", "/settings", nil}, {"POST", "/settings", fields{}}, {"POST", "/destroy", fields{}}, {"GET", "/destroy", nil},
	{"POST", "/code", fields{"expires": "1h"}}, {"POST", "/code/rotate", fields{}}, {"POST", "/code/off", fields{}}, {"POST", "/code/on", fields{}}, {"GET", "/code", nil}, {"GET", "/code/rotate", nil},
	{"POST", "/knocks/eve/admit", fields{}}, {"POST", "/knocks/eve/decline", fields{"from": "settings"}}, {"GET", "/knocks/eve/admit", nil},
	{"GET", "/proof", nil}, {"GET", "/proof?n=5", nil}, {"GET", "/proof?n=x", nil}, {"POST", "/proof", fields{}},
	{"GET", "/messages/5", nil}, {"GET", "/messages/5/delete", nil}, {"PUT", "/messages/5", fields{}}, {"DELETE", "/messages/5", nil}, {"HEAD", "/settings", nil}, {"HEAD", "/messages/5/edit", nil},
	{"GET", "/members", nil}, {"HEAD", "/members", nil}, {"POST", "/members", fields{}}, {"GET", "/members/ada", nil}, {"GET", "/members/ada/remove", nil},
	{"POST", "/members/ada/role", fields{"role": "moderator"}}, {"POST", "/members/grace/remove", fields{}}, {"POST", "/members/x/ban", fields{}}, {"POST", "/members/eve/own", fields{}},
	{"POST", "/bans/grace/lift", fields{}}, {"GET", "/bans", nil}, {"POST", "/history", fields{"history": "all"}}, {"POST", "/history", fields{}}, {"GET", "/history", nil}, {"POST", "/epoch", fields{}},
}

func TestTheNewAddressesShowAStrangerNoRoom_T37(t *testing.T) { // R62, T37
	t.Parallel()
	o := openOffice(t, quick)
	ada, eve, once := o.register("ada", "Ada Lovelace"), o.register("eve", "Eve Moneypenny"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	once.join(r)
	o.post(once, r, "By somebody who leaves")
	o.post(ada, r, "By Ada")
	once.post(r.path("/leave"), nil).wantRedirect("/rooms")
	once.get("/rooms") // takes the notice
	eve.confirm("/rooms").wantRedirect("/rooms")
	names := []string{r.id, strings.Repeat("0", 32), strings.ToUpper(r.id), r.id[:31], "x", "%00"}
	for _, stranger := range []*person{eve, once, o.visitor()} {
		for _, route := range changeRoutes {
			for _, headers := range [][]string{nil, htmx} {
				first := ""
				for _, name := range names {
					a := stranger.do(route.method, "/rooms/"+name+route.rest, route.f, headers...)
					if stranger.username != "" && a.status != 404 && a.status != 405 && a.status != 413 {
						t.Errorf("%s: %d", a.what, a.status)
					}
					if stranger.username == "" && a.status != 413 && a.status != 405 && a.status != 404 && a.header.Get("Location")+a.header.Get("HX-Redirect") != "/login" {
						t.Errorf("%s: %d to %q", a.what, a.status, a.header.Get("Location"))
					}
					if first == "" {
						first = same(a, "")
					}
					if got := same(a, ""); got != first {
						t.Errorf("%s is told apart:\n%s\nfrom\n%s", a.what, shortened(got), shortened(first))
					}
				}
			}
		}
	}
	if page := ada.get(r.path("")).want(200); !slices.Equal(page.bodies(), []string{"By somebody who leaves", "By Ada"}) || len(page.class("edited")) > 0 {
		t.Errorf("the room shows %q", page.bodies())
	}
}

func TestNothingIsChangedByReading_T28(t *testing.T) { // T28, R35
	t.Parallel()
	o := openOffice(t, quick)
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	n := o.post(ada, r, "As it was")
	ada.confirm("/rooms").wantRedirect("/rooms")
	for path, f := range map[string]fields{r.message(n, ""): {"body": "By reading"}, r.message(n, "/delete"): {}, r.path("/destroy"): {}} {
		for _, method := range []string{"GET", "HEAD"} {
			for _, headers := range [][]string{nil, htmx, {"X-HTTP-Method-Override", "POST"}} {
				if a := ada.do(method, path+"?_method=POST&"+f.encode(), nil, headers...); a.status != 404 && a.status != 405 {
					t.Errorf("%s: %d", a.what, a.status)
				}
			}
		}
		// nor by a page that is not ours
		for _, headers := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://evil.example"}, {"Origin", "-"}} {
			ada.post(path, f, headers...).want(http.StatusForbidden)
		}
	}
	ada.post("/sudo", fields{"password": password, "code": ada.code()}, "Origin", "https://evil.example").want(http.StatusForbidden)
	if page := ada.get(r.path("")).want(200); !slices.Equal(page.bodies(), []string{"As it was"}) || len(page.class("edited")) > 0 {
		t.Errorf("the room shows %q", page.bodies())
	}
}

func TestAnEditedMessageIsOnlyEverText_T33(t *testing.T) { // T33
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	bad, good := ada.createRoom("Engine room"), ada.createRoom("Harmless room")
	for _, r := range []room{bad, good} {
		grace.join(r)
	}
	n, m := o.post(ada, bad, "plain"), o.post(ada, good, "plain")
	if n != m {
		t.Fatal("the two rooms differ")
	}
	badFeed, goodFeed := grace.listen(bad), grace.listen(good)
	texts := append(slices.Clone(hostile), strings.Join(hostile, "\n"), "\n\nbegins with line breaks\n")
	for i, s := range texts {
		calm := "plain words"
		if links := strings.Count(s, "https://evil.example"); links > 0 {
			calm = strings.TrimSpace(strings.Repeat("words https://good.example ", links)) + " words"
		}
		ada.post(bad.message(n, ""), fields{"body": s}, htmx...).want(204)
		ada.post(good.message(n, ""), fields{"body": calm}, htmx...).want(204)
		e, c := badFeed.numbered(n+1+uint64(i)), goodFeed.numbered(n+1+uint64(i))
		if e.name != "" || len(e.bodies()) != 1 || e.bodies()[0] != strings.TrimSpace(s) {
			t.Errorf("the feed delivers %q as %q %q", s, e.name, e.bodies())
		}
		sameStructure(t, fmt.Sprintf("the feed, %.60q", s), e.data, c.data)
		for _, headers := range [][]string{nil, htmx} {
			// the author's form, and what others see
			a, b := ada.get(bad.message(n, "/edit"), headers...).want(200), ada.get(good.message(n, "/edit"), headers...).want(200)
			sameStructure(t, fmt.Sprintf("the form, %.60q", s), a.body, b.body)
			if got := text(a.id("edit-body")); got != s && got != "\n"+s {
				t.Errorf("the form holds %.80q, want %.80q", got, s)
			}
			a, b = grace.get(bad.message(n, "/edit"), headers...).want(200), grace.get(good.message(n, "/edit"), headers...).want(200)
			sameStructure(t, fmt.Sprintf("the dialog, %.60q", s), a.body, b.body)
			quoted := a.class("quote")
			if len(quoted) != 1 || strings.TrimSpace(text(quoted[0])) != strings.TrimSpace(s) || attr(quoted[0], "hx-ignore") == "" {
				t.Errorf("the dialog does not quote %.80q", s)
			}
			// refused, it comes back as text
			a = ada.post(bad.message(n, ""), fields{"body": s + strings.Repeat("x", 4001)}, headers...).want(422)
			b = ada.post(good.message(n, ""), fields{"body": calm + strings.Repeat("x", 4001)}, headers...).want(422)
			if len(elements(a.doc(), func(*nodeT) bool { return true })) != len(elements(b.doc(), func(*nodeT) bool { return true })) || strings.TrimPrefix(text(a.id("edit-body")), "\n") != strings.TrimPrefix(s+strings.Repeat("x", 4001), "\n") {
				t.Errorf("refused, %.80q does not come back as text", s)
			}
		}
		a, b := grace.get(bad.path("")).want(200), grace.get(good.path("")).want(200)
		if got := a.bodies(); len(got) != 1 || got[0] != strings.TrimSpace(s) {
			t.Errorf("the page shows %q", got)
		}
		if i%8 == 0 {
			sameStructure(t, fmt.Sprintf("the page, %.60q", s), a.body, b.body)
		}
	}
}

func TestAnEditOfOneWhoLeftAndALeaverHearNothing(t *testing.T) { // R63
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	grace.join(r)
	adas, graces := o.post(ada, r, "By Ada"), o.post(grace, r, "By Grace")
	l := grace.listen(r)
	grace.post(r.path("/leave"), nil).wantRedirect("/rooms")
	ada.post(r.message(adas, ""), fields{"body": "After she left"}).wantRedirect(r.path(""))
	for _, e := range l.sessionEnd(5 * time.Second) {
		if strings.Contains(e.data, "After she left") {
			t.Errorf("the leaver still hears %s", e.data)
		}
	}
	grace.post(r.message(graces, ""), fields{"body": "From outside"}).want(http.StatusNotFound)
	grace.post(r.message(graces, "/delete"), nil).want(http.StatusNotFound)
	grace.join(r) // again a member, she is still the author
	grace.post(r.message(graces, ""), fields{"body": "From inside"}).wantRedirect(r.path(""))
	if got := ada.get(r.path("")).bodies(); !slices.Equal(got, []string{"After she left", "From inside"}) {
		t.Errorf("the room shows %q", got)
	}
}
