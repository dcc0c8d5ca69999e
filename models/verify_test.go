package models

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"conclave/models/feed"
)

// world is a data folder with three people and two rooms, in which everything has happened that
// a log can record. Each test gets a copy of its own: what an attacker does to it stays there.
type world struct {
	dir                string
	ada, grace, linus  ID
	engine, library    ID
	secret             map[string]string // of each person's authenticator, base 32
	codes              map[string]string // of each room
	kettle, spare      uint64            // posts of the engine room: nothing happened to them
	edited, editing    uint64            // a post, and the entry of its second edit
	removed, removing  uint64            // a post, and the entry of its removal
	left, later        uint64            // Linus leaves; the post after that, in a new epoch
	last               uint64            // the last entry of the engine room: a post
	book               uint64            // a post in the library
	oldEdited, oldGone []byte            // envelopes that were there before
	truth              map[ID]map[uint64]Line
}

const passphrase = "purple lantern over the harbour"

var furnishing struct {
	once  sync.Once
	world *world
	err   error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if furnishing.world != nil {
		os.RemoveAll(furnishing.world.dir)
	}
	os.Exit(code)
}

// newWorld returns a copy of the one furnished folder.
func newWorld(t testing.TB) *world {
	t.Helper()
	furnishing.once.Do(func() { furnishing.world, furnishing.err = furnish() })
	if furnishing.err != nil {
		t.Fatal(furnishing.err)
	}
	w := *furnishing.world
	w.dir = t.TempDir()
	copyFolder(t, furnishing.world.dir, w.dir)
	return &w
}

// copyFolder copies a data folder with the modes that the program gives it.
func copyFolder(t testing.TB, from, to string) {
	t.Helper()
	must(t, os.CopyFS(to, os.DirFS(from)))
	must(t, filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error {
		mode := fs.FileMode(0o600)
		if err == nil && d.IsDir() {
			mode = 0o700
		}
		return errors.Join(err, os.Chmod(path, mode))
	}))
}

func furnish() (*world, error) {
	dir, err := os.MkdirTemp("", "conclave-world-")
	if err != nil {
		return nil, err
	}
	w := &world{dir: dir, secret: map[string]string{}, codes: map[string]string{}, truth: map[ID]map[uint64]Line{}}
	s, err := Open(options(dir))
	if err != nil {
		return w, err
	}
	var errs []error
	check := func(err error) { errs = append(errs, err) }
	for _, p := range []struct {
		id             *ID
		name, fullName string
	}{{&w.ada, "ada", "Ada Lovelace"}, {&w.grace, "grace", "Grace Hopper"}, {&w.linus, "linus", "Linus Pauling"}} {
		*p.id, w.secret[p.name], err = enrolled(s, p.name, p.fullName)
		check(err)
	}
	w.engine, err = s.CreateRoom(ctx, By{User: w.ada}, "Engine room")
	check(err)
	w.library, err = s.CreateRoom(ctx, By{User: w.ada}, "Library")
	check(err)
	member := func(user, room ID) Membership {
		m, err := s.Member(ctx, By{User: user}, room.String())
		check(err)
		return m
	}
	post := func(user, room ID, body string) uint64 {
		n, err := s.Post(ctx, member(user, room), body, "")
		check(err)
		return n
	}
	envelope := func(n uint64) (b []byte) {
		check(s.read.Raw("SELECT envelope FROM messages WHERE room_id = ? AND n = ?", w.engine, n).Row().Scan(&b))
		return b
	}
	for name, room := range map[string]ID{"engine": w.engine, "library": w.library} {
		v, err := s.View(ctx, member(w.ada, room))
		check(err)
		w.codes[name] = v.Code
		for _, user := range []ID{w.grace, w.linus} {
			_, err := s.Join(ctx, By{User: user}, v.Code)
			check(err)
		}
	}
	w.kettle = post(w.ada, w.engine, "the kettle is on")
	w.spare = post(w.grace, w.engine, "coming down in a minute")
	w.edited = post(w.ada, w.engine, "we meet at noon")
	check(s.Edit(ctx, member(w.ada, w.engine), w.edited, "we meet at one"))
	w.oldEdited = envelope(w.edited)
	check(s.Edit(ctx, member(w.ada, w.engine), w.edited, "we meet at two"))
	w.editing = w.edited + 2
	w.removed = post(w.grace, w.engine, "what nobody should read")
	w.oldGone = envelope(w.removed)
	check(s.Remove(ctx, member(w.grace, w.engine), w.removed))
	w.removing = w.removed + 1
	check(s.Leave(ctx, member(w.linus, w.engine)))
	w.left = w.removing + 1
	w.later = post(w.ada, w.engine, "Linus is out for today")
	post(w.grace, w.engine, "so it is the two of us")
	w.last = post(w.ada, w.engine, "see you downstairs")
	w.book = post(w.grace, w.library, "page ninety is missing")
	post(w.linus, w.library, "I have it at home")
	for _, room := range []ID{w.engine, w.library} {
		v, err := s.View(ctx, member(w.ada, room))
		check(err)
		w.truth[room] = map[uint64]Line{}
		for _, l := range v.Page.Lines {
			w.truth[room][l.N] = l
		}
	}
	furnishing.world = w
	return w, errors.Join(append(errs, s.Close())...)
}

