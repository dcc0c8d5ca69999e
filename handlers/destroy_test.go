package handlers_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// confirm gives password and code again.
func (p *person) confirm(next string, headers ...string) *answer {
	p.o.t.Helper()
	return p.post("/sudo", fields{"password": p.password, "code": p.code(), "next": next}, headers...)
}

func (p *person) asksToConfirm(r room) {
	p.o.t.Helper()
	p.post(r.path("/destroy"), nil).wantRedirect("/sudo?next=" + r.path("/settings"))
	if a := p.post(r.path("/destroy"), nil, htmx...).want(204); a.header.Get("HX-Redirect") != "/sudo?next="+r.path("/settings") {
		p.o.t.Errorf("htmx is led to %q", a.header.Get("HX-Redirect"))
	}
}

func (p *person) still(r room, bodies ...string) {
	p.o.t.Helper()
	if got := p.get(r.path("")).want(200).bodies(); !slices.Equal(got, bodies) {
		p.o.t.Fatalf("the room shows %q, want %q", got, bodies)
	}
}

func TestNothingIsDestroyedWithoutPasswordAndCode_T26(t *testing.T) { // R33
	t.Parallel()
	o := openOffice(t, quick)
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	ada.say(r, "It stays")
	ada.asksToConfirm(r)
	ada.still(r, "It stays")
	sid := ada.sid()
	used := ada.code()
	ada.post("/sudo", fields{"password": "wrong lantern over the harbour", "code": used, "next": r.path("/settings")}).want(422)
	for name, f := range map[string]fields{
		"nothing":               {},
		"no code":               {"password": password},
		"no password":           {"code": ada.codeAt(0)},
		"a wrong code":          {"password": password, "code": "000000"},
		"a code from afar":      {"password": password, "code": ada.codeAt(-5)},
		"a recovery code":       {"password": password, "code": ada.recovery[0]},
		"a recovery code, bare": {"password": password, "code": strings.ReplaceAll(ada.recovery[1], "-", "")},
		"a very long password":  {"password": strings.Repeat("x", 2000), "code": ada.codeAt(0)},
	} {
		f["next"] = r.path("/settings")
		for _, headers := range [][]string{nil, htmx} {
			o.forgetFailures() // what refuses is not the wait
			a := ada.post("/sudo", f, headers...).want(422)
			if strings.TrimSpace(text(a.id("problem"))) == "" || strings.Contains(a.body, f["password"]) && f["password"] != "" {
				t.Errorf("%s: the page says nothing, or the password", name)
			}
			if a.session() != nil {
				t.Errorf("%s gives a new session", name)
			}
		}
		ada.asksToConfirm(r)
	}
	if ada.sid() != sid {
		t.Error("the session has changed")
	}
	// a code works once
	code := ada.code()
	ada.post("/sudo", fields{"password": password, "code": code, "next": "/rooms"}).wantRedirect("/rooms")
	ada.post("/sudo", fields{"password": password, "code": code, "next": "/rooms"}).want(422)
	o.clock.advance(11 * time.Minute)
	ada.asksToConfirm(r)
	signedIn := ada.code() // nor does one that was used to log in
	o.visitor().post("/login", ada.credentials(signedIn)).wantRedirect("/rooms")
	ada.post("/sudo", fields{"password": password, "code": signedIn, "next": "/rooms"}).want(422)
	ada.asksToConfirm(r)
	ada.still(r, "It stays")
	// the recovery code was not used up
	o.visitor().post("/login", ada.credentials(ada.recovery[0])).wantRedirect("/login/enrol")
	// and nobody confirms who is nobody
	o.visitor().get("/sudo").wantRedirect("/login")
	o.visitor().post("/sudo", fields{"password": password, "code": ada.code()}).wantRedirect("/login")
	ada.get("/sudo?next=" + r.path("/settings")).want(200)
}

func TestAConfirmationGivesANewSessionAndItsStreamsComeBack(t *testing.T) { // R27, R33
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	grace.join(r)
	other := ada.login()
	streams := []*listener{ada.listen(r), ada.listen(r)}
	others, graces := other.listen(r), grace.listen(r)
	for _, l := range append(slices.Clone(streams), others, graces) {
		l.next("who is here", func(e event) bool { return e.id == "" })
	}
	old := ada.sid()
	a := ada.confirm(r.path("/settings"))
	a.wantRedirect(r.path("/settings"))
	if c := a.session(); c == nil || c.Value == old || c.Value == "" || !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteLaxMode {
		t.Fatalf("the new session is %v", c)
	}
	o.with(old).out()
	for _, l := range streams {
		for _, e := range l.ends(5 * time.Second) {
			if e.name == "session-end" {
				t.Error("a page is told to leave, although its person stays logged in")
			}
		}
	}
	ada.say(r, "Still here")
	ada.listen(r)
	for _, l := range []*listener{others, graces} { // whom it does not concern
		l.message("Still here")
	}
	// it is for this session only
	other.asksToConfirm(r)
	ada.post(r.path("/destroy"), nil).wantRedirect("/rooms")
}

