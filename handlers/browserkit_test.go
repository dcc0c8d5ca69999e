package handlers_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/cdproto/input"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/pquerna/otp/totp"
)

// The kit of the tests that drive a real Chromium. One process serves the whole package; every
// person has a profile of their own in it, which shares nothing with the others. What a test
// does, it does with the mouse and the keys: a click made by a script would lift parts of the
// content policy. Scripts only look. A complaint of the browser (an exception, an error in its
// console, a breach of the content policy) fails the test, unless it was announced.

// patience is for what takes no time; a loaded machine needs it all the same.
const patience = 15 * time.Second

// chromium is a browser process, started when the first test asks for it.
type chromium struct {
	names []string // of the program, the best first
	once  sync.Once
	ctx   context.Context
	close func()
	err   error
}

// The engine without a desktop's windows does the same with half the work; what is about such a window
// (whether it may show notifications) needs the whole browser.
var (
	whole = &chromium{names: []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"}}
	lean  = &chromium{names: append([]string{"chromium-headless-shell", "chrome-headless-shell"}, whole.names...)}
)

func TestMain(m *testing.M) {
	if plan := os.Getenv(servedPlan); plan != "" {
		serveChild(plan) // this process is a server that a benchmark has started
		return
	}
	code := m.Run()
	for _, c := range []*chromium{lean, whole} {
		if c.close != nil {
			c.close()
		}
	}
	os.Exit(code)
}

// path finds the program, or returns "".
func (c *chromium) path() string {
	names := c.names
	if own := os.Getenv("CONCLAVE_CHROME"); own != "" {
		names = []string{own}
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

func (c *chromium) start() {
	path := c.path()
	if path == "" {
		return
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.Headless,
		chromedp.IgnoreCertErrors, // the certificate of the tests is self-made
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("lang", "en-GB"),
		// What chromedp asks for, and no process kept in reserve at each page, which is a tenth of the work.
		chromedp.Flag("disable-features", "Translate,BlinkGenPropertyTrees,SpareRendererForSitePerProcess"),
	)
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(allocator)
	c.ctx, c.close = ctx, func() { cancel(); stop() }
	c.err = chromedp.Do(ctx)
}

// tab is one page in somebody's browser.
type tab struct {
	t    *testing.T
	o    *office
	ctx  context.Context
	name string // of the person, for failures

	mu         sync.Mutex
	complaints []string
	announced  [][]string
}

// browser opens a fresh browser for somebody.
func (o *office) browser(name string) *tab {
	o.t.Helper()
	return o.browserIn(lean, name)
}

func (o *office) browserIn(c *chromium, name string) *tab {
	o.t.Helper()
	c.once.Do(c.start)
	switch {
	case c.err != nil:
		o.t.Fatal("Chromium does not start: ", c.err)
	case c.ctx == nil && os.Getenv("CONCLAVE_REQUIRE_BROWSER") == "1":
		o.t.Fatal("no Chromium found: install it (apt install chromium) or name it in CONCLAVE_CHROME")
	case c.ctx == nil:
		o.t.Skip("no Chromium found: install it (apt install chromium) or name it in CONCLAVE_CHROME")
	}
	return o.openTab(c.ctx, name, chromedp.WithNewBrowserContext())
}

// browserOf opens a browser that is signed in as the person, with the person's own session.
func (p *person) browserOf() *tab {
	p.o.t.Helper()
	return p.browserIn(lean)
}

func (p *person) browserIn(c *chromium) *tab {
	p.o.t.Helper()
	b := p.o.browserIn(c, p.username)
	home, err := url.Parse(p.o.server.URL)
	if err != nil {
		p.o.t.Fatal(err)
	}
	for _, c := range p.client.Jar.Cookies(home) {
		_, err := chromedp.Call(b.ctx, network.SetCookie, network.SetCookieParams{
			Name: c.Name, Value: c.Value, URL: p.o.server.URL, Path: "/",
			Secure: new(true), HTTPOnly: new(true), SameSite: network.CookieSameSiteLax,
		})
		if err != nil {
			p.o.t.Fatal(err)
		}
	}
	return b
}

// secondTab opens another page in the same browser.
func (b *tab) secondTab() *tab {
	b.t.Helper()
	return b.o.openTab(b.ctx, b.name+", second tab")
}

// watch is put before each document: what breaks the content policy is an error in the console.
const watch = `addEventListener("securitypolicyviolation", (e) => console.error("breach of the content policy:", e.effectiveDirective, e.blockedURI, e.sourceFile, e.lineNumber, e.sample));`

func (o *office) openTab(parent context.Context, name string, options ...chromedp.ContextOption) *tab {
	o.t.Helper()
	b := &tab{t: o.t, o: o, name: name}
	ctx, cancel := chromedp.NewContext(parent, append(options, chromedp.WithListener(b.hear))...)
	b.ctx = ctx
	o.t.Cleanup(func() {
		b.judge()
		cancel()
	})
	b.do("open a tab",
		command(page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: watch}),
		command(page.BringToFront, cdp.Empty{}),
	)
	b.resize(1280, 800)
	return b
}

// hear notes complaints.
func (b *tab) hear(ev any) {
	var text string
	switch e := ev.(type) {
	case *runtime.EventConsoleAPICalled:
		if e.Type != runtime.ConsoleAPICalledTypeError && e.Type != runtime.ConsoleAPICalledTypeAssert {
			return
		}
		text = "console." + string(e.Type) + ":"
		for _, arg := range e.Args {
			text += " " + shown(arg)
		}
	case *runtime.EventExceptionThrown:
		text = "exception: " + e.ExceptionDetails.Text
		if x := e.ExceptionDetails.Exception; x != nil {
			text += " " + shown(x)
		}
	case *cdplog.EventEntryAdded:
		if e.Entry.Level != cdplog.EntryLevelError {
			return
		}
		text = "log: " + string(e.Entry.Source) + ": " + e.Entry.Text + " " + e.Entry.URL
	default:
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complaints = append(b.complaints, text)
}

func shown(o *runtime.RemoteObject) string {
	var s string
	if json.Unmarshal(o.Value, &s) == nil {
		return s
	}
	if o.Description != "" {
		return o.Description
	}
	return string(o.Value)
}

// expect announces complaints: those that contain all of the parts.
func (b *tab) expect(parts ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.announced = append(b.announced, parts)
}

// expectStatus announces the line that Chromium writes for a refusal that the test provokes.
func (b *tab) expectStatus(status int, path string) {
	b.expect("log: network: Failed to load resource: the server responded with a status of "+fmt.Sprint(status), path)
}

// expectOutage announces the lines that Chromium writes while the server is away.
func (b *tab) expectOutage() {
	for _, reason := range []string{"CONNECTION_REFUSED", "CONNECTION_RESET", "CONNECTION_CLOSED", "EMPTY_RESPONSE", "HTTP2_PROTOCOL_ERROR", "INCOMPLETE_CHUNKED_ENCODING", "FAILED"} {
		b.expect("log: network: Failed to load resource: net::ERR_"+reason, b.o.server.URL+"/")
	}
	b.expect("console.error: htmx: htmx:sse:error: network error")
	b.expect("console.error: htmx: htmx:sse:error: Failed to fetch")
}

// judge fails the test for complaints that nobody announced.
func (b *tab) judge() {
	if b.t.Skipped() {
		return
	}
	b.look("1") // what was said before the answer to this has been heard
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.complaints {
		if !b.wasAnnounced(c) {
			b.t.Errorf("the browser of %s complains: %s", b.name, c)
		}
	}
}

func (b *tab) wasAnnounced(complaint string) bool {
	for _, parts := range b.announced {
		missing := false
		for _, part := range parts {
			missing = missing || !strings.Contains(complaint, part)
		}
		if !missing {
			return true
		}
	}
	return false
}

// command is an action without a result.
func command[P, R any](c cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, c, params)
		return err
	})
}

