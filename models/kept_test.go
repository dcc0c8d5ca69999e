package models

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"gorm.io/gorm"
)

// plan returns the steps by which SQLite answers a query.
func plan(t testing.TB, s *Store, query string) (steps []string) {
	t.Helper()
	rows, err := s.readPool().Query("EXPLAIN QUERY PLAN "+query, make([]any, strings.Count(query, "?"))...)
	must(t, err)
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var step string
		must(t, rows.Scan(&id, &parent, &unused, &step))
		steps = append(steps, step)
	}
	must(t, rows.Err())
	return steps
}

// A room with 250,000 messages answers like one with fifty: no statement of its page looks at
// more rows than the page has.
func TestEveryStatementOfARoomsPageUsesAnIndex(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(t)
	rooms, err := s.roomIDs(ctx)
	must(t, err)
	eventually(t, "the last that is read after a start", func() bool {
		s.sizes.mu.Lock()
		defer s.sizes.mu.Unlock()
		return len(s.sizes.rooms) == len(rooms)
	})
	for range readers { // what was prepared at the start is no part of the page
		h := <-s.readers
		must(t, h.close())
		s.readers <- h
	}
	ada := w.member(t, s, w.ada, w.engine)
	_, err = s.View(ctx, ada)
	must(t, err)
	_, err = s.Older(ctx, ada, w.later)
	must(t, err)
	_, err = s.Message(ctx, ada, w.kettle)
	must(t, err)
	queries := map[string]bool{
		s.read.ToSQL(func(tx *gorm.DB) *gorm.DB {
			return tx.Take(&sessionRow{}, "token_hash = ? AND revoked_ms IS NULL", []byte("hash"))
		}): true,
		s.read.ToSQL(func(tx *gorm.DB) *gorm.DB {
			return tx.Take(&userRow{}, "id = ? AND disabled_ms IS NULL", w.ada)
		}): true,
	}
	for range readers {
		h := <-s.readers
		for query := range h.prepared {
			queries[query] = true
		}
		s.readers <- h
	}
	found := 0
	for query := range queries {
		if query == "BEGIN" || query == "COMMIT" {
			continue
		}
		found++
		for _, step := range plan(t, s, query) {
			searched := strings.HasPrefix(step, "SEARCH ") && (strings.Contains(step, " USING INDEX ") || strings.Contains(step, " USING COVERING INDEX "))
			if !searched && !strings.HasPrefix(step, "LIST SUBQUERY") && !strings.HasPrefix(step, "CORRELATED SCALAR SUBQUERY") {
				t.Errorf("%s: %s", step, strings.Join(strings.Fields(query), " "))
			}
		}
	}
	if found < 9 {
		t.Errorf("only %d statements were looked at", found)
	}
}

// What is kept is as good as what was read a moment ago: a change that another program makes
// behind the server's back is seen at the next look, as if nothing were kept.
func TestWhatAnotherProgramCommitsIsSeenAtTheNextLook(t *testing.T) {
	t.Parallel()
	line := func(v View, n uint64) Line {
		return v.Page.Lines[slices.IndexFunc(v.Page.Lines, func(l Line) bool { return l.N == n })]
	}
	for name, statement := range map[string]string{
		"the text":          "UPDATE messages SET envelope = (SELECT envelope FROM messages WHERE room_id = $engine AND n = $spare) WHERE room_id = $engine AND n = $kettle",
		"a bit of the log":  "UPDATE room_log SET time_ms = time_ms + 1 WHERE room_id = $engine AND n = $kettle",
		"the number before": "UPDATE room_log SET mac = zeroblob(32) WHERE room_id = $engine AND n = $kettle - 1",
		"beside the text":   "UPDATE messages SET revision = 1 WHERE room_id = $engine AND n = $kettle",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s := w.start(t)
			ada := w.member(t, s, w.ada, w.engine)
			for range 3 {
				v, err := s.View(ctx, ada)
				must(t, err)
				if l := line(v, w.kettle); l.Damaged || l.Body != "the kettle is on" {
					t.Fatalf("before: %+v", l)
				}
			}
			w.tamper(t, statement)
			v, err := s.View(ctx, ada)
			must(t, err)
			if l := line(v, w.kettle); !l.Damaged || l.Body != "" || !v.Harmed {
				t.Errorf("after: %+v, harmed %v", l, v.Harmed)
			}
			if l := line(v, w.later); l.Damaged {
				t.Errorf("another line: %+v", l)
			}
		})
	}
	t.Run("a session and a user", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		s := w.start(t)
		sessions := s.Sessions()
		data, err := sessions.Encode(s.o.Now().Add(time.Hour), map[string]any{SessionUser: w.ada.String(), SessionAuth: s.now()})
		must(t, err)
		must(t, sessions.Commit("token", data, time.Time{}))
		there := func() (session, user bool) {
			_, session, err := sessions.Find("token")
			must(t, err)
			_, err = s.User(ctx, w.ada)
			return session, err == nil
		}
		for range 3 {
			if session, user := there(); !session || !user {
				t.Fatalf("before: session %v, user %v", session, user)
			}
		}
		w.tamper(t, fmt.Sprintf("UPDATE users SET disabled_ms = %d WHERE id = $ada", s.now()))
		if session, user := there(); !session || user {
			t.Errorf("disabled: session %v, user %v", session, user)
		}
		w.tamper(t, "UPDATE sessions SET revoked_ms = 1")
		if session, _ := there(); session {
			t.Error("a revoked session is still one")
		}
	})
}

