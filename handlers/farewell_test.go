package handlers_test

import (
	"strings"
	"testing"
	"time"
)

func TestLeavingConclave(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	grace.join(r)
	grace.createRoom("Hers <b>alone</b>")
	grace.say(r, "Take my words with me")
	elsewhere := grace.login()
	page := grace.sudo("/account/delete").contains("Hers &lt;b&gt;alone&lt;/b&gt;").contains("the 2 rooms")
	if strings.Contains(text(page.id("main")), "Engine room") {
		t.Error("a room with others in it is said to close")
	}
	adas, hers := ada.listen(r), elsewhere.listen(r)
	for _, typed := range []string{"", "ada", "Grace Hopper"} {
		a := grace.post("/account/delete", fields{"username": typed, "remove_messages": "on"}).want(422)
		if attr(a.id("username"), "value") != typed || !strings.Contains(a.body, "checked") {
			t.Errorf("%q: the form has lost what was typed", typed)
		}
	}
	grace.get("/rooms").want(200)
	grace.post("/account/delete", fields{"username": " Grace ", "remove_messages": "on"}).wantRedirect("/goodbye")
	if events := hers.ends(2 * time.Second); len(events) == 0 || events[len(events)-1].name != "session-end" {
		t.Errorf("her stream ends with %v", events)
	}
	adas.next("the removal", func(e event) bool { return strings.Contains(e.data, "Message removed") })
	adas.next("the members", func(e event) bool {
		return strings.Contains(e.data, "#members") && !strings.Contains(e.data, "Grace")
	})
	grace.get("/goodbye").want(200).contains("Your account is gone")
	grace.out()
	elsewhere.out()
	if body := ada.get(r.path("")).want(200).body; strings.Contains(body, "Take my words") || strings.Contains(body, "Grace") || !strings.Contains(body, "Former member") {
		t.Error("the room still shows her words or her name")
	}
	o.visitor().post("/login", grace.credentials(grace.code())).want(422)
	o.visitor().post("/login", grace.credentials(grace.recovery[0])).want(422)
	o.restart()
	ada.reconnect()
	ada.get(r.path("")).want(200).contains("Former member")
	again := o.register("grace", "Grace Kelly")
	again.get("/rooms").want(200).contains("You are in no room yet")
}

func TestTheOnlyAdministratorIsToldWhatToDoFirst(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	token, err := o.store.SetupToken(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ada := o.visitor()
	ada.username, ada.fullName = "ada", "Ada Lovelace"
	f := ada.registration()
	f["token"] = token
	ada.post("/register", f).wantRedirect("/register/confirm")
	ada.secret = strings.Join(strings.Fields(text(ada.get("/register/confirm").want(200).id("totp-secret"))), "")
	ada.post("/register/confirm", fields{"code": ada.code()}).wantRedirect("/register/recovery")
	grace := o.register("grace", "Grace Hopper")
	ada.sudo("/account/delete").contains("Make somebody else an administrator first")
	a := ada.post("/account/delete", fields{"username": "ada"})
	if a.status != 409 {
		t.Errorf("status %d", a.status)
	}
	a.contains("Make somebody else an administrator first")
	ada.get("/admin").want(200)
	grace.sudo("/account/delete")
	grace.post("/account/delete", fields{"username": "grace"}).wantRedirect("/goodbye")
	ada.post("/account/delete", fields{"username": "ada"}).wantRedirect("/goodbye")
}
