package handlers_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// The soak: people talk, change and take back what they said, while streams are cut, the server
// is restarted and some listeners hardly read. In the end every listener's page must show every
// message once, in order and with its final text. It runs for as long as it is told to:
//
//	CONCLAVE_SOAK=10m go test ./handlers -run Soak -timeout 0 -count 1
func TestSoak(t *testing.T) {
	if os.Getenv("CONCLAVE_SOAK") == "" {
		t.Skip("a long test: CONCLAVE_SOAK=10m runs it for ten minutes")
	}
	d, err := time.ParseDuration(os.Getenv("CONCLAVE_SOAK"))
	if err != nil {
		t.Fatal(err)
	}
	o := openOffice(t, func(s *settings) { s.scale = 100 })
	s := &soak{t: t, base: o.server.URL, trust: o.server.Client().Transport.(*http.Transport).TLSClientConfig.Clone(), texts: map[uint64]string{}}
	s.trust.NextProtos = []string{"h2"}
	var members []*person
	for i := range 6 {
		p := o.register(fmt.Sprintf("person%d", i), fmt.Sprintf("Person %d", i))
		if members = append(members, p); i == 0 {
			s.room = p.createRoom("Engine room")
		} else {
			p.join(s.room)
		}
	}
	found := afterInPage.FindStringSubmatch(members[0].get(s.room.path("")).want(200).body)
	s.feed = s.room.path("/feed?after=" + found[1] + "&log=" + found[2])
	listening, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	talking, hush := context.WithTimeout(t.Context(), d)
	defer hush()
	var listeners, talkers sync.WaitGroup
	for i := range 60 {
		p := &reader{texts: map[uint64]string{}}
		s.pages = append(s.pages, p)
		listeners.Go(func() { s.follow(listening, talking, p, "__Host-sid="+members[i%6].sid(), i%5 == 0) })
	}
	for _, p := range members {
		talkers.Go(func() { s.talk(talking, p) })
	}
	restarts := 0
	for next := time.Now().Add(5 * time.Second); talking.Err() == nil; time.Sleep(rand.N(200 * time.Millisecond)) {
		s.pages[rand.N(len(s.pages))].cut()
		if time.Now().After(next) {
			o.restart()
			restarts++
			next = time.Now().Add(3*time.Second + rand.N(7*time.Second))
		}
	}
	talkers.Wait()

	truth := s.history(members[0])
	if !maps.Equal(truth, s.texts) {
		t.Errorf("the room holds %d messages; %d were acknowledged, or their texts differ", len(truth), len(s.texts))
	}
	found = afterInPage.FindStringSubmatch(members[0].get(s.room.path("")).want(200).body)
	head, _ := strconv.ParseUint(found[1], 10, 64)
	for end := time.Now().Add(time.Minute); s.behind(head) > 0 && time.Now().Before(end); {
		time.Sleep(100 * time.Millisecond)
	}
	if n := s.behind(head); n > 0 {
		t.Errorf("%d listeners have not caught up after a minute", n)
	}
	hangUp()
	for _, p := range s.pages {
		p.cut()
	}
	listeners.Wait()
	refreshes, streams := 0, 0
	for i, p := range s.pages {
		if p.fault != "" {
			t.Errorf("listener %d: %s", i, p.fault)
		}
		// What is older than a refresh comes when the reader scrolls up to it: as in truth.
		for n, want := range truth {
			if got, ok := p.texts[n]; n >= p.from && (!ok || got != want) {
				t.Errorf("listener %d shows message %d as %q, want %q", i, n, got, want)
				break
			}
		}
		for n := range p.texts {
			if _, ok := truth[n]; !ok {
				t.Errorf("listener %d shows message %d, which does not exist", i, n)
			}
		}
		refreshes, streams = refreshes+p.refreshes, streams+p.streams
	}
	t.Logf("%d messages, %d changes of them, %d restarts, %d streams for %d listeners, %d refreshes", len(truth), s.changes.Load(), restarts, streams, len(s.pages), refreshes)
}

type soak struct {
	t       *testing.T
	base    string
	trust   *tls.Config
	room    room
	feed    string
	pages   []*reader
	changes atomic.Int64

	mu    sync.Mutex
	texts map[uint64]string // what was acknowledged
}

const takenBack = "(removed)"

// talk says something, and now and then changes or removes what it has said.
func (s *soak) talk(ctx context.Context, p *person) {
	var own []uint64
	for i := 0; ctx.Err() == nil; time.Sleep(rand.N(300 * time.Millisecond)) {
		i++
		body := fmt.Sprintf("%s says %d", p.username, i)
		switch dice := rand.N(100); {
		case dice < 75 || len(own) == 0:
			answer := s.send(p, "/messages", fields{"body": body, "client_id": fmt.Sprintf("soak-%d", i)})
			found := postedInComposer.FindStringSubmatch(answer)
			if found == nil {
				s.t.Errorf("no number in %q", shortened(answer))
				return
			}
			n, _ := strconv.ParseUint(found[1], 10, 64)
			own = append(own, n)
			s.note(n, body)
		case dice < 92:
			n := own[rand.N(len(own))]
			s.send(p, fmt.Sprintf("/messages/%d", n), fields{"body": body + ", or so"})
			s.note(n, body+", or so")
			s.changes.Add(1)
		default:
			k := rand.N(len(own))
			s.send(p, fmt.Sprintf("/messages/%d/delete", own[k]), fields{})
			s.note(own[k], takenBack)
			s.changes.Add(1)
			own = append(own[:k], own[k+1:]...)
		}
	}
}

