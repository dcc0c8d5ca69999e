package handlers_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"conclave/models"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"conclave/handlers"
	"conclave/models/feed"
)

// sessionEnd waits for the word that the session, or the membership, is over, and for the end.
func (l *listener) sessionEnd(within time.Duration) (before []event) {
	l.t.Helper()
	rest := l.ends(within)
	if len(rest) == 0 || rest[len(rest)-1].name != "session-end" {
		l.t.Fatalf("the stream ends without session-end: %v", rest)
	}
	return rest[:len(rest)-1]
}

func TestWhoLeavesHearsNothingThatIsSaidAfterwards_T40(t *testing.T) { // T40, R63
	t.Parallel()
	o := openOffice(t, func(s *settings) { s.scale = 100 })
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	zoe := o.register("zoe", "Zoe Washburne")
	zoe.join(r)
	zoes, hersToo := zoe.listen(r), grace.login()
	for round := range 3 {
		grace.join(r)
		streams := []*listener{grace.listen(r), grace.listen(r), hersToo.listen(r)}
		id := o.idOf(grace, r)
		member, err := o.store.Member(t.Context(), models.By{User: id}, r.id)
		if err != nil {
			t.Fatal(err)
		}
		adas := o.membership(ada, r)
		// much is on its way when she leaves, and the first word after it is already waiting
		var wait sync.WaitGroup
		for i := range 30 {
			wait.Go(func() {
				if _, err := o.store.Post(context.Background(), adas, fmt.Sprintf("Before %d %d", round, i), ""); err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		if err := o.store.Leave(t.Context(), member); err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			if _, err := o.store.Post(context.Background(), adas, fmt.Sprintf("After %d %d", round, i), ""); err != nil {
				t.Fatal(err)
			}
		}
		for _, l := range streams {
			for _, e := range l.sessionEnd(2 * time.Second) {
				if strings.Contains(e.data, fmt.Sprintf("After %d", round)) {
					t.Error("somebody who has left hears what is said afterwards")
				}
			}
		}
		if l := grace.stream(r.path("/feed"), "Last-Event-ID", "3"); l.status != http.StatusNotFound {
			t.Errorf("the feed answers her with %d", l.status)
		}
		grace.get(r.path("")).want(404)
		grace.get(r.path("/messages?before=9")).want(404)
		grace.post(r.path("/messages"), fields{"body": "I am still here"}).want(404)
		zoes.message(fmt.Sprintf("After %d 4", round))
	}
	for _, body := range zoe.get(r.path("")).bodies() {
		if body == "I am still here" {
			t.Error("somebody who has left has posted")
		}
	}
}

func TestEveryStreamOfALeaverEndsAndOtherRoomsGoOn(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r, other := ada.createRoom("Engine room"), ada.createRoom("Another room")
	grace.join(r)
	grace.join(other)
	hers, hersElsewhere, adas := grace.listen(r), grace.listen(other), ada.listen(r)
	grace.post(r.path("/leave"), nil).wantRedirect("/rooms")
	hers.sessionEnd(2 * time.Second)
	ada.say(r, "She is gone")
	ada.say(other, "She is still here")
	adas.message("She is gone")
	hersElsewhere.message("She is still here")
}

func TestAFeedResumesWhereverItsListenerSaysItStands_T42(t *testing.T) { // T42
	t.Parallel()
	o := openOffice(t, func(s *settings) { s.scale = 100 })
	ada := o.register("ada", "Ada Lovelace")
	r, far, secret := ada.createRoom("Engine room"), ada.createRoom("Long room"), ada.createRoom("Another room")
	o.post(ada, secret, "Only for the other room")
	for _, body := range numberedTo(10) {
		o.post(ada, r, body) // entries 4 to 13
	}
	for _, body := range numberedTo(250) {
		o.post(ada, far, body) // entries 4 to 253
	}
	log := afterInPage.FindStringSubmatch(ada.get(r.path("")).body)[2]
	farLog := afterInPage.FindStringSubmatch(ada.get(far.path("")).body)[2]
	if log == farLog || len(log) != 16 {
		t.Errorf("the incarnations are %q and %q", log, farLog)
	}

	// replayed reads up to a message that is posted last, and returns the messages before it.
	listen := func(r room, last string, path string, headers ...string) []event {
		t.Helper()
		l := ada.stream(r.path(path), headers...)
		if l.status != 200 {
			t.Fatalf("%s %v: %d", path, headers, l.status)
		}
		defer l.cancel()
		var events []event
		l.next(path+" "+strings.Join(headers, " "), func(e event) bool {
			if e.id != "" {
				events = append(events, e)
			}
			return e.id == last
		})
		for _, e := range events {
			if strings.Contains(e.data, "other room") {
				t.Errorf("%s: another room is told about", path)
			}
		}
		return events
	}
	replay := func(what string, events []event, first int) {
		t.Helper()
		for i, e := range events {
			if e.id != strconv.Itoa(first+i) {
				t.Fatalf("%s: entry %d has the id %s", what, first+i, e.id)
			}
		}
		if len(events) != 13-first+1 {
			t.Errorf("%s: %d events, want %d", what, len(events), 13-first+1)
		}
	}
	refresh := func(what string, events []event, messages int) {
		t.Helper()
		if len(events) != 1 || len(events[0].bodies()) != messages || !strings.Contains(events[0].data, `hx-target="#messages"`) || !strings.Contains(events[0].data, `hx-swap="innerHTML`) {
			t.Fatalf("%s: %d events, the first with %d messages", what, len(events), len(events[0].bodies()))
		}
	}
	for path, first := range map[string]int{
		"/feed": 1, "/feed?after=": 1, "/feed?after=0": 1, "/feed?after=5": 6, "/feed?after=12": 13, "/feed?after=5&log=" + log: 6, "/feed?log=" + log: 1, "/feed?after=5&after=9": 6,
	} {
		replay(path, listen(r, "13", path), first)
	}
	replay("Last-Event-ID wins", listen(r, "13", "/feed?after=2", "Last-Event-ID", "10"), 11)
	replay("Last-Event-ID wins over a refused after", listen(r, "13", "/feed?after=x", "Last-Event-ID", "10"), 11)
	for _, after := range []string{"14", "1000000000", "-1", "-9223372036854775808", "9223372036854775807", "9223372036854775808", "18446744073709551615", "99999999999999999999999", "1e9", "0x5", "5.0", "%2B5", "+5", "%00", "5%00", "abc", "%F0%9F%A6%8A", "5,6", "NaN"} {
		refresh("after="+after, listen(r, "13", "/feed?after="+after), 10)
		refresh("after="+after+" of this log", listen(r, "13", "/feed?log="+log+"&after="+after), 10)
		if !strings.Contains(after, "%") {
			refresh("Last-Event-ID: "+after, listen(r, "13", "/feed?after=12", "Last-Event-ID", after), 10)
		}
	}
	refresh("the id of another room", listen(r, "13", "/feed?after=13&log="+log, "Last-Event-ID", "253"), 10)
	for _, wrong := range []string{farLog, "0000000000000000", "x", "%00", strings.ToUpper(log) + "0", log[:15]} {
		refresh("log="+wrong, listen(r, "13", "/feed?after=10&log="+wrong), 10)
		refresh("log="+wrong+" with an id", listen(r, "13", "/feed?after=10&log="+wrong, "Last-Event-ID", "12"), 10)
	}
	// far behind: one event with the newest page and the head's number, then what follows
	for _, after := range []string{"0", "1", "52"} {
		refresh("after="+after, listen(far, "253", "/feed?log="+farLog+"&after="+after), 40)
	}
	if events := listen(far, "253", "/feed?after=53"); len(events) != 200 {
		t.Errorf("200 behind: %d events", len(events))
	}
	l := ada.stream(far.path("/feed?after=1"))
	newest := l.next("the newest page", func(e event) bool { return e.id == "253" })
	if got, want := newest.bodies(), numberedTo(250)[210:]; !slices.Equal(got, want) {
		t.Errorf("the newest page is %q", got)
	}
	ada.say(far, "And on it goes")
	if e := l.next("the next entry", func(e event) bool { return e.id != "" }); e.id != "254" || e.bodies()[0] != "And on it goes" {
		t.Errorf("after the newest page comes %q %q", e.id, e.bodies())
	}
}

func TestOlderPagesHoldEveryMessageOnceWhateverIsAskedFor(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	want := numberedTo(130)
	for _, body := range want {
		o.post(ada, r, body)
	}
	var got []string
	path := r.path("")
	for path != "" {
		a := ada.get(path).want(200)
		got = append(a.bodies(), got...)
		path = ""
		for _, n := range elements(a.doc(), func(n *nodeT) bool { return n.Data == "a" && strings.Contains(attr(n, "href"), "/messages?before=") }) {
			path = attr(n, "href")
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("paging shows %d messages: %q", len(got), got)
	}
	for before, count := range map[string]int{"0": 0, "1": 0, "4": 0, "5": 1, "999999": 40, "9223372036854775807": 40} {
		if a := ada.get(r.path("/messages?before="+before), htmx...).want(200); len(a.bodies()) != count {
			t.Errorf("before=%s shows %d", before, len(a.bodies()))
		}
	}
	for _, before := range []string{"", "-1", "x", "1e3", "9223372036854775808", "%00", "5%20", "+5"} {
		ada.get(r.path("/messages?before=" + before)).want(404)
	}
}

// follower is a listener that comes back with the last number it saw, whatever happens.
type follower struct {
	mu   sync.Mutex
	ids  []uint64
	said []string
	last string
}

// follow listens until ctx is over. Each connection is cut by the client after a while, too.
func (f *follower) follow(ctx context.Context, client *http.Client, url string, patience func() time.Duration) {
	for ctx.Err() == nil {
		cut, cancel := context.WithTimeout(ctx, patience())
		req, _ := http.NewRequestWithContext(cut, http.MethodGet, url, nil) // the address parsed before
		if f.last != "" {
			req.Header.Set("Last-Event-ID", f.last)
		}
		res, err := client.Do(req)
		if err == nil {
			if res.StatusCode == http.StatusOK {
				readEvents(res.Body, f.hear)
			}
			res.Body.Close()
		}
		cancel()
		time.Sleep(5 * time.Millisecond)
	}
}

func (f *follower) hear(e event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e.id == "" {
		return
	}
	f.last = e.id
	n, err := strconv.ParseUint(e.id, 10, 64)
	if err != nil {
		n = 0
	}
	f.ids = append(f.ids, n)
	f.said = append(f.said, e.bodies()...)
}

func (f *follower) heard() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.said)
}

func TestEveryListenerHearsEverythingOnceOverCutsAndRestarts(t *testing.T) { // issue 2, 8
	t.Parallel()
	o := openOffice(t, func(s *settings) { s.scale = 1000 })
	people := []*person{o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper"), o.register("zoe", "Zoe Washburne")}
	r := people[0].createRoom("Engine room")
	for _, p := range people[1:] {
		p.join(r)
	}
	base := o.server.URL
	found := afterInPage.FindStringSubmatch(people[0].get(r.path("")).want(200).body)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var listening, posting sync.WaitGroup
	var quiet atomic.Bool // all is posted: the last cuts are over, so that a slow machine can catch up
	followers := make([]*follower, 9)
	for i := range followers {
		f := &follower{last: found[1]}
		followers[i] = f
		client := *people[i%3].client
		client.Timeout = 0
		var turn atomic.Int64
		listening.Go(func() {
			f.follow(ctx, &client, base+r.path("/feed?after=")+found[1]+"&log="+found[2], func() time.Duration {
				if i < 3 || quiet.Load() {
					return time.Hour // not cut by itself
				}
				return time.Duration(30+10*i+int(turn.Add(1)*37%50)) * time.Millisecond
			})
		})
	}
	const each = 30 // together fewer than the 200 after which a listener gets the newest page instead
	want := map[string]bool{}
	for i, p := range people {
		for k := range 2 {
			for n := range each {
				want[fmt.Sprintf("%s %d %d", p.username, k, n)] = true
			}
			posting.Go(func() {
				for n := range each {
					body := fmt.Sprintf("%s %d %d", people[i].username, k, n)
					f := fields{"body": body, "client_id": strings.ReplaceAll(body, " ", "-")}
					for { // until it is accepted, as the composer's own retry would
						req, _ := http.NewRequestWithContext(ctx, http.MethodPost, base+r.path("/messages"), strings.NewReader(f.encode()))
						req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
						req.Header.Set("Origin", base)
						res, err := p.client.Do(req)
						if err == nil {
							io.Copy(io.Discard, res.Body)
							res.Body.Close()
							if res.StatusCode == http.StatusSeeOther && strings.HasSuffix(res.Header.Get("Location"), r.id) {
								break
							}
						}
						if ctx.Err() != nil {
							t.Error("posting took too long")
							return
						}
						time.Sleep(5 * time.Millisecond)
					}
				}
			})
		}
	}
	for range 3 {
		time.Sleep(150 * time.Millisecond)
		o.restart()
	}
	posted := make(chan struct{})
	go func() { posting.Wait(); close(posted) }()
	select {
	case <-posted:
	case <-time.After(30 * time.Second):
		t.Error("posting takes too long")
		stop()
		<-posted
	}
	quiet.Store(true)
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if !slices.ContainsFunc(followers, func(f *follower) bool { return f.heard() < len(want) }) {
			break
		}
	}
	stop()
	listening.Wait()
	for i, f := range followers {
		seen := map[string]int{}
		for _, body := range f.said {
			seen[body]++
		}
		for body := range want {
			if seen[body] != 1 {
				t.Errorf("listener %d heard %q %d times", i, body, seen[body])
			}
		}
		if len(seen) != len(want) {
			t.Errorf("listener %d heard %d messages of %d", i, len(seen), len(want))
		}
		for k := 1; k < len(f.ids); k++ {
			if f.ids[k] != f.ids[k-1]+1 {
				t.Errorf("listener %d heard entry %d after %d", i, f.ids[k], f.ids[k-1])
			}
		}
	}
	// and all heard the same order
	for i, f := range followers[1:] {
		if !slices.Equal(f.said, followers[0].said) {
			t.Errorf("listener %d heard another order than listener 0", i+1)
		}
	}
}

func TestALogoutDuringTheFirstMomentOfAStreamEndsIt(t *testing.T) { // R30
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	for range 4 {
		p := ada.login()
		sid := p.sid()
		var wait sync.WaitGroup
		streams := make([]*listener, 3)
		for i := range streams {
			wait.Go(func() { streams[i] = o.with(sid).stream(r.path("/feed")) })
		}
		wait.Go(func() { o.with(sid).post("/logout", nil) })
		wait.Wait()
		for _, l := range streams {
			if l.status == 200 {
				l.sessionEnd(2 * time.Second)
			} else if l.status != http.StatusUnauthorized {
				t.Errorf("the feed answers %d", l.status)
			}
		}
	}
}

func TestAShutdownEndsStreamsWithoutSayingThatTheSessionIsOver(t *testing.T) { // R30
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	l := ada.listen(r)
	l.next("who is here", func(e event) bool { return e.id == "" })
	o.hub.Close()
	for _, e := range l.ends(2 * time.Second) {
		if e.name == "session-end" {
			t.Error("a shutdown logs the page out")
		}
	}
}

// dial opens a raw connection that takes in little.
func (o *office) dial(protocol string) *tls.Conn {
	o.t.Helper()
	conn, err := net.Dial("tcp", o.server.Listener.Addr().String())
	if err != nil {
		o.t.Fatal(err)
	}
	conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	config := o.server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	config.NextProtos, config.ServerName = []string{protocol}, "127.0.0.1"
	secure := tls.Client(conn, config)
	if err := secure.Handshake(); err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { secure.Close() })
	return secure
}

