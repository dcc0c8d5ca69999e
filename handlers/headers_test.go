package handlers_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"conclave/static"
)

// The whole suite runs in a time zone of its own, so that nothing can depend on UTC.
func init() { time.Local = time.FixedZone("Asia/Tokyo", 9*3600) }

const policy = "default-src 'none'; script-src 'self'; script-src-attr 'none'; style-src 'self'; style-src-attr 'none'; img-src 'self'; " +
	"font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; frame-src 'none'; object-src 'none'; " +
	"worker-src 'none'; manifest-src 'self'; require-trusted-types-for 'script'; trusted-types htmx"

// everywhere are the headers of every response.
var everywhere = map[string]string{
	"Content-Security-Policy":      policy,
	"X-Content-Type-Options":       "nosniff",
	"X-Frame-Options":              "DENY",
	"Referrer-Policy":              "same-origin",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Permissions-Policy":           "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
	"X-Robots-Tag":                 "noindex",
}

// besides are the headers that some responses have; any other is a surprise.
var besides = []string{
	"Date", "Content-Type", "Content-Length", "Location", "Set-Cookie", "Allow", "Retry-After", "Clear-Site-Data", "Hx-Redirect", "X-Accel-Buffering",
	"Cache-Control", "Vary", "Etag", "Content-Encoding", "Content-Disposition",
}

func checkHeaders(t *testing.T, what string, h http.Header, immutable bool) {
	t.Helper()
	for name, want := range everywhere {
		if got := h[name]; len(got) != 1 || got[0] != want {
			t.Errorf("%s: %s is %q", what, name, got)
		}
	}
	cache := "no-store"
	if immutable {
		cache = "public, max-age=31536000, immutable"
	}
	if got := h["Cache-Control"]; len(got) != 1 || got[0] != cache {
		t.Errorf("%s: Cache-Control is %q", what, got)
	}
	for name := range h {
		if _, ok := everywhere[name]; !ok && !slices.Contains(besides, name) {
			t.Errorf("%s: %s: %q", what, name, h[name])
		}
	}
	if as := h.Get("Content-Disposition"); as != "" && !strings.HasPrefix(as, "attachment") {
		t.Errorf("%s: Content-Disposition is %q", what, as)
	}
	names := map[string]bool{}
	for _, line := range h["Set-Cookie"] {
		name, _, _ := strings.Cut(line, "=")
		if names[name] || !strings.HasPrefix(name, "__Host-") || !strings.Contains(line, "; Path=/; ") || !regexp.MustCompile(`; HttpOnly; Secure; SameSite=(Lax|Strict)`).MatchString(line) || strings.Contains(line, "Domain") {
			t.Errorf("%s: Set-Cookie is %q", what, h["Set-Cookie"])
		}
		names[name] = true
	}
}

// noElement and noAttribute are what no page has.
var (
	noElement   = []string{"style", "iframe", "frame", "object", "embed", "base", "applet", "math", "portal"}
	noAttribute = regexp.MustCompile(`^(on.*|hx-on.*|style|formaction|srcdoc|xlink:href|hx-vals|hx-headers|hx-vars|hx-include|hx-js.*|nonce)$`)
	noValue     = regexp.MustCompile(`(?i)^\s*(js|javascript|vbscript|data):`)
)

func checkMarkup(t *testing.T, what, page string) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Error(err)
		return
	}
	for _, n := range elements(root, func(*nodeT) bool { return true }) {
		if slices.Contains(noElement, n.Data) {
			t.Errorf("%s has <%s>", what, n.Data)
		}
		if n.Data == "script" && (n.FirstChild != nil || !strings.HasPrefix(attr(n, "src"), "/static/")) {
			t.Errorf("%s has a script of its own: %v %.60s", what, n.Attr, text(n))
		}
		for _, a := range n.Attr {
			active := strings.HasPrefix(a.Key, "hx-") || slices.Contains([]string{"href", "src", "action"}, a.Key)
			if noAttribute.MatchString(a.Key) || active && noValue.MatchString(a.Val) || a.Key == "hx-trigger" && strings.Contains(a.Val, "[") {
				t.Errorf("%s has <%s %s=%q>", what, n.Data, a.Key, a.Val)
			}
		}
	}
}

