package handlers_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp/kb"
)

// hides makes the tab look like one in the background, which headless Chromium never does.
func (b *tab) hides(hidden bool) {
	b.t.Helper()
	read[bool](b, fmt.Sprintf(`(() => { Object.defineProperty(document, "hidden", { configurable: true, value: %v }); document.dispatchEvent(new Event("visibilitychange")); return true; })()`, hidden))
}

// enters opens a room and waits until its feed is open.
func (b *tab) enters(p *person, r room) {
	b.t.Helper()
	b.open(r.path(""))
	b.at(r.path(""))
	b.here(p)
}

func (b *tab) titled(want string) {
	b.t.Helper()
	b.until("the title "+want, fmt.Sprintf("document.title === %q", want))
}

// counts waits for what the card of a room says.
func (b *tab) counts(r room, want string) {
	b.t.Helper()
	b.until("a count of "+want, fmt.Sprintf(`(document.querySelector(".room-card .unread[data-room='%s']").firstChild?.textContent.trim() ?? "") === %q`, r.id, want))
}

// says posts many messages past the limits of one person.
func (o *office) posts(p *person, r room, bodies ...string) (last uint64) {
	o.t.Helper()
	m := o.membership(p, r)
	for _, body := range bodies {
		n, err := o.store.Post(context.Background(), m, body, "")
		if err != nil {
			o.t.Fatal(err)
		}
		last = n
	}
	return last
}

// newLine is the message that the line stands above, or nothing.
const newLine = `document.querySelector("#messages > [data-new]")?.querySelector(".body").innerText`

func (b *tab) newAt(want string) {
	b.t.Helper()
	b.until("the new line at "+want, fmt.Sprintf("(%s ?? '') === %q", newLine, want))
}

const inView = `(() => { const li = document.querySelector("#messages > [data-new]").getBoundingClientRect(), box = document.querySelector("#scroller").getBoundingClientRect(); return li.top >= box.top && li.top < box.top + box.height * 0.75; })()`

func TestBrowserUnreadCountsAreLiveInTheListAndInTheTitle(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	engine, library := ada.createRoom("Engine room"), ada.createRoom("Library")
	grace.join(engine)
	grace.join(library)
	list := ada.browserOf()
	list.open("/rooms")
	list.at("/rooms")
	list.until("the feed of the page", `document.body.dataset.line === "up"`)
	list.titled("Rooms · Conclave")
	marked := read[float64](list, "window.marked = Math.random()")
	heights := `[...document.querySelectorAll(".room-card")].map((e) => e.getBoundingClientRect().top + e.getBoundingClientRect().height).join()`
	before := read[string](list, heights)
	grace.say(engine, "one")
	list.counts(engine, "1")
	list.counts(library, "")
	list.titled("(1) Rooms · Conclave")
	grace.say(library, "two")
	grace.say(library, "three")
	list.counts(library, "2")
	list.titled("(3) Rooms · Conclave")
	if after := read[string](list, heights); after != before {
		t.Errorf("the cards moved from %s to %s", before, after)
	}
	// Without scripts the page says the same.
	ada.wantUnread(engine, "1")
	ada.wantUnread(library, "2")

	// Reading a room on one page counts on all of them, and in that room's own title only what is
	// unread elsewhere.
	b := list.secondTab()
	b.enters(ada, engine)
	b.titled("(2) Engine room · Conclave")
	b.until("a count at the way home", `document.querySelector("#elsewhere").firstChild.textContent === "2" && /Your rooms\s*2 unread/.test(document.querySelector(".home").textContent)`)
	list.counts(engine, "")
	list.titled("(2) Rooms · Conclave")
	grace.say(library, "four")
	b.titled("(3) Engine room · Conclave")
	b.hides(true)
	grace.say(engine, "five")
	b.titled("(4) Engine room · Conclave") // this page counts its own room, once
	list.titled("(4) Rooms · Conclave")
	time.Sleep(500 * time.Millisecond) // its feed has said it as well by now
	b.titled("(4) Engine room · Conclave")
	b.hides(false)
	b.titled("(3) Engine room · Conclave")
	list.titled("(3) Rooms · Conclave")
	hers := ada.login().browserOf()
	hers.enters(ada, library)
	hers.titled("Library · Conclave")
	b.titled("Engine room · Conclave")
	list.counts(library, "")
	list.titled("Rooms · Conclave")
	if read[float64](list, "window.marked") != marked {
		t.Error("the page of rooms was loaded again")
	}
	list.resize(375, 812)
	list.fits("with counts")
}

