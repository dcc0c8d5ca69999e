package handlers

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"conclave/models"
	"conclave/views"
)

const (
	refusedLooked = 1000 // refused sign-ins that are added up
	refusedShown  = 20
	sourcesShown  = 20
)

var refusedEvents = []string{"login.fail", "login.code"}

func (a *App) attemptsPage(c echo.Context) error { return a.showAttempts(c, http.StatusOK, "") }

func (a *App) showAttempts(c echo.Context, status int, problem string) error {
	ctx := c.Request().Context()
	days, counted := a.o.Store.Days()
	t := views.Attempts{Logins: loginsChart(days, counted), Error: problem}
	waiting, err := a.o.Store.WaitingAccounts(ctx)
	if err != nil {
		return err
	}
	for _, w := range waiting {
		t.Waiting = append(t.Waiting, views.WaitingRow{ID: w.ID.String(), Who: person(w.Profile), Failures: w.Failures, Guessed: w.Guessed, Last: w.Last, Until: w.Until})
	}
	day, more, err := a.o.Store.AuditPage(ctx, models.AuditFilter{Events: refusedEvents, From: a.o.Now().Add(-24 * time.Hour)}, 0, refusedLooked)
	if err != nil {
		return err
	}
	sources, err := a.o.Store.Sources(ctx, day, sourcesShown)
	if err != nil {
		return err
	}
	t.More = more
	for _, r := range sources {
		t.Sources = append(t.Sources, views.SourceRow{Address: r.Address, Refused: r.Refused, Last: r.Last, Limited: r.Limited})
	}
	recent, _, err := a.o.Store.AuditPage(ctx, models.AuditFilter{Events: refusedEvents}, 0, refusedShown)
	if err != nil {
		return err
	}
	t.Recent = auditRows(recent)
	return a.render(c, status, views.AttemptsPage(a.shell(c), t))
}

func (a *App) liftWait(c echo.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	user, err := models.ParseID(field("user"))
	if err != nil {
		return err
	}
	err = a.o.Store.Lift(c.Request().Context(), by(c), user)
	if fault, ok := faults(err); ok {
		return a.showAttempts(c, status(err), fault[""])
	}
	if err != nil {
		return err
	}
	return a.noted(c, views.AttemptsLiftedNotice, "/admin/attempts")
}
