package handlers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"conclave/models"
	"conclave/models/feed"
	"conclave/views"
)

const (
	feedRoute     = "/rooms/:room/feed"
	farBehind     = 200 // entries; further than this, one refresh is cheaper than the replay
	heartbeat     = 20 * time.Second
	frameDeadline = 10 * time.Second // for one write to one listener
	renderLimit   = 5 * time.Second
)

// stream is one listener's way through the room's log.
type stream struct {
	a       *App
	ctx     context.Context // of the one request that the stream is
	m       models.Membership
	sub     *feed.Subscription
	w       http.ResponseWriter
	control *http.ResponseController
	cursor  uint64 // the last entry that was sent
	told    []models.Unread
	log     string // the incarnation that the cursor counts in; empty when the listener did not say
}

// TEMPORARY, until the new hub is here: unread counts are asked for four times a second, and
// typing is announced for each notice.

func isFeed(c echo.Context) bool { return c.Path() == feedRoute || c.Path() == ownFeedRoute }

const ownFeedRoute = "/feed"

func (a *App) ownFeed(c echo.Context) error {
	r, v := c.Request(), visitOf(c)
	sub, err := a.o.Hub.Subscribe(feed.Listener{Topic: v.user.ID, User: v.user.ID, Session: v.session, Address: addressKey(c)})
	if err != nil {
		return &models.Error{Kind: models.Limited, Msg: "Too many pages of this server are open. Close some of them.", Err: err, Wait: 5 * time.Second}
	}
	defer sub.Close()
	c.Response().Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	c.Response().WriteHeader(http.StatusOK)
	control := http.NewResponseController(c.Response())
	if err := control.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	s := &stream{a: a, ctx: r.Context(), m: models.Membership{User: v.user.ID}, sub: sub, w: c.Response(), control: control}
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for err = s.unread(); err == nil; {
		select {
		case <-tick.C:
			err = s.unread()
		case <-sub.Events():
		case <-sub.Done():
			err = errOver
		case <-s.ctx.Done():
			err = errOver
		}
	}
	if sub.Reason() == feed.Revoked {
		_ = s.send([]byte("event: session-end\ndata:\n\n"))
	}
	return nil
}

func (s *stream) unread() error {
	list, err := s.a.o.Store.Unread(s.ctx, s.m.User)
	if err != nil || s.told != nil && slices.Equal(list, s.told) {
		return err
	}
	all := s.told == nil || len(list) != len(s.told)
	changed := list
	if !all {
		changed = nil
		for i := range list {
			if list[i] != s.told[i] {
				changed = append(changed, list[i])
			}
		}
	}
	s.told = list
	if s.told == nil {
		s.told = []models.Unread{}
	}
	html, err := rendered(s.ctx, views.UnreadPartial(unreads(changed, all)))
	if err != nil {
		return err
	}
	return s.write(event(0, html))
}

func (s *stream) typing(user models.ID) error {
	u, err := s.a.o.Store.User(s.ctx, user)
	if err != nil {
		return err
	}
	html, err := rendered(s.ctx, views.TypingPartial([]views.Person{person(u.Profile)}))
	if err != nil {
		return err
	}
	return s.write(event(0, html))
}

// errOver ends a stream: there is nobody left to write to, or nothing more to say.
var errOver = errors.New("the stream is over")

// feed is the live stream of a room. It listens first, then catches up from the log, then
// follows; so nothing that is posted in between is lost, and what arrives twice is skipped by
// its number. It never redirects: it ends, and the browser asks again with the last number it saw.
func (a *App) feed(c echo.Context) error {
	r, m, v := c.Request(), membership(c), visitOf(c)
	sub, err := a.o.Hub.Subscribe(feed.Listener{Topic: m.Room, User: m.User, Session: v.session, Address: addressKey(c)})
	if err != nil {
		return &models.Error{Kind: models.Limited, Msg: "Too many pages of this server are open. Close some of them.", Err: err, Wait: 5 * time.Second}
	}
	defer sub.Close()
	h := c.Response().Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("X-Accel-Buffering", "no") // for whoever puts a proxy before us
	c.Response().WriteHeader(http.StatusOK)

	control := http.NewResponseController(c.Response())
	// The deadline of ordinary requests would end an HTTP/1.1 stream after a minute.
	if err := control.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	s := &stream{a: a, ctx: r.Context(), m: m, sub: sub, w: c.Response(), control: control, log: c.QueryParam("log")}
	err = s.run(cursorOf(r))
	if sub.Reason() == feed.Revoked {
		err = s.send([]byte("event: session-end\ndata:\n\n"))
	}
	if err != nil && !errors.Is(err, errOver) && r.Context().Err() == nil {
		a.o.Log.Info("a stream ended", "id", c.Get(requestIDKey), "error", err)
	}
	return nil
}

// cursorOf reads where the listener stands. What is no number of ours stands ahead of every
// log, and so leads to a refresh.
func cursorOf(r *http.Request) uint64 {
	text := r.Header.Get("Last-Event-ID")
	if text == "" {
		text = r.URL.Query().Get("after")
	}
	if text == "" {
		return 0
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return math.MaxInt64
	}
	return n
}

func (s *stream) run(cursor uint64) error {
	s.cursor = cursor
	if err := s.catchUp(); err != nil {
		return err
	}
	// A new listener is told who is here; later changes are announced.
	if err := s.write(s.a.presenceFrame(s.ctx, s.m)(nil)); err != nil {
		return err
	}
	return s.follow()
}

