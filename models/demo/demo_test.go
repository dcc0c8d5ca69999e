package demo

import (
	"context"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"conclave/models"
	"conclave/models/feed"
)

// Whatever the hour and the zone, the week is told in order, within seven days and not ahead of the clock.
func TestTheWeekFitsWheneverItIsTold(t *testing.T) {
	tokyo, err := time.LoadLocation("Asia/Tokyo")
	if err != nil {
		t.Fatal(err)
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, now := range []time.Time{
		time.Date(2026, 11, 22, 11, 5, 0, 0, time.UTC),
		time.Date(2026, 11, 22, 0, 1, 0, 0, tokyo),
		time.Date(2026, 3, 29, 4, 0, 0, 0, berlin), // an hour was left out in this night
		time.Date(2027, 1, 2, 23, 59, 0, 0, berlin),
	} {
		events, err := story(now)
		if err != nil {
			t.Fatal(err)
		}
		if first := events[0].at; now.Sub(first) > 7*24*time.Hour || first.Hour() != 8 {
			t.Errorf("at %v it begins at %v", now, first)
		}
		if ago := now.Sub(events[len(events)-1].at); ago < time.Minute || ago > 6*time.Minute {
			t.Errorf("at %v it ended %v ago", now, ago)
		}
		files, err := rooms.ReadDir("rooms")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := rooms.ReadFile("rooms/" + file.Name())
			if err != nil {
				t.Fatal(err)
			}
			told, err := tell(file.Name(), string(text), now)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.IsSortedFunc(told, func(a, b event) int { return a.at.Compare(b.at) }) {
				t.Errorf("at %v, %s jumps back", now, file.Name())
			}
		}
	}
}

// The pictures of the README and whoever looks around should meet all that a room can show.
func TestTheWeekHasSomethingOfEverything(t *testing.T) {
	events, err := story(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	wants := map[string]func(event) bool{
		"a line break": func(e event) bool { return strings.Contains(e.text, "\n") },
		"Arabic": func(e event) bool {
			return strings.ContainsFunc(e.text, func(r rune) bool { return unicode.Is(unicode.Arabic, r) })
		},
		"an emoji":      func(e event) bool { return strings.ContainsFunc(e.text, func(r rune) bool { return r > 0x1F000 }) },
		"a link":        func(e event) bool { return strings.Contains(e.text, "https://example.org/") },
		"an edit":       func(e event) bool { return e.deed == "edit" },
		"a removal":     func(e event) bool { return e.deed == "remove" },
		"a departure":   func(e event) bool { return e.deed == "leave" },
		"a moderator":   func(e event) bool { return e.deed == "moderator" },
		"a late joiner": func(e event) bool { return e.deed == "join" && time.Since(e.at) < 4*24*time.Hour },
	}
	messages := 0
	for _, e := range events {
		for what, fits := range wants {
			if fits(e) {
				delete(wants, what)
			}
		}
		if e.deed == "" {
			messages++
		}
		if strings.ContainsAny(e.text, "{}") {
			t.Errorf("a word is missing in %q", e.text)
		}
		for _, address := range regexp.MustCompile(`\S+://\S+`).FindAllString(e.text, -1) {
			if !strings.HasPrefix(address, "https://example.org/") {
				t.Errorf("a link leads to somebody: %s", address)
			}
		}
	}
	for what := range wants {
		t.Error("there is no ", what)
	}
	if messages < 250 || messages > 500 {
		t.Errorf("there are %d messages", messages)
	}
}

func open(t *testing.T, dir string) *models.Store {
	t.Helper()
	store, err := models.Open(options(dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

func options(dir string) models.Options {
	return models.Options{
		Dir: dir, Hub: feed.New(feed.Options{}), Log: slog.New(slog.DiscardHandler), LightHashes: true,
		SessionIdle: 24 * time.Hour, SessionLifetime: 336 * time.Hour,
	}
}

func TestASeededFolderIsOneLikeAnyOther(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	begin := time.Now()
	people, err := Seed(ctx, options(dir), begin)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("seeded in %v", time.Since(begin))
	store := open(t, dir)
	report, err := store.Verify(ctx, func(done, all uint64) {})
	if err != nil || report.Rooms != 6 || len(report.Findings) > 0 {
		t.Errorf("it verifies as %+v, %v", report, err)
	}
	for i, p := range people {
		code, err := p.Code(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		arrival, err := store.Authenticate(ctx, models.By{}, models.SignIn{Username: p.Username, Password: p.Password, Code: code})
		if err != nil {
			t.Fatalf("%s cannot log in: %v", p.Username, err)
		}
		if u := arrival.User; u.ID != p.ID || u.FullName != p.FullName || u.Admin != (i == 0) {
			t.Errorf("%s is %+v", p.Username, u)
		}
	}
	for _, p := range people[:2] {
		cards, err := store.Rooms(ctx, p.ID)
		if err != nil || len(cards) != 6 {
			t.Fatalf("%s sees the rooms %v, %v", p.Username, cards, err)
		}
		news, read := 0, 0
		for _, c := range cards {
			if c.Unread > 0 {
				news++
			} else {
				read++
			}
			if c.Broken || begin.Sub(c.Last) < 0 || begin.Sub(c.Last) > 3*time.Hour {
				t.Errorf("the last of %s was at %v", c.Name, c.Last)
			}
		}
		if news == 0 || read == 0 {
			t.Errorf("%s has %d rooms with news and %d without", p.Username, news, read)
		}
	}
}

// A demo that was kept must not be a server whose passwords stand in a public repository.
func TestNoTwoSeedsHaveASecretInCommon(t *testing.T) {
	ctx := context.Background()
	seen := map[string]bool{}
	for range 2 {
		people, err := Seed(ctx, options(t.TempDir()), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range people {
			for _, secret := range []string{p.Password, p.Secret} {
				if seen[secret] || len(secret) < 19 {
					t.Errorf("%s has %q, like somebody else or too short", p.Username, secret)
				}
				seen[secret] = true
			}
		}
	}
}

func TestAnInterruptEndsTheSeeding(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if people, err := Seed(ctx, options(t.TempDir()), time.Now()); err == nil || people != nil {
		t.Errorf("it goes on: %v", people)
	}
}