func TestEveryAnswerHasTheHeadersAndNoPageHasScriptInIt_T31_T36(t *testing.T) { // T31, T36
	t.Parallel()
	o := openOffice(t, quick)
	ada, alan, nobody := o.administrator("ada", "Ada Lovelace"), o.register("alan", "Alan Turing"), o.visitor()
	r := ada.createRoom("Engine room")
	alan.join(r)
	for _, body := range numberedTo(45) {
		o.post(ada, r, body+" https://example.org/a?b=c&d=e")
	}
	limited := o.visitor()
	limited.post("/login", ada.credentials(ada.recovery[0])).wantRedirect("/login/enrol")
	pending := o.visitor()
	pending.username, pending.fullName = "grace", "Grace Hopper"
	pending.post("/register", pending.registration()).wantRedirect("/register/confirm")
	fresh := o.visitor()
	fresh.username, fresh.fullName = "zoe", "Zoe Washburne"
	fresh.enrol()

	seen := map[int]bool{}
	check := func(a *answer) {
		t.Helper()
		seen[a.status] = true
		checkHeaders(t, a.what, a.header, false)
		checkMarkup(t, a.what, a.body)
		switch {
		case a.body == "" || a.isPage() || a.header.Get("Content-Disposition") != "":
		case strings.HasPrefix(a.what, "GET /healthz"), strings.HasPrefix(a.what, "GET /readyz"), strings.Contains(a.what, "/static/"):
		default:
			t.Errorf("%s: %d is %s: %.60q", a.what, a.status, a.header.Get("Content-Type"), a.body)
		}
	}
	values := o.places(alan, r, o.post(alan, r, "By Alan"))
	values["*"] = "x/app.js"
	posts := o.paths(http.MethodPost, values)
	paths := append(append(o.paths(http.MethodGet, values), posts...),
		"/login?next=/join", "/rooms?gone=1", "/rooms/", r.path("/messages?before=40"), r.path("/messages?before=x"), r.path("/nothing"),
		"/rooms/"+strings.Repeat("0", 32), "/nothing", "/.env", "/static/", "/%00", "/%2e%2e/%2e%2e/etc/passwd", "//evil.example/",
	)
	slices.Sort(paths)
	paths = slices.Compact(paths)
	for _, p := range []*person{nobody, pending, limited, fresh, alan, ada} {
		if p == ada {
			p.confirm("/rooms").wantRedirect("/rooms")
		}
		for _, path := range paths {
			check(p.peek(http.MethodGet, path, nil))
			if p == nobody || p == ada {
				check(p.peek(http.MethodGet, path, nil, htmx...))
				for _, method := range []string{"HEAD", "PUT", "DELETE", "OPTIONS"} {
					check(p.peek(method, path, nil))
				}
			}
			if p == nobody {
				check(p.peek(http.MethodGet, path, nil, "Sec-Fetch-Site", "cross-site"))
				check(p.peek(http.MethodGet, path, nil, "Host", "evil.example"))
				check(p.post(path, nil))
				check(p.post(path, fields{"x": strings.Repeat("x", 70<<10)}))
				check(p.post(path, nil, "Origin", "https://evil.example"))
			}
		}
	}
	for _, path := range posts { // one of them signs Alan out
		check(alan.post(path, fields{"x": strings.Repeat("x", 70<<10)}))
		check(alan.post(path, nil, htmx...))
		check(alan.post(path, o.anything(alan, r)))
	}
	for path, f := range map[string]fields{
		"/rooms": {"name": ""}, "/rooms/join": {"code": "0"}, r.path("/messages"): {"body": ""}, "/session": nil, "/register": {"username": "x"},
		"/login": {"username": "x"}, r.path("/messages?"): {"body": "fine"}, "/register/recovery": nil,
	} {
		check(ada.post(path, f))
		check(ada.post(path, f, htmx...))
		check(ada.post(path, fields{"x": strings.Repeat("x", 70<<10)}))
	}
	check(limited.post("/login/enrol", fields{"code": "000000"}))
	check(pending.post("/register/confirm", fields{"code": "000000"}))
	check(fresh.post("/register/recovery", nil))
	check(o.visitor().post("/login", fields{"username": "x"}, htmx...))
	check(ada.get(r.path("/messages?before=40"), htmx...))
	db := o.intruder()
	for _, statement := range []string{"ALTER TABLE messages RENAME TO elsewhere", "ALTER TABLE elsewhere RENAME TO messages"} { // a fault of our own
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
		for _, headers := range [][]string{nil, htmx} {
			a := ada.get(r.path("/messages?before=9"), headers...)
			if check(a); strings.Contains(a.body, "SQL") || strings.Contains(a.body, "table") || strings.Contains(a.body, ".go") {
				t.Errorf("the error says what it is: %s", a.body)
			}
		}
	}
	check(ada.post("/logout", nil))
	for _, status := range []int{200, 204, 303, 401, 403, 404, 405, 413, 421, 422, 500} {
		if !seen[status] {
			t.Errorf("no answer had the status %d", status)
		}
	}
}

func TestStaticFilesAreKeptForEverAndCarryTheSameHeaders_T31(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	nobody := o.visitor()
	for _, name := range []string{"app.css", "app.js", "htmx.js", "icon.svg"} {
		for _, method := range []string{"GET", "HEAD"} {
			a := nobody.do(method, static.URL(name), nil).want(200)
			checkHeaders(t, a.what, a.header, true)
		}
		a := nobody.get(static.URL(name), "If-None-Match", "*").want(http.StatusNotModified)
		checkHeaders(t, a.what, a.header, true)
	}
}

