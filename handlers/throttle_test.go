package handlers_test

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// fails tries to log in with a wrong password.
func (p *person) fails(username string, headers ...string) *answer {
	p.o.t.Helper()
	return p.post("/login", fields{"username": username, "password": "wrong lantern over the harbour", "code": "000000"}, headers...)
}

// mustWait checks that the answer says to wait for about that long.
func (a *answer) mustWait(d time.Duration) *answer {
	a.t.Helper()
	a.want(http.StatusTooManyRequests)
	seconds, err := strconv.Atoi(a.header.Get("Retry-After"))
	if wait := time.Duration(seconds) * time.Second; err != nil || wait > d || wait < d-65*time.Second && wait < d/2 {
		a.t.Fatalf("%s: Retry-After is %q, want %v", a.what, a.header.Get("Retry-After"), d)
	}
	return a
}

// device is the cookie by which this browser is known.
func (p *person) device() string {
	for _, c := range p.client.Jar.Cookies(mustURL(p.o.server.URL)) {
		if c.Name == "__Host-dev" {
			return c.Value
		}
	}
	return ""
}

// known is a fresh browser with that cookie and no session.
func (o *office) known(device string) *person {
	p := o.visitor()
	p.client.Jar.SetCookies(mustURL(o.server.URL), []*http.Cookie{{Name: "__Host-dev", Value: device, Path: "/", Secure: true}})
	return p
}

// forgetFailures takes back that anybody has failed.
func (o *office) forgetFailures() {
	o.t.Helper()
	if _, err := o.intruder().Exec("DELETE FROM attempts"); err != nil {
		o.t.Fatal(err)
	}
}

func TestTheWaitGrowsWithEachFailure_T13(t *testing.T) { // R21
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	for _, typed := range []string{" ADA ", "nobody"} {
		stranger := o.visitor()
		for range 4 {
			stranger.fails(typed).want(422)
		}
		for _, wait := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 15 * time.Minute, 15 * time.Minute} {
			stranger.fails(typed).want(422)
			stranger.fails(typed).mustWait(wait)
			refused := o.visitorFrom("127.0.0.9").post("/login", ada.credentials(ada.codeAt(1)), htmx...) // all of it right
			if typed == "nobody" {
				refused.want(http.StatusNoContent)
				o.clock.advance(30 * time.Second)
			} else {
				refused.mustWait(wait)
			}
			o.clock.advance(wait)
		}
		ada.login()
	}
}

func TestWhoHasToWaitCannotTellWhetherTheNameIsKnown_T11(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	o.register("ada", "Ada Lovelace")
	seconds := regexp.MustCompile(`\d+ seconds|Retry-After \[\d+\]`)
	shown := func(a *answer, typed string) string { return seconds.ReplaceAllString(same(a, typed), "A WHILE") }
	answers := map[string][]string{}
	for _, typed := range []string{"ada", "bob"} {
		p := o.visitor()
		for range 6 {
			answers[typed] = append(answers[typed], shown(p.fails(typed), typed))
		}
		page := p.fails(typed).want(http.StatusTooManyRequests)
		if got := attr(page.id("username"), "value"); got != typed {
			t.Errorf("the name that was typed is %q now", got)
		}
		if len(page.cookie) > 0 {
			t.Errorf("a refused login sets %v", page.cookie)
		}
	}
	for i := range answers["ada"] {
		if answers["ada"][i] != answers["bob"][i] {
			t.Errorf("try %d differs:\n%s\n%s", i+1, answers["ada"][i], answers["bob"][i])
		}
	}
}

