package handlers_test

import (
	"database/sql"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// intruder opens the database of a running server as somebody without its keys.
func (o *office) intruder() *sql.DB {
	o.t.Helper()
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(o.dir, "conclave.db")+"?_foreign_keys=0&_busy_timeout=10000")
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { db.Close() })
	return db
}

// plainID is a room's id as SQLite's hex() writes it, in small letters.
func (r room) plainID() string { return strings.ToLower(strings.ReplaceAll(r.id, "-", "")) }

// tamper runs a statement that must change one row.
func (o *office) tamper(statement string, args ...any) {
	o.t.Helper()
	db := o.intruder()
	defer db.Close()
	result, err := db.Exec(statement, args...)
	if err != nil {
		o.t.Fatal(err)
	}
	if n, _ := result.RowsAffected(); n != 1 {
		o.t.Fatalf("%d rows changed: %s", n, statement)
	}
}

// flip changes one bit in the middle of a message's envelope.
func (o *office) flip(r room, n uint64) {
	o.t.Helper()
	db := o.intruder()
	defer db.Close()
	var raw []byte
	if err := db.QueryRow("SELECT envelope FROM messages WHERE lower(hex(room_id)) = ? AND n = ?", r.plainID(), n).Scan(&raw); err != nil {
		o.t.Fatal(err)
	}
	raw[len(raw)/2] ^= 1
	o.tamper("UPDATE messages SET envelope = ? WHERE lower(hex(room_id)) = ? AND n = ?", raw, r.plainID(), n)
}

const damaged = "This message failed its integrity check and is not shown."

func TestADamagedMessageHasAPlaceholderAndTheRestIsThere(t *testing.T) { // C9, T49
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r, other := ada.createRoom("Engine room"), ada.createRoom("Library")
	grace.join(r)
	ada.say(other, "untouched")
	o.post(ada, r, "before")
	n := o.post(grace, r, "the words in question")
	head := o.post(ada, r, "after")
	if banners := ada.get(r.path("")).want(200).class("harm"); len(banners) != 0 {
		t.Error("a banner without damage")
	}
	l := ada.listen(r)
	o.flip(r, n)
	check := func(who *person) {
		t.Helper()
		for what, a := range map[string]*answer{"the page": who.get(r.path("")), "the older page": who.get(r.path("/messages?before=99")), "the older fragment": who.get(r.path("/messages?before=99"), htmx...)} {
			if got := a.want(200).bodies(); !slices.Equal(got, []string{"before", "after"}) {
				t.Errorf("%s shows %q", what, got)
			}
			li := a.entryOf(n)
			if strings.TrimSpace(text(li)) != damaged || attr(li, "data-author") != "" || strings.Contains(text(li), "Grace") || len(elements(li, func(n *nodeT) bool { return n.Data == "a" })) > 0 {
				t.Errorf("%s: in the place of the message stands %q", what, text(li))
			}
			if strings.Contains(a.body, "in question") {
				t.Errorf("%s shows the text", what)
			}
			if what == "the page" && (len(a.class("harm")) != 1 || len(a.class("composer")) != 1) {
				t.Errorf("%d banners, %d composers", len(a.class("harm")), len(a.class("composer")))
			}
		}
	}
	check(ada)
	check(grace)
	for _, from := range []string{"0", fmt.Sprint(n - 1), "999999"} {
		l := ada.stream(r.path("/feed?after=" + from))
		seen := false
		for {
			e := l.next("the last event", func(e event) bool { return e.id != "" })
			seen = seen || strings.Contains(e.data, damaged)
			if strings.Contains(e.data, "in question") || e.id == fmt.Sprint(n) && (len(e.bodies()) != 0 || len(e.class(t, "damaged")) != 1) {
				t.Errorf("the feed from %s: %s", from, e.data)
			}
			if e.id == fmt.Sprint(head) {
				break
			}
		}
		if !seen {
			t.Errorf("the feed from %s does not show the placeholder", from)
		}
		l.cancel()
	}
	// it cannot be changed, and its page shows nothing of it
	for _, p := range []*person{ada, grace} {
		page := p.get(r.message(n, "/edit"))
		if page.status != 200 && page.status != 404 || strings.Contains(page.body, "in question") || strings.Contains(page.body, `id="edit"`) || strings.Contains(page.body, `id="remove"`) {
			t.Errorf("the message's page: %d, %s", page.status, shortened(page.body))
		}
	}
	grace.post(r.message(n, ""), fields{"body": "made good"}).want(http.StatusConflict)
	grace.post(r.message(n, "/delete"), nil).want(http.StatusConflict)
	ada.post(r.message(n, "/delete"), nil).want(http.StatusConflict)
	// the rest goes on, live too
	next := o.post(grace, r, "life goes on")
	if e := l.numbered(next); next != head+1 || !slices.Equal(e.bodies(), []string{"life goes on"}) {
		t.Errorf("the refused changes have left entries: %d after %d, %q", next, head, e.bodies())
	}
	ada.still(other, "untouched")
	if len(ada.get(other.path("")).class("harm")) != 0 {
		t.Error("the banner is in the other room too")
	}
	ada.get("/healthz").want(200)
	if log := o.log.String(); !strings.Contains(log, "integrity") || strings.Contains(log, "in question") {
		t.Error("the log does not say so, or says too much")
	}
	// nothing has repaired itself after a restart
	o.restart()
	ada.reconnect()
	if page := ada.get(r.path("")).want(200); len(page.class("harm")) != 1 || !slices.Equal(page.bodies(), []string{"before", "after", "life goes on"}) {
		t.Errorf("after a restart: %d banners, %q", len(page.class("harm")), page.bodies())
	}
}

