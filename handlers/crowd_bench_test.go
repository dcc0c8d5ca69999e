//go:build linux

package handlers_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"conclave/models"
	"conclave/models/feed"
)

// What many listeners do to a server that is the very program that ships:
//
//	go test ./handlers -run xxx -bench 'FeedRestart|FeedStalled' -benchtime 1x -timeout 10m

// program is a Conclave that can be stopped and started again.
type program struct {
	b      *testing.B
	binary string
	dir    string
	cmd    *exec.Cmd
	child  // what the load generator knows of it
}

// guest is somebody who can log in.
type guest struct{ username, secret string }

// install builds the program and a data folder with a room, its members, their sessions, and
// guests whose passwords are hashed as in earnest.
func install(b *testing.B, sessions, guests int) (*program, []guest) {
	b.Helper()
	p := &program{b: b, dir: b.TempDir()}
	p.binary = filepath.Join(p.dir, "conclave")
	if out, err := exec.Command("go", "build", "-o", p.binary, "conclave").CombinedOutput(); err != nil {
		b.Fatalf("go build: %v\n%s", err, out)
	}
	hub := feed.New(feed.Options{})
	data := filepath.Join(p.dir, "data")
	open := func(light bool) *models.Store {
		store, err := models.Open(models.Options{
			Dir: data, Hub: hub, Log: slog.New(slog.DiscardHandler), LimitScale: benchScale, SessionIdle: time.Hour, SessionLifetime: time.Hour, LightHashes: light,
		})
		if err != nil {
			b.Fatal(err)
		}
		return store
	}
	store := open(true)
	members, err := populate(store, plan{People: people})
	if err == nil {
		p.Room, p.Kind = members[0].Room.String(), "conclave"
		p.Cookies, err = admit(store, data, members, sessions)
	}
	if err = errors.Join(err, store.Close()); err != nil {
		b.Fatal(err)
	}
	store = open(false)
	defer store.Close()
	var all []guest
	for i := range guests {
		g := guest{username: fmt.Sprintf("guest%d", i)}
		id, err := store.Register(context.Background(), models.Registration{Username: g.username, FullName: g.username, Email: g.username + "@example.org", Password: password})
		if err != nil {
			b.Fatal(err)
		}
		pending, err := store.Pending(context.Background(), id)
		if err != nil {
			b.Fatal(err)
		}
		g.secret = pending.Secret
		if _, _, err := store.Confirm(context.Background(), models.By{}, id, g.code(b, 0)); err != nil {
			b.Fatal(err)
		}
		all = append(all, g)
	}
	return p, all
}

func (g guest) code(b *testing.B, ahead time.Duration) string {
	code, err := totp.GenerateCode(g.secret, time.Now().Add(ahead))
	if err != nil {
		b.Fatal(err)
	}
	return code
}

var readyAt = regexp.MustCompile(`https://(127\.0\.0\.1:\d+)`)

// start runs the program, on the same port as before, and returns when it is ready.
func (p *program) start() {
	p.b.Helper()
	address := p.Address
	if address == "" {
		address = "127.0.0.1:0"
	}
	p.cmd = exec.Command(p.binary, "--addr", address, "--data", "data", "--certs", "certs", "--limit-scale", "100", "--log", "json")
	p.cmd.Dir = p.dir
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		p.b.Fatal(err)
	}
	cmd := p.cmd
	p.b.Cleanup(func() { cmd.Process.Kill() })
	lines := bufio.NewScanner(out)
	for lines.Scan() && !readyAt.MatchString(lines.Text()) {
	}
	found := readyAt.FindStringSubmatch(lines.Text())
	if found == nil {
		p.b.Fatal("the program does not start")
	}
	go io.Copy(io.Discard, out)
	p.Address, p.pid = found[1], p.cmd.Process.Pid
	pem, err := os.ReadFile(filepath.Join(p.dir, "certs", "cert.pem"))
	if err != nil {
		p.b.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	p.trust = &tls.Config{RootCAs: roots, ServerName: "localhost", NextProtos: []string{"h2"}}
}

