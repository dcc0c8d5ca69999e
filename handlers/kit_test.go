package handlers_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"golang.org/x/net/html"

	"conclave/handlers"
	"conclave/models"
	"conclave/models/feed"
)

// office is a running server with a data folder of its own, over TLS and HTTP/2.
type office struct {
	t      *testing.T
	dir    string
	clock  *clock
	log    *logBook
	store  *models.Store
	hub    *feed.Hub
	server *httptest.Server
	set    settings
}

type settings struct {
	registration   string
	idle, lifetime time.Duration
	scale          int
	jsonLog        bool
	fullHashes     bool // passwords cost what they cost in earnest
	named          bool // people open it as https://localhost instead of by its number
	hub            feed.Options
	dir            string // a data folder that somebody has filled; empty: a fresh one
}

// clock is the server's idea of the time: the real one, moved on by tests.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

// logBook keeps all that the server logs.
type logBook struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logBook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func openOffice(t *testing.T, change ...func(*settings)) *office {
	t.Helper()
	o := &office{t: t, dir: t.TempDir(), clock: &clock{}, log: &logBook{}, set: settings{registration: "open", idle: 24 * time.Hour, lifetime: 336 * time.Hour, scale: 1}}
	for _, c := range change {
		c(&o.set)
	}
	if o.set.dir != "" {
		o.dir = o.set.dir
	}
	o.start("127.0.0.1:0")
	t.Cleanup(o.stop)
	return o
}

func (o *office) start(address string) {
	o.t.Helper()
	logger := slog.New(slog.NewTextHandler(o.log, nil))
	if o.set.jsonLog {
		logger = slog.New(slog.NewJSONHandler(o.log, nil))
	}
	o.hub = feed.New(o.set.hub)
	var err error
	o.store, err = models.Open(models.Options{
		Dir: o.dir, Hub: o.hub, Log: logger, Now: o.clock.now, LimitScale: o.set.scale,
		SessionIdle: o.set.idle, SessionLifetime: o.set.lifetime, LightHashes: !o.set.fullHashes,
	})
	if err != nil {
		o.t.Fatal(err)
	}
	o.server = httptest.NewUnstartedServer(nil)
	o.server.Config = handlers.NewServer(handlers.Options{
		Store: o.store, Hub: o.hub, Log: logger, Now: o.clock.now, LimitScale: o.set.scale,
		Serves:       func(host string) bool { return host == "127.0.0.1" || host == "localhost" },
		Registration: o.set.registration, SessionLifetime: o.set.lifetime, Version: "v0.0.1 go1.26",
		Certificate: func() handlers.Certificate {
			print := strings.Repeat("AB:", 31) + "AB"
			return handlers.Certificate{Fingerprint: print, KeyFingerprint: print, Until: time.Now().AddDate(1, 0, 0), Names: []string{"localhost", "127.0.0.1"}, Own: true}
		},
	})
	if address != "127.0.0.1:0" {
		o.server.Listener.Close()
		o.server.Listener = listen(o.t, address)
	}
	o.server.EnableHTTP2 = true
	o.server.Config.ErrorLog = slog.NewLogLogger(logger.Handler(), slog.LevelDebug)
	o.server.StartTLS()
	if o.set.named {
		o.server.URL = strings.Replace(o.server.URL, "127.0.0.1", "localhost", 1)
	}
}

// stop ends the server as main does: streams first.
func (o *office) stop() {
	o.hub.Close()
	o.server.CloseClientConnections()
	o.server.Close()
	if err := o.store.Close(); err != nil {
		o.t.Error(err)
	}
}

// restart stops the server and starts it again on the same port with the same data.
func (o *office) restart() {
	address := o.server.Listener.Addr().String()
	o.stop()
	o.start(address)
}

// person is somebody with a browser: cookies, and the habit of browsers to say where a form came from.
type person struct {
	o        *office
	client   *http.Client
	username string
	fullName string
	password string
	secret   string   // TOTP, base 32
	recovery []string // as shown
}

const password = "purple lantern over the harbour"

