package handlers_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// credentials are what the login form asks for.
func (p *person) credentials(code string) fields {
	return fields{"username": p.username, "password": p.password, "code": code}
}

func (a *answer) session() *http.Cookie {
	for _, c := range a.cookie {
		if c.Name == "__Host-sid" {
			return c
		}
	}
	return nil
}

// sid is the session that this browser holds.
func (p *person) sid() string {
	for _, c := range p.client.Jar.Cookies(mustURL(p.o.server.URL)) {
		if c.Name == "__Host-sid" {
			return c.Value
		}
	}
	return ""
}

// with is a fresh browser that sends this session and nothing else.
func (o *office) with(sid string) *person {
	p := o.visitor()
	if sid != "" {
		p.client.Jar.SetCookies(mustURL(o.server.URL), []*http.Cookie{{Name: "__Host-sid", Value: sid, Path: "/", Secure: true}})
	}
	return p
}

// out checks that whoever it is is not signed in.
func (p *person) out() {
	p.o.t.Helper()
	p.get("/").wantRedirect("/login")
	p.get("/rooms").wantRedirect("/login")
	p.get("/rooms", htmx...).want(http.StatusUnauthorized)
}

func TestAWrongPasswordLeavesNothingBehindThatOpensADoor_T1(t *testing.T) { // T1, the first original
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	someones := func() (n int) {
		db := o.intruder()
		defer db.Close()
		if err := db.QueryRow("SELECT count(*) FROM sessions WHERE user_id <> zeroblob(16)").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := someones()
	eve := o.visitor()
	failed := eve.post("/login", fields{"username": "ada", "password": "wrong lantern over the harbour", "code": ada.code()}).want(422)
	if len(failed.cookie) > 0 {
		t.Errorf("a failed login sets %v", failed.cookie)
	}
	eve.out()
	// and with half of the truth
	eve.post("/login", ada.credentials("000000")).want(422)
	eve.post("/login", fields{"username": "ada", "password": ada.password}).want(422)
	eve.post("/login", fields{"username": "ada", "password": ada.password, "code": ""}).want(422)
	eve.out()
	// nor with a session that holds something already
	eve.username, eve.fullName = "eve", "Eve Moneypenny"
	eve.post("/register", eve.registration()).wantRedirect("/register/confirm")
	eve.post("/login", ada.credentials("000000")).want(422)
	eve.out()
	if before == 0 || someones() != before {
		t.Errorf("%d sessions belong to somebody, before %d", someones(), before)
	}
	ada.get("/rooms").want(200)
}

func TestTheSecondFactorOfARegistrationCannotBeSkipped_T2(t *testing.T) { // T2, the first original
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	eve := o.visitor()
	eve.username, eve.fullName = "eve", "Eve Moneypenny"
	eve.post("/register", eve.registration()).wantRedirect("/register/confirm")
	eve.secret = strings.Join(strings.Fields(text(eve.get("/register/confirm").want(200).id("totp-secret"))), "")
	eve.out()
	for _, path := range []string{"/register/recovery", "/rooms", r.path(""), r.path("/feed")} {
		if a := eve.get(path); a.status != http.StatusSeeOther && a.status != http.StatusUnauthorized {
			t.Errorf("%s: %d", a.what, a.status)
		}
	}
	eve.post("/rooms", fields{"name": "Eve's room"}).wantRedirect("/login")
	eve.post("/rooms/join", fields{"code": r.code}).wantRedirect("/login")

	refused := o.visitor().post("/login", eve.credentials(eve.code())).want(422)
	unknown := o.visitor().post("/login", fields{"username": "nob", "password": password, "code": "123456"}).want(422)
	if same(refused, "eve") != same(unknown, "nob") {
		t.Errorf("a pending registration is told apart from nobody:\n%s\n%s", same(refused, "eve"), same(unknown, "nob"))
	}
	var users int
	if err := o.intruder().QueryRow("SELECT count(*) FROM users").Scan(&users); err != nil || users != 1 {
		t.Errorf("there are %d users, %v", users, err)
	}
	if page := ada.get(r.path("")); strings.Contains(page.body, `"eve"`) || strings.Contains(page.body, "Moneypenny") {
		t.Error("somebody who is no user yet can be seen")
	}
	// five wrong codes end it, and the right one is too late then
	for range 4 {
		eve.post("/register/confirm", fields{"code": "000000"}).want(422).contains("does not fit")
	}
	if a := eve.post("/register/confirm", fields{"code": "000000"}); a.status < 400 || !strings.Contains(a.body, "Start again") {
		t.Errorf("the fifth wrong code: %d, and the page does not say that the person has to start again:\n%s", a.status, text(a.id("main")))
	}
	if a := eve.post("/register/confirm", fields{"code": eve.code()}); a.status < 400 {
		t.Errorf("after five wrong codes the right one: %d", a.status)
	}
	eve.out()
	// the same browser may start again with the same name
	eve.enrol()
	eve.post("/register/recovery", nil).wantRedirect("/rooms")
	eve.get("/rooms").want(200)
}

// same is all that an observer sees of an answer, without what has to differ: the request's id,
// the date, and the name that was typed.
func same(a *answer, typed string) string {
	var b strings.Builder
	fmt.Fprintln(&b, a.status)
	h := maps.Clone(a.header)
	delete(h, "Date")
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if name == "Content-Length" {
			continue // of a body with a name in it
		}
		fmt.Fprintln(&b, name, h[name])
	}
	body := requestID.ReplaceAllString(a.body, "<code>ID</code>")
	if typed != "" {
		body = strings.ReplaceAll(body, `value="`+typed+`"`, `value="NAME"`)
	}
	b.WriteString(body)
	return b.String()
}