func TestAConfirmationLastsTenMinutes_T26(t *testing.T) { // R33
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	first, second, third := ada.createRoom("First"), ada.createRoom("Second"), ada.createRoom("Third")
	ada.asksToConfirm(first)
	ada.confirm(first.path("/settings")).wantRedirect(first.path("/settings"))
	ada.post(first.path("/destroy"), nil).wantRedirect("/rooms")
	o.clock.advance(9*time.Minute + 45*time.Second)
	ada.get(second.path("/settings")).want(200) // using the session does not prolong it
	ada.post(second.path("/destroy"), nil).wantRedirect("/rooms")
	o.clock.advance(16 * time.Second)
	ada.asksToConfirm(third)
	ada.still(third)
	ada.confirm(third.path("/settings"), htmx...).want(204)
	ada.post(third.path("/destroy"), nil, htmx...).want(204)
	ada.get(third.path("")).want(http.StatusNotFound)
	// a new login is no confirmation
	fourth := ada.createRoom("Fourth")
	ada.login().asksToConfirm(fourth)
}

func TestNobodyGuessesAtAConfirmationMoreThanTenTimesInFifteenMinutes(t *testing.T) { // R21, R33
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	browsers := []*person{ada, ada.login()}
	judged, waited := 0, 0
	for i := range 90 { // one try each ten seconds
		switch a := browsers[i%2].post("/sudo", fields{"password": password, "code": "000000", "next": r.path("/settings")}); a.status {
		case http.StatusUnprocessableEntity:
			judged++
		case http.StatusTooManyRequests:
			waited++
		default:
			t.Errorf("%s: %d", a.what, a.status)
		}
		o.clock.advance(10 * time.Second)
	}
	if judged < 5 || judged > 10 {
		t.Errorf("%d guesses were judged in a quarter of an hour, %d had to wait", judged, waited)
	}
	browsers[0].post("/sudo", fields{"password": password, "code": "000000", "next": r.path("/settings")})
	for _, p := range browsers {
		for _, headers := range [][]string{nil, htmx} {
			a := p.post("/sudo", fields{"password": password, "code": ada.codeAt(0), "next": r.path("/settings")}, headers...).want(http.StatusTooManyRequests)
			if a.header.Get("Retry-After") == "" || strings.TrimSpace(text(a.id("problem"))) == "" {
				t.Error("nothing says how long to wait")
			}
		}
		p.asksToConfirm(r)
	}
}

func TestAConfirmationLeadsNowhereElse(t *testing.T) { // R37
	t.Parallel()
	o := openOffice(t, quick)
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	evil := []string{
		"https://evil.example", "//evil.example", "/\\evil.example", "\\/evil.example", "/%2fevil.example", "///evil.example", "/\t/evil.example", "javascript:alert(1)",
		"data:text/html,x", "evil.example", "@evil.example", "/rooms?x=//evil", "/rooms#x", "/rooms/../..//evil", "/rooms\r\nX-Evil: 1", "/rooms\x00", "/röoms", "",
	}
	for _, next := range evil {
		page := ada.get("/sudo?next=" + queryEscape(next)).want(200)
		if got := attr(elements(page.doc(), func(n *nodeT) bool { return attr(n, "name") == "next" })[0], "value"); got != "/rooms" && got != "" {
			t.Errorf("the form carries %q on", got)
		}
		for _, link := range elements(page.doc(), func(n *nodeT) bool { return n.Data == "a" }) {
			if strings.Contains(attr(link, "href"), "evil") {
				t.Errorf("the page links to %q", attr(link, "href"))
			}
		}
		o.forgetFailures() // what refuses is not the wait
		refused := ada.post("/sudo", fields{"password": password, "code": "000000", "next": next}).want(422)
		if got := attr(elements(refused.doc(), func(n *nodeT) bool { return attr(n, "name") == "next" })[0], "value"); got != "/rooms" && got != "" {
			t.Errorf("the refused form carries %q on", got)
		}
	}
	o.forgetFailures()
	for i, next := range evil {
		if i%2 == 0 {
			ada.confirm(next).wantRedirect("/rooms")
		} else if a := ada.confirm(next, htmx...).want(204); a.header.Get("HX-Redirect") != "/rooms" {
			t.Errorf("HX-Redirect: %q", a.header.Get("HX-Redirect"))
		}
	}
	ada.confirm(r.path("/settings")).wantRedirect(r.path("/settings"))
}

