package handlers

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"conclave/models"
	"conclave/views"
)

// The first step of the registration.

func (a *App) registerPage(c echo.Context) error {
	if visitOf(c).signedIn() {
		return seeOther(c, "/rooms")
	}
	return a.render(c, http.StatusOK, views.RegisterPage(a.shell(c), a.registerForm()))
}

func (a *App) registerForm() views.Register {
	return views.Register{Registration: a.o.Registration}
}

func (a *App) register(c echo.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	if !visitOf(c).user.ID.Zero() {
		return seeOther(c, "/rooms") // a session that belongs to somebody is not begun anew
	}
	ctx := c.Request().Context()
	r := models.Registration{
		Username: field("username"), FullName: field("full_name"), Email: field("email"),
		Password: field("password"), Token: field("token"), Address: c.RealIP(),
	}
	r.Replaces, _ = models.ParseID(a.sessions.GetString(ctx, keyPending)) // none is the zero ID
	id, err := a.tryRegister(c, r)
	if err != nil {
		return a.registerAgain(c, r, err)
	}
	a.begin(c)
	a.sessions.Put(ctx, keyPending, id.String())
	return seeOther(c, "/register/confirm")
}

func (a *App) tryRegister(c echo.Context, r models.Registration) (models.ID, error) {
	switch {
	case a.o.Registration == "closed":
		return models.ID{}, errClosed
	case a.o.Registration == "invite" && r.Token == "":
		return models.ID{}, &models.Error{Kind: models.Invalid, Field: "token", Msg: views.RegisterTokenProblem}
	}
	return a.o.Store.Register(c.Request().Context(), r)
}

var errClosed = &models.Error{Kind: models.Denied, Msg: views.RegisterClosedProblem}

func (a *App) registerAgain(c echo.Context, r models.Registration, err error) error {
	fault, ok := faults(err)
	if !ok {
		return err
	}
	retryAfter(c, err)
	f := a.registerForm()
	f.Username = views.Field{Value: r.Username, Error: fault["username"]}
	f.FullName = views.Field{Value: r.FullName, Error: fault["full_name"]}
	f.Email = views.Field{Value: r.Email, Error: fault["email"]}
	f.Token = views.Field{Value: r.Token, Error: fault["token"]}
	f.PasswordError, f.Error = fault["password"], fault[""]
	return a.formAgain(c, status(err), views.RegisterPartial(f), views.RegisterPage(a.shell(c), f))
}

// The second step: the authenticator, confirmed by its first code.

func (a *App) confirmPage(c echo.Context) error {
	e, err := a.pendingForm(c)
	if err != nil {
		return err
	}
	return a.render(c, http.StatusOK, views.EnrolPage(a.shell(c), e))
}

// pendingForm is the enrolment of the registration that this browser has begun.
func (a *App) pendingForm(c echo.Context) (views.Enrol, error) {
	id, err := models.ParseID(a.sessions.GetString(c.Request().Context(), keyPending))
	if err != nil {
		return views.Enrol{}, &models.Error{Kind: models.Conflict, Msg: views.RegisterGoneProblem}
	}
	p, err := a.o.Store.Pending(c.Request().Context(), id)
	if err != nil {
		return views.Enrol{}, err
	}
	return enrolForm("/register/confirm", p.Username, p.Secret)
}

func (a *App) confirm(c echo.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	id, _ := models.ParseID(a.sessions.GetString(ctx, keyPending))
	if p, err := a.o.Store.Pending(ctx, id); err == nil && (a.o.Registration == "closed" || a.o.Registration == "invite" && !p.Invited) {
		return errClosed // it was begun before that
	}
	user, codes, err := a.o.Store.Confirm(ctx, by(c), id, field("code"))
	if models.KindOf(err) == models.Invalid {
		e, formErr := a.pendingForm(c)
		if formErr != nil {
			return formErr
		}
		return a.enrolAgain(c, e, err)
	}
	if err != nil {
		return err
	}
	if err := a.arrive(c, user, models.ByCode); err != nil {
		return err
	}
	a.showCodes(c, codes, "/rooms")
	return seeOther(c, "/register/recovery")
}

func (a *App) enrolAgain(c echo.Context, e views.Enrol, err error) error {
	fault, ok := faults(err)
	if !ok {
		return err
	}
	e.Error = fault["code"] + fault["token"] + fault[""]
	return a.formAgain(c, status(err), views.EnrolPartial(e), views.EnrolPage(a.shell(c), e))
}

// The recovery codes, shown until they are saved.

// showCodes keeps codes for the page that shows them; back is where that page leads to.
func (a *App) showCodes(c echo.Context, codes []string, back string) {
	ctx := c.Request().Context()
	a.sessions.Put(ctx, keyCodes, codes)
	a.sessions.Put(ctx, keyCodesUntil, a.o.Now().Add(codesShown).UnixMilli())
	a.sessions.Put(ctx, keyCodesBack, back)
}

