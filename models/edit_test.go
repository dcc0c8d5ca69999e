package models

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"conclave/models/feed"
)

func (w *world) row(t testing.TB, s *Store, room ID, n uint64) (revision int, envelope []byte) {
	t.Helper()
	must(t, s.read.Raw("SELECT revision, envelope FROM messages WHERE room_id = ? AND n = ?", room, n).Row().Scan(&revision, &envelope))
	return revision, envelope
}

func TestOnlyTheAuthorEditsAndTheOldTextIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(t)
	ada, grace := w.member(t, s, w.ada, w.library), w.member(t, s, w.grace, w.library)
	before, old := w.row(t, s, w.library, w.book)
	line, err := s.Message(ctx, grace, w.book)
	must(t, err)
	if err := s.Edit(ctx, ada, w.book, "page ninety is not missing"); KindOf(err) != Denied {
		t.Errorf("the owner edits what Grace wrote: %v", err)
	}
	for i := range 3 {
		must(t, s.Edit(ctx, grace, w.book, fmt.Sprintf("page %d is missing\r\n", i)))
		revision, envelope := w.row(t, s, w.library, w.book)
		if revision != before+i+1 || bytes.Equal(envelope, old) {
			t.Errorf("revision %d after %d edits", revision, i+1)
		}
		now, err := s.Message(ctx, grace, w.book)
		must(t, err)
		if now.Body != fmt.Sprintf("page %d is missing\n", i) || !now.Edited || now.Removed || !now.At.Equal(line.At) || now.Who != line.Who || now.N != line.N {
			t.Errorf("it is shown as %+v", now)
		}
	}
	must(t, s.Close())
	if found := w.remains(t, [][]byte{old}); found != 0 {
		t.Error("the old envelope is still in the database")
	}
	w.whole(t)
}

