//go:build linux

package handlers_test

import (
	"flag"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkRoomPage measures the page of a room beside a bare server that sends as many bytes.
// A room with 250,000 messages takes a minute to fill, so it has to be asked for by its number:
//
//	go test ./handlers -run xxx -bench 'RoomPage/messages=(50|250000)' -benchtime 1x
func BenchmarkRoomPage(b *testing.B) {
	for _, messages := range []int{40, 50, 250_000} {
		name := fmt.Sprintf("messages=%d", messages)
		if messages > 50 && !strings.Contains(flag.Lookup("test.bench").Value.String(), fmt.Sprint(messages)) {
			continue
		}
		for _, kind := range []string{"bare", "conclave"} {
			b.Run(name+"/server="+kind, func(b *testing.B) {
				if kind == "bare" {
					// a longer log does not make a longer page
					like := startChild(b, plan{Kind: "conclave", People: housemates, Sessions: 1, Messages: min(messages, 50)})
					page, err := getPage(newPoster(like), like, "/rooms/"+like.Room, like.Cookies[0])
					if err != nil {
						b.Fatal(err)
					}
					like.input.Close()
					ask(b, startChild(b, plan{Kind: kind, Sessions: visitors}), fmt.Sprintf("/page?bytes=%d", len(page)))
					return
				}
				s := startChild(b, plan{Kind: kind, People: housemates, Sessions: visitors, Messages: messages})
				ask(b, s, "/rooms/"+s.Room)
			})
		}
	}
}

const (
	housemates = 4
	visitors   = 8 // each with a connection of his own
	visits     = 2000
)

// ask loads a page again and again.
func ask(b *testing.B, s *child, path string) {
	var clients []*http.Client
	var size int
	for i := range visitors { // what a first visit costs is not what is measured
		clients = append(clients, newPoster(s))
		page, err := getPage(clients[i], s, path, s.Cookies[i])
		if err != nil {
			b.Fatal(err)
		}
		size = len(page)
	}
	s.profile(b)
	m, start := startMeter(s.pid), time.Now()
	var asked atomic.Int64
	all := int64(b.N * visits)
	var wait sync.WaitGroup
	for i, client := range clients {
		wait.Go(func() {
			for asked.Add(1) <= all {
				if _, err := getPage(client, s, path, s.Cookies[i]); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	took := time.Since(start)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(all)/took.Seconds(), "requests/s")
	b.ReportMetric(float64(size)/1024, "KiB/page")
	reportCost(b, s.Kind, m.stop(), all, "request")
	for _, client := range clients {
		client.CloseIdleConnections()
	}
}
