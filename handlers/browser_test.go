package handlers_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/pquerna/otp/totp"
)

func quick(s *settings) { s.scale = 100 } // the post limit is not what these tests are about

// Without this, the silence of the other tests would prove nothing.
func TestBrowserEveryComplaintIsHeard(t *testing.T) {
	t.Parallel()
	b := openOffice(t).browser("mallory")
	b.open("/login")
	for _, c := range []struct{ what, script, heard string }{
		{"an error in the console", `console.error("alas", 1)`, "console.error: alas"},
		{"an exception", `setTimeout(() => { throw new Error("nobody catches this") })`, "nobody catches this"},
		{"a rejected promise", `void Promise.reject(new Error("nobody waits for this"))`, "nobody waits for this"},
		{"a refused request", `void fetch("/static/nothing")`, "status of 404"},
		{"a style in an attribute", `document.body.setAttribute("style", "color: red")`, "breach of the content policy: style-src-attr"},
		{"a string made into HTML", `try { document.body.innerHTML = "<p>" } catch {}`, "breach of the content policy: require-trusted-types-for"},
		{"a string made into code", `try { eval("1") } catch {}`, "breach of the content policy: "},
		{"a foreign picture", `new Image().src = "https://example.org/x.png"`, "breach of the content policy: img-src"},
	} {
		b.mu.Lock()
		b.complaints = nil
		b.mu.Unlock()
		b.readInto(new(any), c.script)
		for end := time.Now().Add(patience); !b.complainedOf(c.heard); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s was not heard; only %q", c.what, b.complaints)
			}
		}
	}
	b.expect("") // all of it was provoked
}

func (b *tab) complainedOf(part string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.ContainsFunc(b.complaints, func(c string) bool { return strings.Contains(c, part) })
}

