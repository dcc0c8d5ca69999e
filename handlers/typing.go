package handlers

import (
	"net/http"

	"github.com/labstack/echo/v4"
)

// typing tells the room that the member is writing, unless the member does not want that. What
// comes too often is dropped without a word: nobody should have to know.
func (a *App) typing(c echo.Context) error {
	m := membership(c)
	if visitOf(c).user.ShowsTyping && a.limits.typing.take(m.User.String()+m.Room.String()) == nil {
		a.o.Hub.Typing(m.Room, m.User)
	}
	return c.NoContent(http.StatusNoContent)
}

// showTyping is where a person decides that, for all rooms.
func (a *App) showTyping(c echo.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	if err := a.o.Store.ShowTyping(c.Request().Context(), visitOf(c).user.ID, field("show") != ""); err != nil {
		return err
	}
	return a.changed(c)
}
