package handlers

import (
	"bytes"
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/a-h/templ"

	"conclave/models"
	"conclave/models/feed"
	"conclave/views"
)

// renderLimit is for what many listeners wait for: it is made even if the one who asked goes away.
const renderLimit = 5 * time.Second

// renderEvent turns what was announced into the bytes that all listeners write, nil when that fails. The feed
// calls it, in no request's name.
func (a *App) renderEvent(e *feed.Event) (frame []byte) {
	defer func() {
		if r := recover(); r != nil {
			a.o.Log.Error("an event could not be rendered", "panic", r, "stack", string(debug.Stack()))
			frame = nil
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), renderLimit)
	defer cancel()
	var err error
	switch e.Kind {
	case feed.KindEntry:
		return a.entryFrame(ctx, e.Entry.(*models.Entry))
	case feed.KindMembers:
		frame, err = a.membersFrame(a.o.Store.MembersAfter(ctx, e.Entry.(*models.Entry)))
	case feed.KindCode:
		frame, err = partials(views.CodePartial(models.ID(e.Topic).String()))
	case feed.KindPresence:
		frame, err = a.presenceFrame(ctx, e)
	case feed.KindTyping:
		var who []views.Person
		if who, err = a.named(ctx, e.Here); err == nil {
			frame, err = partials(views.TypingPartial(who))
		}
	}
	if err != nil && models.KindOf(err) != models.NotFound {
		a.o.Log.Error("an event could not be rendered", "room", models.ID(e.Topic).String(), "kind", int(e.Kind), "error", err)
	}
	return frame
}

// entryFrame makes the bytes of an entry. It is nil when that failed.
func (a *App) entryFrame(ctx context.Context, e *models.Entry) []byte {
	if !e.Op.Shown() {
		return feed.Bare(e.N)
	}
	l, err := a.o.Store.Open(ctx, e)
	if err == nil {
		var html []byte
		part := views.EntryPartial
		if e.Op == models.OpEdit || e.Op == models.OpDelete {
			part = views.ChangePartial // of a line that may not be on the page: never inserted
		}
		if html, err = rendered(ctx, part(entry(e.Room, l))); err == nil {
			return event(e.N, html)
		}
	}
	a.o.Log.Error("an entry could not be rendered", "room", e.Room.String(), "n", e.N, "error", err)
	return nil
}

func (a *App) membersFrame(members []models.Person, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return partials(views.MembersPartial(people(members, nil)))
}

func (a *App) presenceFrame(ctx context.Context, e *feed.Event) ([]byte, error) {
	var lists [3][]views.Person
	for i, ids := range [][]feed.ID{e.Here, e.Came, e.Went} {
		var err error
		if lists[i], err = a.named(ctx, ids); err != nil {
			return nil, err
		}
	}
	return partials(views.PresencePartial(lists[0], lists[1], lists[2]))
}

func (a *App) named(ctx context.Context, ids []feed.ID) ([]views.Person, error) {
	profiles, err := a.o.Store.Profiles(ctx, ids)
	list := make([]views.Person, len(profiles))
	for i, p := range profiles {
		list[i] = person(p)
	}
	return list, err
}

// partials makes an event without a number: what it says is not in the log.
func partials(component templ.Component) ([]byte, error) {
	html, err := rendered(context.Background(), component)
	if err != nil {
		return nil, err
	}
	return event(0, html), nil
}

func rendered(ctx context.Context, component templ.Component) ([]byte, error) {
	var b bytes.Buffer
	err := component.Render(ctx, &b)
	return b.Bytes(), err
}

// event writes HTML as one server-sent event, with an id when n is not 0. The format ends a
// line at \r, \n or both, so each of them must begin a new data line: otherwise a message's
// text could forge events.
func event(n uint64, html []byte) []byte {
	html = bytes.ReplaceAll(html, []byte("\r\n"), []byte("\n"))
	html = bytes.ReplaceAll(html, []byte("\r"), []byte("\n"))
	html = bytes.ReplaceAll(html, []byte("\x00"), nil)
	var b bytes.Buffer
	b.Grow(len(html) + 64)
	if n > 0 {
		fmt.Fprintf(&b, "id: %d\n", n)
	}
	for line := range bytes.SplitSeq(html, []byte("\n")) {
		b.WriteString("data: ")
		b.Write(line)
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	return b.Bytes()
}