func TestBrowserTwoPeopleMeetThroughALinkAndTalk_T32(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.browser("ada"), o.browser("grace")

	ada.open("/register")
	if codes := ada.registers("ada", "Ada Lovelace"); len(codes) != 10 {
		t.Fatalf("%d recovery codes", len(codes))
	}
	r := ada.creates("Engine room")
	link := ada.text("#join-link")
	if link != o.server.URL+"/join#"+r.code {
		t.Fatalf("the invitation is %q", link)
	}

	// Grace opens the invitation before she has an account.
	grace.open(link)
	grace.until("the note that the code is kept", `document.querySelector("[data-kept]").checkVisibility()`)
	if read[string](grace, "location.href") != o.server.URL+"/join" {
		t.Error("the room code stays in the address bar: ", read[string](grace, "location.href"))
	}
	grace.click("a[href='/register']")
	grace.registers("grace", "Grace Hopper")
	if got := grace.value("#code"); got != r.code {
		t.Fatalf("after the registration the form holds the code %q, want %q", got, r.code)
	}
	grace.click("form[action='/rooms/join'] button")
	grace.at(r.path(""))

	for _, b := range []*tab{ada, grace} {
		b.until("two people here", `document.querySelectorAll("#members > [data-here]").length === 2`)
		if got := read[[]string](b, `[...document.querySelectorAll("#members > li")].map((e) => e.dataset.username).sort()`); !slices.Equal(got, []string{"ada", "grace"}) {
			t.Errorf("members in the browser of %s: %q", b.name, got)
		}
		if !b.look("isSecureContext") {
			t.Error("no secure context")
		}
		if got := read[string](b, "performance.getEntriesByType('navigation')[0].nextHopProtocol"); got != "h2" {
			t.Errorf("the page came over %s", got)
		}
	}
	ada.until("the line that Grace joined", `[...document.querySelectorAll("#messages > .event")].at(-1).textContent.includes("Grace Hopper")`)
	marked := read[float64](ada, "window.marked = Math.random()") // gone after a reload

	grace.says("Good morning, Ada")
	ada.hears("Good morning, Ada")
	ada.says("Good morning!")
	said := []string{"Good morning, Ada", "Good morning!"}
	for _, b := range []*tab{ada, grace} {
		b.hears(said...)
	}
	const mine = `[...document.querySelectorAll("#messages > .message")].map((li) => li.hasAttribute("data-mine"))`
	if got := read[[]bool](ada, mine); !slices.Equal(got, []bool{false, true}) {
		t.Error("marked as Ada's own: ", got)
	}
	if got := read[[]bool](grace, mine); !slices.Equal(got, []bool{true, false}) {
		t.Error("marked as Grace's own: ", got)
	}

	// Two messages back to back, with the first still on its way, and a third begun.
	h := ada.hold("/messages", false)
	ada.click("#body")
	ada.write("one")
	ada.enter()
	ada.write("two")
	ada.enter()
	ada.write("and a thi")
	first := h.next()
	ada.until("both shown as on the way", `document.querySelectorAll("#pending > li").length === 2`)
	h.pass(first)
	h.pass(h.next())
	h.release()
	said = append(said, "one", "two")
	for _, b := range []*tab{ada, grace} {
		b.hears(said...)
	}
	ada.until("nothing on the way any more", `document.querySelectorAll("#pending > li").length === 0`)
	if got := ada.value("#body"); got != "and a thi" {
		t.Fatalf("what was typed while messages were on their way has become %q", got)
	}
	ada.write("rd")
	ada.enter()
	ada.write("fourth")
	ada.enter()
	said = append(said, "and a third", "fourth")

	// More than one line.
	ada.write("first line")
	ada.enter(chromedp.ModifierShift)
	ada.write("second line")
	ada.enter()
	said = append(said, "first line\nsecond line")

	// Text that looks like something else.
	for _, s := range []string{`<script>alert(1)</script>`, `<img src=x onerror=alert(1)>`, `{{7*7}} <hx-partial hx-target="body">gone</hx-partial>`, `see https://example.org/a?b=c&d=e#f.`, `javascript:alert(1)`} {
		grace.hears(said...)
		ada.says(s)
		said = append(said, s)
	}
	grace.hears(said...)
	ada.hears(said...)
	if n := read[int](grace, `document.querySelectorAll("#messages script, #messages img, #messages hx-partial").length`); n != 0 {
		t.Errorf("%d elements were made of the text of messages", n)
	}
	links := read[[]map[string]string](grace, `[...document.querySelectorAll("#messages .body a")].map((a) => ({ href: a.href, text: a.textContent, rel: a.rel, target: a.target }))`)
	if len(links) != 1 || links[0]["href"] != "https://example.org/a?b=c&d=e#f" || links[0]["text"] != links[0]["href"] ||
		links[0]["target"] != "_blank" || !strings.Contains(links[0]["rel"], "noopener") || !strings.Contains(links[0]["rel"], "noreferrer") {
		t.Errorf("links in the messages: %v", links)
	}

	// A word that does not end, on a phone.
	word := strings.Repeat("abcdefghij", 30)
	grace.click("#body")
	grace.paste(word)
	grace.enter()
	said = append(said, word)
	ada.hears(said...)
	for _, width := range []int64{375, 320} {
		ada.resize(width, 812)
		ada.fits(fmt.Sprintf("with a long word at %d px", width))
	}
	ada.resize(1280, 800)
	if read[float64](ada, "window.marked") != marked {
		t.Error("Ada's page was loaded again")
	}

	// Grace leaves for good.
	grace.click(".leave summary")
	grace.click(".leave button")
	grace.at("/rooms")
	grace.until("what she did", `document.querySelector(".notice")?.textContent === "You have left the room."`)
	grace.until("no room in the list", `!document.querySelector(".room-card")`)
	ada.until("Ada alone among the members", `document.querySelectorAll("#members > li").length === 1 && document.querySelector("#members > li").dataset.username === "ada"`)
	ada.until("the line that Grace left", `[...document.querySelectorAll("#messages > .event")].at(-1).textContent.includes("Grace Hopper left")`)
	ada.hears(said...)
}