// visitor is somebody who has not signed in.
func (o *office) visitor() *person {
	jar, _ := cookiejar.New(nil) // fails for bad options only
	transport := o.server.Client().Transport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: transport.TLSClientConfig.RootCAs}
	if o.set.named {
		transport.TLSClientConfig.ServerName = "example.com" // which the certificate of the tests is for
	}
	transport.ForceAttemptHTTP2 = true
	o.t.Cleanup(transport.CloseIdleConnections)
	return &person{o: o, password: password, client: &http.Client{
		Transport: transport, Jar: jar, Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// register makes an account through the pages and stays signed in.
func (o *office) register(username, fullName string) *person {
	o.t.Helper()
	p := o.visitor()
	p.username, p.fullName = username, fullName
	p.enrol()
	p.post("/register/recovery", nil).want(http.StatusSeeOther)
	return p
}

// enrol goes through the registration up to the recovery codes.
func (p *person) enrol() {
	p.o.t.Helper()
	p.post("/register", p.registration()).wantRedirect("/register/confirm")
	p.secret = text(p.get("/register/confirm").want(200).id("totp-secret"))
	p.secret = strings.Join(strings.Fields(p.secret), "")
	p.post("/register/confirm", fields{"code": p.code()}).wantRedirect("/register/recovery")
	for _, n := range p.get("/register/recovery").want(200).class("recovery-code") {
		p.recovery = append(p.recovery, strings.TrimSpace(text(n)))
	}
}

func (p *person) registration() fields {
	return fields{"username": p.username, "full_name": p.fullName, "email": p.username + "@example.org", "password": p.password}
}

// code returns a code that has not been used: it moves the server's clock to the next time step.
func (p *person) code() string {
	p.o.clock.advance(30 * time.Second)
	return p.codeAt(0)
}

func (p *person) codeAt(steps int) string {
	p.o.t.Helper()
	code, err := totp.GenerateCode(p.secret, p.o.clock.now().Add(time.Duration(steps)*30*time.Second))
	if err != nil {
		p.o.t.Fatal(err)
	}
	return code
}

// login signs the same account in from another browser.
func (p *person) login() *person {
	p.o.t.Helper()
	other := p.o.visitor()
	other.username, other.fullName, other.password, other.secret, other.recovery = p.username, p.fullName, p.password, p.secret, p.recovery
	other.post("/login", fields{"username": p.username, "password": p.password, "code": p.code()}).wantRedirect("/rooms")
	return other
}

// visitorFrom is somebody at another address of this machine: 127.0.0.2 and so on.
func (o *office) visitorFrom(address string) *person {
	return o.visitor().at(address)
}

// at moves a browser to that address.
func (p *person) at(address string) *person {
	transport := p.client.Transport.(*http.Transport).Clone()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	transport.DialContext = dialer.DialContext
	p.o.t.Cleanup(transport.CloseIdleConnections)
	p.client.Transport = transport
	return p
}

type room struct{ id, code string }

func (r room) path(rest string) string { return "/rooms/" + r.id + rest }

func (p *person) createRoom(name string) room {
	p.o.t.Helper()
	at := p.post("/rooms", fields{"name": name}).want(http.StatusSeeOther).header.Get("Location")
	code := strings.TrimSpace(text(p.get(at).want(200).id("room-code")))
	return room{strings.TrimPrefix(at, "/rooms/"), code}
}

func (p *person) join(r room) {
	p.o.t.Helper()
	p.post("/rooms/join", fields{"code": r.code}).wantRedirect(r.path(""))
}

func (p *person) say(r room, body string) {
	p.o.t.Helper()
	p.post(r.path("/messages"), fields{"body": body}).wantRedirect(r.path(""))
}

type fields map[string]string

func (f fields) encode() string {
	values := url.Values{}
	for name, value := range f {
		values.Set(name, value)
	}
	return values.Encode()
}

// answer is a response read to its end.
type answer struct {
	t      *testing.T
	what   string
	status int
	header http.Header
	body   string
	cookie []*http.Cookie
}

func (p *person) get(path string, headers ...string) *answer {
	p.o.t.Helper()
	return p.do(http.MethodGet, path, nil, headers...)
}

func (p *person) post(path string, f fields, headers ...string) *answer {
	p.o.t.Helper()
	if f == nil {
		f = fields{}
	}
	return p.do(http.MethodPost, path, f, headers...)
}

// htmx are the headers of a request that asks for a part of a page.
var htmx = []string{"HX-Request", "true", "HX-Request-Type", "partial"}

// do sends a request as a browser on our own page would. A header with the value "-" is left out.
func (p *person) do(method, path string, f fields, headers ...string) *answer {
	p.o.t.Helper()
	var body io.Reader
	if f != nil {
		body = strings.NewReader(f.encode())
	}
	req, err := http.NewRequest(method, p.o.server.URL+path, body)
	if err != nil {
		p.o.t.Fatal(err)
	}
	if f != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	req.Header.Set("Origin", p.o.server.URL)
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		} else if headers[i+1] == "-" {
			req.Header.Del(headers[i])
		} else {
			req.Header.Set(headers[i], headers[i+1])
		}
	}
	res, err := p.client.Do(req)
	if err != nil {
		p.o.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		p.o.t.Fatalf("%s %s: %v", method, path, err)
	}
	return &answer{p.o.t, method + " " + path, res.StatusCode, res.Header, string(raw), res.Cookies()}
}

func (a *answer) want(status int) *answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("%s: status %d, want %d\n%s", a.what, a.status, status, shortened(a.body))
	}
	return a
}

func (a *answer) wantRedirect(to string) *answer {
	a.t.Helper()
	if at := a.header.Get("Location"); a.status != http.StatusSeeOther || at != to {
		a.t.Fatalf("%s: status %d to %q, want 303 to %q\n%s", a.what, a.status, at, to, shortened(a.body))
	}
	return a
}

func (a *answer) contains(s string) *answer {
	a.t.Helper()
	if !strings.Contains(a.body, s) {
		a.t.Fatalf("%s: no %q in\n%s", a.what, s, shortened(a.body))
	}
	return a
}

