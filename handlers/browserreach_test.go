package handlers_test

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp/kb"
	"golang.org/x/net/html"
)

// call is a page in a state that somebody meets it in.
type call struct {
	name string
	who  *person
	path string
	then func(b *tab) // what is done there before anybody looks; may be nil
}

// notPages are addresses that answer GET with something else than a page.
var notPages = []string{"/", "/healthz", "/readyz", "/static/*", "/feed", "/rooms/:room/feed"}

// widths are those of a small and a common phone, a tablet, a laptop and a large screen.
var widths = []int64{320, 375, 768, 1280, 1920}

// phone and desk are the widths at which everything is looked at; at the others only whether it fits.
const phone, desk int64 = 375, 1280

// Every page, in every state that has a look of its own, is within everybody's reach. In windows from
// 320 to 1920 px nothing is too wide; what a finger must hit is large enough; the Tab key goes
// through it in the order of the page, and one sees where it is; axe-core finds nothing wrong; the
// console is silent. A page without a visit here fails the test, so that one that is added is looked
// at from its first day on.
func TestBrowserEveryPageFitsEveryWindowAndReader(t *testing.T) {
	t.Parallel()
	visits, o := everyPage(t)
	var seen sync.Map // the addresses that were visited
	var made atomic.Int32
	kept, tabs := newPictures(t), tabs{idle: map[*person][]*tab{}}
	t.Run("visits", func(t *testing.T) {
		for _, v := range visits {
			t.Run(v.name, func(t *testing.T) {
				t.Parallel()
				b := tabs.lend(t, v.who)
				b.emulate("prefers-color-scheme", "light")
				b.open(v.path)
				if v.then != nil {
					v.then(b)
				} else if !strings.Contains(v.path, "#") {
					b.at(v.path)
				}
				seen.Store(b.path(), true)
				made.Add(1)
				for _, width := range widths {
					when := fmt.Sprintf("(%s) at %d px", v.name, width)
					b.resizeAs(width)
					b.fits(when)
					if width == phone || width == desk {
						b.accessible(when)
						b.emulate("prefers-color-scheme", "dark")
						b.accessible(when+" in the dark", "color-contrast")
						kept.take(b, v.name, width, "dark")
						b.emulate("prefers-color-scheme", "light")
					}
					kept.take(b, v.name, width, "light")
					if width < desk {
						b.hasLargeTargets(when)
					}
					if width == phone || width == desk {
						b.tabsThrough(when)
					}
				}
			})
		}
	})
	if t.Failed() || int(made.Load()) < len(visits) {
		return // a visit that did not get far has not been everywhere, and -run may have asked for a few
	}
	for _, route := range o.routes() {
		if route.Method != http.MethodGet || slices.Contains(notPages, route.Path) {
			continue
		}
		form := regexp.MustCompile("^" + parameter.ReplaceAllString(route.Path, "[^/]+") + "$")
		visited := false
		seen.Range(func(path, _ any) bool {
			visited = form.MatchString(path.(string))
			return !visited
		})
		if !visited {
			t.Errorf("nobody visits %s: add it to the visits, or to what is no page", route.Path)
		}
	}
}

