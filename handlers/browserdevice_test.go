package handlers_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"conclave/static"
)

// recorder stands in for what a test cannot see or hear. The browser's answer to the question for
// permission is what the test has put beside it.
const recorder = `
	window.notices = []; window.tones = 0;
	if (sessionStorage.hidden) Object.defineProperty(document, "hidden", { configurable: true, value: true });
	window.Notification = class extends EventTarget {
		static get permission() { return localStorage.permission ?? "default"; }
		static async requestPermission() {
			localStorage.asked = Number(localStorage.asked ?? 0) + 1;
			if (localStorage.answer !== "default") localStorage.permission = localStorage.answer;
			return localStorage.answer;
		}
		constructor(title, options) {
			super();
			if (localStorage.unable) throw new TypeError("Illegal constructor");
			notices.push(Object.assign(this, { title, ...options }));
		}
		close() { this.closed = true; this.dispatchEvent(new Event("close")); }
	};
	window.AudioContext = class {
		currentTime = 0;
		destination = {};
		async resume() {}
		async suspend() {}
		createGain() { return { gain: { setValueAtTime() {}, linearRampToValueAtTime() {} }, connect: (next) => next }; }
		createOscillator() { return { frequency: {}, addEventListener() {}, connect: (next) => next, start() { tones++; }, stop(at) { if (at > 0.2) console.error("a long tone"); } }; }
	};`

// records has a tab note what it shows and plays, from the next page on.
func (b *tab) records() *tab {
	b.t.Helper()
	b.do("record", command(page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: recorder}))
	return b
}

// answers decides what the browser will say when it is asked for permission.
func (b *tab) answers(answer string) {
	b.t.Helper()
	read[bool](b, fmt.Sprintf("(localStorage.answer = %q) && true", answer))
}

// noticed are the notifications of a tab as "title: text".
func (b *tab) noticed() []string {
	b.t.Helper()
	return read[[]string](b, "notices.map((one) => one.title + ': ' + one.body)")
}

// has waits until a box is checked, or not.
func (b *tab) has(box string, checked bool) {
	b.t.Helper()
	b.until(fmt.Sprintf("%s checked: %v", box, checked), fmt.Sprintf("(({ checked, disabled }) => checked === %v && !disabled)(document.querySelector('device-settings input[name=%s]'))", checked, box))
}

func (b *tab) toggles(box string) {
	b.t.Helper()
	b.click("device-settings input[name=" + box + "]")
}

const leftOf = `((who) => document.querySelector("#messages > [data-author=" + who + "] > .body").getBoundingClientRect().left)`

