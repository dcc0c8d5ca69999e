package handlers

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"conclave/models"
	"conclave/views"
)

const (
	roomRoute     = "/rooms/:room"
	membershipKey = "membership"
)

// inRoom finds the room through the member. Everybody else gets the same answer as for a room
// that does not exist.
func (a *App) inRoom(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		m, err := a.o.Store.Member(c.Request().Context(), by(c), c.Param("room"))
		if err != nil {
			return err
		}
		c.Set(membershipKey, m)
		return next(c)
	}
}

func membership(c echo.Context) models.Membership {
	return c.Get(membershipKey).(models.Membership)
}

func (a *App) roomsPage(c echo.Context) error {
	return a.showRooms(c, http.StatusOK, views.Rooms{})
}

// showRooms shows the list of rooms, with the two forms as they were sent.
func (a *App) showRooms(c echo.Context, status int, r views.Rooms) error {
	seen, err := a.yourRooms(c.Request().Context(), visitOf(c).user.ID, &r)
	if err != nil {
		return err
	}
	r.CodesPending = a.unsavedCodes(c) != nil
	s := a.shell(c)
	s.Seen = seen
	if c.QueryParam("gone") != "" {
		s.Notice = views.RoomsGoneNotice
	}
	return a.renderPacked(c, status, views.RoomsPage(s, r))
}

// yourRooms fills in the rooms of a person, and where the person waits. It returns a short name for
// what is shown.
func (a *App) yourRooms(ctx context.Context, user models.ID, r *views.Rooms) (seen string, err error) {
	cards, err := a.o.Store.Rooms(ctx, user)
	if err != nil {
		return "", err
	}
	own, err := a.o.Store.OwnKnocks(ctx, user)
	rooms := make([]models.ID, len(cards))
	for i, found := range cards {
		rooms[i] = found.Room
		r.List = append(r.List, card(found))
	}
	for _, k := range own {
		r.Knocks = append(r.Knocks, views.OwnKnock{Name: k.Name, At: k.At})
	}
	return seenRooms(rooms, own), err
}

func (a *App) createRoom(c echo.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	user := visitOf(c).user.ID
	var room models.ID
	if err = a.limits.rooms.take(user.String()); err == nil {
		room, err = a.o.Store.CreateRoom(c.Request().Context(), by(c), field("name"))
	}
	if fault, ok := faults(err); ok {
		retryAfter(c, err)
		return a.showRooms(c, status(err), views.Rooms{Name: views.Field{Value: field("name"), Error: fault["name"] + fault[""]}})
	}
	if err != nil {
		return err
	}
	return seeOther(c, "/rooms/"+room.String())
}

// joinPage is where an invitation link leads. It needs no session: the browser keeps the code,
// which only it has seen, until there is one.
func (a *App) joinPage(c echo.Context) error {
	return a.render(c, http.StatusOK, views.JoinPage(a.shell(c), views.Join{SignedIn: visitOf(c).signedIn()}))
}

func (a *App) joinRoom(c echo.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	var room models.ID
	err = a.o.Store.TryCode(ctx, by(c), field("code"), func() (err error) {
		room, err = a.o.Store.Join(ctx, by(c), field("code"))
		return err
	})
	if fault, ok := faults(err); ok {
		retryAfter(c, err)
		return a.showRooms(c, status(err), views.Rooms{Code: views.Field{Value: field("code"), Error: fault["code"] + fault[""]}})
	}
	if err != nil {
		return err
	}
	if room.Zero() {
		return a.noted(c, views.RoomsKnockedNotice, "/rooms")
	}
	return seeOther(c, "/rooms/"+room.String())
}

// roomPage shows a room. While nothing has changed, all of it but the composer's client id is what
// this reader was shown before.
func (a *App) roomPage(c echo.Context) error {
	m := membership(c)
	v, err := a.o.Store.View(c.Request().Context(), m)
	if err != nil {
		return err
	}
	s := a.shell(c)
	if s.Notice != "" || s.Arrival != nil || len(s.News) > 0 { // told to this reader only
		return a.renderRoom(c, http.StatusOK, s, v, views.Composer{})
	}
	list, err := a.switcher(c)
	if err != nil {
		return err
	}
	s.Rooms = list
	here := a.o.Hub.Present(m.Room)
	// Whatever goes into the page and does not come from the view.
	by := fmt.Sprintf("%q %q %q %t %q %t %t %t", c.Request().Host, s.Me.Username, s.Me.FullName, visitOf(c).user.ShowsTyping, m.Role, v.ReadOnly, v.Harmed, v.Terms.Expired(a.o.Now()))
	for _, p := range v.People {
		by += strconv.FormatBool(here[p.ID])
	}
	page, err := models.Rendered(v.Rendering, by+list.html, func() (gapped, error) {
		r, err := a.room(c, v, here)
		if err != nil {
			return gapped{}, err
		}
		r.Composer = views.Composer{RoomID: r.ID, ClientID: gap}
		return prepareGapped(views.RoomPage(s, r))
	})
	if err != nil {
		return err
	}
	return page.send(a, c, rand.Text())
}

