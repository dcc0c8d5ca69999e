package models

import (
	"sync"
	"time"
)

// tally counts what happens, by the day (UTC). It costs no query: what happened before the start is
// counted by the walks that prove the logs anyway, what happens since as it is committed.
type tally struct {
	mu      sync.Mutex
	opened  int64 // unix milliseconds: entries of rooms from before are counted by the walk
	posts   map[int64]int
	logins  map[int64]int
	refused map[int64]int
}

const (
	tallyDays = 30
	dayMS     = int64(24 * time.Hour / time.Millisecond)
)

// Day is what happened on one day.
type Day struct {
	Start   time.Time // midnight UTC
	Posts   int
	Logins  int
	Refused int // sign-ins
}

// Days returns the last thirty days, today as the last. counted is false until all that happened
// before the start of the server has been counted.
func (s *Store) Days() (days []Day, counted bool) {
	state := s.integrity.state()
	t, today := &s.tally, s.now()/dayMS
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, counts := range []map[int64]int{t.posts, t.logins, t.refused} {
		for day := range counts {
			if day <= today-tallyDays {
				delete(counts, day)
			}
		}
	}
	for day := today - tallyDays + 1; day <= today; day++ {
		days = append(days, Day{time.UnixMilli(day * dayMS).UTC(), t.posts[day], t.logins[day], t.refused[day]})
	}
	return days, state.Finished && state.Audit.Checked
}

// refusal reports whether an event is a sign-in that was refused.
func refusal(event string) bool { return event == "login.fail" || event == "login.code" }

// entries counts what was committed to the logs of rooms.
func (t *tally) entries(entries []*Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range entries {
		if e.Op == OpPost {
			t.posts[e.Time/dayMS]++
		}
	}
}

// walked counts the posts of a room from before the start.
func (t *tally) walked(posts map[int64]int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for day, count := range posts {
		t.posts[day] += count
	}
}

// event counts an event of the audit log.
func (t *tally) event(e Audit, at int64) {
	if e.Event != eventSignIn && !refusal(e.Event) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if e.Event == eventSignIn {
		t.logins[at/dayMS]++
	} else {
		t.refused[at/dayMS]++
	}
}