func TestBrowserARoomOpensAtTheFirstUnreadMessage(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	grace.join(r)
	all := numbered(1, 100)
	o.posts(grace, r, all[:40]...)
	ada.reads(r)
	o.posts(grace, r, all[40:]...)
	seen := 40
	for _, size := range [][2]int64{{1280, 800}, {375, 700}} {
		b := ada.browserOf()
		b.resize(size[0], size[1])
		b.open(r.path(""))
		b.at(r.path(""))
		first := fmt.Sprintf("message %d", seen+1)
		b.newAt(first)
		b.stands()
		if !b.look(inView) || b.look(atEnd) {
			b.fail("the first unread message is not where a reader begins")
		}
		b.fits("at the new line")
		if size[0] == 375 {
			b.until("a way to the newest that counts", `/^Jump to newest \(\d+ new\)$/.test(document.querySelector("#newest").textContent) && document.querySelector("#newest").checkVisibility()`)
			b.click("#newest")
			b.until("the end in view", atEnd)
			b.titled("Engine room · Conclave")
			b.newAt(first) // the line stays while its reader is here
			ada.wantUnreadSoon(r, "0")
			b.open("/account") // here too somebody would read what comes
			break
		}
		// Another device goes on where this one has stopped.
		seen = b.lastSeen()
		ada.wantUnreadSoon(r, fmt.Sprint(100-seen))
		b.until("what its feed says of this room", fmt.Sprintf(`document.getElementById("unread-%s")?.dataset.count === "%d"`, r.id, 100-seen))
		b.titled(fmt.Sprintf("(%d) Engine room · Conclave", 100-seen)) // counted once
	}
	// Elsewhere there is nothing new any more.
	b := ada.browserOf()
	b.enters(ada, r)
	b.newAt("")
	b.until("the end in view", atEnd)
	// Something new for somebody who reads the past: the line, and a count, without a jump.
	b.wheel("#scroller", -600)
	b.until("the end out of view", "!"+atEnd)
	b.stands()
	n, top := b.readNow()
	o.posts(grace, r, "news", "more news")
	b.until("two new", `document.querySelector("#newest").textContent === "Jump to newest (2 new)"`)
	b.newAt("news")
	if now := b.topOf(n); now < top-2 || now > top+2 {
		t.Errorf("with the new line, m-%d jumped from %.1f to %.1f", n, top, now)
	}
	b.titled("(2) Engine room · Conclave")
	b.click("#newest")
	b.titled("Engine room · Conclave")
	b.newAt("news")
	b.says("thank you") // who answers has read
	b.newAt("")
	ada.wantUnreadSoon(r, "0")
}

// lastSeen is the number of the last message that is in view whole.
func (b *tab) lastSeen() int {
	b.t.Helper()
	return read[int](b, `(() => { const end = document.querySelector("#scroller").getBoundingClientRect().bottom + 1;
		return Number([...document.querySelectorAll("#messages > li > .body")].filter((e) => e.getBoundingClientRect().bottom <= end).at(-1).innerText.split(" ")[1]); })()`)
}

// wantUnreadSoon waits for a page to say what was read.
func (p *person) wantUnreadSoon(r room, want string) {
	p.o.t.Helper()
	for end := time.Now().Add(patience); p.unread(r) != want; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			p.o.t.Fatalf("%s has %s unread, want %s", p.username, p.unread(r), want)
		}
	}
}

func TestBrowserWhatComesWhileNobodyLooksStaysUnread(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	grace.join(r)
	o.posts(grace, r, numbered(1, 30)...)
	ada.reads(r)
	b := ada.browserOf()
	b.enters(ada, r)
	b.until("the end in view", atEnd)
	b.newAt("")
	b.hides(true)
	o.posts(grace, r, numbered(31, 70)...)
	b.titled("(40) Engine room · Conclave")
	b.newAt("message 31")
	ada.wantUnread(r, "40")
	b.hides(false)
	b.stands()
	if !b.look(inView) || b.look(atEnd) {
		b.fail("who comes back does not find the first unread message in view")
	}
	ada.wantUnreadSoon(r, fmt.Sprint(70-b.lastSeen()))
	b.until("the rest counted", fmt.Sprintf(`document.querySelector("#newest").textContent === "Jump to newest (%d new)"`, 70-b.lastSeen()))
	// Reading on by the wheel reads on.
	for range 20 {
		b.wheel("#scroller", 800)
		b.stands()
	}
	b.titled("Engine room · Conclave")
	ada.wantUnreadSoon(r, "0")
	b.newAt("message 31")
	// A few while nobody looks: they fit, and are read at once by who comes back.
	b.hides(true)
	o.posts(grace, r, "one more")
	b.titled("(1) Engine room · Conclave")
	b.newAt("one more")
	b.hides(false)
	b.titled("Engine room · Conclave")
	b.until("the end in view", atEnd)
	ada.wantUnreadSoon(r, "0")
	// What another device has read is not new here either.
	b.hides(true)
	o.posts(grace, r, "read elsewhere")
	b.titled("(1) Engine room · Conclave")
	b.newAt("read elsewhere")
	ada.reads(r)
	b.titled("Engine room · Conclave")
	b.newAt("")
}

