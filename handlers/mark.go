package handlers

import (
	"strconv"

	"github.com/labstack/echo/v4"

	"conclave/models"
	"conclave/views"
)

// markRead notes how far the member has read.
func (a *App) markRead(c echo.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	n, err := strconv.ParseUint(field("n"), 10, 63)
	if err != nil {
		return &models.Error{Kind: models.Invalid, Field: "n", Msg: views.ErrorForeignForm}
	}
	m := membership(c)
	if err := a.limits.marks.take(m.User.String() + m.Room.String()); err != nil {
		return err
	}
	if err := a.o.Store.MarkRead(c.Request().Context(), m, n); err != nil {
		return err
	}
	return a.changed(c)
}
