package handlers_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"conclave/handlers"
	"conclave/models/feed"
)

// Who sends slowly, or without an end, is cut off. (Pictures and other files come with a later
// issue; the cases of T62 that are about them come with it.)

// bubble runs f beside a server with a clock that goes on when everybody waits; dial speaks TLS
// to it.
func (o *office) bubble(t *testing.T, protocol string, f func(t *testing.T, dial func() *tls.Conn)) {
	t.Helper()
	config := o.server.TLS.Clone()
	config.NextProtos = []string{protocol}
	roots := o.server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	hub := feed.New(feed.Options{})
	server := handlers.NewServer(handlers.Options{ // outside: the session manager has a goroutine of its own
		Store: o.store, Hub: hub, Log: slog.New(slog.NewTextHandler(o.log, nil)), LimitScale: 1, Serves: func(string) bool { return true }, SessionLifetime: time.Hour,
	})
	server.TLSConfig, server.ErrorLog = config, slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	synctest.Test(t, func(t *testing.T) {
		defer hub.Close()
		listener := make(pipes)
		go server.ServeTLS(listener, "", "")
		f(t, func() *tls.Conn {
			conn, err := listener.dial(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			secure := tls.Client(conn, &tls.Config{RootCAs: roots, NextProtos: []string{protocol}, ServerName: "example.com", Time: func() time.Time { return o.clock.now() }})
			if err := secure.Handshake(); err != nil {
				t.Fatal(err)
			}
			return secure
		})
		server.Close()
	})
}

// closedAfter says how long the server keeps a connection open on which drip goes on sending a
// little each second, for three minutes at most.
func closedAfter(conn net.Conn, drip func() error) time.Duration {
	start, over := time.Now(), make(chan struct{})
	go func() {
		defer close(over)
		io.Copy(io.Discard, conn)
	}()
	for time.Since(start) < 3*time.Minute {
		select {
		case <-over:
			return time.Since(start)
		case <-time.After(time.Second):
		}
		if drip() != nil {
			break
		}
	}
	took := time.Since(start)
	conn.Close()
	<-over
	return took
}

func TestWhoSendsHeadersOrBodySlowlyIsCutOff_T62(t *testing.T) { // R52
	o := openOffice(t)
	const settings, headers = http2.ClientPreface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00", "\x00\x3e\x80\x01\x04\x00\x00\x00\x01" // of 16,000 bytes
	for what, c := range map[string]struct {
		begins, drips string
		within        time.Duration
	}{
		"nothing, over HTTP/2":  {"", "", 12 * time.Second},
		"headers over HTTP/2":   {settings + headers, "\x82", 60 * time.Second},
		"nothing at all":        {"", "", 6 * time.Second},
		"headers":               {"GET /login HTTP/1.1\r\nHost: example.com\r\n", "X-A: b\r\n", 6 * time.Second},
		"a request line":        {"GET /", "x", 6 * time.Second},
		"a body":                {"POST /login HTTP/1.1\r\nHost: example.com\r\nOrigin: https://example.com\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 60000\r\n\r\nusername=", "x", 62 * time.Second},
		"a body without length": {"POST /login HTTP/1.1\r\nHost: example.com\r\nOrigin: https://example.com\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n", 62 * time.Second},
		"a body for nothing":    {"GET /login HTTP/1.1\r\nHost: example.com\r\nContent-Length: 60000\r\n\r\n", "x", 62 * time.Second},
		"a body to nowhere":     {"POST /nothing HTTP/1.1\r\nHost: example.com\r\nContent-Length: 60000\r\n\r\n", "x", 62 * time.Second},
	} {
		t.Run(what, func(t *testing.T) {
			protocol := "http/1.1"
			if strings.HasSuffix(what, "HTTP/2") {
				protocol = "h2"
			}
			o.bubble(t, protocol, func(t *testing.T, dial func() *tls.Conn) {
				conn := dial()
				io.WriteString(conn, c.begins)
				took := closedAfter(conn, func() error {
					_, err := io.WriteString(conn, c.drips)
					return err
				})
				if took > c.within {
					t.Errorf("the connection is closed after %v, want at most %v", took, c.within)
				}
			})
		})
	}
}

func TestHeadersOfMoreThan16KiBAreRefused_T62(t *testing.T) { // R52
	t.Parallel()
	o := openOffice(t)
	for _, protocol := range []string{"http/1.1", "h2"} {
		for what, header := range map[string]http.Header{
			"one": {"X-Long": {strings.Repeat("x", 17<<10)}}, "a cookie": {"Cookie": {"__Host-sid=" + strings.Repeat("x", 17<<10)}}, "many": {},
		} {
			if what == "many" {
				for i := range 17 {
					header[fmt.Sprintf("X-%d", i)] = []string{strings.Repeat("x", 1<<10)}
				}
			}
			p := o.visitor()
			p.speak(protocol)
			req, err := http.NewRequest(http.MethodGet, o.server.URL+"/login", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header = header
			res, err := p.client.Do(req)
			if err != nil {
				t.Fatalf("%s over %s: %v", what, protocol, err)
			}
			res.Body.Close()
			if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
				t.Errorf("%s over %s: %d", what, protocol, res.StatusCode)
			}
			checkHeaders(t, what, res.Header, false)
		}
		p := o.visitor()
		p.speak(protocol)
		p.get("/login", "X-Long", strings.Repeat("x", 8<<10)).want(200)
	}
}

func TestABodyOfAGigabyteIsNotRead_T62(t *testing.T) { // R52
	t.Parallel()
	o := openOffice(t)
	raw := o.dial("http/1.1")
	fmt.Fprintf(raw, "POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: https://127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n")
	chunk := fmt.Sprintf("%x\r\n%s\r\n", 64<<10, strings.Repeat("x", 64<<10))
	sent := 0
	for ; sent < 1<<30; sent += 64 << 10 {
		raw.SetWriteDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.WriteString(raw, chunk); err != nil {
			break
		}
	}
	if sent > 32<<20 {
		t.Errorf("the server took %d MiB of it", sent>>20)
	}
	raw.SetReadDeadline(time.Now().Add(10 * time.Second))
	res, err := http.ReadResponse(bufio.NewReader(raw), nil)
	if err != nil && !errors.Is(err, io.EOF) {
		t.Log(err) // what was sent after the refusal may have swept its answer away
	} else if err == nil && res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("the answer is %d", res.StatusCode)
	}
}