const typingLine = `document.querySelector("#typing").innerText`

func TestBrowserOthersSeeWhoIsWriting(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	grace.join(r)
	a, g := ada.browserOf(), grace.browserOf()
	a.enters(ada, r)
	g.enters(grace, r)
	place := `JSON.stringify([...document.querySelectorAll("#scroller, #typing, #composer")].map((e) => e.getBoundingClientRect()))`
	before := read[string](a, place)
	g.click("#body")
	g.write("Good")
	a.until("that Grace is writing", typingLine+` === "Grace Hopper is writing…"`)
	if after := read[string](a, place); after != before {
		t.Errorf("the page moved from\n%s\nto\n%s", before, after)
	}
	if a.look(`document.querySelector("#typing").closest("[aria-live], [role=status], [role=log], [role=alert]")`) {
		t.Error("a screen reader would read out who is writing")
	}
	if got := read[string](g, typingLine); got != "" {
		t.Errorf("Grace is told that %q", got)
	}
	a.untilWithin(8*time.Second, "nobody writing", typingLine+` === ""`)
	g.write(" morning")
	a.until("that Grace is writing again", typingLine+` === "Grace Hopper is writing…"`)
	g.enter()
	a.hears("Good morning")
	a.untilWithin(2*time.Second, "nobody writing", typingLine+` === ""`) // five seconds have not gone by

	// Two, and more than two, as the stream would say it.
	a.tells("typists", `[["username", "zoe", "Zoe <b>Washburne</b>"], ["username", "ada", "Ada Lovelace"], ["username", "joan", "Joan Clarke"]]`)
	a.until("two writing", typingLine+` === "Zoe <b>Washburne</b> and Joan Clarke are writing…"`)
	a.tells("typists", `[["username", "emmy", "Emmy Noether"]]`)
	a.until("several writing", typingLine+` === "Several people are writing…"`)

	// Grace does not want it any more.
	sent := `performance.getEntriesByType("resource").filter((e) => e.name.endsWith("/typing")).length`
	if n := read[int](g, sent); n == 0 || n > 3 {
		t.Errorf("Grace's page has sent %d notices", n)
	}
	g.click("#shows-typing")
	g.until("her wish saved", `performance.getEntriesByType("resource").some((e) => e.name.endsWith("/typing/show") && e.responseEnd)`)
	count := read[int](g, sent)
	time.Sleep(2100 * time.Millisecond) // longer than between two notices
	g.click("#body")
	g.write("you cannot see this")
	g.settle()
	if n := read[int](g, sent); n != count {
		t.Error("a page sends notices although it was switched off")
	}
	g.enter()
	a.hears("Good morning", "you cannot see this")
	g.open(r.path(""))
	g.at(r.path(""))
	if g.look(`document.querySelector("#shows-typing").checked`) {
		t.Error("her wish was forgotten")
	}
}

// tells puts into a page what its feed would say: lists of [data attribute, value, text].
func (b *tab) tells(place, list string) {
	b.t.Helper()
	read[bool](b, fmt.Sprintf(`(() => {
		document.getElementById(%q).replaceChildren(...%s.map(([key, value, text]) => {
			const e = document.createElement("span");
			e.dataset[key] = value;
			e.textContent = text ?? "";
			return e;
		}));
		return true;
	})()`, place, list))
}

