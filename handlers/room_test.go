package handlers_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"conclave/models"
)

// post stores a message without the detour over HTTP, and without its rate limit.
func (o *office) post(p *person, r room, body string) uint64 {
	o.t.Helper()
	n, err := o.store.Post(context.Background(), o.membership(p, r), body, "")
	if err != nil {
		o.t.Fatal(err)
	}
	return n
}

func (o *office) membership(p *person, r room) models.Membership {
	o.t.Helper()
	m, err := o.store.Member(context.Background(), models.By{User: o.idOf(p, r)}, r.id)
	if err != nil {
		o.t.Fatal(err)
	}
	return m
}

var ids sync.Map // of people, by *person

// idOf finds a user by the only thing that shows ids: the list of who has the room open.
func (o *office) idOf(p *person, r room) models.ID {
	o.t.Helper()
	if id, ok := ids.Load(p); ok {
		return id.(models.ID)
	}
	sid, before := o.store.SessionHash(p.sid()), len(o.hub.Open())
	l := p.stream(r.path("/feed"))
	var found *models.ID
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		open := o.hub.Open()
		for _, l := range open {
			if l.Session == sid {
				found = (*models.ID)(&l.User)
			}
		}
		if found != nil {
			l.cancel()
			if len(open) == before { // the stream is closed again, and Ada is no longer here because of it
				ids.Store(p, *found)
				return *found
			}
		}
	}
	o.t.Fatal("nobody is listening")
	return models.ID{}
}

func numberedTo(count int) []string {
	list := make([]string, count)
	for i := range list {
		list[i] = fmt.Sprintf("Message number %d", i)
	}
	return list
}

// roomRoutes is every address inside a room, with the form it takes.
var roomRoutes = []struct {
	method, rest string
	f            fields
}{
	{"GET", "", nil}, {"GET", "/messages", nil}, {"GET", "/messages?before=5", nil}, {"GET", "/messages?before=x", nil}, {"GET", "/feed", nil}, {"GET", "/feed?after=0", nil},
	{"POST", "/messages", fields{"body": "Hello"}}, {"POST", "/messages", fields{}}, {"POST", "/messages", fields{"body": strings.Repeat("x", 70<<10)}}, {"POST", "/leave", fields{}},
	{"POST", "", fields{}}, {"POST", "/feed", fields{}}, {"GET", "/leave", nil}, {"HEAD", "", nil}, {"HEAD", "/feed", nil}, {"PUT", "/messages", fields{}}, {"DELETE", "", nil},
	{"OPTIONS", "", nil}, {"GET", "/nothing", nil}, {"POST", "/messages/5", fields{"body": "Changed"}}, {"POST", "/messages/5/delete", fields{}},
}

