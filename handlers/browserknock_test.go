package handlers_test

import (
	"testing"
)

// Somebody knocks; the owner, whose room is open on a phone, sees it and lets her in; her list of
// rooms, which is open too, has the room. Nobody loads a page anew.
func TestBrowserAKnockAndItsAnswerAreLive(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada, zoe := o.register("ada", "Ada Lovelace"), o.register("zoe", "Zoe Washburne")
	r := ada.createRoom("Engine room")
	ada.settings(r, fields{"knock": "on"})
	a, z := ada.browserOf(), zoe.browserOf()
	a.resize(375, 740)
	a.open(r.path(""))
	a.until("the feed", `document.body.dataset.line === "up"`)
	z.open("/rooms")
	z.fill("#code", r.code)
	z.click("form[action='/rooms/join'] button")
	z.until("what has happened", `document.querySelector(".notice")?.textContent.includes("You have knocked")`)
	z.until("where she waits", `document.querySelector("#your-rooms").textContent.includes("A room where you knocked")`)
	z.until("the feed", `document.body.dataset.line === "up"`)
	marked := read[float64](z, "window.marked = Math.random()")

	a.until("the count in the bar", `document.querySelector("#knocking").textContent.trim() === "1 waiting to be let in" && document.querySelector("#knocking .unread").checkVisibility()`)
	a.click(".panel-door")
	if width := read[float64](a, `document.querySelector(".room-name").getBoundingClientRect().width`); width < 60 {
		t.Errorf("the room's name has %.0f px left", width)
	}
	a.until("who waits", `document.querySelector("#knocks").textContent.includes("Zoe Washburne") && document.querySelector("#knocks button").checkVisibility()`)
	a.click("#knocks form[action$='/admit'] button")
	a.until("what has happened", `document.querySelector(".notice")?.textContent.includes("Zoe Washburne\u2069 is in the room now.")`)
	z.until("the room", `document.querySelector("#your-rooms .room-card a")?.textContent === "Engine room"`)
	if read[float64](z, "window.marked") != marked {
		t.Error("her page was loaded again")
	}
	ada.say(r, "Welcome")
	z.until("what is unread, on a card that came later", `document.querySelector(".room-card .unread").textContent.startsWith("1")`)
	z.until("the cards at rest", "!document.activeViewTransition")
	z.click("#your-rooms .room-card a")
	z.at(r.path(""))

	ada.post(r.path("/code/rotate"), nil).want(303)
	z.until("that the code has changed", `document.querySelector("#code").textContent.includes("has changed") && !document.querySelector("#room-code")`)
	z.click("#code a")
	z.until("the new code", `document.querySelector("#room-code")?.textContent.length === 19`)
	ada.settings(r, fields{"knock": "on", "uses": "10", "expires": "7d"})
	o.register("eve", "Eve Moneypenny").joins(r.code)
	for _, width := range []int64{375, 1280} {
		a.resize(width, 900)
		a.open(r.path("/settings"))
		a.until("nothing wider than the page", `document.documentElement.scrollWidth <= innerWidth`)
	}
	a.open(r.path(""))
}
