package models

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"gorm.io/gorm"
)

// The anchors are the ends of all logs, kept outside the database in one file that only the
// holder of the keys can write. The logs themselves cannot notice that their last entries were
// cut off, or that the whole database was exchanged for an older one; the anchors can.
//
//	conclave anchors 1
//	audit <n> <mac>
//	room <id> <n> <mac>        one line a room, in the order of the ids
//	sum <HMAC over all lines above>
//
// The file is written before the server serves, every minute if something changed, and at the
// shutdown; only committed heads go into it, so it is never ahead of the database.
const (
	anchorsName  = "anchors"
	anchorsTitle = "conclave anchors 1\n"
	anchorsEvery = time.Minute
	auditLine    = "audit"
)

// ErrRollback means that the database is older than its anchors.
var ErrRollback = errors.New("the database is older than its anchors")

type anchors struct {
	audit mark
	rooms map[ID]mark
}

func (a anchors) encoded(sum func([]byte) [32]byte, order []ID) []byte {
	var b bytes.Buffer
	b.WriteString(anchorsTitle)
	fmt.Fprintf(&b, "%s %d %x\n", auditLine, a.audit.n, a.audit.mac)
	for _, id := range order {
		fmt.Fprintf(&b, "room %s %d %x\n", id, a.rooms[id].n, a.rooms[id].mac)
	}
	fmt.Fprintf(&b, "sum %x\n", sum(b.Bytes()))
	return b.Bytes()
}

// parseAnchors reads the file. It fails for whatever was not written with the same key.
func parseAnchors(text []byte, sum func([]byte) [32]byte) (anchors, error) {
	a := anchors{rooms: map[ID]mark{}}
	body, last, found := bytes.Cut(text, []byte("\nsum "))
	body = append(body, '\n')
	if want := fmt.Appendf(nil, "%x\n", sum(body)); !found || !bytes.HasPrefix(body, []byte(anchorsTitle)) || !bytes.Equal(last, want) {
		return a, errors.New("it was changed, or belongs to another database")
	}
	for line := range strings.Lines(string(body[len(anchorsTitle):])) {
		words := strings.Fields(line)
		n, err := strconv.ParseUint(words[len(words)-2], 10, 63)
		mac, macErr := hex.DecodeString(words[len(words)-1])
		if err = errors.Join(err, macErr); err != nil || len(mac) != 32 {
			return a, errors.Join(errors.New("a line cannot be read"), err)
		}
		at := mark{n, [32]byte(mac)}
		if words[0] == auditLine {
			a.audit = at
			continue
		}
		id, err := ParseID(words[1])
		if err != nil {
			return a, err
		}
		a.rooms[id] = at
	}
	return a, nil
}

// writeAnchors stores where all logs end, if that has changed. It never goes back, and never
// believes the database: what it writes is the file as it was, moved on by what this process
// has committed or has verified entry by entry.
func (s *Store) writeAnchors(ctx context.Context) error {
	s.anchorsMu.Lock()
	defer s.anchorsMu.Unlock()
	if err := s.advanceAudit(ctx); err != nil {
		return err
	}
	s.proofs.moveOn(s.anchors.rooms)
	now := s.o.Now()
	text := s.anchors.encoded(s.service.AnchorSum, slices.SortedFunc(maps.Keys(s.anchors.rooms), func(a, b ID) int { return bytes.Compare(a[:], b[:]) }))
	if !bytes.Equal(text, s.anchorsText) {
		if err := replaceFile(filepath.Join(s.o.Dir, anchorsName), text); err != nil {
			return fmt.Errorf("the anchors could not be written: %w", err)
		}
		s.anchorsText = text
	}
	s.integrity.set(func(i *integrity) { i.audit.UpTo, i.anchored = max(i.audit.UpTo, s.anchors.audit.n), now })
	return nil
}