func TestALoginFailsTheSameWayWhateverIsWrong_T11(t *testing.T) { // T11
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	for name, headers := range map[string][]string{"page": nil, "fragment": htmx} {
		var first string
		for what, f := range map[string]func() fields{
			"somebody unknown": func() fields { return fields{"username": "bob", "password": password, "code": "123456"} },
			"a wrong password": func() fields {
				return fields{"username": "ada", "password": "wrong lantern over the harbour", "code": ada.code()}
			},
			"a wrong code":                     func() fields { return ada.credentials("000000") },
			"a code of letters":                func() fields { return ada.credentials("QWERTY") },
			"no code":                          func() fields { return ada.credentials("") },
			"nothing but the name":             func() fields { return fields{"username": "ada", "code": "000000"} },
			"an unknown recovery code":         func() fields { return ada.credentials("000000-000000-000000-000000") },
			"a recovery code without password": func() fields { return fields{"username": "ada", "password": "", "code": ada.recovery[0]} },
			"a password of a kilobyte": func() fields {
				return fields{"username": "ada", "password": strings.Repeat("x", 1024), "code": "123456"}
			},
			"a password that is no text": func() fields { return fields{"username": "ada", "password": "\xff\xfe\x00", "code": "123456"} },
		} {
			o.clock.advance(17 * time.Minute) // longer than anybody has to wait
			f := f()
			if headers != nil && len(f["code"]) != 6 {
				continue // each is a hash; the fragment needs fewer
			}
			got := same(o.visitor().post("/login", f, headers...).want(422), f["username"])
			if first == "" {
				first = got
			}
			if got != first {
				t.Errorf("%s: %s is told apart:\n%s\nfrom\n%s", name, what, got, first)
			}
		}
	}
	for _, line := range strings.Split(o.log.String(), "\n") {
		if regexp.MustCompile(`\bada\b`).MatchString(line) {
			t.Errorf("the log names who tried: %s", line)
		}
	}
}

