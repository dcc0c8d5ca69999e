package handlers

import (
	"context"
	"errors"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"conclave/models"
	"conclave/models/feed"
	"conclave/views"
)

const (
	feedRoute    = "/rooms/:room/feed"
	ownFeedRoute = "/feed"
)

func isFeed(c echo.Context) bool { return c.Path() == feedRoute || c.Path() == ownFeedRoute }

// stream is one page's ear: on a room's log, and on what its reader has not read.
type stream struct {
	a      *App
	id     any             // of the request
	ctx    context.Context // of the one request that the stream is
	user   models.ID
	m      models.Membership // of the room; none outside of one
	sub    *feed.Subscription
	cursor uint64          // the last entry that was sent
	log    string          // the incarnation that the cursor counts in; empty when the listener did not say
	told   []models.Unread // what was last said to be unread; nil before the first time
	news   []models.News   // what was last said to be news
	seen   string          // names who waits, or the rooms, as the page shows them; empty on a page that shows neither

	w       http.ResponseWriter // below echo's, which would count bytes
	control *http.ResponseController
	writing chan struct{}    // full while somebody writes, and for good once the request is over
	work    chan *feed.Block // what the stream's own goroutine must do; the turn to write comes with it
	over    sync.Mutex       // held while a write is aborted, and for good once the request is over
	conn    net.Conn         // below TLS; nil when it is not known
	alone   bool             // nobody else uses the connection
}

// errOver ends a stream: there is nobody left to write to, or nothing more to say.
var errOver = errors.New("the stream is over")

var sessionEnd = []byte("event: session-end\ndata:\n\n")

// feed is the live stream of a room. It listens first, then catches up from the log, then
// follows; so nothing that is posted in between is lost, and what arrives twice is skipped by
// its number. It never redirects: it ends, and the browser asks again with the last number it saw.
func (a *App) feed(c echo.Context) error { return a.listen(c, membership(c)) }

// ownFeed is the stream of a page outside of a room.
func (a *App) ownFeed(c echo.Context) error { return a.listen(c, models.Membership{}) }

// streamKey is where a request's context keeps room for the stream that it becomes.
type streamKey struct{}

// ServeHTTP answers a request. A stream goes on when its way through the middleware is over: of
// what that needed, stack included, nothing is kept for as long as somebody listens.
func (a *App) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, ownFeedRoute) {
		a.routes.ServeHTTP(w, r)
		return
	}
	var s *stream
	aside(func() { a.routes.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), streamKey{}, &s))) })
	if s != nil {
		s.run(r.Context())
	}
}

// aside runs f on a goroutine of its own and waits for it, so that the caller's stack stays as
// small as it is.
func aside(f func()) {
	done := make(chan any)
	go func() {
		defer func() { done <- recover() }()
		f()
	}()
	if fault := <-done; fault != nil {
		panic(fault)
	}
}

// listen begins a stream.
func (a *App) listen(c echo.Context, m models.Membership) error {
	v, r := visitOf(c), c.Request()
	s := &stream{a: a, id: c.Get(requestIDKey), user: v.user.ID, m: m, log: c.QueryParam("log"), cursor: cursorOf(r), seen: c.QueryParam("seen")}
	place := r.Context().Value(streamKey{}).(**stream)
	s.w = c.Response().Writer
	s.control = http.NewResponseController(s.w)
	s.conn, _ = r.Context().Value(connKey{}).(net.Conn)
	s.alone = s.conn != nil && r.ProtoMajor == 1
	s.writing, s.work = make(chan struct{}, 1), make(chan *feed.Block, 1)
	s.writing <- struct{}{} // until the page is up to date
	var err error
	s.sub, err = a.o.Hub.Subscribe(feed.Listener{Topic: m.Room, User: v.user.ID, Session: v.session, Address: addressKey(c), Drain: s.drain, Abort: s.abort})
	if err != nil {
		return &models.Error{Kind: models.Limited, Msg: views.ErrorManyPages, Err: err, Wait: 5 * time.Second}
	}
	h := c.Response().Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("X-Accel-Buffering", "no") // for whoever puts a proxy before us
	c.Response().WriteHeader(http.StatusOK)
	clear(h)
	// The deadlines of ordinary requests would end the stream after a minute.
	if err := errors.Join(s.control.SetReadDeadline(time.Time{}), s.control.SetWriteDeadline(time.Time{})); err != nil {
		s.sub.Close()
		return err
	}
	*place = s
	return nil
}

// run is the life of a stream, in its request's goroutine.
func (s *stream) run(ctx context.Context) {
	s.ctx = ctx
	defer s.over.Lock()
	defer s.sub.Close()
	defer context.AfterFunc(ctx, s.sub.Close)()
	var err error
	aside(func() { err = s.begin() })
	if err == nil {
		err = s.follow()
	}
	if s.sub.Reason() == feed.Revoked || models.KindOf(err) == models.SignedOut {
		err = s.send(sessionEnd)
	}
	if err != nil && !errors.Is(err, errOver) && s.ctx.Err() == nil {
		s.a.o.Log.Info("a stream ended", "id", s.id, "error", err)
	}
}