// do runs actions, the first of which may open the tab.
func (b *tab) do(what string, actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx := b.ctx
	if c := chromedp.FromContext(ctx); c != nil && c.Target != nil {
		limited, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		ctx = limited
	}
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.fail("%s: %v", what, err)
	}
}

// fail says what the page looks like and ends the test.
func (b *tab) fail(format string, args ...any) {
	b.t.Helper()
	var seen string
	b.readInto(&seen, `location.href + "\n" + document.body?.innerText`)
	b.t.Fatalf("%s: %s\nthe page: %s", b.name, fmt.Sprintf(format, args...), shortened(seen))
}

// readInto evaluates an expression in the page.
func (b *tab) readInto(result any, expression string) error {
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
	defer cancel()
	return evaluate(ctx, result, expression)
}

// evaluate evaluates without what the tools may do more than the page.
func evaluate(ctx context.Context, result any, expression string) error {
	res, err := chromedp.Call(ctx, runtime.Evaluate, runtime.EvaluateParams{
		Expression: expression, ReturnByValue: new(true), AwaitPromise: new(true), AllowUnsafeEvalBlockedByCSP: new(false),
	})
	if err != nil {
		return err
	}
	if d := res.ExceptionDetails; d != nil {
		if d.Exception != nil {
			return fmt.Errorf("%s %s", d.Text, d.Exception.Description)
		}
		return fmt.Errorf("%s", d.Text)
	}
	if len(res.Result.Value) == 0 {
		return nil // undefined
	}
	return json.Unmarshal(res.Result.Value, result)
}