// keeps reports whether anything that is kept contains the text.
func (s *Store) keeps(text string) bool {
	for _, k := range s.shelves.lines.items.Values() {
		if strings.Contains(k.line.Body, text) || strings.Contains(shown(k.rendering), text) {
			return true
		}
	}
	for _, d := range s.shelves.views.items.Values() {
		if strings.Contains(shown(d.value.Rendering), text) || slices.ContainsFunc(d.value.Page.Lines, func(l Line) bool { return strings.Contains(l.Body, text) }) {
			return true
		}
	}
	return false
}

func shown(r *Rendering) string {
	if m := r.made.Load(); m != nil {
		return fmt.Sprint(m.what)
	}
	return ""
}

// Text that has ended does not lie in memory for any longer either.
func TestNothingIsKeptOfTextThatIsGone(t *testing.T) {
	t.Parallel()
	const words = "words that somebody regrets"
	for name, end := range map[string]func(s *Store, ada Membership, n uint64) error{
		"edited":    func(s *Store, ada Membership, n uint64) error { return s.Edit(ctx, ada, n, "better words") },
		"removed":   func(s *Store, ada Membership, n uint64) error { return s.Remove(ctx, ada, n) },
		"left":      func(s *Store, ada Membership, _ uint64) error { return s.Leave(ctx, ada) },
		"destroyed": func(s *Store, ada Membership, _ uint64) error { return s.Destroy(ctx, ada) },
		"expelled":  func(s *Store, ada Membership, _ uint64) error { return expelFirst(s, ada, s.Expel) },
		"banned":    func(s *Store, ada Membership, _ uint64) error { return expelFirst(s, ada, s.Ban) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s := w.start(t)
			ada, grace := w.member(t, s, w.ada, w.engine), w.member(t, s, w.grace, w.engine)
			n, err := s.Post(ctx, ada, words, "")
			must(t, err)
			for _, m := range []Membership{ada, grace, ada, grace} {
				v, err := s.View(ctx, m)
				must(t, err)
				for i, l := range v.Page.Lines {
					_, err := Rendered(v.Page.Renderings[i], "", func() (string, error) { return l.Body, nil })
					must(t, err)
				}
				_, err = Rendered(v.Rendering, "", func() (string, error) { return words, nil })
				must(t, err)
			}
			if !s.keeps(words) {
				t.Fatal("nothing is kept of a page that was read twice")
			}
			must(t, end(s, ada, n))
			if s.keeps(words) {
				t.Error("the text is still kept")
			}
		})
	}
}

// expelFirst does it to the first other member of the room.
func expelFirst(s *Store, m Membership, do func(context.Context, Membership, ID) error) error {
	people, err := s.Members(ctx, m)
	if err != nil {
		return err
	}
	return do(ctx, m, people[slices.IndexFunc(people, func(p Person) bool { return p.ID != m.User })].ID)
}

// A reader who began before a change must not put back what the change has dropped.
func TestWhatWasForgottenIsNotPutBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(t)
	ada := w.member(t, s, w.ada, w.engine)
	began := s.proofs.now()
	must(t, s.Edit(ctx, ada, w.kettle, "the kettle is off"))
	at := place{w.engine, w.kettle}
	s.keep(at, &keptLine{line: Line{Body: "the kettle is on"}, rendering: &Rendering{}}, began)
	if _, ok := s.shelves.lines.get(at); ok {
		t.Error("an old line was put back")
	}
	_, err := recall(ctx, s, s.shelves.views, reader{w.engine, w.ada}, func() (View, error) {
		must(t, s.Edit(ctx, ada, w.kettle, "the kettle is on again"))
		return View{Rendering: &Rendering{}}, nil
	})
	must(t, err)
	if _, ok := s.shelves.views.get(reader{w.engine, w.ada}); ok {
		t.Error("an old view was put back")
	}
}

func TestAShelfHoldsWhatWasUsedLastUpToItsSize(t *testing.T) {
	t.Parallel()
	f := newShelf[int](100, func(v int) int { return v })
	for i := range 10 {
		f.put(i, 20)
		f.get(0)
	}
	if got := f.items.Keys(); !slices.Equal(got, []int{6, 7, 8, 9, 0}) {
		t.Errorf("it holds %v", got)
	}
	f.put(9, 90) // in place of the other, and of all that does not fit beside it
	if got := f.items.Keys(); !slices.Equal(got, []int{9}) || f.room != 10 {
		t.Errorf("it holds %v and has room for %d", got, f.room)
	}
	f.put(1, math.MaxInt32)
	if f.items.Len() != 0 || f.room != 100 {
		t.Errorf("it holds %v and has room for %d", f.items.Keys(), f.room)
	}
}
