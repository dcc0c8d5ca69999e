package handlers_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// What a machine can tell about a page's reach: whether axe-core finds barriers on it, whether a
// finger can hit what it must, and whether the Tab key leads through it.

// tabs are lent to parts of a test that run side by side: a fresh browser for each would take as long
// as all that is looked at in it.
type tabs struct {
	mu   sync.Mutex
	idle map[*person][]*tab
}

// lend returns a browser in which the person is signed in; until the part of the test ends it is its
// own, and so are the complaints.
func (s *tabs) lend(t *testing.T, p *person) *tab {
	t.Helper()
	s.mu.Lock()
	var b *tab
	if n := len(s.idle[p]); n > 0 {
		b, s.idle[p] = s.idle[p][n-1], s.idle[p][:n-1]
	}
	s.mu.Unlock()
	if b == nil {
		b = p.browserOf()
	}
	whole := b.t
	b.t = t
	b.do("have the focus beside other tabs", command(emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true}))
	t.Cleanup(func() {
		b.judge()
		b.readInto(new(any), "sessionStorage.clear()")
		b.mu.Lock()
		b.t, b.complaints, b.announced = whole, nil, nil
		b.mu.Unlock()
		if !t.Failed() {
			s.mu.Lock()
			s.idle[p] = append(s.idle[p], b)
			s.mu.Unlock()
		}
	})
	return b
}

// emulate sets features of the reader's system, given as names and values. What moves is always
// switched off: nobody looks at a page in the middle of a movement.
func (b *tab) emulate(features ...string) {
	b.t.Helper()
	list := []*emulation.MediaFeature{{Name: "prefers-reduced-motion", Value: "reduce"}}
	for i := 0; i+1 < len(features); i += 2 {
		list = append(list, &emulation.MediaFeature{Name: features[i], Value: features[i+1]})
	}
	b.do("emulate "+strings.Join(features, " "), command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: list}))
	b.settle()
}

// resizeAs gives the window a width and what a device of that width has: up to a tablet's, fingers.
func (b *tab) resizeAs(width int64) {
	b.t.Helper()
	height := map[bool]int64{true: 812, false: 800}[width < 768]
	b.do("have fingers or not", command(emulation.SetTouchEmulationEnabled, emulation.SetTouchEmulationEnabledParams{Enabled: width < desk}))
	b.resize(width, height)
}

// axeSum is the SHA-256 of axe.min.js as the registry has it.
const axeSum = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"

var axe = sync.OnceValues(func() (string, error) {
	source, err := os.ReadFile("testdata/axe-core/axe.min.js")
	if sum := sha256.Sum256(source); err == nil && hex.EncodeToString(sum[:]) != axeSum {
		err = fmt.Errorf("axe.min.js is not what was published")
	}
	return string(source), err
})

// accessible fails for every violation that axe-core finds, by all its rules or only by the given.
func (b *tab) accessible(when string, rules ...string) {
	b.t.Helper()
	source, err := axe()
	if err != nil {
		b.t.Fatal(err)
	}
	fresh := !b.look("globalThis.axe")
	if fresh {
		b.do("load axe-core", command(runtime.Evaluate, runtime.EvaluateParams{Expression: source + "; 0"}))
	}
	only := "{}"
	if len(rules) > 0 {
		only = fmt.Sprintf(`{ runOnly: ["%s"] }`, strings.Join(rules, `", "`))
	}
	// There are no frames; and the style sheet, which one rule reads, is the same at each look.
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	var found []string
	err = evaluate(ctx, &found, fmt.Sprintf(`axe.run(document, { resultTypes: ["violations"], iframes: false, preload: %t, ...%s }).then(({ violations }) => violations.flatMap((v) =>
		v.nodes.slice(0, 4).map((n) => v.id + ": " + n.target.join(" ") + ": " + n.failureSummary.replace(/\s+/g, " "))))`, fresh, only))
	if err != nil {
		b.fail("axe-core %s: %v", when, err)
	}
	for _, violation := range found {
		b.t.Errorf("%s: %s", when, violation)
	}
	if n := read[int](b, `document.querySelectorAll("h1").length`); n != 1 {
		b.t.Errorf("%s: %d headings of the first level", when, n)
	}
}

// reachable are the parts of the page that keys and fingers can get at now: those of an open dialog
// alone, while there is one.
const reachable = `(selector) => [...(document.querySelector("dialog:modal") ?? document.body).querySelectorAll(selector)].filter((e) =>
	e.tabIndex >= 0 && !e.disabled && e.type !== "hidden" && e.checkVisibility({ visibilityProperty: true }) && !e.closest("[inert]") &&
	(e.type !== "radio" || e.checked || !e.form?.querySelector('[name="' + e.name + '"]:checked')))`

