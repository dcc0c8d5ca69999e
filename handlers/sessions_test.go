package handlers_test

import (
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

const (
	chromeOnLinux = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"
	safariOnPhone = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 Mobile/15E148 Safari/604.1"
)

// loginWith signs the same account in from a browser that calls itself so.
func (p *person) loginWith(agent string) *person {
	p.o.t.Helper()
	other := p.o.visitor()
	other.username, other.fullName, other.password, other.secret = p.username, p.fullName, p.password, p.secret
	other.post("/login", p.credentials(p.code()), "User-Agent", agent).wantRedirect("/rooms")
	return other
}

// sessions are the entries of the list: what each says, and where its form leads ("" for none).
func (p *person) sessions() (said, ends []string) {
	p.o.t.Helper()
	for _, li := range p.get("/account/sessions").want(200).class("session") {
		said = append(said, strings.Join(strings.Fields(text(li)), " "))
		end := ""
		for _, form := range elements(li, func(n *html.Node) bool { return n.Data == "form" }) {
			end = attr(form, "action")
		}
		ends = append(ends, end)
	}
	return said, ends
}

func TestTheListOfSessionsNamesThemAndHoldsNoToken(t *testing.T) { // R29
	t.Parallel()
	o := openOffice(t)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	grace.login()
	phone := ada.loginWith(safariOnPhone)
	tool := ada.loginWith("<b>a tool that nobody knows and that has a very long name</b>")
	o.clock.advance(2 * time.Minute)
	here := ada.loginWith(chromeOnLinux)
	page := here.get("/account/sessions").want(200)
	said, ends := here.sessions()
	if len(said) != 4 || !strings.HasPrefix(said[0], "Chrome on Linux this one") || !strings.Contains(said[0], "127.0.0.1, logged in") || ends[0] != "" {
		t.Fatalf("the list says %q, %q", said, ends)
	}
	all := strings.Join(said, "\n")
	for _, want := range []string{"Safari on iPhone", "<b>a tool that nobody knows and that has…"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
	for _, p := range []*person{ada, phone, tool, here} {
		hash := o.store.SessionHash(p.sid())
		for what, secret := range map[string]string{"token": p.sid(), "hash": hex.EncodeToString(hash[:]), "half of the hash": hex.EncodeToString(hash[:8])} {
			if strings.Contains(strings.ToLower(page.body), strings.ToLower(secret)) {
				t.Errorf("the page holds the %s of a session", what)
			}
		}
	}
	if got := strings.Join(strings.Fields(text(page.id("sign-in-before"))), " "); !strings.Contains(got, "127.0.0.1") {
		t.Errorf("of the login before it says %q", got)
	}
	if len(elements(ada.get("/account/sessions").want(200).doc(), func(n *html.Node) bool { return attr(n, "id") == "sign-in-before" })) > 0 {
		t.Error("the first session knows of a login before")
	}
	// what is over is not listed
	phone.post("/logout", nil).wantRedirect("/login")
	if said, _ := here.sessions(); len(said) != 3 {
		t.Errorf("after a logout the list says %q", said)
	}
}

func TestAnEndedSessionIsOutAtOnceWithAllThatItHasOpen_T21(t *testing.T) { // R29, R30
	t.Parallel()
	o := openOffice(t)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	phone := ada.loginWith(safariOnPhone)
	streams := []*listener{phone.listen(r), phone.stream("/feed")}
	own := ada.listen(r)
	ada.confirm("/account/sessions").wantRedirect("/account/sessions")
	own.ends(2 * time.Second) // the confirmation has renewed the session
	own = ada.listen(r)

	_, ends := ada.sessions()
	var end string
	for _, e := range ends {
		if e != "" {
			end = e
		}
	}
	grace.confirm("/account/sessions").wantRedirect("/account/sessions")
	grace.post(end, nil).wantRedirect("/account/sessions") // not hers
	phone.get("/rooms").want(200)
	ada.post("/account/sessions/"+strings.Repeat("0", 32)+"/end", nil).wantRedirect("/account/sessions")
	phone.get("/rooms").want(200)

	ada.post(end, nil).wantRedirect("/account/sessions")
	for _, s := range streams {
		if events := s.ends(2 * time.Second); len(events) == 0 || events[len(events)-1].name != "session-end" {
			t.Errorf("a stream of the ended session ends with %v", events)
		}
	}
	phone.out()
	ada.get("/account/sessions").want(200).contains("That session has ended.")
	ada.post(end, nil).wantRedirect("/account/sessions") // again, from an old page
	ada.get("/account/sessions").want(200).contains("had ended already")

	others := []*person{ada.login(), ada.login(), ada.login()}
	ada.post("/account/sessions/end-others", nil).wantRedirect("/account/sessions")
	for _, p := range others {
		p.out()
	}
	if said, _ := ada.sessions(); len(said) != 1 {
		t.Errorf("the list says %q", said)
	}
	grace.get("/rooms").want(200)
	ada.say(r, "Still here")
	own.message("Still here")
}

func TestTheEleventhSessionEndsTheOldest(t *testing.T) { // R29
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	first := ada.login()
	var last *person
	for range 9 {
		last = ada.login()
	}
	ada.out()
	first.get("/rooms").want(200)
	if said, _ := last.sessions(); len(said) != 10 {
		t.Errorf("%d sessions", len(said))
	}
}

func TestBrowserEndingASessionClosesItsPages(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	stolen := ada.login()
	b, s := ada.browserOf(), stolen.browserOf()
	second := b.secondTab()
	second.open(r.path(""))
	second.at(r.path(""))
	s.open(r.path(""))
	s.at(r.path(""))
	s.expectStatus(401, "/")
	b.resize(375, 700)
	b.open("/account/sessions")
	b.click(".session button")
	b.at("/sudo?next=/account/sessions")
	b.fill("#password", password)
	b.fill("#code", ada.code())
	b.click("#sudo button.primary")
	b.at("/account/sessions")
	if b.look("document.documentElement.scrollWidth > innerWidth") {
		t.Error("the page is wider than a phone")
	}
	b.click(".session button")
	b.until("what has happened", `document.querySelector(".notice")?.textContent.includes("has ended")`)
	s.at("/login")
	// Ada's other page has stayed, through the renewal of its session.
	second.at(r.path(""))
	if b.look(`document.querySelectorAll(".session").length !== 1`) {
		t.Error("the list still names the ended session")
	}
}
