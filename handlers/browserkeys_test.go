package handlers_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// focused waits until what has the focus fits.
func (b *tab) focused(selector string) {
	b.t.Helper()
	b.until("the focus at "+selector, fmt.Sprintf("document.activeElement?.matches(%q)", selector))
}

func (b *tab) ctrlK() { b.t.Helper(); b.press("k", chromedp.ModifierCtrl) }

// listed is what a list of rooms shows.
const listed = `[...document.querySelectorAll("room-switch li:not([hidden]) a > bdi")].map((e) => e.textContent).join()`

func (b *tab) lists(want string) {
	b.t.Helper()
	b.until("the rooms "+want, fmt.Sprintf("%s === %q", listed, want))
}

func TestBrowserTheKeyboardLeadsToEveryRoomFromEverywhere(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	engine, cafe, library := ada.createRoom("Engine room"), ada.createRoom("Café"), ada.createRoom("Library")
	for _, r := range []room{engine, cafe, library} {
		grace.join(r)
		o.clock.advance(time.Second) // what happens in the same millisecond has no order
	}
	ada.say(engine, "the newest is here")
	b := ada.browserOf()

	// On a wide screen the list stands beside the room.
	b.resize(1440, 900)
	b.enters(ada, engine)
	b.lists("Engine room,Library,Café")
	if got := b.text("#rooms [aria-current=page] bdi"); got != "Engine room" {
		t.Errorf("the current room is %q", got)
	}
	if b.look(`document.querySelector(".switcher-door").checkVisibility()`) {
		t.Error("the door to the list stands beside the list")
	}
	grace.say(cafe, "hello")
	b.until("a count that is live", fmt.Sprintf(`document.querySelector(".switch .unread[data-room='%s']").firstChild?.textContent === "1"`, cafe.id))
	b.click("#body")
	b.write("half a thought")
	b.ctrlK()
	b.focused("#rooms .find")
	b.press(kb.Escape)
	b.focused("#body")
	b.ctrlK()
	b.focused("#rooms .find")
	b.write("cafe")
	b.lists("Café")
	b.press(kb.Escape)
	b.lists("Engine room,Library,Café")
	b.write("no such")
	b.until("a word that there is none", `document.querySelector(".no-such-room").checkVisibility()`)
	b.press(kb.Escape)
	b.write("LIB")
	b.lists("Library")
	b.enter()
	b.at(library.path(""))

	// What was begun elsewhere is kept, and said.
	b.until("a word about the draft", fmt.Sprintf(`document.querySelector(".switch > a[href='%s'] .hint")?.textContent === "Draft"`, engine.path("")))
	b.ctrlK()
	b.focused("#rooms .find")
	b.press(kb.ArrowDown)
	b.press(kb.ArrowDown)
	b.press(kb.ArrowUp)
	b.press(kb.ArrowUp)
	b.focused("#rooms .find")
	b.press(kb.ArrowDown)
	b.press(kb.ArrowDown)
	b.focused(fmt.Sprintf("#rooms a[href='%s']", engine.path("")))
	b.enter()
	b.at(engine.path(""))
	if got := b.value("#body"); got != "half a thought" {
		t.Errorf("the draft has become %q", got)
	}

	// On a narrow one it is a sheet behind the name.
	b.resize(375, 812)
	b.until("the list out of sight", `!document.querySelector("#rooms").checkVisibility()`)
	b.click(".room-name")
	b.until("the list", `document.querySelector("#rooms").matches(":popover-open")`)
	b.fits("with the list of rooms")
	b.press(kb.Escape)
	b.until("no list", `!document.querySelector("#rooms").checkVisibility()`)
	b.focused(".switcher-door")
	b.click("#body")
	b.ctrlK()
	b.focused("#rooms .find")
	b.ctrlK()
	b.focused("#body")
	b.ctrlK()
	b.focused("#rooms .find")
	b.enter() // where something happened last, but here
	b.at(cafe.path(""))

	// Pages without the list lead to the page of all rooms, which has the same.
	b.open("/account")
	b.at("/account")
	b.ctrlK()
	b.at("/rooms")
	b.focused(".find")
	b.write("engine")
	b.lists("Engine room")
	grace.post("/rooms/join", fields{"code": ada.createRoom("Engines").code}).want(303)
	b.until("another room in the list", fmt.Sprintf(`%s.startsWith("Engine") && document.querySelectorAll(".room-card").length === 4`, listed))
	b.lists("Engines,Engine room")
	b.press(kb.ArrowDown)
	b.press(kb.ArrowDown)
	b.enter()
	b.at(engine.path(""))
}

