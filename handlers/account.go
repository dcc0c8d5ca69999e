package handlers

import (
	"net/http"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"conclave/models"
	"conclave/views"
)

// The pages about one's own account. This file has what they share, and the profile.

// fewCodes is how many recovery codes are few.
const fewCodes = 3

// showAccount renders a page about the account, with a word about the recovery codes if few are left.
func (a *App) showAccount(c echo.Context, status int, page func(views.Shell) templ.Component) error {
	left, err := a.o.Store.RecoveryCodesLeft(c.Request().Context(), visitOf(c).user.ID)
	if err != nil {
		return err
	}
	s := a.shell(c)
	if left <= fewCodes && a.unsavedCodes(c) == nil {
		s.Heed = views.CodesHeed(left)
	}
	return a.render(c, status, page(s))
}

// accountAgain answers a form about the account that has to be shown again.
func (a *App) accountAgain(c echo.Context, err error, part templ.Component, page func(views.Shell) templ.Component) error {
	retryAfter(c, err)
	if partial(c) {
		return a.render(c, status(err), part)
	}
	return a.showAccount(c, status(err), page)
}

// keysPage says what the keyboard does: alone to htmx, which puts it into a dialog.
func (a *App) keysPage(c echo.Context) error {
	if partial(c) {
		return a.render(c, http.StatusOK, views.KeysPartial())
	}
	return a.showAccount(c, http.StatusOK, views.KeysPage)
}

func (a *App) profilePage(c echo.Context) error {
	p := profileForm(visitOf(c).user)
	return a.showAccount(c, http.StatusOK, func(s views.Shell) templ.Component { return views.ProfilePage(s, p) })
}

func (a *App) saveProfile(c echo.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	user := visitOf(c).user
	if err = a.limits.account.take(user.ID.String()); err == nil {
		err = a.o.Store.Rename(c.Request().Context(), by(c), field("full_name"))
	}
	if fault, ok := faults(err); ok {
		p := profileForm(user)
		p.FullName, p.Error = views.Field{Value: field("full_name"), Error: fault["full_name"]}, fault[""]
		return a.accountAgain(c, err, views.ProfilePartial(p), func(s views.Shell) templ.Component { return views.ProfilePage(s, p) })
	}
	if err != nil {
		return err
	}
	return a.noted(c, views.ProfileSavedNotice, "/account")
}

func (a *App) emailPage(c echo.Context) error {
	p := profileForm(visitOf(c).user)
	return a.showAccount(c, http.StatusOK, func(s views.Shell) templ.Component { return views.EmailPage(s, p) })
}

func (a *App) saveEmail(c echo.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	user := visitOf(c).user
	if err = a.limits.account.take(user.ID.String()); err == nil {
		err = a.o.Store.ChangeEmail(c.Request().Context(), by(c), field("email"))
	}
	if fault, ok := faults(err); ok {
		p := profileForm(user)
		p.Email, p.Error = views.Field{Value: field("email"), Error: fault["email"]}, fault[""]
		return a.accountAgain(c, err, views.EmailPartial(p), func(s views.Shell) templ.Component { return views.EmailPage(s, p) })
	}
	if err != nil {
		return err
	}
	return a.noted(c, views.EmailSavedNotice, "/account")
}

func profileForm(u models.User) views.Profile {
	return views.Profile{Username: u.Username, FullName: views.Field{Value: u.FullName}, Email: views.Field{Value: u.Email}}
}
