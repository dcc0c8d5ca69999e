package handlers_test

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// sudo confirms password and code and goes to a page that needs it.
func (p *person) sudo(page string) *answer {
	p.o.t.Helper()
	p.confirm(page).wantRedirect(page)
	return p.get(page).want(200)
}

func TestANewNameShowsAtOnceInTheRooms(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	ada, grace := o.register("ada", "Ada Byron"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	grace.join(r)
	ada.say(r, "Before")
	graces := grace.listen(r)
	zoe := o.register("zoe", "Zoe Washburne") // who shares no room with her
	apart := zoe.createRoom("Ward")
	zoes, elsewhere := zoe.listen(apart), zoe.stream(seenIn(zoe.get("/rooms")))
	page := ada.get("/account").want(200).contains("ada@example.org")
	if got := attr(page.id("full_name"), "value"); got != "Ada Byron" {
		t.Errorf("the form holds %q", got)
	}
	ada.post("/account", fields{"full_name": "  Ada Lovelace "}).wantRedirect("/account")
	graces.next("the list of members with the new name", func(e event) bool {
		return strings.Contains(e.data, "#members") && strings.Contains(e.data, "Ada Lovelace") && !strings.Contains(e.data, "Byron")
	})
	ada.say(r, "Afterwards")
	if e := graces.message("Afterwards"); !strings.Contains(e.data, "Ada Lovelace") {
		t.Errorf("the message came from somebody else: %s", e.data)
	}
	if body := grace.get(r.path("")).want(200).body; strings.Contains(body, "Byron") {
		t.Error("the room still knows the old name")
	}
	zoe.say(apart, "Nothing new")
	zoes.message("Nothing new")
	for what, l := range map[string]*listener{"a room": zoes, "a list of rooms": elsewhere} {
		l.cancel()
		for e := range l.events {
			if strings.Contains(e.data, "Lovelace") {
				t.Errorf("%s without her is told her name: %s", what, e.data)
			}
		}
	}
	ada.get("/account").want(200).contains("Your rooms show the new one.")

	for _, bad := range []string{"", " ", strings.Repeat("x", 65), "Ada\u202eLovelace"} {
		a := ada.post("/account", fields{"full_name": bad}).want(422)
		if attr(a.id("full_name"), "aria-invalid") != "true" || attr(a.id("full_name"), "value") != bad {
			t.Errorf("%q: the form has lost what was typed, or does not say what is wrong", bad)
		}
		ada.post("/account", fields{"full_name": bad}, htmx...).want(422).contains(`id="profile"`)
	}
	ada.get("/account").want(200).contains("Ada Lovelace")
}

func TestAnEmailAddressBelongsToOneAccount(t *testing.T) { // R1, R33
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	o.register("grace", "Grace Hopper")
	pending := o.visitor()
	pending.username, pending.fullName = "linus", "Linus Pauling"
	pending.post("/register", pending.registration()).wantRedirect("/register/confirm")

	ada.sudo("/account/email")
	for _, taken := range []string{"grace@example.org", "GRACE@example.org", "linus@example.org", "not an address", ""} {
		a := ada.post("/account/email", fields{"email": taken}).want(422)
		if attr(a.id("email"), "value") != taken || len(a.class("wrong")) != 1 {
			t.Errorf("%q: the form has lost what was typed, or does not say what is wrong", taken)
		}
	}
	ada.post("/account/email", fields{"email": "Ada@Example.org"}).wantRedirect("/account")
	ada.post("/account/email", fields{"email": "countess@example.org"}).wantRedirect("/account")
	ada.get("/account").want(200).contains("countess@example.org")
	next := o.visitor() // the old address is free, the new one is not
	next.username, next.fullName = "bob", "Bob Noyce"
	f := next.registration()
	f["email"] = "Countess@example.org"
	next.post("/register", f).want(422)
	f["email"] = "ada@example.org"
	next.post("/register", f).wantRedirect("/register/confirm")
}

func TestAnotherPasswordEndsAllOtherSessions_T21(t *testing.T) { // R6, R27
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	other := ada.login()
	stream := other.listen(r)
	ada.sudo("/account/password")
	old := ada.sid()
	for _, bad := range []string{"", "short", "1q2w3e4r5t6y", "adaadaadaada", "Ada LovelaceAda Lovelace", "ada@example.orgada@example.org", "conclaveconclave"} {
		a := ada.post("/account/password", fields{"password": bad}).want(422)
		if bad != "" && strings.Contains(a.body, `value="`+bad) {
			t.Errorf("%q comes back in the page", bad)
		}
		if strings.TrimSpace(text(a.id("password-error"))) == "" {
			t.Errorf("%q: the page does not say what is wrong", bad)
		}
	}
	const fresh = "seven green ladders by the well"
	ada.post("/account/password", fields{"password": fresh}).wantRedirect("/account")
	ada.get("/account").want(200).contains("Your password is changed")
	if events := stream.ends(2 * time.Second); len(events) == 0 || events[len(events)-1].name != "session-end" {
		t.Errorf("the stream of the other session ends with %v", events)
	}
	other.out()
	if ada.sid() == old {
		t.Error("the session has kept its token")
	}
	o.with(old).out()
	o.visitor().post("/login", fields{"username": "ada", "password": password, "code": ada.code()}).want(422)
	o.visitor().post("/login", fields{"username": "ada", "password": fresh, "code": ada.code()}).wantRedirect("/rooms")
	if strings.Contains(o.log.String(), fresh) {
		t.Error("the log holds the password")
	}
}

func TestTheOldAuthenticatorWorksUntilTheNewOneIsConfirmed_T21(t *testing.T) { // R16
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	other := ada.login()
	page := ada.sudo("/account/authenticator")
	fresh := strings.Join(strings.Fields(text(page.id("totp-secret"))), "")
	if fresh == ada.secret || len(fresh) != 32 {
		t.Fatalf("the new secret is %q", fresh)
	}
	if again := text(ada.get("/account/authenticator").want(200).id("totp-secret")); strings.Join(strings.Fields(again), "") != fresh {
		t.Error("a second look shows another secret")
	}
	wrong := ada.post("/account/authenticator", fields{"code": ada.code()}).want(422)
	wrong.contains("does not fit")
	if strings.Join(strings.Fields(text(wrong.id("totp-secret"))), "") != fresh {
		t.Error("after a wrong code the page shows another secret")
	}
	ada.login() // still with the old one
	old, oldSecret := ada.sid(), ada.secret
	ada.secret = fresh
	code := ada.code()
	ada.post("/account/authenticator", fields{"code": code}).wantRedirect("/account")
	ada.get("/account").want(200).contains("You have 10 recovery codes left")
	other.out()
	o.with(old).out()
	if again := text(ada.sudo("/account/authenticator").id("totp-secret")); strings.Join(strings.Fields(again), "") == fresh {
		t.Error("the secret is shown again")
	}
	o.visitor().post("/login", ada.credentials(code)).want(422) // R11: the code that confirmed it is used up
	ada.secret = oldSecret
	o.visitor().post("/login", ada.credentials(ada.code())).want(422)
	ada.secret = fresh
	ada.login()
}

func TestNewRecoveryCodesReplaceTheOldOnesAtOnce(t *testing.T) { // R14, R16
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	ada.get("/account/codes").want(200).contains("You have 10 left.")
	ada.post("/account/codes", nil).wantRedirect("/sudo?next=/account/codes")
	ada.sudo("/account/codes")
	ada.post("/account/codes", nil).wantRedirect("/register/recovery")
	old := ada.recovery
	ada.recovery = nil
	for _, n := range ada.get("/register/recovery").want(200).class("recovery-code") {
		ada.recovery = append(ada.recovery, strings.TrimSpace(text(n)))
	}
	if len(ada.recovery) != 10 || ada.recovery[0] == old[0] {
		t.Fatalf("the new codes are %v", ada.recovery)
	}
	ada.get("/account/codes").want(200).contains("waiting to be saved")
	for _, code := range old[:2] {
		o.visitor().post("/login", ada.credentials(code)).want(422)
	}
	ada.post("/register/recovery", nil).wantRedirect("/account/codes")
	ada.get("/register/recovery").wantRedirect("/rooms")
	o.visitor().post("/login", ada.credentials(ada.recovery[0])).wantRedirect("/login/enrol")
	ada.get("/account/codes").want(200).contains("You have 9 left.")
}

func TestFewRecoveryCodesAreSaidOnEveryPageOfTheAccount_T9(t *testing.T) { // R15
	t.Parallel()
	o := openOffice(t, func(s *settings) { s.scale = 10 })
	ada := o.register("ada", "Ada Lovelace")
	wrong := fields{"username": "ada", "password": "wrong lantern over the harbour", "code": ada.recovery[0]}
	o.visitor().post("/login", wrong).want(422)
	for _, code := range ada.recovery[:7] { // the first was not used up by the wrong password
		o.visitor().post("/login", ada.credentials(code)).wantRedirect("/login/enrol")
	}
	o.visitor().post("/login", ada.credentials(ada.recovery[0])).want(422)
	for _, page := range []string{"/account", "/account/codes", "/account/sessions"} {
		ada.get(page).want(200).contains("You have only 3 recovery codes left.")
	}
	if strings.Contains(ada.get("/rooms").want(200).body, "recovery code") {
		t.Error("the rooms nag about the recovery codes")
	}
}

func TestARecoveryCodeLeadsToANewAuthenticatorAndNothingElse_T10(t *testing.T) { // R15
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	phoneless := o.visitor()
	phoneless.username, phoneless.password = "ada", password
	phoneless.post("/login", ada.credentials(ada.recovery[0])).wantRedirect("/login/enrol")
	for _, page := range []string{"/rooms", r.path(""), "/account", "/account/password", "/account/sessions", "/account/codes", "/account/delete", "/sudo", "/register/recovery"} {
		phoneless.get(page).wantRedirect("/login/enrol")
	}
	for _, page := range []string{"/account", "/account/email", "/account/password", "/account/authenticator", "/account/codes", "/account/sessions/end-others", "/account/delete", "/sudo"} {
		phoneless.post(page, fields{"password": "seven green ladders by the well", "username": "ada", "full_name": "Eve"}).wantRedirect("/login/enrol")
	}
	phoneless.secret = strings.Join(strings.Fields(text(phoneless.get("/login/enrol").want(200).id("totp-secret"))), "")
	phoneless.post("/login/enrol", fields{"code": phoneless.code()}).wantRedirect("/rooms")
	phoneless.get("/rooms").want(200).contains("You have 9 recovery codes left")
	ada.out()
}

func TestWhatMattersNeedsAFreshConfirmation_T26(t *testing.T) { // R33
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	other := ada.login()
	name := attr(elements(ada.get("/account/sessions").want(200).doc(), func(n *html.Node) bool {
		return strings.HasPrefix(attr(n, "action"), "/account/sessions/") && strings.HasSuffix(attr(n, "action"), "/end")
	})[0], "action")
	guarded := map[string]string{
		"/account/email": "/account/email", "/account/password": "/account/password", "/account/authenticator": "/account/authenticator",
		"/account/codes": "/account/codes", "/account/sessions/end-others": "/account/sessions", name: "/account/sessions", "/account/delete": "/account/delete",
	}
	refused := func() {
		t.Helper()
		for path, back := range guarded {
			f := fields{"email": "eve@example.org", "password": "seven green ladders by the well", "code": ada.codeAt(0), "username": "ada"}
			ada.post(path, f).wantRedirect("/sudo?next=" + back)
			if a := ada.post(path, f, htmx...).want(204); a.header.Get("HX-Redirect") != "/sudo?next="+back {
				t.Errorf("%s leads htmx to %q", path, a.header.Get("HX-Redirect"))
			}
			if back == path && path != "/account/codes" {
				ada.get(path).wantRedirect("/sudo?next=" + back)
			}
		}
		other.get("/rooms").want(200)
		ada.get("/account").want(200).contains("ada@example.org")
		ada.get("/account/codes").want(200).contains("You have 10 left.")
	}
	refused()
	ada.sudo("/account/password")
	o.clock.advance(8 * time.Minute)
	ada.get("/account/password").wantRedirect("/sudo?next=/account/password") // no form that has no time left
	ada.post("/account/password", fields{"password": "short"}).want(422)      // but what was begun can be finished
	o.clock.advance(3 * time.Minute)
	refused()
	ada.sudo("/account/password")
	o.clock.advance(-time.Hour) // the clock is put back: that makes no confirmation last longer
	refused()
}

func TestASessionEndsAtItsLimitHoweverOftenItIsRenewed_T25(t *testing.T) {
	t.Parallel()
	o := openOffice(t, func(s *settings) { s.idle, s.lifetime = time.Hour, 2*time.Hour })
	ada := o.register("ada", "Ada Lovelace")
	o.clock.advance(40 * time.Minute)
	ada.sudo("/account/password")
	ada.post("/account/password", fields{"password": "seven green ladders by the well"}).wantRedirect("/account")
	ada.password = "seven green ladders by the well"
	o.clock.advance(40 * time.Minute)
	fresh := text(ada.sudo("/account/authenticator").id("totp-secret"))
	ada.secret = strings.Join(strings.Fields(fresh), "")
	ada.post("/account/authenticator", fields{"code": ada.code()}).wantRedirect("/account")
	o.clock.advance(35 * time.Minute)
	ada.get("/account").want(200)
	o.clock.advance(6 * time.Minute)
	ada.get("/account").wantRedirect("/login")
	ada.out()
}

// The person's other pages come back under the new token: what the old one has open ends only
// when the new one is on its way.
func TestARenewedSessionReleasesItsStreamsAfterTheAnswer(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	for range 3 {
		stream := ada.listen(r)
		ended := make(chan time.Time, 1)
		go func() {
			for range stream.events {
			}
			ended <- time.Now()
		}()
		var answered time.Time
		trace := &httptrace.ClientTrace{GotFirstResponseByte: func() { answered = time.Now() }}
		f := fields{"password": ada.password, "code": ada.code(), "next": "/rooms"}
		req, err := http.NewRequestWithContext(httptrace.WithClientTrace(context.Background(), trace), http.MethodPost, o.server.URL+"/sudo", strings.NewReader(f.encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", o.server.URL)
		res, err := ada.client.Do(req)
		if err != nil || res.StatusCode != http.StatusSeeOther {
			t.Fatalf("%v, %v", res, err)
		}
		res.Body.Close()
		select {
		case at := <-ended:
			if at.Before(answered) {
				t.Errorf("the stream ended %v before the new token came", answered.Sub(at))
			}
		case <-time.After(2 * time.Second):
			t.Fatal("the stream of the old token stays open")
		}
	}
}

func TestThePagesOfTheAccountHaveTheHeadersAndNoScript_T31(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	ada.login()
	ada.confirm("/account").wantRedirect("/account")
	for _, page := range []string{"/account", "/account/email", "/account/password", "/account/authenticator", "/account/codes", "/account/sessions", "/account/device", "/account/delete"} {
		for _, a := range []*answer{ada.get(page).want(200), ada.do(http.MethodPut, page, nil).want(404)} {
			checkHeaders(t, a.what, a.header, false)
			checkMarkup(t, a.what, a.body)
		}
	}
	for page, f := range map[string]fields{"/account": {"full_name": ""}, "/account/email": {"email": "x"}, "/account/password": {"password": "x"}, "/account/authenticator": {"code": "x"}, "/account/delete": {"username": "x"}} {
		for _, headers := range [][]string{nil, htmx} {
			a := ada.post(page, f, headers...).want(422)
			checkHeaders(t, a.what, a.header, false)
			checkMarkup(t, a.what, a.body)
		}
		ada.post(page, f, "Origin", "https://evil.example").want(403)
		ada.post(page, f, "Origin", "-").want(403)
	}
	ada.get("/account/sessions/end-others").want(404) // nothing changes by a look
}
