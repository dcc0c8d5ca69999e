package models

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"conclave/models/feed"
)

// archive is an open store with a folder of its own, and all that it logged.
type archive struct {
	*Store
	t     *testing.T
	dir   string
	log   *book
	scale int          // of its limits
	ahead atomic.Int64 // how far its clock is
}

// book is a log that can be read while it is written.
type book struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *book) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(line)
}

func (b *book) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func openArchive(t *testing.T) *archive {
	t.Helper()
	a := &archive{t: t, dir: t.TempDir(), log: &book{}, scale: 100}
	a.open()
	t.Cleanup(func() { a.Close() })
	return a
}

func (a *archive) open() {
	a.t.Helper()
	var err error
	a.Store, err = Open(Options{
		Dir: a.dir, Hub: feed.New(feed.Options{}), Log: slog.New(slog.NewTextHandler(a.log, nil)),
		SessionIdle: time.Hour, SessionLifetime: 24 * time.Hour, LimitScale: a.scale, LightHashes: true,
		Now: func() time.Time { return time.Now().Add(time.Duration(a.ahead.Load())) },
	})
	if err != nil {
		a.t.Fatal(err)
	}
}

func (a *archive) reopen() {
	a.t.Helper()
	if err := a.Close(); err != nil {
		a.t.Fatal(err)
	}
	a.open()
}

// intruder is a second connection to the database, of somebody who has no key.
func (a *archive) intruder() *sql.DB {
	a.t.Helper()
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(a.dir, databaseName)+"?_busy_timeout=5000")
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { db.Close() })
	return db
}

// tamper runs a statement of the intruder, which must change that many rows.
func (a *archive) tamper(rows int64, statement string, args ...any) {
	a.t.Helper()
	result, err := a.intruder().Exec(statement, args...)
	if err != nil {
		a.t.Fatal(err)
	}
	if changed, err := result.RowsAffected(); err != nil || changed != rows {
		a.t.Fatalf("%s: %d rows, want %d (%v)", statement, changed, rows, err)
	}
}

// user is somebody who is already registered. It leaves out the password, which costs a tenth
// of a second; registered has one.
func (a *archive) user(username, fullName string) ID {
	a.t.Helper()
	id := newID()
	profile, err := json.Marshal(sealedProfile{Username: username, FullName: fullName, Email: username + "@example.org"})
	if err != nil {
		a.t.Fatal(err)
	}
	err = a.write.Create(&userRow{
		ID: id, UsernameIndex: a.service.Index("username", username), EmailIndex: a.service.Index("email", username+"@example.org"),
		Profile: a.service.SealProfile(id, firstRevision, profile), Revision: firstRevision,
		Password: a.service.SealPassword(id, []byte(a.hasher.nobody.String())), TOTP: a.service.SealTOTP(id, []byte(rand.Text())), CreatedMS: a.now(),
	}).Error
	if err != nil {
		a.t.Fatal(err)
	}
	return id
}

const goodPassword = "purple lantern over the harbour"

// registered goes through both steps of the registration.
func (a *archive) registered(r Registration) (user User, secret string, codes []string) {
	a.t.Helper()
	id, err := a.Register(a.t.Context(), r)
	if err != nil {
		a.t.Fatal(err)
	}
	p, err := a.Pending(a.t.Context(), id)
	if err != nil {
		a.t.Fatal(err)
	}
	user, codes, err = a.Confirm(a.t.Context(), By{}, id, codeOf(a.t, p.Secret, 0))
	if err != nil {
		a.t.Fatal(err)
	}
	return user, p.Secret, codes
}

func codeOf(t *testing.T, secret string, steps int) string {
	t.Helper()
	return codeAt(t, secret, time.Now().Add(time.Duration(steps)*30*time.Second))
}

func codeAt(t testing.TB, secret string, at time.Time) string {
	t.Helper()
	code, err := totp.GenerateCode(secret, at)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// meeting is a room of Ada's that Grace has joined.
type meeting struct {
	*archive
	room       ID
	ada, grace ID
}

func openMeeting(t *testing.T) *meeting {
	t.Helper()
	m := &meeting{archive: openArchive(t)}
	m.ada, m.grace = m.user("ada", "Ada Lovelace"), m.user("grace", "Grace Hopper")
	m.room = m.create(m.ada, "Engine room")
	m.join(m.grace, m.room)
	return m
}

func (a *archive) create(owner ID, name string) ID {
	a.t.Helper()
	room, err := a.CreateRoom(a.t.Context(), By{User: owner}, name)
	if err != nil {
		a.t.Fatal(err)
	}
	return room
}

func (a *archive) join(user, room ID) {
	a.t.Helper()
	if _, err := a.Join(a.t.Context(), By{User: user}, a.codeOf(room)); err != nil {
		a.t.Fatal(err)
	}
}

// codeOf is a room's code as its members see it.
func (a *archive) codeOf(room ID) string {
	a.t.Helper()
	code, err := a.readCode(a.t.Context(), a.read.Statement.ConnPool, room)
	if err != nil {
		a.t.Fatal(err)
	}
	return code.symbols
}

func (a *archive) member(user, room ID) Membership {
	a.t.Helper()
	m, err := a.Member(a.t.Context(), By{User: user}, room.String())
	if err != nil {
		a.t.Fatal(err)
	}
	return m
}

func (a *archive) say(user, room ID, body string) uint64 {
	a.t.Helper()
	n, err := a.Post(a.t.Context(), a.member(user, room), body, "")
	if err != nil {
		a.t.Fatal(err)
	}
	return n
}

// history is what a member sees of the posts: text, or "DAMAGED".
func (a *archive) history(user, room ID) []string {
	a.t.Helper()
	v, err := a.View(a.t.Context(), a.member(user, room))
	if err != nil {
		a.t.Fatal(err)
	}
	var said []string
	for _, l := range v.Page.Lines {
		switch {
		case l.Damaged:
			said = append(said, "DAMAGED")
			if l.Body != "" || l.Who != (Profile{}) || !l.At.IsZero() {
				a.t.Errorf("a damaged line shows %+v", l)
			}
		case l.Op == OpPost:
			said = append(said, l.Body)
		}
	}
	return said
}

// allSaid is like history, for a room of any length.
func (a *archive) allSaid(user, room ID) []string {
	a.t.Helper()
	m := a.member(user, room)
	var said []string
	for cursor := uint64(0); ; {
		tail, err := a.After(a.t.Context(), m, cursor)
		if err != nil {
			a.t.Fatal(err)
		}
		for _, e := range tail.Entries {
			line, err := a.Open(context.Background(), e)
			if err != nil {
				a.t.Fatal(err)
			}
			if line.Damaged {
				a.t.Errorf("entry %d is damaged", e.N)
			}
			if e.Op == OpPost {
				said = append(said, line.Body)
			}
			cursor = e.N
		}
		if cursor >= tail.Head {
			return said
		}
	}
}

func numbered(count int) []string {
	list := make([]string, count)
	for i := range list {
		list[i] = fmt.Sprintf("Message number %d", i)
	}
	return list
}