// numbered are messages that say their own number.
func numbered(from, to int) []string {
	var list []string
	for i := from; i <= to; i++ {
		list = append(list, "message "+strconv.Itoa(i))
	}
	return list
}

func TestBrowserHistoryLoadsOnScrollingUpAndKeepsTheReadersPlace(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Archive")
	grace.join(r)
	all := numbered(1, 100)
	for i, body := range all {
		[]*person{ada, grace}[i/7%2].say(r, body)
	}
	ada.reads(r)
	b := ada.browserOf()
	h := b.hold("/messages?before=*", false)
	b.open(r.path(""))
	b.at(r.path(""))
	if n := read[int](b, `document.querySelectorAll("#messages > li").length`); n != 40 {
		t.Fatalf("the page opens with %d entries, want 40", n)
	}
	b.hears(all[60:]...)
	b.until("the end in view", atEnd)

	// Twice, an older page arrives while the reader stands still: near the top, and right at it.
	for i, distance := range []float64{150, 0} {
		for b.look(fmt.Sprintf("document.querySelector('#scroller').scrollTop > %v", distance)) {
			step := min(read[float64](b, "document.querySelector('#scroller').scrollTop")-distance, 1200)
			b.wheel("#scroller", -step)
			b.stands()
		}
		id := h.next()
		b.stands()
		n, top := b.readNow()
		h.pass(id)
		want := 61 - 40*(i+1)
		b.until("an older page", fmt.Sprintf(`document.querySelectorAll("#messages > li").length > %d`, 40*(i+1)))
		b.settle()
		if now := b.topOf(n); now < top-2 || now > top+2 {
			t.Errorf("older page %d: the message m-%d jumped from %.1f to %.1f", i+1, n, top, now)
		}
		if i == 0 {
			b.hears(all[want-1:]...)
		}
	}
	h.release()
	for tries := 0; read[int](b, `document.querySelectorAll("#messages > li > .body").length`) < 100 && tries < 40; tries++ {
		b.wheel("#scroller", -1200)
		b.stands()
	}
	b.until("the beginning of the room", `document.querySelector("#older").textContent.includes("beginning")`)
	b.hears(all...)

	// News for somebody who reads the past.
	b.wheel("#scroller", 2000)
	b.stands()
	if b.look(atEnd) {
		t.Fatal("the reader should be in the middle of the history")
	}
	n, top := b.readNow()
	grace.say(r, "news")
	b.hears(append(slices.Clone(all), "news")...)
	b.settle()
	if now := b.topOf(n); now < top-2 || now > top+2 {
		t.Errorf("with a new message, m-%d jumped from %.1f to %.1f", n, top, now)
	}
	b.until("the way to the newest", `document.querySelector("#newest").checkVisibility()`)
	b.click("#newest")
	b.until("the end in view", atEnd)
	b.until("no way to the newest", `!document.querySelector("#newest").checkVisibility()`)

	// Somebody who reads the end stays there.
	for _, s := range []string{"still", "at", "the", "end", strings.Repeat("many words ", 200)} {
		grace.say(r, s)
	}
	b.until("the last message", `document.querySelectorAll("#messages > li > .body").length === 106`)
	b.until("the end in view", atEnd)
}

const atEnd = `(() => { const s = document.querySelector("#scroller"); return s.scrollHeight - s.scrollTop - s.clientHeight < 2; })()`

// stands waits until the messages no longer move.
func (b *tab) stands() {
	b.t.Helper()
	read[bool](b, `new Promise((done) => {
		const s = document.querySelector("#scroller");
		let last = -1, same = 0;
		const look = () => {
			same = s.scrollTop === last ? same + 1 : 0;
			last = s.scrollTop;
			if (same < 8) requestAnimationFrame(look); else done(true);
		};
		look();
	})`)
}