// switcher is the way from this room to the reader's others.
func (a *App) switcher(c echo.Context) (prepared, error) {
	m := membership(c)
	recent, err := a.o.Store.Recent(c.Request().Context(), m.User)
	if err != nil {
		return prepared{}, err
	}
	return models.Rendered(recent.Rendering, m.Room.String(), func() (prepared, error) {
		return prepare(views.SwitcherPart(otherRooms(recent, m.Room)))
	})
}

// showRoom shows a room, with the composer as it was sent.
func (a *App) showRoom(c echo.Context, status int, composer views.Composer) error {
	v, err := a.o.Store.View(c.Request().Context(), membership(c))
	if err != nil {
		return err
	}
	return a.renderRoom(c, status, a.shell(c), v, composer)
}

func (a *App) renderRoom(c echo.Context, status int, s views.Shell, v models.View, composer views.Composer) error {
	r, err := a.room(c, v, a.o.Hub.Present(membership(c).Room))
	if err != nil {
		return err
	}
	r.Composer = freshComposer(membership(c), composer)
	if s.Rooms, err = a.switcher(c); err != nil {
		return err
	}
	return a.renderPacked(c, status, views.RoomPage(s, r))
}

// room fills the page of a room but for its composer.
func (a *App) room(c echo.Context, v models.View, here map[[16]byte]bool) (views.Room, error) {
	m, user := membership(c), visitOf(c).user
	r := views.Room{
		ID: m.Room.String(), Name: v.Name, Code: models.FormatCode(v.Code), Terms: terms(v, a.o.Now()),
		Members: people(v.People, here),
		Me:      user.Username,
		History: history(m.Room, v.Page),
		Alone:   len(v.People) == 1,
		FeedURL: fmt.Sprintf("/rooms/%s/feed?after=%d&log=%s", m.Room, v.Page.Head, v.Log),
		Mark:    v.Mark,
		Unread:  v.Unread,
		Typing:  user.ShowsTyping,

		Owner:    m.Role == models.Owner,
		Waiting:  waiting(v.Waiting),
		Proof:    views.Proof{N: v.Page.Head, Fingerprint: v.Fingerprint},
		ReadOnly: v.ReadOnly,
		Harmed:   v.Harmed,
	}
	r.History.New = firstNew(v.Page, v.Mark, m.User)
	r.First = r.Alone && neverMet(v.Page, m.User)
	if r.Owner {
		r.FeedURL += "&seen=" + seenWaiting(v.Waiting)
	}
	if r.Code == "" {
		return r, nil
	}
	r.JoinURL = "https://" + c.Request().Host + "/join#" + r.Code
	var err error
	r.JoinQR, err = invitation(v, r.JoinURL)
	return r, err
}

func (a *App) leaveRoom(c echo.Context) error {
	if err := a.o.Store.Leave(c.Request().Context(), membership(c)); err != nil {
		return err
	}
	return a.noted(c, views.RoomLeftNotice, "/rooms")
}

// proofPage shows the fingerprint up to a number, to compare it with one that was written down.
func (a *App) proofPage(c echo.Context) error {
	m := membership(c)
	typed := strings.TrimSpace(c.QueryParam("n"))
	n, err := strconv.ParseUint(typed, 10, 63)
	if err != nil {
		n = 0 // there is no entry 0, and the page says so
	}
	letters, name, head, err := a.o.Store.Fingerprint(c.Request().Context(), m, n)
	fault, _ := faults(err)
	if err != nil && fault["n"] == "" {
		return err
	}
	p := views.ProofAt{RoomID: m.Room.String(), Name: name, Head: head, N: views.Field{Value: typed, Error: fault["n"]}, Proof: views.Proof{N: n, Fingerprint: letters}}
	code := http.StatusOK
	if err != nil {
		code = status(err)
	}
	return a.render(c, code, views.ProofPage(a.shell(c), p))
}

// owned lets the owner of a room through. It stands before sudo, which would only keep others from
// learning that they may not. The store asks again.
func owned(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if membership(c).Role != models.Owner {
			return &models.Error{Kind: models.Denied, Msg: views.RoomOwnerOnly}
		}
		return next(c)
	}
}