func TestBrowserTheSettingsOfADeviceHoldAtOnceInEveryTab(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	grace.join(r)
	grace.say(r, "Good morning")
	ada.say(r, "Good morning!")
	b := ada.browserOf().records()
	b.open("/account/device")
	b.at("/account/device")
	for _, box := range []string{"aside", "enter"} {
		b.has(box, true)
	}
	for _, box := range []string{"sound", "notify", "words"} {
		b.has(box, false)
	}
	if small := read[[]string](b, `[...document.querySelectorAll("device-settings label, device-settings button")].filter((e) => e.getBoundingClientRect().height < 44).map((e) => e.innerText)`); len(small) > 0 {
		t.Errorf("too small for a finger: %q", small)
	}
	second := b.secondTab().records()
	second.enters(ada, r)
	if !second.look(leftOf + `("ada") > ` + leftOf + `("grace") + 100`) {
		second.fail("one's own messages are not on their own side")
	}
	const face = `document.querySelector("#messages > [data-mine]").querySelector(".avatar").checkVisibility()`
	b.toggles("aside")
	second.until("all messages on the same side", leftOf+`("ada") === `+leftOf+`("grace") && `+face+` && document.querySelector("#messages > [data-mine] .author").checkVisibility()`)
	second.shoot("room-flush-1280.png")
	second.resize(375, 812)
	second.fits("flush")
	second.shoot("room-flush-375.png")
	second.resize(1280, 800)
	second.enters(ada, r)
	second.until("the same side after a reload", leftOf+`("ada") === `+leftOf+`("grace")`)
	b.toggles("aside")
	second.until("their own side again", leftOf+`("ada") > `+leftOf+`("grace") && !`+face)

	// What Enter does, and what the composer says about it.
	const keys = `document.querySelector("#body").placeholder + "|" + document.querySelector("#composer-keys").textContent + "|" + document.querySelector("#body").enterKeyHint`
	const before = "Write a message|Enter sends, Shift+Enter begins a new line.|send"
	const after = "Write a message (Ctrl+Enter sends)|Enter begins a new line, Ctrl+Enter sends.|enter"
	second.until("what Enter does", keys+` === "`+before+`"`)
	b.toggles("enter")
	second.until("what Enter does now", keys+` === "`+after+`"`)
	second.click("#body")
	second.write("first line")
	second.enter()
	second.write("second line")
	if got := second.value("#body"); got != "first line\nsecond line" {
		t.Errorf("Enter made %q", got)
	}
	second.enter(chromedp.ModifierCtrl)
	second.hears("Good morning", "Good morning!", "first line\nsecond line")
	b.toggles("enter")
	second.until("what Enter did before", keys+` === "`+before+`"`)
	second.says("by Enter")
	second.hears("Good morning", "Good morning!", "first line\nsecond line", "by Enter")

	// The keyboard reaches all of it, and a reload changes nothing.
	b.toggles("sound")
	b.click("device-settings button")
	b.until("two tones", "tones === 2")
	b.open("/account/device")
	b.at("/account/device")
	b.has("sound", true)
	b.has("aside", true)
	if got := read[[]string](b, `Object.keys(localStorage).filter((key) => !key.startsWith("device:ada:"))`); len(got) > 0 {
		t.Errorf("kept in the browser without a person: %q", got)
	}
	for _, scheme := range []string{"light", "dark"} {
		b.emulate("prefers-color-scheme", scheme)
		for _, width := range []int64{320, 375, 1280} {
			b.resize(width, 812)
			b.fits(fmt.Sprintf("the settings of the device at %d px", width))
			b.shoot(fmt.Sprintf("device-%d-%s.png", width, scheme))
		}
	}

	// Without scripts the page says what is missing, and shows no boxes that do nothing.
	b.do("switch scripts off", command(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}))
	b.open("/account/device")
	b.until("why there are no settings", `document.querySelector("noscript .notice")?.checkVisibility() && !document.querySelector("device-settings").checkVisibility()`)
	b.shoot("device-noscript.png")
	b.open(r.path(""))
	b.until("no box in the room", `document.querySelector(".device-room") && !document.querySelector("device-settings").checkVisibility()`)
	b.do("switch scripts on", command(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: false}))
	b.open("/account/device")
	b.at("/account/device")

	// Whoever logs out leaves nothing.
	second.expectStatus(401, "/session")
	second.expectStatus(401, "/feed")
	b.expectStatus(401, "/session")
	b.logsOut()
	b.at("/login")
	if n := read[int](b, "localStorage.length"); n != 0 {
		t.Errorf("%d settings stay in the browser after a logout", n)
	}
	second.at("/login")
}