var ctx = context.Background()

func options(dir string) Options {
	return Options{
		Dir: dir, Hub: feed.New(feed.Options{}), Log: slog.New(slog.NewTextHandler(io.Discard, nil)), LimitScale: 100,
		SessionIdle: time.Hour, SessionLifetime: 24 * time.Hour, LightHashes: true,
	}
}

// enrolled makes a user and returns the secret of his authenticator.
func enrolled(s *Store, name, fullName string) (ID, string, error) {
	id, err := s.Register(ctx, Registration{Username: name, FullName: fullName, Email: name + "@example.org", Password: passphrase})
	if err != nil {
		return id, "", err
	}
	pending, err := s.Pending(ctx, id)
	if err != nil {
		return id, "", err
	}
	code, err := totp.GenerateCode(pending.Secret, s.o.Now().Add(-30*time.Second))
	if err != nil {
		return id, "", err
	}
	_, _, err = s.Confirm(ctx, By{}, id, code)
	return id, pending.Secret, err
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func opened(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// start opens the folder and waits until the walk after the start is done.
func (w *world) start(t testing.TB) *Store {
	t.Helper()
	s := opened(t, options(w.dir))
	walked(t, s)
	return s
}

func walked(t testing.TB, s *Store) {
	t.Helper()
	eventually(t, "the walk after the start", func() bool {
		rooms, err := s.roomIDs(ctx)
		must(t, err)
		s.proofs.mu.Lock()
		defer s.proofs.mu.Unlock()
		for _, room := range rooms {
			if r := s.proofs.of(room); !r.walked {
				return false
			}
		}
		return true
	})
}

func eventually(t testing.TB, what string, true func() bool) {
	t.Helper()
	for end := time.Now().Add(3 * time.Second); !true(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not happen", what)
		}
	}
}

// sql is the attacker's own connection: the file, no key, no foreign keys, no rules.
func (w *world) sql(t testing.TB) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(w.dir, databaseName)+"?_foreign_keys=0&_busy_timeout=10000")
	must(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

// tamper runs statements in one transaction; $names stand for the things of this world.
func (w *world) tamper(t testing.TB, statements ...string) {
	t.Helper()
	db := w.sql(t)
	tx, err := db.Begin()
	must(t, err)
	for _, s := range statements {
		if _, err := tx.Exec(w.names().Replace(s)); err != nil {
			t.Fatalf("%v: %s", err, s)
		}
	}
	must(t, tx.Commit())
	must(t, db.Close())
}

func (w *world) names() *strings.Replacer {
	blob := func(b []byte) string { return fmt.Sprintf("x'%x'", b) }
	number := func(n uint64) string { return fmt.Sprint(n) }
	return strings.NewReplacer("$engine", blob(w.engine[:]), "$library", blob(w.library[:]),
		"$ada", blob(w.ada[:]), "$grace", blob(w.grace[:]), "$linus", blob(w.linus[:]),
		"$kettle", number(w.kettle), "$spare", number(w.spare), "$edited", number(w.edited), "$editing", number(w.editing),
		"$removed", number(w.removed), "$removing", number(w.removing), "$left", number(w.left), "$later", number(w.later),
		"$last", number(w.last), "$book", number(w.book), "$oldEdited", blob(w.oldEdited), "$oldGone", blob(w.oldGone))
}

func verified(t testing.TB, o Options) Report {
	t.Helper()
	s, err := OpenToRead(o)
	must(t, err)
	limited, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r, err := s.Verify(limited, func(done, all uint64) {})
	must(t, errors.Join(err, s.Close()))
	return r
}

func (w *world) whole(t testing.TB) {
	t.Helper()
	for _, f := range verified(t, options(w.dir)).Findings {
		t.Errorf("finding: %v", f)
	}
}

// gone says what may not be shown at all.
type gone int

const (
	nothing   gone = iota
	announced      // lines of a room that is marked as damaged: its end was cut
	anything       // history went back, which the operator has accepted
)

// believed checks what a member sees of a room against what happened: whatever is shown as
// genuine must be, and whatever is not shown must be said to be damaged or missing.
func (w *world) believed(t testing.TB, s *Store, user, room ID, gone gone) {
	t.Helper()
	m, err := s.Member(ctx, By{User: user}, room.String())
	if err != nil {
		t.Errorf("room %s: %v", room, err)
		return
	}
	v, err := s.View(ctx, m)
	if err != nil {
		t.Errorf("room %s: %v", room, err)
		return
	}
	seen := w.trueLines(t, room, v.Page.Lines)
	for n := range w.truth[room] {
		if !seen[n] && (gone == nothing || gone == announced && !v.ReadOnly) {
			t.Errorf("room %s: line %d is gone, and nobody is told", room, n)
		}
		line, err := s.Message(ctx, m, n)
		if err == nil {
			w.trueLines(t, room, []Line{line})
		}
	}
	for cursor := uint64(0); ; {
		tail, err := s.After(ctx, m, cursor)
		if err != nil {
			t.Errorf("after %d: %v", cursor, err)
			return
		}
		for _, e := range tail.Entries {
			cursor = e.N
			if !e.Op.Shown() {
				continue
			}
			line, err := s.Open(ctx, e)
			if err != nil {
				t.Errorf("entry %d: %v", e.N, err)
				continue
			}
			line.Op = OpPost // an entry about a message shows the message as it stands
			if truth := w.truth[room][line.N]; truth.Op != OpPost {
				line.Op = truth.Op
			}
			w.trueLines(t, room, []Line{line})
		}
		if len(tail.Entries) == 0 || cursor >= tail.Head {
			break
		}
	}
	if v.Name != "Engine room" && v.Name != "Library" || v.Name == "Library" != (room == w.library) {
		t.Errorf("room %s is called %q", room, v.Name)
	}
	for _, p := range v.People {
		if p.Role == Owner && p.ID != w.ada || p.Role == Moderator {
			t.Errorf("%s is %s of the room", p.FullName, p.Role)
		}
		w.trueName(t, p.Profile)
	}
}

func (w *world) trueLines(t testing.TB, room ID, lines []Line) map[uint64]bool {
	t.Helper()
	seen := map[uint64]bool{}
	for _, l := range lines {
		switch truth, known := w.truth[room][l.N]; {
		case l.Missing > 0:
			if l.Missing > 100 {
				t.Errorf("%d lines are missing", l.Missing)
			}
			for i := range l.Missing {
				seen[l.N+uint64(i)] = true
			}
			continue
		case l.Damaged:
			if l.Body != "" || l.Who != (Profile{}) || !l.At.IsZero() {
				t.Errorf("the damaged line %d shows something: %+v", l.N, l)
			}
		case !known:
			t.Errorf("line %d never was: %+v", l.N, l)
		default:
			w.trueName(t, l.Who)
			l.Who, truth.Who = Profile{ID: l.Who.ID}, Profile{ID: truth.Who.ID}
			if !l.At.Equal(truth.At) {
				t.Errorf("line %d is of %v, not of %v", l.N, truth.At, l.At)
			}
			l.At = truth.At
			if l != truth {
				t.Errorf("line %d was %+v and is shown as genuine: %+v", l.N, truth, l)
			}
		}
		seen[l.N] = true
	}
	return seen
}

func (w *world) trueName(t testing.TB, p Profile) {
	t.Helper()
	names := map[ID]string{w.ada: "Ada Lovelace", w.grace: "Grace Hopper", w.linus: "Linus Pauling"}
	if p.FullName != names[p.ID] && p.FullName != "Unknown person" {
		t.Errorf("%s is called %q", names[p.ID], p.FullName)
	}
}

func integrityEvents(t testing.TB, s *Store) (count int) {
	t.Helper()
	must(t, s.read.Raw("SELECT count(*) FROM audit_log WHERE event LIKE 'integrity.%'").Scan(&count).Error)
	return count
}

// attack is something that somebody does to the database who has no key.
type attack struct {
	name       string
	statements []string
	n          uint64 // the number that verify must name in the engine room; 0: any number there
	nowhere    bool   // the finding is in no room
	rollback   bool   // the start meets its anchors
	closed     bool   // nobody can enter the engine room afterwards, or its page cannot be opened
	out        bool   // Ada's own membership is gone, not the room
	unseen     bool   // a running server does not look there again, or has the key in memory
	silent     bool   // nothing that a page shows rests on it: verify alone tells
}

func (w *world) attacks() []attack {
	const (
		message  = "UPDATE messages SET %s WHERE room_id = $engine AND n = %s"
		entry    = "UPDATE room_log SET %s WHERE room_id = $engine AND n = %s"
		noLog    = "DELETE FROM room_log WHERE room_id = $engine AND n "
		noText   = "DELETE FROM messages WHERE room_id = $engine AND n "
		anyOrder = "DROP INDEX room_log_n"
		anyText  = "DROP INDEX messages_n"
	)
	// flip changes one bit of a byte of a BLOB column: position counted from 1.
	flip := func(column string, position int) string {
		return fmt.Sprintf("%[1]s = CAST(substr(%[1]s, 1, %[2]d - 1) || (SELECT CASE hex(substr(%[1]s, %[2]d, 1)) WHEN '00' THEN x'01' ELSE x'00' END) || substr(%[1]s, %[2]d + 1) AS BLOB)", column, position)
	}
	of := func(format, set, n string) []string { return []string{fmt.Sprintf(format, set, n)} }
	as := []attack{
		{name: "the message is deleted", statements: []string{noText + "= $kettle"}, n: w.kettle},
		{name: "the message and its entry are deleted", statements: []string{noText + "= $kettle", noLog + "= $kettle"}, n: w.kettle},
		{name: "an entry alone is deleted", statements: []string{noLog + "= $kettle"}, n: w.kettle},
		{name: "four entries in a row are deleted", statements: []string{noText + "BETWEEN $kettle AND $kettle + 3", noLog + "BETWEEN $kettle AND $kettle + 3"}, n: w.kettle},
		{name: "the first entries are deleted", statements: []string{noLog + "<= 3"}, n: 1, closed: true},
		{name: "the newest entry is deleted", statements: []string{noText + "= $last", noLog + "= $last"}, rollback: true},
		{name: "the tail is cut and the head fixed up", statements: []string{noText + "> $later", noLog + "> $later",
			"UPDATE rooms SET head_n = $later, head_mac = (SELECT mac FROM room_log WHERE room_id = $engine AND n = $later) WHERE id = $engine"}, rollback: true},
		{name: "the whole room is deleted", statements: []string{"DELETE FROM memberships WHERE room_id = $engine", "DELETE FROM messages WHERE room_id = $engine", "DELETE FROM room_keys WHERE room_id = $engine",
			"DELETE FROM room_log WHERE room_id = $engine", "DELETE FROM rooms WHERE id = $engine"}, rollback: true, closed: true},
		{name: "the room's row is deleted", statements: []string{"DELETE FROM rooms WHERE id = $engine"}, rollback: true, closed: true},

		{name: "the author of a row is another", statements: of(message, "author = $grace", "$kettle"), n: w.kettle, silent: true},
		{name: "the time of a row is another", statements: of(message, "created_ms = created_ms + 1", "$kettle"), n: w.kettle, silent: true},
		{name: "the revision of a row is another", statements: of(message, "revision = 7", "$kettle"), n: w.kettle},
		{name: "the revision of a row is the same in 32 bits", statements: of(message, "revision = revision + 4294967296", "$kettle"), n: w.kettle, silent: true},
		{name: "the revision goes back", statements: of(message, "revision = 1", "$edited"), n: w.edited},
		{name: "a message has another number", statements: []string{"UPDATE messages SET n = 100 WHERE room_id = $engine AND n = $kettle"}, n: w.kettle},
		{name: "a message has a number beyond the walk", statements: []string{"UPDATE messages SET n = 1000000 WHERE room_id = $engine AND n = $kettle"}, n: w.kettle},
		{name: "two messages exchange their envelopes", statements: []string{
			"CREATE TEMP TABLE one AS SELECT envelope FROM messages WHERE room_id = $engine AND n = $kettle",
			"UPDATE messages SET envelope = (SELECT envelope FROM messages WHERE room_id = $engine AND n = $spare) WHERE room_id = $engine AND n = $kettle",
			"UPDATE messages SET envelope = (SELECT envelope FROM one) WHERE room_id = $engine AND n = $spare"}, n: w.kettle},
		{name: "two messages exchange their numbers", statements: []string{
			"UPDATE messages SET n = -1 WHERE room_id = $engine AND n = $kettle",
			"UPDATE messages SET n = $kettle WHERE room_id = $engine AND n = $spare",
			"UPDATE messages SET n = $spare WHERE room_id = $engine AND n = -1"}, n: w.kettle},
		{name: "two entries and their messages exchange their numbers", statements: []string{anyText, anyOrder,
			"UPDATE messages SET n = $kettle + $spare - n WHERE room_id = $engine AND n IN ($kettle, $spare)",
			"UPDATE room_log SET n = $kettle + $spare - n WHERE room_id = $engine AND n IN ($kettle, $spare)"}, n: w.kettle},
		{name: "a message is there twice", statements: []string{anyText, "DROP INDEX messages_client",
			"INSERT INTO messages SELECT * FROM messages WHERE room_id = $engine AND n = $kettle"}, n: w.kettle, silent: true},
		{name: "an entry is there twice", statements: []string{anyOrder, "INSERT INTO room_log SELECT * FROM room_log WHERE room_id = $engine AND n = $kettle"}, n: w.kettle},
		{name: "a message is copied under a new number", statements: []string{
			"INSERT INTO messages SELECT room_id, 500, author, created_ms, revision, NULL, envelope FROM messages WHERE room_id = $engine AND n = $kettle"}, n: 500, silent: true},
		{name: "a message is copied under a number far away", statements: []string{
			"INSERT INTO messages SELECT room_id, 5000000, author, created_ms, revision, NULL, envelope FROM messages WHERE room_id = $engine AND n = $kettle"}, n: 5000000, silent: true},
		{name: "a message is copied under number 0", statements: []string{
			"INSERT INTO messages SELECT room_id, 0, author, created_ms, revision, NULL, envelope FROM messages WHERE room_id = $engine AND n = $kettle"}, silent: true},
		{name: "an entry is copied under a new number", statements: []string{
			"INSERT INTO room_log SELECT room_id, $last + 1, op, target, actor, epoch, time_ms, posts, payload, mac FROM room_log WHERE room_id = $engine AND n = $kettle",
			"INSERT INTO messages SELECT room_id, $last + 1, author, created_ms, revision, NULL, envelope FROM messages WHERE room_id = $engine AND n = $kettle"}, n: w.last + 1, silent: true},
		{name: "an entry is added and the head fixed up", statements: []string{
			"INSERT INTO room_log SELECT room_id, $last + 1, op, target, actor, epoch, time_ms, posts, payload, mac FROM room_log WHERE room_id = $engine AND n = $kettle",
			"INSERT INTO messages SELECT room_id, $last + 1, author, created_ms, revision, NULL, envelope FROM messages WHERE room_id = $engine AND n = $kettle",
			"UPDATE rooms SET head_n = $last + 1 WHERE id = $engine"}, n: w.last + 1},
		{name: "an entry stands far away", statements: []string{
			"INSERT INTO room_log SELECT room_id, 1000000000000, op, target, actor, epoch, time_ms, posts, payload, mac FROM room_log WHERE room_id = $engine AND n = $kettle"}, silent: true},
		{name: "an entry has number 0", statements: []string{
			"INSERT INTO room_log SELECT room_id, 0, op, target, actor, epoch, time_ms, posts, payload, mac FROM room_log WHERE room_id = $engine AND n = $kettle"}, silent: true},
		{name: "a message is copied to another room with its entry", statements: []string{
			"UPDATE messages SET envelope = (SELECT envelope FROM messages WHERE room_id = $library AND n = $book), author = $grace, revision = 0 WHERE room_id = $engine AND n = $kettle",
			"UPDATE room_log SET (actor, epoch, time_ms, payload, mac) = (SELECT actor, epoch, time_ms, payload, mac FROM room_log WHERE room_id = $library AND n = $book) WHERE room_id = $engine AND n = $kettle"}, n: w.kettle},
		{name: "an older envelope is put back", statements: []string{
			"UPDATE messages SET envelope = $oldEdited, revision = 1 WHERE room_id = $engine AND n = $edited"}, n: w.edited},
		{name: "an older envelope is put back and the edit's entry deleted", statements: []string{
			"UPDATE messages SET envelope = $oldEdited, revision = 1 WHERE room_id = $engine AND n = $edited", noLog + "= $editing"}, n: w.editing},
		{name: "a removed message is put back", statements: []string{
			"UPDATE messages SET envelope = $oldGone WHERE room_id = $engine AND n = $removed"}, n: w.removed},
		{name: "a removed message is put back and the removal's entry deleted", statements: []string{
			"UPDATE messages SET envelope = $oldGone WHERE room_id = $engine AND n = $removed", noLog + "= $removing"}, n: w.removing},
		{name: "a removal is turned into an edit", statements: []string{
			"UPDATE messages SET envelope = $oldGone WHERE room_id = $engine AND n = $removed",
			"UPDATE room_log SET op = 8, payload = (SELECT payload FROM room_log WHERE room_id = $engine AND n = $removed) WHERE room_id = $engine AND n = $removing"}, n: w.removing},
		{name: "a removal is about another message", statements: []string{
			"UPDATE messages SET envelope = $oldGone WHERE room_id = $engine AND n = $removed",
			"UPDATE room_log SET target = (SELECT target FROM room_log WHERE room_id = $engine AND n = $kettle) WHERE room_id = $engine AND n = $removing",
			"UPDATE messages SET envelope = x'' WHERE room_id = $engine AND n = $kettle"}, n: w.removing},
		{name: "a message is emptied", statements: of(message, "envelope = x''", "$kettle"), n: w.kettle},
		{name: "an envelope is cut", statements: of(message, "envelope = substr(envelope, 1, length(envelope) - 16)", "$kettle"), n: w.kettle},
		{name: "an envelope is text", statements: of(message, "envelope = 'the kettle is off'", "$kettle"), n: w.kettle},

		{name: "an entry's head is cut", statements: of(entry, "mac = x'00'", "$kettle"), n: w.kettle},
		{name: "an entry's actor is cut", statements: of(entry, "actor = x'00'", "$kettle"), n: w.kettle},
		{name: "an entry's time is a word", statements: of(entry, "time_ms = 'noon'", "$kettle"), n: w.kettle},
		{name: "an entry's epoch is negative", statements: of(entry, "epoch = -1", "$kettle"), n: w.kettle},
		{name: "an entry's operation is none", statements: of(entry, "op = 300", "$kettle"), n: w.kettle},
		{name: "an entry has a negative number", statements: []string{
			"INSERT INTO room_log SELECT room_id, -5, op, target, actor, epoch, time_ms, posts, payload, mac FROM room_log WHERE room_id = $engine AND n = $kettle"}, silent: true},
		{name: "a message's revision is a word", statements: of(message, "revision = 'first'", "$kettle"), n: w.kettle},
		{name: "a message's author is cut", statements: of(message, "author = x'00'", "$kettle"), n: w.kettle, silent: true},
		{name: "the room's head is cut", statements: []string{"UPDATE rooms SET head_mac = x'00' WHERE id = $engine"}, closed: true},
		{name: "the room's head is another", statements: []string{"UPDATE rooms SET head_mac = zeroblob(32) WHERE id = $engine"}},
		{name: "the room's head is the one before", statements: []string{"UPDATE rooms SET (head_n, head_mac) = ($last - 1, (SELECT mac FROM room_log WHERE room_id = $engine AND n = $last - 1)) WHERE id = $engine"}, rollback: true},
		{name: "a membership is nobody's", statements: []string{"UPDATE memberships SET user_id = x'00' WHERE room_id = $engine AND user_id = $grace"}, silent: true},

		{name: "the name is another room's", statements: []string{"UPDATE rooms SET name = (SELECT name FROM rooms WHERE id = $library) WHERE id = $engine"}, closed: true},
		{name: "the name's number is another", statements: []string{"UPDATE rooms SET name_n = name_n + 1 WHERE id = $engine"}, closed: true},
		{name: "the code is another room's", statements: []string{"UPDATE rooms SET code = (SELECT code FROM rooms WHERE id = $library) WHERE id = $engine"}, closed: true},
		{name: "the codes' indices are exchanged", statements: []string{
			"CREATE TEMP TABLE two AS SELECT id, code_index FROM rooms", "UPDATE rooms SET code_index = NULL",
			"UPDATE rooms SET code_index = (SELECT code_index FROM two WHERE two.id <> rooms.id)"}, silent: true},
		{name: "the code's index is gone", statements: []string{"UPDATE rooms SET code_index = NULL WHERE id = $engine"}, silent: true},
		{name: "the room's epoch is another", statements: []string{"UPDATE rooms SET epoch = 1 WHERE id = $engine"}, unseen: true},
		{name: "the room looks destroyed", statements: []string{"UPDATE rooms SET state = 2 WHERE id = $engine"}, closed: true},
		{name: "the room looks as if it were being destroyed", statements: []string{"UPDATE rooms SET state = 1 WHERE id = $engine"}, closed: true},

		{name: "the room's key is another room's", statements: []string{"UPDATE room_keys SET wrapped = (SELECT wrapped FROM room_keys WHERE room_id = $library AND epoch = 1) WHERE room_id = $engine AND epoch = 2"}, unseen: true},
		{name: "the first key is another room's", statements: []string{"UPDATE room_keys SET wrapped = (SELECT wrapped FROM room_keys WHERE room_id = $library AND epoch = 1) WHERE room_id = $engine AND epoch = 1"}, closed: true, unseen: true},
		{name: "the key is that of another epoch", statements: []string{"UPDATE room_keys SET wrapped = (SELECT wrapped FROM room_keys WHERE room_id = $engine AND epoch = 1) WHERE room_id = $engine AND epoch = 2"}, unseen: true},
		{name: "the key is cut", statements: []string{"UPDATE room_keys SET wrapped = substr(wrapped, 1, 100) WHERE room_id = $engine AND epoch = 2"}, unseen: true},
		{name: "the key is gone", statements: []string{"DELETE FROM room_keys WHERE room_id = $engine AND epoch = 2"}, unseen: true},

		{name: "somebody is made a member", statements: []string{"INSERT INTO memberships (room_id, user_id, role, entry_n, joined_n) VALUES ($engine, $linus, 'member', 5, 5)"}, unseen: true},
		{name: "somebody is made a member by no entry", statements: []string{"INSERT INTO memberships (room_id, user_id, role, entry_n, joined_n) VALUES ($engine, $linus, 'member', 900, 900)"}, unseen: true},
		{name: "a member is taken out", statements: []string{"DELETE FROM memberships WHERE room_id = $engine AND user_id = $grace"}, silent: true},
		{name: "a role is raised", statements: []string{"UPDATE memberships SET role = 'owner' WHERE room_id = $engine AND user_id = $grace"}},
		{name: "a role points to the owner's entry", statements: []string{"UPDATE memberships SET role = 'owner', entry_n = 2, joined_n = 2 WHERE room_id = $engine AND user_id = $grace"}, unseen: true},
		{name: "two members are exchanged", statements: []string{"DROP INDEX memberships_room_user",
			"UPDATE memberships SET user_id = CASE user_id WHEN $ada THEN $grace ELSE $ada END WHERE room_id = $engine"}, out: true},

		{name: "profiles are exchanged", statements: swapped("profile"), nowhere: true},
		{name: "passwords are exchanged", statements: swapped("password"), nowhere: true, silent: true},
		{name: "second factors are exchanged", statements: swapped("totp"), nowhere: true, silent: true},
		{name: "a user is deleted", statements: []string{"DELETE FROM users WHERE id = $grace"}, nowhere: true},
		{name: "names are exchanged in the index", statements: append([]string{"CREATE TEMP TABLE i AS SELECT id, username_index FROM users",
			"UPDATE users SET username_index = id"}, "UPDATE users SET username_index = (SELECT username_index FROM i WHERE i.id = CASE users.id WHEN $ada THEN $grace WHEN $grace THEN $ada ELSE users.id END)"), nowhere: true, silent: true},
		{name: "an address is exchanged in the index", statements: []string{"UPDATE users SET email_index = zeroblob(32) WHERE id = $grace"}, nowhere: true, silent: true},
		{name: "a revision is raised", statements: []string{"UPDATE users SET revision = 2 WHERE id = $grace"}, nowhere: true},

		{name: "an event of the audit log is changed", statements: []string{"UPDATE audit_log SET actor = $grace WHERE n = 1"}, nowhere: true, silent: true},
		{name: "an event of the audit log has another time", statements: []string{"UPDATE audit_log SET time_ms = time_ms + 1 WHERE n = 2"}, nowhere: true, silent: true},
		{name: "the first event of the audit log is deleted", statements: []string{"DELETE FROM audit_log WHERE n = 1"}, nowhere: true, silent: true},
		{name: "the audit log is cut", statements: []string{"DELETE FROM audit_log WHERE n > 2"}, nowhere: true, rollback: true, silent: true},
		{name: "the audit log is emptied", statements: []string{"DELETE FROM audit_log"}, nowhere: true, rollback: true, silent: true},
	}
	for position, field := range map[int]string{1: "version", 2: "kind", 4: "epoch", 10: "IV", 25: "ciphertext", 60: "tag"} {
		as = append(as, attack{name: "a bit of an envelope's " + field, statements: of(message, flip("envelope", position), "$kettle"), n: w.kettle})
		as = append(as, attack{name: "a bit of a removed message's " + field, statements: []string{
			"UPDATE messages SET envelope = $oldGone WHERE room_id = $engine AND n = $removed", fmt.Sprintf(message, flip("envelope", position), "$removed")}, n: w.removed})
		as = append(as, attack{name: "a bit of the name's " + field, statements: []string{"UPDATE rooms SET " + flip("name", position) + " WHERE id = $engine"}, closed: true})
		as = append(as, attack{name: "a bit of the code's " + field, statements: []string{"UPDATE rooms SET " + flip("code", position) + " WHERE id = $engine"}, closed: true})
		as = append(as, attack{name: "a bit of a key's " + field, statements: []string{"UPDATE room_keys SET " + flip("wrapped", position) + " WHERE room_id = $engine AND epoch = 2"}, unseen: true})
	}
	for _, n := range []string{"$kettle", "$editing", "$left"} {
		for _, set := range []string{"op = 12", "op = 9", "actor = $grace", "target = $ada", "epoch = 3 - epoch", "time_ms = time_ms - 60000", "posts = posts + 1",
			"payload = randomblob(32)", "mac = zeroblob(32)"} {
			if n != "$kettle" && set == "actor = $grace" {
				set = "actor = zeroblob(16)"
			}
			as = append(as, attack{name: "entry " + n[1:] + " has another " + set, statements: of(entry, set, n), out: n == "$left" && set == "target = $ada"})
		}
	}
	return as
}

func swapped(column string) []string {
	return []string{"CREATE TEMP TABLE u AS SELECT id, " + column + " AS v FROM users",
		"UPDATE users SET " + column + " = (SELECT v FROM u WHERE u.id = CASE users.id WHEN $ada THEN $grace WHEN $grace THEN $ada ELSE users.id END)"}
}

func TestAWholeDatabaseIsWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.whole(t)
	s := w.start(t)
	w.whole(t)
	for _, room := range []ID{w.engine, w.library} {
		w.believed(t, s, w.ada, room, nothing)
		if damage, harmed := s.proofs.status(room); damage != "" || harmed {
			t.Errorf("room %s: %q, %v", room, damage, harmed)
		}
	}
	if count := integrityEvents(t, s); count != 0 {
		t.Errorf("%d alarms", count)
	}
	r := verified(t, options(w.dir))
	if want := w.last + 7; r.Rooms != 2 || r.Entries != want {
		t.Errorf("it walked %d rooms and %d entries, not 2 and %d", r.Rooms, r.Entries, want)
	}
}