func TestBrowserWhoComesAndGoesIsSaidForAMoment(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	grace.join(r)
	b := ada.browserOf()
	b.enters(ada, r)
	said := `[...document.querySelectorAll("#comings > p")].map((e) => e.innerText).join("; ")`
	place := `JSON.stringify([...document.querySelectorAll("#scroller, #composer, #messages > li")].map((e) => e.getBoundingClientRect()))`
	before := read[string](b, place)
	b.tells("presence", `[["here", "ada grace"], ["entered", "grace", "Grace <i>Hopper</i>"], ["entered", "ada", "Ada Lovelace"]]`)
	b.until("that Grace entered", said+` === "Grace <i>Hopper</i> entered"`)
	b.until("Grace marked as here", `document.querySelector("#members [data-username=grace]").matches("[data-here]") && [...document.querySelectorAll(".here-count")].every((e) => e.textContent === "2 here")`)
	if !b.look(`document.querySelector("#members [data-username=grace] .is-here").checkVisibility()`) {
		t.Error("a screen reader is not told that Grace is here")
	}
	if after := read[string](b, place); after != before {
		t.Errorf("the page moved from\n%s\nto\n%s", before, after)
	}
	b.tells("presence", `[["here", "ada"], ["left", "grace", "Grace Hopper"], ["left", "zoe", "Zoe"], ["left", "joan", "Joan"]]`)
	b.until("that three left", said+`.endsWith("Grace Hopper and 2 others left")`)
	b.until("Grace not here", `!document.querySelector("#members [data-username=grace]").matches("[data-here]") && !document.querySelector("#members [data-username=grace] .is-here").checkVisibility()`)
	b.until("nothing said any more", said+` === ""`)
	// A new member replaces the list; who is here is put back.
	b.tells("presence", `[["here", "ada grace"]]`)
	o.register("zoe", "Zoe Washburne").join(r)
	b.until("three members, two of them here", `document.querySelectorAll("#members > li").length === 3 && document.querySelectorAll("#members > [data-here]").length >= 2`)
}

func TestBrowserWhatIsSentOfflineArrivesOnceWhenTheLineIsBack(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	b := ada.browserOf()
	b.expectOutage()
	b.expect("console.error: ", "TypeError: Failed to fetch")
	b.enters(ada, r)
	address := o.server.Listener.Addr().String()
	o.stop()
	b.until("the notice that the line is down", `document.querySelector("#connection").checkVisibility()`)
	for _, text := range []string{"one", "two", "three"} {
		b.says(text)
	}
	b.write("a draft")
	b.until("three lines that wait", `[...document.querySelectorAll("#pending > li")].map((li) => li.innerText).join() === "one,two,three" && [...document.querySelectorAll("#pending > li")].every((li) => li.dataset.state === "Waiting for the line…")`)
	if got := b.value("#body"); got != "a draft" {
		t.Errorf("the box holds %q", got)
	}
	b.fits("with lines that wait")
	o.start(address)
	b.hears("one", "two", "three")
	b.until("nothing on the way any more", `document.querySelectorAll("#pending > li").length === 0 && !document.querySelector("#connection").checkVisibility()`)
	if got := b.value("#body"); got != "a draft" {
		t.Errorf("the box holds %q", got)
	}

	// The second one's answer is lost, then the page is reloaded with all of them on the way.
	b.expect("log: network: Failed to load resource: net::ERR_CONNECTION_RESET", r.path("/messages"))
	h := b.hold(r.path("/messages"), true)
	b.write(" no more")
	b.enter()
	h.lose(h.next()) // it arrived, and nobody knows
	b.says("five")
	b.until("two lines", `document.querySelectorAll("#pending > li").length === 2`)
	b.write("another draft")
	b.open(r.path(""))
	b.at(r.path(""))
	b.until("two lines still", `document.querySelectorAll("#pending > li").length >= 1 && document.querySelectorAll("#pending > li").length <= 2`)
	h.release()
	b.hears("one", "two", "three", "a draft no more", "five")
	b.until("nothing on the way any more", `document.querySelectorAll("#pending > li").length === 0`)
	if got := b.value("#body"); got != "another draft" {
		t.Errorf("the box holds %q", got)
	}
	if got := ada.get(r.path("")).want(200).bodies(); !slices.Equal(got, []string{"one", "two", "three", "a draft no more", "five"}) {
		t.Errorf("the server holds %q", got)
	}
	if n := read[int](b, `Object.keys(sessionStorage).filter((key) => key.startsWith("outbox:")).length`); n != 0 {
		t.Error("the out-box keeps what was sent")
	}
}