// everyPage fills an office so that every page has something to show, and lists what to visit.
func everyPage(t *testing.T) ([]call, *office) {
	o := openOffice(t, quick)
	long := strings.Repeat("Wolfeschlegelsteinhausenbergerdorff", 2)
	ada, grace := o.administrator("ada", "Ada Lovelace"), o.register("grace", "Grace Brewster Murray "+long[:40])
	r := ada.createRoom("Engine room")
	grace.join(r)
	second := ada.createRoom(long)
	for _, p := range []string{"maria", "emmy", "rosalind", "hedy"} {
		o.register(p, strings.ToUpper(p[:1])+p[1:]+" Somebody").join(r)
	}
	banned := o.register("eve", "Eve "+long[:40])
	banned.join(r)
	ada.post(r.member("eve", "ban"), nil).wantRedirect(r.path("/members"))
	ada.post(r.member("maria", "role"), fields{"role": "moderator"}).wantRedirect(r.path("/members"))
	for i := range 45 {
		[]*person{grace, ada}[i/3%2].say(r, "An earlier line, number "+strconv.Itoa(i+1)+".")
	}
	ada.say(r, "Good morning! Did the compiler finish over night?")
	grace.say(r, "It did.\nThe log is at https://example.org/builds/2026/11/21/"+strings.Repeat("very-long-path/", 12)+"log.txt")
	grace.say(r, strings.Repeat("abcdefghij", 30))
	ada.say(r, "שלום עולם — right to left, and a family: 👩‍👩‍👧‍👦")
	n := o.post(ada, r, "Thank you. I read it on the way home; it takes a while, since there are so many lines in it, and most of them say nothing at all.")

	fresh, pending, saved, lost := o.visitor(), o.visitor(), o.visitor(), o.visitor()
	pending.username, pending.fullName = "katherine", "Katherine Johnson"
	pending.post("/register", pending.registration()).wantRedirect("/register/confirm")
	saved.username, saved.fullName = "dorothy", "Dorothy Vaughan"
	saved.enrol()
	lost.post("/login", fields{"username": "grace", "password": grace.password, "code": grace.recovery[0]})
	newcomer := o.register("joan", "Joan Clarke")
	ada.loginWith(safariOnPhone)
	ada.loginWith("Agent/" + long)
	ada.confirm("/rooms").wantRedirect("/rooms")
	ada.post("/admin/invitations", fields{"hours": "168", "uses": "5"})
	ada.post("/login", fields{"username": "grace", "password": "a wrong one, and long", "code": "000000"})

	return []call{
		{"login", fresh, "/login", nil},
		{"login-wrong", fresh, "/login", func(b *tab) {
			b.expectStatus(422, "/login")
			b.fill("#username", "nobody")
			b.fill("#password", password)
			b.fill("#code", "123456")
			b.enter()
			b.exists("#login .problem")
			b.until("the focus on the empty code, with what is wrong", `document.activeElement.id === "code" && document.activeElement.getAttribute("aria-describedby").split(" ").includes("problem")`)
		}},
		{"register", fresh, "/register", nil},
		{"register-wrong", fresh, "/register", func(b *tab) {
			b.expectStatus(422, "/register")
			b.fill("#full_name", "Ada")
			b.fill("#username", "Not Allowed!")
			b.fill("#email", "nobody@nowhere")
			b.fill("#password", "short")
			b.enter()
			b.until("the focus on what is wrong", `document.activeElement === document.querySelector("[aria-invalid=true]") && document.activeElement.getAttribute("aria-describedby").split(" ").includes("username-error")`)
		}},
		{"join-out", fresh, "/join#" + r.code, func(b *tab) {
			b.until("the code kept", `location.href.endsWith("/join") && document.readyState === "complete"`)
			b.press(kb.Tab)
			b.enter() // the way past the header, which is no code
			b.until("the content", `location.hash === "#main" && document.activeElement.id === "main"`)
			if got := read[string](b, `sessionStorage.getItem("join-code")`); got != r.code {
				b.t.Errorf("past the header, the code of the invitation has become %q", got)
			}
			read[bool](b, "window.marked = true")
			b.do("load it again", command(page.Reload, page.ReloadParams{}))
			b.until("the page again", `!window.marked && document.readyState === "complete"`)
			if got := read[string](b, `sessionStorage.getItem("join-code")`); got != r.code {
				b.t.Errorf("loaded again past the header, the code of the invitation has become %q", got)
			}
		}},
		{"confirm", pending, "/register/confirm", nil},
		{"confirm-wrong", pending, "/register/confirm", func(b *tab) {
			b.expectStatus(422, "/register/confirm")
			b.fill("#code", "000000")
			b.enter()
			b.exists("#code-error")
		}},
		{"recovery", saved, "/register/recovery", nil},
		{"rooms-empty", newcomer, "/rooms", nil},
		{"rooms", ada, "/rooms", nil},
		{"rooms-gone", ada, "/rooms?gone=1", nil},
		{"rooms-wrong", ada, "/rooms", func(b *tab) {
			b.expectStatus(422, "/rooms/join")
			b.expectStatus(404, "/rooms/join")
			b.fill("#code", "wrong")
			b.enter()
			b.exists("#code-error")
		}},
		{"menu", ada, "/rooms", func(b *tab) {
			b.click(".bar-me")
			b.until("the menu", `document.querySelector("#own-menu").matches(":popover-open")`)
		}},
		{"shortcuts", ada, "/rooms", func(b *tab) {
			b.press("?")
			b.until("the shortcuts", `document.querySelector(".keys-dialog")?.matches(":modal")`)
		}},
		{"keys", ada, "/keys", nil},
		{"join-in", ada, "/join#" + r.code, nil},
		{"room", ada, r.path(""), nil},
		{"room-alone", ada, second.path(""), nil},
		{"room-panel", ada, r.path(""), func(b *tab) {
			b.resize(phone, 812)
			b.click(".panel-door")
			b.until("the panel", `document.querySelector("#panel").matches(":popover-open")`)
			b.click("#panel details:not(.leave) summary")
			b.click("#panel .leave summary")
		}},
		{"room-switcher", ada, r.path(""), func(b *tab) {
			b.resize(phone, 812)
			b.click(".switcher-door")
			b.until("the other rooms", `document.querySelector("#rooms").matches(":popover-open")`)
		}},
		{"room-writing", ada, r.path(""), func(b *tab) {
			b.click("#body")
			b.paste("A draft of several lines,\nwith a word that does not end: " + long + long + "\nand\nmore\nlines\nthan\nfit\ninto\nthe\nbox")
		}},
		{"room-message", ada, r.path(""), func(b *tab) {
			b.click("#messages > li:last-child .act")
			b.until("the dialog", `document.querySelector("#message-dialog").matches(":modal")`)
			b.click("#message-dialog .remove summary")
		}},
		{"room-rooms", ada, r.path(""), func(b *tab) {
			b.resize(phone, 812)
			b.click(".switcher-door")
			b.until("the list of rooms", `document.querySelector("#rooms").matches(":popover-open")`)
		}},
		{"message", ada, r.path(fmt.Sprintf("/messages/%d/edit", n)), nil},
		{"older", ada, r.path("/messages?before=20"), nil},
		{"proof", ada, r.path("/proof?n=3"), nil},
		{"proof-wrong", ada, r.path("/proof?n=nine"), func(b *tab) {
			b.expectStatus(422, r.path("/proof"))
			b.exists("#n-error")
		}},
		{"members", ada, r.path("/members"), func(b *tab) {
			b.exists("li:nth-child(2) details")
			read[bool](b, `document.querySelectorAll("li:nth-child(-n + 3) details").forEach((d) => { d.open = true }) ?? true`)
		}},
		{"settings", ada, r.path("/settings"), nil},
		{"not-found", ada, "/rooms/0123456789", func(b *tab) {
			b.expectStatus(404, "/rooms/0123456789")
			b.until("the status", `document.querySelector(".error-status").textContent === "404"`)
		}},
		{"enrol-again", lost, "/login/enrol", nil},
		{"profile", ada, "/account", nil},
		{"email", ada, "/account/email", nil},
		{"email-wrong", ada, "/account/email", func(b *tab) {
			b.expectStatus(422, "/account/email")
			b.fill("#email", "nobody@nowhere")
			b.enter()
			b.exists("#email-error")
		}},
		{"password", ada, "/account/password", nil},
		{"password-wrong", ada, "/account/password", func(b *tab) {
			b.expectStatus(422, "/account/password")
			b.fill("#password", "short")
			b.enter()
			b.until("what is wrong", `document.querySelector("#password-error").textContent`)
		}},
		{"authenticator", ada, "/account/authenticator", nil},
		{"codes", ada, "/account/codes", nil},
		{"sessions", ada, "/account/sessions", nil},
		{"device", ada, "/account/device", nil},
		{"leave", ada, "/account/delete", nil},
		{"goodbye", fresh, "/goodbye", nil},
		{"passkeys", ada, "/account/passkeys", nil},
		{"reset", fresh, "/reset", nil},
		{"sudo", grace, "/sudo?next=/account/password", nil},
		{"admin", ada, "/admin", nil},
		{"admin-people", ada, "/admin/people", nil},
		{"admin-person", ada, "/admin/people", func(b *tab) {
			b.click(`a[href^="/admin/people/"]`)
			b.until("the page of a person", `location.pathname.length > "/admin/people/".length && document.readyState === "complete"`)
		}},
		{"admin-rooms", ada, "/admin/rooms", nil},
		{"admin-invitations", ada, "/admin/invitations", nil},
		{"admin-attempts", ada, "/admin/attempts", nil},
		{"admin-audit", ada, "/admin/audit", nil},
	}, o
}

