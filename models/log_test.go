package models

import (
	"database/sql"
	"errors"
	"slices"
	"testing"

	"conclave/models/cipher"
)

// rawEntry is a row of room_log as it stands in the database.
type rawEntry struct {
	link cipher.Link
	mac  [32]byte
}

func (a *archive) rawLog(room ID) []rawEntry {
	a.t.Helper()
	rows, err := a.intruder().Query("SELECT n, op, target, actor, epoch, time_ms, posts, payload, mac FROM room_log WHERE room_id = ? ORDER BY n", room)
	if err != nil {
		a.t.Fatal(err)
	}
	defer rows.Close()
	var entries []rawEntry
	for rows.Next() {
		var e rawEntry
		var target, actor ID
		var payload, mac hash
		if err := rows.Scan(&e.link.N, &e.link.Op, &target, &actor, &e.link.Epoch, &e.link.Time, &e.link.Posts, &payload, &mac); err != nil {
			a.t.Fatal(err)
		}
		e.link.Target, e.link.Actor, e.link.Payload, e.mac = target, actor, payload, mac
		entries = append(entries, e)
	}
	if err := rows.Err(); err != nil {
		a.t.Fatal(err)
	}
	return entries
}

// checkChain computes the whole chain of a room again: every number is there, every MAC is
// right, posts are counted, and the head of the room is the last entry.
func (a *archive) checkChain(room ID) []rawEntry {
	a.t.Helper()
	chain := a.service.Chain(room)
	mac, posts := chain.Genesis(), uint64(0)
	entries := a.rawLog(room)
	for i, e := range entries {
		if e.link.N != uint64(i+1) {
			a.t.Fatalf("entry %d has number %d", i+1, e.link.N)
		}
		if mac = chain.Next(mac, e.link); mac != e.mac {
			a.t.Fatalf("entry %d is not chained to the one before", e.link.N)
		}
		if Op(e.link.Op) == OpPost {
			posts++
		}
		if e.link.Posts != posts {
			a.t.Errorf("entry %d counts %d posts, want %d", e.link.N, e.link.Posts, posts)
		}
	}
	var n uint64
	var head hash
	if err := a.intruder().QueryRow("SELECT head_n, head_mac FROM rooms WHERE id = ?", room).Scan(&n, &head); err != nil {
		a.t.Fatal(err)
	}
	if n != uint64(len(entries)) || [32]byte(head) != mac {
		a.t.Errorf("the head of the room is %d, the last entry %d", n, len(entries))
	}
	return entries
}

func (a *archive) envelope(query string, args ...any) []byte {
	a.t.Helper()
	var envelope []byte
	if err := a.intruder().QueryRow(query, args...).Scan(&envelope); err != nil {
		a.t.Fatal(err)
	}
	return envelope
}

func TestEveryKindOfEntryIsChainedWithThePayloadOfTheStandard(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	m.say(m.ada, m.room, "Good morning")
	if err := m.Leave(t.Context(), m.member(m.ada, m.room)); err != nil { // the ownership passes
		t.Fatal(err)
	}
	m.say(m.grace, m.room, "She is gone") // opens an epoch
	m.join(m.ada, m.room)
	m.say(m.ada, m.room, "I am back")

	entries := m.checkChain(m.room)
	var ops []Op
	for _, e := range entries {
		ops = append(ops, Op(e.link.Op))
	}
	if want := []Op{OpEpoch, OpCreate, OpCode, OpJoin, OpPost, OpLeave, OpRole, OpEpoch, OpPost, OpJoin, OpPost}; !slices.Equal(ops, want) {
		t.Fatalf("the log records %v, want %v", ops, want)
	}
	for _, e := range entries {
		l := e.link
		var target, actor ID
		var payload [32]byte
		epoch := uint32(1)
		if l.N >= 8 {
			epoch = 2
		}
		switch Op(l.Op) {
		case OpEpoch:
			key, err := m.roomKey(t.Context(), m.read.Statement.ConnPool, m.room, l.Epoch)
			if err != nil {
				t.Fatal(err)
			}
			payload, actor = key.Commit(), m.ada
			if l.N > 1 {
				actor = m.grace
			}
		case OpCreate:
			payload, target, actor = cipher.Tag(m.envelope("SELECT name FROM rooms WHERE id = ?", m.room)), m.ada, m.ada
		case OpCode:
			payload, actor = cipher.Tag(m.envelope("SELECT code FROM rooms WHERE id = ?", m.room)), m.ada
		case OpJoin:
			target = m.grace
			if l.N > 4 {
				target = m.ada
			}
			actor = target
		case OpPost:
			payload, target = cipher.Tag(m.envelope("SELECT envelope FROM messages WHERE room_id = ? AND n = ?", m.room, l.N)), cipher.MessageTarget(l.N)
			actor = m.ada
			if l.N == 9 {
				actor = m.grace
			}
		case OpLeave:
			target, actor = m.ada, m.ada
		case OpRole:
			payload, target, actor = digest("owner"), m.grace, m.ada
		}
		if l.Target != target || l.Actor != actor || l.Epoch != epoch || l.Payload != payload {
			t.Errorf("entry %d (op %d): target %x actor %x epoch %d payload %x, want %x %x %d %x",
				l.N, l.Op, l.Target, l.Actor, l.Epoch, l.Payload, target, actor, epoch, payload)
		}
	}
}

