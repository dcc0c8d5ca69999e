package handlers_test

import (
	"strings"
	"testing"
	"time"
)

func TestAPasskeyStandsInForTheCode(t *testing.T) {
	t.Parallel()
	o := openOffice(t, named)
	ada := o.register("ada", "Ada Lovelace")
	phone := ada.addsPasskey("My phone")
	key := ada.addsPasskey("Key on the ring")
	page := ada.get("/account/passkeys").want(200).contains("My phone").contains("Key on the ring").contains("not used yet").contains("localhost")
	checkMarkup(t, "the page", page.body)
	checkMarkup(t, "a challenge", o.visitor().post("/login/passkey", nil, htmx...).want(200).body)
	if n := len(elements(page.id("main"), func(n *nodeT) bool { return strings.HasSuffix(attr(n, "action"), "/remove") })); n != 2 {
		t.Errorf("%d passkeys can be removed", n)
	}
	for _, d := range []*device{phone, key} {
		other := o.visitor()
		other.post("/login", other.signs("ada", password, d)).wantRedirect("/rooms")
		other.get("/rooms").want(200).contains("Ada Lovelace")
	}
	if body := ada.get("/account/passkeys").want(200).body; strings.Contains(body, "not used yet") {
		t.Error("both were used, and the page does not say so")
	}
	// the code works as before
	ada.login().get("/rooms").want(200)
}

func TestAPasskeyGetsAnotherNameAndGoesOnOpening(t *testing.T) {
	t.Parallel()
	o := openOffice(t, named)
	ada, eve := o.register("ada", "Ada Lovelace"), o.register("eve", "Eve Moneypenny")
	phone := ada.addsPasskey("My phone")
	page := ada.get("/account/passkeys").want(200)
	var id string
	for _, form := range elements(page.id("main"), func(n *nodeT) bool { return strings.HasSuffix(attr(n, "action"), "/name") }) {
		id = strings.Split(attr(form, "action"), "/")[3]
	}
	path := "/account/passkeys/" + id + "/name"
	if got := attr(page.id("name-"+id), "value"); got != "My phone" {
		t.Fatalf("the form begins with %q", got)
	}
	for _, bad := range []string{"", "   ", strings.Repeat("x", 41), "a\u0000b"} {
		again := ada.post(path, fields{"name-" + id: bad}).want(422)
		if attr(again.id("name-"+id), "aria-invalid") != "true" {
			t.Errorf("%q is not marked", bad)
		}
	}
	eve.post(path, fields{"name-" + id: "Eve's"}).want(404)
	ada.post("/account/passkeys/"+strings.Repeat("0", 32)+"/name", fields{"name-" + strings.Repeat("0", 32): "Nobody's"}).want(404)
	ada.post(path, fields{"name-" + id: " Old <b>phone</b> "}).wantRedirect("/account/passkeys")
	page = ada.get("/account/passkeys").want(200).contains("Old &lt;b&gt;phone&lt;/b&gt;")
	if strings.Contains(page.body, "My phone") {
		t.Error("the old name is still there")
	}
	checkMarkup(t, "the page", page.body)
	other := o.visitor()
	other.post("/login", other.signs("ada", password, phone)).wantRedirect("/rooms")
	var named int
	if err := o.intruder().QueryRow("SELECT count(*) FROM audit_log WHERE event = 'account.passkey-name'").Scan(&named); err != nil || named != 1 {
		t.Errorf("%d events, %v", named, err)
	}
	if err := o.intruder().QueryRow("SELECT count(*) FROM passkeys WHERE instr(credential, 'Old <b>')").Scan(&named); err != nil || named != 0 {
		t.Errorf("%d names in clear, %v", named, err)
	}
	var factor string
	if err := o.intruder().QueryRow("SELECT outcome FROM audit_log WHERE event = 'login.ok' ORDER BY n DESC LIMIT 1").Scan(&factor); err != nil || factor != "passkey" {
		t.Errorf("the audit log says she logged in with %q, %v", factor, err)
	}
	for code, want := range map[string]string{ada.code(): "code", ada.recovery[0]: "recovery code"} {
		v := o.visitor()
		v.post("/login", fields{"username": "ada", "password": password, "code": code}).want(303)
		if want == "recovery code" {
			v.secret = strings.Join(strings.Fields(text(v.get("/login/enrol").want(200).id("totp-secret"))), "")
			v.post("/login/enrol", fields{"code": v.code()}).wantRedirect("/rooms")
		}
		if err := o.intruder().QueryRow("SELECT outcome FROM audit_log WHERE event = 'login.ok' ORDER BY n DESC LIMIT 1").Scan(&factor); err != nil || factor != want {
			t.Errorf("the audit log says she logged in with %q, not a %s: %v", factor, want, err)
		}
	}
}