// stop ends the program as an operator does and returns how long that takes.
func (p *program) stop() time.Duration {
	p.b.Helper()
	start := time.Now()
	p.cmd.Process.Signal(syscall.SIGTERM)
	if err := p.cmd.Wait(); err != nil {
		p.b.Error("the program ends with ", err)
	}
	return time.Since(start)
}

func (p *program) feed() string {
	p.b.Helper()
	page, err := getPage(newPoster(&p.child), &p.child, "/rooms/"+p.Room, p.Cookies[0])
	found := afterInPage.FindSubmatch(page)
	if err != nil || found == nil {
		p.b.Fatalf("the page of the room: %v", err)
	}
	return fmt.Sprintf("/rooms/%s/feed?after=%s&log=%s", p.Room, found[1], found[2])
}

func (p *program) post(poster *http.Client, text string) {
	p.b.Helper()
	body := url.Values{"body": {text}}.Encode()
	req, err := http.NewRequest(http.MethodPost, "https://"+p.Address+"/rooms/"+p.Room+"/messages", strings.NewReader(body))
	if err != nil {
		p.b.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", "https://"+p.Address)
	req.Header.Set("Cookie", p.Cookies[0])
	for i := 0; i < len(htmx); i += 2 {
		req.Header.Set(htmx[i], htmx[i+1])
	}
	if _, err := answered(poster.Do(req)); err != nil {
		p.b.Fatal("a post: ", err)
	}
}

// logins lets the guests log in, one every 400 milliseconds, each with a connection of its own,
// and returns how long each took, in order.
func (p *program) logins(guests []guest) []time.Duration {
	took := make([]time.Duration, len(guests))
	var wait sync.WaitGroup
	for i, g := range guests {
		wait.Go(func() {
			client := newPoster(&p.child)
			defer client.CloseIdleConnections()
			body := url.Values{"username": {g.username}, "password": {password}, "code": {g.code(p.b, 30*time.Second)}}.Encode()
			req, err := http.NewRequest(http.MethodPost, "https://"+p.Address+"/login", strings.NewReader(body))
			if err != nil {
				p.b.Error(err)
				return
			}
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			req.Header.Set("Origin", "https://"+p.Address)
			start := time.Now()
			res, err := client.Do(req)
			if err != nil {
				p.b.Error("a login: ", err)
				return
			}
			res.Body.Close()
			took[i] = time.Since(start)
			if res.StatusCode != http.StatusSeeOther {
				p.b.Errorf("a login: %s", res.Status)
			}
		})
		time.Sleep(400 * time.Millisecond)
	}
	wait.Wait()
	slices.Sort(took)
	return took
}

// BenchmarkFeedRestart restarts a server to which many listen, while they talk.
func BenchmarkFeedRestart(b *testing.B) {
	const listeners, logins, each = 2000, 20, 5
	b.Run(fmt.Sprintf("listeners=%d", listeners), func(b *testing.B) {
		for range b.N {
			p, guests := install(b, 1+listeners, 2*logins)
			p.start()
			quiet := p.logins(guests[:logins])
			v := &crowd{trust: p.trust, path: p.feed(), rush: true}
			v.enter(b, listeners, p.Address, func(i int) string { return p.Cookies[1+i] })
			time.Sleep(3 * time.Second) // all have been told who is here
			posted := 0
			say := func() {
				poster := newPoster(&p.child)
				defer poster.CloseIdleConnections()
				for range each {
					p.post(poster, markedText(posted, time.Now()))
					posted++
				}
			}
			say() // on its way when the server is told to stop
			start := time.Now()
			shutdown := p.stop()
			p.start()
			ready := time.Since(start)
			m := startMeter(p.pid)
			var busy []time.Duration
			var strangers sync.WaitGroup
			strangers.Go(func() { busy = p.logins(guests[logins:]) })
			say()
			until(b, "all are back and caught up", time.Minute, func() bool { return v.heard(posted) == listeners })
			back := time.Since(start)
			u := m.stop()
			strangers.Wait()
			say()
			until(b, "all hear what is said now", time.Minute, func() bool { return v.heard(posted) == listeners })
			all := v.sum(b, posted)
			if back >= 10*time.Second || shutdown >= time.Second || all.refreshes > 0 {
				b.Errorf("all are back after %v (the server itself after %v); the shutdown took %v; %d refreshes; %v of processor time; logins %v, and %v while all come back",
					back, ready, shutdown, all.refreshes, u.cpu, quiet, busy)
			}
			v.leave()
			p.stop()
			b.ReportMetric(0, "ns/op") // says nothing here
			b.ReportMetric(shutdown.Seconds(), "s-shutdown")
			b.ReportMetric(ready.Seconds(), "s-ready")
			b.ReportMetric(back.Seconds(), "s-all-back")
			b.ReportMetric(u.cpu.Seconds(), "s-cpu")
			for name, took := range map[string][]time.Duration{"quiet": quiet, "stampede": busy} {
				b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "ms-login-p50-"+name)
				b.ReportMetric(float64(took[len(took)-1].Milliseconds()), "ms-login-max-"+name)
			}
		}
	})
}

