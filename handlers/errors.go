package handlers

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"conclave/models"
	"conclave/views"
)

// statusOf is the one place where a kind of error becomes a status.
var statusOf = map[models.Kind]int{
	models.Invalid:   http.StatusUnprocessableEntity,
	models.NotFound:  http.StatusNotFound,
	models.Denied:    http.StatusForbidden,
	models.SignedOut: http.StatusUnauthorized,
	models.Conflict:  http.StatusConflict,
	models.Limited:   http.StatusTooManyRequests,
	models.Busy:      http.StatusServiceUnavailable,
}

// status returns what an error is answered with. Anything that is neither one of ours nor the
// router's is our own fault.
func status(err error) int {
	var ours *models.Error
	if errors.As(err, &ours) {
		return statusOf[ours.Kind]
	}
	var routers *echo.HTTPError
	if errors.As(err, &routers) {
		return routers.Code
	}
	return http.StatusInternalServerError
}

// fail answers an error. Once a response has begun there is nothing left to say.
func (a *App) fail(err error, c echo.Context) {
	if c.Response().Committed || errors.Is(err, context.Canceled) && c.Request().Context().Err() != nil {
		return
	}
	code := status(err)
	if code == http.StatusInternalServerError {
		a.o.Log.Error("request failed", "id", c.Get(requestIDKey), "route", c.Path(), "error", err)
	}
	if code == http.StatusUnauthorized {
		err = a.askToSignIn(c)
	} else {
		err = a.showError(c, code, err)
	}
	if err != nil {
		a.o.Log.Error("an error could not be answered", "id", c.Get(requestIDKey), "error", err)
	}
}

// askToSignIn leads to the login. Scripts get a 401 instead of a redirect, since fetch would
// follow that and take the login page for an answer.
func (a *App) askToSignIn(c echo.Context) error {
	if c.Request().Header.Get("HX-Request") != "" || isFeed(c) || c.Path() == "/session" {
		c.Response().Header().Set("HX-Redirect", "/login")
		return c.NoContent(http.StatusUnauthorized)
	}
	if target := c.Request().URL.Path; c.Path() == roomRoute && localTarget(target) == target {
		return c.Redirect(http.StatusSeeOther, "/login?next="+target)
	}
	return c.Redirect(http.StatusSeeOther, "/login")
}

func (a *App) showError(c echo.Context, code int, err error) error {
	shown := views.ErrorOf(code)
	shown.RequestID, _ = c.Get(requestIDKey).(string)
	var ours *models.Error
	if errors.As(err, &ours) {
		if ours.Kind != models.NotFound {
			shown.Text = ours.Msg
		}
	}
	retryAfter(c, err)
	shown.BackURL, shown.BackText = "/login", views.ErrorToLogin
	if visitOf(c).signedIn() {
		shown.BackURL, shown.BackText = "/rooms", views.ErrorToRooms
	}
	if target := c.Request().URL.Path; code == http.StatusServiceUnavailable && c.Request().Method == http.MethodGet && localTarget(target) == target {
		shown.BackURL, shown.BackText = target, views.ErrorTryAgain
	}
	if partial(c) {
		return a.render(c, code, views.ErrorPartial(shown))
	}
	return a.render(c, code, views.ErrorPage(a.shell(c), shown))
}

// retryAfter tells a program how long to wait, when the error knows.
func retryAfter(c echo.Context, err error) {
	var ours *models.Error
	if errors.As(err, &ours) && ours.Wait > 0 {
		c.Response().Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(ours.Wait.Seconds()))))
	}
}

// faults spreads an error over the fields of a form. It returns false for an error that a form
// cannot show.
func faults(err error) (byField map[string]string, ok bool) {
	byField = map[string]string{}
	var many models.Errors
	if errors.As(err, &many) {
		for _, e := range many {
			byField[e.Field] = e.Msg
		}
		return byField, true
	}
	var one *models.Error
	if !errors.As(err, &one) || one.Kind == models.SignedOut {
		return nil, false
	}
	byField[one.Field] = one.Msg
	return byField, true
}
