package feed

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestEveryListenerGetsEveryEntryOfItsTopicInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const topics, listeners, entries = 20, 5, 500
		h := open(t, Options{Limits: Limits{Queue: entries + 10}})
		h.Render(func(e *Event) []byte {
			if e.Kind != KindEntry {
				return nil
			}
			return fmt.Appendf(nil, "%d/%d ", e.Topic[0], e.N)
		})
		var streams, writers sync.WaitGroup
		for i := range byte(topics) {
			var want strings.Builder
			for n := range entries {
				fmt.Fprintf(&want, "%d/%d ", i+1, n+1)
			}
			for j := range byte(listeners) {
				s := listen(t, h, ID{i + 1}, ID{'A' + i, j})
				streams.Go(func() {
					var read strings.Builder
					for cursor := uint64(0); cursor < entries; {
						b := s.Next()
						if b.Last() == 0 {
							continue
						}
						bytes, ok := b.After(cursor, 0)
						if !ok || len(bytes) == 0 {
							t.Errorf("topic %d: nothing for %d in a block up to %d", i, cursor, b.Last())
							return
						}
						read.Write(bytes)
						cursor = b.Last()
					}
					if read.String() != want.String() {
						t.Errorf("topic %d read %.100q", i, read.String())
					}
				})
			}
			writers.Go(func() {
				for n := range uint64(entries) {
					h.Publish(entry(ID{i + 1}, n+1))
					if rand.N(10) == 0 {
						time.Sleep(time.Duration(rand.N(40)) * time.Millisecond)
					}
				}
			})
		}
		writers.Wait()
		streams.Wait()
	})
}

func TestTheFirstEventOfAQuietTopicLeavesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, Options{})
		p := follow(t, h, garden, ada)
		quiet(p)
		for n := range uint64(10) {
			h.Publish(entry(garden, n+1))
			time.Sleep(26 * time.Millisecond)
			p.hears(t, fmt.Sprintf("0s: %d", n+1))
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.topics[garden].pumping {
			t.Error("the pump did not end")
		}
	})
}

func TestWhatABusyTopicTellsIsGatheredFor25msIntoOneSharedBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, Options{})
		p, q := follow(t, h, garden, ada), follow(t, h, garden, ben)
		quiet(p, q)
		for n := range uint64(12) { // at 0, 7, 14, 21, 28, ... 77 ms
			h.Publish(entry(garden, n+1))
			time.Sleep(7 * time.Millisecond)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		p.mu.Lock()
		q.mu.Lock()
		if len(p.blocks) == 0 || !slices.Equal(p.blocks, q.blocks) {
			t.Error("the blocks are not shared")
		}
		p.mu.Unlock()
		q.mu.Unlock()
		want := "0s: 1 | 25ms: 2 3 4 | 50ms: 5 6 7 8 | 75ms: 9 10 11 | 100ms: 12"
		p.hears(t, want)
		q.hears(t, want)
	})
}

func TestNoEventWaitsLongerThan25ms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, Options{})
		p := follow(t, h, garden, ada)
		quiet(p)
		const all = 2000
		var published [all + 1]time.Duration
		for n := uint64(1); n <= all; n++ {
			published[n] = time.Since(p.since)
			h.Publish(entry(garden, n))
			time.Sleep(time.Duration(rand.N(20)*rand.N(2)) * time.Millisecond)
		}
		time.Sleep(time.Second)
		blocks, at := p.came()
		for i, b := range blocks {
			for n := b.first; n <= b.last && n > 0; n++ {
				if waited := at[i] - published[n]; waited > 25*time.Millisecond {
					t.Errorf("%d waited %v", n, waited)
				}
				published[n] = -1
			}
		}
		for n := 1; n <= all; n++ {
			if published[n] != -1 {
				t.Errorf("%d did not come", n)
			}
		}
	})
}

