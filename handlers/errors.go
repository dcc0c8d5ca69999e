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

// texts say what went wrong and what to do, by status: an error page never shows more.
var texts = map[int]views.Error{
	http.StatusForbidden:                   {Title: "That is not allowed", Text: "Conclave only accepts what its own pages send, from people who may do it. Go back, reload the page and try again."},
	http.StatusNotFound:                    {Title: "Nothing here", Text: "There is nothing at this address, or nothing that you may see. If somebody invited you, ask for the room code and enter it on the page of your rooms."},
	http.StatusMethodNotAllowed:            {Title: "That does not work this way", Text: "This address cannot be used like that. Go back and use the buttons of the page."},
	http.StatusConflict:                    {Title: "This has changed meanwhile", Text: "Go back, reload the page and try again."},
	http.StatusRequestEntityTooLarge:       {Title: "That is too long", Text: "A form can carry at most 64 KiB. Go back and send it in parts."},
	http.StatusRequestHeaderFieldsTooLarge: {Title: "That is too long", Text: "Your browser sent more about itself than this server takes, most likely in cookies. Delete the cookies of this address and try again."},
	http.StatusMisdirectedRequest:          {Title: "Unknown address", Text: "This server does not know itself by the name in the address bar. Open it by the address it printed when it started, or ask whoever runs it to add the name with --host."},
	http.StatusUnprocessableEntity:         {Title: "That did not work", Text: "Go back and check what you entered."},
	http.StatusTooManyRequests:             {Title: "Too fast", Text: "That was too often in too short a time. Wait a moment and try again."},
	http.StatusServiceUnavailable:          {Title: "One moment", Text: "The server has too much to do at this moment. Wait a few seconds and try again."},
	http.StatusInternalServerError:         {Title: "Something went wrong here", Text: "This is the server's fault, not yours, and it has been written down. Try again; if it stays, tell whoever runs the server the number below."},
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
	shown, ok := texts[code]
	if !ok {
		shown = texts[http.StatusInternalServerError]
		shown.Title = http.StatusText(code)
	}
	shown.Status = code
	shown.RequestID, _ = c.Get(requestIDKey).(string)
	var ours *models.Error
	if errors.As(err, &ours) {
		if ours.Kind != models.NotFound {
			shown.Text = ours.Msg
		}
	}
	retryAfter(c, err)
	shown.BackURL, shown.BackText = "/login", "To the login"
	if visitOf(c).signedIn() {
		shown.BackURL, shown.BackText = "/rooms", "To your rooms"
	}
	if target := c.Request().URL.Path; code == http.StatusServiceUnavailable && c.Request().Method == http.MethodGet && localTarget(target) == target {
		shown.BackURL, shown.BackText = target, "Try again"
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
