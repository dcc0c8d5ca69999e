package handlers_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"conclave/handlers"
	"conclave/models"
	"conclave/models/feed"
)

// Many listeners at once, some of whom do not read: nobody waits for them, they are cut, nothing
// of them stays, and what they hold meanwhile is bounded.

// crowded lets a few sessions open as many streams as they like.
var crowded = feed.Limits{PerSession: 1000, PerUser: 1000, PerAddress: 1000}

// wire is a second server on an office's data. Its connections are watched, and all of its
// goroutines carry its name.
type wire struct {
	net.Listener
	name  string
	trust *tls.Config
	mu    sync.Mutex
	lines []*line
}

// wire starts a server on the office's store, before there are any streams; change may alter it before it runs.
func (o *office) wire(change func(*http.Server)) *wire {
	o.t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		o.t.Fatal(err)
	}
	w := &wire{Listener: inner, name: o.t.Name(), trust: o.server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()}
	w.trust.ServerName, w.trust.NextProtos = "example.com", []string{"h2"} // whom the certificate of httptest is for
	logger := slog.New(slog.NewTextHandler(o.log, nil))
	server := handlers.NewServer(handlers.Options{
		Store: o.store, Hub: o.hub, Log: logger, Now: o.clock.now, LimitScale: o.set.scale, Serves: func(string) bool { return true },
		Registration: "closed", SessionLifetime: o.set.lifetime,
	})
	o.hub.Open() // whoever subscribes comes after New has set how to render
	server.TLSConfig, server.ErrorLog = o.server.TLS.Clone(), slog.NewLogLogger(logger.Handler(), slog.LevelDebug)
	server.TLSConfig.NextProtos = []string{"h2", "http/1.1"}
	if change != nil {
		change(server)
	}
	go pprof.Do(context.Background(), pprof.Labels("wire", w.name), func(context.Context) { server.ServeTLS(w, "", "") })
	o.t.Cleanup(func() { server.Close() })
	return w
}

// Accept accepts a connection and watches it.
func (w *wire) Accept() (net.Conn, error) {
	conn, err := w.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l := &line{TCPConn: conn.(*net.TCPConn)}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, l)
	return l, nil
}

// line is a connection as the server has it.
type line struct {
	*net.TCPConn
	stuck  atomic.Int64 // when the first write began that failed; unix nanoseconds
	closed atomic.Int64
}

func (l *line) Write(b []byte) (int, error) {
	begun := time.Now().UnixNano()
	n, err := l.TCPConn.Write(b)
	if err != nil {
		l.stuck.CompareAndSwap(0, begun)
	}
	return n, err
}

func (l *line) Close() error {
	l.closed.CompareAndSwap(0, time.Now().UnixNano())
	return l.TCPConn.Close()
}

// goroutines counts those of the server that are in a function; "" for all.
func (w *wire) goroutines(function string) (n int) {
	var all bytes.Buffer
	pprof.Lookup("goroutine").WriteTo(&all, 1) // a Buffer never fails
	for stack := range strings.SplitSeq(all.String(), "\n\n") {
		if strings.Contains(stack, strconv.Quote(w.name)) && strings.Contains(stack, function) {
			count, _, _ := strings.Cut(stack, " @ ")
			more, _ := strconv.Atoi(count[strings.LastIndexByte(count, '\n')+1:])
			n += more
		}
	}
	return n
}

// modest makes a connection on which little can be under way: small segments and a small buffer.
func modest(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 1200)
		syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10)
	})
}