// hasLargeTargets fails for what a finger must hit and is smaller than 44 px square. As in WCAG 2.5.8,
// links within sentences are not meant, nor what only repeats another target (it is no stop for the
// keyboard either). What counts is where a touch arrives, not what is drawn.
func (b *tab) hasLargeTargets(when string) {
	b.t.Helper()
	small := read[[]string](b, `(() => {
		const enough = 43.5, found = [];
		const within = (e) => [e, ...(e.labels ?? [])];
		const inSentence = (e) => e.matches("a") && getComputedStyle(e).display.startsWith("inline") &&
			[...e.parentElement.childNodes].some((n) => n !== e && n.nodeType !== Node.COMMENT_NODE && n.textContent.trim());
		const hit = (e, x, y) => within(e).some((part) => part.contains(document.elementFromPoint(x, y)));
		const reach = (e, x, y, dx, dy) => {
			let far = 0;
			while (far < enough && hit(e, x + (far + 0.5) * dx, y + (far + 0.5) * dy)) far += 0.5;
			return far;
		};
		for (const e of (`+reachable+`)("a[href], button, input, select, textarea, summary")) {
			if (e.matches(".skip") || inSentence(e)) continue;
			const boxes = (e.matches("[type=checkbox], [type=radio]") ? within(e) : [e]).map((part) => part.getBoundingClientRect());
			if (boxes.some((box) => box.width >= enough && box.height >= enough)) continue;
			e.scrollIntoView({ block: "center", behavior: "instant" });
			const box = e.getBoundingClientRect(), x = box.x + box.width / 2, y = box.y + box.height / 2;
			const sheet = document.elementFromPoint(x, y)?.closest(":popover-open");
			if (sheet && !sheet.contains(e)) continue; // it is reached when the sheet has gone
			if (reach(e, x, y, -1, 0) + reach(e, x, y, 1, 0) >= enough && reach(e, x, y, 0, -1) + reach(e, x, y, 0, 1) >= enough) continue;
			found.push(e.tagName + "." + e.className + " " + JSON.stringify(e.textContent.trim().slice(0, 30) || e.name || "") + ": " + box.width.toFixed(1) + " by " + box.height.toFixed(1));
		}
		return found;
	})()`)
	if len(small) > 0 {
		b.t.Errorf("%s: small targets: %s", when, strings.Join(small, "; "))
	}
}

// tabStop is where the Tab key has led to.
type tabStop struct {
	N               int // which of the page's stops, in the order of the page; -1 for one that is not among them
	What            string
	Ring, Seen, Top bool // it has a visible ring, is in view, and nothing lies over it but a sheet, which Escape closes
}

// tabsThrough goes once round the page with the Tab key, from wherever the focus is. It fails when a
// stop is left out, or comes out of the order in which the page is written and drawn, or cannot be
// seen, and when the focus cannot go on.
func (b *tab) tabsThrough(when string) {
	b.t.Helper()
	all := read[[]string](b, `(() => {
		globalThis.stops = (`+reachable+`)("a[href], button, input, select, textarea, summary, [tabindex]");
		return stops.map((e) => e.tagName + "." + e.className + "#" + e.id + " " + JSON.stringify((e.textContent.trim() || e.name || "").slice(0, 30)));
	})()`)
	var round []tabStop
	seen := map[int]bool{}
	for presses := 0; presses < 2*len(all)+12; presses++ {
		s := b.tabs()
		if s == nil {
			continue // left the document, and comes in again at its other end
		}
		if len(round) > 0 && s.N >= 0 && s.N == round[len(round)-1].N && s.N != round[0].N {
			continue // a date has several parts
		}
		if seen[s.N] && s.N >= 0 {
			break
		}
		seen[s.N] = true
		round = append(round, *s)
	}
	still := read[[]bool](b, `((there) => stops.map((e) => there.has(e)))(new Set((`+reachable+`)("*")))`)
	for i, what := range all {
		if !seen[i] && still[i] {
			b.t.Errorf("%s: the Tab key does not lead to %s", when, what)
		}
	}
	// The round begins at the first stop of the page, wherever it was entered.
	for i, s := range round {
		if s.N == 0 {
			round = append(round[i:], round[:i]...)
			break
		}
	}
	order := make([]string, len(round))
	for i, s := range round {
		order[i] = strconv.Itoa(s.N)
		if !s.Ring || !s.Seen || !s.Top {
			b.t.Errorf("%s: the focus on %s: ring %t, in view %t, on top %t", when, s.What, s.Ring, s.Seen, s.Top)
		}
	}
	for _, wrong := range read[[]string](b, fmt.Sprintf(outOfOrder, strings.Join(order, ", "))) {
		b.t.Errorf("%s: out of order: %s", when, wrong)
	}
}