func TestThrottledTriesWriteNothing(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	for range 5 {
		o.visitor().fails("ada").want(422)
	}
	before := o.events("login.")
	for range 20 {
		o.visitor().fails("ada").want(http.StatusTooManyRequests)
	}
	if after := o.events("login."); !slices.Equal(before, after) {
		t.Errorf("the audit log goes on: %q", after[len(before):])
	}
	want := []string{"login.ok", "login.fail", "login.fail", "login.fail", "login.fail", "login.fail", "login.wait"}
	if !slices.Equal(before, want) {
		t.Errorf("the audit log has %q", before)
	}
	o.clock.advance(time.Minute)
	o.visitor().post("/login", ada.credentials("000000")).want(422)
	if after := o.events("login."); !slices.Equal(after[len(before):], []string{"login.code", "login.wait"}) {
		t.Errorf("a wrong code beside the right password is %q", after[len(before):])
	}
}

// events are the names of the audit log's events that begin so, in order.
func (o *office) events(prefix string) (names []string) {
	o.t.Helper()
	rows, err := o.intruder().Query("SELECT event FROM audit_log WHERE event LIKE ? || '%' ORDER BY n", prefix)
	if err != nil {
		o.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			o.t.Fatal(err)
		}
		names = append(names, name)
	}
	return names
}

func TestManyTriesAtOnceAreNoMoreThanOneAfterTheOther_T16(t *testing.T) { // R21
	t.Parallel()
	o := openOffice(t)
	o.register("ada", "Ada Lovelace")
	var mu sync.Mutex
	statuses := map[int]int{}
	var wait sync.WaitGroup
	for range 40 {
		p := o.visitor()
		wait.Go(func() {
			a := p.post("/login", fields{"username": "ada", "password": strings.Repeat("x", 128), "code": "000000"})
			mu.Lock()
			defer mu.Unlock()
			statuses[a.status]++
		})
	}
	wait.Wait()
	if statuses[422] != 5 || statuses[429] != 35 {
		t.Errorf("the answers are %v", statuses)
	}
}

func TestAnAddressHasThirtyFailuresOverAllNames(t *testing.T) { // R22
	t.Parallel()
	o := openOffice(t)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	spray := o.visitorFrom("127.0.0.2")
	for i := range 30 {
		spray.fails(fmt.Sprintf("somebody%d", i)).want(422)
	}
	spray.fails("somebody99").want(http.StatusTooManyRequests)
	o.visitorFrom("127.0.0.2").post("/login", ada.credentials(ada.codeAt(1))).mustWait(16 * time.Minute)
	o.visitorFrom("127.0.0.3").post("/login", ada.credentials(ada.codeAt(1))).wantRedirect("/rooms")
	spray.fails("somebody99", "X-Forwarded-For", "10.0.0.1").want(http.StatusTooManyRequests)

	o.restart()
	o.visitorFrom("127.0.0.2").fails("somebody99").want(http.StatusTooManyRequests)
	known := o.known(grace.device())
	known.at("127.0.0.2").post("/login", grace.credentials(grace.code())).wantRedirect("/rooms") // her own browser
	o.clock.advance(16 * time.Minute)
	o.visitorFrom("127.0.0.2").fails("somebody99").want(422)
}

func TestFailuresSurviveARestart(t *testing.T) { // R21
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	for _, typed := range []string{"ada", "nobody"} {
		for range 7 {
			o.visitor().fails(typed)
			o.clock.advance(time.Minute)
		}
	}
	o.visitor().fails("nobody").want(http.StatusTooManyRequests)
	o.visitor().fails("ada").want(422)
	o.restart()
	for _, typed := range []string{"ada", "nobody"} {
		o.visitor().fails(typed).want(http.StatusTooManyRequests)
	}
	o.clock.advance(15 * time.Minute)
	for _, typed := range []string{"ada", "nobody"} {
		o.visitor().fails(typed).want(422)
		o.visitor().fails(typed).want(http.StatusTooManyRequests)
	}
	o.clock.advance(15 * time.Minute)
	ada.reconnect()
	ada.login()
	o.visitor().fails("ada").want(422) // the first again
	o.visitor().fails("ada").want(422)
}