func TestSomebodyUnknownCostsTheServerTheSameWork(t *testing.T) { // R19
	o := openOffice(t, func(s *settings) { s.fullHashes = true }) // not in parallel with others: it measures
	ada := o.register("ada", "Ada Lovelace")
	tries := map[string]fields{
		"a known name":           {"username": "ada", "password": ada.password, "code": "000000"},
		"somebody unknown":       {"username": "bob", "password": ada.password, "code": "000000"},
		"an impossible password": {"username": "ada", "password": strings.Repeat("x", 1000), "code": "000000"},
	}
	best := map[string]time.Duration{}
	ratio := func(what string) float64 { return float64(best[what]) / float64(best["a known name"]) }
	alike := func() bool {
		for what := range best {
			if ratio(what) < 0.4 || ratio(what) > 2.5 {
				return false
			}
		}
		return true
	}
	// In turns, so that a slow moment of this machine hits all, and once more when it did not.
	for round := 0; round < 2 || round < 8 && !alike(); round++ {
		for what, f := range tries {
			o.clock.advance(17 * time.Minute) // nobody has to wait
			p := o.visitor()
			p.get("/login") // the connection
			start := time.Now()
			p.post("/login", f).want(422)
			if took := time.Since(start); best[what] == 0 || took < best[what] {
				best[what] = took
			}
		}
	}
	for what, took := range best {
		if ratio(what) < 0.4 || ratio(what) > 2.5 {
			t.Errorf("%s takes %v, a known name %v", what, took, best["a known name"])
		}
	}
}

func TestACodeWorksOnce_T3(t *testing.T) { // T3
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	o.visitor().post("/login", ada.credentials(ada.codeAt(0))).want(422) // the one that confirmed the registration
	code := ada.code()
	o.visitor().post("/login", ada.credentials(code)).wantRedirect("/rooms")
	o.visitor().post("/login", ada.credentials(code)).want(422)
	o.visitor().post("/login", ada.credentials(code[:3]+" "+code[3:])).want(422)
}

func TestOnlyTheNeighbouringTimeStepsAreAccepted_T5(t *testing.T) { // T5
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	o.clock.advance(5 * time.Minute)
	// not on the edge of a step, where the server's idea of now could be the next one
	if rest := 30 - o.clock.now().Unix()%30; rest < 5 {
		o.clock.advance(time.Duration(rest+1) * time.Second)
	}
	for _, step := range []int{-2, 2} {
		o.visitor().post("/login", ada.credentials(ada.codeAt(step))).want(422)
	}
	before, next := ada.codeAt(-1), ada.codeAt(1)
	o.visitor().post("/login", ada.credentials(before)).wantRedirect("/rooms")
	o.visitor().post("/login", ada.credentials(before)).want(422)
	o.visitor().post("/login", ada.credentials(next)).wantRedirect("/rooms")
	o.visitor().post("/login", ada.credentials(next)).want(422)
	o.visitor().post("/login", ada.credentials(ada.codeAt(0))).want(422) // older than one that was used
}

func TestARecoveryCodeWorksOnceAndOnlyWithThePassword_T9(t *testing.T) { // T9
	t.Parallel()
	o := openOffice(t)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	if len(ada.recovery) != 10 {
		t.Fatalf("%d recovery codes", len(ada.recovery))
	}
	code := ada.recovery[0]
	o.visitor().post("/login", fields{"username": "ada", "password": "wrong lantern over the harbour", "code": code}).want(422)
	o.visitor().post("/login", grace.credentials(code)).want(422) // somebody else's
	typed := strings.ToLower(strings.ReplaceAll(code, "-", " "))
	o.visitor().post("/login", ada.credentials(typed)).wantRedirect("/login/enrol") // not consumed by the failures
	o.visitor().post("/login", ada.credentials(code)).want(422)
	o.visitor().post("/login", ada.credentials(ada.recovery[1])).wantRedirect("/login/enrol")
}

