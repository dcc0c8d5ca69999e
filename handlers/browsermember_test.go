package handlers_test

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp/kb"
)

func TestBrowserTheOwnerRemovesSomebodyByKeyboardAndHerPageLeaves(t *testing.T) { // R63
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace, linus := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper"), o.register("linus", "Linus Pauling")
	r := ada.createRoom("Engine room")
	o.post(ada, r, "Before they came")
	grace.join(r)
	linus.join(r)
	o.post(ada, r, "Good morning")
	a, g, l := ada.browserOf(), grace.browserOf(), linus.browserOf()
	a.resize(375, 700)
	for _, b := range []*tab{g, l} {
		b.open(r.path(""))
		b.at(r.path(""))
		b.hears("Before they came", "Good morning")
	}
	l.here(grace)

	// what newcomers see is changed: their pages come back by themselves, and stay where they are
	a.open(r.path("/settings"))
	a.click(`input[value="since_join"]`)
	a.tabTo(`form[action$="/history"] button`)
	a.press(kb.Enter)
	a.until("what has been decided", `document.querySelector(".notice")?.textContent.includes("from when they join")`)
	g.settle()
	o.post(ada, r, "After the change")
	g.hears("Before they came", "Good morning", "After the change")
	g.open(r.path(""))
	g.hears("Good morning", "After the change")
	if got := g.text("#older"); got != "You see this room from when you joined" {
		t.Errorf("her page begins with %q", got)
	}

	a.open(r.path("/members"))
	if a.look(`document.documentElement.scrollWidth > innerWidth`) {
		t.Error("the page of the members is wider than a phone")
	}
	if a.look(fmt.Sprintf(`document.querySelector('form[action="%s"] button').checkVisibility()`, r.member("grace", "remove"))) {
		t.Error("somebody could be removed by one click")
	}
	a.tabTo(`li:nth-child(2) > details > summary`)
	a.press(kb.Enter)
	a.tabTo(`li:nth-child(2) > details > details:nth-of-type(1) > summary`)
	a.press(kb.Enter)
	a.tabTo(fmt.Sprintf(`form[action="%s"] button`, r.member("grace", "remove")))
	g.expectStatus(404, r.path("/feed"))
	a.press(kb.Enter)
	a.until("what has been done", `document.querySelector(".notice")?.textContent === "grace was removed from the room."`)
	g.at("/rooms?gone=1")
	g.until("the notice", `document.querySelector(".notice")?.textContent === "You are no longer in this room."`)
	l.until("the list without her", `!document.querySelector("#members [data-username=grace]")`)
	l.until("the line", `[...document.querySelectorAll("#messages > .event")].some((li) => li.textContent.includes("was removed"))`)
}