// read evaluates an expression that must have a value.
func read[T any](b *tab, expression string) T {
	b.t.Helper()
	var value T
	if err := b.readInto(&value, expression); err != nil {
		b.fail("%s: %v", expression, err)
	}
	return value
}

// look tells whether a condition holds; on a page that is just going away it does not.
func (b *tab) look(condition string) bool {
	var holds bool
	return b.readInto(&holds, "Boolean("+condition+")") == nil && holds
}

// until waits for a condition, over as many pages as it takes.
func (b *tab) until(what, condition string) {
	b.t.Helper()
	b.untilWithin(patience, what, condition)
}

func (b *tab) untilWithin(limit time.Duration, what, condition string) {
	b.t.Helper()
	for end := time.Now().Add(limit); !b.look(condition); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			b.fail("not within %v: %s", limit, what)
		}
	}
}

// at waits until the tab shows the page, ready for use.
func (b *tab) at(path string) {
	b.t.Helper()
	b.until("the page "+path, fmt.Sprintf(`location.pathname + location.search === %q && document.readyState === "complete"`, path))
}

// open goes to an address, as from the address bar.
func (b *tab) open(path string) {
	b.t.Helper()
	b.do("open "+path, chromedp.Navigate(b.address(path)))
}

func (b *tab) address(path string) string {
	if strings.HasPrefix(path, "https://") {
		return path
	}
	return b.o.server.URL + path
}

func (b *tab) path() string { b.t.Helper(); return read[string](b, "location.pathname") }

// text returns what the first element that fits says.
func (b *tab) text(selector string) string {
	b.t.Helper()
	return read[string](b, fmt.Sprintf("document.querySelector(%q).textContent.trim()", selector))
}

// exists waits for an element.
func (b *tab) exists(selector string) {
	b.t.Helper()
	b.until(selector, fmt.Sprintf("document.querySelector(%q)", selector))
}

// click clicks in the middle of the first element that fits.
func (b *tab) click(selector string) {
	b.t.Helper()
	b.do("click "+selector, chromedp.Click(chromedp.CSS(selector)))
}

// press presses a key, or a few one after the other.
func (b *tab) press(keys string, modifiers ...chromedp.Modifier) {
	b.t.Helper()
	b.do("press keys", chromedp.KeyEvent(keys, chromedp.KeyModifiers(modifiers...)))
}

// write types into the element that has the focus, key by key.
func (b *tab) write(text string) {
	b.t.Helper()
	b.do("type", chromedp.KeyEvent(text))
}

// enter presses the Enter key as a keyboard does.
func (b *tab) enter(modifiers ...chromedp.Modifier) {
	b.t.Helper()
	b.strike("Enter", "\r", 13, modifiers...)
}

// strike presses a key as a keyboard does: when the page cancels the key, no character follows.
// (The keys of chromedp send the character all the same.)
func (b *tab) strike(name, text string, code int64, modifiers ...chromedp.Modifier) {
	b.t.Helper()
	key := input.DispatchKeyEventParams{Key: name, WindowsVirtualKeyCode: code, NativeVirtualKeyCode: code}
	chromedp.KeyModifiers(modifiers...)(&key)
	down, up := key, key
	down.Type, down.Text, down.UnmodifiedText = input.DispatchKeyEventTypeKeyDown, text, text
	up.Type = input.DispatchKeyEventTypeKeyUp
	b.do("press "+name, command(input.DispatchKeyEvent, down), command(input.DispatchKeyEvent, up))
}

// paste puts a long text in at once, as the clipboard would.
func (b *tab) paste(text string) {
	b.t.Helper()
	b.do("paste", command(input.InsertText, input.InsertTextParams{Text: text}))
}

// fill clicks a field and types into it in place of what it holds.
func (b *tab) fill(selector, text string) {
	b.t.Helper()
	b.click(selector)
	b.press("a", chromedp.ModifierCtrl)
	b.press(kb.Backspace)
	b.write(text)
}

// value returns what a field holds.
func (b *tab) value(selector string) string {
	b.t.Helper()
	return read[string](b, fmt.Sprintf("document.querySelector(%q).value", selector))
}

func (b *tab) resize(width, height int64) {
	b.t.Helper()
	b.do("resize", command(emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1}))
	b.settle()
}

// settle waits until the page has been drawn twice.
func (b *tab) settle() {
	read[bool](b, "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")
}

// wheel turns the mouse wheel over the middle of an element.
func (b *tab) wheel(selector string, down float64) {
	b.t.Helper()
	at := read[[2]float64](b, fmt.Sprintf("(() => { const r = document.querySelector(%q).getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()", selector))
	b.do("turn the wheel", func(ctx context.Context, t *chromedp.Target) (none chromedp.Void, err error) {
		// The struct leaves out a deltaX of 0, and the browser insists on one.
		return none, t.Call(ctx, input.DispatchMouseEvent.Method, map[string]any{"type": "mouseWheel", "x": at[0], "y": at[1], "deltaX": 0, "deltaY": down}, nil)
	})
}