func TestARecoveryCodeLeadsToANewAuthenticatorOnly_T10(t *testing.T) { // T10
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	stream := ada.listen(r)
	lost := o.visitor()
	lost.username = "ada"
	lost.post("/login", ada.credentials(ada.recovery[0])).wantRedirect("/login/enrol")
	for _, path := range []string{"/rooms", r.path(""), r.path("/messages?before=9"), "/register/recovery"} {
		lost.get(path).wantRedirect("/login/enrol")
	}
	if a := lost.get(r.path("/feed")); a.status != http.StatusUnauthorized || strings.Contains(a.body, "Lovelace") {
		t.Errorf("the feed: %d %s", a.status, a.body)
	}
	lost.get("/").wantRedirect("/login")
	lost.get("/login").want(200)
	for path, f := range map[string]fields{"/rooms": {"name": "Mine"}, "/rooms/join": {"code": r.code}, r.path("/messages"): {"body": "Hello"}, r.path("/leave"): nil, "/session": nil} {
		lost.post(path, f).wantRedirect("/login/enrol")
	}
	if got := ada.get(r.path("")).want(200).bodies(); len(got) > 0 {
		t.Errorf("the limited session has posted %q", got)
	}

	old := lost.sid()
	lost.secret = strings.Join(strings.Fields(text(lost.get("/login/enrol").want(200).id("totp-secret"))), "")
	if lost.secret == ada.secret {
		t.Fatal("the old secret is shown again")
	}
	lost.post("/login/enrol", fields{"code": "000000"}).want(422)
	if again := strings.Join(strings.Fields(text(lost.get("/login/enrol").want(200).id("totp-secret"))), ""); again != lost.secret {
		t.Error("the secret changes between two looks")
	}
	lost.post("/login/enrol", fields{"code": ada.codeAt(0)}).want(422) // of the old one
	lost.post("/login/enrol", fields{"code": lost.codeAt(0)}).wantRedirect("/rooms")
	lost.get("/rooms").want(200).contains("9 recovery codes")
	stream.next("the end", func(e event) bool { return e.name == "session-end" }) // all other sessions are over
	stream.ends(2 * time.Second)
	ada.out()
	o.with(old).out()
	o.visitor().post("/login", ada.credentials(ada.code())).want(422) // the old authenticator is dead
	lost.password = ada.password
	o.visitor().post("/login", lost.credentials(lost.code())).wantRedirect("/rooms")
}

func TestBadPasswordsAreRefusedBesideTheirField_T17(t *testing.T) { // T17
	t.Parallel()
	o := openOffice(t)
	for name, c := range map[string]struct {
		password string
		status   int
	}{
		"11 characters":         {"quartz fern", 422},
		"12 common":             {"1q2w3e4r5t6y", 422},
		"12 common, capitals":   {"1Q2W3E4R5T6Y", 422},
		"the name doubled":      {"marguerite.mmarguerite.m", 422},
		"the full name":         {"marguerite moreau", 422},
		"the app":               {"ConclaveConclave", 422},
		"129 characters":        {strings.Repeat("q ", 64) + "q", 422},
		"no text":               {strings.Repeat("\xff", 20), 422},
		"one megabyte":          {strings.Repeat("x", 1<<20), 413},
		"128 emoji":             {strings.Repeat("🦊", 128), 303},
		"64 spaces and letters": {strings.Repeat("a ", 31) + " b", 303},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			a := o.visitor().post("/register", fields{"username": "marguerite.m", "full_name": "Marguerite Moreau", "email": "m@example.org", "password": c.password}).want(c.status)
			switch c.status {
			case 422:
				if took := time.Since(start); took > time.Second {
					t.Errorf("it took %v", took)
				}
				if wrong := text(a.id("password-error")); wrong == "" {
					t.Error("the field does not say what is wrong")
				}
				if len(c.password) > 5 && strings.Contains(a.body, c.password) && c.password != "marguerite moreau" {
					t.Error("the password comes back in the page")
				}
				if got := attr(a.id("full_name"), "value"); got != "Marguerite Moreau" {
					t.Errorf("the other fields are not kept: %q", got)
				}
			case 303:
				o.clock.advance(16 * time.Minute) // the name is free again for the next case
			}
		})
	}
}

func TestTheCookieOfASessionIsBoundToThisServerAndTheBrowsersLife_T19(t *testing.T) { // T19
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	answer := o.visitor().post("/login", ada.credentials(ada.code())).wantRedirect("/rooms")
	c := answer.session()
	if c == nil || len(answer.cookie) != 2 { // the other one is the device's
		t.Fatalf("the login sets %v", answer.cookie)
	}
	if !c.Secure || !c.HttpOnly || c.Path != "/" || c.SameSite != http.SameSiteLaxMode || c.Domain != "" || !c.Expires.IsZero() || c.MaxAge != 0 {
		t.Errorf("the cookie is %s", c)
	}
	if len(c.Value) < 43 { // 256 bits
		t.Errorf("the token %q is too short", c.Value)
	}
	o.holdsNothingOf(map[string]string{"the session's token": c.Value})
	for range 3 { // a quiet session sets no cookie
		if a := o.with(c.Value).get("/rooms").want(200); len(a.cookie) > 0 {
			t.Errorf("reading sets %v", a.cookie)
		}
	}
}

