package handlers_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

const linuxFirefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"

// notices are the texts of the notices on a page.
func (a *answer) notices() (texts []string) {
	a.t.Helper()
	for _, n := range a.class("notice") {
		texts = append(texts, strings.Join(strings.Fields(text(n)), " "))
	}
	return texts
}

func TestTheFirstPageAfterALoginTellsOfFailedOnes(t *testing.T) { // R24
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	ada = o.known(ada.device()).as(ada)
	ada.post("/login", ada.credentials(ada.code())).wantRedirect("/rooms")
	if got := ada.get("/rooms").want(200).notices(); len(got) > 0 {
		t.Errorf("after a quiet time: %q", got)
	}
	for range 2 {
		o.visitorFrom("127.0.0.6").fails("ada").want(422)
	}
	ada.post("/login", ada.credentials(ada.code())).wantRedirect("/rooms")
	page := ada.get(r.path("")).want(200)
	got := page.notices()
	if len(got) != 1 || !strings.HasPrefix(got[0], "2 failed attempts to log in to your account since ") || !strings.Contains(got[0], "from 127.0.0.1") || strings.Contains(got[0], "right password") {
		t.Errorf("after two failures: %q", got)
	}
	if times := elements(page.class("notice")[0], func(n *nodeT) bool { return n.Data == "local-time" }); len(times) != 2 {
		t.Errorf("the notice has %d local times", len(times))
	}
	if got := ada.get(r.path("")).want(200).notices(); len(got) > 0 {
		t.Errorf("a second time: %q", got)
	}

	o.visitorFrom("127.0.0.6").post("/login", ada.credentials("000000")).want(422)
	o.known(ada.device()).fails("ada").want(422) // the own device's failures count too
	ada.post("/login", ada.credentials(ada.code())).wantRedirect("/rooms")
	page = ada.get("/rooms").want(200)
	if got := page.notices(); len(got) != 1 || !strings.Contains(got[0], "2 failed attempts") || !strings.Contains(got[0], "One of them had the right password") {
		t.Errorf("after a right password with a wrong code: %q", got)
	}
	if !strings.Contains(page.body, `href="/account/password"`) {
		t.Error("no way leads to a new password")
	}

	// a login with a recovery code says so when it is complete
	o.visitorFrom("127.0.0.6").fails("ada").want(422)
	lost := o.visitor()
	lost.post("/login", ada.credentials(ada.recovery[0])).wantRedirect("/login/enrol")
	lost.secret = strings.Join(strings.Fields(text(lost.get("/login/enrol").want(200).id("totp-secret"))), "")
	lost.post("/login/enrol", fields{"code": lost.code()}).wantRedirect("/rooms")
	if got := lost.get("/rooms").want(200).notices(); len(got) != 2 || !strings.Contains(got[0], "recovery codes") || !strings.HasPrefix(got[1], "One failed attempt to log in") {
		t.Errorf("after a login with a recovery code: %q", got)
	}
	if lost.device() == "" {
		t.Error("the new browser is not known")
	}
}

// as makes a browser that person's.
func (p *person) as(other *person) *person {
	p.username, p.fullName, p.password, p.secret, p.recovery = other.username, other.fullName, other.password, other.secret, other.recovery
	return p
}