// blocks makes the blocks of some events; a rendering that is "" has failed.
func blocks(t testing.TB, events []*Event, renders map[uint64]string) (all []*Block) {
	t.Helper()
	h := New(Options{})
	h.Render(func(e *Event) []byte { return []byte(renders[e.N]) })
	for len(events) > 0 {
		var b *Block
		b, events = h.block(events)
		all = append(all, b)
	}
	return all
}

// Who may not see what is from before a number gets nothing of an entry that shows it again, whatever
// else is in the block, and is not held up by it.
func TestABlockConcealsWhatIsAboutAnEntryBeforeTheListenersTime(t *testing.T) { // R64
	about := func(n, earlier uint64) *Event {
		return &Event{Topic: garden, Kind: KindEntry, N: n, About: earlier}
	}
	events := []*Event{entry(garden, 20), about(21, 3), entry(garden, 22), about(23, 10), about(24, 9)}
	renders := map[uint64]string{20: "twenty ", 21: "three again ", 22: "twenty-two ", 23: "ten again ", 24: "nine again "}
	all := blocks(t, events, renders)
	if len(all) != 1 {
		t.Fatalf("%d blocks", len(all))
	}
	shared := string(all[0].bytes)
	for _, c := range []struct {
		cursor, from uint64
		want         string
	}{
		{19, 0, "twenty three again twenty-two ten again nine again "},
		{19, 3, "twenty three again twenty-two ten again nine again "},
		{19, 4, "twenty id: 21\n\ntwenty-two ten again nine again "},
		{19, 10, "twenty id: 21\n\ntwenty-two ten again id: 24\n\n"},
		{19, 11, "twenty id: 21\n\ntwenty-two id: 23\n\nid: 24\n\n"},
		{20, 10, "id: 21\n\ntwenty-two ten again id: 24\n\n"},
		{21, 4, "twenty-two ten again nine again "},
		{22, 10, "ten again id: 24\n\n"},
		{23, 10, "id: 24\n\n"},
		{24, 10, ""},
	} {
		if bytes, ok := all[0].After(c.cursor, c.from); !ok || string(bytes) != c.want {
			t.Errorf("after %d, from %d on: %q, %v, want %q", c.cursor, c.from, bytes, ok, c.want)
		}
	}
	if string(all[0].bytes) != shared {
		t.Errorf("the block, which others write too, is now %q", all[0].bytes)
	}
	for _, b := range blocks(t, append(events, &Event{Kind: KindEntry, N: 25, About: 2}), renders) { // the last fails
		if bytes, ok := b.After(24, 10); ok && b.Last() == 25 {
			t.Errorf("an entry that could not be rendered gives %q", bytes)
		}
	}
}

func TestABlockGivesEachListenerWhatItDoesNotHave(t *testing.T) {
	entries := func(from, to uint64) (events []*Event) {
		for n := from; n <= to; n++ {
			events = append(events, entry(garden, n))
		}
		return events
	}
	good := map[uint64]string{5: "five ", 6: "six ", 7: "seven ", 8: "eight "}
	for name, c := range map[string]struct {
		events  []*Event
		renders map[uint64]string
		cursor  uint64
		want    string // of all blocks, "log" where the log is to be read
	}{
		"whole":                   {entries(5, 7), good, 4, "five six seven "},
		"tail":                    {entries(5, 7), good, 5, "six seven "},
		"last":                    {entries(5, 7), good, 6, "seven "},
		"none":                    {entries(5, 7), good, 7, ""},
		"long ago":                {entries(5, 7), good, 70, ""},
		"gap before":              {entries(5, 7), good, 3, "log"},
		"from the beginning":      {entries(5, 7), good, 0, "log"},
		"one":                     {entries(5, 5), good, 4, "five "},
		"one, there already":      {entries(5, 5), good, 5, ""},
		"a gap within":            {append(entries(5, 5), entries(7, 7)...), good, 4, "five |log"},
		"the first failed":        {entries(5, 7), map[uint64]string{6: "six ", 7: "seven "}, 4, "log|six seven "},
		"the middle failed":       {entries(5, 7), map[uint64]string{5: "five ", 7: "seven "}, 4, "log|seven "},
		"the middle failed, tail": {entries(5, 7), map[uint64]string{5: "five ", 7: "seven "}, 5, "log|seven "},
		"failed and there":        {entries(5, 7), map[uint64]string{5: "five ", 7: "seven "}, 6, "|seven "},
		"the last failed":         {entries(5, 7), map[uint64]string{5: "five ", 6: "six "}, 4, "log"},
		"a moment":                {[]*Event{{Kind: KindTyping}}, map[uint64]string{0: "A types "}, 7, "A types "},
		"a moment that failed":    {[]*Event{{Kind: KindTyping}}, nil, 7, "log"},
		"a moment between":        {append(append(entries(5, 5), &Event{Kind: KindTyping}), entries(6, 6)...), map[uint64]string{5: "five ", 0: "A types ", 6: "six "}, 4, "five |A types |six "},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, b := range blocks(t, c.events, c.renders) {
				bytes, ok := b.After(c.cursor, 0)
				if !ok {
					got = append(got, "log")
				} else {
					got = append(got, string(bytes))
				}
				c.cursor = max(c.cursor, b.Last())
			}
			if strings.Join(got, "|") != c.want {
				t.Errorf("got %q, want %q", strings.Join(got, "|"), c.want)
			}
		})
	}
}