// A screen reader says what others write, once, and nothing else of what happens to the list.
func TestBrowserEachNewMessageIsReadOnce(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	grace.join(r)
	first := o.posts(grace, r, numbered(1, 60)...)
	ada.reads(r)
	a, g := ada.browserOf(), grace.browserOf()
	a.enters(ada, r)
	if !a.look(`document.querySelector("#spoken").matches("[role=log][aria-live=polite]:empty")`) || a.look(`document.querySelector("#messages").closest("[aria-live], [role=log], [role=status]")`) {
		t.Error("the page itself is read, and not what is new")
	}
	read[bool](a, `(window.said = [], new MutationObserver((all) => all.forEach((one) => said.push(...[...one.addedNodes].map((p) => p.textContent)))).observe(document.querySelector("#spoken"), { childList: true }), true)`)
	var want []string
	says := func(lines ...string) {
		t.Helper()
		want = append(want, lines...)
		a.until("all that is new to be read", fmt.Sprintf("said.length >= %d", len(want)))
		if got := read[[]string](a, "said"); !slices.Equal(got, want) {
			t.Fatalf("read: %q, want %q", got, want)
		}
	}
	g.enters(grace, r)
	g.says("Good morning")
	says("Grace Hopper: Good morning")
	g.open("/rooms") // her own page would be busy with all that she says from here on

	// What Ada writes herself, older pages, and what becomes of messages is silent.
	a.says("Good morning, Grace")
	for tries := 0; read[int](a, `document.querySelectorAll("#messages > li").length`) < 60 && tries < 40; tries++ {
		a.wheel("#scroller", -1200)
		a.stands()
	}
	m := o.membership(grace, r)
	if err := o.store.Edit(t.Context(), m, first, "this was edited"); err != nil {
		t.Fatal(err)
	}
	if err := o.store.Remove(t.Context(), m, first-1); err != nil {
		t.Fatal(err)
	}
	a.exists(fmt.Sprintf("#m-%d.removed", first-1))

	// While nobody looks it waits; a few are read then, many are a number, and what was taken back is none.
	for _, c := range []struct{ come, read []string }{
		{[]string{"one", "two"}, []string{"Grace Hopper: one", "Grace Hopper: two"}},
		{numbered(1, 7), []string{"7 new messages"}},
	} {
		a.hides(true)
		last := o.posts(grace, r, c.come[:1]...)
		a.exists(fmt.Sprintf("#m-%d", last))
		read[bool](a, `new Promise((done) => setTimeout(done, 450, true))`) // longer than it gathers what comes
		last = o.posts(grace, r, c.come[1:]...)
		gone := o.post(grace, r, "a slip")
		if err := o.store.Remove(t.Context(), m, gone); err != nil {
			t.Fatal(err)
		}
		a.exists(fmt.Sprintf("#m-%d", last))
		a.exists(fmt.Sprintf("#m-%d.removed", gone))
		a.hides(false)
		says(c.read...)
	}

	// The line is cut, without and with much that is missed: by somebody who reads further up, and by
	// somebody at the end.
	for i, missed := range []int{0, 260, 260} {
		switch i {
		case 1:
			a.wheel("#scroller", -1500)
			a.stands()
			if a.look(atEnd) {
				t.Fatal("Ada should not be at the end")
			}
		case 2:
			a.click("#newest")
			a.until("the end in view", atEnd)
		}
		h := a.hold("/feed?*", false)
		o.hub.Release(o.store.SessionHash(ada.sid()))
		waiting := h.next()
		o.posts(grace, r, numbered(1, missed)...)
		h.pass(waiting)
		h.release()
		a.until("the line", `document.body.dataset.line === "up"`)
		if missed > 0 {
			says("More than 40 new messages")
		}
	}
	o.posts(grace, r, "Still there?")
	says("Grace Hopper: Still there?")
}

