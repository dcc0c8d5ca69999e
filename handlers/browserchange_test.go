package handlers_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// tabTo presses Tab until an element has the focus.
func (b *tab) tabTo(selector string) {
	b.t.Helper()
	for range 150 {
		if b.look(fmt.Sprintf("document.activeElement?.matches(%q)", selector)) {
			return
		}
		b.press(kb.Tab)
	}
	b.fail("the Tab key does not lead to %s", selector)
}

// here waits until the person's feed is open.
func (b *tab) here(p *person) {
	b.t.Helper()
	b.until(p.username+" here", fmt.Sprintf(`document.querySelector("#members [data-username=%s][data-here]")`, p.username))
}

const (
	follows  = `[...document.querySelectorAll("#messages > li")].map((li) => [li.id, li.hasAttribute("data-follows"), li.hasAttribute("data-mine"), li.dataset.day ?? ""].join())`
	noDialog = `!document.querySelector("#message-dialog").open`
	editing  = `document.querySelector("#message-dialog").open && document.activeElement?.id === "edit-body"`
)

func TestBrowserAnEditByKeyboardIsSeenLive(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	grace.join(r)
	all := numbered(1, 60)
	var n uint64
	for i, body := range all {
		m := o.post([]*person{ada, grace}[i/4%2], r, body)
		if i == 25 {
			n = m // in the middle of four by Ada, and above what Grace reads
		}
	}
	ada.reads(r)
	grace.reads(r)
	a, g := ada.browserOf(), grace.browserOf()
	for _, b := range []*tab{a, g} {
		b.open(r.path(""))
		b.at(r.path(""))
	}
	a.here(ada)
	g.here(grace)
	// Grace reads something further down, not at the end.
	g.wheel("#scroller", -700)
	g.until("the end out of view", "!"+atEnd)
	g.stands()
	reads, top := g.readNow()
	if uint64(reads) <= n {
		t.Fatalf("Grace reads m-%d, which is not below m-%d", reads, n)
	}
	before := read[[]string](g, follows)
	marked := read[float64](g, "window.marked = Math.random()")

	more := fmt.Sprintf("#m-%d > .act", n)
	a.tabTo("#messages > li:last-child > .act")
	for range 60 {
		if a.look(fmt.Sprintf("document.activeElement.matches(%q)", more)) {
			break
		}
		a.press(kb.ArrowUp)
	}
	if got := read[string](a, "document.activeElement.ariaLabel"); got != "More" {
		t.Errorf("the way to the dialog is called %q", got)
	}
	a.enter()
	a.until("the dialog with the text in focus", editing)
	if got := a.value("#edit-body"); got != "message 26" {
		t.Fatalf("the form holds %q", got)
	}
	// Escape closes, changes nothing, and leads back.
	a.write(" never sent")
	a.press(kb.Escape)
	a.until("no dialog", noDialog)
	a.until("the focus back at the message", fmt.Sprintf("document.activeElement?.matches(%q)", more))
	a.enter()
	a.until("the dialog with the text in focus", editing)
	if got := a.value("#edit-body"); got != "message 26" {
		t.Fatalf("after Escape the form holds %q", got)
	}
	a.write(", corrected")
	for range 6 {
		a.enter()
		a.write("and with a line more")
	}
	edited := "message 26, corrected" + strings.Repeat("\nand with a line more", 6)
	a.enter(chromedp.ModifierCtrl)
	a.until("no dialog", noDialog)
	a.until("the focus back at the message", fmt.Sprintf("document.activeElement?.matches(%q)", more))
	for _, b := range []*tab{g, a} {
		b.until("the new text", fmt.Sprintf(`document.querySelector("#m-%d > .body").innerText.trim() === %q`, n, edited))
		b.until("the word edited", fmt.Sprintf(`document.querySelector("#m-%d .edited")?.textContent.trim() === "edited"`, n))
		if count := read[int](b, `document.querySelectorAll("#messages .edited").length`); count != 1 {
			t.Errorf("%d messages are marked as edited", count)
		}
		b.inOrder()
	}
	g.settle()
	if now := g.topOf(reads); now < top-2 || now > top+2 {
		t.Errorf("what Grace reads jumped from %.1f to %.1f", top, now)
	}
	if after := read[[]string](g, follows); !slices.Equal(after, before) {
		t.Errorf("the grouping was\n%v\nand is\n%v", before, after)
	}
	if read[float64](g, "window.marked") != marked {
		t.Error("Grace's page was loaded again")
	}
	// An edit of what a page does not show changes nothing in it.
	first := uint64(5)
	absent := !g.look(fmt.Sprintf(`document.getElementById("m-%d")`, first)) // scrolling may have brought it
	ada.post(r.message(first, ""), fields{"body": "far above"}, htmx...).want(204)
	o.post(grace, r, "the newest")
	g.until("the newest", `document.querySelector("#messages > li:last-child > .body").innerText === "the newest"`)
	if absent && g.look(fmt.Sprintf(`document.getElementById("m-%d")`, first)) {
		t.Error("an edited message that was not on the page has been put on it")
	}
	g.inOrder()
}