// Every attack is made on a folder that no server uses. verify names it; the next server starts
// (or stops at its anchors until the operator accepts), tells the truth about what it shows,
// keeps the other room as it was, and writes the damage down.
func TestEveryAttackOnAStoppedDatabaseIsNamedAndContained(t *testing.T) {
	t.Parallel()
	for _, a := range newWorld(t).attacks() {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.tamper(t, a.statements...)
			w.named(t, a)

			s, err := Open(options(w.dir))
			if errors.Is(err, ErrRollback) != a.rollback {
				t.Errorf("start: %v", err)
			}
			if err != nil {
				o := options(w.dir)
				o.AcceptRollback = true
				if s, err = Open(o); err != nil {
					t.Fatalf("start after accepting: %v", err)
				}
			}
			walked(t, s)
			missing := nothing
			if a.rollback {
				missing = anything
			}
			w.contained(t, s, a, missing, false)
			if !a.silent && !a.nowhere && !a.rollback || a.nowhere && !a.silent {
				eventually(t, "an audit event", func() bool { return integrityEvents(t, s) > 0 })
			}
			must(t, s.Close())
			again, err := Open(options(w.dir))
			if err != nil {
				t.Fatalf("the next start: %v", err)
			}
			must(t, again.Close())
		})
	}
}