// deaf opens a stream over a modest connection, reads its head, and then nothing any more.
func deaf(trust *tls.Config, address, path, cookie, lastID, protocol string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: time.Minute, Control: modest}
	trust = trust.Clone()
	trust.NextProtos = []string{protocol}
	conn, err := tls.DialWithDialer(&dialer, "tcp", address, trust)
	if err != nil {
		return nil, err
	}
	if protocol == "h2" {
		e := &ear{conn: conn, out: bufio.NewWriterSize(conn, 1024), window: wide}
		e.framer = http2.NewFramer(e.out, conn)
		e.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		err = e.ask(address, path, cookie, lastID)
	} else {
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nCookie: %s\r\nLast-Event-ID: %s\r\n\r\n", path, address, cookie, lastID)
		var res *http.Response
		if res, err = http.ReadResponse(bufio.NewReaderSize(conn, 16), nil); err == nil && res.StatusCode != http.StatusOK {
			err = fmt.Errorf("the feed answers %s", res.Status)
		}
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// crowd is an audience of listeners that come back as the page does, with the last number they saw.
type crowd struct {
	trust   *tls.Config
	path    string
	window  uint32        // how much of a stream may be under way; 0: much
	rush    bool          // they come all at once, however busy the machine is
	slow    time.Duration // how long one of them thinks about each event
	address atomic.Pointer[string]
	over    atomic.Bool
	ears    sync.Map // of *ear
	open    atomic.Int64
	done    sync.WaitGroup
	tallies []*tally
}

// enter lets n listeners in and returns when all have a stream.
func (v *crowd) enter(t testing.TB, n int, address string, cookie func(i int) string) {
	t.Helper()
	v.address.Store(&address)
	slots := make(chan struct{}, 16) // as many are on their way at once, on a machine that they share with the server
	if v.rush {
		slots = make(chan struct{}, n)
	}
	for i := range n {
		of := &tally{}
		v.tallies = append(v.tallies, of)
		v.done.Go(func() {
			for attempt := 0; !v.over.Load(); attempt++ {
				if attempt > 0 {
					time.Sleep(backoff(attempt))
				}
				if v.over.Load() {
					return
				}
				slots <- struct{}{}
				e, err := openEar(v.trust, *v.address.Load(), v.path, cookie(i), of.lastID(), cmp.Or(v.window, wide))
				<-slots
				if err != nil {
					continue
				}
				attempt = 0
				v.ears.Store(e, nil)
				v.open.Add(1)
				if v.over.Load() {
					e.conn.Close()
				}
				e.listen(func(event []byte) {
					of.take(event)
					time.Sleep(v.slow)
				})
				v.open.Add(-1)
				v.ears.Delete(e)
				e.conn.Close()
				of.mu.Lock()
				of.cuts++
				of.mu.Unlock()
			}
		})
	}
	until(t, "all have a stream", time.Minute, func() bool { return v.open.Load() == int64(n) })
}

// backoff is how long the page waits before an attempt (views/layout.templ, hx-sse.min.js).
func backoff(attempt int) time.Duration {
	d := min(500*time.Millisecond<<min(attempt-1, 4), 2*time.Second)
	return d + time.Duration((rand.Float64()*2-1)*0.3*float64(d))
}

// heard says how many of them have heard so many messages.
func (v *crowd) heard(messages int) (n int) {
	for _, of := range v.tallies {
		of.mu.Lock()
		if of.heard >= messages {
			n++
		}
		of.mu.Unlock()
	}
	return n
}

func (v *crowd) leave() {
	v.over.Store(true)
	v.ears.Range(func(e, _ any) bool {
		e.(*ear).conn.Close()
		return true
	})
	v.done.Wait()
}

// sum joins what they have heard, and complains of what is missing, doubled or out of order.
func (v *crowd) sum(t testing.TB, messages int) *tally {
	t.Helper()
	all := &tally{}
	for i, of := range v.tallies {
		of.mu.Lock()
		if of.heard != messages || of.doubled != 0 || of.disordered != 0 {
			t.Errorf("listener %d has heard %d messages of %d, %d doubled, %d out of order", i, of.heard, messages, of.doubled, of.disordered)
		}
		all.heard, all.cuts, all.refreshes = all.heard+of.heard, all.cuts+of.cuts, all.refreshes+of.refreshes
		all.latency.join(&of.latency)
		of.mu.Unlock()
	}
	return all
}

func until(t testing.TB, what string, within time.Duration, fits func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !fits(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after %v not yet: %s", within, what)
		}
	}
}