// begin brings the page up to date.
func (s *stream) begin() error {
	if room := s.m.Room; !room.Zero() {
		if err := s.catchUp(); err != nil {
			return err
		}
		if here := s.a.o.Hub.Presence(room, s.user); here != nil {
			if err := s.write(here); err != nil {
				return err
			}
		}
	}
	var rooms []feed.ID
	var err error
	s.read(func() { rooms, err = s.a.o.Store.RoomIDs(s.ctx, s.user) })
	if err != nil {
		return err
	}
	s.sub.Watch(rooms)
	if !s.m.Room.Zero() { // elsewhere the first word about what is unread leads to it
		if err := s.lookAgain(); err != nil {
			return err
		}
	}
	return s.stillSignedIn()
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

// gone tells a listener whose membership has ended, if that is what the error says.
func (s *stream) gone(err error) error {
	if models.KindOf(err) == models.NotFound {
		return errors.Join(s.send(sessionEnd), errOver)
	}
	return err
}

// follow sends what happens from now on, until the turn to write is this goroutine's for good.
func (s *stream) follow() error {
	<-s.writing
	for s.drain(); s.sub.Reason() == feed.Open; s.drain() {
		select {
		case b := <-s.work:
			err := s.do(b)
			if err != nil {
				return err
			}
			<-s.writing
		case <-s.sub.Woken():
		}
	}
	select {
	case s.writing <- struct{}{}:
	case <-s.work:
	}
	return errOver
}

// drain writes what waits, unless somebody else is at it: who then looks again. It may run in any
// goroutine, and leaves to the stream's own what is more than writing.
func (s *stream) drain() {
	for {
		select {
		case s.writing <- struct{}{}:
		default:
			return
		}
		for b := s.sub.Take(); b != nil; b = s.sub.Take() {
			bytes, ok := b.After(s.cursor, s.m.From)
			if b.Kind == feed.KindWake || b.Kind == feed.KindUnread || b.Kind == feed.KindKnock || b.Last() > 0 && !ok {
				s.work <- b
				return
			}
			if len(bytes) > 0 && s.write(bytes) != nil {
				s.sub.Close()
			}
			s.cursor = max(s.cursor, b.Last())
		}
		<-s.writing
		if !s.sub.Waiting() {
			return
		}
	}
}

// do is what needs more than writing; it happens aside.
func (s *stream) do(b *feed.Block) (err error) {
	switch b.Kind {
	case feed.KindWake:
		aside(func() { err = s.stillSignedIn() })
	case feed.KindUnread:
		aside(func() { err = s.unread() })
	case feed.KindKnock:
		aside(func() { err = s.lookAgain() })
	default: // a gap: the log knows more
		aside(func() { err = s.catchUp() })
	}
	return err
}

// stillSignedIn asks to be woken when the session will be over unless it is used meanwhile.
func (s *stream) stillSignedIn() error {
	end, err := s.a.o.Store.SessionEnd(s.ctx, s.sub.Session)
	if err == nil {
		s.sub.Wake(time.Now().Add(end.Sub(s.a.o.Now())))
	}
	return err
}

// unread sends what has changed since it was last said: what is unread, and news of this session.
// The first time it sends all.
func (s *stream) unread() error {
	var list []models.Unread
	var news []models.News
	var err error
	s.read(func() {
		if list, err = s.a.o.Store.Unread(s.ctx, s.user); err == nil {
			news, err = s.a.o.Store.News(s.ctx, s.sub.Session)
		}
	})
	if err != nil {
		return err
	}
	var parts []templ.Component
	if s.told == nil || len(news) != len(s.news) || len(news) > 0 && news[len(news)-1] != s.news[len(news)-1] {
		parts = append(parts, views.NewsPartial(newsShown(news)))
	}
	changed, all := changedSince(s.told, list)
	if all || len(changed) > 0 {
		parts = append(parts, views.UnreadPartial(unreads(changed, all)))
	}
	if len(parts) == 0 {
		return nil
	}
	s.told, s.news = append([]models.Unread{}, list...), news // not nil
	frame, err := partials(templ.Join(parts...))
	if err == nil {
		err = s.write(frame)
	}
	if err == nil && all && s.m.Room.Zero() { // there may be another room
		err = s.lookAgain()
	}
	return err
}

// changedSince is what is said differently than before; all of it when there are other rooms.
func changedSince(told, list []models.Unread) (changed []models.Unread, all bool) {
	if told == nil || len(list) != len(told) {
		return list, true
	}
	for i := range list {
		if list[i] != told[i] {
			changed = append(changed, list[i])
		}
	}
	return changed, false
}

// write sends a frame, unless the stream has been ended meanwhile: what still waits in the
// queue of a removed member must not reach him.
func (s *stream) write(frame []byte) error {
	if s.sub.Reason() != feed.Open {
		return errOver
	}
	return s.send(frame)
}

// send writes and flushes. A deadline for each write would cost more than the write does, under
// HTTP/2: so the feed looks for writes that take too long, and aborts them.
func (s *stream) send(frame []byte) error {
	s.sub.Writing()
	_, err := s.w.Write(frame)
	if err == nil {
		err = s.control.Flush()
	}
	s.sub.Written()
	return err
}

// abort makes a write that hangs fail. It must not touch the response once the request is over.
// Under HTTP/2 the deadline ends only a write that waits for the window of its stream.
func (s *stream) abort() {
	if s.over.TryLock() {
		defer s.over.Unlock()
		s.control.SetWriteDeadline(time.Unix(1, 0))
		if s.alone {
			s.conn.Close()
		} else if s.conn != nil {
			time.AfterFunc(time.Second, s.hangUp)
		}
	}
}

// hangUp closes the connection in which an aborted stream still hangs. It says nothing: TLS would
// wait for seconds to say goodbye to somebody who takes nothing.
func (s *stream) hangUp() {
	if s.over.TryLock() {
		defer s.over.Unlock()
		s.conn.Close()
	}
}
