package models

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

// unread is what a person has not read of a room: how much, and after which entry.
func (a *archive) missed(user, room ID) (count, mark uint64) {
	a.t.Helper()
	list, err := a.Unread(a.t.Context(), user)
	if err != nil {
		a.t.Fatal(err)
	}
	for _, u := range list {
		if u.Room == room {
			return u.Count, u.Mark
		}
	}
	a.t.Fatalf("%d rooms, and not this one", len(list))
	return 0, 0
}

// wantUnread asks every verb that tells.
func (a *archive) wantUnread(user, room ID, count uint64) {
	a.t.Helper()
	got, mark := a.missed(user, room)
	if got != count {
		a.t.Errorf("%d unread, want %d", got, count)
	}
	cards, err := a.Rooms(a.t.Context(), user)
	if err != nil {
		a.t.Fatal(err)
	}
	for _, c := range cards {
		if c.Room == room && c.Unread != count {
			a.t.Errorf("the card says %d unread, want %d", c.Unread, count)
		}
	}
	recent, err := a.Recent(a.t.Context(), user)
	if err != nil {
		a.t.Fatal(err)
	}
	for _, r := range recent.Rooms {
		if r.Room == room && r.Unread != count {
			a.t.Errorf("the list beside a room says %d unread, want %d", r.Unread, count)
		}
	}
	v, err := a.View(a.t.Context(), a.member(user, room))
	if err != nil {
		a.t.Fatal(err)
	}
	if v.Unread != count || v.Mark != mark {
		a.t.Errorf("the room says %d unread after %d, want %d after %d", v.Unread, v.Mark, count, mark)
	}
}

func (a *archive) reads(user, room ID, n uint64) {
	a.t.Helper()
	if err := a.MarkRead(a.t.Context(), a.member(user, room), n); err != nil {
		a.t.Fatal(err)
	}
}

func TestWhatIsReadOnOneDeviceIsReadOnTheOther(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	m.wantUnread(m.grace, m.room, 0) // whoever comes in has nothing to catch up with
	m.wantUnread(m.ada, m.room, 0)
	var said []uint64
	for _, body := range numbered(5) {
		said = append(said, m.say(m.ada, m.room, body))
	}
	m.wantUnread(m.grace, m.room, 5)
	m.wantUnread(m.ada, m.room, 0) // who has read everything has read what he writes, too

	m.reads(m.grace, m.room, said[2])
	m.wantUnread(m.grace, m.room, 2)
	m.reads(m.grace, m.room, said[0]) // the other device is behind: nothing becomes unread again
	m.wantUnread(m.grace, m.room, 2)
	if _, mark := m.missed(m.grace, m.room); mark != said[2] {
		t.Errorf("the mark stands at %d, want %d", mark, said[2])
	}
	m.reopen()
	m.wantUnread(m.grace, m.room, 2)
	m.reads(m.grace, m.room, math.MaxUint64) // beyond the end is the end
	m.wantUnread(m.grace, m.room, 0)
	if _, mark := m.missed(m.grace, m.room); mark != said[4] {
		t.Errorf("the mark stands at %d, want %d", mark, said[4])
	}
	m.say(m.ada, m.room, "news")
	m.wantUnread(m.grace, m.room, 1)
}

func TestWritingDoesNotMarkAsReadWhatStandsBefore(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	m.say(m.ada, m.room, "Are you there?")
	m.say(m.grace, m.room, "written without looking")
	m.wantUnread(m.grace, m.room, 2)
	m.wantUnread(m.ada, m.room, 1)
	n := m.say(m.ada, m.room, "Grace?")
	m.wantUnread(m.ada, m.room, 2)
	m.reads(m.grace, m.room, n)
	m.say(m.grace, m.room, "here I am")
	m.wantUnread(m.grace, m.room, 0)
	// What shows nothing new is not unread: joins, edits, removals.
	if err := m.Edit(t.Context(), m.member(m.ada, m.room), n, "Grace, are you there?"); err != nil {
		t.Fatal(err)
	}
	m.join(m.user("zoe", "Zoe Washburne"), m.room)
	m.wantUnread(m.grace, m.room, 0)
}