func TestBrowserRemovingAsksFirstAndBothSeeIt(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	grace.join(r)
	o.post(ada, r, "one")
	n := o.post(ada, r, "a word too many")
	o.post(ada, r, "three")
	a, g := ada.browserOf(), grace.browserOf()
	for _, b := range []*tab{a, g} {
		b.open(r.path(""))
		b.at(r.path(""))
	}
	a.here(ada)
	g.here(grace)
	before := read[[]string](g, follows)
	// Grace may only look.
	g.click(fmt.Sprintf("#m-%d > .act", n))
	g.until("the dialog", `document.querySelector("#message-dialog").open`)
	if g.look(`document.querySelector("#edit, #remove")`) {
		t.Error("a member is offered to change another's message")
	}
	g.click("#message-dialog .dialog-head button")
	g.until("no dialog", noDialog)

	a.click(fmt.Sprintf("#m-%d > .act", n))
	a.until("the dialog", editing)
	if a.look(`document.querySelector("#remove button").checkVisibility()`) {
		t.Error("the message could be removed by one click")
	}
	a.click("#actions .remove summary")
	a.until("the question", `document.querySelector("#remove button").checkVisibility()`)
	a.hears("one", "a word too many", "three")
	a.click("#remove button")
	a.until("no dialog", noDialog)
	for _, b := range []*tab{a, g} {
		b.until("the message removed", fmt.Sprintf(`document.querySelector("#m-%d.removed > .gone")?.innerText.trim() === "Message removed"`, n))
		b.hears("one", "three")
		if b.look(`document.documentElement.innerHTML.includes("a word too many")`) {
			t.Error("the text is still somewhere on the page of " + b.name)
		}
	}
	if after := read[[]string](g, follows); !slices.Equal(after, before) {
		t.Errorf("the grouping was\n%v\nand is\n%v", before, after)
	}
	a.until("the focus on something of the room", `document.activeElement !== document.body`)
}

func TestBrowserARefusedEditKeepsTheDialogAndItsDraft(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	n := o.post(ada, r, "short")
	b := ada.browserOf()
	b.expectStatus(422, r.message(n, ""))
	b.open(r.path(""))
	b.at(r.path(""))
	b.here(ada)
	b.click(fmt.Sprintf("#m-%d > .act", n))
	b.until("the dialog", editing)
	long := strings.Repeat("ten chars ", 400)
	b.paste(long)
	b.click("#edit button.primary")
	b.until("what is wrong", `document.querySelector("#message-dialog .problem")?.textContent.length > 15`)
	if got := b.value("#edit-body"); got != "short"+long {
		t.Errorf("the draft has become %.80q", got)
	}
	b.until("the focus in the text", editing)
	for range 5 {
		b.press(kb.Backspace)
	}
	b.click("#edit button.primary")
	b.until("no dialog", noDialog)
	b.until("the edit", fmt.Sprintf(`document.querySelector("#m-%d .edited")`, n))
	for range 5 { // the long text may still be moving the page under the pointer
		if b.look(editing) {
			break
		}
		b.click(fmt.Sprintf("#m-%d > .act", n))
		time.Sleep(2 * time.Second)
	}
	b.until("the dialog without yesterday's complaint", editing+` && !document.querySelector("#message-dialog .problem")`)
}

