package handlers

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"conclave/models"
	"conclave/views"
)

func (a *App) settingsPage(c echo.Context) error { return a.showSettings(c, http.StatusOK, nil, nil) }

// showSettings shows what the owner can do with the room: the form of the code's terms as it was
// sent, nil for as they are, and what was wrong with another form, by field.
func (a *App) showSettings(c echo.Context, status int, sent *views.CodeForm, fault map[string]string) error {
	m, ctx := membership(c), c.Request().Context()
	v, err := a.o.Store.View(ctx, m)
	if err != nil {
		return err
	}
	if sent == nil {
		sent = codeForm(v.Terms, a.o.Now())
	}
	r := views.Settings{
		ID: m.Room.String(), Name: v.Name,
		Code: models.FormatCode(v.Code), Terms: terms(v, a.o.Now()), Waiting: waiting(v.Waiting), Form: *sent,
	}
	if r.History, r.Banned, err = a.newcomersAndBanned(ctx, m); err != nil {
		return err
	}
	r.History.Error = fault["history"]
	return a.render(c, status, views.SettingsPage(a.shell(c), r))
}

// codeForm is the form of a code's terms as they are.
func codeForm(t models.CodeTerms, now time.Time) *views.CodeForm {
	f := &views.CodeForm{Expires: views.Field{Value: "never"}, Knock: t.Knock}
	if !t.Expires.IsZero() && !t.Expired(now) {
		f.Expires.Value = "keep"
	}
	if t.Uses > 0 {
		f.Uses.Value = strconv.Itoa(t.Uses)
	}
	return f
}

// expiries are the lengths of time that a code can be given.
var expiries = map[string]time.Duration{"1h": time.Hour, "1d": 24 * time.Hour, "7d": 7 * 24 * time.Hour, "30d": 30 * 24 * time.Hour}

// setCodeTerms takes the form of the code's terms. Whether it is switched on stays.
func (a *App) setCodeTerms(c echo.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	v, err := a.o.Store.View(c.Request().Context(), membership(c))
	if err != nil {
		return err
	}
	now := a.o.Now()
	t := models.CodeTerms{Off: v.Terms.Off, Knock: field("knock") != ""}
	length, known := expiries[field("expires")]
	switch choice := field("expires"); {
	case known:
		t.Expires = now.Add(length)
	case choice == "keep":
		t.Expires = v.Terms.Expires
	case choice != "never" && choice != "":
		err = &models.Error{Kind: models.Invalid, Field: "expires", Msg: views.CodeExpiryProblem}
	}
	if typed := strings.TrimSpace(field("uses")); err == nil && typed != "" {
		if t.Uses, err = strconv.Atoi(typed); err != nil || t.Uses < 1 {
			t.Uses, err = -1, nil // the store says what is wrong
		}
	}
	if err == nil {
		err = a.changeCode(c, func() error { return a.o.Store.SetCodeTerms(c.Request().Context(), membership(c), t) })
	}
	if fault, ok := faults(err); ok {
		retryAfter(c, err)
		return a.showSettings(c, status(err), &views.CodeForm{
			Expires: views.Field{Value: field("expires"), Error: fault["expires"] + fault[""]},
			Uses:    views.Field{Value: field("uses"), Error: fault["uses"]}, Knock: t.Knock,
		}, nil)
	}
	if err != nil {
		return err
	}
	return a.settled(c, views.CodeSavedNotice)
}

// switchCode switches the room's code on or off. A time that is over does not come back with it.
func (a *App) switchCode(off bool) echo.HandlerFunc {
	return func(c echo.Context) error {
		v, err := a.o.Store.View(c.Request().Context(), membership(c))
		if err != nil {
			return err
		}
		t := v.Terms
		if t.Off = off; !off && t.Expired(a.o.Now()) {
			t.Expires = time.Time{}
		}
		if err := a.changeCode(c, func() error { return a.o.Store.SetCodeTerms(c.Request().Context(), membership(c), t) }); err != nil {
			return err
		}
		if off {
			return a.settled(c, views.CodeOffNotice)
		}
		return a.settled(c, views.CodeOnNotice)
	}
}

// rotateCode gives the room a new code.
func (a *App) rotateCode(c echo.Context) error {
	err := a.changeCode(c, func() error { return a.o.Store.RotateCode(c.Request().Context(), membership(c)) })
	if err != nil {
		return err
	}
	return a.settled(c, views.CodeNewNotice)
}

// changeCode keeps one person from filling a room's log with codes.
func (a *App) changeCode(c echo.Context, change func() error) error {
	if err := a.limits.codes.take(membership(c).User.String()); err != nil {
		return err
	}
	return change()
}

// settled leads back to the settings, with a sentence.
func (a *App) settled(c echo.Context, notice string) error {
	return a.noted(c, notice, "/rooms/"+membership(c).Room.String()+"/settings")
}

// turnEpoch gives the room a new key.
func (a *App) turnEpoch(c echo.Context) error {
	if err := a.limits.rooms.take(visitOf(c).user.ID.String()); err != nil {
		return err
	}
	if err := a.o.Store.TurnEpoch(c.Request().Context(), membership(c)); err != nil {
		return err
	}
	return a.settled(c, views.SettingsEpochNotice)
}

// destroyRoom takes the room apart for good.
func (a *App) destroyRoom(c echo.Context) error {
	if err := a.o.Store.Destroy(c.Request().Context(), membership(c)); err != nil {
		return err
	}
	return a.noted(c, views.SettingsDestroyedNotice, "/rooms")
}