func TestAMarkComesAndGoesWithTheMembership(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	other := m.create(m.grace, "Another room")
	m.join(m.ada, other)
	for _, body := range numbered(3) {
		m.say(m.ada, m.room, body)
	}
	m.say(m.ada, other, "and here")
	m.wantUnread(m.grace, m.room, 3)
	hers := m.member(m.grace, m.room)
	if err := m.Leave(t.Context(), hers); err != nil {
		t.Fatal(err)
	}
	if list, err := m.Unread(t.Context(), m.grace); err != nil || len(list) != 1 || list[0].Room != other {
		t.Errorf("after leaving: %v, %v", list, err)
	}
	if err := m.MarkRead(t.Context(), hers, 1); KindOf(err) != NotFound {
		t.Errorf("somebody who has left marks as read: %v", err)
	}
	m.tamper(0, "UPDATE marks SET n = n WHERE room_id = ? AND user_id = ?", m.room, m.grace)
	m.say(m.ada, m.room, "while she is away")
	m.join(m.grace, m.room)
	m.wantUnread(m.grace, m.room, 0)
	m.say(m.ada, m.room, "Welcome back")
	m.wantUnread(m.grace, m.room, 1)

	if err := m.Destroy(t.Context(), m.member(m.ada, m.room)); err != nil {
		t.Fatal(err)
	}
	m.tamper(0, "UPDATE marks SET n = n WHERE room_id = ?", m.room)
	if list, err := m.Unread(t.Context(), m.ada); err != nil || len(list) != 1 || list[0].Room != other {
		t.Errorf("after the room was destroyed: %v, %v", list, err)
	}
}

// Marks are not sealed. Whatever stands there shifts a number at most.
func TestAMarkThatSomebodyElseWroteIsKeptWithinTheLog(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	for _, body := range numbered(60) {
		m.say(m.ada, m.room, body)
	}
	v, err := m.View(t.Context(), m.member(m.ada, m.room))
	if err != nil {
		t.Fatal(err)
	}
	head := v.Page.Head
	for _, value := range []any{-1, int64(math.MinInt64), int64(math.MaxInt64), 1 << 40, "everything", []byte{1, 2}, 2.5, "9", 0, head, head + 1} {
		for _, set := range []string{"n = ?1", "posts = ?1", "n = ?1, posts = ?1", "n = ?1, posts = 0", "n = 0, posts = ?1"} {
			what := fmt.Sprintf("%s, %v", set, value)
			m.tamper(1, "UPDATE marks SET "+set+" WHERE room_id = ?2 AND user_id = ?3", value, m.room, m.grace)
			list, err := m.Unread(t.Context(), m.grace)
			if err != nil || len(list) != 1 || list[0].Count > 60 || list[0].Mark > head {
				t.Fatalf("%s: %+v, %v", what, list, err)
			}
			v, err := m.View(t.Context(), m.member(m.grace, m.room))
			if err != nil || v.Unread != list[0].Count || v.Mark != list[0].Mark || len(v.Page.Lines) < pageLines || len(v.Page.Lines) > openMost || v.Harmed {
				t.Fatalf("%s: the room says %d after %d in %d lines, %v", what, v.Unread, v.Mark, len(v.Page.Lines), err)
			}
			// the next mark puts it right
			m.reads(m.grace, m.room, head)
			m.wantUnread(m.grace, m.room, 0)
		}
	}
	// a mark that is not there claims nothing, and comes back
	m.tamper(1, "DELETE FROM marks WHERE room_id = ? AND user_id = ?", m.room, m.grace)
	m.wantUnread(m.grace, m.room, 0)
	m.reads(m.grace, m.room, 10)
	m.wantUnread(m.grace, m.room, 60-(10-4)) // entries 5 to 64 are the posts
	// nor does a mark let anybody in
	zoe := m.user("zoe", "Zoe Washburne")
	m.tamper(1, "INSERT INTO marks (room_id, user_id, n, posts) VALUES (?, ?, 1, 0)", m.room, zoe)
	if list, err := m.Unread(t.Context(), zoe); err != nil || len(list) != 0 {
		t.Errorf("a mark without a membership tells %v, %v", list, err)
	}
}

