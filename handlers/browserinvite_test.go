package handlers_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/page"
)

// shares gives the browser something to share with, as a phone has, and a clipboard; what was
// handed to either is noted.
func (b *tab) shares(share bool) {
	b.t.Helper()
	source := `window.copied = []; Object.defineProperty(navigator, "clipboard", { value: { writeText: async (text) => { copied.push(text); } } });`
	if share {
		source += `window.shared = []; Object.defineProperty(navigator, "share", { value: async (what) => { shared.push(what.url); } });`
	} else {
		source += `Object.defineProperty(navigator, "share", { value: undefined });`
	}
	b.do("give it something to share with", command(page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: source}))
}

func containsAll(text string, parts ...string) bool {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return false
		}
	}
	return true
}

func TestBrowserTheFirstInARoomLearnsHowItFills(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	b := ada.browserOf()
	b.resize(375, 812)
	b.shares(true)
	b.open("/rooms")
	b.until("the two ways into a room", `document.querySelectorAll(".teach-card .steps > li").length === 2`)
	r := b.creates("Engine room")
	b.here(ada)
	link := b.text("#join-link")
	b.until("the code, the QR code and what to do", fmt.Sprintf(`(() => { const c = document.querySelector(".first-here"); return c.querySelector(".secret").textContent === %q && c.querySelector(".qr").checkVisibility(); })()`, r.code))
	b.fits("with nobody else in the room")
	b.click(".first-here share-button button")
	b.until("the link shared", fmt.Sprintf("shared.join() === %q", link))
	b.click(".first-here copy-button button")
	b.until("the code copied", fmt.Sprintf("copied.join() === %q", r.code))
	b.until("and said to be", `document.querySelector(".first-here copy-button [role=status]").textContent === "Copied"`)

	// The panel has the same one tap away.
	b.click(".panel-door")
	b.until("the panel", `document.querySelector("#panel").matches(":popover-open")`)
	b.click("#code share-button button")
	b.until("the link shared again", fmt.Sprintf("shared.length === 2 && shared[1] === %q", link))
	b.click(".panel-close")

	// A new code is not left to be found out.
	b.click(".first-here copy-button button")
	ada.post(r.path("/code/rotate"), nil).want(303)
	b.until("the old code gone", `!document.querySelector(".first-here .secret") && document.querySelector("#first-code a")`)
	b.focused("#first-code a") // where the button was
	b.click("#first-code a")
	b.until("the new one", fmt.Sprintf(`document.querySelector(".first-here .secret")?.textContent.length === 19 && document.querySelector(".first-here .secret").textContent !== %q`, r.code))
	r.code = b.text("#room-code")
	b.here(ada)

	// Without anything to share with, the link is copied.
	other := ada.browserOf()
	other.shares(false)
	other.enters(ada, r)
	if got := other.text(".first-here share-button button"); got != "Copy link" {
		t.Errorf("the button says %q", got)
	}
	other.click(".first-here share-button button")
	other.until("the link copied", fmt.Sprintf("copied.join() === %q", other.text("#join-link")))

	// It goes when somebody comes.
	b.click(".first-here copy-button button")
	grace.join(r)
	for _, b := range []*tab{b, other} {
		b.until("no lesson any more", `!document.querySelector(".first-here")`)
		b.until("Grace", `document.querySelector("#members [data-username=grace]")`)
	}
	b.focused("#scroller")
	grace.post(r.path("/leave"), nil).want(303)
	b.until("a word that nobody else is here", `document.querySelector("#alone").textContent.includes("only one here")`)
}
