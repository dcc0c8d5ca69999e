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
		return &models.Error{Kind: models.NotFound, Msg: "There is no such page of the history."}
	}
	m := membership(c)
	p, err := a.o.Store.Older(c.Request().Context(), m, before)
	if err != nil {
		return err
	}
	if partial(c) {
		return a.render(c, http.StatusOK, views.OlderPartial(history(m.Room, p)))
	}
	return a.render(c, http.StatusOK, views.OlderPage(a.shell(c, "Older messages"), history(m.Room, p)))
}