func TestBrowserPermissionIsAskedForOnlyWhenNotificationsAreSwitchedOn(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	b := ada.browserOf().records()
	b.enters(ada, r)
	b.open("/account/device")
	b.at("/account/device")
	b.has("notify", false)
	b.toggles("words")
	b.has("words", true)
	const said = `[...document.querySelectorAll("[data-answer]")].filter((e) => e.checkVisibility()).map((e) => e.dataset.answer).join()`
	if asked := read[string](b, `localStorage.asked ?? "never"`); asked != "never" {
		t.Fatalf("asked for permission %s times by itself", asked)
	}
	for _, answer := range []string{"default", "denied"} { // closed without an answer; refused
		b.answers(answer)
		b.toggles("notify")
		b.until("a word about "+answer, said+` === "`+answer+`"`)
		b.has("notify", false)
		b.shoot("device-" + answer + ".png")
	}
	b.open("/account/device")
	b.until("what is wrong, without a question", said+` === "denied"`)

	// A browser that has leave but cannot, as on Android.
	b.answers("granted")
	read[bool](b, `(localStorage.unable = "1") && delete localStorage.permission`)
	b.toggles("notify")
	b.until("that it cannot", said+` === "unable"`)
	b.has("notify", false)
	read[bool](b, "delete localStorage.unable")

	// Granted: what it looks like. In a room the box stands for that room.
	b.toggles("notify")
	b.until("that it may", said+` === "granted"`)
	b.has("notify", true)
	if got := b.noticed(); !slices.Equal(got, []string{"Conclave: Notifications look like this."}) {
		t.Errorf("as a sample it shows %q", got)
	}
	b.toggles("notify")
	b.has("notify", false)
	asked := read[string](b, "localStorage.asked")
	b.enters(ada, r)
	b.has("room", false)
	b.toggles("room")
	b.has("room", true)
	if again := read[string](b, "localStorage.asked"); again == asked {
		t.Error("who switches a room on is not asked")
	}
	b.open("/account/device")
	b.has("notify", true) // a room needs it

	// Taken back in the browser's own settings.
	read[bool](b, `(localStorage.permission = "denied") && true`)
	b.open("/account/device")
	b.until("what is wrong", said+` === "denied"`)
	b.has("notify", false)
	b.enters(ada, r)
	b.has("room", false)

	// In earnest: neither the content policy nor the permissions policy is in the way.
	real := ada.browserIn(whole)
	real.do("allow notifications", command(browser.SetPermission, browser.SetPermissionParams{
		Permission: &browser.PermissionDescriptor{Name: "notifications"}, Setting: browser.PermissionSettingGranted, Origin: o.server.URL,
		BrowserContextID: chromedp.FromContext(real.ctx).BrowserContextID,
	}))
	real.open("/account/device")
	real.toggles("notify")
	real.until("that it may", said+` === "granted"`)
	real.has("notify", true)
	real.click("device-settings button")
	real.toggles("sound")
	real.has("sound", true)
}