func TestOnlyTheOwnerSeesTheSettingsAndDestroys_T38(t *testing.T) { // R61
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	grace.join(r)
	ada.say(r, "It stays")
	ada.get(r.path("/settings")).want(200).contains("Engine room")
	ada.get(r.path("")).contains(r.path("/settings"))
	grace.get(r.path("/settings")).want(http.StatusForbidden)
	grace.get(r.path("/settings"), htmx...).want(http.StatusForbidden)
	if strings.Contains(grace.get(r.path("")).body, r.path("/settings")) {
		t.Error("a member is shown the way to the settings")
	}
	grace.post(r.path("/destroy"), nil) // whatever it says without a confirmation
	grace.confirm("/rooms").wantRedirect("/rooms")
	for _, headers := range [][]string{nil, htmx} {
		grace.post(r.path("/destroy"), nil, headers...).want(http.StatusForbidden)
	}
	grace.still(r, "It stays")
	// and when she is the owner, she may
	ada.post(r.path("/leave"), nil).wantRedirect("/rooms")
	grace.get(r.path("/settings")).want(200)
	grace.post(r.path("/destroy"), nil).wantRedirect("/rooms")
	grace.get(r.path("")).want(http.StatusNotFound)
}

// files are the database and its write-ahead log, byte by byte.
func (o *office) files() []byte {
	o.t.Helper()
	var all []byte
	for _, name := range []string{"conclave.db", "conclave.db-wal"} {
		raw, err := os.ReadFile(filepath.Join(o.dir, name))
		if err != nil && !os.IsNotExist(err) {
			o.t.Fatal(err)
		}
		all = append(all, raw...)
	}
	return all
}

