package handlers

import (
	"net/http"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"conclave/models"
	"conclave/views"
)

// The list of a person's sessions. To look at it needs no confirmation; to end one does.

func (a *App) sessionsPage(c echo.Context) error {
	found, err := a.o.Store.OwnSessions(c.Request().Context(), by(c))
	if err != nil {
		return err
	}
	list := views.Sessions{List: make([]views.Session, len(found))}
	if list.Before, list.BeforeFrom, err = a.o.Store.SignInBefore(c.Request().Context(), by(c)); err != nil {
		return err
	}
	for i, one := range found {
		list.List[i] = views.Session{
			Name: one.Name, This: one.This, Device: browserIn(one.Agent), Address: one.Address, SignedIn: one.SignedIn, Seen: one.Seen,
		}
	}
	return a.showAccount(c, http.StatusOK, func(s views.Shell) templ.Component { return views.SessionsPage(s, list) })
}

func (a *App) endSession(c echo.Context) error {
	err := a.o.Store.EndSession(c.Request().Context(), by(c), c.Param("name"))
	if models.KindOf(err) == models.NotFound {
		return a.noted(c, views.SessionGoneNotice, "/account/sessions")
	}
	if err != nil {
		return err
	}
	return a.noted(c, views.SessionEndedNotice, "/account/sessions")
}

func (a *App) endOtherSessions(c echo.Context) error {
	if err := a.o.Store.EndOtherSessions(c.Request().Context(), by(c)); err != nil {
		return err
	}
	return a.noted(c, views.SessionsEndedNotice, "/account/sessions")
}
