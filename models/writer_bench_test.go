package models_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/pquerna/otp/totp"

	"conclave/handlers"
	"conclave/models"
	"conclave/models/feed"
)

// BenchmarkDurablePosts measures messages that were on the disk when their requests were
// answered, over HTTPS, with so many people posting at once; and beside it what it would be if
// every message were a transaction with an fsync of its own.
func BenchmarkDurablePosts(b *testing.B) {
	for _, posters := range []int{1, 16, 64} {
		for _, lane := range []string{"onebyone", "shared"} {
			b.Run(fmt.Sprintf("posters=%d/lane=%s", posters, lane), func(b *testing.B) {
				h := openHouse(b, lane == "onebyone")
				const messages = 2000
				commits, err := h.store.Commits()
				if err != nil {
					b.Fatal(err)
				}
				var next atomic.Int64
				var wait sync.WaitGroup
				start := time.Now()
				for poster := range posters {
					client := h.newClient() // a connection for each, as browsers have
					wait.Go(func() {
						for n := next.Add(1); n <= int64(b.N*messages) && !b.Failed(); n = next.Add(1) {
							if err := h.post(client, poster, n); err != nil {
								b.Error(err)
							}
						}
						client.CloseIdleConnections()
					})
				}
				wait.Wait()
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(float64(b.N*messages)/time.Since(start).Seconds(), "posts/s")
				b.ReportMetric(float64(commits.Load())/float64(b.N*messages), "commits/post")
			})
		}
	}
}

// house is a real server with a room that a few people are in.
type house struct {
	store   *models.Store
	server  *httptest.Server
	room    string
	cookies []string
}

func openHouse(b *testing.B, oneByOne bool) *house {
	b.Helper()
	const scale = 10_000
	ctx, logger, hub := context.Background(), slog.New(slog.NewTextHandler(io.Discard, nil)), feed.New(feed.Options{})
	store, err := models.Open(models.Options{
		Dir: b.TempDir(), Hub: hub, Log: logger, LimitScale: scale, SessionIdle: time.Hour, SessionLifetime: time.Hour, LightHashes: true,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { store.Close() })
	if oneByOne {
		store.OneByOne()
	}
	h := &house{store: store}
	sessions := scs.New()
	sessions.Store, sessions.Codec, sessions.Lifetime = store.Sessions(), store.Sessions(), time.Hour
	var code string
	for i := range 8 {
		id := member(b, store, i)
		if i == 0 {
			room, err := store.CreateRoom(ctx, models.By{User: id}, "Engine room")
			if err != nil {
				b.Fatal(err)
			}
			h.room = room.String()
			m, err := store.Member(ctx, models.By{User: id}, h.room)
			if err != nil {
				b.Fatal(err)
			}
			view, err := store.View(ctx, m)
			if err != nil {
				b.Fatal(err)
			}
			code = view.Code
		} else if _, err := store.Join(ctx, models.By{User: id}, code); err != nil {
			b.Fatal(err)
		}
		visit, err := sessions.Load(ctx, "")
		if err != nil {
			b.Fatal(err)
		}
		sessions.Put(visit, models.SessionUser, id.String())
		sessions.Put(visit, models.SessionAuth, time.Now().UnixMilli())
		token, _, err := sessions.Commit(visit)
		if err != nil {
			b.Fatal(err)
		}
		h.cookies = append(h.cookies, "__Host-sid="+token)
	}
	h.server = httptest.NewUnstartedServer(nil)
	h.server.Config = handlers.NewServer(handlers.Options{
		Store: store, Hub: hub, Log: logger, Serves: func(string) bool { return true }, Registration: "open", SessionLifetime: time.Hour, LimitScale: scale,
	})
	h.server.EnableHTTP2 = true
	h.server.StartTLS()
	b.Cleanup(h.server.Close)
	return h
}

func member(b *testing.B, store *models.Store, i int) models.ID {
	b.Helper()
	ctx := context.Background()
	id, err := store.Register(ctx, models.Registration{
		Username: fmt.Sprintf("person%d", i), FullName: fmt.Sprintf("Person %d", i), Email: fmt.Sprintf("person%d@example.org", i), Password: "purple lantern over the harbour",
	})
	if err != nil {
		b.Fatal(err)
	}
	pending, err := store.Pending(ctx, id)
	if err != nil {
		b.Fatal(err)
	}
	code, err := totp.GenerateCode(pending.Secret, time.Now())
	if err != nil {
		b.Fatal(err)
	}
	if _, _, err := store.Confirm(ctx, models.By{}, id, code); err != nil {
		b.Fatal(err)
	}
	return id
}

func (h *house) newClient() *http.Client {
	transport := h.server.Client().Transport.(*http.Transport).Clone()
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

func (h *house) post(client *http.Client, poster int, n int64) error {
	body := url.Values{"body": {text200}, "client_id": {fmt.Sprintf("post-%d", n)}}.Encode()
	req, err := http.NewRequest(http.MethodPost, h.server.URL+"/rooms/"+h.room+"/messages", strings.NewReader(body))
	if err != nil {
		return err
	}
	for name, value := range map[string]string{
		"Content-Type": "application/x-www-form-urlencoded", "Origin": h.server.URL, "Cookie": h.cookies[poster%len(h.cookies)],
		"HX-Request": "true", "HX-Request-Type": "partial",
	} {
		req.Header.Set(name, value)
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusOK || res.ProtoMajor != 2 {
		return fmt.Errorf("a post: %s %s %v", res.Proto, res.Status, err)
	}
	return nil
}