// sockets counts the open ones of a process.
func sockets(pid int) (n int) {
	folder := fmt.Sprintf("/proc/%d/fd", pid)
	files, _ := os.ReadDir(folder)
	for _, f := range files {
		if to, _ := os.Readlink(filepath.Join(folder, f.Name())); strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}

// BenchmarkFeedStalled is a room in which most do not read.
func BenchmarkFeedStalled(b *testing.B) {
	const readers, deafOnes = 50, 200
	for range b.N {
		p, _ := install(b, 1+readers+deafOnes, 0)
		p.start()
		v := &crowd{trust: p.trust, path: p.feed()}
		v.enter(b, readers, p.Address, func(i int) string { return p.Cookies[1+i] })
		posted, poster := 1, newPoster(&p.child)
		p.post(poster, markedText(0, time.Now()))
		time.Sleep(3 * time.Second)
		path, usual := p.feed(), sockets(p.pid)
		var conns []net.Conn
		for i := range deafOnes {
			conn, err := deaf(p.trust, p.Address, path, p.Cookies[1+readers+i], "", []string{"h2", "http/1.1"}[i%2])
			if err != nil {
				b.Fatal(err)
			}
			conns = append(conns, conn)
		}
		before := resident(p.pid)
		m, start := startMeter(p.pid), time.Now()
		var cut time.Duration
		most := 0
		for i := range 300 { // 20 a second, the first ones and one in ten of the largest
			if i < 10 || i%10 == 0 {
				p.post(poster, maximalText(posted))
			} else {
				p.post(poster, markedText(posted, time.Now()))
			}
			posted++
			most = max(most, resident(p.pid))
			if cut == 0 && sockets(p.pid) <= usual {
				cut = time.Since(start)
			}
			time.Sleep(time.Until(start.Add(time.Duration(i+1) * 50 * time.Millisecond)))
		}
		until(b, "everybody has heard everything", time.Minute, func() bool { return v.heard(posted) == readers })
		u := m.stop()
		all := v.sum(b, posted)
		if cut == 0 || all.latency.at(0.99) > time.Second {
			b.Errorf("after %v %d of %d sockets are open; p99 %v", time.Since(start), sockets(p.pid), usual, all.latency.at(0.99))
		}
		for _, c := range conns {
			c.Close()
		}
		v.leave()
		p.stop()
		b.ReportMetric(0, "ns/op") // says nothing here
		b.ReportMetric(cut.Seconds(), "s-all-cut")
		b.ReportMetric(u.cpu.Seconds(), "s-cpu")
		b.ReportMetric(float64(most-before)/(1<<20), "MiB-more")
		for name, d := range map[string]time.Duration{"p50-ms": all.latency.at(0.5), "p99-ms": all.latency.at(0.99), "max-ms": all.latency.max} {
			b.ReportMetric(float64(d.Microseconds())/1000, name)
		}
	}
}