// advanceAudit follows the chain of the audit log from its anchor on, as far as it is whole.
func (s *Store) advanceAudit(ctx context.Context) error {
	there, err := macAt(ctx, s.readPool(), "SELECT mac FROM audit_log WHERE n = ?", s.anchors.audit.n)
	if err != nil {
		return err
	}
	if at := s.anchors.audit; at.n > 0 && there != at.mac {
		s.auditFault(at.n, "it is not the one that the anchors name, or is missing")
		return nil
	}
	whole := true
	for {
		next := s.anchors.audit
		read, err := s.walkAuditSlice(ctx, &next, func(n uint64, _ int64, _ Audit) {
			if whole {
				s.anchors.audit.n = n
			}
		}, func(n uint64, what string) {
			whole = false
			s.auditFault(n, what)
		})
		if err != nil {
			return err
		}
		if whole {
			s.anchors.audit = next
		} else {
			s.anchors.audit.mac, err = macAt(ctx, s.readPool(), "SELECT mac FROM audit_log WHERE n = ?", s.anchors.audit.n)
			return err
		}
		if read < sliceSize {
			return nil
		}
	}
}

// replaceFile writes a file so that after a crash there is the old one or the new one.
func replaceFile(path string, content []byte) error {
	fresh := path + ".new"
	f, err := os.OpenFile(fresh, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(fresh, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(fresh))
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// setBack is a log that ends before its anchor, or holds another entry there.
type setBack struct {
	room   ID // zero: the audit log
	anchor mark
	n      uint64 // where it ends now
	gone   bool
}

func (b setBack) String() string {
	name := "room " + b.room.String()
	if b.room.Zero() {
		name = "the audit log"
	}
	switch {
	case b.gone:
		return name + " is missing"
	case b.n < b.anchor.n:
		return fmt.Sprintf("%s ends at %d instead of %d", name, b.n, b.anchor.n)
	}
	return fmt.Sprintf("%s has another entry %d", name, b.anchor.n)
}

// compareAnchors holds the database against the anchors file: only the ends, so that it is quick.
// It returns the anchors that it read.
func (s *Store) compareAnchors(ctx context.Context) (kept anchors, back []setBack, err error) {
	path := filepath.Join(s.o.Dir, anchorsName)
	kept.rooms = map[ID]mark{}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		used, err := s.everServed(ctx)
		if err != nil || !used || s.upgraded {
			return kept, nil, err // a database that was never served, or by a version without anchors
		}
		return kept, nil, fmt.Errorf("%w, as far as can be told: the file %s is missing", ErrRollback, path)
	}
	if err != nil {
		return kept, nil, err
	}
	if kept, err = parseAnchors(text, s.service.AnchorSum); err != nil {
		return anchors{rooms: map[ID]mark{}}, nil, fmt.Errorf("%w, as far as can be told: the file %s does not verify: %w", ErrRollback, path, err)
	}
	err = s.snapshot(ctx, func(db gorm.ConnPool) error {
		back, err = s.compareHeads(ctx, db, kept)
		return err
	})
	return kept, back, err
}

// everServed reports whether anything happened in the database. The first start writes the
// anchors before anything can.
func (s *Store) everServed(ctx context.Context) (bool, error) {
	var used bool
	err := s.readPool().QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM users) OR EXISTS (SELECT 1 FROM rooms) OR EXISTS (SELECT 1 FROM room_log)
		OR EXISTS (SELECT 1 FROM messages) OR EXISTS (SELECT 1 FROM audit_log)`).Scan(&used)
	return used, err
}

func (s *Store) compareHeads(ctx context.Context, db gorm.ConnPool, kept anchors) ([]setBack, error) {
	var back []setBack
	last, err := readAuditMark(ctx, db)
	if err != nil {
		return nil, err
	}
	there, err := macAt(ctx, db, "SELECT mac FROM audit_log WHERE n = ?", kept.audit.n)
	if err != nil {
		return nil, err
	}
	if kept.audit.n > 0 && (last.n < kept.audit.n || there != kept.audit.mac) {
		back = append(back, setBack{anchor: kept.audit, n: last.n})
	}
	for room, anchor := range kept.rooms {
		var end number
		err := db.QueryRowContext(ctx, "SELECT head_n FROM rooms WHERE id = ?", room).Scan(&end)
		n := uint64(max(end, 0))
		if err = noRow(err, errNotFound); err != nil {
			if KindOf(err) != NotFound {
				return nil, err
			}
			back = append(back, setBack{room: room, anchor: anchor, gone: true})
			continue
		}
		there, err := macAt(ctx, db, "SELECT mac FROM room_log WHERE room_id = ? AND n = ?", room, anchor.n)
		if err != nil {
			return nil, err
		}
		if n < anchor.n || there != anchor.mac {
			back = append(back, setBack{room: room, anchor: anchor, n: n})
		}
	}
	return back, nil
}

// macAt returns the MAC of one entry, zeros when there is none.
func macAt(ctx context.Context, db gorm.ConnPool, query string, args ...any) ([32]byte, error) {
	var mac hash
	err := db.QueryRowContext(ctx, query, args...).Scan(&mac)
	if err = noRow(err, errNotFound); err != nil && KindOf(err) != NotFound {
		return mac, err
	}
	return mac, nil
}

// checkAnchors runs before the server serves. A database that went back stops the start,
// unless the operator said that it was meant to; and saying so without a reason does too.
func (s *Store) checkAnchors(ctx context.Context) error {
	kept, back, err := s.compareAnchors(ctx)
	lost := errors.Is(err, ErrRollback)
	if err != nil && !lost {
		return err
	}
	s.anchors = kept
	behind := lost || len(back) > 0
	switch {
	case behind && !s.o.AcceptRollback:
		if lost {
			return fmt.Errorf("%w. If that was meant to be, start once with: serve --accept-rollback", err)
		}
		return fmt.Errorf("%w: %s. If a backup was restored on purpose, start once with: serve --accept-rollback", ErrRollback, summary(back))
	case behind:
		if err := s.acceptRollback(ctx, back, lost); err != nil {
			return err
		}
	case s.o.AcceptRollback:
		return errors.New("there is no rollback to accept: start without --accept-rollback")
	}
	return s.writeAnchors(ctx)
}

func summary(back []setBack) string {
	text := back[0].String()
	if len(back) > 1 {
		text += fmt.Sprintf(", and %d more", len(back)-1)
	}
	return text
}

// acceptRollback lets history go on from where the database ends. Each room concerned gets an
// entry that says so and a new incarnation, so that open pages do not mix the two histories.
func (s *Store) acceptRollback(ctx context.Context, back []setBack, lost bool) error {
	if lost { // nothing tells which rooms went back, so all of them may have
		rooms, err := s.roomIDs(ctx)
		if err != nil {
			return err
		}
		for _, room := range rooms {
			back = append(back, setBack{room: room})
		}
	}
	for _, b := range back { // their anchors are given up; what is appended below becomes the new ones
		delete(s.anchors.rooms, b.room)
		if b.room.Zero() {
			s.anchors.audit = mark{}
		}
	}
	return s.lane.do(ctx, func(c *change) error {
		for _, b := range back {
			if _, err := s.appendAudit(ctx, c.db, Audit{Event: "rollback.accepted", Object: b.room.String(), Outcome: b.String()}); err != nil {
				return err
			}
			if b.room.Zero() || b.gone {
				continue
			}
			var state int
			if err := c.row("SELECT state FROM rooms WHERE id = ?", b.room).Scan(&state); err != nil {
				return err
			}
			if state != roomOpen {
				continue // nothing is ever added to what was destroyed
			}
			if _, err := c.head(b.room); errors.Is(err, errDamagedLog) {
				continue // not only older but broken: it stays read-only, and pages say so
			} else if err != nil {
				return err
			}
			incarnation := newID()
			if err := c.exec("UPDATE rooms SET incarnation = ? WHERE id = ?", incarnation[:8], b.room); err != nil {
				return err
			}
			if err := c.append(&Entry{Room: b.room, Op: OpRestored, Payload: b.anchor.mac}); err != nil {
				return err
			}
		}
		return nil
	})
}