func TestARoomLooksToAStrangerLikeNoRoomAtAll_T37(t *testing.T) { // T37
	t.Parallel()
	o := openOffice(t)
	ada, eve, once := o.register("ada", "Ada Lovelace"), o.register("eve", "Eve Moneypenny"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	once.join(r)
	for _, body := range numberedTo(6) {
		o.post(ada, r, body)
	}
	once.post(r.path("/leave"), nil).wantRedirect("/rooms")
	once.get("/rooms") // takes the notice
	names := []string{
		r.id, strings.Repeat("0", 32), strings.ToUpper(r.id), r.id[:31], r.id + "0", "x", "%00", "..%2f" + r.id, "'%20OR%201=1--", strings.Repeat("a", 2000),
	}
	for _, stranger := range []*person{eve, once, o.visitor()} {
		for _, route := range roomRoutes {
			for i, headers := range [][]string{nil, htmx} {
				if i == 1 && (stranger == once || route.method != "GET" && route.method != "POST") {
					continue
				}
				var first string
				for _, name := range names {
					a := stranger.do(route.method, "/rooms/"+name+route.rest, route.f, headers...)
					if at := a.header.Get("Location"); stranger.username == "" && strings.HasPrefix(at, "/login?next=/rooms/") {
						a.header.Set("Location", "/login") // the name that was asked for
					}
					got := same(a, "")
					if stranger.username != "" && route.method != "OPTIONS" && a.status != 404 && a.status != 405 && a.status != 413 {
						t.Errorf("%s: %d", a.what, a.status)
					}
					if first == "" {
						first = got
					}
					if got != first {
						t.Errorf("%s is told apart:\n%s\nfrom\n%s", a.what, shortened(got), shortened(first))
					}
				}
			}
		}
	}
	// nothing has happened
	page := ada.get(r.path("")).want(200)
	if got := page.bodies(); !slices.Equal(got, numberedTo(6)) {
		t.Errorf("the room shows %q", got)
	}
	for _, stranger := range []*person{eve, once} {
		if body := stranger.get("/rooms").want(200).body; strings.Contains(body, r.id) || strings.Contains(body, "Engine room") {
			t.Error("the list of rooms shows a stranger the room")
		}
	}
}

func TestNoFieldOfTheClientDecidesWhoWroteWhatWhen_T43(t *testing.T) { // T43, the second original
	t.Parallel()
	o := openOffice(t)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	other := grace.createRoom("Another room")
	grace.join(r)
	stream := ada.listen(r)
	f := fields{"body": "Signed by Ada?"}
	for _, name := range []string{"sender", "author", "user", "user_id", "username", "from", "actor", "owner"} {
		f[name] = "ada"
	}
	for _, name := range []string{"room", "room_id", "id"} {
		f[name] = other.id
	}
	for _, name := range []string{"n", "epoch", "revision", "posts", "time", "time_ms", "created_ms", "date"} {
		f[name] = "1"
	}
	grace.post(r.path("/messages?room="+other.id+"&body=Forged&sender=ada"), f).wantRedirect(r.path(""))
	e := stream.message("Signed by Ada?")
	page := ada.get(r.path("")).want(200)
	for what, html := range map[string]string{"the feed": e.data, "the page": page.body} {
		a := &answer{t: t, what: what, body: html}
		for _, li := range a.class("message") {
			if attr(li, "data-author") != "grace" || !strings.Contains(text(li), "Grace Hopper") || strings.Contains(text(li), "Ada Lovelace") {
				t.Errorf("%s shows the author as %s: %q", what, attr(li, "data-author"), text(li))
			}
			said := attr(elements(li, func(n *nodeT) bool { return n.Data == "time" })[0], "datetime")
			if at, err := time.Parse(time.RFC3339, said); err != nil || o.clock.now().Sub(at).Abs() > time.Minute {
				t.Errorf("%s shows the time %q: %v", what, said, err)
			}
		}
	}
	if got := grace.get(other.path("")).want(200).bodies(); len(got) > 0 {
		t.Errorf("the other room shows %q", got)
	}
}

func TestWhatChangesSomethingIsNotDoneByReading_T28(t *testing.T) { // T28
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	ada.say(r, "Before")
	for path, f := range map[string]fields{
		"/logout": nil, "/session": nil, "/rooms/join": {"code": r.code}, "/rooms": {"name": "By reading"}, r.path("/leave"): nil, r.path("/messages"): {"body": "By reading"},
		"/register": {"username": "byreading", "full_name": "By Reading", "email": "b@example.org", "password": password}, "/register/confirm": {"code": "000000"},
		"/register/recovery": nil, "/login": ada.credentials(ada.codeAt(0)), "/login/enrol": {"code": "000000"},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			for _, override := range [][]string{nil, {"X-HTTP-Method-Override", "POST"}, {"X-Method-Override", "POST"}} {
				a := ada.do(method, path+"?_method=POST&"+f.encode(), nil, override...)
				switch path {
				case "/logout", "/session", r.path("/leave"), "/rooms/join":
					if a.status != 404 && a.status != 405 && a.status != 413 {
						t.Errorf("%s: %d", a.what, a.status)
					}
				}
			}
		}
	}
	if got := ada.get(r.path("")).want(200).bodies(); !slices.Equal(got, []string{"Before"}) {
		t.Errorf("the room shows %q", got)
	}
	if page := ada.get("/rooms").want(200); strings.Contains(page.body, "By reading") {
		t.Error("a room was made by reading")
	}
}