func TestTheAuthorAModeratorAndTheOwnerRemove(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(t)
	ada, grace, linus := w.member(t, s, w.ada, w.library), w.member(t, s, w.grace, w.library), w.member(t, s, w.linus, w.library)
	post := func(m Membership) uint64 {
		n, err := s.Post(ctx, m, "not for long", "")
		must(t, err)
		return n
	}
	if err := s.Remove(ctx, linus, post(ada)); KindOf(err) != Denied {
		t.Errorf("a member removes what the owner wrote: %v", err)
	}
	for who, m := range map[string]Membership{"the author": linus, "the owner": ada} {
		n := post(linus)
		_, old := w.row(t, s, w.library, n)
		must(t, s.Remove(ctx, m, n))
		if _, envelope := w.row(t, s, w.library, n); len(envelope) != 0 || len(old) == 0 {
			t.Errorf("%s has removed it, and an envelope is left", who)
		}
		line, err := s.Message(ctx, grace, n)
		if err != nil || !line.Removed || line.Body != "" || line.Edited || line.Damaged || line.Who.ID != w.linus {
			t.Errorf("%+v, %v", line, err)
		}
		for what, err := range map[string]error{"removed again": s.Remove(ctx, m, n), "edited": s.Edit(ctx, linus, n, "here again")} {
			if KindOf(err) != NotFound {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	must(t, s.SetRole(ctx, ada, w.grace, Moderator))
	if m := w.member(t, s, w.grace, w.library); m.Role != Moderator {
		t.Errorf("Grace is %s", m.Role)
	}
	n := post(ada)
	must(t, s.Remove(ctx, grace, n))
	if err := s.Edit(ctx, grace, post(ada), "what Ada did not write"); KindOf(err) != Denied {
		t.Errorf("a moderator edits: %v", err)
	}
	must(t, s.Close())
	w.whole(t)
}

func TestThereIsNothingToEditWhereNoMessageIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(t)
	ada := w.member(t, s, w.ada, w.engine)
	for _, n := range []uint64{0, 1, w.editing, w.left, w.last + 1, math.MaxInt64, math.MaxInt64 + 1, math.MaxUint64} {
		_, err := s.Message(ctx, ada, n)
		for what, err := range map[string]error{"read": err, "edited": s.Edit(ctx, ada, n, "something"), "removed": s.Remove(ctx, ada, n)} {
			if KindOf(err) != NotFound {
				t.Errorf("%d is %s: %v", n, what, err)
			}
		}
	}
	for _, body := range []string{"", " \n", "a\x00b", "\xff", strings.Repeat("x", messageMax+1)} {
		if err := s.Edit(ctx, ada, w.kettle, body); KindOf(err) != Invalid {
			t.Errorf("edited to %.10q: %v", body, err)
		}
	}
	linus := Membership{Room: w.engine, By: By{User: w.linus}} // who has left
	if err := s.Edit(ctx, linus, w.kettle, "hello"); KindOf(err) != NotFound {
		t.Errorf("somebody who has left edits: %v", err)
	}
	if err := s.Remove(ctx, Membership{Room: w.library, By: By{User: w.ada}, Role: Owner}, w.kettle); err == nil {
		if l, _ := s.Message(ctx, ada, w.kettle); l.Removed {
			t.Error("a message of another room is removed")
		}
	}
	w.believed(t, s, w.ada, w.engine, nothing)
}

func TestAnEditAfterADepartureOpensANewEpoch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(t)
	must(t, s.Leave(ctx, w.member(t, s, w.linus, w.library)))
	epoch := func() (epoch uint32) {
		must(t, s.read.Raw("SELECT epoch FROM rooms WHERE id = ?", w.library).Scan(&epoch).Error)
		return epoch
	}
	before := epoch()
	grace := w.member(t, s, w.grace, w.library)
	must(t, s.Remove(ctx, grace, w.book)) // what seals nothing opens none
	if epoch() != before {
		t.Error("a removal has opened an epoch")
	}
	n, err := s.Post(ctx, grace, "after Linus", "")
	must(t, err)
	if epoch() != before+1 {
		t.Errorf("the epoch is %d after a post", epoch())
	}
	must(t, s.Edit(ctx, grace, n, "after Linus, again"))
	if epoch() != before+1 {
		t.Errorf("the epoch is %d after another edit", epoch())
	}

	other := newWorld(t)
	s = other.start(t)
	w = other
	must(t, s.Leave(ctx, w.member(t, s, w.linus, w.library)))
	must(t, s.Edit(ctx, w.member(t, s, w.grace, w.library), w.book, "page ninety is here"))
	if epoch() != before+1 {
		t.Errorf("the epoch is %d after an edit", epoch())
	}
	if line, err := s.Message(ctx, w.member(t, s, w.ada, w.library), w.book); err != nil || line.Body != "page ninety is here" {
		t.Errorf("%+v, %v", line, err)
	}
	must(t, s.Close())
	w.whole(t)
}

func TestARetryAfterAnEditOrARemovalIsHarmless(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(t)
	ada := w.member(t, s, w.ada, w.library)
	n, err := s.Post(ctx, ada, "first", "client-1")
	must(t, err)
	retry := func(body string, want Kind) {
		t.Helper()
		again, err := s.Post(ctx, ada, body, "client-1")
		if want == 0 && (err != nil || again != n) || KindOf(err) != want {
			t.Errorf("the retry of %q: %d, %v", body, again, err)
		}
	}
	retry("first", 0)
	retry("second", Conflict)
	must(t, s.Edit(ctx, ada, n, "edited"))
	retry("first", 0)
	must(t, s.Remove(ctx, ada, n))
	retry("first", 0)
	if line, err := s.Message(ctx, ada, n); err != nil || !line.Removed {
		t.Errorf("the retry has changed it: %+v, %v", line, err)
	}
}

func TestEditsAtOnceEndInOneOfThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(t)
	grace := w.member(t, s, w.grace, w.library)
	ada := w.member(t, s, w.ada, w.library)
	announced := make(chan *Entry, 100)
	s.o.Hub.Render(func(e *feed.Event) []byte {
		if e.Kind == feed.KindEntry {
			announced <- e.Entry.(*Entry)
		}
		return []byte("an event")
	})
	_, err := s.o.Hub.Subscribe(feed.Listener{Topic: w.library, User: w.ada, Session: [32]byte{2}})
	must(t, err)
	var work sync.WaitGroup
	for i := range 20 {
		work.Go(func() {
			if err := s.Edit(ctx, grace, w.book, fmt.Sprintf("version %d", i)); err != nil && KindOf(err) != NotFound {
				t.Error(err)
			}
		})
	}
	work.Wait()
	line, err := s.Message(ctx, ada, w.book)
	if revision, _ := w.row(t, s, w.library, w.book); err != nil || revision != 20 || !strings.HasPrefix(line.Body, "version ") {
		t.Errorf("revision %d, %+v, %v", revision, line, err)
	}
	for i := range 20 { // each was announced, in the order of the log
		select {
		case entry := <-announced:
			if entry.Op != OpEdit || entry.about() != w.book {
				t.Errorf("event %d is %+v", i, entry)
			}
			if l, err := s.Open(ctx, entry); err != nil || l.Body != line.Body || l.N != w.book {
				t.Errorf("it opens as %+v, %v", l, err)
			}
		case <-time.After(2 * time.Second):
			t.Fatal("an edit is not announced")
		}
	}
	for range 20 {
		work.Go(func() {
			if err := s.Edit(ctx, grace, w.book, "the last word"); err != nil && KindOf(err) != NotFound {
				t.Error(err)
			}
		})
	}
	work.Go(func() { must(t, s.Remove(ctx, ada, w.book)) })
	work.Wait()
	if line, err = s.Message(ctx, ada, w.book); err != nil || !line.Removed || line.Body != "" {
		t.Errorf("%+v, %v", line, err)
	}
	if _, harmed := s.proofs.status(w.library); harmed {
		t.Error("a false alarm")
	}
	must(t, s.Close())
	w.whole(t)
}