func TestAPostEntryHasTheTimeAndAuthorOfItsMessage(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	n := m.say(m.grace, m.room, "When and who")
	var author ID
	var created int64
	if err := m.intruder().QueryRow("SELECT author, created_ms FROM messages WHERE room_id = ? AND n = ?", m.room, n).Scan(&author, &created); err != nil {
		t.Fatal(err)
	}
	if e := m.rawLog(m.room)[n-1].link; e.Actor != author || e.Time != created || author != m.grace {
		t.Errorf("the log says %x at %d, the message %x at %d", e.Actor, e.Time, author, created)
	}
}

func TestADepartureOpensAnEpochAtTheNextPostAndTheOldOneStaysReadable(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	epochs := func() (count int, stale bool) {
		t.Helper()
		if err := m.intruder().QueryRow("SELECT count(*) FROM room_keys WHERE room_id = ?", m.room).Scan(&count); err != nil {
			t.Fatal(err)
		}
		h, err := m.readHead(t.Context(), m.read.Statement.ConnPool, m.room)
		if err != nil {
			t.Fatal(err)
		}
		return count, h.stale
	}
	m.say(m.ada, m.room, "With Grace")
	for range 3 { // coming and going mints nothing
		if err := m.Leave(t.Context(), m.member(m.grace, m.room)); err != nil {
			t.Fatal(err)
		}
		m.join(m.grace, m.room)
	}
	if count, stale := epochs(); count != 1 || !stale {
		t.Errorf("after departures: %d epochs, stale %v", count, stale)
	}
	if err := m.Leave(t.Context(), m.member(m.grace, m.room)); err != nil {
		t.Fatal(err)
	}
	m.say(m.ada, m.room, "Without Grace")
	m.say(m.ada, m.room, "Still without")
	if count, stale := epochs(); count != 2 || stale {
		t.Errorf("after the next posts: %d epochs, stale %v", count, stale)
	}
	for n, want := range map[uint64]uint32{5: 1, 14: 2, 15: 2} {
		if got := cipher.EpochOf(m.envelope("SELECT envelope FROM messages WHERE room_id = ? AND n = ?", m.room, n)); got != want {
			t.Errorf("message %d is sealed in epoch %d, want %d", n, got, want)
		}
	}
	m.reopen() // no key is remembered
	if got, want := m.history(m.ada, m.room), []string{"With Grace", "Without Grace", "Still without"}; !slices.Equal(got, want) {
		t.Errorf("the room shows %q, want %q", got, want)
	}
	m.checkChain(m.room)
}

func TestTheOldSecretOpensNothingOfTheNewEpoch(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	m.say(m.ada, m.room, "With Grace")
	if err := m.Leave(t.Context(), m.member(m.grace, m.room)); err != nil {
		t.Fatal(err)
	}
	n := m.say(m.ada, m.room, "Without Grace")
	pool := m.read.Statement.ConnPool
	old, err := m.roomKey(t.Context(), pool, m.room, 1)
	if err != nil {
		t.Fatal(err)
	}
	e := m.rawLog(m.room)[n-1].link
	place := cipher.MessagePlace{Author: e.Actor, N: n, Created: e.Time}
	envelope := m.envelope("SELECT envelope FROM messages WHERE room_id = ? AND n = ?", m.room, n)
	if _, err := old.OpenMessage(place, envelope); !errors.Is(err, cipher.ErrAuth) {
		t.Errorf("the old secret opens a new message: %v", err)
	}
	envelope[5] = 1 // claims the old epoch
	if _, err := old.OpenMessage(place, envelope); !errors.Is(err, cipher.ErrAuth) {
		t.Errorf("the old secret opens a relabelled message: %v", err)
	}
}

func TestNoTwoMessagesShareAnIV(t *testing.T) {
	t.Parallel()
	m := openMeeting(t)
	for range 50 {
		m.say(m.ada, m.room, "The same words again")
	}
	seen := map[string]bool{}
	rows, err := m.intruder().Query("SELECT substr(envelope, 7, 16), substr(envelope, 23, 16) FROM messages")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var iv, first sql.RawBytes
		if err := rows.Scan(&iv, &first); err != nil {
			t.Fatal(err)
		}
		if seen[string(iv)] || seen[string(first)] {
			t.Fatal("an IV or a first block comes twice")
		}
		seen[string(iv)], seen[string(first)] = true, true
	}
	if len(seen) != 100 {
		t.Errorf("%d IVs and blocks, want 100", len(seen))
	}
}
