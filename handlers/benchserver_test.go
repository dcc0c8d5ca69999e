package handlers_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/pquerna/otp/totp"

	"conclave/certs"
	"conclave/handlers"
	"conclave/models"
	"conclave/models/feed"
)

// The servers of the benchmarks. Each runs in a process of its own, so that its processor time
// and its memory are measured apart from the load: the test binary starts itself again with a
// plan in the environment, the child answers with one line of JSON, and ends when its standard
// input does.
//
// "conclave" is the real server on a real store. "bare" is what net/http over TLS costs at
// least for the same bytes: no sessions, no store, no logic.

const (
	servedPlan  = "CONCLAVE_BENCH_SERVER"  // set in a child
	profilesDir = "CONCLAVE_BENCH_PROFILE" // a folder: profiles of the servers are wanted there
)

// plan says what a child is to serve.
type plan struct {
	Kind     string // "conclave" or "bare"
	Dir      string
	People   int // members of the room
	Sessions int // spread over them
	Messages int // in the room before anybody asks
	Rooms    int // besides it, as full, and nobody has looked into them since the start
}

// place is what the child says about itself.
type place struct {
	Address     string
	Certificate []byte
	Room        string
	Rooms       []string
	Cookies     []string // one for each session
	Fault       string
}

// child is a server process.
type child struct {
	place
	plan
	pid   int
	trust *tls.Config
	input io.WriteCloser
}

// startChild starts a server and returns when it answers.
func startChild(b *testing.B, p plan) *child {
	b.Helper()
	p.Dir = b.TempDir()
	order, err := json.Marshal(p)
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), servedPlan+"="+string(order))
	cmd.Stderr = os.Stderr
	input, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	c := &child{plan: p, pid: cmd.Process.Pid, input: input}
	b.Cleanup(func() {
		input.Close()
		cmd.Wait()
	})
	if err := json.NewDecoder(output).Decode(&c.place); err != nil {
		b.Fatal("the server says nothing: ", err)
	}
	if c.Fault != "" {
		b.Fatal("the server: ", c.Fault)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(c.Certificate)
	c.trust = &tls.Config{RootCAs: roots, ServerName: "localhost", NextProtos: []string{"h2"}}
	return c
}

// profile asks the child for a profile of what follows, if anybody wants one.
func (c *child) profile(b *testing.B) {
	if dir := os.Getenv(profilesDir); dir != "" {
		fmt.Fprintln(c.input, filepath.Join(dir, strings.NewReplacer("/", "-", "=", "-").Replace(b.Name())+"-"+c.Kind))
	}
}

// serveChild is what the child does.
func serveChild(order string) {
	answer := json.NewEncoder(os.Stdout)
	at, err := serve(order)
	if err != nil {
		at.Fault = err.Error()
	}
	answer.Encode(at)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		file, err := os.Create(lines.Text() + ".cpu")
		if err == nil {
			err = pprof.StartCPUProfile(file)
		}
		if err != nil {
			log.Fatal(err)
		}
		defer func() {
			pprof.StopCPUProfile()
			file.Close()
		}()
		if file, err := os.Create(lines.Text() + ".heap"); err == nil {
			defer file.Close()
			defer pprof.WriteHeapProfile(file)
			defer runtime.GC()
		}
	}
}

func serve(order string) (place, error) {
	var p plan
	if err := json.Unmarshal([]byte(order), &p); err != nil {
		return place{}, err
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return place{}, err
	}
	logger := slog.New(slog.NewTextHandler(null, nil)) // lines are made, as in earnest, and lead nowhere
	keeper, err := certs.Ensure(certs.Options{Dir: filepath.Join(p.Dir, "certs"), Log: logger})
	if err != nil {
		return place{}, err
	}
	at := place{Cookies: make([]string, p.Sessions)}
	server := bare()
	if p.Kind == "conclave" {
		debug.SetGCPercent(50) // as main does
		if server, err = furnish(p, &at, logger, keeper.Serves); err != nil {
			return at, err
		}
	}
	if at.Certificate, err = os.ReadFile(filepath.Join(p.Dir, "certs", "cert.pem")); err != nil {
		return at, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return at, err
	}
	at.Address = listener.Addr().String()
	server.TLSConfig = keeper.Config()
	server.ErrorLog = log.New(io.Discard, "", 0)
	go server.ServeTLS(listener, "", "")
	debug.FreeOSMemory() // what making the people took is no part of what a listener takes
	return at, nil
}