func (a *App) recoveryPage(c echo.Context) error {
	codes := a.unsavedCodes(c)
	if codes == nil {
		return seeOther(c, "/rooms")
	}
	return a.render(c, http.StatusOK, views.RecoveryPage(a.shell(c), views.Recovery{Codes: codes}))
}

// unsavedCodes returns the codes that may still be shown, nil when there are none.
func (a *App) unsavedCodes(c echo.Context) []string {
	ctx := c.Request().Context()
	codes, _ := a.sessions.Get(ctx, keyCodes).([]string)
	if len(codes) > 0 && a.o.Now().UnixMilli() > a.sessions.GetInt64(ctx, keyCodesUntil) {
		a.sessions.Remove(ctx, keyCodes)
		return nil
	}
	return codes
}

func (a *App) recoverySaved(c echo.Context) error {
	ctx := c.Request().Context()
	a.sessions.Remove(ctx, keyCodes)
	return seeOther(c, localTarget(a.sessions.PopString(ctx, keyCodesBack)))
}

// Logging in and out.

func (a *App) loginPage(c echo.Context) error {
	if visitOf(c).signedIn() {
		return seeOther(c, "/rooms")
	}
	l := a.loginForm(c)
	if l.Next = c.QueryParam("next"); localTarget(l.Next) != l.Next {
		l.Next = ""
	}
	return a.render(c, http.StatusOK, views.LoginPage(a.shell(c), l))
}

func (a *App) loginForm(c echo.Context) views.Login {
	return views.Login{Registration: a.o.Registration, Passkeys: site(c).HasPasskeys()}
}

func (a *App) login(c echo.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	arrival, err := a.o.Store.Authenticate(c.Request().Context(), by(c), models.SignIn{
		Username: field("username"), Password: field("password"), Code: field("code"), Device: deviceOf(c),
		Passkey: a.passkeyAnswer(c, forLogin, field("passkey")),
	})
	if err == nil && arrival.Recovery {
		err = a.arriveLimited(c, arrival.User)
	} else if err == nil {
		err = a.arrive(c, arrival.User, arrival.Factor)
	}
	if err != nil {
		fault, ok := faults(err)
		if !ok {
			return err
		}
		retryAfter(c, err)
		l := a.loginForm(c)
		l.Username, l.Next, l.Error = field("username"), field("next"), fault[""]
		return a.formAgain(c, status(err), views.LoginPartial(l), views.LoginPage(a.shell(c), l))
	}
	if err := a.noteArrival(c, arrival); err != nil {
		return err
	}
	if arrival.Recovery {
		return seeOther(c, "/login/enrol")
	}
	return seeOther(c, localTarget(field("next")))
}

func (a *App) logout(c echo.Context) error { return a.goodbye(c, "/login") }

// goodbye ends the session and takes what is left of it out of the browser.
func (a *App) goodbye(c echo.Context, target string) error {
	if err := a.sessions.Destroy(c.Request().Context()); err != nil {
		return err
	}
	c.Response().Header().Set("Clear-Site-Data", `"cache", "storage"`)
	return seeOther(c, target)
}

// touch answers a page that is looked at; signedIn has noted the activity.
func (a *App) touch(c echo.Context) error { return c.NoContent(http.StatusNoContent) }

// A login with a recovery code leads to a new authenticator, and to nothing else.

func (a *App) enrolPage(c echo.Context) error {
	e, err := a.limitedForm(c)
	if err != nil {
		return err
	}
	return a.render(c, http.StatusOK, views.EnrolPage(a.shell(c), e))
}

// limitedForm is the enrolment of somebody who logged in with a recovery code. The secret is
// made at the first look and stays the same until it is confirmed.
func (a *App) limitedForm(c echo.Context) (views.Enrol, error) {
	v := visitOf(c)
	if v.user.ID.Zero() || !v.limited {
		return views.Enrol{}, errSignedOut
	}
	ctx := c.Request().Context()
	secret := a.sessions.GetString(ctx, keySecret)
	if secret == "" {
		secret = models.NewOTPSecret()
		a.sessions.Put(ctx, keySecret, secret)
	}
	e, err := enrolForm("/login/enrol", v.user.Username, secret)
	e.Recovery = true
	return e, err
}

func (a *App) enrol(c echo.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	e, err := a.limitedForm(c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	user, left, err := a.o.Store.Enrol(ctx, by(c), e.Secret, field("code"))
	if err != nil {
		return a.enrolAgain(c, e, err)
	}
	failed := a.sessions.GetString(ctx, keyArrival)
	if err := a.arrive(c, user, models.ByRecovery); err != nil {
		return err
	}
	a.sessions.Put(ctx, keyNotice, views.AuthenticatorNotice(left))
	if failed != "" {
		a.sessions.Put(ctx, keyArrival, failed)
	}
	return seeOther(c, "/rooms")
}
