package handlers

import (
	"net/http"
	"time"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"conclave/models"
	"conclave/views"
)

// What signs a person in, changed by that person: the password, the authenticator, the recovery
// codes. All of it needs password and code, given a moment ago (sudo).

func (a *App) passwordPage(c echo.Context) error { return a.showPassword(c, nil, nil) }

// showPassword shows the form, with what is wrong with it.
func (a *App) showPassword(c echo.Context, err error, fault map[string]string) error {
	p := views.Password{Username: visitOf(c).user.Username, PasswordError: fault["password"], Error: fault[""]}
	page := func(s views.Shell) templ.Component { return views.PasswordPage(s, p) }
	if err == nil {
		return a.showAccount(c, http.StatusOK, page)
	}
	return a.accountAgain(c, err, views.PasswordPartial(p), page)
}

func (a *App) savePassword(c echo.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	if err = a.limits.account.take(visitOf(c).user.ID.String()); err == nil {
		err = a.o.Store.ChangePassword(c.Request().Context(), by(c), field("password"))
	}
	if fault, ok := faults(err); ok {
		return a.showPassword(c, err, fault)
	}
	if err != nil {
		return err
	}
	if err := a.renew(c); err != nil {
		return err
	}
	return a.noted(c, views.PasswordChangedNotice, "/account")
}

// Another authenticator. Its secret is made when the page is first shown, and stays the same
// until it is confirmed or a quarter of an hour has passed.

const (
	keyNewSecret      = "new_secret"       // string in the session: the TOTP secret of another authenticator
	keyNewSecretUntil = "new_secret_until" // int64: unix milliseconds after which the page shows a fresh one
)

const newSecretShown = 15 * time.Minute

func (a *App) authenticatorPage(c echo.Context) error {
	ctx, now := c.Request().Context(), a.o.Now()
	if a.sessions.GetString(ctx, keyNewSecret) == "" || now.UnixMilli() > a.sessions.GetInt64(ctx, keyNewSecretUntil) {
		a.sessions.Put(ctx, keyNewSecret, models.NewOTPSecret())
		a.sessions.Put(ctx, keyNewSecretUntil, now.Add(newSecretShown).UnixMilli())
	}
	e, err := a.newEnrolment(c)
	if err != nil {
		return err
	}
	return a.showAccount(c, http.StatusOK, func(s views.Shell) templ.Component { return views.AuthenticatorPage(s, e) })
}

func (a *App) newEnrolment(c echo.Context) (views.Enrol, error) {
	return enrolForm("/account/authenticator", visitOf(c).user.Username, a.sessions.GetString(c.Request().Context(), keyNewSecret))
}

func (a *App) saveAuthenticator(c echo.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	secret := a.sessions.GetString(ctx, keyNewSecret)
	if secret == "" {
		return seeOther(c, "/account/authenticator") // confirmed in another tab
	}
	if err = a.limits.account.take(visitOf(c).user.ID.String()); err != nil {
		return a.authenticatorAgain(c, err)
	}
	_, left, err := a.o.Store.Enrol(ctx, by(c), secret, field("code"))
	if err != nil {
		return a.authenticatorAgain(c, err)
	}
	if err := a.renew(c); err != nil {
		return err
	}
	a.sessions.Remove(ctx, keyNewSecret)
	return a.noted(c, views.AuthenticatorNotice(left), "/account")
}

func (a *App) authenticatorAgain(c echo.Context, err error) error {
	fault, ok := faults(err)
	if !ok {
		return err
	}
	e, formErr := a.newEnrolment(c)
	if formErr != nil {
		return formErr
	}
	e.Error, e.Problem = fault["code"], fault[""]
	return a.accountAgain(c, err, views.EnrolPartial(e), func(s views.Shell) templ.Component { return views.AuthenticatorPage(s, e) })
}

// The recovery codes.

func (a *App) codesPage(c echo.Context) error {
	left, err := a.o.Store.RecoveryCodesLeft(c.Request().Context(), visitOf(c).user.ID)
	if err != nil {
		return err
	}
	codes := views.Codes{Left: left, Pending: a.unsavedCodes(c) != nil}
	return a.showAccount(c, http.StatusOK, func(s views.Shell) templ.Component { return views.CodesPage(s, codes) })
}

func (a *App) newCodes(c echo.Context) error {
	if err := a.limits.account.take(visitOf(c).user.ID.String()); err != nil {
		return err
	}
	codes, err := a.o.Store.NewRecoveryCodes(c.Request().Context(), by(c))
	if err != nil {
		return err
	}
	a.showCodes(c, codes, "/account/codes")
	return seeOther(c, "/register/recovery")
}