// The same, behind the back of a server that has been through all logs.
func TestNoAttackOnARunningServerIsShownAsGenuine(t *testing.T) {
	t.Parallel()
	for _, a := range newWorld(t).attacks() {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s := w.start(t)
			w.tamper(t, a.statements...)
			w.named(t, a)
			missing := nothing
			if a.rollback {
				missing = announced
			}
			w.contained(t, s, a, missing, true)
			must(t, s.Close())
			w.named(t, a) // and the shutdown has not made it look right
			if a.rollback {
				if s, err := Open(options(w.dir)); !errors.Is(err, ErrRollback) {
					t.Errorf("the next start: %v", err)
					if s != nil {
						s.Close()
					}
				}
			}
		})
	}
}

func (w *world) named(t *testing.T, a attack) {
	t.Helper()
	r := verified(t, options(w.dir))
	if len(r.Findings) == 0 {
		t.Fatal("verify finds nothing")
	}
	var engine, n bool
	for _, f := range r.Findings {
		engine = engine || f.Room == w.engine.String()
		n = n || f.Room == w.engine.String() && (f.N == a.n || a.n == 0)
		if f.Room == w.library.String() && !strings.Contains(a.name, "exchanged in the index") && !strings.Contains(a.name, "indices") {
			t.Errorf("verify finds something in the other room: %v", f)
		}
		if strings.Contains(f.What, "1844674407") {
			t.Errorf("verify has counted below zero: %v", f)
		}
	}
	if !a.nowhere && !n {
		t.Errorf("verify does not name n %d (the room: %v): %v", a.n, engine, r.Findings)
	}
	if a.nowhere && engine {
		t.Errorf("verify names the room: %v", r.Findings)
	}
}