// says is contains for what people read, however it is marked up.
func (a *answer) says(s string) *answer {
	a.t.Helper()
	if !strings.Contains(text(a.doc()), s) {
		a.t.Fatalf("%s does not say %q:\n%s", a.what, s, shortened(a.body))
	}
	return a
}

func shortened(s string) string { return s[:min(len(s), 2000)] }

// doc parses the body.
func (a *answer) doc() *html.Node {
	a.t.Helper()
	n, err := html.Parse(strings.NewReader(a.body))
	if err != nil {
		a.t.Fatal(err)
	}
	return n
}

// id returns the element with that id.
func (a *answer) id(id string) *html.Node {
	a.t.Helper()
	found := elements(a.doc(), func(n *html.Node) bool { return attr(n, "id") == id })
	if len(found) != 1 {
		a.t.Fatalf("%s: %d elements with id %s in\n%s", a.what, len(found), id, shortened(a.body))
	}
	return found[0]
}

// class returns the elements with that class.
func (a *answer) class(class string) []*html.Node {
	a.t.Helper()
	return elements(a.doc(), func(n *html.Node) bool {
		return strings.Contains(" "+attr(n, "class")+" ", " "+class+" ")
	})
}

// bodies returns the texts of the messages on the page, in order.
func (a *answer) bodies() []string { return bodiesIn(a.doc()) }

func bodiesIn(n *html.Node) []string {
	var texts []string
	for _, n := range elements(n, func(n *html.Node) bool { return attr(n, "class") == "body" }) {
		texts = append(texts, strings.TrimSpace(text(n)))
	}
	return texts
}

func elements(n *html.Node, fits func(*html.Node) bool) []*html.Node {
	var found []*html.Node
	for d := range n.Descendants() {
		if d.Type == html.ElementNode && fits(d) {
			found = append(found, d)
		}
	}
	return found
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func text(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return b.String()
}

// event is one server-sent event.
type event struct{ id, name, data string }

// bodies returns the texts of the messages in an event.
func (e event) bodies() []string {
	n, err := html.Parse(strings.NewReader(e.data))
	if err != nil {
		return nil
	}
	return bodiesIn(n)
}

// listener is an open stream.
type listener struct {
	t      *testing.T
	status int
	header http.Header
	events chan event // closed when the stream ends
	cancel context.CancelFunc
}

var afterInPage = regexp.MustCompile(`/feed\?after=(\d+)&amp;log=([0-9a-f]+)`)

// listen opens the feed where the page of the room says.
func (p *person) listen(r room, headers ...string) *listener {
	p.o.t.Helper()
	found := afterInPage.FindStringSubmatch(p.get(r.path("")).want(200).body)
	if found == nil {
		p.o.t.Fatal("the page of the room has no feed")
	}
	return p.stream(r.path("/feed?after="+found[1]+"&log="+found[2]), headers...)
}

// stream opens a feed at an address of its own.
func (p *person) stream(path string, headers ...string) *listener {
	p.o.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.o.server.URL+path, nil)
	if err != nil {
		p.o.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	client := *p.client
	client.Timeout = 0
	res, err := client.Do(req)
	if err != nil {
		cancel()
		p.o.t.Fatal(err)
	}
	l := &listener{p.o.t, res.StatusCode, res.Header, make(chan event, 4096), cancel}
	p.o.t.Cleanup(cancel)
	go func() {
		defer close(l.events)
		defer res.Body.Close()
		readEvents(res.Body, func(e event) { l.events <- e })
	}()
	return l
}

// readEvents parses a stream as the standard says (HTML, section 9.2.6).
func readEvents(r io.Reader, tell func(event)) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<22)
	var e event
	var data []string
	for lines.Scan() {
		line := lines.Text()
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "":
			if e.id != "" || e.name != "" || data != nil {
				e.data = strings.Join(data, "\n")
				tell(e)
			}
			e, data = event{}, nil
		case field == "id":
			e.id = value
		case field == "event":
			e.name = value
		case field == "data":
			data = append(data, value)
		}
	}
}

// next returns the next event that fits.
func (l *listener) next(what string, fits func(event) bool) event {
	l.t.Helper()
	late := time.After(10 * time.Second)
	for {
		select {
		case e, open := <-l.events:
			if !open {
				l.t.Fatalf("the stream ended before %s", what)
			}
			if fits(e) {
				return e
			}
		case <-late:
			l.t.Fatalf("no event: %s", what)
		}
	}
}

// message returns the next event that shows a message with that text.
func (l *listener) message(body string) event {
	l.t.Helper()
	return l.next(fmt.Sprintf("message %q", body), func(e event) bool {
		return len(e.bodies()) == 1 && e.bodies()[0] == body
	})
}

// ends waits for the end of the stream and returns the events that came before it.
func (l *listener) ends(within time.Duration) []event {
	l.t.Helper()
	var rest []event
	late := time.After(within)
	for {
		select {
		case e, open := <-l.events:
			if !open {
				return rest
			}
			rest = append(rest, e)
		case <-late:
			l.t.Fatalf("the stream is still open after %v", within)
		}
	}
}
