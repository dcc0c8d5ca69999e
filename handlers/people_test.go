package handlers_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"conclave/models"
)

// administrator registers somebody who then administers the server, as the command line would do it.
func (o *office) administrator(username, fullName string) *person {
	o.t.Helper()
	p := o.register(username, fullName)
	if err := o.store.Promote(o.t.Context(), models.By{}, o.account(username).ID); err != nil {
		o.t.Fatal(err)
	}
	return p
}

func (o *office) account(username string) models.Account {
	o.t.Helper()
	accounts, err := o.store.Accounts(o.t.Context())
	if err != nil {
		o.t.Fatal(err)
	}
	for _, a := range accounts {
		if a.Username == username {
			return a
		}
	}
	o.t.Fatalf("nobody is called %s", username)
	return models.Account{}
}

// page is where the administration shows somebody.
func (p *person) page(rest string) string {
	return "/admin/people/" + p.o.account(p.username).ID.String() + rest
}

func linkIn(a *answer, id string) (token string) {
	a.t.Helper()
	u, err := url.Parse(strings.TrimSpace(text(a.id(id))))
	if err != nil {
		a.t.Fatal(err)
	}
	_, token, _ = strings.Cut(u.Fragment, "=")
	return token
}

func TestAResetLinkSetsThePasswordAndNothingElse(t *testing.T) { // R8
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.administrator("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	second := grace.login()
	r := grace.createRoom("Engine room")
	stream := o.open(second, r)
	ada.confirm("/rooms").wantRedirect("/rooms")
	made := ada.post(grace.page("/reset"), nil).want(200)
	token := linkIn(made, "reset-link")
	if len(token) != 64 || !strings.HasPrefix(strings.TrimSpace(text(made.id("reset-link"))), o.server.URL+"/reset#reset=") {
		t.Fatalf("the link is %q", text(made.id("reset-link")))
	}
	if strings.Contains(ada.get(grace.page("")).body, token) {
		t.Error("the link is shown twice")
	}
	grace.get("/rooms").want(200) // a link alone changes nothing

	somebody := o.visitor()
	somebody.get("/reset").want(200).id("token")
	const fresh = "an otter reads the evening paper"
	short := somebody.post("/reset", fields{"token": token, "password": "too short"}).want(422)
	if attr(short.id("password"), "aria-invalid") != "true" || attr(short.id("token"), "value") != token || strings.Contains(short.body, "too short") {
		t.Error("the form does not come back with what was typed and what is wrong")
	}
	if a := somebody.post("/reset?token="+token, fields{"password": fresh}); a.status != 422 {
		t.Errorf("a token in the address: %d", a.status)
	}
	somebody.post("/reset", fields{"token": o.server.URL + "/reset#reset=" + token, "password": fresh}).wantRedirect("/login")
	if a := somebody.get("/login").want(200); !strings.Contains(a.body, "new password is set") {
		t.Error("the login says nothing about it")
	}
	if strings.Contains(somebody.get("/login").body, "new password is set") {
		t.Error("the notice is shown twice")
	}
	if events := stream.ends(2 * time.Second); len(events) == 0 || events[len(events)-1].name != "session-end" {
		t.Errorf("the stream ended with %v", events)
	}
	grace.out()
	second.out()
	somebody.out()

	grace.password = fresh
	for what, code := range map[string]string{"no code": "", "a wrong code": "000000"} {
		if a := somebody.post("/login", grace.credentials(code)); a.status != 422 {
			t.Errorf("the new password with %s: %d", what, a.status)
		}
	}
	somebody.post("/login", fields{"username": "grace", "password": password, "code": grace.code()}).want(422)
	somebody.post("/login", grace.credentials(grace.recovery[0])).wantRedirect("/login/enrol")
	somebody.get(r.path("")).wantRedirect("/login/enrol")
	again := grace.login()
	again.get(r.path("")).want(200)
	if log := o.log.String(); strings.Contains(log, token) || strings.Contains(log, fresh) {
		t.Error("a secret is in the log")
	}
}

func TestADeadResetLinkTellsNothing(t *testing.T) { // R8, R34
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace, linus := o.administrator("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper"), o.register("linus", "Linus Pauling")
	mary := o.register("mary", "Mary Somerville")
	link := func(p *person) string {
		ada.confirm("/rooms").wantRedirect("/rooms")
		return linkIn(ada.post(p.page("/reset"), nil).want(200), "reset-link")
	}
	late := link(grace)
	o.clock.advance(30*time.Minute + time.Second)
	older, used := link(linus), link(linus)
	o.visitor().post("/reset", fields{"token": used, "password": "an otter reads the evening paper"}).wantRedirect("/login")
	disabled := link(mary)
	ada.post(mary.page("/disable"), nil).wantRedirect(mary.page(""))
	eve := o.visitor()
	want := same(eve.post("/reset", fields{"token": "0", "password": password}).want(422), "0")
	for what, token := range map[string]string{"late": late, "replaced": older, "used": used, "of somebody disabled": disabled, "made up": strings.Repeat("0", 64), "long": strings.Repeat("0", 60_000)} {
		if got := same(eve.post("/reset", fields{"token": token, "password": password}).want(422), token); got != want {
			t.Errorf("%s: the answer differs:\n%s\n%s", what, shortened(got), shortened(want))
		}
	}
	for _, f := range []fields{{}, {"password": password}, {"token": used}} {
		eve.post("/reset", f).want(422)
	}
	if a := eve.post("/reset", fields{"token": used, "password": password}, htmx...).want(422); strings.Contains(a.body, "<html") {
		t.Error("htmx gets a whole page")
	}
}

func TestOneAddressTriesThirtyResets(t *testing.T) { // R22
	t.Parallel()
	o := openOffice(t)
	eve := o.visitor()
	for range 30 {
		eve.post("/reset", fields{"token": "0", "password": password}).want(422)
	}
	if a := eve.post("/reset", fields{"token": "0", "password": password}).want(http.StatusTooManyRequests); a.header.Get("Retry-After") == "" {
		t.Error("nobody is told how long to wait")
	}
}

func TestADisabledPersonIsOutAtOnceAndStaysOut(t *testing.T) { // R30, C14
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.administrator("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := grace.createRoom("Engine room")
	ada.join(r)
	streams := []*listener{o.open(grace, r), grace.stream("/feed")}
	ada.confirm("/rooms").wantRedirect("/rooms")
	ada.post(grace.page("/disable"), nil).wantRedirect(grace.page(""))
	for _, s := range streams {
		if events := s.ends(2 * time.Second); len(events) == 0 || events[len(events)-1].name != "session-end" {
			t.Errorf("a stream ended with %v", events)
		}
	}
	grace.out()
	unknown := o.visitor().post("/login", fields{"username": "nob", "password": password, "code": "123456"}).want(422)
	locked := func(what string) {
		t.Helper()
		if a := o.visitor().post("/login", grace.credentials(grace.code())).want(422); same(a, "grace") != same(unknown, "nob") {
			t.Errorf("%s: a disabled person is told apart from nobody", what)
		}
	}
	locked("disabled")
	if page := ada.get(grace.page("")).want(200); !strings.Contains(page.body, "disabled") {
		t.Error("the page does not say so")
	}
	if room := ada.get(r.path("")).want(200); !strings.Contains(room.body, "Grace Hopper") {
		t.Error("the membership is gone")
	}
	id := o.account("grace").ID
	o.tamper("UPDATE users SET disabled_ms = NULL WHERE id = ?", id[:])
	locked("with the column cleared")
	ada.post(grace.page("/enable"), nil).wantRedirect(grace.page(""))
	grace.login().get(r.path("")).want(200)
	grace.out() // what was ended stays so
}

func TestPromotionAndDemotionHoldAtOnce(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.administrator("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	ada.confirm("/rooms").wantRedirect("/rooms")
	if a := ada.post(ada.page("/demote"), nil).want(http.StatusConflict); !strings.Contains(a.body, "Make somebody else one first") {
		t.Error("the page does not say what to do")
	}
	ada.get("/admin").want(200)
	grace.get("/admin").want(http.StatusForbidden)
	ada.post(grace.page("/promote"), nil).wantRedirect(grace.page(""))
	grace.get("/admin/people").want(200).contains("Ada Lovelace")
	ada.post(grace.page("/promote"), nil).want(http.StatusConflict)
	ada.post(grace.page("/demote"), nil).wantRedirect(grace.page(""))
	grace.get("/admin/people").want(http.StatusForbidden)
	ada.post(ada.page("/disable"), nil).want(http.StatusConflict)
	ada.post(grace.page("/promote"), nil).wantRedirect(grace.page(""))
	ada.post(ada.page("/demote"), nil).wantRedirect("/rooms")
	ada.get("/rooms").want(200).contains("no administrator any more")
	ada.get("/admin").want(http.StatusForbidden)
	grace.confirm("/rooms").wantRedirect("/rooms")
	grace.post(ada.page("/sessions"), nil).wantRedirect(ada.page(""))
	ada.out()
}

// everyDeed are the routes of these pages that change something.
func everyDeed(p *person, invitation string) []string {
	list := []string{"/admin/invitations", "/admin/invitations/" + invitation + "/revoke"}
	for _, deed := range []string{"/promote", "/demote", "/disable", "/enable", "/reset", "/sessions"} {
		list = append(list, p.page(deed))
	}
	return list
}

func TestOnlyAnAdministratorWhoHasConfirmedItChangesAnything(t *testing.T) { // T26, T38, R33
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.administrator("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	if _, err := o.store.Invite(t.Context(), models.By{User: o.account("ada").ID}, 1, time.Hour); err != nil {
		t.Fatal(err)
	}
	invitations := func() string {
		list, err := o.store.Invitations(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(list)
	}
	list, _ := o.store.Invitations(t.Context())
	before := invitations() + fmt.Sprint(o.account("ada"), o.account("grace"))
	deeds := everyDeed(ada, list[0].ID.String())
	form := fields{"uses": "5", "hours": "24"}
	grace.confirm("/rooms").wantRedirect("/rooms")
	for _, path := range append(deeds, ada.page("/nonsense"), "/admin/people/nonsense/promote") {
		if a := grace.post(path, form); a.status != http.StatusForbidden && a.status != http.StatusNotFound {
			t.Errorf("%s by a member: %d", path, a.status)
		}
		if a := o.visitor().post(path, form); a.status != http.StatusSeeOther && a.status != http.StatusNotFound || strings.HasPrefix(a.header.Get("Location"), "/sudo") {
			t.Errorf("%s by a stranger: %d to %q", path, a.status, a.header.Get("Location"))
		}
	}
	for _, path := range []string{"/admin", "/admin/people", ada.page(""), "/admin/people/nonsense", "/admin/invitations"} {
		grace.get(path).want(http.StatusForbidden)
		o.visitor().get(path).wantRedirect("/login")
	}
	for _, path := range deeds {
		back := path[:strings.LastIndex(path, "/")]
		if strings.HasPrefix(path, "/admin/invitations") {
			back = "/admin/invitations"
		}
		ada.post(path, form).wantRedirect("/sudo?next=" + back)
		if a := ada.get(path); a.status == 200 && path != "/admin/invitations" {
			t.Errorf("GET %s: 200", path)
		}
	}
	if after := invitations() + fmt.Sprint(o.account("ada"), o.account("grace")); after != before {
		t.Errorf("something has changed:\n%s\n%s", before, after)
	}
	ada.confirm("/rooms").wantRedirect("/rooms")
	for _, path := range []string{"/admin/people/nonsense", "/admin/people/" + strings.Repeat("0", 32)} {
		ada.get(path).want(http.StatusNotFound)
		ada.post(path+"/disable", nil).want(http.StatusNotFound)
	}
	ada.post("/admin/invitations/"+strings.Repeat("0", 32)+"/revoke", nil).want(http.StatusNotFound)
	o.clock.advance(10*time.Minute + time.Second)
	ada.post(grace.page("/disable"), nil).wantRedirect("/sudo?next=" + grace.page(""))
}

func TestPeopleAreFoundByTheirNames(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada := o.administrator("ada", "Ada Lovelace")
	o.register("grace", "Grace <b>Hopper</b>")
	r := ada.createRoom("The quiet library")
	rows := func(path string) (names []string) {
		t.Helper()
		for _, n := range elements(ada.get(path).want(200).doc(), func(n *nodeT) bool { return attr(n, "data-label") == "Name" }) {
			names = append(names, strings.Join(strings.Fields(text(n)), " "))
		}
		return names
	}
	want := "Ada Lovelace @ada|Grace <b>Hopper</b> @grace"
	for path, want := range map[string]string{
		"/admin/people": want, "/admin/people?q=": want, "/admin/people?page=99": want, "/admin/people?page=x": want, "/admin/people?q=a": want,
		"/admin/people?q=LOVE": "Ada Lovelace @ada", "/admin/people?q=%40grace": "Grace <b>Hopper</b> @grace", "/admin/people?q=%3Cb": "Grace <b>Hopper</b> @grace", "/admin/people?q=nobody": "", "/admin/people?q=example.org": "",
	} {
		if got := strings.Join(rows(path), "|"); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	ada.get("/admin/people?q=nobody").contains("Nobody here has that name")
	list, page := ada.get("/admin/people"), ada.get(o.visitorNamed("grace").page("")).want(200)
	if strings.Contains(list.body, "@example.org") || !strings.Contains(page.body, "grace@example.org") {
		t.Error("the address stands in the list, or not on the person's page")
	}
	for _, a := range []*answer{list, page, ada.get(ada.page(""))} {
		if strings.Contains(a.body, "quiet library") || strings.Contains(a.body, r.id) {
			t.Errorf("%s names a room", a.what)
		}
	}
}

func (o *office) visitorNamed(username string) *person {
	p := o.visitor()
	p.username = username
	return p
}

func TestAnInvitationOpensTheDoorThatModesLeave(t *testing.T) { // R7
	t.Parallel()
	o := openOffice(t, quick, func(s *settings) { s.registration = "open" })
	ada, begun := o.administrator("ada", "Ada Lovelace"), o.visitorNamed("mary")
	mode := func(registration string) {
		o.set.registration = registration
		o.restart()
		ada.client.CloseIdleConnections() // they lead to the server that was
		begun.client.CloseIdleConnections()
	}
	mode("invite")
	ada.confirm("/rooms").wantRedirect("/rooms")
	for field, f := range map[string]fields{"uses": {"uses": "501", "hours": "24"}, "hours": {"uses": "5", "hours": "2161"}} {
		a := ada.post("/admin/invitations", f).want(422)
		if attr(a.id(field), "aria-invalid") != "true" || attr(a.id("uses"), "value") != f["uses"] {
			t.Errorf("%s is not marked, or what was typed is lost", field)
		}
	}
	for _, f := range []fields{{}, {"uses": "0", "hours": "0"}, {"uses": "1e2", "hours": "24"}, {"uses": "1", "hours": "99999999999999999999"}} {
		ada.post("/admin/invitations", f).want(422)
	}
	made := ada.post("/admin/invitations", fields{"uses": "2", "hours": "24"}).want(200)
	token := linkIn(made, "invite-link")
	if len(token) != 32 || strings.Contains(ada.get("/admin/invitations").body, token) {
		t.Errorf("the token is %q, or shown twice", token)
	}
	come := func(username, token string, status int) {
		t.Helper()
		p := o.visitorNamed(username)
		p.fullName = strings.ToUpper(username)
		f := p.registration()
		f["token"] = token
		a := p.post("/register", f).want(status)
		if status == 422 {
			if attr(a.id("token"), "aria-invalid") != "true" {
				t.Errorf("%s: the token is not marked", username)
			}
			return
		}
		p.secret = strings.Join(strings.Fields(text(p.get("/register/confirm").want(200).id("totp-secret"))), "")
		p.post("/register/confirm", fields{"code": p.code()}).wantRedirect("/register/recovery")
		p.get("/admin").want(http.StatusForbidden)
	}
	come("linus", "", 422)
	come("grace", o.server.URL+"/register#invite="+token, http.StatusSeeOther)
	list := ada.get("/admin/invitations").want(200)
	form := elements(list.doc(), func(n *nodeT) bool { return strings.HasSuffix(attr(n, "action"), "/revoke") })
	if len(form) != 1 || !strings.Contains(list.body, "1 of 2") || !strings.Contains(list.body, "Ada Lovelace") {
		t.Fatalf("the list shows %d invitations:\n%s", len(form), text(list.id("main")))
	}
	revoke := attr(form[0], "action")
	name := strings.TrimPrefix(revoke, "/admin/invitations/")[:8] // by which an administrator finds it in the audit log
	if !strings.Contains(text(list.id("main")), name) || !strings.Contains(attr(elements(form[0], func(n *nodeT) bool { return n.Data == "button" })[0], "aria-label"), name) {
		t.Errorf("the invitation %s cannot be told from others", name)
	}
	ada.get("/admin/audit?kind=token.use").want(200).says("link " + name)
	ada.post(revoke, nil).wantRedirect("/admin/invitations")
	if a := ada.get("/admin/invitations"); !strings.Contains(a.body, "withdrawn") || strings.Contains(a.body, revoke) {
		t.Error("the list does not say that it is withdrawn")
	}
	come("linus", token, 422)
	late := linkIn(ada.post("/admin/invitations", fields{"uses": "1", "hours": "1"}).want(200), "invite-link")
	o.clock.advance(time.Hour + time.Second)
	come("linus", late, 422)
	ada.get("/admin/invitations").want(200).contains("run out")

	ada.confirm("/rooms").wantRedirect("/rooms")
	good := linkIn(ada.post("/admin/invitations", fields{"uses": "1", "hours": "1"}).want(200), "invite-link")
	mode("open")
	begun.fullName = "Mary Somerville"
	begun.post("/register", begun.registration()).wantRedirect("/register/confirm")
	begun.secret = strings.Join(strings.Fields(text(begun.get("/register/confirm").want(200).id("totp-secret"))), "")
	mode("invite")
	begun.post("/register/confirm", fields{"code": begun.code()}).want(http.StatusForbidden)
	mode("closed")
	p := o.visitorNamed("linus")
	f := p.registration()
	f["token"], f["full_name"] = good, "Linus Pauling"
	begun.post("/register/confirm", fields{"code": begun.code()}).want(http.StatusForbidden)
	p.post("/register", f).want(http.StatusForbidden)
	ada.get("/admin/invitations").want(200).contains("Registration is closed")
	mode("open")
	if page := o.visitor().get("/register").want(200); !strings.Contains(page.body, "you can go on without one") {
		t.Error("the page does not say that no invitation is needed")
	}
	come("linus", good, http.StatusSeeOther)
	come("john", good, 422)
	come("john", "", http.StatusSeeOther)
	if log := o.log.String(); strings.Contains(log, token) || strings.Contains(log, good) {
		t.Error("a token is in the log")
	}
}