// readNow returns the number of the entry in the middle of the view, and where it stands.
func (b *tab) readNow() (n int, top float64) {
	b.t.Helper()
	n = read[int](b, `(() => {
		const box = document.querySelector("#scroller").getBoundingClientRect();
		return Number([...document.querySelectorAll("#messages > li")].find((li) => li.getBoundingClientRect().top >= box.top + box.height / 2).id.slice(2));
	})()`)
	return n, b.topOf(n)
}

func (b *tab) topOf(n int) float64 {
	b.t.Helper()
	return read[float64](b, fmt.Sprintf(`document.getElementById("m-%d").getBoundingClientRect().top`, n))
}

func TestBrowserNothingIsLostOrDoubledOverARestart(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	grace.join(r)
	b := ada.browserOf()
	b.expectOutage()
	b.open(r.path(""))
	b.at(r.path(""))
	b.until("Ada here", `document.querySelector("#members [data-username=ada][data-here]")`)
	marked := read[float64](b, "window.marked = Math.random()")
	all := numbered(1, 25)
	send := func(from, to int) {
		for _, body := range all[from-1 : to] {
			grace.say(r, body)
		}
	}

	send(1, 5)
	o.restart()
	grace.client.CloseIdleConnections()
	send(6, 12)
	b.hears(all[:12]...)

	// Away for longer: the page says so, and that it is over.
	address := o.server.Listener.Addr().String()
	o.stop()
	b.until("the notice that the line is down", `document.querySelector("#connection").checkVisibility()`)
	b.click("#body")
	b.write("typed meanwhile")
	o.start(address)
	grace.client.CloseIdleConnections()
	send(13, 20)
	b.hears(all[:20]...)
	b.until("no notice any more", `!document.querySelector("#connection").checkVisibility()`)
	send(21, 25)
	b.hears(all...)
	if got := b.value("#body"); got != "typed meanwhile" {
		t.Errorf("the draft has become %q", got)
	}
	if read[float64](b, "window.marked") != marked {
		t.Error("the page was loaded again")
	}
}

func TestBrowserARefusedSendGivesTheTextBackAndALostOneIsRepeated(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	b := ada.browserOf()
	b.expectStatus(422, r.path("/messages"))
	b.open(r.path(""))
	b.at(r.path(""))

	// Refused: one character too many.
	long := strings.Repeat("ten chars ", 400) + "!"
	b.click("#body")
	b.paste(long)
	b.enter()
	b.until("what is wrong", `document.querySelector("#composer-note").matches(".wrong") && document.querySelector("#composer-note").textContent.length > 15`)
	b.until("the text in the box", `document.querySelector("#body").value.length === 4001`)
	if b.value("#body") != long {
		t.Error("the text that was given back is another")
	}
	b.press(kb.Backspace)
	b.enter()
	said := []string{strings.TrimSpace(long[:4000])}
	b.until("the message", `document.querySelectorAll("#messages > li > .body").length === 1`)
	if got := strings.TrimSpace(read[string](b, `document.querySelector("#messages .body").textContent`)); got != said[0] {
		t.Errorf("the message says %d characters, want %d", len(got), len(said[0]))
	}
	b.until("nothing wrong any more", `document.querySelector("#composer-note").textContent === "" && document.querySelector("#body").value === ""`)

	// The server is away.
	b.expectOutage()
	b.expect("console.error: ", "TypeError: Failed to fetch")
	address := o.server.Listener.Addr().String()
	o.stop()
	b.click("#body")
	b.write("into the void")
	b.enter()
	b.until("that it waits", `document.querySelector("#pending > li")?.dataset.state === "Waiting for the line…"`)
	o.start(address)
	b.until("the second message", `document.querySelectorAll("#messages > li > .body").length === 2`)

	// The message arrived, its answer did not: sent again, it must not stand there twice.
	b.expect("log: network: Failed to load resource: net::ERR_CONNECTION_RESET", r.path("/messages"))
	h := b.hold(r.path("/messages"), true)
	b.write("only once")
	b.enter()
	h.lose(h.next())
	h.release()
	b.says("the end")
	b.until("the last message", `document.querySelector("#messages > li:last-child > .body")?.innerText === "the end"`)
	b.until("nothing on the way any more", `document.querySelectorAll("#pending > li").length === 0 && document.querySelector("#body").value === ""`)
	if got := read[[]string](b, heard)[1:]; !slices.Equal(got, []string{"into the void", "only once", "the end"}) {
		t.Errorf("the room shows %q", got)
	}
	if got := ada.get(r.path("")).want(200).bodies()[1:]; !slices.Equal(got, []string{"into the void", "only once", "the end"}) {
		t.Errorf("the server holds %q", got)
	}
}

