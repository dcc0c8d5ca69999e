package handlers

import (
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"conclave/models"
	"conclave/views"
)

const deviceCookie = "__Host-dev"

// Values of a session between a sign-in and the first page after it.
const keyArrival = "arrival" // string: the arrival as JSON, when there is something to say about it

// arrive starts a session for somebody who has signed in completely, and makes this browser one of
// theirs. Nothing of the session before is kept.
func (a *App) arrive(c echo.Context, user models.User, factor models.Factor) error {
	by, err := a.signIn(c, user, false)
	if err != nil {
		return err
	}
	cookie, err := a.o.Store.Arrive(c.Request().Context(), by, user, factor, agentOf(c.Request()), deviceOf(c))
	if err != nil {
		return err
	}
	c.SetCookie(&http.Cookie{
		Name: deviceCookie, Value: cookie, Path: "/", MaxAge: int(models.DeviceLife.Seconds()),
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
	return nil
}

func deviceOf(c echo.Context) string {
	cookie, err := c.Cookie(deviceCookie)
	if err != nil {
		return ""
	}
	return cookie.Value
}

// arriveLimited starts a session that is good for a new authenticator only.
func (a *App) arriveLimited(c echo.Context, user models.User) error {
	by, err := a.signIn(c, user, true)
	if err != nil {
		return err
	}
	return a.o.Store.Settle(c.Request().Context(), by, user)
}

// noteArrival keeps what the first page after a sign-in says about the tries that failed.
func (a *App) noteArrival(c echo.Context, arrival models.Arrival) error {
	if arrival.Failures == 0 {
		return nil
	}
	text, err := json.Marshal(views.Arrival{
		Failures: arrival.Failures, Guessed: arrival.Guessed, Since: arrival.Since, Last: arrival.Last, LastFrom: arrival.LastFrom,
	})
	if err != nil {
		return err
	}
	a.sessions.Put(c.Request().Context(), keyArrival, string(text))
	return nil
}

// arrivalNotice takes what noteArrival has kept; nil when there is nothing.
func (a *App) arrivalNotice(c echo.Context) *views.Arrival {
	text := a.sessions.PopString(c.Request().Context(), keyArrival)
	if text == "" {
		return nil
	}
	var arrival views.Arrival
	if err := json.Unmarshal([]byte(text), &arrival); err != nil {
		return nil
	}
	return &arrival
}

// newsShown is what a session has not dismissed yet.
func newsShown(list []models.News) []views.News {
	shown := make([]views.News, len(list))
	for i, n := range list {
		shown[i] = views.News{At: n.At, Address: n.Address, Browser: browserIn(n.Agent)}
	}
	return shown
}

// dismissNews is for somebody who has seen who signed in.
func (a *App) dismissNews(c echo.Context) error {
	if err := a.o.Store.DismissNews(c.Request().Context(), by(c)); err != nil {
		return err
	}
	if partial(c) {
		return a.render(c, http.StatusOK, views.NewsPart(nil))
	}
	return seeOther(c, cameFrom(c))
}

// cameFrom is the page of ours that a form was sent from.
func cameFrom(c echo.Context) string {
	from, err := url.Parse(c.Request().Referer())
	if err != nil || from.Host != c.Request().Host {
		return "/rooms"
	}
	return localTarget(from.Path)
}

// inherit carries the news of a session that has just been given a new token over.
func (a *App) inherit(c echo.Context, token string) {
	v, ctx := visitOf(c), c.Request().Context()
	to := a.o.Store.SessionHash(token)
	if !v.signedIn() || v.session == to || a.sessions.GetString(ctx, models.SessionUser) != v.user.ID.String() {
		return
	}
	if err := a.o.Store.InheritNews(ctx, v.session, to); err != nil {
		a.o.Log.Error("the news of a session could not be carried over", "id", c.Get(requestIDKey), "error", err)
	}
}