func TestAKnownDeviceIsNotLockedOutByStrangers_T15(t *testing.T) { // R23
	t.Parallel()
	o := openOffice(t)
	ada, eve := o.register("ada", "Ada Lovelace"), o.register("eve", "Eve Moneypenny")
	cookie := ada.device()
	if cookie == "" {
		t.Fatal("the registration leaves no device")
	}
	o.holdsNothingOf(map[string]string{"a device's cookie": cookie})
	lock := func() {
		for range 8 {
			o.visitor().fails("ada")
		}
		o.visitor().post("/login", ada.credentials(ada.codeAt(1))).want(http.StatusTooManyRequests)
	}
	lock()
	for name, other := range map[string]string{"somebody else's device": eve.device(), "one made up": "AAAAAAAAAAAAAAAAAAAAAAAAAA", "a long one": strings.Repeat("A", 4000)} {
		if a := o.known(other).post("/login", ada.credentials(ada.codeAt(1))); a.status != http.StatusTooManyRequests {
			t.Errorf("%s: %d", name, a.status)
		}
	}
	o.restart()
	signed := o.known(cookie).post("/login", ada.credentials(ada.code())).wantRedirect("/rooms")
	for _, c := range signed.cookie {
		if c.Name == "__Host-dev" && (!c.Secure || !c.HttpOnly || c.Path != "/" || c.Domain != "" || c.SameSite != http.SameSiteLaxMode || c.MaxAge != 180*24*3600 || len(c.Value) < 26) {
			t.Errorf("the cookie is %s", c)
		}
	}
	o.visitor().fails("ada").want(422) // a success ends the wait for all

	lock()
	mistyped := o.known(cookie)
	for range 10 { // its own ten
		mistyped.fails("ada").want(422)
	}
	mistyped.fails("ada").want(http.StatusTooManyRequests)
	mistyped.post("/login", ada.credentials(ada.codeAt(1))).want(http.StatusTooManyRequests) // from then on as any other
	o.clock.advance(16 * time.Minute)
	mistyped.post("/login", ada.credentials(ada.codeAt(0))).wantRedirect("/rooms")
	lock()
	mistyped.post("/login", ada.credentials(ada.code())).wantRedirect("/rooms") // its ten are back

	lock()
	o.clock.advance(181 * 24 * time.Hour)
	for range 5 {
		o.visitor().fails("ada")
	}
	o.known(cookie).post("/login", ada.credentials(ada.codeAt(0))).want(http.StatusTooManyRequests)
}

func TestAfterAHundredFailuresOnlyARecoveryCodeOrAKnownDeviceOpens(t *testing.T) { // R21
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	hundred := func(typed string) {
		for i := range 4 {
			o.visitor().fails(typed).want(422)
			if i == 2 { // the 96 in between, each with its wait, are the same again
				o.tamper("UPDATE attempts SET failures = 99 WHERE failures = 3")
			}
			if i >= 2 {
				o.clock.advance(16 * time.Minute)
			}
		}
	}
	hundred("ada")
	refused := o.visitor().post("/login", ada.credentials(ada.code())).want(422).contains("recovery codes")
	o.visitor().post("/login", ada.credentials(ada.recovery[0])).want(http.StatusTooManyRequests) // it waits like all others
	o.clock.advance(16 * time.Minute)
	o.visitor().post("/login", fields{"username": "ada", "password": "wrong lantern over the harbour", "code": ada.recovery[0]}).want(422)
	o.clock.advance(16 * time.Minute)
	o.visitor().post("/login", ada.credentials(ada.recovery[0])).wantRedirect("/login/enrol")
	o.visitor().post("/login", ada.credentials(ada.code())).wantRedirect("/rooms")

	hundred("nobody")
	if unknown := o.visitor().fails("nobody").want(422); same(unknown, "nobody") != same(refused, "ada") {
		t.Error("after a hundred failures somebody unknown is told apart")
	}
	hundred("ada")
	o.known(ada.device()).post("/login", ada.credentials(ada.code())).wantRedirect("/rooms")
	o.visitor().post("/login", ada.credentials(ada.code())).wantRedirect("/rooms")
}