func TestADestroyedRoomIsGoneForEverybody(t *testing.T) { // C10
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace, zoe := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper"), o.register("zoe", "Zoe Washburne")
	r, other := ada.createRoom("Engine room"), ada.createRoom("Library")
	for _, p := range []*person{grace, zoe} {
		p.join(r)
		p.join(other)
	}
	n := o.post(grace, r, "Nanoseconds are eleven inches long")
	for range 50 {
		o.post(ada, r, "So that there is something to overwrite")
	}
	o.post(ada, other, "This room stays")

	// what must be gone from the files afterwards
	db := o.intruder()
	traces := map[string][]byte{}
	for what, query := range map[string]string{
		"a message": fmt.Sprintf("SELECT envelope FROM messages WHERE lower(hex(room_id)) = '%s' AND n = %d", r.plainID(), n),
		"a key":     fmt.Sprintf("SELECT wrapped FROM room_keys WHERE lower(hex(room_id)) = '%s'", r.plainID()),
		"the name":  fmt.Sprintf("SELECT name FROM rooms WHERE lower(hex(id)) = '%s'", r.plainID()),
		"the code":  fmt.Sprintf("SELECT code FROM rooms WHERE lower(hex(id)) = '%s'", r.plainID()),
	} {
		var raw []byte
		if err := db.QueryRow(query).Scan(&raw); err != nil || len(raw) < 32 {
			t.Fatalf("%s: %d bytes, %v", what, len(raw), err)
		}
		traces[what] = raw
		if !bytes.Contains(o.files(), raw) {
			t.Errorf("%s is not in the files even before", what)
		}
	}
	ada.confirm(r.path("/settings")).wantRedirect(r.path("/settings"))
	streams := []*listener{ada.listen(r), grace.listen(r), grace.listen(r), zoe.listen(r)}
	elsewhere := zoe.listen(other)
	for _, l := range append(slices.Clone(streams), elsewhere) {
		l.next("who is here", func(e event) bool { return e.id == "" })
	}
	ada.post(r.path("/destroy"), nil).wantRedirect("/rooms")
	for _, l := range streams {
		l.sessionEnd(2 * time.Second)
	}
	if notice := text(ada.get("/rooms").want(200).id("main")); !strings.Contains(notice, "destroyed") {
		t.Errorf("nothing says that the room is destroyed: %.200s", notice)
	}
	for _, p := range []*person{ada, grace, zoe} {
		if page := p.get("/rooms").want(200); strings.Contains(page.body, r.id) || strings.Contains(page.body, "Engine room") || strings.Contains(page.body, "cannot be opened") || !strings.Contains(page.body, "Library") {
			t.Errorf("the rooms of %s: %s", p.username, text(page.id("main")))
		}
		for _, route := range append(slices.Clone(changeRoutes), roomRoutes...) {
			if route.method != "GET" && route.method != "POST" {
				continue
			}
			a := p.do(route.method, r.path(route.rest), route.f)
			unknown := p.do(route.method, "/rooms/"+strings.Repeat("0", 32)+route.rest, route.f)
			if same(a, "") != same(unknown, "") || a.status != 404 && a.status != 405 && a.status != 413 {
				t.Errorf("%s (%d) is told apart from a room that never was (%d)", a.what, a.status, unknown.status)
			}
		}
		refused := p.post("/rooms/join", fields{"code": r.code}).want(http.StatusNotFound)
		if wrong := p.post("/rooms/join", fields{"code": "AAAA-AAAA-AAAA-AAAA"}).want(http.StatusNotFound); strings.ReplaceAll(same(refused, ""), r.code, "CODE") != strings.ReplaceAll(same(wrong, ""), "AAAA-AAAA-AAAA-AAAA", "CODE") {
			t.Error("the code of a destroyed room is told apart from one that never was")
		}
	}
	late := time.Now().Add(15 * time.Second)
	for what, raw := range traces {
		for bytes.Contains(o.files(), raw) {
			if time.Now().After(late) {
				t.Errorf("%s is still in the database file or its log", what)
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	// the others go on
	o.post(ada, other, "And it goes on")
	elsewhere.message("And it goes on")
	o.restart()
	for _, p := range []*person{ada, grace} {
		p.reconnect()
		p.get(r.path("")).want(http.StatusNotFound)
		p.still(other, "This room stays", "And it goes on")
		p.post("/rooms/join", fields{"code": r.code}).want(http.StatusNotFound)
	}
}

// proofShown is the sentence with a number and a fingerprint.
func (a *answer) proofShown() string {
	a.t.Helper()
	return strings.TrimSpace(text(a.id("room-proof")))
}

func TestAFingerprintStaysWhatItWas(t *testing.T) { // C6
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	grace.join(r)
	first := o.post(ada, r, "first")
	shown := ada.get(r.path("")).want(200).proofShown()
	if !strings.HasPrefix(shown, fmt.Sprintf("n %d: ", first)) || len(shown) != len(fmt.Sprintf("n %d: XXXX-XXXX", first)) {
		t.Fatalf("the room shows %q", shown)
	}
	if graces := grace.get(r.path("")).proofShown(); graces != shown {
		t.Errorf("Grace sees %q, Ada %q", graces, shown)
	}
	later := o.post(grace, r, "second")
	grace.post(r.message(later, ""), fields{"body": "changed"}).wantRedirect(r.path(""))
	ada.post(r.message(first, "/delete"), nil).wantRedirect(r.path(""))
	head := later + 2
	for range 2 {
		for _, p := range []*person{ada, grace} {
			if got := p.get(r.path(fmt.Sprintf("/proof?n=%d", first))).want(200).proofShown(); got != shown {
				t.Errorf("the page shows %q, the room showed %q", got, shown)
			}
			if now := p.get(r.path("")).proofShown(); now == shown || now != p.get(r.path(fmt.Sprintf("/proof?n=%d", head))).want(200).proofShown() {
				t.Errorf("now the room shows %q", now)
			}
		}
		o.restart()
		ada.reconnect()
		grace.reconnect()
	}
	for _, n := range []string{"0", fmt.Sprint(head + 1), "9223372036854775807", "9223372036854775808", "-1", "x", "1e1", "<b>", "", `"><b>`} {
		a := ada.get(r.path("/proof?n=" + queryEscape(n))).want(422)
		if got := attr(a.id("n"), "value"); got != n {
			t.Errorf("%q has become %q", n, got)
		}
		if strings.Contains(a.body, `id="room-proof"`) {
			t.Errorf("%q has a fingerprint", n)
		}
	}
	// another room's fingerprints are others
	other := ada.createRoom("Library")
	if got := ada.get(other.path("/proof?n=1")).want(200).proofShown(); got == ada.get(r.path("/proof?n=1")).want(200).proofShown() {
		t.Error("two rooms have the same fingerprint")
	}
}