// stall opens a feed and never reads from it.
func (p *person) stall(r room, protocol string) net.Conn {
	p.o.t.Helper()
	conn := p.o.dial(protocol)
	host := mustURL(p.o.server.URL).Host
	if protocol == "http/1.1" {
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nCookie: __Host-sid=%s\r\n\r\n", r.path("/feed"), host, p.sid())
		return conn
	}
	io.WriteString(conn, http2.ClientPreface)
	framer := http2.NewFramer(conn, conn)
	err := framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 24})
	err = errors.Join(err, framer.WriteWindowUpdate(0, 1<<24))
	var block strings.Builder
	encoder := hpack.NewEncoder(&block)
	for _, h := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", host}, {":path", r.path("/feed")}, {"cookie", "__Host-sid=" + p.sid()}} {
		err = errors.Join(err, encoder.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]}))
	}
	err = errors.Join(err, framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte(block.String()), EndHeaders: true, EndStream: true}))
	if err != nil {
		p.o.t.Fatal(err)
	}
	return conn
}

func TestAStalledReaderIsCutAndNobodyWaitsForIt_T61(t *testing.T) { // R55, T61
	t.Parallel()
	o := openOffice(t, func(s *settings) { s.scale = 100 })
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	grace.join(r)
	adas := o.membership(ada, r)
	listening := grace.listen(r)
	ended := func() int { return strings.Count(o.log.String(), "route=/rooms/:room/feed") }
	time.Sleep(200 * time.Millisecond) // for the line of the stream that membership has opened
	before := ended()
	var stalled []net.Conn
	for _, protocol := range []string{"http/1.1", "h2", "http/1.1", "h2"} {
		stalled = append(stalled, ada.stall(r, protocol))
	}
	count := func() (n int) {
		for _, l := range o.hub.Open() {
			if l.User == adas.User {
				n++
			}
		}
		return n
	}
	until := func(what string, within time.Duration, fits func() bool) {
		t.Helper()
		for end := time.Now().Add(within); !fits(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("after %v not yet: %s (%d streams)", within, what, count())
			}
		}
	}
	until("four streams are open", 5*time.Second, func() bool { return count() == 4 })
	large := strings.Repeat(`"`, 3990) // five bytes each in HTML
	slowest := time.Duration(0)
	for i := range 500 {
		if count() == 0 {
			break
		}
		body := fmt.Sprintf("%d %s", i, large)
		posted := time.Now()
		if _, err := o.store.Post(t.Context(), adas, body, ""); err != nil {
			t.Fatal(err)
		}
		listening.message(body)
		slowest = max(slowest, time.Since(posted))
	}
	if slowest > 2*time.Second {
		t.Errorf("while others stall, a message takes %v", slowest)
	}
	until("the stalled streams are cut", 5*time.Second, func() bool { return count() == 0 })
	// the requests themselves end too, at the deadline of a write
	until("their requests are over", 20*time.Second, func() bool { return ended() >= before+len(stalled) })
	ada.say(r, "Still here")
	listening.message("Still here")
}