// maximalText is a message as long as one may be, which takes five times the room in HTML.
func maximalText(seq int) string {
	head := markedText(seq, time.Now())
	return head + strings.Repeat(`"`, 4000-len(head))
}

// feedPath is where the page of the room opens its stream.
func (p *person) feedPath(r room) string {
	p.o.t.Helper()
	found := afterInPage.FindStringSubmatch(p.get(r.path("")).want(200).body)
	if found == nil {
		p.o.t.Fatal("the page of the room has no feed")
	}
	return r.path("/feed?after=" + found[1] + "&log=" + found[2])
}

func TestTwoHundredWhoNeverReadDelayNobodyAndLeaveNothingBehind_T61(t *testing.T) { // R55, issue 4
	t.Parallel()
	const readers, deafOnes = 50, 200
	o := openOffice(t, func(s *settings) { s.scale, s.hub.Limits = 100, crowded })
	w := o.wire(nil)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	grace.join(r)
	adas, path := o.membership(ada, r), grace.feedPath(r)
	cookies := []string{"__Host-sid=" + ada.sid(), "__Host-sid=" + grace.sid()}
	address := w.Addr().String()
	streams := func() int { return w.goroutines("handlers.(*stream).run") }

	v := &crowd{trust: w.trust, path: path}
	defer v.leave()
	v.enter(t, readers, address, func(i int) string { return cookies[i%2] })
	until(t, "fifty streams", 10*time.Second, func() bool { return len(o.hub.Open()) == readers && streams() == readers })
	w.mu.Lock()
	first := len(w.lines)
	w.mu.Unlock()
	time.Sleep(1500 * time.Millisecond) // who is here has been told
	before := w.goroutines("")

	var opening sync.WaitGroup
	conns := make([]net.Conn, deafOnes)
	for worker := range 8 {
		opening.Go(func() {
			for i := worker; i < deafOnes; i += 8 {
				var err error
				if conns[i], err = deaf(w.trust, address, path, cookies[i%2], "", []string{"h2", "http/1.1"}[i/2%2]); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	opening.Wait()
	defer func() {
		for _, c := range conns {
			if c != nil {
				c.Close()
			}
		}
	}()
	until(t, "all have a stream", 10*time.Second, func() bool { return len(o.hub.Open()) == readers+deafOnes })
	w.mu.Lock()
	lines := w.lines[first:]
	w.mu.Unlock()

	// closed says how many connections are closed, and how long after the first byte that could not
	// be delivered one of them was, at most.
	closed := func() (n int, latest time.Duration) {
		for _, l := range lines {
			if at := l.closed.Load(); at != 0 {
				n, latest = n+1, max(latest, time.Duration(at-l.stuck.Load()))
			}
		}
		return n, latest
	}
	posted := 0
	say := func(text string) {
		t.Helper()
		if _, err := o.store.Post(t.Context(), adas, text, ""); err != nil {
			t.Fatal(err)
		}
		posted++
	}
	start := time.Now()
	var forgotten time.Time // when the hub had none of them any more
	for n := 0; n < deafOnes && time.Since(start) < 20*time.Second; n, _ = closed() {
		if posted < 10 || posted%10 == 0 {
			say(maximalText(posted))
		} else {
			say(markedText(posted, time.Now()))
		}
		time.Sleep(70 * time.Millisecond)
		if forgotten.IsZero() && len(o.hub.Open()) <= readers {
			forgotten = time.Now()
		}
	}
	until(t, "everybody has heard everything", 10*time.Second, func() bool { return v.heard(posted) == readers })
	until(t, "nothing is left of those who were cut", 10*time.Second, func() bool {
		return len(o.hub.Open()) == readers && streams() == readers && w.goroutines("") <= before+2 // somebody may just be told something
	})
	n, latest := closed()
	if n < deafOnes || len(lines) != deafOnes {
		t.Fatalf("%d of the %d connections of those who do not read are closed", n, len(lines))
	}
	if latest > 15*time.Second {
		t.Errorf("a connection is closed %v after the first byte that could not be delivered", latest)
	}
	all := v.sum(t, posted)
	p99 := all.latency.at(0.99)
	if p99 > time.Second {
		t.Errorf("beside those who do not read, a message takes %v (p99)", p99)
	}
	t.Logf("%d messages: readers p50 %v, p99 %v, max %v, %d cuts; the hub forgot the last of the others after %v, their connections were closed at most %v after they took no more; goroutines %d before, %d after",
		posted, all.latency.at(0.5), p99, all.latency.max, all.cuts, forgotten.Sub(start), latest, before, w.goroutines(""))
}

// heap is what is in use after a collection.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}

// growth runs f and returns by how much the heap has grown meanwhile, at most, over six looks in
// a row: what is garbage by the time of the next look was not held by anybody.
func growth(f func()) (most int64) {
	before, done := heap(), make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	var looks [6]int64
	for i := 0; ; i++ {
		looks[i%len(looks)] = heap() - before
		most = max(most, slices.Min(looks[:]))
		select {
		case <-done:
			return most
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// eachHolds is what a stream holds at most that cannot write: the block that it is writing (64 KiB
// and one more event, in a slice that has grown) or as much of the log, its connection, and on
// this side the client. The blocks that wait behind it are shared by all.
const eachHolds = 512 << 10

// kept is how much the store may keep of a few hundred of the largest messages.
const kept = 16 << 20

// Not in parallel with others: it measures the heap of the whole process.
func TestAFloodOfTheLargestMessagesIsHeardAndTakesBoundedMemory_T61(t *testing.T) { // R55, issue 4
	const quick, slow, deafOnes, posters, messages = 10, 5, 30, 8, 190 // fewer than the 200 that a refresh would skip
	o := openOffice(t, func(s *settings) { s.scale, s.hub.Limits = 1000, crowded })
	w := o.wire(nil)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	grace.join(r)
	members, path := []models.Membership{o.membership(ada, r), o.membership(grace, r)}, ada.feedPath(r)
	cookies := []string{"__Host-sid=" + ada.sid(), "__Host-sid=" + grace.sid()}
	crowds := []*crowd{{path: path}, {path: path, window: 64 << 10, slow: 20 * time.Millisecond}}
	for i, n := range []int{quick, slow} {
		v := crowds[i]
		v.trust = w.trust
		defer v.leave()
		v.enter(t, n, w.Addr().String(), func(i int) string { return cookies[i%2] })
	}
	for i := range deafOnes {
		conn, err := deaf(w.trust, w.Addr().String(), path, cookies[i%2], "", []string{"h2", "http/1.1"}[i/2%2])
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	var took time.Duration
	grown := growth(func() {
		start := time.Now()
		var posted atomic.Int64
		var posting sync.WaitGroup
		for i := range posters {
			posting.Go(func() {
				for {
					seq := int(posted.Add(1) - 1)
					if seq >= messages {
						return
					}
					if _, err := o.store.Post(context.Background(), members[i%2], maximalText(seq), ""); err != nil {
						t.Error(err)
					}
				}
			})
		}
		posting.Wait()
		took = time.Since(start)
		for end := time.Now().Add(20 * time.Second); crowds[0].heard(messages) < quick || crowds[1].heard(messages) < slow; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				return
			}
		}
	})
	readers, slower := crowds[0].sum(t, messages), crowds[1].sum(t, messages)
	bound := int64(kept + feed.DefaultLimits.Bytes + (quick+slow+deafOnes)*eachHolds)
	if grown > bound {
		t.Errorf("the heap has grown by %d KiB, more than %d", grown>>10, bound>>10)
	}
	t.Logf("%d messages in %v: the heap grew by %d KiB at most, %d are allowed; %d cuts of those who read, %d of the slow; %d streams in the end",
		messages, took, grown>>10, bound>>10, readers.cuts, slower.cuts, len(o.hub.Open()))
}

// Not in parallel with others: it measures the heap of the whole process.
func TestWhoCatchesUpAndDoesNotReadHoldsLittleOfTheLog(t *testing.T) { // R55, issue 4
	const deafOnes, messages = 12, 100
	o := openOffice(t, func(s *settings) { s.scale, s.hub.Limits = 1000, crowded })
	w := o.wire(nil)
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	member, path, cookie := o.membership(ada, r), ada.feedPath(r), "__Host-sid="+ada.sid()
	present := &crowd{path: path, trust: w.trust}
	present.enter(t, 1, w.Addr().String(), func(int) string { return cookie })
	var posting sync.WaitGroup
	for i := range messages {
		posting.Go(func() {
			if _, err := o.store.Post(context.Background(), member, maximalText(i), ""); err != nil {
				t.Error(err)
			}
		})
	}
	posting.Wait()
	until(t, "nothing is on its way any more", 20*time.Second, func() bool { return present.heard(messages) == 1 })
	present.leave()
	grown := growth(func() {
		for range deafOnes {
			conn, err := deaf(w.trust, w.Addr().String(), path, cookie, "", "h2")
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { conn.Close() })
		}
		time.Sleep(time.Second)
	})
	if grown > deafOnes*eachHolds {
		t.Errorf("the heap has grown by %d KiB for each, more than %d", grown/deafOnes>>10, eachHolds>>10)
	}
	if n := len(o.hub.Open()); n != deafOnes {
		t.Errorf("%d streams are open", n)
	}
	t.Logf("the heap grew by %d KiB for each", grown/deafOnes>>10)
	late := &crowd{path: path, trust: w.trust}
	defer late.leave()
	late.enter(t, 4, w.Addr().String(), func(int) string { return cookie })
	until(t, "who reads has caught up", 20*time.Second, func() bool { return late.heard(messages) == 4 })
	late.sum(t, messages)
}

func TestAfterARestartAllAreBackAndCaughtUp(t *testing.T) { // issue 4
	t.Parallel()
	const listeners, each = 200, 4
	o := openOffice(t, func(s *settings) { s.scale, s.hub.Limits = 100, crowded })
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	grace.join(r)
	adas := o.membership(ada, r)
	cookies := []string{"__Host-sid=" + ada.sid(), "__Host-sid=" + grace.sid()}
	address := o.server.Listener.Addr().String()
	trust := o.server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	trust.ServerName, trust.NextProtos = "example.com", []string{"h2"}
	v := &crowd{trust: trust, path: ada.feedPath(r)}
	defer v.leave()
	v.enter(t, listeners, address, func(i int) string { return cookies[i%2] })
	posted := 0
	say := func() {
		t.Helper()
		for range each {
			if _, err := o.store.Post(t.Context(), adas, markedText(posted, time.Now()), ""); err != nil {
				t.Fatal(err)
			}
			posted++
		}
	}
	start := time.Now()
	say() // some hear it, others do not
	o.restart()
	ready := time.Since(start)
	say()
	until(t, "all are back and caught up", 10*time.Second-ready, func() bool { return v.heard(posted) == listeners })
	took := time.Since(start)
	say()
	until(t, "all hear what is said now", 10*time.Second, func() bool { return v.heard(posted) == listeners })
	all := v.sum(t, posted)
	if all.refreshes > 0 {
		t.Errorf("%d pages were thrown away", all.refreshes)
	}
	t.Logf("the server was back after %v, all were after %v", ready, took)
}
