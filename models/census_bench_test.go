package models

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// BenchmarkCensus measures the administrator's list of a thousand rooms with a hundred messages each,
// for the first time, and again after one of them was written in; and a page of an audit log with
// 100,000 entries, with the filters that look at the most.
func BenchmarkCensus(b *testing.B) {
	o := options(b.TempDir())
	o.LimitScale = 1000
	s, err := Open(o)
	must(b, err)
	b.Cleanup(func() { must(b, s.Close()) })
	ada, _, err := enrolled(s, "ada", "Ada Lovelace")
	must(b, err)
	var rooms []ID
	for i := range 1000 {
		room, err := s.CreateRoom(ctx, By{User: ada}, fmt.Sprintf("Room %d", i))
		must(b, err)
		rooms = append(rooms, room)
	}
	must(b, s.lane.exclusive(ctx, func(c *change) error {
		for _, room := range rooms {
			m := Membership{Room: room, By: By{User: ada}}
			for range 100 {
				if _, err := c.post(m, "a line of a hundred characters, which is about what people write when they have something to say", ""); err != nil {
					return err
				}
			}
		}
		return nil
	}))
	must(b, s.act(ctx, func(t *act) error {
		for i := range 100_000 {
			if err := t.audit(Audit{Event: []string{"login.ok", "login.fail", "session.end"}[i%3], Actor: ada, Address: "192.0.2.7", Outcome: "done"}); err != nil {
				return err
			}
		}
		return nil
	}))
	list := func(b *testing.B) {
		if _, _, _, err := s.Census(context.Background(), ada, BySize, RoomsAfter{}); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("rooms/first", func(b *testing.B) {
		for b.Loop() {
			s.sizes.rooms = nil
			list(b)
		}
	})
	b.Run("rooms/again", func(b *testing.B) {
		m, err := s.Member(ctx, By{User: ada}, rooms[0].String())
		must(b, err)
		for b.Loop() {
			_, err := s.Post(ctx, m, "one more", "")
			must(b, err)
			list(b)
		}
	})
	for name, f := range map[string]AuditFilter{
		"all": {}, "kind": {Events: []string{"login."}}, "person": {Person: ada}, "rare": {Person: ada, Events: []string{"account."}, From: time.Now().Add(-time.Hour)},
	} {
		b.Run("audit/"+name, func(b *testing.B) {
			for b.Loop() {
				_, _, err := s.AuditPage(ctx, f, 0, 50)
				must(b, err)
			}
		})
	}
	b.Run("overview", func(b *testing.B) {
		for b.Loop() {
			_, err := s.Health(ctx)
			must(b, err)
			s.Days()
			s.Integrity()
		}
	})
}
