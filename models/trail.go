package models

import (
	"context"
	"errors"
	"slices"
	"sort"
	"strings"
	"time"

	"gorm.io/gorm"
)

// AuditFilter says which events are wanted. The zero one wants all.
type AuditFilter struct {
	Events   []string // names, and beginnings of names that end in "."
	Person   ID       // who did it, or to whom it was done: to the account, a session or in a room
	From, To time.Time
}

// AuditEntry is one event of the audit log, verified against the one before it.
type AuditEntry struct {
	N       uint64
	At      time.Time
	Event   string
	Actor   Profile // the zero one: the server, or somebody unknown
	Session string  // half of its keyed hash
	Address string
	Object  string
	About   Profile // whom the object names, if it names a person
	Outcome string

	Damaged string // what is wrong with it; then all above but N is empty
	Missing uint64 // so many entries are missing right before it
	Cut     uint64 // this is no entry, but so many that are missing at the end of the log
}

// AuditPage lists events with a number below before (0: all), the newest first, most of them at
// a time. older says that there are more. Only an administrator may be shown it.
//
// It reads no more than it shows, however long the log is.
func (s *Store) AuditPage(ctx context.Context, f AuditFilter, before uint64, most int) (page []AuditEntry, older bool, err error) {
	known := s.integrity.state().Audit.UpTo
	type fault struct {
		n    uint64
		what string
	}
	var faults []fault
	err = s.snapshot(ctx, func(db gorm.ConnPool) error {
		page, older, faults = nil, false, nil
		last, err := readAuditMark(ctx, db)
		if err != nil {
			return err
		}
		if before == 0 && last.n < known {
			page = append(page, AuditEntry{N: last.n + 1, Cut: known - last.n})
			faults = append(faults, fault{last.n + 1, auditCut})
		}
		if before == 0 || before > last.n {
			before = last.n + 1
		}
		numbers, err := s.auditNumbers(ctx, db, f, before, most+1)
		if err != nil {
			return err
		}
		if older = len(numbers) > most; older {
			numbers = numbers[:most]
		}
		names := s.profiles(ctx, db)
		for _, n := range numbers {
			e, err := s.auditEntry(ctx, db, names, n)
			if err != nil {
				return err
			}
			if e.Damaged != "" {
				faults = append(faults, fault{n, e.Damaged})
			}
			page = append(page, e)
		}
		return nil
	})
	for _, fault := range faults {
		s.auditFault(fault.n, fault.what)
	}
	return page, older, err
}

const (
	missingBefore = "entries of the audit log are missing before this one"
	auditCut      = "entries of the audit log are missing from this one on"
	entryChanged  = "this entry of the audit log was changed"
)

func (s *Store) auditEntry(ctx context.Context, db gorm.ConnPool, names *profiles, n uint64) (AuditEntry, error) {
	found := AuditEntry{N: n}
	var at, previous number
	var a Audit
	var session blob
	var mac, before hash
	err := db.QueryRowContext(ctx, `SELECT a.time_ms, CAST(a.event AS TEXT), a.actor, a.session, CAST(a.address AS TEXT), CAST(a.object AS TEXT), CAST(a.outcome AS TEXT), a.mac,
		coalesce((SELECT max(p.n) FROM audit_log p WHERE p.n < a.n), 0), coalesce((SELECT p.mac FROM audit_log p WHERE p.n = a.n - 1), x'') FROM audit_log a WHERE a.n = ?`, int64(n)).
		Scan(&at, &a.Event, &a.Actor, &session, &a.Address, &a.Object, &a.Outcome, &mac, &previous, &before)
	if err != nil {
		return found, err
	}
	a.Session = session
	found.Missing = n - 1 - uint64(max(previous, 0))
	switch {
	case found.Missing > 0:
		found.Damaged = missingBefore
		return found, nil
	case s.service.AuditNext(before, a.encoded(n, int64(at))) != mac:
		found.Damaged = entryChanged
		return found, nil
	}
	found.At, found.Event, found.Address, found.Object, found.Outcome = time.UnixMilli(int64(at)), a.Event, a.Address, a.Object, a.Outcome
	if len(session) >= 16 {
		found.Session = handleOf(session)
	}
	if found.Actor, err = names.person(a.Actor); err != nil {
		return found, err
	}
	if about := a.about(); about != a.Actor {
		found.About, err = names.person(about)
	}
	return found, err
}

// about is whom an event was done to, zero for nobody.
func (a Audit) about() ID {
	words := strings.Fields(a.Object)
	kind, _, _ := strings.Cut(a.Event, ".")
	at := 0
	switch kind {
	case "account", "attempts", "passkey":
	case "room", "session":
		at = 1
	default:
		return ID{}
	}
	if len(words) <= at {
		return ID{}
	}
	id, _ := ParseID(words[at])
	return id
}

// person is get for an id that may be nobody's.
func (p *profiles) person(id ID) (Profile, error) {
	if id.Zero() {
		return Profile{}, nil
	}
	return p.get(id)
}