func TestABlockDoesNotWriteIntoWhatWasRendered(t *testing.T) {
	kept := append(make([]byte, 0, 100), "five "...) // as a cache keeps it
	h := New(Options{})
	h.Render(func(e *Event) []byte {
		if e.N == 5 {
			return kept
		}
		return []byte("other ")
	})
	h.block([]*Event{entry(garden, 5), entry(garden, 6)})
	if rest := kept[5:20]; rest[0] != 0 {
		t.Errorf("behind it stands %q", rest)
	}
}

func TestARemovalBeginsANewBlock(t *testing.T) {
	events := []*Event{entry(garden, 1), entry(garden, 2), entry(garden, 3), entry(garden, 4)}
	events[2].Removal = true
	all := blocks(t, events, map[uint64]string{1: "1 ", 2: "2 ", 3: "gone ", 4: "4 "})
	if len(all) != 2 || string(all[0].bytes) != "1 2 " || string(all[1].bytes) != "gone 4 " {
		t.Errorf("%d blocks: %q", len(all), all[0].bytes)
	}
}

func TestABlockIsBoundedInSize(t *testing.T) {
	const large = 10 << 10
	var events []*Event
	renders := map[uint64]string{}
	for n := uint64(1); n <= 100; n++ {
		events = append(events, entry(garden, n))
		renders[n] = strings.Repeat("x", large)
	}
	total := 0
	for _, b := range blocks(t, events, renders) {
		total += len(b.bytes)
		if len(b.bytes) > blockBytes+large {
			t.Errorf("a block of %d bytes", len(b.bytes))
		}
		if b.Last() != 100 && len(b.bytes) <= blockBytes {
			t.Errorf("a block of only %d bytes", len(b.bytes))
		}
	}
	if total != 100*large {
		t.Errorf("%d bytes in all", total)
	}
}

func TestAnEventIsRenderedOnceForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var renders atomic.Int32
		h := open(t, Options{})
		h.Render(func(e *Event) []byte {
			if e.Kind == KindEntry {
				renders.Add(1)
			}
			return show(e)
		})
		var pages []*page
		for i := range byte(50) {
			pages = append(pages, follow(t, h, garden, ID{'A', i}))
		}
		quiet(pages...)
		for n := range uint64(20) {
			h.Publish(entry(garden, n+1))
		}
		time.Sleep(time.Second)
		for _, p := range pages {
			if got := strings.Fields(p.heard()); got[len(got)-1] != "20" {
				t.Errorf("heard %q", got)
			}
		}
		if renders.Load() != 20 {
			t.Errorf("%d renderings of 20 events", renders.Load())
		}
	})
}

