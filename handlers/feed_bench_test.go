//go:build linux

package handlers_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// What the feed costs, beside a bare server that sends the same bytes in the same run:
//
//	go test ./handlers -run xxx -bench Feed -benchtime 1x
//
// Server and load share the machine, so the figure that counts is what the server process uses
// for one delivery. The load itself is in load_test.go, the servers in benchserver_test.go.

const (
	posters = 16
	people  = 24
	stall   = 5 * time.Second // nobody has heard anything for so long: what is missing is lost
)

// audience are the listeners of one server.
type audience struct {
	b       *testing.B
	server  *child
	tallies []*tally
	clients []*http.Client

	posted  atomic.Int64
	heard   atomic.Int64
	wanted  atomic.Int64
	reached chan struct{}
	over    atomic.Bool
	ears    sync.Map // of *ear
	done    sync.WaitGroup
	size    int // of an event
}

// gather starts a server and connects its listeners.
func gather(b *testing.B, kind string, listeners, size int) *audience {
	b.Helper()
	a := &audience{b: b, reached: make(chan struct{}, 1), size: size}
	a.server = startChild(b, plan{Kind: kind, People: people, Sessions: posters + listeners})
	for range posters {
		a.clients = append(a.clients, newPoster(a.server))
	}
	return a
}