// hold keeps requests from leaving the browser, or with atAnswer their answers from arriving.
func (b *tab) hold(pattern string, atAnswer bool) *held {
	b.t.Helper()
	h := &held{b: b, waiting: make(chan fetch.RequestID, 64)}
	stage := fetch.RequestStageRequest
	if atAnswer {
		stage = fetch.RequestStageResponse
	}
	err := chromedp.Listen(b.ctx, func(ev any) {
		if e, ok := ev.(*fetch.EventRequestPaused); ok {
			h.waiting <- e.RequestID
		}
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.do("hold "+pattern, command(fetch.Enable, fetch.EnableParams{Patterns: []*fetch.RequestPattern{{URLPattern: "*" + pattern, RequestStage: stage}}}))
	return h
}

// held are the requests that are kept back.
type held struct {
	b       *tab
	waiting chan fetch.RequestID
}

// next waits for a request to be held.
func (h *held) next() fetch.RequestID {
	h.b.t.Helper()
	select {
	case id := <-h.waiting:
		return id
	case <-time.After(patience):
		h.b.fail("no request came that should have been held")
		return ""
	}
}

// pass lets a request go on.
func (h *held) pass(id fetch.RequestID) {
	h.b.t.Helper()
	h.b.do("let a request go", command(fetch.ContinueRequest, fetch.ContinueRequestParams{RequestID: id}))
}

// lose makes a request fail as if the line had broken.
func (h *held) lose(id fetch.RequestID) {
	h.b.t.Helper()
	h.b.do("lose a request", command(fetch.FailRequest, fetch.FailRequestParams{RequestID: id, ErrorReason: network.ErrorReasonConnectionReset}))
}

// release lets everything go from now on.
func (h *held) release() {
	h.b.t.Helper()
	h.b.do("stop holding", command(fetch.Disable, cdp.Empty{}))
}

// What a person does.

// registers makes an account through the pages, up to the list of rooms, and returns the
// recovery codes.
func (b *tab) registers(username, fullName string) []string {
	b.t.Helper()
	b.at("/register")
	b.fill("#full_name", fullName)
	b.fill("#username", username)
	b.fill("#email", username+"@example.org")
	b.fill("#password", password)
	b.click("#register button.primary")
	b.at("/register/confirm")
	code, err := totp.GenerateCode(strings.Join(strings.Fields(b.text("#totp-secret")), ""), b.o.clock.now())
	if err != nil {
		b.t.Fatal(err)
	}
	b.fill("#code", code)
	b.click("#enrol button.primary")
	b.at("/register/recovery")
	codes := read[[]string](b, `[...document.querySelectorAll(".recovery-code")].map((e) => e.textContent.trim())`)
	b.click("form[action='/register/recovery'] button")
	b.at("/rooms")
	return codes
}

// logsOut opens the own menu and chooses its last entry.
func (b *tab) logsOut() {
	b.t.Helper()
	b.click(".bar-me")
	b.click("#logout")
}

// creates makes a room through the form.
func (b *tab) creates(name string) room {
	b.t.Helper()
	b.at("/rooms")
	b.fill("#name", name)
	b.click("form[action='/rooms'] button")
	b.until("the new room", `/^\/rooms\/[^\/]+$/.test(location.pathname) && document.readyState === "complete"`)
	return room{strings.TrimPrefix(b.path(), "/rooms/"), b.text("#room-code")}
}

// says types a message and sends it with the Enter key.
func (b *tab) says(text string) {
	b.t.Helper()
	b.click("#body")
	b.write(text)
	b.enter()
}

// heard are the texts of the messages on the page as a reader sees them, in order.
const heard = `[...document.querySelectorAll("#messages > li > .body")].map((e) => e.innerText)`

// hears waits until the page shows exactly these messages.
func (b *tab) hears(want ...string) {
	b.t.Helper()
	list, err := json.Marshal(want)
	if err != nil {
		b.t.Fatal(err)
	}
	for end := time.Now().Add(patience); !b.look("JSON.stringify(" + heard + ") === JSON.stringify(" + string(list) + ")"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			b.fail("shows %q, want %q", read[[]string](b, heard), want)
		}
	}
	b.inOrder()
}

// inOrder fails unless every entry on the page stands once and in the order of the log.
func (b *tab) inOrder() {
	b.t.Helper()
	numbers := read[[]int](b, `[...document.querySelectorAll("#messages > li")].map((li) => Number(li.id.slice(2)))`)
	for i := 1; i < len(numbers); i++ {
		if numbers[i] <= numbers[i-1] {
			b.fail("the entries stand in the order %v", numbers)
		}
	}
}