func TestAPlantedSessionIsNeverTheOneAfterTheLogin_T20(t *testing.T) { // T20
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	// one that the server has never seen, and one that it gave to somebody who planted it
	eve := o.visitor()
	eve.username, eve.fullName = "eve", "Eve Moneypenny"
	eve.post("/register", eve.registration()).wantRedirect("/register/confirm")
	for name, planted := range map[string]string{"made up": "A-Za-z0-9-planted-by-eve-planted-by-eve-plan", "handed out": eve.sid()} {
		victim := o.with(planted)
		victim.post("/login", ada.credentials(ada.code())).wantRedirect("/rooms")
		if victim.sid() == planted || victim.sid() == "" {
			t.Errorf("%s: the login keeps the planted session", name)
		}
		victim.get("/rooms").want(200)
		o.with(planted).out()
		if a := o.with(planted).get("/register/confirm"); a.status == 200 {
			t.Errorf("%s: what stood in the session before the login is still there", name)
		}
	}
}

func TestEveryStepThatChangesWhoSomebodyIsGivesANewSession(t *testing.T) { // R27
	t.Parallel()
	o := openOffice(t)
	ada := o.visitor()
	ada.username, ada.fullName = "ada", "Ada Lovelace"
	ada.post("/register", ada.registration()).wantRedirect("/register/confirm")
	pending := ada.sid()
	ada.secret = strings.Join(strings.Fields(text(ada.get("/register/confirm").id("totp-secret"))), "")
	ada.post("/register/confirm", fields{"code": ada.code()}).wantRedirect("/register/recovery")
	first := ada.sid()
	ada.post("/login", ada.credentials(ada.code())).wantRedirect("/rooms") // signed in already
	second := ada.sid()
	if pending == first || first == second {
		t.Error("a session is kept")
	}
	for _, old := range []string{pending, first} {
		o.with(old).out()
	}
	ada.get("/rooms").want(200)
}

func TestALoggedOutCookieIsDead_T21(t *testing.T) { // T21
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	elsewhere := ada.login()
	streams := []*listener{ada.listen(r), ada.listen(r)}
	others := elsewhere.listen(r)
	old := ada.sid()
	out := ada.post("/logout", nil).wantRedirect("/login")
	if c := out.session(); c == nil || c.MaxAge >= 0 && c.Expires.After(time.Now()) {
		t.Errorf("the browser keeps the cookie: %v", out.cookie)
	}
	if out.header.Get("Clear-Site-Data") == "" {
		t.Error("the browser keeps its copies")
	}
	for _, s := range streams {
		s.next("the end", func(e event) bool { return e.name == "session-end" })
		s.ends(2 * time.Second)
	}
	thief := o.with(old)
	thief.out()
	if l := thief.stream(r.path("/feed")); l.status != http.StatusUnauthorized || l.header.Get("HX-Redirect") != "/login" {
		t.Errorf("the feed answers %d", l.status)
	}
	for _, path := range []string{"/session", "/rooms", "/rooms/join", r.path("/messages"), r.path("/leave"), "/register/recovery"} {
		if a := thief.post(path, fields{"body": "Ha", "name": "Ha"}); a.status != http.StatusSeeOther && a.status != http.StatusUnauthorized || a.status == http.StatusSeeOther && !strings.HasPrefix(a.header.Get("Location"), "/login") {
			t.Errorf("%s: %d %s", a.what, a.status, a.header.Get("Location"))
		}
	}
	elsewhere.say(r, "I am here on another device")
	others.message("I am here on another device")
}

