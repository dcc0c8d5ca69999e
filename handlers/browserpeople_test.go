package handlers_test

import (
	"fmt"
	"strings"
	"testing"
)

// Links for an invitation and a new password, from the page that makes them to the form that
// takes them; and these pages in every window.
func TestBrowserLinksAreMadeHandedOverAndFollowed(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	long := strings.Repeat("Wolfeschlegelsteinhausenbergerdorff", 2)[:60]
	ada, grace := o.administrator("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	o.register("wolfeschlegelsteinhausenbergerdo", long)
	a := ada.browserOf()
	a.open("/admin/people")
	a.shootEverywhere("people")
	a.fill("#q", "hop")
	a.enter()
	a.until("the result", `document.querySelectorAll("tbody tr").length === 1`)
	a.click("tbody a")
	a.at(grace.page(""))
	a.shootEverywhere("person")
	a.click("form[action$='/reset'] button")
	a.at("/sudo?next=" + grace.page(""))
	a.fill("#password", password)
	a.fill("#code", ada.code())
	a.click("#sudo button.primary")
	a.at(grace.page(""))
	a.click("form[action$='/reset'] button")
	a.until("the link", `document.getElementById("reset-link")`)
	a.shootEverywhere("link")
	link := a.text("#reset-link")

	a.open("/admin/invitations")
	a.shootEverywhere("no-invitations")
	a.click("main button.primary")
	a.until("the link", `document.getElementById("invite-link")`)
	a.shootEverywhere("invitation")
	invitation := a.text("#invite-link")
	a.open("/admin/invitations")
	a.click("tbody button")
	a.until("the notice", `document.querySelector(".notice")`)
	a.shootEverywhere("invitations")

	g := o.browser("grace")
	g.open("/register")
	g.open(strings.TrimPrefix(invitation, o.server.URL)) // only the fragment changes
	g.until("the token of the invitation in its field", `document.getElementById("token").value.length === 32 && document.getElementById("token").checkVisibility()`)
	g.open(strings.TrimPrefix(link, o.server.URL))
	g.until("the token of the link in its field", `document.getElementById("token").value.length === 64`)
	if at := read[string](g, "location.href"); at != o.server.URL+"/reset" {
		t.Errorf("the token stays in the address %s", at)
	}
	g.shootEverywhere("reset")
	g.expectStatus(422, "/reset")
	g.fill("#password", "short")
	g.click("#reset button.primary")
	g.namesWrong("#password")
	const fresh = "an otter reads the evening paper"
	g.fill("#password", fresh)
	g.click("#reset button.primary")
	g.at("/login")
	g.until("the notice", `document.querySelector(".notice")`)
	g.shootEverywhere("login")
	g.fill("#username", "grace")
	g.fill("#password", fresh)
	g.fill("#code", grace.code())
	g.click("#login button.primary")
	g.at("/rooms")
}

func (b *tab) shootEverywhere(name string) {
	b.t.Helper()
	for _, size := range [][2]int64{{320, 640}, {375, 812}, {1280, 800}} {
		b.resize(size[0], size[1])
		b.fits(fmt.Sprintf("(%s) at %d px", name, size[0]))
		b.shoot(fmt.Sprintf("%s-%d.png", name, size[0]))
	}
}
