package handlers

import (
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"conclave/views"
)

// sudoLife is how long password and code, given again, are good for what matters.
const sudoLife = 10 * time.Minute

const keySudo = "sudo" // int64 in the session: unix milliseconds of the last confirmation

// sudoSpare is how much of it must be left when a form is shown, so that what is typed there is not
// lost to a confirmation that runs out meanwhile.
const sudoSpare = 3 * time.Minute

// sudo lets a request through only shortly after password and code were given again: a stolen
// session alone takes nothing over and destroys nothing. page is where the person comes back to,
// with the names of the route's parameters in it (":room").
func (a *App) sudo(page string, next echo.HandlerFunc) echo.HandlerFunc {
	return a.sudoWithin(sudoLife, page, next)
}

// sudoForm is sudo for a page with a form that needs it too.
func (a *App) sudoForm(page string, next echo.HandlerFunc) echo.HandlerFunc {
	return a.sudoWithin(sudoLife-sudoSpare, page, next)
}

func (a *App) sudoWithin(life time.Duration, page string, next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if a.confirmedWithin(c, life) {
			return next(c)
		}
		back := page
		for _, name := range c.ParamNames() {
			back = strings.ReplaceAll(back, ":"+name, c.Param(name))
		}
		return seeOther(c, "/sudo?next="+localTarget(back))
	}
}

// confirmed reports whether password and code were given again a moment ago.
func (a *App) confirmed(c echo.Context) bool { return a.confirmedWithin(c, sudoLife) }

func (a *App) confirmedWithin(c echo.Context, life time.Duration) bool {
	at := time.UnixMilli(a.sessions.GetInt64(c.Request().Context(), keySudo))
	age := a.o.Now().Sub(at)
	return age >= 0 && age <= life // one from later than now is from before the clock was put back
}

func (a *App) sudoPage(c echo.Context) error {
	s, err := a.sudoFields(c)
	if err != nil {
		return err
	}
	s.Next = localTarget(c.QueryParam("next"))
	return a.render(c, http.StatusOK, views.SudoPage(a.shell(c), s))
}

func (a *App) sudoFields(c echo.Context) (s views.Sudo, err error) {
	s.Passkeys, err = a.hasPasskeys(c)
	return s, err
}

// confirmSudo checks both factors again and gives the session a new token.
func (a *App) confirmSudo(c echo.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	v, ctx := visitOf(c), c.Request().Context()
	if err = a.limits.sudo.take(v.user.ID.String()); err == nil {
		err = a.o.Store.Reauthenticate(ctx, by(c), field("password"), field("code"), a.passkeyAnswer(c, forSudo, field("passkey")))
	}
	if err != nil {
		fault, ok := faults(err)
		if !ok {
			return err
		}
		retryAfter(c, err)
		s, formErr := a.sudoFields(c)
		if formErr != nil {
			return formErr
		}
		s.Next, s.Error = localTarget(field("next")), fault[""]
		return a.formAgain(c, status(err), views.SudoPartial(s), views.SudoPage(a.shell(c), s))
	}
	if err := a.renew(c); err != nil {
		return err
	}
	a.sessions.Put(ctx, keySudo, a.o.Now().UnixMilli())
	return seeOther(c, localTarget(field("next")))
}