func TestBrowserWhoIsTooFastWaitsAndLosesNothing(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	b := ada.browserOf()
	b.expectStatus(429, r.path("/messages"))
	b.enters(ada, r)
	for i := range 19 {
		ada.say(r, fmt.Sprintf("message %d", i+1))
	}
	b.click("#body")
	for i := range 4 {
		b.write(fmt.Sprintf("message %d", i+20))
		b.enter()
	}
	b.hears(numbered(1, 23)...)
	b.until("nothing on the way any more", `document.querySelectorAll("#pending > li").length === 0 && document.querySelector("#composer-note").textContent === ""`)
}

// Somebody else who logs in in the same tab must not send what the first one wrote.
func TestBrowserAnotherPersonDoesNotSendWhatWaits(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	grace.join(r)
	b := ada.browserOf()
	b.expect("log: network: Failed to load resource: net::ERR_CONNECTION_RESET", r.path("/messages"))
	b.expect("console.error: ", "TypeError: Failed to fetch")
	b.expectStatus(401, "/session")
	b.expectStatus(401, r.path("/feed"))
	b.enters(ada, r)
	h := b.hold(r.path("/messages"), false)
	b.click("#body")
	b.write("by Ada")
	b.enter()
	h.lose(h.next())
	b.until("that it waits", `document.querySelector("#pending > li")?.dataset.state === "Waiting for the line…"`)
	b.write("her draft")
	ada.post("/logout", nil) // on another device of the same session: this browser forgets nothing
	b.at("/login")
	h.release()
	b.fill("#username", "grace")
	b.fill("#password", grace.password)
	b.fill("#code", grace.code())
	b.enter()
	b.at("/rooms")
	b.enters(grace, r)
	b.says("by Grace")
	b.hears("by Grace")
	if b.look(`document.body.innerText.includes("by Ada")`) || b.value("#body") != "" {
		t.Error("the page shows what another person has written")
	}
	if got := grace.login().get(r.path("")).want(200).bodies(); !slices.Equal(got, []string{"by Grace"}) {
		t.Errorf("the server holds %q", got)
	}
}

func TestBrowserARefreshDisturbsNeitherDraftNorPlace(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	grace.join(r)
	all := numbered(1, 370)
	o.posts(grace, r, all[:120]...)
	ada.reads(r)
	b := ada.browserOf()
	b.enters(ada, r)
	b.click("#body")
	b.write("a draft")
	for tries := 0; read[int](b, `document.querySelectorAll("#messages > li").length`) < 80 && tries < 40; tries++ {
		b.wheel("#scroller", -1200)
		b.stands()
	}
	b.wheel("#scroller", 900)
	b.stands()
	if b.look(atEnd) {
		t.Fatal("Ada should not be at the end")
	}
	n, top := b.readNow()
	above := read[int](b, `Number(document.querySelector("#messages > li").id.slice(2))`)
	if above > n-10 {
		t.Fatalf("the page begins at m-%d, and Ada reads m-%d", above, n)
	}
	marked := read[float64](b, "window.marked = Math.random()")

	// The line is cut, and much happens before it is back.
	h := b.hold("/feed?*", false)
	o.hub.Release(o.store.SessionHash(ada.sid()))
	waiting := h.next()
	m := o.membership(grace, r)
	if err := o.store.Edit(context.Background(), m, uint64(n+1), "this was edited meanwhile"); err != nil {
		t.Fatal(err)
	}
	if err := o.store.Remove(context.Background(), m, uint64(n+2)); err != nil {
		t.Fatal(err)
	}
	if err := o.store.Edit(context.Background(), m, uint64(above), "far above"); err != nil {
		t.Fatal(err)
	}
	last := o.posts(grace, r, all[120:]...)
	h.pass(waiting)
	h.release()
	b.until("the newest", fmt.Sprintf(`document.getElementById("m-%d")`, last))
	b.until("all that is there as it is now", `!document.querySelector("#messages > [data-stale]")`)
	b.settle()
	if now := b.topOf(n); now < top-2 || now > top+2 {
		t.Errorf("with the refresh, m-%d jumped from %.1f to %.1f", n, top, now)
	}
	if got := b.text(fmt.Sprintf("#m-%d > .body", n+1)); got != "this was edited meanwhile" {
		t.Errorf("the edited message says %q", got)
	}
	if !b.look(fmt.Sprintf(`document.querySelector("#m-%d.removed")`, n+2)) {
		t.Error("the removed message is still there")
	}
	// No hole, nothing twice.
	b.inOrder()
	numbers := read[[]int](b, `[...document.querySelectorAll("#messages > li")].map((li) => Number(li.id.slice(2)))`)
	first, end := numbers[0], numbers[len(numbers)-1]
	if missing := end - first + 1 - len(numbers); uint64(end) != last || first > n || missing != 3 { // the edits and the removal have no lines
		t.Errorf("the page shows %d to %d, of which %d are missing", first, end, missing)
	}
	if got := b.value("#body"); got != "a draft" {
		t.Errorf("the draft has become %q", got)
	}
	if read[float64](b, "window.marked") != marked {
		t.Error("the page was loaded again")
	}
	b.until("what is new counted", `/^Jump to newest \(\d+ new\)$/.test(document.querySelector("#newest").textContent)`)
	if b.look(fmt.Sprintf(`document.getElementById("m-%[1]d") && document.querySelector("#m-%[1]d > .body").innerText !== "far above"`, above)) {
		t.Error("a message above is still what it was")
	}
	b.newAt("message 121")
	// And on it goes, live.
	o.posts(grace, r, "the newest")
	b.until("the newest", `document.querySelector("#messages > li:last-child > .body")?.innerText === "the newest"`)
	b.press(kb.End)
}