func TestAPasskeyIsNothingWithoutThePassword_T11(t *testing.T) {
	t.Parallel()
	o := openOffice(t, named)
	ada, eve := o.register("ada", "Ada Lovelace"), o.register("eve", "Eve Moneypenny")
	adas, eves := ada.addsPasskey("My phone"), eve.addsPasskey("My phone")
	for name, headers := range map[string][]string{"page": nil, "fragment": htmx} {
		var first string
		for _, try := range []struct {
			what, username, password string
			d                        *device
		}{
			{"a wrong password with the right passkey", "ada", "wrong lantern over the harbour", adas},
			{"no password", "ada", "", adas},
			{"the right password with somebody else's passkey", "ada", password, eves},
			{"the right password with a passkey that nobody has", "ada", password, &device{t: t, key: adas.key, id: []byte("nobody's"), site: "localhost", handle: adas.handle}},
			{"the right password with a false signature", "ada", password, &device{t: t, key: eves.key, id: adas.id, site: "localhost", handle: adas.handle}},
			{"the right password with a passkey of another site", "ada", password, &device{t: t, key: adas.key, id: adas.id, site: "evil.example", handle: adas.handle}},
			{"somebody unknown with a passkey", "bob", password, adas},
		} {
			v := o.visitor()
			a := v.post("/login", v.signs(try.username, try.password, try.d), headers...).want(422)
			a.header.Del("Set-Cookie") // of a session that is nobody's
			got := same(a, try.username)
			if first == "" {
				first = got
			}
			if got != first {
				t.Errorf("%s: %s is told apart:\n%s\nfrom\n%s", name, try.what, got, first)
			}
			v.get("/rooms").wantRedirect("/login")
		}
	}
}

func TestAChallengeIsGoodForOneAnswerAndFiveMinutes(t *testing.T) {
	t.Parallel()
	o := openOffice(t, named)
	ada := o.register("ada", "Ada Lovelace")
	phone := ada.addsPasskey("My phone")

	v := o.visitor()
	signed := v.signs("ada", password, phone)
	signed["password"] = "wrong lantern over the harbour"
	v.post("/login", signed).want(422)
	signed["password"] = password
	v.post("/login", signed).want(422)

	w := v.asks("/login/passkey", nil) // a new challenge; the old answer is none
	v.post("/login", signed).want(422)
	if w.Challenge == "" || len(w.Allow) > 0 || w.User.Name != "" {
		t.Errorf("the challenge of a login says who might answer it: %+v", w)
	}

	signed = v.signs("ada", password, phone)
	o.visitor().post("/login", signed).want(422) // from a browser that has not asked
	o.clock.advance(5*time.Minute + time.Second)
	v.post("/login", signed).want(422)

	signed = v.signs("ada", password, phone)
	signed["passkey"] = phone.sign(v.asks("/login/passkey", nil), "https://evil.example")
	v.post("/login", signed).want(422) // answered on another page
	o.clock.advance(16 * time.Minute)
	signed["passkey"] = phone.sign(v.asks("/login/passkey", nil), strings.Replace(o.server.URL, "localhost", "sub.localhost", 1))
	v.post("/login", signed).want(422)

	// of two at once, one gets in
	o.clock.advance(16 * time.Minute)
	ada.login() // nothing has failed since
	signed = v.signs("ada", password, phone)
	twin := o.with(v.sid())
	results := make(chan int)
	for _, p := range []*person{v, twin} {
		go func() { results <- p.post("/login", signed).status }()
	}
	if a, b := <-results, <-results; a+b != 303+422 {
		t.Errorf("two answers to one challenge: %d and %d", a, b)
	}
}

func TestAChallengeForOneThingConfirmsNothingElse(t *testing.T) {
	t.Parallel()
	o := openOffice(t, named)
	ada := o.register("ada", "Ada Lovelace")
	phone := ada.addsPasskey("My phone")
	o.clock.advance(11 * time.Minute) // what was confirmed is over

	ada.get("/sudo").want(200).contains("passkey")
	ada.post("/sudo", fields{"password": password, "passkey": phone.sign(ada.asks("/sudo/passkey", nil), o.server.URL), "next": "/rooms"}).wantRedirect("/rooms")
	ada.post("/sudo", fields{"password": "wrong lantern over the harbour", "passkey": phone.sign(ada.asks("/sudo/passkey", nil), o.server.URL)}).want(422)
	w := ada.asks("/account/passkeys/new", fields{"name": "Another"})
	ada.post("/sudo", fields{"password": password, "passkey": phone.sign(w, o.server.URL)}).want(422)
	w = ada.asks("/sudo/passkey", nil)
	w.RP.ID, w.User.ID = "localhost", base(phone.handle)
	ada.post("/account/passkeys", fields{"name": "Another", "passkey": newDevice(t).make(w, o.server.URL)}).want(422)
}

