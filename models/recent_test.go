package models

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// recently are the names of a person's rooms as they stand beside a room.
func (m *meeting) recently(user ID) (names []string, more bool) {
	m.t.Helper()
	r, err := m.Recent(m.t.Context(), user)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, room := range r.Rooms {
		names = append(names, room.Name)
	}
	return names, r.More
}

func TestRoomsAreListedByWhatHappenedLast(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	later := func() { m.ahead.Add(int64(time.Second)) }
	want := func(user ID, names ...string) {
		t.Helper()
		for range 2 { // read, and kept
			if got, more := m.recently(user); !slices.Equal(got, names) || more {
				t.Errorf("the list is %q, %t; want %q", got, more, names)
			}
		}
	}
	later()
	library := m.create(m.ada, "Library")
	want(m.ada, "Library", "Engine room")
	later()
	m.say(m.grace, m.room, "Steam is up")
	want(m.ada, "Engine room", "Library")
	want(m.grace, "Engine room")
	later()
	m.join(m.grace, library)
	want(m.grace, "Library", "Engine room")
	must(t, m.Leave(t.Context(), m.member(m.grace, m.room)))
	want(m.grace, "Library")
	must(t, m.Destroy(t.Context(), m.member(m.ada, library)))
	want(m.grace)
	want(m.ada, "Engine room")
	want(m.user("eve", "Eve Moneypenny"))
}

func TestALongListOfRoomsEnds(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	for i := range recentMost {
		m.ahead.Add(int64(time.Second))
		m.create(m.ada, fmt.Sprint("Room ", i))
	}
	names, more := m.recently(m.ada)
	if len(names) != recentMost || !more || names[0] != fmt.Sprint("Room ", recentMost-1) || slices.Contains(names, "Engine room") {
		t.Errorf("%d rooms, %t: %q", len(names), more, names)
	}
}

func TestANameIsNotKeptForSomebodyWhoIsGone(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(m *meeting) error{
		"left":      func(m *meeting) error { return m.Leave(m.t.Context(), m.member(m.grace, m.room)) },
		"expelled":  func(m *meeting) error { return m.Expel(m.t.Context(), m.member(m.ada, m.room), m.grace) },
		"destroyed": func(m *meeting) error { return m.Destroy(m.t.Context(), m.member(m.ada, m.room)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := openMeeting(t)
			elsewhere := m.create(m.grace, "Library")
			kept := func() bool { // nothing is kept of what was read while something else was written
				m.recently(m.grace)
				_, err := m.View(t.Context(), m.member(m.grace, elsewhere)) // a page that has the list beside it
				must(t, err)
				d, ok := m.shelves.recent.get(m.grace)
				return ok && len(d.value.Rooms) == 2
			}
			for tries := 0; !kept(); tries++ {
				if tries == 20 {
					t.Fatal("nothing is kept of a list that was read")
				}
			}
			must(t, end(m))
			if _, ok := m.shelves.recent.get(m.grace); ok {
				t.Error("it is still kept")
			}
			if _, ok := m.shelves.views.get(reader{elsewhere, m.grace}); ok {
				t.Error("a page with the list beside it is still kept")
			}
		})
	}
}

// The list stands in every page of a room: it costs a few looks into indices for each room.
func TestTheListOfRoomsNeverScans(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	rows, err := m.readPool().QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+recentRooms, m.ada, 5)
	must(t, err)
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var detail string
		must(t, rows.Scan(&id, &parent, &unused, &detail))
		if detail != "USE TEMP B-TREE FOR ORDER BY" && (!strings.HasPrefix(detail, "SEARCH ") || !strings.Contains(detail, " INDEX ")) {
			t.Error(detail)
		}
	}
	must(t, rows.Err())
}

// BenchmarkRecent measures that list after something was written, which is when it is read anew.
func BenchmarkRecent(b *testing.B) {
	for _, rooms := range []int{10, 100} {
		b.Run(fmt.Sprint("rooms=", rooms), func(b *testing.B) {
			o := options(b.TempDir())
			o.LimitScale = 1000
			s, err := Open(o)
			must(b, err)
			b.Cleanup(func() { must(b, s.Close()) })
			ada, _, err := enrolled(s, "ada", "Ada Lovelace")
			must(b, err)
			var room ID
			for i := range rooms {
				room, err = s.CreateRoom(ctx, By{User: ada}, fmt.Sprintf("Room %d", i))
				must(b, err)
			}
			m, err := s.Member(ctx, By{User: ada}, room.String())
			must(b, err)
			for b.Loop() {
				b.StopTimer()
				_, err := s.Post(ctx, m, "one more", "")
				must(b, err)
				b.StartTimer()
				_, err = s.Recent(ctx, ada)
				must(b, err)
			}
		})
	}
}