func TestTheFeedCarriesTheSameHeadersAndIsNotCompressed_T31(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	l := ada.listen(r, "Accept-Encoding", "gzip, br")
	checkHeaders(t, "the feed", l.header, false)
	if l.status != 200 || l.header.Get("Content-Type") != "text/event-stream; charset=utf-8" || l.header.Get("Content-Encoding") != "" {
		t.Errorf("the feed: %d %v", l.status, l.header)
	}
	refused := o.visitor().stream(r.path("/feed"))
	checkHeaders(t, "a refused feed", refused.header, false)
	if refused.status != http.StatusUnauthorized {
		t.Errorf("a feed without a session: %d", refused.status)
	}
}

func TestHTTP2IsSpokenAndHTTP1StillWorks(t *testing.T) { // R47
	t.Parallel()
	o := openOffice(t)
	for _, c := range []struct {
		protocols []string
		major     int
	}{{[]string{"h2", "http/1.1"}, 2}, {[]string{"http/1.1"}, 1}} {
		p := o.visitor()
		p.speak(c.protocols...)
		res, err := p.client.Get(o.server.URL + "/login")
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if res.ProtoMajor != c.major || res.StatusCode != 200 {
			t.Errorf("%v: %s %d", c.protocols, res.Proto, res.StatusCode)
		}
		checkHeaders(t, res.Proto, res.Header, false)
	}
}

// speak limits a browser to some protocols.
func (p *person) speak(protocols ...string) {
	transport := p.client.Transport.(*http.Transport).Clone()
	transport.TLSClientConfig.NextProtos = protocols
	if !slices.Contains(protocols, "h2") {
		transport.ForceAttemptHTTP2 = false
		transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	}
	p.o.t.Cleanup(transport.CloseIdleConnections)
	p.client.Transport = transport
}

func TestOnlyOurOwnNamesAreServed_T30(t *testing.T) { // T30
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	port, sid := mustURL(o.server.URL).Port(), ada.sid()
	for _, protocols := range [][]string{{"h2"}, {"http/1.1"}} {
		ada.speak(protocols...)
		for _, host := range []string{"evil.example", "evil.example:" + port, "evil.example:443", "127.0.0.1.evil.example", "localhost.evil.example:" + port, "127.0.0.2", "[::2]:" + port, "evil.example.", "169.254.169.254"} {
			a := ada.get("/rooms", "Host", host, "Cookie", "__Host-sid="+sid).want(http.StatusMisdirectedRequest).contains("--host")
			if strings.Contains(a.body, "evil") || strings.Contains(a.body, "Lovelace") {
				t.Errorf("the answer to %s names something: %s", host, shortened(a.body))
			}
			ada.post("/rooms", fields{"name": "Rebound"}, "Host", host, "Cookie", "__Host-sid="+sid, "Origin", "https://"+host).want(http.StatusMisdirectedRequest)
			ada.get("/healthz", "Host", host).want(http.StatusMisdirectedRequest)
			ada.get(static.URL("app.js"), "Host", host).want(http.StatusMisdirectedRequest)
		}
		for _, host := range []string{"localhost", "localhost:" + port, "127.0.0.1", "127.0.0.1:9"} {
			ada.get("/rooms", "Host", host, "Cookie", "__Host-sid="+sid).want(200)
		}
	}
	if page := ada.get("/rooms"); strings.Contains(page.body, "Rebound") {
		t.Error("a room was made under a foreign name")
	}
}

func TestTheTimeZoneOfTheServerChangesNothing(t *testing.T) {
	t.Parallel()
	if _, offset := time.Now().Zone(); offset != 9*3600 {
		t.Fatal("the test does not run in its time zone")
	}
	o := openOffice(t, func(s *settings) { s.idle = time.Hour })
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	o.post(ada, r, "What time is it?")
	page := ada.get(r.path("")).want(200)
	times := elements(page.doc(), func(n *nodeT) bool { return n.Data == "time" })
	if len(times) == 0 {
		t.Fatal("the page shows no time")
	}
	for _, n := range times {
		at, err := time.Parse(time.RFC3339, attr(n, "datetime"))
		if err != nil || o.clock.now().Sub(at).Abs() > time.Minute {
			t.Errorf("the page says %q, now is %v", attr(n, "datetime"), o.clock.now().UTC())
		}
	}
	o.clock.advance(50 * time.Minute)
	ada.get("/rooms").want(200)
	o.clock.advance(50 * time.Minute)
	ada.get("/rooms").want(200)
	o.clock.advance(61 * time.Minute)
	ada.out()
}