// benchScale lifts every limit out of the way.
const benchScale = 10_000

// furnish opens a store with a room, its members and their sessions, and puts the real server on it.
func furnish(p plan, at *place, logger *slog.Logger, serves func(string) bool) (*http.Server, error) {
	l := feed.DefaultLimits
	hub := feed.New(feed.Options{Limits: feed.Limits{
		PerSession: l.PerSession * benchScale, PerUser: l.PerUser * benchScale, PerAddress: l.PerAddress * benchScale, Total: l.Total * benchScale,
	}})
	dir := filepath.Join(p.Dir, "data")
	o := models.Options{
		Dir: dir, Hub: hub, Log: logger, LimitScale: benchScale, SessionIdle: time.Hour, SessionLifetime: time.Hour, LightHashes: true,
	}
	store, err := models.Open(o)
	if err != nil {
		return nil, err
	}
	members, err := populate(store, p)
	if err != nil {
		return nil, err
	}
	at.Room = members[0].Room.String()
	if at.Cookies, err = admit(store, dir, members, p.Sessions); err != nil {
		return nil, err
	}
	if err := converse(store, members, p.Messages); err != nil {
		return nil, err
	}
	for range p.Rooms {
		others, err := settle(store, members)
		if err == nil {
			err = converse(store, others, p.Messages)
		}
		if err != nil {
			return nil, err
		}
		at.Rooms = append(at.Rooms, others[0].Room.String())
	}
	if p.Rooms > 0 {
		if store, err = reopened(store, o); err != nil {
			return nil, err
		}
	}
	return handlers.NewServer(handlers.Options{
		Store: store, Hub: hub, Log: logger, Serves: serves, Registration: "open", SessionLifetime: time.Hour, LimitScale: benchScale,
	}), nil
}

// populate makes people who are members of one room.
func populate(store *models.Store, p plan) ([]models.Membership, error) {
	ctx := context.Background()
	var members []models.Membership
	var code, room string
	for i := range p.People {
		id, err := store.Register(ctx, models.Registration{
			Username: fmt.Sprintf("person%d", i), FullName: fmt.Sprintf("Person %d", i), Email: fmt.Sprintf("person%d@example.org", i), Password: password,
		})
		if err != nil {
			return nil, err
		}
		pending, err := store.Pending(ctx, id)
		if err != nil {
			return nil, err
		}
		otp, err := totp.GenerateCode(pending.Secret, time.Now())
		if err != nil {
			return nil, err
		}
		if _, _, err := store.Confirm(ctx, models.By{}, id, otp); err != nil {
			return nil, err
		}
		if i == 0 {
			made, err := store.CreateRoom(ctx, models.By{User: id}, "Engine room")
			if err != nil {
				return nil, err
			}
			room = made.String()
		} else if _, err := store.Join(ctx, models.By{User: id}, code); err != nil {
			return nil, err
		}
		m, err := store.Member(ctx, models.By{User: id}, room)
		if err != nil {
			return nil, err
		}
		members = append(members, m)
		if i == 0 {
			view, err := store.View(ctx, m)
			if err != nil {
				return nil, err
			}
			code = view.Code
		}
	}
	return members, nil
}