// newPoster makes a client with a connection of its own.
func newPoster(s *child) *http.Client {
	return &http.Client{
		Transport: &http.Transport{TLSClientConfig: s.trust.Clone(), ForceAttemptHTTP2: true}, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// connect opens so many streams, a few at a time, where the page of the room says.
func (a *audience) connect(listeners int) {
	a.b.Helper()
	path := "/feed"
	if a.server.Kind == "conclave" {
		page, err := getPage(a.clients[0], a.server, "/rooms/"+a.server.Room, a.server.Cookies[0])
		found := afterInPage.FindSubmatch(page)
		if err != nil || found == nil {
			a.b.Fatalf("the page of the room: %v", err)
		}
		path = fmt.Sprintf("/rooms/%s/feed?after=%s&log=%s", a.server.Room, found[1], found[2])
	}
	faults := make(chan error)
	slots := make(chan struct{}, 16)
	for i := range listeners {
		t := &tally{}
		a.tallies = append(a.tallies, t)
		a.done.Add(1)
		go func() {
			defer a.done.Done()
			slots <- struct{}{}
			e, err := a.open(path, a.server.Cookies[posters+i], t)
			<-slots
			faults <- err
			for err == nil && !a.over.Load() {
				e.listen(func(event []byte) { a.note(t, event) })
				a.ears.Delete(e)
				for err = io.EOF; err != nil && !a.over.Load(); { // the browser comes back, with the last number it saw
					t.mu.Lock()
					t.cuts++
					t.mu.Unlock()
					time.Sleep(500 * time.Millisecond)
					e, err = a.open(path, a.server.Cookies[posters+i], t)
				}
			}
		}()
	}
	for range listeners {
		if err := <-faults; err != nil {
			a.b.Fatal("a listener: ", err)
		}
	}
	a.settle()
}

func (a *audience) open(path, cookie string, t *tally) (*ear, error) {
	e, err := openEar(a.server.trust, a.server.Address, path, cookie, t.lastID(), wide)
	if err == nil {
		a.ears.Store(e, nil)
	}
	return e, err
}

func (a *audience) note(t *tally, event []byte) {
	if fresh := t.take(event); fresh > 0 && a.heard.Add(int64(fresh)) == a.wanted.Load() {
		select {
		case a.reached <- struct{}{}:
		default:
		}
	}
}

// settle waits until nobody has heard anything for two seconds: everybody has been told who is here.
func (a *audience) settle() {
	for quiet, last := 0, -1; quiet < 8; time.Sleep(250 * time.Millisecond) {
		sum := 0
		for _, t := range a.tallies {
			t.mu.Lock()
			sum += t.bytes
			t.mu.Unlock()
		}
		if quiet++; sum != last {
			quiet, last = 0, sum
		}
	}
}

// leave closes all streams.
func (a *audience) leave() {
	a.over.Store(true)
	a.ears.Range(func(e, _ any) bool {
		e.(*ear).conn.Close()
		return true
	})
	a.done.Wait()
	for _, c := range a.clients {
		c.CloseIdleConnections()
	}
}

// post sends the next message, as the composer does. It counts as sent when it was due.
func (a *audience) post(poster int, due time.Time) {
	seq := int(a.posted.Add(1) - 1)
	path, body := "/messages", ""
	if text := markedText(seq, due); a.server.Kind == "conclave" {
		path = "/rooms/" + a.server.Room + path
		body = url.Values{"body": {text}, "client_id": {fmt.Sprintf("load-%d", seq)}}.Encode()
	} else {
		body = "data: " + text + strings.Repeat(".", max(0, a.size-len(text)-16)) + "\n\n"
	}
	req, err := http.NewRequest(http.MethodPost, "https://"+a.server.Address+path, strings.NewReader(body))
	if err != nil {
		a.b.Error(err)
		return
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", "https://"+a.server.Address)
	req.Header.Set("Cookie", a.server.Cookies[poster])
	for i := 0; i < len(htmx); i += 2 {
		req.Header.Set(htmx[i], htmx[i+1])
	}
	if _, err := answered(a.clients[poster].Do(req)); err != nil {
		a.b.Error("a post: ", err)
	}
}

func answered(res *http.Response, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode >= 300 {
		err = fmt.Errorf("%s: %s", res.Status, shortened(string(body)))
	}
	return body, err
}

func getPage(client *http.Client, s *child, path, cookie string) ([]byte, error) {
	req, err := http.NewRequest(http.MethodGet, "https://"+s.Address+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Cookie", cookie)
	return answered(client.Do(req))
}

// wait returns when everybody has heard everything, or nobody has heard anything for a while.
func (a *audience) wait() {
	want := a.posted.Load() * int64(len(a.tallies))
	a.wanted.Store(want)
	for before := int64(-1); a.heard.Load() < want; {
		if now := a.heard.Load(); now == before {
			return
		} else {
			before = now
		}
		select {
		case <-a.reached:
		case <-time.After(stall):
		}
	}
}

// The three ways to post.

// quietly posts one message at a time: the next when everybody has heard the last.
func quietly(messages int) func(*audience) {
	return func(a *audience) {
		for i := range messages {
			a.post(i%posters, time.Now())
			a.wait()
		}
	}
}

// steadily posts at a fixed rate, whether the last was answered or not.
func steadily(perSecond int, d time.Duration) func(*audience) {
	return func(a *audience) {
		due := make(chan time.Time, perSecond*int(d/time.Second))
		var wait sync.WaitGroup
		for poster := range posters {
			wait.Go(func() {
				for at := range due {
					a.post(poster, at)
				}
			})
		}
		start := time.Now()
		for i := range cap(due) {
			at := start.Add(time.Duration(i) * time.Second / time.Duration(perSecond))
			time.Sleep(time.Until(at))
			due <- at
		}
		close(due)
		wait.Wait()
		a.wait()
	}
}

// madly posts as fast as the server accepts it.
func madly(d time.Duration) func(*audience) {
	return func(a *audience) {
		end := time.Now().Add(d)
		var wait sync.WaitGroup
		for poster := range posters {
			wait.Go(func() {
				for time.Now().Before(end) {
					a.post(poster, time.Now())
				}
			})
		}
		wait.Wait()
		a.wait()
	}
}

// eventSize is how many bytes the real server sends for one message; the bare one sends as many.
var eventSize = struct {
	sync.Once
	bytes int
}{}

func measureEvent(b *testing.B) int {
	eventSize.Do(func() {
		a := gather(b, "conclave", 1, 0)
		a.connect(1)
		before := a.tallies[0].bytes
		quietly(10)(a)
		eventSize.bytes = (a.tallies[0].bytes - before) / 10
		a.leave()
	})
	return eventSize.bytes
}

// bareCosts are what the bare server used in this run, by what was measured.
var bareCosts = map[string][]float64{}

// reportCost reports what the server used for each of count things, and how often that is of
// what the bare server used for the same.
func reportCost(b *testing.B, kind string, u used, count int64, each string) {
	micros := float64(u.cpu.Microseconds()) / float64(count)
	cost := micros
	b.ReportMetric(micros, "µs-cpu/"+each)
	if u.instructions > 0 {
		cost = u.instructions / 1000 / float64(count)
		b.ReportMetric(cost, "kinstr/"+each)
	}
	what, _, _ := strings.Cut(b.Name(), "/server=")
	if kind == "bare" {
		bareCosts[what] = append(bareCosts[what], cost)
	} else if costs := slices.Sorted(slices.Values(bareCosts[what])); len(costs) > 0 {
		b.ReportMetric(cost/costs[len(costs)/2], "x-bare")
	}
}

// measure runs a way of posting against both servers.
func measure(b *testing.B, listeners int, way func(*audience)) {
	for _, kind := range []string{"bare", "conclave"} {
		b.Run("server="+kind, func(b *testing.B) {
			size := measureEvent(b)
			a := gather(b, kind, listeners, size)
			a.connect(listeners)
			defer a.leave()
			a.server.profile(b)
			m, start := startMeter(a.server.pid), time.Now()
			for range b.N {
				way(a)
			}
			took := time.Since(start)
			a.report(b, kind, m.stop(), took)
		})
	}
}

// turns is how often the two servers take turns.
const turns = 12

// measureInTurns lets one server rest while the other speaks, a little at a time, so that what else
// happens on the machine happens to both. It reports the figures of ours, and how much more it used
// than the bare one.
func measureInTurns(b *testing.B, listeners, messages int) {
	kinds := []string{"bare", "conclave"}
	var audiences []*audience
	size := measureEvent(b)
	for _, kind := range kinds {
		a := gather(b, kind, listeners, size)
		a.connect(listeners)
		defer a.leave()
		a.server.profile(b)
		audiences = append(audiences, a)
	}
	sums, took := make([]used, len(kinds)), make([]time.Duration, len(kinds))
	for range b.N * turns {
		for i, a := range audiences {
			m, start := startMeter(a.server.pid), time.Now()
			quietly(messages)(a)
			u := m.stop()
			sums[i].cpu, sums[i].instructions, took[i] = sums[i].cpu+u.cpu, sums[i].instructions+u.instructions, took[i]+time.Since(start)
		}
	}
	deliveries := float64(b.N * turns * messages * listeners)
	bareCosts[b.Name()] = []float64{float64(sums[0].cpu.Microseconds()) / deliveries}
	if sums[0].instructions > 0 {
		bareCosts[b.Name()] = []float64{sums[0].instructions / 1000 / deliveries}
	}
	audiences[1].report(b, "conclave", sums[1], took[1])
	b.ReportMetric(float64(sums[0].cpu.Microseconds())/deliveries, "bare-µs-cpu/delivery")
}

func (a *audience) report(b *testing.B, kind string, u used, took time.Duration) {
	var all tally
	for _, t := range a.tallies {
		t.mu.Lock()
		all.heard, all.doubled, all.disordered = all.heard+t.heard, all.doubled+t.doubled, all.disordered+t.disordered
		all.cuts, all.refreshes = all.cuts+t.cuts, all.refreshes+t.refreshes
		all.latency.join(&t.latency)
		t.mu.Unlock()
	}
	lost := int(a.posted.Load())*len(a.tallies) - all.heard
	if lost != 0 || all.doubled != 0 || all.disordered != 0 { // a benchmark that fails shows no figures but these
		b.Errorf("lost %d, doubled %d, out of order %d of %d heard; %d cuts, %d refreshes; %.0f deliveries/s, %.1f µs-cpu/delivery", lost, all.doubled,
			all.disordered, all.heard, all.cuts, all.refreshes, float64(all.heard)/took.Seconds(), float64(u.cpu.Microseconds())/float64(max(all.heard, 1)))
	}
	b.ReportMetric(0, "ns/op") // says nothing here
	reportCost(b, kind, u, int64(max(all.heard, 1)), "delivery")
	b.ReportMetric(float64(all.heard)/took.Seconds(), "deliveries/s")
	b.ReportMetric(float64(a.posted.Load())/took.Seconds(), "posts/s")
	for name, d := range map[string]time.Duration{"p50-ms": all.latency.at(0.5), "p99-ms": all.latency.at(0.99), "max-ms": all.latency.max} {
		b.ReportMetric(float64(d.Microseconds())/1000, name)
	}
	b.ReportMetric(float64(lost), "lost")
	b.ReportMetric(float64(all.doubled), "doubled")
	b.ReportMetric(float64(all.disordered), "disordered")
	b.ReportMetric(float64(all.cuts), "cuts")
}

// BenchmarkFeedQuiet is a quiet room: what one delivery costs must not depend on how many listen.
func BenchmarkFeedQuiet(b *testing.B) {
	for _, listeners := range []int{100, 1000, 5000} {
		b.Run(fmt.Sprintf("listeners=%d", listeners), func(b *testing.B) {
			measureInTurns(b, listeners, max(2, min(10, 6000/listeners)))
		})
	}
}

// BenchmarkFeedBusy is a room in which much is said at once.
func BenchmarkFeedBusy(b *testing.B) {
	b.Run("listeners=1000", func(b *testing.B) { measure(b, 1000, steadily(100, 5*time.Second)) })
}

// BenchmarkFeedFlood is more than any room says.
func BenchmarkFeedFlood(b *testing.B) {
	b.Run("listeners=1000", func(b *testing.B) { measure(b, 1000, madly(5*time.Second)) })
}

// BenchmarkFeedIdle measures the memory of listeners to whom nothing is said.
func BenchmarkFeedIdle(b *testing.B) {
	for _, listeners := range []int{1000, 10_000} {
		for _, kind := range []string{"bare", "conclave"} {
			b.Run(fmt.Sprintf("listeners=%d/server=%s", listeners, kind), func(b *testing.B) {
				for range b.N {
					a := gather(b, kind, listeners, 0)
					before := resident(a.server.pid)
					a.server.profile(b)
					a.connect(listeners)
					time.Sleep(3 * time.Second)
					after := resident(a.server.pid)
					b.ReportMetric(0, "ns/op")
					b.ReportMetric(float64(after-before)/1024/float64(listeners), "KiB/idle-listener")
					b.ReportMetric(float64(after)/(1<<20), "MiB-resident")
					a.leave()
				}
			})
		}
	}
}