func TestOnlyOurOwnPagesMayChangeAnything_T27(t *testing.T) { // T27
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	host := mustURL(o.server.URL).Host
	for name, headers := range map[string][]string{
		"cross-site":                      {"Sec-Fetch-Site", "cross-site"},
		"same-site":                       {"Sec-Fetch-Site", "same-site"},
		"cross-site that claims to be us": {"Sec-Fetch-Site", "cross-site", "Origin", o.server.URL},
		"an odd site":                     {"Sec-Fetch-Site", "sAmE-oRiGiN"},
		"an evil origin":                  {"Origin", "https://evil.example"},
		"the same name on another port":   {"Origin", "https://127.0.0.1:1"},
		"an origin that begins like ours": {"Origin", o.server.URL + ".evil.example"},
		"our name as a user":              {"Origin", "https://" + host + "@evil.example"},
		"null":                            {"Origin", "null"},
		"neither":                         {"Origin", "-"},
		"neither, as htmx":                {"Origin", "-", "HX-Request", "true", "X-Requested-With", "XMLHttpRequest"},
		"neither, with a referrer":        {"Origin", "-", "Referer", o.server.URL + "/rooms"},
	} {
		t.Run(name, func(t *testing.T) {
			for path, f := range map[string]fields{
				"/rooms": {"name": "Forged"}, "/rooms/join": {"code": r.code}, r.path("/messages"): {"body": "Forged"}, r.path("/leave"): nil, "/logout": nil, "/session": nil,
				"/register": {"username": "forged"}, "/login": {"username": "forged"}, "/nothing": nil,
			} {
				if a := ada.post(path, f, headers...); a.status != http.StatusForbidden {
					t.Errorf("%s: %d", a.what, a.status)
				}
			}
		})
	}
	if got := ada.get(r.path("")).want(200).bodies(); len(got) > 0 {
		t.Errorf("the room shows %q", got)
	}
	if page := ada.get("/rooms").want(200); strings.Contains(page.body, "Forged") {
		t.Error("a forged form made a room")
	}
	// reading: nothing for scripts and frames of others, a page for whoever follows a link
	for _, path := range []string{"/rooms", r.path(""), r.path("/feed"), r.path("/messages?before=9")} {
		ada.get(path, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "script").want(http.StatusForbidden)
		ada.get(path, "Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty").want(http.StatusForbidden)
		ada.get(path, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe").want(http.StatusForbidden)
	}
	ada.get(r.path(""), "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document").want(200)
	ada.post("/rooms", fields{"name": "Ours"}, "Sec-Fetch-Site", "same-origin", "Origin", "-").want(http.StatusSeeOther)
}

func TestARoomIsFoundByItsCodeHoweverItIsTyped(t *testing.T) { // R57, R60
	t.Parallel()
	o := openOffice(t)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	if len(r.code) != 19 {
		t.Fatalf("the code is shown as %q", r.code)
	}
	looks := strings.NewReplacer("0", "o", "1", "l", "-", " ")
	for _, typed := range []string{looks.Replace(strings.ToLower(r.code)), strings.ReplaceAll(r.code, "-", ""), " " + strings.NewReplacer("0", "O", "1", "I").Replace(r.code) + "\t"} {
		grace.post("/rooms/join", fields{"code": typed}).wantRedirect(r.path(""))
		grace.post("/rooms/join", fields{"code": typed}).wantRedirect(r.path("")) // a member stays one
		grace.post(r.path("/leave"), nil).wantRedirect("/rooms")
	}
	for _, wrong := range []string{"", "x", r.code[:18], r.code + "0", "ÄÖÜ", "' OR 1=1--"} {
		a := grace.post("/rooms/join", fields{"code": wrong}).want(422)
		if got := attr(a.id("code"), "value"); got != wrong {
			t.Errorf("the form does not keep %q: %q", wrong, got)
		}
	}
	// unknown and left by everybody look alike
	unknown := grace.post("/rooms/join", fields{"code": "0000-0000-0000-0000"}).want(404)
	ada.post(r.path("/leave"), nil).wantRedirect("/rooms")
	closed := grace.post("/rooms/join", fields{"code": r.code}).want(404)
	if same(unknown, "0000-0000-0000-0000") != same(closed, r.code) {
		t.Error("a room without members is told apart from no room")
	}
	ada.post("/rooms/join", fields{"code": r.code}).want(404)
	ada.get(r.path("")).want(404)
	if u := o.log.String(); strings.Contains(u, r.code) || strings.Contains(u, strings.ReplaceAll(r.code, "-", "")) {
		t.Error("a code is in the log")
	}
}

func TestOwnershipPassesOnAndEverybodySeesIt(t *testing.T) { // R63
	t.Parallel()
	o := openOffice(t)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	grace.join(r)
	role := func(p *person, username string) string {
		t.Helper()
		for _, li := range p.get(r.path("")).want(200).class("member") {
			if attr(li, "data-username") == username {
				for _, n := range elements(li, func(n *nodeT) bool { return attr(n, "class") == "role" }) {
					return strings.TrimSpace(text(n))
				}
				return "member"
			}
		}
		return ""
	}
	if role(grace, "ada") != "owner" || role(ada, "grace") != "member" {
		t.Errorf("Ada is %q, Grace %q", role(grace, "ada"), role(ada, "grace"))
	}
	ada.post(r.path("/leave"), nil).wantRedirect("/rooms")
	if role(grace, "ada") != "" || role(grace, "grace") != "owner" {
		t.Errorf("after Ada left she is %q, Grace %q", role(grace, "ada"), role(grace, "grace"))
	}
	ada.get(r.path("")).want(404)
	ada.join(r)
	if role(grace, "ada") != "member" {
		t.Errorf("Ada came back as %q", role(grace, "ada"))
	}
}

func TestAMessageIsCheckedAndARefusedOneIsKept(t *testing.T) { // R53
	t.Parallel()
	o := openOffice(t, func(s *settings) { s.scale = 100 })
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	for name, c := range map[string]struct{ body, kept string }{ // kept: what a page can carry of it
		"4001 characters":      {strings.Repeat("ä", 4001), strings.Repeat("ä", 4001)},
		"more than a message":  {strings.Repeat("x", 20_000), strings.Repeat("x", 20_000)},
		"17 KiB of characters": {strings.Repeat("🦊", 4352), strings.Repeat("🦊", 4352)},
		"an escape":            {"before\x1b[31mafter", "before\x1b[31mafter"},
		"a backspace":          {"before\bafter", "before\bafter"},
		"DEL":                  {"before\x7fafter", "before\x7fafter"},
		"a C1 control":         {"before\u0085after", "before\u0085after"},
		"NUL":                  {"before\x00after", "before"},
		"UTF-16":               {"b\x00e\x00f\x00", "b"},
		"half a character":     {"before\xc3", "before"},
		"a lone surrogate":     {"before\xed\xa0\x80after", "before"},
		"an overlong slash":    {"before\xc0\xafafter", "before"},
	} {
		for _, headers := range [][]string{nil, htmx} {
			a := ada.post(r.path("/messages"), fields{"body": c.body}, headers...).want(422)
			if text(a.id("composer-note")) == "" {
				t.Errorf("%s: nothing says why", name)
			}
			if got := text(a.id("body")); got != c.kept && !(len(c.kept) < len(c.body) && strings.HasPrefix(got, c.kept)) {
				t.Errorf("%s: the draft is %.60q", name, got)
			}
		}
	}
	for _, empty := range []string{"", " ", "\r\n\r\n", "\t\u00a0\u2003"} {
		ada.post(r.path("/messages"), fields{"body": empty}).want(422)
	}
	if got := ada.get(r.path("")).want(200).bodies(); len(got) > 0 {
		t.Fatalf("the room shows %d refused messages", len(got))
	}
	stream := ada.listen(r)
	for sent, want := range map[string]string{
		strings.Repeat("🦊", 4000):             strings.Repeat("🦊", 4000),
		"one\r\ntwo\rthree\nfour\ttab":        "one\ntwo\nthree\nfour\ttab",
		"\u202eevil\u2066 \u200d👩‍👩‍👧\ufeffx": "\u202eevil\u2066 \u200d👩‍👩‍👧\ufeffx",
		"e\u0301 stays as it was typed":       "e\u0301 stays as it was typed",
	} {
		ada.say(r, sent)
		stream.next(fmt.Sprintf("%.30q", want), func(e event) bool {
			return len(e.bodies()) == 1 && e.bodies()[0] == strings.TrimSpace(want)
		})
	}
}

func TestNothingIsStoredOrLoggedInClear_T18_T45(t *testing.T) { // T18, T45, R72
	t.Parallel()
	o := openOffice(t)
	ada := o.visitor()
	ada.username, ada.fullName = "augusta.king", "Augusta King-Noel"
	secrets := map[string]string{"the user name": "augusta.king", "the full name": "Augusta King-Noel", "the address": "augusta.king@example.org", "the password": password}
	ada.post("/register", ada.registration()).wantRedirect("/register/confirm")
	ada.post("/login", fields{"username": "augusta.king", "password": password, "code": "123456"}).want(422)
	ada.post("/register", fields{"username": "augusta.king", "full_name": "x\x00", "email": "augusta.king", "password": password}).want(422)
	secrets["the TOTP secret"] = strings.Join(strings.Fields(text(ada.get("/register/confirm").want(200).id("totp-secret"))), "")
	o.holdsNothingOf(secrets) // while it is pending
	ada.secret = secrets["the TOTP secret"]
	ada.post("/register/confirm", fields{"code": ada.code()}).wantRedirect("/register/recovery")
	for i, n := range ada.get("/register/recovery").class("recovery-code") {
		code := strings.TrimSpace(text(n))
		secrets[fmt.Sprintf("recovery code %d", i)] = code
		secrets[fmt.Sprintf("recovery code %d without dashes", i)] = strings.ReplaceAll(code, "-", "")
	}
	secrets["the TOTP secret's bytes"] = string(unbase32(ada.secret))
	secrets["the session"] = ada.sid()
	secrets["an argon2id string"] = "$argon2"
	r := ada.createRoom("Analytical engine")
	secrets["the room's name"], secrets["the room code"], secrets["the room code without dashes"] = "Analytical engine", r.code, strings.ReplaceAll(r.code, "-", "")
	ada.say(r, "The engine weaves algebraic patterns")
	ada.post(r.path("/messages"), fields{"body": "A refused draft\x00"}).want(422)
	ada.post("/rooms/join", fields{"code": r.code + "0"}).want(422)
	ada.get("/rooms/" + r.code)
	ada.get("/join?code=" + r.code)
	ada.get("/" + r.code)
	secrets["the message"], secrets["a refused message"] = "algebraic patterns", "A refused draft"
	grace := o.register("grace", "Grace Hopper")
	grace.join(r)
	grace.say(r, "Nanoseconds are eleven inches long")
	secrets["another message"] = "eleven inches"
	o.holdsNothingOf(secrets)
	if err := o.store.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	o.restart()
	ada.reconnect()
	ada.get(r.path("")).want(200).contains("algebraic patterns")
	o.holdsNothingOf(secrets)
	for _, a := range []*answer{ada.get("/rooms"), ada.get(r.path(""))} {
		for what, secret := range secrets {
			if strings.HasPrefix(what, "the TOTP") || strings.HasPrefix(what, "recovery") && a.what != "GET /rooms" || what == "the session" || what == "the password" || what == "the address" {
				if strings.Contains(a.body, secret) {
					t.Errorf("%s shows %s", a.what, what)
				}
			}
		}
	}
	if page := grace.get(r.path("")); strings.Contains(page.body, "augusta.king@example.org") {
		t.Error("another member sees the address")
	}
}
