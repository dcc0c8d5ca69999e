package handlers_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"golang.org/x/sys/unix"

	"conclave/models/feed"
)

// Somebody closes a laptop: the connection is not closed, it just never says anything again. The
// tests wait for a few seconds, with shorter times than the server has; with
//
//	CONCLAVE_PATIENCE=1 go test ./handlers -run Laptop -v -timeout 10m
//
// they wait for as long as the server really takes.
const inEarnest = "CONCLAVE_PATIENCE"

// userTimeout sets how long what was sent may stay unacknowledged.
func userTimeout(c *net.TCPConn, set time.Duration) (was time.Duration) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1
	}
	raw.Control(func(fd uintptr) {
		ms, _ := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
		was = time.Duration(ms) * time.Millisecond
		if set > 0 {
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(set.Milliseconds()))
		}
	})
	return was
}

// silence makes a socket drop whatever arrives, as a machine that sleeps does: nothing is
// acknowledged and nothing refused.
func silence(t *testing.T, c *net.TCPConn) {
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	drop := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0}
	raw.Control(func(fd uintptr) {
		err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// swallower passes everything on until it is told to swallow it. It goes on taking it, so that
// neither side's network notices anything.
type swallower struct {
	net.Listener
	to     string
	hungry atomic.Bool
}

func (s *swallower) run() {
	for {
		here, err := s.Accept()
		if err != nil {
			return
		}
		there, err := net.Dial("tcp", s.to)
		if err != nil {
			here.Close()
			continue
		}
		for _, way := range [][2]net.Conn{{here, there}, {there, here}} {
			go func() {
				defer way[0].Close()
				defer way[1].Close()
				io.Copy(writer(func(b []byte) (int, error) {
					if s.hungry.Load() {
						return len(b), nil
					}
					return way[1].Write(b)
				}), way[0])
			}()
		}
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

func TestAClosedLaptopIsNoLongerHere(t *testing.T) { // R55, issue 4
	t.Parallel()
	patient := os.Getenv(inEarnest) != ""
	for _, c := range []struct {
		name, protocol string
		proxy          bool
		within         time.Duration // with the times of this test
		truly          time.Duration // with those of the server
	}{
		{"h2, nothing is answered", "h2", true, 3 * time.Second, 45 * time.Second},
		{"h2, nothing arrives", "h2", false, 3 * time.Second, 45 * time.Second},
		{"http/1.1, nothing arrives", "http/1.1", false, 4 * time.Second, 65 * time.Second}, // a beat, and what TCP waits for its acknowledgement
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			options := feed.Options{Grace: time.Second, Beat: time.Second}
			grace, within := options.Grace, c.within
			if patient {
				options, grace, within = feed.Options{}, 10*time.Second, c.truly
			}
			o := openOffice(t, func(s *settings) { s.hub = options })
			w := o.wire(func(s *http.Server) {
				if patient {
					return
				}
				s.HTTP2.SendPingTimeout, s.HTTP2.PingTimeout = 2*time.Second, time.Second
				original := s.ConnContext
				s.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
					ctx = original(ctx, conn)
					if was := userTimeout(conn.(*tls.Conn).NetConn().(*line).TCPConn, 3*time.Second); was != 45*time.Second {
						t.Errorf("the server gives up a peer that acknowledges nothing after %v", was)
					}
					return ctx
				}
			})
			ada, zoe := o.register("ada", "Ada Lovelace"), o.register("zoe", "Zoe Washburne")
			r := ada.createRoom("Engine room")
			zoe.join(r)
			room, hers := o.membership(ada, r).Room, o.idOf(zoe, r)
			path, cookie := zoe.feedPath(r), "__Host-sid="+zoe.sid()
			adas := ada.listen(r)
			until(t, "Zoe is gone", 10*time.Second, func() bool { return len(o.hub.Present(room)) == 1 })

			proxy := &swallower{to: w.Addr().String()}
			address := proxy.to
			if c.proxy {
				var err error
				if proxy.Listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
					t.Fatal(err)
				}
				defer proxy.Close()
				go proxy.run()
				address = proxy.Addr().String()
			}
			trust := w.trust.Clone()
			trust.NextProtos = []string{c.protocol}
			conn, err := tls.Dial("tcp", address, trust)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if c.protocol == "h2" {
				e := &ear{conn: conn, out: bufio.NewWriter(conn), window: wide}
				e.framer = http2.NewFramer(e.out, conn)
				e.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
				if err := e.ask(address, path, cookie, ""); err != nil {
					t.Fatal(err)
				}
				go e.listen(func([]byte) {}) // answers pings
			} else {
				fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nCookie: %s\r\n\r\n", path, address, cookie)
				go io.Copy(io.Discard, conn)
			}
			until(t, "Zoe is here", 10*time.Second, func() bool { return o.hub.Present(room)[hers] })
			time.Sleep(2*within - time.Second) // as long as the line is up she stays, although she says nothing
			if patient {
				time.Sleep(time.Second)
			}
			if !o.hub.Present(room)[hers] || len(o.hub.Open()) != 2 {
				t.Fatal("somebody who listens is not here any more")
			}

			start := time.Now()
			if proxy.hungry.Store(true); !c.proxy {
				silence(t, conn.NetConn().(*net.TCPConn))
			}
			late := 8 * time.Second // the machine may be busy
			until(t, "the stream is over", within+late, func() bool { return len(o.hub.Open()) == 1 })
			noticed := time.Since(start)
			until(t, "Zoe is gone", grace+late, func() bool { return !o.hub.Present(room)[hers] })
			gone := time.Since(start)
			ada.say(r, "Where is she?")
			adas.message("Where is she?")
			t.Logf("noticed after %v, no longer here after %v", noticed, gone)
		})
	}
}