// Our own script is there before htmx. What is sent in between leaves the box and goes out as soon as it can.
func TestBrowserWhatIsSentBeforeHtmxHasComeGoesOutOnce(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r, other := ada.createRoom("Engine room"), ada.createRoom("Library")
	grace.join(other)
	grace.say(other, "news")
	b := ada.browserOf()
	h := b.hold("/htmx.js", false)
	b.do("go there", command(page.Navigate, page.NavigateParams{URL: b.address(r.path(""))}))
	script := h.next()
	b.until("the composer", `customElements.get("chat-composer") && document.querySelector("#scroller[data-ready]")`)
	b.says("Good morning")
	b.until("the message on its way", `document.querySelector("#pending .body")?.innerText === "Good morning" && !document.querySelector("#body").value`)
	b.says("Good evening")
	h.pass(script)
	h.release()
	b.hears("Good morning", "Good evening")
	b.here(ada)
	b.titled("(1) Engine room · Conclave")
	b.until("nothing on its way, and no notice of the line", `!document.querySelector("#pending > li") && !document.querySelector("#connection").checkVisibility()`)
	if b.path() != r.path("") {
		t.Error("the page has been left")
	}
}

// A laptop that wakes up shows its room at once, and much runs by before anybody has looked. The
// same much is found by whoever opens the room.
func TestBrowserWhatRunsByAfterASleepStaysUnread(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	for _, missed := range []int{60, 260} { // one by one, and as a refresh
		r := ada.createRoom("Engine room")
		grace.join(r)
		all := numbered(1, 30+missed)
		o.posts(grace, r, all[:30]...)
		ada.reads(r)
		b := ada.browserOf()
		b.enters(ada, r)
		b.until("the end in view", atEnd)
		h := b.hold("/feed?*", false)
		o.hub.Release(o.store.SessionHash(ada.sid()))
		waiting := h.next()
		last := o.posts(grace, r, all[30:]...)
		h.pass(waiting)
		h.release()
		b.until("the newest", fmt.Sprintf(`document.getElementById("m-%d")`, last))
		first := "message 31"
		if missed > 200 { // the newest page; the others are above, and come by themselves
			first = fmt.Sprintf("message %d", len(all)-39)
			b.until("an older page", `document.querySelectorAll("#messages > li").length > 40`)
		}
		b.newAt(first)
		b.stands()
		if !b.look(inView) || b.look(atEnd) {
			b.fail("%d missed: the first of them is not in view", missed)
		}
		b.until("what was in sight read, and the rest not", `/^Jump to newest \(\d+ new\)$/.test(document.querySelector("#newest").textContent) && Number(document.querySelector("#newest").textContent.match(/\d+/)) < `+fmt.Sprint(missed))
		b.click("#newest")
		b.until("the end in view", atEnd)
		ada.wantUnreadSoon(r, "0")

		o.posts(grace, r, numbered(1, missed)...)
		b.open("/rooms")
		b.open(r.path(""))
		b.at(r.path(""))
		if first = "message 1"; missed > 200 {
			first = fmt.Sprintf("message %d", missed-199)
			b.until("an older page", `document.querySelectorAll("#messages > li").length > 200`)
		}
		b.newAt(first)
		b.stands()
		if !b.look(inView) || b.look(atEnd) {
			b.fail("%d unread: the first of them is not in view", missed)
		}
	}
}