func (w *world) contained(t *testing.T, s *Store, a attack, missing gone, running bool) {
	t.Helper()
	w.believed(t, s, w.ada, w.library, nothing)
	_, err := s.Post(ctx, w.member(t, s, w.ada, w.library), "life goes on", "")
	if err != nil {
		t.Errorf("the other room takes no message: %v", err)
	}
	w.truth = map[ID]map[uint64]Line{w.engine: w.truth[w.engine]}
	m, err := s.Member(ctx, By{User: w.ada}, w.engine.String())
	if a.out {
		if err == nil && m.Role != Owner {
			t.Errorf("Ada is %s", m.Role)
		}
		return
	}
	if a.closed {
		if err == nil {
			_, err = s.View(ctx, m)
		}
		if err != nil && KindOf(err) == 0 {
			t.Errorf("the closed room is no proper error: %v", err)
		}
		if err != nil {
			return
		}
	}
	if err != nil {
		t.Errorf("Ada is no member: %v", err)
		return
	}
	w.believed(t, s, w.ada, w.engine, missing)
	v, err := s.View(ctx, m)
	if err == nil && !a.silent && !a.nowhere && missing != anything && !(running && a.unseen) && !v.Harmed {
		t.Error("the room does not say that it was harmed")
	}
	if _, err := s.Post(ctx, m, "is anybody here?", ""); err == nil && v.ReadOnly {
		t.Error("something is added to a log that is damaged")
	}
	if l, err := s.Member(ctx, By{User: w.linus}, w.engine.String()); err == nil {
		t.Errorf("Linus has left and is %s again", l.Role)
	}
	if g, err := s.Member(ctx, By{User: w.grace}, w.engine.String()); err == nil && g.Role != Plain {
		t.Errorf("Grace is %s", g.Role)
	}
}