func TestARenderingThatTakesLongHoldsNobodyUpElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, Options{})
		h.Render(func(e *Event) []byte {
			if e.Topic == garden && e.Kind == KindEntry {
				time.Sleep(5 * time.Second)
			}
			return show(e)
		})
		p, q := follow(t, h, garden, ada), follow(t, h, quay, ben)
		quiet(p, q)
		h.Publish(entry(garden, 1))
		h.Publish(entry(quay, 1))
		q.hears(t, "0s: 1")
		time.Sleep(6 * time.Second)
		p.hears(t, "5s: 1")
	})
}

func TestASlowReaderIsCutAndTheOthersAreNotDelayed(t *testing.T) {
	for name, c := range map[string]struct {
		limits Limits
		size   int // of an entry
		waits  int // how many may wait
	}{
		"by blocks":                 {Limits{Queue: 4}, 10, 4},
		"by bytes":                  {Limits{Queue: 1000}, 100 << 10, 10}, // of 1 MiB
		"by bytes, at their bound":  {Limits{Queue: 1000, Bytes: 1000}, 100, 10},
		"by bytes, one is too much": {Limits{Queue: 1000, Bytes: 50}, 100, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := open(t, Options{Limits: c.limits})
				h.Render(func(e *Event) []byte {
					if e.Kind != KindEntry {
						return nil
					}
					return []byte(strings.Repeat("x", c.size))
				})
				quick := follow(t, h, garden, ben)
				slow, took, times := hang(t, h, ada)
				quiet(quick)
				for len(slow.blocks) > 0 { // who is here
					slow.Next()
				}
				for n := 1; n <= c.waits+5; n++ {
					h.Publish(entry(garden, uint64(n)))
					if blocks, at := quick.came(); len(blocks) != 1 || blocks[0].Last() != uint64(n) || at[0] != min(1, time.Duration(n-1))*26*time.Millisecond {
						t.Fatalf("the quick one got %d blocks at %v", len(blocks), at)
					}
					if cut := slow.Reason() == Slow; cut != (n > c.waits) {
						t.Fatalf("after %d blocks: cut %v", n, cut)
					}
					time.Sleep(26 * time.Millisecond)
				}
				if slow.Next() != nil || times.Load() != 1 || took() > 4*time.Second {
					t.Errorf("aborted %d times after %v", times.Load(), took())
				}
				time.Sleep(time.Minute)
				if times.Load() != 1 {
					t.Errorf("aborted %d times", times.Load())
				}
				if len(h.Open()) != 1 || quick.Reason() != Open {
					t.Error("the quick one was cut")
				}
			})
		})
	}
}

func TestWhoReadsInTimeIsNeverCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, Options{Limits: Limits{Queue: 2}})
		h.Render(func(e *Event) []byte { return []byte(strings.Repeat("x", 200<<10)) })
		p := follow(t, h, garden, ada)
		for n := range uint64(200) { // 40 MB
			h.Publish(entry(garden, n+1))
			time.Sleep(30 * time.Millisecond)
		}
		if synctest.Wait(); p.Reason() != Open || p.size.Load() != 0 {
			t.Errorf("reason %v, %d bytes waiting", p.Reason(), p.size.Load())
		}
	})
}

func TestWhatIsPublishedAfterSubscribeReturnsArrives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, Options{Limits: Limits{PerAddress: 1000, Total: 1000}})
		var last atomic.Uint64
		var publishing sync.Mutex
		stop := make(chan struct{})
		go func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Duration(rand.N(3000)) * time.Microsecond):
				}
				publishing.Lock()
				h.Publish(entry(garden, last.Add(1)))
				publishing.Unlock()
			}
		}()
		for i := range 200 {
			time.Sleep(time.Duration(rand.N(5000)) * time.Microsecond)
			s := listen(t, h, garden, ID{'A', byte(i), byte(i >> 8)})
			had := last.Load()
			for {
				b := s.Next()
				if b.Last() <= had {
					continue // of before
				}
				if _, ok := b.After(had, 0); !ok {
					t.Errorf("had %d, and the first block was %d to %d", had, b.first, b.last)
				}
				break
			}
			if i%2 == 0 {
				s.Close()
			}
		}
		close(stop)
	})
}