func TestADamagedEditIsNeverStreamedAsGenuine(t *testing.T) { // C9
	t.Parallel()
	o := openOffice(t, quick)
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	n := o.post(ada, r, "the first text")
	db := o.intruder()
	var old []byte
	if err := db.QueryRow("SELECT envelope FROM messages WHERE lower(hex(room_id)) = ? AND n = ?", r.plainID(), n).Scan(&old); err != nil {
		t.Fatal(err)
	}
	ada.post(r.message(n, ""), fields{"body": "the second text"}).wantRedirect(r.path(""))
	last := o.post(ada, r, "last")
	// the old text put back, with its revision
	o.tamper("UPDATE messages SET envelope = ?, revision = 0 WHERE lower(hex(room_id)) = ? AND n = ?", old, r.plainID(), n)
	for _, step := range []func(){
		func() {},
		func() { o.tamper("DELETE FROM room_log WHERE lower(hex(room_id)) = ? AND n = ?", r.plainID(), n+1) },
		func() { o.restart(); ada.reconnect(); time.Sleep(500 * time.Millisecond) },
	} {
		step()
		for _, a := range []*answer{ada.get(r.path("")), ada.get(r.message(n, "/edit")), ada.get(r.path("/messages?before=99"), htmx...)} {
			if strings.Contains(a.body, "the first text") || strings.Contains(a.body, "the second text") {
				t.Errorf("%s shows a text that was put back", a.what)
			}
		}
		l := ada.stream(r.path("/feed?after=0"))
		for {
			e := l.next("the last event", func(e event) bool { return e.id != "" })
			if strings.Contains(e.data, "the first text") {
				t.Errorf("the feed brings a text that was put back: %s", e.data)
			}
			if e.id == fmt.Sprint(last) {
				break
			}
		}
		l.cancel()
	}
}

func TestAMissingMessageIsCountedAndTheRoomTakesNothing(t *testing.T) { // C9, C5
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r, other := ada.createRoom("Engine room"), ada.createRoom("Library")
	grace.join(r)
	first := o.post(ada, r, "before")
	n := o.post(grace, r, "the words in question")
	o.post(ada, r, "after")
	o.tamper("DELETE FROM messages WHERE lower(hex(room_id)) = ? AND n = ?", r.plainID(), n)
	o.tamper("DELETE FROM room_log WHERE lower(hex(room_id)) = ? AND n = ?", r.plainID(), n)
	page := ada.get(r.path("")).want(200)
	if got := strings.TrimSpace(text(page.entryOf(n))); got != "1 message is missing here" {
		t.Errorf("in the place of the message stands %q", got)
	}
	if got := page.bodies(); !slices.Contains(got, "before") || slices.Contains(got, "the words in question") {
		t.Errorf("the page shows %q", got)
	}
	if len(page.class("harm")) != 1 || !strings.Contains(text(page.class("harm")[0]), "Nothing can be added") {
		t.Error("no banner says that nothing can be added")
	}
	const draft = "a draft that took an hour <b>&amp;"
	for what, headers := range map[string][]string{"a page": nil, "htmx": htmx} {
		a := grace.post(r.path("/messages"), fields{"body": draft, "client_id": "abc"}, headers...).want(http.StatusForbidden)
		if said := text(a.doc()); !strings.Contains(said, "integrity") && !strings.Contains(said, "added") {
			t.Errorf("%s: nothing says why: %s", what, shortened(said))
		}
		if !strings.Contains(text(a.doc()), draft) {
			t.Errorf("%s: the draft is lost", what)
		}
	}
	edited := ada.post(r.message(first, ""), fields{"body": draft}).want(http.StatusForbidden)
	if !strings.Contains(text(edited.doc()), draft) {
		t.Error("the draft of an edit is lost")
	}
	ada.post(r.message(first, "/delete"), nil).want(http.StatusForbidden)
	grace.post(r.path("/leave"), nil).want(http.StatusForbidden)
	// in the other room everything goes on
	ada.say(other, "untouched")
	ada.still(other, "untouched")
	ada.get("/healthz").want(200)
	l := grace.stream(r.path("/feed?after=0"))
	for {
		e := l.next("the last event", func(e event) bool { return e.id != "" })
		if strings.Contains(e.data, "in question") {
			t.Errorf("the feed brings the missing message: %s", e.data)
		}
		if e.id == fmt.Sprint(n+1) {
			break
		}
	}
}