// Where the reader's system chooses the colours, backgrounds and shadows are gone. What stood out by
// them alone has an edge then, and what must be seen by a camera stays as it is.
func TestBrowserNothingVanishesInForcedColours(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.administrator("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	grace.join(r)
	ada.say(r, "Good morning")
	grace.say(r, "Good morning, Ada")
	graces := grace.listen(r)
	defer graces.cancel()
	ada.confirm("/rooms").wantRedirect("/rooms")
	pending := o.visitor()
	pending.username, pending.fullName = "katherine", "Katherine Johnson"
	pending.post("/register", pending.registration()).wantRedirect("/register/confirm")
	kept := newPictures(t)
	for _, v := range []call{
		{"rooms", ada, "/rooms", nil},
		{"room", ada, r.path(""), func(b *tab) {
			b.here(ada)
			b.here(grace)
			b.click("#code details summary")
		}},
		{"login", o.visitor(), "/login", nil},
		{"confirm", pending, "/register/confirm", nil},
		{"settings", ada, r.path("/settings"), nil},
		{"admin", ada, "/admin", nil},
		{"account", ada, "/account", nil},
	} {
		b := v.who.browserOf()
		for _, scheme := range []string{"light", "dark"} {
			b.emulate("forced-colors", "active", "prefers-color-scheme", scheme)
			b.open(v.path)
			b.at(v.path)
			if v.then != nil {
				v.then(b)
			}
			b.settle()
			kept.take(b, "forced-"+v.name, desk, scheme)
			for _, lost := range read[[]string](b, edgeless) {
				t.Errorf("%s, %s: %s", v.name, scheme, lost)
			}
			b.press(kb.Tab)
			b.press(kb.Tab)
			if !b.look(`(() => { const s = getComputedStyle(document.activeElement), page = getComputedStyle(document.body.parentElement).backgroundColor; return s.outlineStyle === "solid" && parseFloat(s.outlineWidth) >= 2 && s.outlineColor !== page; })()`) {
				t.Errorf("%s, %s: one does not see where the focus is", v.name, scheme)
			}
		}
	}
}

// edgeless names what cannot be told from the page around it.
const edgeless = `(() => {
	const lost = [], page = getComputedStyle(document.documentElement).backgroundColor;
	const name = (e) => e.tagName + "." + e.getAttribute("class") + "#" + e.id;
	const visible = (selector) => [...document.querySelectorAll(selector)].filter((e) => e.checkVisibility({ visibilityProperty: true }) && e.getBoundingClientRect().width);
	const edged = (s) => [["borderTopStyle", "borderTopWidth", "borderTopColor"], ["outlineStyle", "outlineWidth", "outlineColor"]].some(([style, width, colour]) => s[style] !== "none" && parseFloat(s[width]) >= 1 && s[colour] !== page);
	for (const e of visible(".button, .bar-me, input:not([type=hidden], [type=checkbox], [type=radio]), textarea, select, .avatar, .unread:not(:empty, [data-count='0']), .notice, .card, .room-card, .body, [aria-current]")) {
		const s = getComputedStyle(e), itself = s.forcedColorAdjust === "none";
		if (!edged(s) && !(itself && s.backgroundColor !== page)) lost.push(name(e) + " has no edge");
		if (s.color === (itself ? s.backgroundColor : page)) lost.push("one cannot read " + name(e)); // text has a plate of the page's colour behind it
	}
	for (const e of visible(".mark-door, .doorway-door, .chart-line, .chart-grid")) {
		const s = getComputedStyle(e);
		if ([s.fill, s.stroke].every((colour) => colour === "none" || colour === page)) lost.push(name(e) + " is not drawn");
	}
	for (const [e, part] of [...visible(".member[data-here] .avatar").map((e) => [e, "::after"]), ...visible(".panel-door .here-count").map((e) => [e, "::before"])]) {
		if (getComputedStyle(e, part).backgroundColor === page) lost.push(name(e) + " has lost its dot");
	}
	for (const e of visible(".qr")) {
		const colours = [...e.children].map((part) => getComputedStyle(part).fill).join(" on ");
		if (colours !== "rgb(255, 255, 255) on rgb(0, 0, 0)") lost.push("the QR code is " + colours);
	}
	return lost;
})()`

// Without JavaScript too, a form that comes back has the focus where something is wrong.
func TestAFormThatComesBackLeadsToWhatIsWrong(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada, nobody := o.register("ada", "Ada Lovelace"), o.visitor()
	for _, c := range []struct {
		a    *answer
		lead string // the id of the first element that takes the focus
	}{
		{nobody.post("/register", fields{"full_name": "Ada", "username": "Not Allowed!", "email": "ada@example.org", "password": "short"}), "username"},
		{nobody.post("/register", fields{"full_name": "Ada", "username": "lovelace", "email": "lovelace@example.org", "password": "short"}), "password"},
		{nobody.post("/login", fields{"username": "nobody", "password": password, "code": "123456"}), "problem"},
		{ada.post("/rooms/join", fields{"code": "wrong"}), "code"},
		{ada.post("/rooms", fields{"name": ""}), "name"},
	} {
		takes := elements(c.a.want(422).doc(), func(n *html.Node) bool {
			return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == "autofocus" })
		})
		if len(takes) == 0 || attr(takes[0], "id") != c.lead {
			t.Errorf("%s: the focus does not go to %s first", c.a.what, c.lead)
		}
	}
}
