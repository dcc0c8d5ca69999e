package handlers

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"conclave/views"
)

// sudoLife is how long password and code, given again, are good for what destroys.
const sudoLife = 10 * time.Minute

const keySudo = "sudo" // int64 in the session: unix milliseconds of the last confirmation

// sudo lets a request through only shortly after password and code were given again. A stolen
// session alone destroys nothing.
func (a *App) sudo(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		at := a.sessions.GetInt64(c.Request().Context(), keySudo)
		if a.o.Now().UnixMilli()-at > sudoLife.Milliseconds() {
			return seeOther(c, "/sudo?next=/rooms/"+membership(c).Room.String()+"/settings")
		}
		return next(c)
	}
}

func (a *App) sudoPage(c echo.Context) error {
	s := views.Sudo{Next: localTarget(c.QueryParam("next"))}
	return a.render(c, http.StatusOK, views.SudoPage(a.shell(c, "Confirm that it is you"), s))
}

// confirmSudo checks both factors again and gives the session a new token. Its streams end
// without a word first, so that open pages come back under the new one.
func (a *App) confirmSudo(c echo.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	v, ctx := visitOf(c), c.Request().Context()
	if err = a.limits.sudo.take(v.user.ID.String()); err == nil {
		err = a.o.Store.Reauthenticate(ctx, v.user.ID, field("password"), field("code"))
	}
	if err != nil {
		fault, ok := faults(err)
		if !ok {
			return err
		}
		retryAfter(c, err)
		s := views.Sudo{Next: localTarget(field("next")), Error: fault[""]}
		return a.formAgain(c, status(err), views.SudoPartial(s), views.SudoPage(a.shell(c, "Confirm that it is you"), s))
	}
	a.o.Hub.Release(v.session)
	if err := a.sessions.RenewToken(ctx); err != nil {
		return err
	}
	a.sessions.Put(ctx, keySudo, a.o.Now().UnixMilli())
	return seeOther(c, localTarget(field("next")))
}