func TestBrowserLogoutEndsTheOtherTab(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	ada.say(r, "nobody else may read this")
	first := ada.browserOf()
	first.open("/rooms")
	first.open(r.path(""))
	first.hears("nobody else may read this")
	second := first.secondTab()
	second.open("/rooms")
	second.open(r.path(""))
	second.hears("nobody else may read this")
	for _, b := range []*tab{first, second} {
		b.until("Ada here", `document.querySelector("#members [data-username=ada][data-here]")`)
		b.expectStatus(401, "/session")
		b.expectStatus(401, r.path("/feed")) // a slow page asks once more before it leaves
	}
	for _, b := range []*tab{second, first} {
		b.do("look at the tab", command(page.BringToFront, cdp.Empty{}))
		b.click("#body")
		b.write("a draft that nobody else may read")
	}

	first.logsOut()
	first.at("/login")
	second.untilWithin(5*time.Second, "the login in the second tab", `location.pathname === "/login" && document.readyState === "complete"`)

	for _, b := range []*tab{first, second} {
		for range 2 {
			b.do("go back", command(page.NavigateToHistoryEntry, page.NavigateToHistoryEntryParams{EntryID: b.entryBefore()}))
			b.until("the login", `location.pathname === "/login" && document.readyState === "complete"`)
			if b.look(`document.documentElement.innerHTML.includes("may read this")`) || b.look(`document.querySelector("#messages, #body")`) {
				b.fail("after the logout, the back button shows the room")
			}
		}
		if n := read[int](b, "sessionStorage.length"); n != 0 {
			t.Errorf("the tab of %s keeps %d things after the logout", b.name, n)
		}
	}
}

// entryBefore is the history entry that the back button leads to.
func (b *tab) entryBefore() int64 {
	b.t.Helper()
	history, err := chromedp.Call(b.ctx, page.GetNavigationHistory, cdp.Empty{})
	if err != nil || history.CurrentIndex == 0 {
		b.fail("nothing to go back to: %v", err)
	}
	return history.Entries[history.CurrentIndex-1].ID
}

func TestBrowserAMemberWhoLeftIsLedOutOfTheOtherTab(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	grace.join(r)
	first := grace.browserOf()
	first.open(r.path(""))
	first.until("Grace here", `document.querySelector("#members [data-username=grace][data-here]")`)
	second := first.secondTab()
	second.open(r.path(""))
	second.at(r.path(""))
	for _, b := range []*tab{first, second} {
		b.expectStatus(404, r.path("/feed")) // a slow page asks once more before it leaves
	}
	second.click(".leave summary")
	second.click(".leave button")
	second.until("the rooms", `location.pathname === "/rooms"`)
	first.untilWithin(5*time.Second, "the rooms in the first tab", `location.pathname === "/rooms" && document.readyState === "complete"`)
	first.until("the notice", `[...document.querySelectorAll(".notice")].some((e) => e.textContent.includes("You are no longer in this room"))`)
	ada.say(r, "Grace has left")
	if first.look(`document.body.innerText.includes("Engine room")`) {
		t.Error("the room is still in the list")
	}
}