func TestBrowserWhoDoesNotLookIsToldOnceAndWithoutTheText(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	engine, library := ada.createRoom("Engine room"), ada.createRoom("Library")
	grace.join(engine)
	grace.join(library)
	grace.say(engine, "before")
	ada.reads(engine)
	ada.reads(library)
	b := ada.browserOf().records()
	b.enters(ada, engine)
	b.answers("granted")
	b.toggles("room")
	b.has("room", true)
	list := b.secondTab().records()
	list.open("/rooms")
	list.at("/rooms")
	list.until("the feed of the page", `document.querySelector("#unreads").children.length === 2`)
	tabs := []*tab{b, list}
	for _, one := range tabs {
		one.click("h1") // who has touched a page may be played to
		read[bool](one, "(notices.length = 0) === 0")
	}
	total := func(expression string) (sum int) {
		for _, one := range tabs {
			sum += read[int](one, expression)
		}
		return sum
	}
	icon := func(one *tab, want string) {
		t.Helper()
		one.until("the icon "+want, `document.querySelector("link[rel=icon]").href.endsWith("/`+want+`")`)
	}

	// Somebody looks at one of the pages.
	b.hides(true)
	grace.say(engine, "seen from the list")
	list.counts(engine, "1")
	icon(b, "icon-1.svg")
	icon(list, "icon-1.svg")
	if n := total("notices.length + tones"); n != 0 {
		t.Errorf("somebody who looks is disturbed %d times", n)
	}

	// Nobody looks. No sound was asked for.
	list.hides(true)
	grace.say(engine, "for nobody's <b>eyes</b>")
	b.until("a notification", "notices.length === 1")
	list.counts(engine, "2")
	if got := b.noticed(); !slices.Equal(got, []string{"Engine room: New message"}) {
		t.Errorf("it shows %q", got)
	}
	if n := total("notices.length"); n != 1 {
		t.Errorf("%d notifications for one message", n)
	}
	if n := total("tones"); n != 0 {
		t.Error("a sound that nobody switched on")
	}

	// With a sound, and with the text.
	settings := b.secondTab().records()
	settings.open("/account/device")
	settings.at("/account/device")
	settings.toggles("sound")
	settings.toggles("words")
	settings.has("words", true)
	settings.hides(true)
	tabs = append(tabs, settings)
	grace.say(engine, "and now\nthe <b>text</b>")
	b.until("the text", `notices.at(-1).body === "Grace Hopper: and now\nthe <b>text</b>"`)
	settings.knows(engine, 3)
	list.knows(engine, 3)
	b.settle()
	if n := total("tones"); n != 2 {
		t.Errorf("%d tones for one message, want two", n)
	}
	if n := total("notices.length"); n != 2 {
		t.Errorf("%d notifications for two messages", n)
	}

	// No noise for an own message, an edited one, a reload; a sound but no notification for a room
	// that was not chosen.
	ada.say(engine, "my own, from another device")
	n := o.post(grace, engine, "to be edited")
	b.until("one more", "notices.length === 3")
	for end := time.Now().Add(patience); read[bool](b, `navigator.locks.query().then(({ held }) => held.some(({ name }) => !name.startsWith("ada:shows")))`); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("there is never a sound again")
		}
	}
	grace.post(fmt.Sprintf("%s/%d", engine.path("/messages"), n), fields{"body": "edited"})
	b.until("the edited one", heard+`.at(-1) === "edited"`)
	tones := total("tones")
	grace.say(library, "quietly")
	for _, one := range tabs {
		one.knows(library, 1)
	}
	if n := total("notices.length"); n != 3 {
		t.Errorf("%d notifications, want three: %q", n, b.noticed())
	}
	if n := total("tones"); n != tones+2 {
		t.Errorf("%d tones for a message in another room, want two", n-tones)
	}
	if got := read[bool](b, "notices.every((one) => !one.closed)"); !got {
		t.Error("a notification was closed before anybody came")
	}
	b.hides(false)
	b.until("no notification once somebody looks", "notices.every((one) => one.closed)")
	b.hides(true)
	grace.say(engine, "before a reload")
	b.until("a notification", "notices.some((one) => !one.closed)")
	read[bool](b, `(sessionStorage.hidden = "1") && true`)
	b.enters(ada, engine)
	b.knows(library, 1)
	b.settle()
	if got := b.noticed(); len(got) != 0 {
		t.Errorf("a reload shows %q", got)
	}
	read[bool](b, "delete sessionStorage.hidden")
	b.enters(ada, library)
	b.toggles("room")
	b.has("room", true)
	b.enters(ada, engine)

	// Of a room that no tab shows: its name where it is known, and a click leads to it.
	for _, one := range tabs {
		one.knows(library, 0)
		one.hides(true)
	}
	grace.say(library, "loudly")
	for _, one := range tabs {
		one.knows(library, 1)
	}
	teller := slices.IndexFunc(tabs, func(one *tab) bool {
		return read[bool](one, `(notices.at(-1)?.tag ?? "") === "`+library.id+`"`)
	})
	if n := total(`notices.filter((one) => one.tag === "` + library.id + `").length`); teller < 0 || n != 1 {
		t.Fatalf("it was told %d times", n)
	}
	if got, want := tabs[teller].noticed(), map[bool]string{false: "Library: New message", true: "Another room: New message"}[tabs[teller] == settings]; got[len(got)-1] != want {
		t.Errorf("it shows %q, want %q", got, want)
	}
	read[bool](tabs[teller], `notices.at(-1).dispatchEvent(new Event("click"))`)
	tabs[teller].at(library.path(""))

	// What is read on another device is no news here either.
	b.enters(ada, engine)
	b.knows(engine, 0)
	for _, one := range tabs {
		one.hides(true)
	}
	grace.say(engine, "read elsewhere")
	b.until("a notification", "notices.at(-1)?.tag === '"+engine.id+"' && !notices.at(-1).closed")
	ada.reads(engine)
	b.until("no notification", "notices.every((one) => one.closed)")
}

// knows waits until the feed has told a page how many messages of a room are unread.
func (b *tab) knows(r room, count int) {
	b.t.Helper()
	b.until(fmt.Sprintf("%d unread", count), fmt.Sprintf(`document.getElementById("unread-%s")?.dataset.count === "%d"`, r.id, count))
}

