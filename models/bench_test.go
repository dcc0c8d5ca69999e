package models_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"conclave/models"
	"conclave/models/feed"
)

// furnished opens a store with one user in one room, without limits.
func furnished(b *testing.B) (*models.Store, models.Membership) {
	b.Helper()
	ctx := context.Background()
	s, err := models.Open(models.Options{
		Dir: b.TempDir(), Hub: feed.New(feed.Options{}), Log: slog.New(slog.DiscardHandler), LimitScale: 1,
		SessionIdle: time.Hour, SessionLifetime: time.Hour,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	id, err := s.Register(ctx, models.Registration{Username: "ada", FullName: "Ada Lovelace", Email: "ada@example.org", Password: "purple lantern over the harbour"})
	if err != nil {
		b.Fatal(err)
	}
	pending, err := s.Pending(ctx, id)
	if err != nil {
		b.Fatal(err)
	}
	code, err := totp.GenerateCode(pending.Secret, time.Now())
	if err != nil {
		b.Fatal(err)
	}
	if _, _, err := s.Confirm(ctx, models.By{}, id, code); err != nil {
		b.Fatal(err)
	}
	room, err := s.CreateRoom(ctx, models.By{User: id}, "Engine room")
	if err != nil {
		b.Fatal(err)
	}
	m, err := s.Member(ctx, models.By{User: id}, room.String())
	if err != nil {
		b.Fatal(err)
	}
	return s, m
}

const text200 = "Two hundred bytes are about what people write at a time: a sentence or two, now and then a third one that explains what the first meant, and a question at the end, because somebody ought to answer it?"

// BenchmarkPost measures durable posts with so many people posting at once.
func BenchmarkPost(b *testing.B) {
	for _, posters := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("posters=%d", posters), func(b *testing.B) {
			s, m := furnished(b)
			var left atomic.Int64
			left.Store(int64(b.N))
			done := make(chan error)
			b.ResetTimer()
			for range posters {
				go func() {
					for left.Add(-1) >= 0 {
						if _, err := s.Post(context.Background(), m, text200, ""); err != nil {
							done <- err
							return
						}
					}
					done <- nil
				}()
			}
			for range posters {
				if err := <-done; err != nil {
					b.Error(err)
				}
			}
		})
	}
}

// BenchmarkView measures reading, verifying and opening the newest page of a room: for the first
// time (cold), again after something else was written (busy), and again (quiet). A room with
// 250,000 messages takes a minute to fill and has to be asked for by its number.
func BenchmarkView(b *testing.B) {
	for _, messages := range []int{50, 5000, 250_000} {
		if messages > 5000 && !strings.Contains(flag.Lookup("test.bench").Value.String(), fmt.Sprint(messages)) {
			continue
		}
		b.Run(fmt.Sprintf("messages=%d", messages), func(b *testing.B) {
			s, m := furnished(b)
			filled(b, s, m, messages)
			other, err := s.CreateRoom(context.Background(), models.By{User: m.User}, "Elsewhere")
			if err != nil {
				b.Fatal(err)
			}
			elsewhere, err := s.Member(context.Background(), models.By{User: m.User}, other.String())
			if err != nil {
				b.Fatal(err)
			}
			for _, way := range []struct {
				name   string
				before func()
			}{
				{"cold", s.Forget},
				{"busy", func() { filled(b, s, elsewhere, 1) }},
				{"quiet", func() {}},
			} {
				b.Run(way.name, func(b *testing.B) {
					for b.Loop() {
						b.StopTimer()
						way.before()
						b.StartTimer()
						if _, err := s.View(context.Background(), m); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		})
	}
}

// filled posts so many messages.
func filled(b *testing.B, s *models.Store, m models.Membership, messages int) {
	b.Helper()
	done := make(chan error)
	const posters = 64
	for poster := range posters {
		go func() {
			var err error
			for i := poster; i < messages && err == nil; i += posters {
				_, err = s.Post(context.Background(), m, text200, "")
			}
			done <- err
		}()
	}
	for range posters {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
}