func TestBrowserTheJourneyWorksWithoutJavaScript(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	b := o.browser("ada")
	b.do("switch scripts off", command(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}))
	b.expectStatus(422, o.server.URL+"/")
	b.open("/register")
	if b.look("window.htmx") {
		t.Fatal("scripts run")
	}

	// A wrong field says so beside itself, and the others are kept.
	b.fill("#full_name", "Ada Lovelace")
	b.fill("#username", "ada")
	b.fill("#email", "ada@example.org")
	b.fill("#password", "short")
	b.click("#register button.primary")
	b.exists("#password-error:not(:empty)")
	b.namesWrong("#password")
	for selector, want := range map[string]string{"#full_name": "Ada Lovelace", "#username": "ada", "#email": "ada@example.org", "#password": ""} {
		if got := b.value(selector); got != want {
			t.Errorf("%s holds %q, want %q", selector, got, want)
		}
	}
	b.fill("#password", password)
	b.click("#register button.primary")
	b.at("/register/confirm")
	b.fill("#code", "000000")
	b.click("#enrol button.primary")
	b.exists("#code-error:not(:empty)")
	b.namesWrong("#code")
	o.clock.advance(30 * time.Second)
	code, err := totp.GenerateCode(strings.Join(strings.Fields(b.text("#totp-secret")), ""), o.clock.now())
	if err != nil {
		t.Fatal(err)
	}
	b.fill("#code", code)
	b.click("#enrol button.primary")
	b.at("/register/recovery")
	if n := read[int](b, `document.querySelectorAll(".recovery-code").length`); n != 10 {
		t.Errorf("%d recovery codes", n)
	}
	b.click("form[action='/register/recovery'] button")
	b.at("/rooms")

	b.fill("#code", "not a code")
	b.click("form[action='/rooms/join'] button")
	b.exists("#code-error:not(:empty)")
	b.namesWrong("#code")
	if got := b.value("#code"); got != "not a code" {
		t.Errorf("the room code has become %q", got)
	}
	b.open("/rooms")
	r := b.creates("Engine room")
	for _, body := range []string{"first", "second"} {
		b.click("#body")
		b.write(body)
		b.click("#composer button.send")
		b.until(body, fmt.Sprintf(`document.querySelector("#messages > li:last-child > .body")?.innerText === %q`, body))
	}
	b.at(r.path(""))
	b.until("a way to see what is new", `[...document.querySelectorAll("a")].some((a) => a.textContent === "Look for new messages" && a.checkVisibility())`)
	b.hears("first", "second")

	// Older messages have a page of their own.
	o.clock.advance(30 * time.Second)
	grace := o.register("grace", "Grace Hopper")
	grace.join(r)
	all := append([]string{"first", "second"}, numbered(3, 60)...)
	for _, body := range all[2:] {
		grace.say(r, body)
	}
	b.click("a[href='" + r.path("") + "']")
	b.until("the newest", `document.querySelector("#messages > li:last-child > .body")?.innerText === "message 60"`)
	b.until("a way to the first new message", `[...document.querySelectorAll("a")].some((a) => a.textContent === "58 new: to the first" && a.checkVisibility())`)
	b.click("form[action='" + r.path("/read") + "'] button")
	b.until("the newest page", `document.querySelectorAll("#messages > li").length === 40`)
	if !b.look(`(() => { const s = document.querySelector("#scroller"), li = document.querySelector("#messages > li:last-child").getBoundingClientRect(), box = s.getBoundingClientRect(); return li.bottom <= box.bottom + 1 && li.top >= box.top; })()`) {
		t.Error("the newest message is not in view")
	}
	b.click("#older")
	b.until("an older page", `location.pathname.endsWith("/messages")`)
	b.until("the beginning", `document.querySelector("#messages > li > .body")?.innerText === "first"`)
	b.inOrder()
	b.click("a.button.primary[href='" + r.path("") + "']")
	b.at(r.path(""))

	// Nothing waits for a script, and nothing is offered that only a script can do.
	b.until("messages instead of a sketch, with their times", `[...document.querySelectorAll("#messages > li, #messages time")].every((e) => getComputedStyle(e).visibility === "visible") && getComputedStyle(document.querySelector("#scroller"), "::before").content === "none"`)
	b.until("no button without a script behind it", `![...document.querySelectorAll("copy-button, share-button")].some((e) => e.checkVisibility())`)

	// The panel is a sheet, its parts unfold, and the members have a page.
	b.do("take a phone", command(emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: 375, Height: 812, DeviceScaleFactor: 1})) // resize asks a script
	b.click(".panel-door")
	b.click("#panel details:not(.leave) summary")
	b.until("the invitation and its QR code", `document.querySelector("#join-link").checkVisibility() && document.querySelector("#panel .qr").checkVisibility()`)
	b.click("a[href='" + r.path("/members") + "']")
	b.at(r.path("/members"))
	b.until("both members", `document.querySelectorAll(".roster > li").length === 2`)
	b.open(r.path(""))
	b.click(".panel-door")
	b.click("#panel .leave summary")
	b.click("form[action='" + r.path("/leave") + "'] button")
	b.at("/rooms")
	b.until("word of it", `document.querySelector(".notice")?.innerText === "You have left the room." && !document.querySelector(".room-card")`)
	b.logsOut()
	b.at("/login")
	b.open("/rooms")
	b.until("the login again", `location.pathname === "/login"`)
}

