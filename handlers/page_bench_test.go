//go:build linux

package handlers_test

import (
	"flag"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// BenchmarkRoomPage measures the page of a room beside a bare server that sends as many bytes:
// "cold" visits rooms into which nobody has looked since the server's start, "cached" the same room
// again and again. The two servers are asked in turns, so that whatever else the machine does
// strikes both alike. A room with 250,000 messages takes a minute to fill, so it has to be asked for by
// its number:
//
//	go test ./handlers -run xxx -bench 'RoomPage/messages=(50|250000)' -benchtime 1x
func BenchmarkRoomPage(b *testing.B) {
	for _, messages := range []int{40, 50, 250_000} {
		if messages > 50 && !strings.Contains(flag.Lookup("test.bench").Value.String(), fmt.Sprint(messages)) {
			continue
		}
		for _, kind := range []string{"cold", "cached"} {
			if kind == "cold" && messages > 50 {
				continue // a thousand such rooms would take hours; BenchmarkView of package models has the part that could differ
			}
			b.Run(fmt.Sprintf("messages=%d/%s", messages, kind), func(b *testing.B) {
				p := plan{Kind: "conclave", People: housemates, Sessions: visitors, Messages: messages}
				if kind == "cold" {
					p.Rooms = b.N * rounds * roundSize
				}
				visit(b, startChild(b, p), startChild(b, plan{Kind: "bare", Sessions: visitors}))
			})
		}
	}
}

const (
	housemates = 4
	visitors   = 8 // each with a connection of his own
	rounds     = 12
	roundSize  = 80
)

// visit loads a page of the one server, and as many bytes of the other, again and again.
func visit(b *testing.B, s, bare *child) {
	house, outside := newVisitors(b, s), newVisitors(b, bare)
	size := 0
	for i := range visitors { // what a first visit costs is not what is measured
		size = house.get(i, "/rooms/"+s.Room)
	}
	path := func(visit int) string {
		if len(s.place.Rooms) > 0 {
			return "/rooms/" + s.place.Rooms[visit]
		}
		return "/rooms/" + s.Room
	}
	for i := range visitors {
		outside.get(i, fmt.Sprintf("/page?bytes=%d", size))
	}
	s.profile(b)
	var ratios []float64
	var total [2]used
	var took time.Duration
	for round := range b.N * rounds {
		start := time.Now()
		ours := house.round(func(i int) { size = house.get(i%visitors, path(round*roundSize+i)) })
		took += time.Since(start)
		theirs := outside.round(func(i int) { outside.get(i%visitors, fmt.Sprintf("/page?bytes=%d", size)) })
		ratios = append(ratios, ours.cost()/theirs.cost())
		total[0], total[1] = total[0].plus(ours), total[1].plus(theirs)
	}
	slices.Sort(ratios)
	all := float64(b.N * rounds * roundSize)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(all/took.Seconds(), "requests/s")
	b.ReportMetric(float64(size)/1024, "KiB/page")
	b.ReportMetric(ratios[len(ratios)/2], "x-bare")
	b.ReportMetric(float64(total[0].cpu.Microseconds())/all, "µs-cpu/request")
	b.ReportMetric(float64(total[1].cpu.Microseconds())/all, "µs-cpu/bare")
	if total[0].instructions > 0 {
		b.ReportMetric(total[0].instructions/all/1000, "k-instr/request")
		b.ReportMetric(total[1].instructions/all/1000, "k-instr/bare")
	}
}

// guests are the visitors of one server.
type guests struct {
	b       *testing.B
	s       *child
	clients []*http.Client
}

func newVisitors(b *testing.B, s *child) *guests {
	g := &guests{b: b, s: s}
	for range visitors {
		g.clients = append(g.clients, newPoster(s))
	}
	b.Cleanup(func() {
		for _, c := range g.clients {
			c.CloseIdleConnections()
		}
	})
	return g
}

// get loads a page and returns its size.
func (g *guests) get(visitor int, path string) int {
	g.b.Helper()
	page, err := getPage(g.clients[visitor], g.s, path, g.s.Cookies[visitor])
	if err != nil {
		g.b.Fatal(err)
	}
	return len(page)
}

// round returns what the server uses for a round of visits.
func (g *guests) round(visit func(i int)) used {
	m := startMeter(g.s.pid)
	for i := range roundSize {
		visit(i)
	}
	return m.stop()
}

// cost is what two servers are compared by.
func (u used) cost() float64 {
	if u.instructions > 0 {
		return u.instructions
	}
	return float64(u.cpu)
}

func (u used) plus(v used) used { return used{u.cpu + v.cpu, u.instructions + v.instructions} }