// pipes is a listener without a network, for a server in a bubble of its own time.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if conn, ok := <-p; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}

func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 443} }

func (p pipes) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	p <- theirs
	return ours, nil
}

func TestAQuietStreamBeatsEveryTwentySecondsAndStaysOpen(t *testing.T) { // R52, R55
	for _, protocol := range []string{"http/1.1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			o := openOffice(t, func(s *settings) { s.idle, s.lifetime = 100*365*24*time.Hour, 100*365*24*time.Hour })
			ada := o.register("ada", "Ada Lovelace")
			r := ada.createRoom("Engine room")
			first := ada.listen(r) // all that the store needs for a stream is prepared outside of the bubble
			first.next("who is here", func(e event) bool { return e.id == "" })
			first.cancel()
			first.ends(5 * time.Second)
			sid, config := ada.sid(), o.server.TLS.Clone()
			roots := o.server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
			config.NextProtos = []string{protocol}
			hub := feed.New(feed.Options{}) // its clock begins to run with its first stream, in the bubble
			app := handlers.New(handlers.Options{
				Store: o.store, Hub: hub, Log: slog.New(slog.NewTextHandler(o.log, nil)), Serves: func(string) bool { return true }, SessionLifetime: time.Hour,
			})
			synctest.Test(t, func(t *testing.T) {
				defer hub.Close()
				listener := make(pipes)
				server := &http.Server{Handler: app, TLSConfig: config, IdleTimeout: 2 * time.Minute}
				go server.ServeTLS(listener, "", "")
				transport := &http.Transport{DialContext: listener.dial, TLSClientConfig: &tls.Config{RootCAs: roots, NextProtos: []string{protocol}, ServerName: "example.com"}, ForceAttemptHTTP2: protocol == "h2"}
				req, err := http.NewRequest(http.MethodGet, "https://example.com"+r.path("/feed"), nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Cookie", "__Host-sid="+sid)
				res, err := transport.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				var beats atomic.Int32
				var over atomic.Bool
				go func() {
					defer over.Store(true)
					for lines := bufio.NewScanner(res.Body); lines.Scan(); {
						if lines.Text() == ":" {
							beats.Add(1)
						}
					}
				}()
				time.Sleep(5*time.Minute + time.Second)
				if res.StatusCode != 200 || over.Load() {
					t.Errorf("after five minutes the stream (%d) is over", res.StatusCode)
				}
				if n := beats.Load(); n < 14 || n > 15 {
					t.Errorf("%d beats in five minutes", n)
				}
				res.Body.Close()
				transport.CloseIdleConnections()
				server.Close()
			})
		})
	}
}