// namesWrong fails unless a field says that it is wrong, and its description says why, in sight.
func (b *tab) namesWrong(selector string) {
	b.t.Helper()
	b.until(selector+" marked as wrong, with its reason", fmt.Sprintf(`(() => {
		const field = document.querySelector(%q);
		const reasons = (field.getAttribute("aria-describedby") ?? "").split(" ").map((id) => document.getElementById(id)).filter((e) => e?.matches(".wrong"));
		return field.getAttribute("aria-invalid") === "true" && reasons.some((e) => e.textContent.trim().length > 10 && e.checkVisibility());
	})()`, selector))
}

// notWrong fails when a field says that it is wrong.
func (b *tab) notWrong(selectors ...string) {
	b.t.Helper()
	for _, s := range selectors {
		if read[bool](b, fmt.Sprintf(`document.querySelector(%q).getAttribute("aria-invalid") === "true"`, s)) {
			b.fail("%s is marked as wrong", s)
		}
	}
}

func TestBrowserFormsKeepWhatWasTypedAndNameTheWrongField(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	grace := o.register("grace", "Grace Hopper")
	b := o.browser("ada")
	b.expectStatus(422, "/register")
	b.expectStatus(409, "/register")
	b.expectStatus(422, "/login")
	b.open("/register")
	typed := map[string]string{"#full_name": "Ada Lovelace", "#username": "grace", "#email": "ada@example.org", "#password": password}
	for _, selector := range []string{"#full_name", "#username", "#email", "#password"} {
		b.fill(selector, typed[selector])
	}
	kept := func() {
		t.Helper()
		for selector, want := range typed {
			if got := b.value(selector); got != want {
				t.Errorf("%s holds %q, want %q", selector, got, want)
			}
		}
	}
	b.enter()
	b.namesWrong("#username") // taken
	b.notWrong("#full_name", "#email", "#password")
	kept()
	if got := read[string](b, "document.activeElement.id"); got != "username" {
		t.Errorf("the focus is on %q, want the wrong field", got)
	}

	b.fill("#username", "ada")
	b.fill("#password", "too short")
	typed["#username"], typed["#password"] = "ada", "too short"
	b.enter()
	b.namesWrong("#password")
	b.notWrong("#full_name", "#email", "#username")
	kept()

	b.fill("#password", password)
	typed["#password"] = password
	b.click("#register button[aria-controls=password]")
	if got := read[string](b, `document.querySelector("#password").type`); got != "text" {
		t.Error("the password cannot be looked at")
	}
	b.click("#register button[aria-controls=password]")
	b.click("#register button.primary")
	b.at("/register/confirm")
	b.expectStatus(422, "/register/confirm")
	b.fill("#code", "000000")
	secret := b.text("#totp-secret")
	b.enter()
	b.namesWrong("#code")
	if b.text("#totp-secret") != secret {
		t.Error("a wrong code changed the secret")
	}

	// The login says nothing about which part was wrong, and keeps them too.
	b.open("/login")
	b.fill("#username", "grace")
	b.fill("#password", grace.password)
	b.fill("#code", "000000")
	b.enter()
	b.until("what is wrong", `document.querySelector("#login .problem")?.textContent.length > 15`)
	if b.value("#username") != "grace" || b.value("#password") != grace.password {
		t.Errorf("the login holds %q and a password of %d characters", b.value("#username"), len(b.value("#password")))
	}
	b.fill("#code", grace.code())
	b.enter()
	b.at("/rooms")

	// The room forms are plain ones.
	b.expectStatus(422, "/rooms")
	b.fill("#name", strings.Repeat("n", 81))
	b.enter()
	b.namesWrong("#name")
	if got := b.value("#name"); len(got) != 81 {
		t.Errorf("the name has become %q", got)
	}
	b.notWrong("#code")
	b.expectStatus(422, "/rooms/join")
	b.expectStatus(404, "/rooms/join")
	b.fill("#code", "AAAA-BBBB-CCCC-DDDD")
	b.enter()
	b.namesWrong("#code")
	if got := b.value("#code"); got != "AAAA-BBBB-CCCC-DDDD" {
		t.Errorf("the code has become %q", got)
	}
	b.notWrong("#name")
}

