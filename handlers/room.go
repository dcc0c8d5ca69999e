package handlers

import (
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
		m, err := a.o.Store.Member(c.Request().Context(), visitOf(c).user.ID, c.Param("room"))
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
	cards, err := a.o.Store.Rooms(c.Request().Context(), visitOf(c).user.ID)
	if err != nil {
		return err
	}
	for _, found := range cards {
		r.List = append(r.List, card(found))
	}
	r.CodesPending = a.unsavedCodes(c) != nil
	s := a.shell(c, "Rooms")
	if c.QueryParam("gone") != "" {
		s.Notice = "You are no longer in this room."
	}
	return a.render(c, status, views.RoomsPage(s, r))
}

func (a *App) createRoom(c echo.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	user := visitOf(c).user.ID
	var room models.ID
	if err = a.limits.rooms.take(user.String()); err == nil {
		room, err = a.o.Store.CreateRoom(c.Request().Context(), user, field("name"))
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
	return a.render(c, http.StatusOK, views.JoinPage(a.shell(c, "Join a room"), views.Join{SignedIn: visitOf(c).signedIn()}))
}

func (a *App) joinRoom(c echo.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	room, err := a.o.Store.Join(c.Request().Context(), visitOf(c).user.ID, field("code"))
	if fault, ok := faults(err); ok {
		return a.showRooms(c, status(err), views.Rooms{Code: views.Field{Value: field("code"), Error: fault["code"] + fault[""]}})
	}
	if err != nil {
		return err
	}
	return seeOther(c, "/rooms/"+room.String())
}

func (a *App) roomPage(c echo.Context) error {
	return a.showRoom(c, http.StatusOK, views.Composer{})
}

// showRoom shows a room, with the composer as it was sent.
func (a *App) showRoom(c echo.Context, status int, composer views.Composer) error {
	m := membership(c)
	v, err := a.o.Store.View(c.Request().Context(), m)
	if err != nil {
		return err
	}
	r := views.Room{
		ID: m.Room.String(), Name: v.Name, Code: models.FormatCode(v.Code),
		Members: people(v.People, a.o.Hub.Present(m.Room)),
		Me:      visitOf(c).user.Username,
		History: history(m.Room, v.Page),
		Alone:   len(v.People) == 1,
		FeedURL: fmt.Sprintf("/rooms/%s/feed?after=%d&log=%s", m.Room, v.Page.Head, v.Log),
		Mark:    v.Mark,
		Unread:  v.Unread,
		Typing:  visitOf(c).user.ShowsTyping,

		Owner:    m.Role == models.Owner,
		Proof:    views.Proof{N: v.Page.Head, Fingerprint: v.Fingerprint},
		ReadOnly: v.ReadOnly,
		Harmed:   v.Harmed,
	}
	r.History.New = firstNew(v.Page, v.Mark, m.User)
	r.JoinURL = "https://" + c.Request().Host + "/join#" + r.Code
	if r.JoinQR, err = invitation(v, r.JoinURL); err != nil {
		return err
	}
	if r.MemberList, err = memberList(v, r.Members); err != nil {
		return err
	}
	r.Composer = freshComposer(m, composer)
	return a.render(c, status, views.RoomPage(a.shell(c, v.Name), r))
}

func (a *App) leaveRoom(c echo.Context) error {
	if err := a.o.Store.Leave(c.Request().Context(), membership(c)); err != nil {
		return err
	}
	a.sessions.Put(c.Request().Context(), keyNotice, "You have left the room.")
	return seeOther(c, "/rooms")
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
	return a.render(c, code, views.ProofPage(a.shell(c, "The history of "+name), p))
}

// settingsPage is for the owner.
func (a *App) settingsPage(c echo.Context) error {
	m := membership(c)
	if m.Role != models.Owner {
		return &models.Error{Kind: models.Denied, Msg: "Only the owner can change the room's settings."}
	}
	v, err := a.o.Store.View(c.Request().Context(), m)
	if err != nil {
		return err
	}
	return a.render(c, http.StatusOK, views.SettingsPage(a.shell(c, "Settings of "+v.Name), views.Settings{ID: m.Room.String(), Name: v.Name}))
}

// turnEpoch gives the room a new key.
func (a *App) turnEpoch(c echo.Context) error {
	if err := a.limits.rooms.take(visitOf(c).user.ID.String()); err != nil {
		return err
	}
	m := membership(c)
	if err := a.o.Store.TurnEpoch(c.Request().Context(), m); err != nil {
		return err
	}
	a.sessions.Put(c.Request().Context(), keyNotice, "The room has a new key. What was written before stays readable under the old one.")
	return seeOther(c, "/rooms/"+m.Room.String()+"/settings")
}

// destroyRoom takes the room apart for good.
func (a *App) destroyRoom(c echo.Context) error {
	if err := a.o.Store.Destroy(c.Request().Context(), membership(c)); err != nil {
		return err
	}
	a.sessions.Put(c.Request().Context(), keyNotice, "The room is destroyed. Its keys and its messages are gone from this server.")
	return seeOther(c, "/rooms")
}