func TestWrongRoomCodesAreLimited_T44(t *testing.T) { // R60
	t.Parallel()
	o := openOffice(t)
	ada, grace, eve := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper"), o.register("eve", "Eve Moneypenny")
	mel, lin := o.register("mel", "Mel Blanc"), o.register("lin", "Lin Wei")
	r := ada.createRoom("Engine room")
	try := func(p *person, code string) *answer { return p.post("/rooms/join", fields{"code": code}) }
	for i := range 10 {
		if i%2 == 0 {
			try(eve, fmt.Sprintf("0000-0000-0000-%04d", i)).want(404)
		} else {
			try(eve, "too short").want(422)
		}
	}
	try(eve, "0000-0000-0000-0000").want(http.StatusTooManyRequests)
	right := try(eve, r.code).mustWait(16 * time.Minute)
	if got := attr(right.id("code"), "value"); got != r.code {
		t.Errorf("what was typed is %q now", got)
	}
	o.restart()
	eve.reconnect()
	try(eve, r.code).want(http.StatusTooManyRequests)
	eve.login().post("/rooms/join", fields{"code": r.code}).want(http.StatusTooManyRequests)
	for _, p := range []*person{mel, lin} { // the same address
		p.reconnect()
		for i := range 10 {
			try(p, fmt.Sprintf("0000-0000-0000-%04d", i)).want(404)
		}
	}
	grace.reconnect()
	try(grace, r.code).want(http.StatusTooManyRequests)
	grace.at("127.0.0.8").post("/rooms/join", fields{"code": r.code}).wantRedirect(r.path(""))
	o.clock.advance(16 * time.Minute)
	try(eve, r.code).wantRedirect(r.path(""))
}

func TestManyRoomCodesAtOnceAreNoMoreThanOneAfterTheOther_T44(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	eve := o.register("eve", "Eve Moneypenny")
	var mu sync.Mutex
	statuses := map[int]int{}
	var wait sync.WaitGroup
	for i := range 40 {
		wait.Go(func() {
			a := eve.post("/rooms/join", fields{"code": fmt.Sprintf("0000-0000-0000-%04d", i)})
			mu.Lock()
			defer mu.Unlock()
			statuses[a.status]++
		})
	}
	wait.Wait()
	if statuses[404] != 10 || statuses[429] != 30 {
		t.Errorf("the answers are %v", statuses)
	}
}

func TestTheFilterOfTheREADMEFindsFailedLogins(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var filters []*regexp.Regexp
	for line := range strings.Lines(string(readme)) {
		line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "failregex ="))
		if strings.Contains(line, "<ADDR>") {
			filters = append(filters, regexp.MustCompile(strings.ReplaceAll(line, "<ADDR>", `([0-9A-Fa-f.:]+)`)))
		}
	}
	if len(filters) != 2 {
		t.Fatalf("the README has %d expressions", len(filters))
	}
	found := func(log string) (addresses []string) {
		for line := range strings.Lines(log) {
			// fail2ban takes the time out of a line before it looks at it
			line = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d`).ReplaceAllString(strings.TrimSuffix(line, "\n"), "")
			for _, f := range filters {
				if m := f.FindStringSubmatch(line); m != nil {
					addresses = append(addresses, m[1])
				}
			}
		}
		return addresses
	}
	for _, format := range []string{"text", "json"} {
		o := openOffice(t, func(s *settings) { s.jsonLog = format == "json" })
		ada := o.register("ada", "Ada Lovelace")
		o.visitorFrom("127.0.0.7").fails("ada").want(422)
		o.visitor().post("/login", ada.credentials("000000")).want(422)
		o.visitor().fails(`x" level=WARN msg="sign-in failed" address=10.0.0.1`).want(422)
		o.visitor().get("/login?x=sign-in+failed", "User-Agent", `{"level":"WARN","msg":"sign-in failed","address":"10.0.0.1"}`)
		ada.login()
		if got := found(o.log.String()); !slices.Equal(got, []string{"127.0.0.7", "127.0.0.1", "127.0.0.1"}) {
			t.Errorf("%s: found %q in\n%s", format, got, o.log.String())
		}
	}
}