func TestARoomOpensWhereItsReaderStopped(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	shows := func(what string, from, lines int) {
		t.Helper()
		v, err := m.View(t.Context(), m.member(m.grace, m.room))
		if err != nil {
			t.Fatal(err)
		}
		if got := len(v.Page.Lines); got != lines || v.Page.Lines[0].N != uint64(from) {
			t.Errorf("%s: %d lines from %d, want %d from %d", what, got, v.Page.Lines[0].N, lines, from)
		}
		if v.Page.Before != 0 && v.Page.Before != uint64(from) {
			t.Errorf("%s: the older page ends before %d, want %d", what, v.Page.Before, from)
		}
		if last := v.Page.Lines[len(v.Page.Lines)-1].N; last != v.Page.Head {
			t.Errorf("%s: the last line is %d of %d", what, last, v.Page.Head)
		}
	}
	// entries 1 to 4 are the room's beginning, two of which are shown: 2 and 4
	for range 100 {
		m.say(m.ada, m.room, "much to read") // 5 to 104
	}
	m.reads(m.grace, m.room, 104)
	shows("nothing unread", 65, 40)
	m.say(m.ada, m.room, "news")
	m.reads(m.grace, m.room, 104)
	shows("one unread", 66, 40)
	for range 59 {
		m.say(m.ada, m.room, "more") // up to 164
	}
	shows("sixty unread", 100, 65)
	for range 140 {
		m.say(m.ada, m.room, "still more") // up to 304
	}
	shows("two hundred unread", 105, 200)
	for range 10 {
		m.say(m.ada, m.room, "too much")
	}
	shows("more than that", 115, 200)
	m.reads(m.grace, m.room, 304)
	shows("ten unread", 275, 40)
	for range 60 { // what shows no line of its own makes no page longer
		if err := m.Edit(t.Context(), m.member(m.ada, m.room), 314, "changed"); err != nil {
			t.Fatal(err)
		}
	}
	n := m.say(m.ada, m.room, "the last") // 375
	v, err := m.View(t.Context(), m.member(m.grace, m.room))
	if err != nil || len(v.Page.Lines) != 40 || v.Page.Lines[39].N != n || v.Page.Lines[0].N != 276 {
		t.Errorf("behind sixty edits: %d lines, %v", len(v.Page.Lines), err)
	}
}

// Telling what is unread costs a few looks into indices for each room, however long its log is.
func TestUnreadCountsNeverScan(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	for query, args := range map[string][]any{unreadEverywhere: {m.ada}, unreadHere: {m.ada, m.room}} {
		rows, err := m.readPool().QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query, args...)
		if err != nil {
			t.Fatal(err)
		}
		steps := 0
		for rows.Next() {
			var id, parent, unused int
			var detail string
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				t.Fatal(err)
			}
			steps++
			if !strings.HasPrefix(detail, "SEARCH ") || !strings.Contains(detail, " INDEX ") {
				t.Errorf("%s: %s", query, detail)
			}
		}
		if rows.Err() != nil || steps != 4 {
			t.Errorf("%s: %d steps, %v", query, steps, rows.Err())
		}
		rows.Close()
	}
}

func TestADatabaseWithoutMarksStartsWithNothingUnread(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	for _, body := range numbered(7) {
		m.say(m.ada, m.room, body)
	}
	m.wantUnread(m.grace, m.room, 7)
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	old := m.intruder()
	for _, statement := range append(toSchemaFour, "DROP INDEX room_log_changes", "DROP TABLE marks", "ALTER TABLE users DROP COLUMN shows_typing", "PRAGMA user_version = 2") {
		if _, err := old.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	m.open()
	for _, user := range []ID{m.ada, m.grace} {
		m.wantUnread(user, m.room, 0)
		if u, err := m.User(t.Context(), user); err != nil || !u.ShowsTyping {
			t.Errorf("who was here before shows typing: %v, %v", u.ShowsTyping, err)
		}
	}
	m.say(m.ada, m.room, "news")
	m.wantUnread(m.grace, m.room, 1)
}

func TestEverybodyDecidesWhetherOthersSeeThemTyping(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	shows := func(user ID, want bool) {
		t.Helper()
		if u, err := m.User(t.Context(), user); err != nil || u.ShowsTyping != want {
			t.Errorf("shows typing: %v, want %v (%v)", u.ShowsTyping, want, err)
		}
	}
	shows(m.ada, true)
	if err := m.ShowTyping(t.Context(), m.ada, false); err != nil {
		t.Fatal(err)
	}
	shows(m.ada, false)
	shows(m.grace, true)
	m.reopen()
	shows(m.ada, false)
	for _, value := range []any{"no", []byte{}, -7} { // nonsense keeps nobody out
		m.tamper(1, "UPDATE users SET shows_typing = ? WHERE id = ?", value, m.ada)
		shows(m.ada, true)
	}
	if err := m.ShowTyping(t.Context(), m.ada, false); err != nil {
		t.Fatal(err)
	}
	shows(m.ada, false)
}