// rgb has the browser work out a colour.
const rgb = `((colour) => { const c = document.createElement("canvas").getContext("2d"); c.fillStyle = colour; c.fillRect(0, 0, 1, 1); return [...c.getImageData(0, 0, 1, 1).data].join(); })`

func TestBrowserConclaveCanBePutAmongThePrograms(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada := o.register("ada", "Ada Lovelace")
	b := ada.browserOf()
	b.open("/rooms")
	b.at("/rooms")
	found, err := chromedp.Call(b.ctx, page.GetAppManifest, page.GetAppManifestParams{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range found.Errors {
		t.Errorf("the manifest: %s", e.Message)
	}
	if m := found.Manifest; m == nil || m.ID != o.server.URL+"/" || m.StartURL != o.server.URL+"/rooms" || m.Scope != o.server.URL+"/" || len(m.Icons) != 4 {
		t.Errorf("the manifest is understood as %+v", m)
	}
	trouble, err := chromedp.Call(b.ctx, page.GetInstallabilityErrors, cdp.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range trouble.InstallabilityErrors {
		if e.ErrorID != "in-incognito" { // as every browser of these tests is
			t.Errorf("it cannot be installed: %s %v", e.ErrorID, e.ErrorArguments)
		}
	}
	for _, scheme := range []string{"light", "dark"} {
		b.emulate("prefers-color-scheme", scheme)
		theme := read[string](b, rgb+`([...document.querySelectorAll("meta[name=theme-color]")].find((e) => matchMedia(e.media).matches).content)`)
		if bar := read[string](b, rgb+`(getComputedStyle(document.querySelector(".bar")).backgroundColor)`); theme != bar {
			t.Errorf("%s: theme-color is %s, the header %s: set it in views/layout.templ, and for light in static/manifest.webmanifest", scheme, theme, bar)
		}
	}
	b.emulate("prefers-color-scheme", "light")
	for name, selector := range map[string]string{"theme_color": ".bar", "background_color": "html"} {
		_, value, _ := strings.Cut(found.Data, `"`+name+`": "`)
		value, _, _ = strings.Cut(value, `"`)
		if want, got := read[string](b, rgb+"(getComputedStyle(document.querySelector("+fmt.Sprintf("%q", selector)+")).backgroundColor)"), read[string](b, rgb+fmt.Sprintf("(%q)", value)); got != want {
			t.Errorf("the manifest's %s is %s, the page's %s", name, got, want)
		}
	}
	// Each of the icons is a picture to the browser.
	for _, name := range []string{"icon.svg", "icon-1.svg", "icon-9.svg", "icon-more.svg", "icon-180.png", "icon-192.png", "icon-512.png", "icon-maskable.png"} {
		if !read[bool](b, fmt.Sprintf(`new Promise((done) => { const i = new Image(); i.onload = () => done(true); i.onerror = () => done(false); i.src = %q; })`, static.URL(name))) {
			t.Errorf("%s is no picture", name)
		}
	}
}

// What a phone takes from the page: a notch, round corners, and on iPhones and iPads a keyboard
// that lies over it, which Chromium cannot show but the page can be told of.
func TestBrowserTheComposerStandsAboveAKeyboardThatLiesOverThePage(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	o.posts(ada, r, numbered(1, 40)...)
	b := ada.browserOf()
	b.resize(390, 844)
	b.enters(ada, r)
	b.until("the end in view", atEnd)
	view := func(height, top, scale int) {
		read[bool](b, fmt.Sprintf(`(() => { for (const [name, value] of Object.entries({ height: %d, offsetTop: %d, scale: %d })) Object.defineProperty(visualViewport, name, { configurable: true, value }); return visualViewport.dispatchEvent(new Event("resize")); })()`, height, top, scale))
		b.settle()
	}
	end := func() int {
		return read[int](b, `Math.round(document.querySelector("chat-composer").getBoundingClientRect().bottom)`)
	}
	for _, top := range []int{0, 120} { // Safari may have pushed the page up
		view(500, top, 1)
		if got := end(); got != 500+top {
			t.Errorf("the composer ends at %d, the keyboard begins at %d", got, 500+top)
		}
		b.until("the end still in view", atEnd)
	}
	view(844, 0, 1)
	if got := end(); got != 844 {
		t.Errorf("without the keyboard the composer ends at %d of 844", got)
	}
	b.until("the end still in view", atEnd)
	view(422, 0, 2) // somebody who has magnified the page
	if got := end(); got != 844 {
		t.Errorf("magnified, the composer ends at %d", got)
	}
	view(790, 0, 1) // a toolbar
	if got := end(); got != 844 {
		t.Errorf("with a toolbar, the composer ends at %d", got)
	}

	// The sheets at the lower edge stand on the keyboard too, and in a low window (320 by 256 is one of
	// 1280 by 1024, magnified four times) the last of the menu can be reached.
	b.click("#body")
	b.press(kb.ArrowUp)
	b.until("the dialog", `document.querySelector("#message-dialog").matches(":modal")`)
	for _, top := range []int{0, 120} {
		view(500, top, 1)
		b.until("the dialog on the keyboard", fmt.Sprintf(`(({ top, bottom }) => top >= %d && Math.round(bottom) === %d)(document.querySelector("#message-dialog").getBoundingClientRect())`, top, 500+top))
	}
	view(844, 0, 1)
	b.press(kb.Escape)
	b.click(".switcher-door")
	view(300, 0, 1)
	b.until("the rooms on the keyboard", `(({ top, bottom }) => top >= 0 && Math.round(bottom) === 300)(document.querySelector("#rooms").getBoundingClientRect())`)
	view(844, 0, 1)
	b.press(kb.Escape)
	b.resize(320, 256)
	view(256, 0, 1)
	b.click(".bar-me")
	b.until("the menu", `document.querySelector("#own-menu").matches(":popover-open")`)
	read[bool](b, `(document.querySelector("#logout").scrollIntoView({ block: "end" }), true)`)
	b.until("the way out within the window", `(({ top, bottom }) => top >= 0 && bottom <= 256)(document.querySelector("#logout").getBoundingClientRect())`)
	b.press(kb.Escape)

	// On its side, with a notch and a bar at the lower edge.
	for _, notch := range []struct{ left, right int64 }{{47, 0}, {0, 47}} {
		insets := emulation.SafeAreaInsets{Bottom: new(int64(21)), Left: new(notch.left), Right: new(notch.right), Top: new(int64(0))}
		b.do("put a notch", command(emulation.SetSafeAreaInsetsOverride, emulation.SetSafeAreaInsetsOverrideParams{Insets: &insets}))
		for _, width := range []int64{568, 844, 1000} { // the last has the panel beside
			b.resize(width, 390)
			hidden := read[[]string](b, fmt.Sprintf(`[...document.querySelectorAll(".bar a, .bar button, .bar h1, .message .body, .message .act, .composer textarea, .composer button, .panel a, .panel button, .panel h2")]
				.filter((e) => e.checkVisibility() && !e.closest(".visually-hidden")).filter((e) => { const box = e.getBoundingClientRect(); return box.left < %d || box.right > %d; })
				.map((e) => e.tagName + "." + e.className + " " + e.getBoundingClientRect().left + " to " + e.getBoundingClientRect().right)`, notch.left, width-notch.right))
			if len(hidden) > 0 {
				t.Errorf("%d px wide, a notch of %d and %d hides %q", width, notch.left, notch.right, hidden[:min(len(hidden), 5)])
			}
			if low := read[float64](b, `document.querySelector(".composer textarea").getBoundingClientRect().bottom`); low > 390-21 {
				t.Errorf("%d px wide, the composer reaches down to %v of 390, into the bar of 21", width, low)
			}
			b.shoot(fmt.Sprintf("notch-%d-%d.png", width, notch.left))
			if width < 900 {
				b.click(".panel-door")
				if box := read[[2]float64](b, `(({ left, right }) => [left, right])(document.querySelector("#members").getBoundingClientRect())`); box[0] < float64(notch.left) || box[1] > float64(width-notch.right) {
					t.Errorf("%d px wide, a notch of %d and %d hides a part of the sheet from %v", width, notch.left, notch.right, box)
				}
				b.press(kb.Escape)
			}
		}
	}
}