func (w *world) member(t testing.TB, s *Store, user, room ID) Membership {
	t.Helper()
	m, err := s.Member(ctx, By{User: user}, room.String())
	if err != nil {
		t.Fatalf("not a member: %v", err)
	}
	return m
}

// BenchmarkVerify measures a whole walk through one room of 100,000 entries, as the command does it.
func BenchmarkVerify(b *testing.B) {
	w := newWorld(b)
	s := w.start(b)
	ada := w.member(b, s, w.ada, w.engine)
	const count, posters = 100_000, 256
	text := strings.Repeat("Two hundred bytes are about what people write. ", 5)[:200]
	done := make(chan error)
	for range posters {
		go func() {
			for range count / posters {
				if _, err := s.Post(ctx, ada, text, ""); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range posters {
		must(b, <-done)
	}
	must(b, s.Close())
	var entries uint64
	b.ResetTimer()
	for b.Loop() {
		r, err := OpenToRead(options(w.dir))
		must(b, err)
		report, err := r.Verify(ctx, func(done, all uint64) {})
		must(b, errors.Join(err, r.Close()))
		if len(report.Findings) > 0 {
			b.Fatal(report.Findings)
		}
		entries += report.Entries
	}
	b.ReportMetric(float64(entries)/b.Elapsed().Seconds(), "entries/s")
}

// BenchmarkStart measures how long a folder with 1,000 rooms takes until it can be served.
func BenchmarkStart(b *testing.B) {
	w := newWorld(b)
	s := w.start(b)
	done := make(chan error)
	for range 50 {
		go func() {
			for range 20 {
				if _, err := s.CreateRoom(ctx, By{User: w.ada}, "One of a thousand"); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 50 {
		must(b, <-done)
	}
	must(b, s.Close())
	b.ResetTimer()
	for b.Loop() {
		s, err := Open(options(w.dir))
		must(b, err)
		b.StopTimer()
		must(b, s.Close())
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/start")
}