func TestBrowserMessagesAreChangedWithoutJavaScript(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	n := o.post(ada, r, "The kettel is on")
	b := ada.browserOf()
	b.do("switch scripts off", command(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}))
	b.expectStatus(422, r.message(n, ""))
	b.open(r.path(""))
	b.at(r.path(""))
	b.click(fmt.Sprintf("#m-%d > .act", n))
	b.at(r.message(n, "/edit"))
	if b.look("window.htmx") {
		t.Fatal("scripts run")
	}
	if got := b.value("#edit-body"); got != "The kettel is on" {
		t.Fatalf("the form holds %q", got)
	}
	b.fill("#edit-body", "   ")
	b.click("#edit button.primary")
	b.until("what is wrong", `document.querySelector(".problem")?.textContent.length > 10`)
	b.fill("#edit-body", "The kettle is on")
	b.click("#edit button.primary")
	b.at(r.path(""))
	b.hears("The kettle is on")
	if got := b.text(fmt.Sprintf("#m-%d .edited", n)); got != "edited" {
		t.Errorf("the edited message is marked %q", got)
	}
	b.click(fmt.Sprintf("#m-%d > .act", n))
	b.at(r.message(n, "/edit"))
	if b.look(`document.querySelector("#remove button").checkVisibility()`) {
		t.Error("the message could be removed by one click")
	}
	b.click("#actions .remove summary")
	b.click("#remove button")
	b.at(r.path(""))
	if heard := read[[]string](b, heard); len(heard) > 0 {
		t.Errorf("the room still shows %q", heard)
	}
	if got := b.text(fmt.Sprintf("#m-%d", n)); !strings.Contains(got, "Message removed") {
		t.Errorf("in its place stands %q", got)
	}

	// A room is destroyed by pages too.
	b.open(r.path("/settings"))
	b.click(".destroy summary")
	b.click(".destroy button.danger")
	b.at("/sudo?next=" + r.path("/settings"))
	b.fill("#password", password)
	b.fill("#code", ada.code())
	b.click("#sudo button.primary")
	b.at(r.path("/settings"))
	b.click(".destroy summary")
	b.click(".destroy button.danger")
	b.at("/rooms")
	if b.look(`document.querySelector(".room-card")`) {
		t.Error("the room is still in the list")
	}
}

func TestBrowserADestroyedRoomLeadsEverybodyOut(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	grace.join(r)
	o.post(grace, r, "Nobody will read this again")
	a, g := ada.browserOf(), grace.browserOf()
	a.expectStatus(422, "/sudo")
	for _, b := range []*tab{a, g} {
		b.open(r.path(""))
		b.at(r.path(""))
	}
	a.here(ada)
	g.here(grace)
	second := a.secondTab()
	second.open(r.path(""))
	second.at(r.path(""))
	second.here(ada)
	for _, b := range []*tab{g, second} {
		b.expectStatus(404, r.path("/feed")) // a slow page asks once more before it leaves
	}
	marked := read[float64](second, "window.marked = Math.random()")

	a.click("a[href='" + r.path("/settings") + "']")
	a.at(r.path("/settings"))
	if a.look(`document.querySelector(".destroy button.danger").checkVisibility()`) {
		t.Error("the room could be destroyed by one click")
	}
	a.click(".destroy summary")
	a.click(".destroy button.danger")
	a.at("/sudo?next=" + r.path("/settings"))
	a.fill("#password", "wrong lantern over the harbour")
	a.fill("#code", ada.code())
	a.click("#sudo button.primary")
	a.until("what is wrong", `document.querySelector("#sudo .problem")?.textContent.length > 15`)
	a.fill("#password", password)
	a.fill("#code", ada.code())
	a.click("#sudo button.primary")
	a.at(r.path("/settings"))
	// Ada's other page stays where it is, and hears what is said.
	grace.say(r, "Once more")
	second.hears("Nobody will read this again", "Once more")
	if read[float64](second, "window.marked") != marked {
		t.Error("the other page was loaded again")
	}
	second.here(ada)

	a.click(".destroy summary")
	a.click(".destroy button.danger")
	a.at("/rooms")
	a.until("what has happened", `document.querySelector(".notice")?.textContent.includes("destroyed")`)
	for _, b := range []*tab{g, second} {
		b.untilWithin(5*time.Second, "the rooms", `location.pathname === "/rooms" && document.readyState === "complete"`)
		b.until("the notice", `[...document.querySelectorAll(".notice")].some((e) => e.textContent.includes("You are no longer in this room"))`)
	}
	for _, b := range []*tab{a, g, second} {
		if b.look(`document.querySelector(".room-card")`) {
			t.Errorf("the room is still in the list of %s", b.name)
		}
	}
}