func TestAPasskeyIsMadeOnlyByWhoeverConfirmsBothFactors_T26(t *testing.T) {
	t.Parallel()
	o := openOffice(t, named)
	ada := o.register("ada", "Ada Lovelace")
	const back = "/sudo?next=/account/passkeys"
	for _, path := range []string{"/account/passkeys", "/account/passkeys/new", "/account/passkeys/" + strings.Repeat("0", 32) + "/remove"} {
		ada.post(path, fields{"name": "My phone"}).wantRedirect(back)
		if a := ada.post(path, nil, htmx...).want(204); a.header.Get("HX-Redirect") != back {
			t.Errorf("%s leads to %q", path, a.header.Get("HX-Redirect"))
		}
		o.visitor().post(path, nil).wantRedirect("/login")
	}
	phone := ada.addsPasskey("My phone")
	o.clock.advance(10*time.Minute + time.Second)
	ada.post("/account/passkeys/new", fields{"name": "Another"}).wantRedirect(back)

	ada.confirm("/rooms").wantRedirect("/rooms")
	for what, f := range map[string]fields{
		"a name of spaces":    {"name": "   "},
		"a name too long":     {"name": strings.Repeat("x", 41)},
		"a name of two lines": {"name": "a\nb"},
	} {
		ada.post("/account/passkeys/new", f, htmx...).want(422).contains("The name")
		f["passkey"] = newDevice(t).make(wish{}, o.server.URL)
		if a := ada.post("/account/passkeys", f).want(422); len(a.class("wrong")) == 0 {
			t.Errorf("%s: nothing beside the field", what)
		}
	}
	ada.post("/account/passkeys", fields{"name": "Without a script"}).want(422).contains("JavaScript").contains("Without a script")
	ada.post("/account/passkeys", fields{"name": "Nonsense", "passkey": "{"}).want(422)
	w := ada.asks("/account/passkeys/new", fields{"name": "Nonsense"})
	ada.post("/account/passkeys", fields{"name": "Nonsense", "passkey": newDevice(t).sign(w, o.server.URL)}).want(422)
	w = ada.asks("/account/passkeys/new", fields{"name": "The same"})
	if len(w.Exclude) != 1 || w.Exclude[0].ID != base(phone.id) {
		t.Errorf("the device is not told that it has one already: %+v", w.Exclude)
	}
	ada.post("/account/passkeys", fields{"name": "The same", "passkey": phone.make(w, o.server.URL)}).want(409).contains("in use already")
	if w.User.Name != "ada" || strings.Contains(o.log.String(), w.Challenge) {
		t.Errorf("the device is told %+v, or the log holds the challenge", w.User)
	}
	w = ada.asks("/account/passkeys/new", fields{"name": "From elsewhere"})
	ada.post("/account/passkeys", fields{"name": "From elsewhere", "passkey": newDevice(t).make(w, "https://evil.example")}).want(422)
	if n := len(ada.get("/account/passkeys").want(200).class("passkey-name")); n != 1 {
		t.Errorf("%d passkeys", n)
	}
}

func TestARemovedPasskeyStaysDeadWhateverTheDatabaseSays(t *testing.T) {
	t.Parallel()
	o := openOffice(t, named)
	ada, eve := o.register("ada", "Ada Lovelace"), o.register("eve", "Eve Moneypenny")
	lost := ada.addsPasskey("The lost phone")
	kept := ada.addsPasskey("Key on the ring")
	remove := func(p *person, name string) *answer {
		t.Helper()
		for _, li := range elements(ada.get("/account/passkeys").want(200).doc(), func(n *nodeT) bool { return n.Data == "li" && strings.Contains(text(n), name) }) {
			for _, f := range elements(li, func(n *nodeT) bool { return n.Data == "form" && strings.HasSuffix(attr(n, "action"), "/remove") }) {
				return p.post(attr(f, "action"), nil)
			}
		}
		t.Fatalf("no passkey %q on the page", name)
		return nil
	}
	eve.confirm("/rooms").wantRedirect("/rooms")
	remove(eve, "The lost phone").want(404)
	db := o.intruder()
	if _, err := db.Exec("CREATE TABLE kept_passkeys AS SELECT * FROM passkeys"); err != nil {
		t.Fatal(err)
	}
	remove(ada, "The lost phone").wantRedirect("/account/passkeys")
	tries := func(d *device) int {
		t.Helper()
		v := o.visitor()
		return v.post("/login", v.signs("ada", password, d)).status
	}
	if a, b := tries(lost), tries(kept); a != 422 || b != 303 {
		t.Errorf("the removed passkey: %d, the other: %d", a, b)
	}
	if _, err := db.Exec("INSERT OR IGNORE INTO passkeys SELECT * FROM kept_passkeys"); err != nil {
		t.Fatal(err)
	}
	if status := tries(lost); status != 422 {
		t.Errorf("the passkey that was put back: %d", status)
	}
	ada.get("/account/passkeys").want(200).contains("none of them counts")
	ada.login() // the code is not concerned
	if log := o.log.String(); !strings.Contains(log, "class=passkey") {
		t.Error("nobody who runs the server is told")
	}

	// What is done to the account next does not vouch for it either.
	fresh := ada.addsPasskey("A new phone")
	if a, b := tries(lost), tries(fresh); a != 422 || b != 303 {
		t.Errorf("after the next change the passkey that was put back: %d, the new one: %d", a, b)
	}
	if body := ada.get("/account/passkeys").want(200).body; strings.Contains(body, "none of them counts") || strings.Contains(body, "lost phone") {
		t.Error("the page still shows what was put back")
	}
	o.restart()
	if a, b := tries(lost), tries(fresh); a != 422 || b != 303 {
		t.Errorf("after a restart the removed passkey: %d, the new one: %d", a, b)
	}
}