func TestALoginOnANewDeviceIsNewsToTheOtherSessions(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	grace := o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	grace.join(r)
	inRoom, outside, graces := ada.listen(r), ada.stream("/feed"), grace.stream("/feed")
	ada.get(r.path("")).want(200) // is kept
	if got := ada.get("/rooms").want(200).notices(); len(got) > 0 {
		t.Fatalf("the registration is news: %q", got)
	}

	fresh := o.visitorFrom("127.0.0.5").as(ada)
	fresh.post("/login", ada.credentials(ada.code()), "User-Agent", linuxFirefox).wantRedirect("/rooms")
	const says = "A new device logged in to your account: Firefox on Linux, from 127.0.0.5,"
	for name, stream := range map[string]*listener{"room": inRoom, "rooms": outside} {
		e := stream.next("the news in the "+name, func(e event) bool { return strings.Contains(e.data, "A new device") })
		if e.id != "" || !strings.Contains(e.data, `hx-target="#news"`) {
			t.Errorf("the %s is told %q", name, e.data)
		}
	}
	for _, path := range []string{r.path(""), "/rooms", "/sudo", r.path("")} {
		if got := ada.get(path).want(200).notices(); len(got) != 1 || !strings.HasPrefix(got[0], says) {
			t.Errorf("%s: %q", path, got)
		}
	}
	for name, other := range map[string]*person{"the new device itself": fresh, "somebody else": grace} {
		if got := other.get(r.path("")).want(200).notices(); len(got) > 0 {
			t.Errorf("%s is told %q", name, got)
		}
	}
	// not a second time from the same device, and the news outlive a new token and a restart
	fresh.post("/login", ada.credentials(ada.code()), "User-Agent", linuxFirefox).wantRedirect("/rooms")
	fresh.post("/logout", nil)
	ada.post("/sudo", ada.credentials(ada.code())).want(http.StatusSeeOther)
	o.restart()
	ada.reconnect()
	if got := ada.get("/rooms").want(200).notices(); len(got) != 1 || strings.Count(got[0], "A new device") != 1 {
		t.Errorf("after a restart: %q", got)
	}
	// until they are dismissed
	outside = ada.stream("/feed")
	outside.next("the news", func(e event) bool { return strings.Contains(e.data, "A new device") })
	grace.reconnect()
	grace.post("/account/news", nil, "Referer", o.server.URL+r.path("")).wantRedirect(r.path(""))
	if got := ada.get("/rooms").want(200).notices(); len(got) != 1 {
		t.Errorf("somebody else has dismissed them: %q", got)
	}
	if a := ada.post("/account/news", nil, htmx...).want(200); strings.TrimSpace(a.body) != "" {
		t.Errorf("the answer is %q", a.body)
	}
	outside.next("nothing any more", func(e event) bool {
		return strings.Contains(e.data, `hx-target="#news"`) && !strings.Contains(e.data, "A new device")
	})
	if got := ada.get(r.path("")).want(200).notices(); len(got) > 0 {
		t.Errorf("after they were dismissed: %q", got)
	}
	for _, evil := range []string{"https://evil.example/rooms", "", ":", o.server.URL + "//evil.example"} {
		ada.post("/account/news", nil, "Referer", evil).wantRedirect("/rooms")
	}
	graces.cancel()
	for e := range graces.events {
		if strings.Contains(e.data, "A new device") {
			t.Error("Grace's page tells of Ada's device")
		}
	}
}

func TestNewsCannotBePlanted(t *testing.T) { // C14
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	elsewhere := ada.login()
	o.holdsNothingOf(map[string]string{"the news": "Go-http-client"})
	if got := ada.get("/rooms").want(200).notices(); len(got) != 1 {
		t.Fatalf("the news are %q", got)
	}
	const newest = " WHERE auth_ms = (SELECT max(auth_ms) FROM sessions)"
	for name, planted := range map[string]string{"the news of another session": "(SELECT news FROM sessions WHERE news IS NOT NULL LIMIT 1)", "a session's own data": "data"} {
		o.tamper("UPDATE sessions SET news = " + planted + newest)
		if got := elsewhere.get("/rooms").want(200).notices(); len(got) > 0 {
			t.Errorf("%s: %q", name, got)
		}
		o.tamper("UPDATE sessions SET news = NULL" + newest)
	}
	o.tamper("UPDATE sessions SET data = (SELECT news FROM sessions WHERE news IS NOT NULL LIMIT 1)" + newest) // nor do news become a session
	elsewhere.get("/rooms").wantRedirect("/login")
}

func TestAFewLastNewsAreKeptAndNothingTypedByABrowserIsMarkup(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	for range 7 {
		o.visitor().post("/login", ada.credentials(ada.code()), "User-Agent", `<script>alert(1)</script> Chrome/1.0 (Windows)`+strings.Repeat("x", 300)).wantRedirect("/rooms")
		o.clock.advance(time.Minute)
	}
	page := ada.get("/rooms").want(200)
	if got := page.notices(); len(got) != 1 || strings.Count(got[0], "Chrome on Windows") != 5 {
		t.Errorf("the notice says %q", got)
	}
	if slices.ContainsFunc(elements(page.doc(), func(n *nodeT) bool { return n.Data == "script" }), func(n *nodeT) bool { return attr(n, "src") == "" }) {
		t.Error("a browser's name is markup")
	}
}

func TestTheNewsOfANewDeviceComeToTheOpenRoomAndGoWithOneClick(t *testing.T) {
	o := openOffice(t, quick)
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	b := ada.browserOf()
	b.open(r.path(""))
	b.until("the feed", `document.body.dataset.line === "up"`)
	b.resize(375, 700)
	o.visitorFrom("127.0.0.5").post("/login", ada.credentials(ada.code()), "User-Agent", linuxFirefox).wantRedirect("/rooms")
	b.until("the news", `document.querySelector("#news .notice")?.textContent.includes("Firefox on Linux, from 127.0.0.5")`)
	b.until("the composer in view", `(() => { const at = document.querySelector("chat-composer").getBoundingClientRect(); return at.height > 0 && at.bottom <= innerHeight; })()`)
	b.until("no sideways scrolling", `document.documentElement.scrollWidth <= innerWidth`)
	b.click("#news button")
	b.until("no news any more", `!document.querySelector(".notice")`)
	b.until("still the room", `location.pathname === "`+r.path("")+`"`)
}