// outOfOrder compares the order of the stops with that of the page. An open sheet comes after its
// button, wherever it stands in the page. A stop that is wholly above the one before it must stand
// beside it: then it begins another column. What is scrolled out of a box counts as at its edge.
const outOfOrder = `(() => {
	const round = [%s].map((n) => stops[n]).filter((e) => e?.isConnected), wrong = [];
	const name = (e) => e.tagName + "." + e.className + "#" + e.id;
	const sheet = (e) => e.closest(":popover-open");
	const place = (e) => {
		let { top, bottom, left, right } = e.getBoundingClientRect();
		for (let p = e.parentElement; p; p = p.parentElement) {
			if (getComputedStyle(p).overflowY === "visible") continue;
			const box = p.getBoundingClientRect();
			[top, bottom] = [top, bottom].map((y) => Math.min(Math.max(y, box.top), box.bottom));
		}
		return { top, bottom, left, right };
	};
	if (!document.querySelector("dialog:modal") && !round[0]?.matches(".skip")) wrong.push("the first stop is " + name(round[0] ?? document.body));
	for (const group of Map.groupBy(round, sheet).values()) {
		for (let i = 1; i < group.length; i++) {
			const before = group[i - 1], now = group[i];
			if (!(before.compareDocumentPosition(now) & Node.DOCUMENT_POSITION_FOLLOWING)) wrong.push(name(now) + " comes after " + name(before));
			if (before.matches(".skip")) continue;
			const a = place(before), b = place(now);
			if (b.bottom < a.top - 1 && b.left < a.right) wrong.push(name(now) + " stands above " + name(before) + ", which comes before it");
		}
	}
	return wrong;
})()`

// tabs presses the Tab key and says where that led to; nil is out of the document.
func (b *tab) tabs() *tabStop {
	b.t.Helper()
	key := input.DispatchKeyEventParams{Key: "Tab", Code: "Tab", WindowsVirtualKeyCode: 9, NativeVirtualKeyCode: 9}
	down, up := key, key
	down.Type, up.Type = input.DispatchKeyEventTypeRawKeyDown, input.DispatchKeyEventTypeKeyUp
	b.do("press Tab", command(input.DispatchKeyEvent, down), command(input.DispatchKeyEvent, up))
	return read[*tabStop](b, `(() => {
		const e = document.activeElement;
		if (!e || e === document.body || e === document.documentElement) return null;
		const drawn = (p, part) => { const s = getComputedStyle(p, part); return s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 1.5 && !/, 0\)|\/ 0\)|transparent/.test(s.outlineColor); };
		let ring = drawn(e, "::after");
		for (let p = e, i = 0; p && i < 4 && !ring; p = p.parentElement, i++) ring = drawn(p);
		const box = e.getBoundingClientRect();
		const [left, right] = [Math.max(box.left, 0), Math.min(box.right, innerWidth)], [top, bottom] = [Math.max(box.top, 0), Math.min(box.bottom, innerHeight)];
		const over = (x, y) => {
			const at = document.elementFromPoint(left + x * (right - left), top + y * (bottom - top));
			return !at || !(e.contains(at) || at.contains(e) || at.closest(":popover-open") || [...(e.labels ?? [])].some((l) => l.contains(at)));
		};
		return {
			n: globalThis.stops.indexOf(e), what: e.tagName + "." + e.className + "#" + e.id, ring,
			seen: e.checkVisibility({ opacityProperty: true, visibilityProperty: true }) && right - left > 4 && bottom - top > 4,
			top: ![[0.5, 0.5], [0.1, 0.1], [0.9, 0.1], [0.1, 0.9], [0.9, 0.9]].every(([x, y]) => over(x, y)),
		};
	})()`)
}

// pictures are kept of the pages, as artifacts of the test (go test -artifacts) or in the folder that
// CONCLAVE_SCREENSHOTS names; otherwise none are taken. The folder gets them at all widths.
type pictures struct {
	dir string
	all bool
}

func newPictures(t *testing.T) pictures {
	if dir := os.Getenv("CONCLAVE_SCREENSHOTS"); dir != "" {
		return pictures{dir, true}
	}
	if f := flag.Lookup("test.artifacts"); f != nil && f.Value.String() == "true" {
		return pictures{t.ArtifactDir(), false}
	}
	return pictures{}
}

// take takes a picture of the whole page as a visit shows it.
func (p pictures) take(b *tab, name string, width int64, scheme string) {
	b.t.Helper()
	if p.all || width == phone || width == desk {
		p.keep(b, fmt.Sprintf("%s-%d-%s.png", name, width, scheme))
	}
}

// shoot takes a picture in the middle of another test.
func (b *tab) shoot(name string) {
	b.t.Helper()
	newPictures(b.t).keep(b, name)
}

func (p pictures) keep(b *tab, file string) {
	b.t.Helper()
	if p.dir == "" {
		return
	}
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	shot, err := chromedp.Call(ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{
		Format: page.CaptureScreenshotFormatPng, CaptureBeyondViewport: new(true), OptimizeForSpeed: new(true),
	})
	if err == nil {
		err = os.WriteFile(filepath.Join(p.dir, file), shot.Data, 0o600)
	}
	if err != nil {
		b.t.Error(err)
	}
}
