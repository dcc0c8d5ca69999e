package handlers

import (
	"crypto/rand"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"conclave/models"
	"conclave/views"
)

// postMessage stores a message. It answers a fresh composer only: the author sees the message
// on the feed, by the same road as everybody.
func (a *App) postMessage(c echo.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	m := membership(c)
	var n uint64
	if err = a.limits.posts.take(m.User.String() + m.Room.String()); err == nil {
		n, err = a.o.Store.Post(c.Request().Context(), m, field("body"), field("client_id"))
	}
	if fault, ok := faults(err); ok && models.KindOf(err) != models.NotFound {
		retryAfter(c, err)
		again := views.Composer{Draft: field("body"), Error: fault["body"] + fault["client_id"] + fault[""]}
		if partial(c) {
			return a.render(c, status(err), views.ComposerPartial(freshComposer(m, again)))
		}
		return a.showRoom(c, status(err), again)
	}
	if err != nil {
		return err
	}
	if partial(c) {
		return a.render(c, http.StatusOK, views.ComposerPartial(freshComposer(m, views.Composer{Posted: n})))
	}
	return seeOther(c, "/rooms/"+m.Room.String())
}

// freshComposer gives a composer its room and a client id of its own.
func freshComposer(m models.Membership, c views.Composer) views.Composer {
	c.RoomID, c.ClientID = m.Room.String(), rand.Text()
	return c
}

// olderMessages answers the page of the history before a number.
func (a *App) olderMessages(c echo.Context) error {
	before, err := strconv.ParseUint(c.QueryParam("before"), 10, 63)
	if err != nil {
		return &models.Error{Kind: models.NotFound, Msg: views.MessageNoPage}
	}
	m := membership(c)
	p, err := a.o.Store.Older(c.Request().Context(), m, before)
	if err != nil {
		return err
	}
	if partial(c) {
		return a.renderPacked(c, http.StatusOK, views.OlderPartial(history(m.Room, p)))
	}
	return a.renderPacked(c, http.StatusOK, views.OlderPage(a.shell(c), history(m.Room, p)))
}

// messageNumber reads the number of the message that a route is about.
func messageNumber(c echo.Context) (uint64, error) {
	n, err := strconv.ParseUint(c.Param("n"), 10, 63)
	if err != nil {
		return 0, &models.Error{Kind: models.NotFound, Msg: views.MessageNone}
	}
	return n, nil
}

// actionsPage shows one message with what the reader may do to it.
func (a *App) actionsPage(c echo.Context) error {
	return a.showActions(c, http.StatusOK, "", "")
}

// showActions shows it with the form as it was sent: draft and error are empty for a first look.
func (a *App) showActions(c echo.Context, code int, draft, problem string) error {
	n, err := messageNumber(c)
	if err != nil {
		return err
	}
	m := membership(c)
	l, err := a.o.Store.Message(c.Request().Context(), m, n)
	if err != nil {
		return err
	}
	mine := l.Who.ID == m.User
	open := !l.Removed && !l.Damaged
	if problem == "" {
		draft = l.Body
	}
	shown := views.Actions{
		RoomID: m.Room.String(), Entry: entry(m.Room, l), Draft: draft, Error: problem,
		MayEdit: open && mine, MayRemove: open && (mine || m.Role != models.Plain),
	}
	return a.formAgain(c, code, views.ActionsPartial(shown), views.ActionsPage(a.shell(c), shown))
}

func (a *App) editMessage(c echo.Context) error {
	n, err := messageNumber(c)
	if err != nil {
		return err
	}
	field, err := form(c)
	if err != nil {
		return err
	}
	m := membership(c)
	if err = a.limits.posts.take(m.User.String() + m.Room.String()); err == nil {
		err = a.o.Store.Edit(c.Request().Context(), m, n, field("body"))
	}
	if fault, ok := faults(err); ok && models.KindOf(err) != models.NotFound {
		retryAfter(c, err)
		return a.showActions(c, status(err), field("body"), fault["body"]+fault[""])
	}
	if err != nil {
		return err
	}
	return a.changed(c)
}

func (a *App) removeMessage(c echo.Context) error {
	n, err := messageNumber(c)
	if err != nil {
		return err
	}
	if err := a.o.Store.Remove(c.Request().Context(), membership(c), n); err != nil {
		return err
	}
	return a.changed(c)
}

// changed answers a change of a message: the page sees it on the feed, a browser without
// JavaScript goes back to the room.
func (a *App) changed(c echo.Context) error {
	if partial(c) {
		return c.NoContent(http.StatusNoContent)
	}
	return seeOther(c, "/rooms/"+membership(c).Room.String())
}
