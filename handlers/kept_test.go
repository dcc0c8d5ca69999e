package handlers_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// A page that was shown before is kept; whatever ends or changes something is seen in the very
// next one, by everybody.
func TestAPageThatIsKeptIsNewAsSoonAsSomethingHasChanged(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace, linus := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper"), o.register("linus", "Linus Pauling")
	r := ada.createRoom("Engine room")
	grace.join(r)
	n := o.post(ada, r, "first")
	o.post(grace, r, "second")
	shows := func(when string, p *person, bodies ...string) *answer {
		t.Helper()
		var a *answer
		for range 3 {
			a = p.get(r.path("")).want(200)
			if got := a.bodies(); !slices.Equal(got, bodies) {
				t.Fatalf("%s: %s is shown %q", when, p.username, got)
			}
		}
		return a
	}
	names := func(a *answer) (list []string) {
		for _, li := range a.class("member") {
			list = append(list, attr(li, "data-username"))
		}
		return list
	}
	for _, p := range []*person{ada, grace} {
		shows("at first", p, "first", "second")
	}
	ada.post(r.message(n, ""), fields{"body": "first, corrected"}).wantRedirect(r.path(""))
	for _, p := range []*person{ada, grace} {
		shows("after an edit", p, "first, corrected", "second")
	}
	ada.post(r.message(n, "/delete"), nil).wantRedirect(r.path(""))
	for _, p := range []*person{ada, grace} {
		if a := shows("after a removal", p, "second"); strings.Contains(a.body, "corrected") {
			t.Errorf("%s still has the text", p.username)
		}
	}
	linus.get(r.path("")).want(http.StatusNotFound)
	linus.join(r)
	for _, p := range []*person{ada, grace, linus} {
		if got := names(shows("after a join", p, "second")); !slices.Equal(got, []string{"ada", "grace", "linus"}) {
			t.Errorf("%s sees the members %q", p.username, got)
		}
	}
	grace.post(r.path("/leave"), nil).wantRedirect("/rooms")
	grace.get(r.path("")).want(http.StatusNotFound)
	for _, p := range []*person{ada, linus} {
		if got := names(shows("after a departure", p, "second")); !slices.Equal(got, []string{"ada", "linus"}) {
			t.Errorf("%s sees the members %q", p.username, got)
		}
	}
	// who is here now, and what belongs to the reader alone
	here := func() (list []string) {
		for _, li := range ada.get(r.path("")).want(200).class("member") {
			if attr(li, "data-here") != "" {
				list = append(list, attr(li, "data-username"))
			}
		}
		return list
	}
	if got := here(); slices.Contains(got, "linus") {
		t.Errorf("before he has come, here are %q", got)
	}
	linus.listen(r)
	if got := here(); !slices.Contains(got, "linus") {
		t.Errorf("here are %q", got)
	}
	if a := shows("the owner", ada, "second"); !strings.Contains(a.body, r.path("/settings")) || attr(a.id("messages"), "data-me") != "ada" {
		t.Error("the owner's page is not the owner's")
	}
	if a := shows("a member", linus, "second"); strings.Contains(a.body, r.path("/settings")) || attr(a.id("messages"), "data-me") != "linus" {
		t.Error("a member's page is somebody else's")
	}
	ids := map[string]bool{}
	for range 5 {
		for _, in := range elements(ada.get(r.path("")).doc(), func(n *nodeT) bool { return attr(n, "name") == "client_id" }) {
			ids[attr(in, "value")] = true
		}
	}
	if len(ids) != 5 {
		t.Errorf("five pages have %d client ids", len(ids))
	}
	elsewhere := strings.Replace(strings.TrimPrefix(o.server.URL, "https://"), "127.0.0.1", "localhost", 1)
	for host, want := range map[string]string{"": "https://127.0.0.1:", elsewhere: "https://localhost:"} {
		var headers []string
		if host != "" {
			headers = []string{"Host", host, "Cookie", "__Host-sid=" + ada.sid()}
		}
		for range 2 {
			if link := text(ada.get(r.path(""), headers...).want(200).id("join-link")); !strings.HasPrefix(link, want) {
				t.Errorf("asked as %q the link is %q", host, link)
			}
		}
	}
	// a logout in another tab, an account that is disabled, a room that is destroyed
	tab := o.with(linus.sid())
	tab.get(r.path("")).want(200)
	linus.post("/logout", nil).want(http.StatusSeeOther)
	if a := tab.get(r.path("")); a.status != http.StatusSeeOther || !strings.HasPrefix(a.header.Get("Location"), "/login") {
		t.Errorf("after a logout: %d to %q", a.status, a.header.Get("Location"))
	}
	linus = linus.login()
	shows("after another login", linus, "second")
	o.tamper("UPDATE users SET disabled_ms = 1 WHERE id = (SELECT user_id FROM sessions WHERE revoked_ms IS NULL AND user_id <> zeroblob(16) ORDER BY auth_ms DESC LIMIT 1)")
	if a := linus.get(r.path("")); a.status != http.StatusSeeOther || !strings.HasPrefix(a.header.Get("Location"), "/login") {
		t.Errorf("disabled: %d to %q", a.status, a.header.Get("Location"))
	}
	shows("before the end", ada, "second")
	ada.confirm(r.path("/settings")).want(http.StatusSeeOther)
	ada.post(r.path("/destroy"), nil).wantRedirect("/rooms")
	if a := ada.get(r.path("")).want(http.StatusNotFound); strings.Contains(a.body, "second") {
		t.Error("a destroyed room is shown")
	}
}

// A page's notice is shown once, and is no part of what is kept.
func TestANoticeOnTheRoomsPageIsShownOnce(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	ada.get(r.path("")).want(200)
	before := len(ada.get(r.path("")).want(200).class("notice"))
	ada.post(r.path("/epoch"), nil).want(http.StatusSeeOther)
	if got := len(ada.get(r.path("")).want(200).class("notice")); got != before+1 {
		t.Errorf("%d notices, and %d before", got, before)
	}
	if got := len(ada.get(r.path("")).want(200).class("notice")); got != before {
		t.Errorf("then %d notices, and %d before", got, before)
	}
}