// settle makes another room for the same people.
func settle(store *models.Store, people []models.Membership) ([]models.Membership, error) {
	ctx := context.Background()
	room, err := store.CreateRoom(ctx, models.By{User: people[0].User}, "Another room")
	if err != nil {
		return nil, err
	}
	var members []models.Membership
	var code string
	for i, p := range people {
		if i > 0 {
			if _, err := store.Join(ctx, models.By{User: p.User}, code); err != nil {
				return nil, err
			}
		}
		m, err := store.Member(ctx, models.By{User: p.User}, room.String())
		if err != nil {
			return nil, err
		}
		if i == 0 {
			view, err := store.View(ctx, m)
			if err != nil {
				return nil, err
			}
			code = view.Code
		}
		members = append(members, m)
	}
	return members, nil
}

// reopened starts the store again, and returns when its walk through all rooms is over: when
// the process has nothing to do any more.
func reopened(store *models.Store, o models.Options) (*models.Store, error) {
	if err := store.Close(); err != nil {
		return nil, err
	}
	store, err := models.Open(o)
	for busy := true; busy; {
		before := processorTime(os.Getpid())
		time.Sleep(200 * time.Millisecond)
		busy = processorTime(os.Getpid())-before > 2*time.Millisecond
	}
	return store, err
}

// admit makes sessions as a login does. A user's eleventh would end the oldest, so until all are
// made the database passes over every attempt to end one.
func admit(store *models.Store, dir string, members []models.Membership, sessions int) ([]string, error) {
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(dir, "conclave.db")+"?_busy_timeout=5000")
	if err != nil {
		return nil, err
	}
	defer db.Close()
	if _, err := db.Exec("CREATE TRIGGER all_stay BEFORE UPDATE OF revoked_ms ON sessions BEGIN SELECT RAISE(IGNORE); END"); err != nil {
		return nil, err
	}
	manager := scs.New()
	manager.Store, manager.Codec, manager.Lifetime = store.Sessions(), store.Sessions(), time.Hour
	var cookies []string
	for i := range sessions {
		ctx, err := manager.Load(context.Background(), "")
		if err != nil {
			return nil, err
		}
		manager.Put(ctx, models.SessionUser, members[i%len(members)].User.String())
		manager.Put(ctx, models.SessionAuth, time.Now().UnixMilli())
		token, _, err := manager.Commit(ctx)
		if err != nil {
			return nil, err
		}
		cookies = append(cookies, "__Host-sid="+token)
	}
	_, err = db.Exec("DROP TRIGGER all_stay")
	return cookies, err
}

// converse posts messages of 200 bytes, many at a time.
func converse(store *models.Store, members []models.Membership, messages int) error {
	faults := make(chan error)
	for poster := range 64 {
		go func() {
			var err error
			for i := poster; i < messages && err == nil; i += 64 {
				_, err = store.Post(context.Background(), members[i%len(members)], markedText(i, time.Now()), "")
			}
			faults <- err
		}()
	}
	var err error
	for range 64 {
		if e := <-faults; e != nil {
			err = e
		}
	}
	return err
}

// bare is the least that a live server does: a goroutine and a channel for each stream, one
// write and one flush for each event. Whoever cannot keep up holds everybody up, so that
// nothing is lost.
func bare() *http.Server {
	var mu sync.Mutex
	var streams []chan []byte
	var last int
	body := bytes.Repeat([]byte("bare "), 1<<18)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /feed", func(w http.ResponseWriter, r *http.Request) {
		events := make(chan []byte, 64)
		mu.Lock()
		streams = append(streams, events)
		mu.Unlock()
		w.Header().Set("Content-Type", "text/event-stream")
		control := http.NewResponseController(w)
		control.Flush()
		for {
			select {
			case e := <-events:
				w.Write(e)
				control.Flush()
			case <-r.Context().Done():
				return
			}
		}
	})
	mux.HandleFunc("POST /messages", func(w http.ResponseWriter, r *http.Request) {
		said, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		last++
		e := fmt.Appendf(nil, "id: %d\n%s", last, said)
		for _, events := range streams {
			events <- e
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /page", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.FormValue("bytes"))
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write(body[:min(n, len(body))])
	})
	return &http.Server{Handler: mux}
}