var postedInComposer = regexp.MustCompile(`data-posted="(\d+)"`)

func (s *soak) note(n uint64, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.texts[n] = text
}

// send repeats a request until it is answered, as the page does when the line is back.
func (s *soak) send(p *person, path string, f fields) string {
	for again := false; ; again = true {
		req, err := http.NewRequest(http.MethodPost, s.base+s.room.path(path), strings.NewReader(f.encode()))
		if err != nil {
			s.t.Error(err)
			return ""
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", s.base)
		for i := 0; i < len(htmx); i += 2 {
			req.Header.Set(htmx[i], htmx[i+1])
		}
		if res, err := p.client.Do(req); err == nil {
			body, err := io.ReadAll(res.Body)
			res.Body.Close()
			gone := again && strings.HasSuffix(path, "/delete") && res.StatusCode == http.StatusNotFound // the first try did it
			switch {
			case err == nil && (res.StatusCode < 300 || gone):
				return string(body)
			case res.StatusCode >= 300 && res.StatusCode < 500:
				s.t.Errorf("%s: %s: %s", path, res.Status, shortened(string(body)))
				return ""
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// history reads the whole room as somebody does who scrolls up to its beginning.
func (s *soak) history(p *person) map[uint64]string {
	texts := map[uint64]string{}
	page := p.get(s.room.path("")).want(200)
	for {
		maps.Copy(texts, messagesIn(page.doc()))
		older := attr(page.id("older"), "hx-get")
		if older == "" {
			return texts
		}
		page = p.get(older, htmx...).want(200)
	}
}

func (s *soak) behind(head uint64) (n int) {
	for _, p := range s.pages {
		p.mu.Lock()
		if p.last < head {
			n++
		}
		p.mu.Unlock()
	}
	return n
}

// reader is a listener with a page.
type reader struct {
	mu        sync.Mutex
	conn      net.Conn
	texts     map[uint64]string
	from      uint64 // after a refresh: the first message that it brought
	last      uint64 // number of the last event
	fault     string
	refreshes int
	streams   int
}

// cut breaks the connection, wherever it is.
func (p *reader) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil {
		p.conn.Close()
	}
}

// follow keeps a stream open, as a browser does. A slow listener takes little at a time and
// often stops reading; now and then somebody's machine sleeps. Both end when nobody talks any more.
func (s *soak) follow(ctx, talking context.Context, p *reader, cookie string, slow bool) {
	window := uint32(wide)
	if slow {
		window = 1 << 14
	}
	for ctx.Err() == nil {
		p.mu.Lock()
		lastID := ""
		if p.last > 0 {
			lastID = strconv.FormatUint(p.last, 10)
		}
		p.mu.Unlock()
		e, err := openEar(s.trust, strings.TrimPrefix(s.base, "https://"), s.feed, cookie, lastID, window)
		if err == nil {
			p.mu.Lock()
			p.conn, p.streams = e.conn, p.streams+1
			p.mu.Unlock()
			e.listen(func(raw []byte) {
				if slow && rand.N(20) == 0 {
					wait(talking, rand.N(6*time.Second))
				}
				readEvents(bytes.NewReader(raw), p.take)
			})
			e.conn.Close()
		}
		wait(ctx, rand.N(500*time.Millisecond))
		if rand.N(20) == 0 {
			wait(talking, rand.N(20*time.Second))
		}
	}
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// take does to the page what htmx does with an event.
func (p *reader) take(e event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.name != "" {
		p.fault = "it was told " + e.name
	}
	if e.id != "" {
		n, _ := strconv.ParseUint(e.id, 10, 64)
		if n <= p.last {
			p.fault = fmt.Sprintf("event %d comes after event %d", n, p.last)
		}
		p.last = n
	}
	doc, err := html.Parse(strings.NewReader(e.data))
	if err != nil {
		p.fault = err.Error()
		return
	}
	for _, partial := range elements(doc, func(n *html.Node) bool { return n.Data == "hx-partial" }) {
		messages := messagesIn(partial)
		switch swap, target := attr(partial, "hx-swap"), attr(partial, "hx-target"); {
		case target == "#messages" && strings.HasPrefix(swap, "innerHTML"):
			p.texts, p.from = messages, p.last
			for n := range messages {
				p.from = min(p.from, n)
			}
			p.refreshes++
		case target == "#messages":
			for n, text := range messages {
				if _, ok := p.texts[n]; ok {
					p.fault = fmt.Sprintf("message %d comes twice", n)
				}
				p.texts[n] = text
			}
		case strings.HasPrefix(target, "#m-"):
			for n, text := range messages {
				if _, ok := p.texts[n]; ok {
					p.texts[n] = text
				} else if n >= p.from {
					p.fault = fmt.Sprintf("message %d changes and was never there", n)
				}
			}
		}
	}
}

// messagesIn returns the messages below a node by their numbers.
func messagesIn(n *html.Node) map[uint64]string {
	texts := map[uint64]string{}
	for _, li := range elements(n, func(n *html.Node) bool { return n.Data == "li" }) {
		number, err := strconv.ParseUint(strings.TrimPrefix(attr(li, "id"), "m-"), 10, 64)
		switch class := attr(li, "class"); {
		case err != nil || class == "event":
		case class == "message":
			texts[number] = strings.Join(bodiesIn(li), "")
		case class == "message removed":
			texts[number] = takenBack
		default:
			texts[number] = class
		}
	}
	return texts
}