// slowPost begins a POST and keeps its last byte back until finish is called.
func (p *person) slowPost(path string, f fields) (finish func() int) {
	p.o.t.Helper()
	reader, writer := io.Pipe()
	body := f.encode()
	req, err := http.NewRequest(http.MethodPost, p.o.server.URL+path, reader)
	if err != nil {
		p.o.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", p.o.server.URL)
	status := make(chan int, 1)
	go func() {
		res, err := p.client.Do(req)
		if err != nil {
			p.o.t.Error(err)
			status <- 0
			return
		}
		res.Body.Close()
		status <- res.StatusCode
	}()
	if _, err := io.WriteString(writer, body[:len(body)-1]); err != nil {
		p.o.t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond) // the server has loaded the session and waits for the rest
	return func() int {
		io.WriteString(writer, body[len(body)-1:])
		writer.Close()
		return <-status
	}
}

// Who may do something is decided when all of it has arrived, not when it was begun: somebody who is
// about to lose a session or a right could else hold a form open until after that.
func TestAFormIsJudgedByWhatHoldsWhenItHasArrived_T21(t *testing.T) { // R30
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	held := o.with(ada.sid())
	finish := held.slowPost("/rooms", fields{"name": "Late room"})
	other := ada.login()
	o.with(ada.sid()).post("/logout", nil).wantRedirect("/login")
	if status := finish(); status != http.StatusSeeOther {
		t.Errorf("the answer is %d", status)
	}
	if strings.Contains(other.get("/rooms").want(200).body, "Late room") {
		t.Error("a session that has ended makes a room")
	}
}

func TestASlowPostDoesNotReviveASessionThatEndedMeanwhile_T21(t *testing.T) { // T21, P1
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	limited := o.visitor()
	limited.post("/login", ada.credentials(ada.recovery[0])).wantRedirect("/login/enrol")
	for name, c := range map[string]struct {
		who  *person
		path string
		f    fields
	}{
		"a form that changes the session":    {ada.login(), "/register", fields{"username": "eve", "full_name": "Eve Moneypenny", "email": "eve@example.org", "password": password}},
		"an enrolment that makes its secret": {limited, "/login/enrol", fields{"code": "123456"}},
		"a message":                          {ada.login(), "/rooms", fields{"name": "Late room"}},
		"a wrong login":                      {ada.login(), "/login", fields{"username": "ada", "password": "wrong", "code": "123456"}},
	} {
		t.Run(name, func(t *testing.T) {
			sid := c.who.sid()
			held := o.with(sid)
			finish := held.slowPost(c.path, c.f)
			o.with(sid).post("/logout", nil).wantRedirect("/login")
			finish()
			o.with(sid).out()
			held.out()
		})
	}
}

func TestAnIdleSessionEndsAndItsStreamSaysSo_T24(t *testing.T) { // T24
	t.Parallel()
	o := openOffice(t, func(s *settings) { s.idle = 3 * time.Second })
	ada := o.visitor()
	ada.username, ada.fullName = "ada", "Ada Lovelace"
	ada.post("/register", ada.registration()).wantRedirect("/register/confirm")
	ada.secret = strings.Join(strings.Fields(text(ada.get("/register/confirm").id("totp-secret"))), "")
	ada.post("/register/confirm", fields{"code": ada.codeAt(0)}).wantRedirect("/register/recovery")
	r := ada.createRoom("Engine room")
	used := ada.listen(r)
	for range 4 { // a page that is looked at keeps its session
		time.Sleep(time.Second)
		ada.post("/session", nil).want(http.StatusNoContent)
	}
	start := time.Now()
	used.next("the end", func(e event) bool { return e.name == "session-end" })
	used.ends(time.Second)
	if took := time.Since(start); took < 2*time.Second || took > 6*time.Second {
		t.Errorf("the stream ended after %v", took)
	}
	ada.out()
}

func TestNoActivityCarriesASessionBeyondItsLifetime_T25(t *testing.T) { // T25
	t.Parallel()
	o := openOffice(t, func(s *settings) { s.idle, s.lifetime = time.Hour, 5*time.Second })
	ada := o.visitor()
	ada.username, ada.fullName = "ada", "Ada Lovelace"
	ada.post("/register", ada.registration()).wantRedirect("/register/confirm")
	ada.secret = strings.Join(strings.Fields(text(ada.get("/register/confirm").id("totp-secret"))), "")
	ada.post("/register/confirm", fields{"code": ada.codeAt(0)}).wantRedirect("/register/recovery")
	start := time.Now()
	r := ada.createRoom("Engine room")
	stream := ada.listen(r)
	for i := 0; time.Since(start) < 7*time.Second; i++ {
		ada.post("/session", nil)
		ada.get("/rooms")
		ada.get("/login")
		if i%3 == 0 {
			ada.post("/login", ada.credentials("000000"))
		}
		eve := fields{"username": fmt.Sprintf("eve%d", i), "full_name": "Eve", "email": fmt.Sprintf("eve%d@example.org", i), "password": password}
		ada.post("/register", eve) // with a session that is signed in
		ada.get("/register/confirm")
		time.Sleep(time.Second)
	}
	ada.get("/rooms").wantRedirect("/login")
	stream.next("the end", func(e event) bool { return e.name == "session-end" })
	stream.ends(time.Second)
}

func TestALoginLeadsNowhereElse(t *testing.T) { // R37
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	o.visitor().get(r.path("")).wantRedirect("/login?next=" + r.path(""))
	evil := []string{
		"https://evil.example", "//evil.example", "/\\evil.example", "\\/evil.example", "/%2fevil.example", "/%5cevil.example", "///evil.example",
		"/\t/evil.example", "/\n/evil.example", "javascript:alert(1)", "data:text/html,x", "evil.example", ".evil.example", "@evil.example",
		"/rooms?x=//evil", "/rooms#x", "/rooms/../..//evil", "/.//evil.example", "/ /evil.example", "/rooms\r\nX-Evil: 1", "http:evil.example", "",
		"/rooms\x00", "/röoms", strings.Repeat("/", 3000),
	}
	for _, next := range evil {
		page := o.visitor().get("/login?next=" + queryEscape(next)).want(200)
		for _, in := range elements(page.doc(), func(n *nodeT) bool { return attr(n, "name") == "next" }) {
			if attr(in, "value") != "" {
				t.Errorf("the form carries %q on", attr(in, "value"))
			}
		}
	}
	// and the redirect itself
	for _, next := range evil[1:2] {
		f := ada.credentials(ada.code())
		f["next"] = next
		o.visitor().post("/login", f).wantRedirect("/rooms")
	}
	f := ada.credentials(ada.code())
	f["next"] = r.path("")
	o.visitor().post("/login", f).wantRedirect(r.path(""))
	f = ada.credentials(ada.code())
	f["next"] = "//evil.example"
	if a := o.visitor().post("/login", f, htmx...).want(204); a.header.Get("HX-Redirect") != "/rooms" {
		t.Errorf("HX-Redirect: %q", a.header.Get("HX-Redirect"))
	}
}

func TestAReservedNameIsFreeAgainAfterFifteenMinutes(t *testing.T) { // R12
	t.Parallel()
	o := openOffice(t)
	ada := o.visitor()
	ada.username, ada.fullName = "ada", "Ada Lovelace"
	ada.post("/register", ada.registration()).wantRedirect("/register/confirm")
	ada.secret = strings.Join(strings.Fields(text(ada.get("/register/confirm").want(200).id("totp-secret"))), "")
	grace := o.visitor()
	grace.username, grace.fullName = "grace", "Grace Hopper"
	f := grace.registration()
	f["username"] = "ADA"
	if a := grace.post("/register", f).want(422); attr(a.id("username"), "aria-invalid") != "true" || attr(a.id("email"), "value") != "grace@example.org" {
		t.Error("the taken name is not marked, or the form not kept")
	}
	f = grace.registration()
	f["email"] = "Ada@Example.ORG"
	if a := grace.post("/register", f).want(422); attr(a.id("email"), "aria-invalid") != "true" {
		t.Error("the taken address is not marked")
	}
	ada.post("/register", ada.registration()).wantRedirect("/register/confirm") // the same browser again
	if again := strings.Join(strings.Fields(text(ada.get("/register/confirm").id("totp-secret"))), ""); again == ada.secret {
		t.Error("the second attempt shows the secret of the first")
	}
	o.clock.advance(14 * time.Minute)
	grace.post("/register", ada.registration()).want(422)
	o.clock.advance(61 * time.Second)
	if a := ada.get("/register/confirm"); a.status == 200 {
		t.Error("the secret is still shown after 15 minutes")
	}
	ada.post("/register/confirm", fields{"code": ada.codeAt(0)})
	ada.out()
	grace.post("/register", ada.registration()).wantRedirect("/register/confirm")
}

func TestTheRecoveryCodesAreShownUntilTheyAreSaved(t *testing.T) { // R14
	t.Parallel()
	o := openOffice(t)
	ada := o.visitor()
	ada.username, ada.fullName = "ada", "Ada Lovelace"
	ada.enrol()
	shown := func() (codes []string) {
		for _, n := range ada.get("/register/recovery").class("recovery-code") {
			codes = append(codes, strings.TrimSpace(text(n)))
		}
		return codes
	}
	o.restart() // nor does a restart lose them
	ada.reconnect()
	if got := shown(); !slices.Equal(got, ada.recovery) {
		t.Errorf("a second look shows %q, the first %q", got, ada.recovery)
	}
	seen := map[string]bool{}
	for _, code := range ada.recovery {
		if len(code) != 27 || strings.Trim(code, "0123456789ABCDEFGHJKMNPQRSTVWXYZ-") != "" || seen[code] {
			t.Errorf("the code %q", code)
		}
		seen[code] = true
	}
	ada.get("/rooms").want(200).contains("/register/recovery")
	ada.post("/register/recovery", nil).wantRedirect("/rooms")
	ada.get("/register/recovery").wantRedirect("/rooms")
	if a := ada.get("/rooms"); strings.Contains(a.body, "/register/recovery") {
		t.Error("saved codes are still waiting")
	}

	grace := o.visitor()
	grace.username, grace.fullName = "grace", "Grace Hopper"
	grace.enrol()
	o.clock.advance(15*time.Minute + time.Second)
	grace.get("/register/recovery").wantRedirect("/rooms")
}

func TestRegistrationCanBeByInvitationOrClosed(t *testing.T) { // R7
	t.Parallel()
	o := openOffice(t, func(s *settings) { s.registration = "invite" })
	token, err := o.store.SetupToken(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	eve := o.visitor()
	eve.username, eve.fullName = "eve", "Eve Moneypenny"
	for _, bad := range []string{"", "0", strings.Repeat("0", 32), token[:31], "#setup="} {
		f := eve.registration()
		f["token"] = bad
		if a := eve.post("/register", f).want(422); attr(a.id("token"), "aria-invalid") != "true" {
			t.Errorf("token %q is not marked as wrong", bad)
		}
	}
	if a := eve.post("/register?token="+token, eve.registration()); a.status != 422 {
		t.Errorf("a token in the address: %d", a.status)
	}
	f := eve.registration()
	f["token"] = o.server.URL + "/register#setup=" + token
	eve.post("/register", f).wantRedirect("/register/confirm")
	if strings.Contains(o.log.String(), token) {
		t.Error("the token is in the log")
	}

	closed := openOffice(t, func(s *settings) { s.registration = "closed" })
	p := closed.visitor()
	p.username, p.fullName = "eve", "Eve Moneypenny"
	if a := p.get("/register").want(200); len(elements(a.doc(), func(n *nodeT) bool { return n.Data == "input" })) > 0 {
		t.Error("a closed registration shows a form")
	}
	p.post("/register", p.registration()).want(http.StatusForbidden)
	p.get("/register/confirm").want(http.StatusConflict)
}

func TestAPasswordInTheAddressIsNoPassword(t *testing.T) { // P11
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	values := ada.credentials(ada.code()).encode()
	p := o.visitor()
	p.post("/login?"+values, nil).want(422)
	p.get("/login?" + values).want(200)
	if a := p.get("/login?" + values); strings.Contains(a.body, "purple") {
		t.Error("the page repeats what stands in the address")
	}
	p.out()
	if strings.Contains(o.log.String(), "purple") {
		t.Error("the log holds an address with its query")
	}
}