// catchUp sends what the log holds after the cursor, page by page. A listener who is too far
// behind, or whose numbers belong to another log, gets the newest page instead.
func (s *stream) catchUp() error {
	for {
		entries, head, log, err := s.a.o.Store.After(s.ctx, s.m, s.cursor)
		if err != nil {
			return s.gone(err)
		}
		if s.cursor > head || head-s.cursor > farBehind || s.log != "" && s.log != log {
			return s.refresh()
		}
		for _, e := range entries {
			if err := s.write(s.a.frame(s.ctx, e)); err != nil {
				return err
			}
			s.cursor = e.N
		}
		if s.cursor >= head || len(entries) == 0 {
			return nil
		}
	}
}

// refresh replaces the whole list by the newest page.
func (s *stream) refresh() error {
	p, err := s.a.o.Store.Older(s.ctx, s.m, math.MaxInt64)
	if err != nil {
		return s.gone(err)
	}
	html, err := rendered(s.ctx, views.RefreshPartial(history(s.m.Room, p)))
	if err != nil {
		return err
	}
	s.cursor, s.log = p.Head, ""
	return s.write(event(p.Head, html))
}

// gone tells a listener whose membership has ended, if that is what the error says.
func (s *stream) gone(err error) error {
	if models.KindOf(err) == models.NotFound {
		return errors.Join(s.send([]byte("event: session-end\ndata:\n\n")), errOver)
	}
	return err
}

// follow sends what happens from now on. A gap in the numbers means that the log knows more.
func (s *stream) follow() error {
	end, err := s.a.o.Store.SessionEnd(s.ctx, s.sub.Session)
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	beat, over := time.NewTicker(heartbeat), time.NewTimer(end.Sub(s.a.o.Now()))
	defer beat.Stop()
	defer over.Stop()
	for err == nil {
		select {
		case e := <-s.sub.Events():
			err = s.announce(e)
		case <-tick.C:
			err = s.unread()
		case <-beat.C:
			err = s.write([]byte(":\n\n"))
		case <-over.C:
			if end, err = s.a.o.Store.SessionEnd(s.ctx, s.sub.Session); err == nil {
				over.Reset(end.Sub(s.a.o.Now())) // the session was used meanwhile
			}
		case <-s.sub.Done():
			return errOver
		case <-s.ctx.Done():
			return errOver
		}
	}
	if models.KindOf(err) == models.SignedOut {
		return errors.Join(s.send([]byte("event: session-end\ndata:\n\n")), errOver)
	}
	return err
}

func (s *stream) announce(e *feed.Event) error {
	if s.ended() {
		return errOver // before anything is rendered with a membership that is no more
	}
	switch {
	case e.Kind == feed.KindTyping:
		return s.typing(e.Entry.(feed.ID))
	case e.Kind == feed.KindPresence:
		return s.write(e.Frame(s.a.presenceFrame(s.ctx, s.m)))
	case e.N <= s.cursor:
		return nil // sent while catching up
	case e.N > s.cursor+1:
		return s.catchUp()
	}
	frame := e.Frame(func(e *feed.Event) []byte { return s.a.frame(s.ctx, e.Entry.(*models.Entry)) })
	if err := s.write(frame); err != nil {
		return err
	}
	s.cursor = e.N
	if op := e.Entry.(*models.Entry).Op; op == models.OpJoin || op == models.OpLeave {
		members, err := s.a.o.Store.Members(s.ctx, s.m)
		if err != nil {
			return err
		}
		html, err := rendered(s.ctx, views.MembersPartial(people(members, nil)))
		if err != nil {
			return err
		}
		return s.write(event(0, html))
	}
	return nil
}

// write sends a frame, unless the stream has been ended meanwhile: what still waits in the
// queue of a removed member must not reach him. An empty frame is one that could not be
// rendered; the stream ends, and the browser asks again.
func (s *stream) write(frame []byte) error {
	if s.ended() {
		return errOver
	}
	if len(frame) == 0 {
		return errors.New("an event could not be rendered")
	}
	return s.send(frame)
}

func (s *stream) ended() bool {
	select {
	case <-s.sub.Done():
		return true
	default:
		return false
	}
}

// send writes and flushes within a deadline, and takes the deadline back: under HTTP/2 it would
// fire while nothing is being written.
func (s *stream) send(frame []byte) error {
	if err := s.control.SetWriteDeadline(time.Now().Add(frameDeadline)); err != nil {
		return err
	}
	if _, err := s.w.Write(frame); err != nil {
		return err
	}
	if err := s.control.Flush(); err != nil {
		return err
	}
	return s.control.SetWriteDeadline(time.Time{})
}

// frame makes the bytes of an entry, the same for all listeners. It is nil when that failed.
func (a *App) frame(ctx context.Context, e *models.Entry) []byte {
	if !e.Op.Shown() {
		return fmt.Appendf(nil, "id: %d\n\n", e.N)
	}
	// Others wait for these bytes, so they are made even if this listener goes away.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), renderLimit)
	defer cancel()
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

// presenceFrame makes the bytes that say who is here. They carry no number, because they are
// not in the log.
func (a *App) presenceFrame(ctx context.Context, m models.Membership) func(*feed.Event) []byte {
	return func(*feed.Event) []byte {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), renderLimit)
		defer cancel()
		members, err := a.o.Store.Members(ctx, m)
		if err == nil {
			var html []byte
			if html, err = rendered(ctx, views.PresencePartial(present(members, a.o.Hub.Present(m.Room)), nil, nil)); err == nil {
				return event(0, html)
			}
		}
		if models.KindOf(err) != models.NotFound {
			a.o.Log.Error("presence could not be rendered", "room", m.Room.String(), "error", err)
		}
		return nil
	}
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