// fits fails when the page is wider than the window, or something in it reaches beyond.
func (b *tab) fits(when string) {
	b.t.Helper()
	found := read[[]string](b, `(() => {
		const d = document.documentElement, wide = [];
		if (d.scrollWidth > d.clientWidth) wide.push("the page: " + d.scrollWidth + " > " + d.clientWidth);
		const clipped = (e, box) => {
			for (let p = e.parentElement; p && p !== document.body; p = p.parentElement) {
				const style = getComputedStyle(p), outer = p.getBoundingClientRect();
				if (p.matches(".table-box") && outer.right <= d.clientWidth + 0.5) return true; // a table scrolls by itself
				if (style.overflowX !== "visible" && outer.right <= d.clientWidth + 0.5 && outer.left >= -0.5) {
					return style.overflowX === "hidden" || style.overflowX === "clip" || p.scrollWidth <= p.clientWidth;
				}
			}
			return false;
		};
		for (const e of document.body.querySelectorAll("*")) {
			const box = e.getBoundingClientRect();
			if (!box.width || !box.height || !e.checkVisibility() || e.closest("svg, .visually-hidden, .skip")) continue;
			if ((box.right > d.clientWidth + 0.5 || box.left < -0.5) && !clipped(e, box)) wide.push(e.tagName + "." + e.className + "#" + e.id + ": " + box.left + " to " + box.right);
			const overflow = getComputedStyle(e).overflowX;
			if ((overflow === "auto" || overflow === "scroll") && !e.matches(".table-box") && e.scrollWidth > e.clientWidth + 1) wide.push(e.tagName + "#" + e.id + " scrolls sideways: " + e.scrollWidth + " > " + e.clientWidth);
		}
		return wide;
	})()`)
	if len(found) > 0 {
		b.t.Errorf("%s %s is too wide: %s", read[string](b, "location.pathname"), when, strings.Join(found[:min(len(found), 6)], "; "))
	}
}
