package handlers

import (
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"conclave/models"
	"conclave/views"
)

// A lost password: whoever runs the server hands over a link (admin_people.go, or the command
// line), and here it is exchanged for a new password. Whoever has the link needs no session.

func (a *App) resetPage(c echo.Context) error {
	return a.render(c, http.StatusOK, views.ResetPage(a.shell(c), views.Reset{}))
}

func (a *App) reset(c echo.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	if err := a.o.Store.ResetPassword(ctx, models.By{Address: c.RealIP()}, field("token"), field("password")); err != nil {
		fault, ok := faults(err)
		if !ok {
			return err
		}
		retryAfter(c, err)
		r := views.Reset{Token: views.Field{Value: field("token"), Error: fault["token"]}, PasswordError: fault["password"], Error: fault[""]}
		return a.formAgain(c, status(err), views.ResetPartial(r), views.ResetPage(a.shell(c), r))
	}
	// Whoever was signed in in this browser is not any more: the login comes next.
	if err := errors.Join(a.sessions.Clear(ctx), a.sessions.RenewToken(ctx)); err != nil {
		return err
	}
	a.begin(c)
	return a.noted(c, views.ResetDoneNotice, "/login")
}