func TestAPasskeyMovedToAnotherAccountOpensNothing(t *testing.T) {
	t.Parallel()
	o := openOffice(t, named)
	ada, eve := o.register("ada", "Ada Lovelace"), o.register("eve", "Eve Moneypenny")
	eves := eve.addsPasskey("My phone")
	o.tamper("UPDATE passkeys SET user_id = (SELECT id FROM users WHERE id <> user_id)")
	for _, p := range []*person{ada, eve} {
		v := o.visitor()
		v.post("/login", v.signs(p.username, password, eves)).want(422)
	}
}

func TestACopiedPasskeyIsFoundOutByItsCount(t *testing.T) {
	t.Parallel()
	o := openOffice(t, named)
	ada := o.register("ada", "Ada Lovelace")
	phone := ada.addsPasskey("Key on the ring")
	copied := *phone
	phone.counts, copied.counts = true, true
	in := func(d *device) *answer {
		t.Helper()
		v := o.visitor()
		return v.post("/login", v.signs("ada", password, d))
	}
	in(phone).want(303)
	in(phone).want(303)
	in(&copied).want(422)
	var events int
	if err := o.intruder().QueryRow("SELECT count(*) FROM audit_log WHERE event = 'passkey.clone'").Scan(&events); err != nil || events != 1 {
		t.Errorf("%d events in the audit log: %v", events, err)
	}
	in(phone).want(303)
}

func TestPasskeysNeedAName(t *testing.T) {
	t.Parallel()
	for _, byName := range []bool{true, false} {
		o := openOffice(t, func(s *settings) { s.named = byName })
		ada, v := o.register("ada", "Ada Lovelace"), o.visitor()
		ada.confirm("/account/passkeys").wantRedirect("/account/passkeys")
		page, login := ada.get("/account/passkeys").want(200), v.get("/login").want(200)
		offered := len(elements(page.doc(), func(n *nodeT) bool { return n.Data == "passkey-step" }))
		hidden := strings.Contains(login.body, `<passkey-step class="passkey-step" data-ask="/login/passkey">`)
		if (offered == 1) != byName || hidden != byName {
			t.Errorf("by name %v: offered %v, ready at the login %v", byName, offered, hidden)
		}
		v.post("/login/passkey", nil).wantRedirect("/login") // nobody asks without the module
		if !byName {
			page.contains("by a number")
			ada.post("/account/passkeys/new", fields{"name": "My phone"}, htmx...).want(422).contains("by the name of its server")
			v.post("/login/passkey", nil, htmx...).want(422).contains("by the name of its server")
		}
	}
}

func TestChallengesAreThrottledByAddress(t *testing.T) {
	t.Parallel()
	o := openOffice(t, named)
	for range 60 {
		o.visitor().asks("/login/passkey", nil)
	}
	a := o.visitor().post("/login/passkey", nil, htmx...).want(429).contains("too often")
	if a.header.Get("Retry-After") == "" {
		t.Error("nobody says how long to wait")
	}
}

func TestTheDatabaseHoldsNoPasskeyInClear_T18(t *testing.T) {
	t.Parallel()
	o := openOffice(t, named)
	ada := o.register("ada", "Ada Lovelace")
	phone := ada.addsPasskey("Telephone of a certain make")
	o.holdsNothingOf(map[string]string{
		"the name": "Telephone of a certain make", "the credential": string(phone.id), "the handle": string(phone.handle),
		"the handle as text": base(phone.handle), "the site": "localhost",
	})
}