func TestBrowserKeysChangeMessagesAndLeadBack(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	grace.join(r)
	first := o.post(ada, r, "first, by Ada")
	mine := o.post(ada, r, "second, by Ada")
	hers := o.post(grace, r, "third, by Grace")
	ada.reads(r)
	b := ada.browserOf()
	b.enters(ada, r)

	// The list of all keys, and nothing of it while somebody types.
	b.strike("?", "?", 191, chromedp.ModifierShift)
	b.until("the list of keys", `document.querySelector(".keys-dialog")?.open && document.querySelector(".keys-dialog kbd")`)
	b.press("k", chromedp.ModifierCtrl)
	b.press(kb.Escape)
	b.until("no list of keys", `!document.querySelector("dialog[open]")`)
	b.strike("c", "c", 67)
	b.focused("#body")
	b.write("?c")
	if got := b.value("#body"); got != "?c" {
		t.Errorf("the box holds %q", got)
	}

	// The arrow up moves in a text, and changes the last message from an empty box.
	read[bool](b, `(window.asked = 0, document.addEventListener("htmx:config:request", () => { asked++; }), true)`)
	b.press(kb.ArrowUp)
	b.settle()
	if b.look("asked") {
		t.Error("the arrow up in a text asks for a message")
	}
	b.press(kb.Backspace)
	b.press(kb.Delete)
	b.press(kb.Delete)
	b.press(kb.ArrowUp)
	b.until("the dialog with the text in focus", editing)
	if got := b.value("#edit-body"); got != "second, by Ada" {
		t.Errorf("the form holds %q", got)
	}
	b.press(kb.Escape)
	b.until("no dialog", noDialog)
	b.focused("#body")
	b.press(kb.ArrowUp)
	b.until("the dialog with the text in focus", editing)
	b.write(", changed") // the caret stands at the end
	b.enter(chromedp.ModifierCtrl)
	b.until("no dialog", noDialog)
	b.focused("#body")
	b.until("the new text", fmt.Sprintf(`document.querySelector("#m-%d > .body").innerText === "second, by Ada, changed"`, mine))

	// The messages are one stop; the arrows walk through them.
	if stops := read[int](b, `document.querySelectorAll("#messages .act:not([tabindex='-1'])").length`); stops != 1 {
		t.Errorf("the messages are %d stops for the Tab key", stops)
	}
	act := func(n uint64) string { return fmt.Sprintf("#m-%d > .act", n) }
	b.press(kb.Tab, chromedp.ModifierShift)
	b.focused(act(hers))
	if said := read[string](b, `document.activeElement.getAttribute("aria-describedby").split(" ").map((id) => document.getElementById(id).innerText).join(" ")`); !containsAll(said, "Grace Hopper", "third, by Grace") {
		t.Errorf("the message is described as %q", said)
	}
	b.press(kb.ArrowUp)
	b.press(kb.ArrowUp)
	b.focused(act(first))
	b.press(kb.ArrowDown)
	b.focused(act(mine))
	b.enter()
	b.until("the dialog with the text in focus", editing)
	b.tabTo("#message-dialog .remove summary")
	b.enter()
	b.tabTo("#remove button")
	b.enter()
	b.until("no dialog", noDialog)
	b.until("the message removed", fmt.Sprintf(`document.querySelector("#m-%d.removed")`, mine))
	b.focused("#scroller")
	grace.say(r, "fourth, by Grace")
	b.until("the newest is the stop", `document.querySelector("#messages > li:last-child > .act").tabIndex === 0 && document.querySelectorAll("#messages .act:not([tabindex='-1'])").length === 1`)

	// Whoever dictates switches the keys that stand alone off; those with Ctrl stay.
	b.open("/account/device")
	b.at("/account/device")
	b.click("input[name=keys]")
	b.enters(ada, r)
	b.strike("?", "?", 191, chromedp.ModifierShift)
	b.strike("c", "c", 67)
	b.ctrlK()
	b.focused("#rooms .find")
	if b.look(`document.querySelector("dialog[open]")`) {
		t.Error("a key that is switched off opens a dialog")
	}
}

func TestBrowserRoomsAndKeysWithoutJavaScript(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada := o.register("ada", "Ada Lovelace")
	engine, library := ada.createRoom("Engine room"), ada.createRoom("Library")
	b := ada.browserOf()
	b.resize(375, 812)
	b.do("switch scripts off", command(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}))
	b.open(library.path(""))
	b.click(".switcher-door")
	b.until("the list", `document.querySelector("#rooms").matches(":popover-open")`)
	if b.look(`[...document.querySelectorAll(".find, copy-button, share-button")].some((e) => e.checkVisibility())`) {
		t.Error("there is something that does nothing")
	}
	b.click(fmt.Sprintf("#rooms a[href='%s']", engine.path("")))
	b.at(engine.path(""))
	b.open("/keys")
	b.until("the list of keys", `document.querySelectorAll("kbd").length > 10`)
}