// auditNumbers finds the newest entries below a number that fit a filter. Every event, alone or with
// a person, is one place in an index, and from each only as many are read as are wanted. (Left to
// itself SQLite goes through all numbers there are.)
func (s *Store) auditNumbers(ctx context.Context, db gorm.ConnPool, f AuditFilter, below uint64, most int) ([]uint64, error) {
	above := uint64(0)
	if !f.From.IsZero() {
		first, err := auditSince(ctx, db, f.From.UnixMilli())
		if err != nil {
			return nil, err
		}
		above = first - 1
	}
	if !f.To.IsZero() {
		end, err := auditSince(ctx, db, f.To.UnixMilli())
		if err != nil {
			return nil, err
		}
		below = min(below, end)
	}
	from, to := int64(above), int64(below)
	if len(f.Events) == 0 && f.Person.Zero() {
		return column[uint64](ctx, db, "SELECT n FROM audit_log WHERE n > ? AND n < ? ORDER BY n DESC LIMIT ?", from, to, most)
	}
	events, err := auditEvents(ctx, db, f.Events)
	if err != nil {
		return nil, err
	}
	var found []uint64
	add := func(query string, args ...any) error {
		more, err := column[uint64](ctx, db, query, append(args, from, to, most)...)
		found = append(found, more...)
		return err
	}
	for _, event := range events {
		if f.Person.Zero() {
			err = add(auditByEvent, event)
		} else {
			name := f.Person.String()
			err = errors.Join(add(auditByActor, f.Person, event), add(auditByFirst, name, event), add(auditBySecond, name, event))
		}
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(found)
	found = slices.Compact(found)
	slices.Reverse(found)
	return found[:min(len(found), most)], nil
}

const (
	auditByEvent = "SELECT n FROM audit_log INDEXED BY audit_log_event WHERE event = ? AND n > ? AND n < ? ORDER BY n DESC LIMIT ?"
	auditByActor = "SELECT n FROM audit_log INDEXED BY audit_log_actor WHERE actor = ? AND event = ? AND n > ? AND n < ? ORDER BY n DESC LIMIT ?"
	// The object of what is done to an account begins with the person; of what is done to a session or in
	// a room the person is the second word.
	auditByFirst  = "SELECT n FROM audit_log INDEXED BY audit_log_first WHERE length(object) >= 32 AND substr(object, 1, 32) = ? AND event = ? AND n > ? AND n < ? ORDER BY n DESC LIMIT ?"
	auditBySecond = "SELECT n FROM audit_log INDEXED BY audit_log_second WHERE length(object) >= 65 AND substr(object, 34, 32) = ? AND event = ? AND n > ? AND n < ? ORDER BY n DESC LIMIT ?"
)

// auditSince returns the number of the first entry that is not older than a moment, by bisection:
// numbers and times grow together.
func auditSince(ctx context.Context, db gorm.ConnPool, at int64) (uint64, error) {
	last, err := readAuditMark(ctx, db)
	if err != nil {
		return 0, err
	}
	n := sort.Search(int(last.n), func(i int) bool {
		var time number
		if err == nil {
			err = db.QueryRowContext(ctx, "SELECT time_ms FROM audit_log WHERE n >= ? ORDER BY n LIMIT 1", i+1).Scan(&time)
		}
		return int64(time) >= at
	})
	return uint64(n) + 1, err
}

const auditEventsMost = 500 // names of events: an intruder may have made up any number

// auditEvents lists the events that there are and that are wanted.
func auditEvents(ctx context.Context, db gorm.ConnPool, wanted []string) (events []string, err error) {
	last := ""
	for range auditEventsMost {
		var next *string
		err := db.QueryRowContext(ctx, "SELECT CAST(min(event) AS TEXT) FROM audit_log WHERE event > ?", last).Scan(&next)
		if err != nil {
			return nil, err
		}
		if next == nil || *next == last {
			return events, nil
		}
		last = *next
		if len(wanted) == 0 || slices.ContainsFunc(wanted, func(w string) bool { return w == last || strings.HasSuffix(w, ".") && strings.HasPrefix(last, w) }) {
			events = append(events, last)
		}
	}
	return events, nil
}

// PersonNamed finds somebody by user name, or by the id that an event shows. It is Invalid, in the field "person", for nobody.
func (s *Store) PersonNamed(ctx context.Context, name string) (ID, error) {
	name = strings.ToLower(strings.TrimPrefix(strings.TrimSpace(name), "@"))
	if id, err := ParseID(name); err == nil {
		return id, nil
	}
	var id ID
	err := s.reading(ctx, func(h *handle) error {
		return noRow(h.QueryRowContext(ctx, "SELECT id FROM users WHERE username_index = ?", s.service.Index("username", name)).Scan(&id),
			invalid("person", "Nobody here has the user name %q.", name))
	})
	return id, err
}

// AuditExport hands all events that fit a filter to each, the newest first, and writes down that
// somebody took them away. It reads them in short pieces, so that nothing waits for it.
func (s *Store) AuditExport(ctx context.Context, by By, format, filter string, f AuditFilter, each func([]AuditEntry) error) error {
	if err := s.act(ctx, func(t *act) error { return t.audit(by.audit("audit.export", format, filter)) }); err != nil {
		return err
	}
	const piece = 500
	for before := uint64(0); ; {
		page, older, err := s.AuditPage(ctx, f, before, piece)
		if err == nil {
			err = each(page)
		}
		if err != nil || !older {
			return err
		}
		before = page[len(page)-1].N
	}
}
