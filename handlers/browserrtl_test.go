package handlers_test

import (
	"fmt"
	"testing"
)

// edges has what the test below measures, in CSS pixels: at(selector) is a box, and of(element,
// text) where a piece of text stands within an element.
const edges = `
	const at = (s) => document.querySelector(s).getBoundingClientRect();
	const of = (e, text) => {
		const range = document.createRange();
		const walk = document.createTreeWalker(e, NodeFilter.SHOW_TEXT);
		for (let n; n = walk.nextNode();) {
			const i = n.data.indexOf(text);
			if (i >= 0) { range.setStart(n, i); range.setEnd(n, i + text.length); return range.getBoundingClientRect(); }
		}
		throw new Error("no " + text);
	};
	const near = (a, b) => Math.abs(a - b) < 2;
	const body = (text) => [...document.querySelectorAll("#messages .body")].find((e) => e.textContent.includes(text));
	const inside = (e) => { const r = e.getBoundingClientRect(), s = getComputedStyle(e); return { left: r.left + parseFloat(s.paddingLeft), right: r.right - parseFloat(s.paddingRight) }; };
`

// sees checks what can be measured: each promise is an expression over edges.
func (b *tab) sees(promises map[string]string) {
	b.t.Helper()
	for promise, expression := range promises {
		if !read[bool](b, "(() => {"+edges+"return Boolean("+expression+"); })()") {
			b.t.Errorf("not so: %s", promise)
		}
	}
}

// In a room that reads from the left, what is written from the right reads from the right and
// moves nothing else.
func TestBrowserArabicReadsFromTheRight(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada, layla, grace := o.register("ada", "Ada Lovelace"), o.register("layla", "ليلى حداد"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("غرفة المحرّك التحليلي")
	plain := ada.createRoom("Engine room")
	for _, p := range []*person{layla, grace} {
		p.join(r)
		p.join(plain)
	}
	layla.say(r, "مرحبا!\nالتقيت Ada Lovelace أمس في المكتبة، وتحدثنا عن Version 2 طويلا جدا قبل أن نعود.")
	grace.say(r, "Good morning!\nAda told me that she met you there yesterday, and that the two of you talked for a long time.")
	layla.say(r, "Short line\nثم سطر عربي أطول بكثير من السطر الأول في هذه الرسالة")
	b := ada.browserOf()
	b.enters(ada, r)
	b.until("all messages", `document.querySelectorAll("#messages > .message").length === 3`)
	for _, width := range []int64{1280, 375} {
		b.resize(width, 800)
		b.shoot(fmt.Sprintf("arabic-%d.png", width))
		b.sees(map[string]string{
			"an Arabic line begins at the right edge of its bubble":         `near(of(body("مرحبا"), "مرحبا!").right, inside(body("مرحبا")).right)`,
			"its exclamation mark stands at its end, on the left":           `of(body("مرحبا"), "!").right <= of(body("مرحبا"), "مرحبا").left + 1`,
			"Latin words stand in it in their place":                        `of(body("مرحبا"), "التقيت").left > of(body("مرحبا"), "Ada").right - 1`,
			"Latin words in it read from the left":                          `of(body("مرحبا"), "Ver").right <= of(body("مرحبا"), "sion 2").left + 1`,
			"an English line begins at the left edge of its bubble":         `near(of(body("Good morning"), "Good morning!").left, inside(body("Good morning")).left)`,
			"each line of a message begins on its own side":                 `near(of(body("Short line"), "Short line").left, inside(body("Short line")).left) && near(of(body("Short line"), "ثم").right, inside(body("Short line")).right)`,
			"the bubble stands where others stand":                          `near(body("مرحبا").getBoundingClientRect().left, body("Good morning").getBoundingClientRect().left)`,
			"the Arabic name stands where others stand":                     `near(at("[data-author=layla]:not([data-follows]) .author").left, at("[data-author=grace] .author").left)`,
			"the time stands after the Arabic name":                         `at("[data-author=layla]:not([data-follows]) .stamp").left >= at("[data-author=layla]:not([data-follows]) .author").right`,
			"the name of the room begins where any other would":             `near(at(".room-name bdi").left, at(".room-name").left)`,
			"the name of the room leaves its neighbours alone":              `at(".home").right <= at(".room-name").left + 1 && at(".room-name").right <= (document.querySelector(".panel-door").offsetWidth ? at(".panel-door").left + 1 : Infinity)`,
			"nothing sticks out":                                            `document.documentElement.scrollWidth <= innerWidth`,
			"somebody's coming and going reads name first (" + r.id + ")":   `[...document.querySelectorAll("#messages > .event p")].every((p) => near(p.firstElementChild.getBoundingClientRect().left, Math.min(...[...p.children].map((e) => e.getBoundingClientRect().left))))`,
			"the Arabic message is the same height as if it were not mixed": `body("مرحبا").scrollWidth <= body("مرحبا").clientWidth`,
		})
	}
	b.resize(1280, 800)
	b.sees(map[string]string{
		"names in the list of members begin in one line": `near(at("#members [data-username=layla] bdi").left, at("#members [data-username=grace] bdi").left)`,
		"the user name stands below them":                `near(at("#members [data-username=layla] bdi.hint").left, at("#members [data-username=layla] bdi").left)`,
	})
	b.tells("typists", `[["username", "layla", "ليلى حداد"]]`)
	b.until("that Layla is writing", `document.querySelector("#typing").innerText === "ليلى حداد is writing…"`)
	b.sees(map[string]string{"the typing line begins with the name": `at("#typing bdi").right <= of(document.querySelector("#typing"), "is writing").left && near(at("#typing bdi").left, inside(document.querySelector("#typing")).left)`})

	b.open("/rooms")
	b.shoot("arabic-rooms-1280.png")
	b.sees(map[string]string{
		"names of rooms begin in one line":      `[...document.querySelectorAll(".room-card")].every((c) => near(c.querySelector("h2 bdi").getBoundingClientRect().left - c.getBoundingClientRect().left, 17))`,
		"the people of a room keep their order": `[...document.querySelectorAll(".room-names")].every((p) => { const x = [...p.children].map((e) => e.getBoundingClientRect().left); return x.every((left, i) => !i || left > x[i - 1]); })`,
	})
}
