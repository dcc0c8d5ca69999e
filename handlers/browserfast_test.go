package handlers_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// traffic is what a tab has fetched.
type traffic struct {
	mu      sync.Mutex
	address map[network.RequestID]string
	bytes   map[string]int // with headers, as they came over the line
}

// weighs notes from now on what the tab fetches.
func (b *tab) weighs() *traffic {
	b.t.Helper()
	f := &traffic{address: map[network.RequestID]string{}, bytes: map[string]int{}}
	err := chromedp.Listen(b.ctx, func(ev any) {
		f.mu.Lock()
		defer f.mu.Unlock()
		switch e := ev.(type) {
		case *network.EventRequestWillBeSent:
			f.address[e.RequestID] = strings.TrimPrefix(e.Request.URL, b.o.server.URL)
		case *network.EventLoadingFinished:
			f.bytes[f.address[e.RequestID]] += int(e.EncodedDataLength)
		}
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.do("watch the line", command(network.Enable, network.EnableParams{}))
	return f
}

// talk is a room of a few people with more than a page of ordinary messages, of which the newest is
// the first that Ada has not seen.
func (o *office) talk() (ada *person, r room) {
	o.t.Helper()
	ada = o.administrator("ada", "Ada Lovelace")
	others := []*person{o.register("grace", "Grace Brewster Murray Hopper"), o.register("emmy", "Emmy Noether"), o.register("hedy", "Hedy Lamarr"), o.register("rosalind", "Rosalind Franklin")}
	r = ada.createRoom("Engine room")
	for _, p := range others {
		p.join(r)
	}
	said := []string{
		"Good morning! Did the compiler finish over night?", "It did. The log is at https://example.org/builds/2026/11/21.txt",
		"Thank you. I read it on the way home; it takes a while, since there are so many lines in it, and most of them say nothing at all.",
		"Yes", "Then let us meet at ten and look at what is left of the list. I bring the coffee.",
	}
	for i := range 60 {
		o.posts(others[i/2%4], r, fmt.Sprintf("%s (%d)", said[i%5], i+1))
	}
	ada.reads(r)
	return ada, r
}

const (
	firstVisit = 60_000 // bytes in all
	requests   = 5      // besides the feed, icons and the manifest
)

func TestBrowserTheFirstVisitToARoomIsSmall(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada, r := o.talk()
	b := ada.browserOf()
	f := b.weighs()
	b.enters(ada, r)
	if n := read[int](b, `document.querySelectorAll("#messages > .message").length`); n != 40 {
		t.Fatalf("the page shows %d messages, want 40", n)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	sum, count := 0, 0
	for address, bytes := range f.bytes {
		t.Logf("%6d bytes: %s", bytes, address)
		sum += bytes
		if !strings.Contains(address, "/icon") && !strings.Contains(address, "manifest") {
			count++
		}
	}
	t.Logf("%d bytes in %d requests", sum, count)
	if sum > firstVisit || count > requests {
		t.Errorf("the first visit takes %d bytes in %d requests besides icons; %d and %d are the limits", sum, count, firstVisit, requests)
	}
}
