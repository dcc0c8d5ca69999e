package handlers

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"conclave/models"
	"conclave/views"
)

// Passkeys. A browser is asked to make one, or to sign with one, in three steps: a POST answers with
// the challenge, which is also kept in the session; the module behind <passkey-step> hands it to
// the browser; what comes of that returns in a field of an ordinary form.

const passkeysRoute = "/account/passkeys"

// What a challenge is for: one that was given out at the login confirms nothing else.
const (
	forLogin = "login"
	forSudo  = "sudo"
	forAdd   = "add"
)

// site is where the page is open in the browser, as its requests say. hosted has checked the name.
func site(c echo.Context) models.Site {
	return models.Site{Name: strings.ToLower(hostName(c)), Origin: "https://" + strings.ToLower(c.Request().Host)}
}

// keepChallenge puts a challenge into the session.
func (a *App) keepChallenge(c echo.Context, purpose, challenge string) {
	until := a.o.Now().Add(models.ChallengeLife).UnixMilli()
	a.sessions.Put(c.Request().Context(), keyChallenge, fmt.Sprint(purpose, " ", until, " ", challenge))
}

// passkeyAnswer joins what the browser sent with the challenge in the session, which is used up.
func (a *App) passkeyAnswer(c echo.Context, purpose, json string) models.Answer {
	in := models.Answer{Site: site(c), JSON: json}
	if json == "" {
		return in
	}
	kept := strings.Fields(a.sessions.PopString(c.Request().Context(), keyChallenge))
	if len(kept) != 3 || kept[0] != purpose {
		return in
	}
	if until, err := strconv.ParseInt(kept[1], 10, 64); err == nil && a.o.Now().UnixMilli() <= until {
		in.Challenge = kept[2]
	}
	return in
}

// askAtLogin gives out a challenge to somebody whom nobody knows yet: it is the same for everybody.
func (a *App) askAtLogin(c echo.Context) error {
	if visitOf(c).signedIn() {
		return seeOther(c, "/rooms")
	}
	if visitOf(c).user.ID.Zero() {
		a.begin(c)
	}
	return a.askPasskey(c, forLogin, "/login", addressKey(c))
}

func (a *App) askAtSudo(c echo.Context) error {
	return a.askPasskey(c, forSudo, "/sudo", visitOf(c).user.ID.String())
}

func (a *App) askPasskey(c echo.Context, purpose, page, who string) error {
	if !partial(c) {
		return seeOther(c, page) // only the module asks
	}
	err := a.limits.passkeys.take(who)
	var options, challenge string
	if err == nil {
		options, challenge, err = models.AskPasskey(site(c))
	}
	if err != nil {
		return a.noChallenge(c, err)
	}
	a.keepChallenge(c, purpose, challenge)
	return a.render(c, http.StatusOK, views.PasskeyPartial(options))
}

func (a *App) noChallenge(c echo.Context, err error) error {
	fault, ok := faults(err)
	if !ok {
		return err
	}
	retryAfter(c, err)
	return a.render(c, status(err), views.PasskeyProblemPartial(fault["name"]+fault[""]))
}

// hasPasskeys reports whether whoever asks can use a passkey here.
func (a *App) hasPasskeys(c echo.Context) (bool, error) {
	here := site(c)
	list, _, err := a.o.Store.Passkeys(c.Request().Context(), visitOf(c).user.ID)
	for _, p := range list {
		if p.Site == here.Name {
			return true, err
		}
	}
	return false, err
}

// The page about one's passkeys.

func (a *App) passkeysPage(c echo.Context) error {
	return a.showPasskeys(c, http.StatusOK, views.Passkeys{}, nil)
}

// showPasskeys shows the list and the form p; renamed are names that were refused, by the passkey.
func (a *App) showPasskeys(c echo.Context, status int, p views.Passkeys, renamed map[models.ID]views.Field) error {
	list, whole, err := a.o.Store.Passkeys(c.Request().Context(), visitOf(c).user.ID)
	if err != nil {
		return err
	}
	for _, k := range list {
		name, again := renamed[k.ID]
		if !again {
			name.Value = k.Name
		}
		p.List = append(p.List, views.Passkey{ID: k.ID.String(), Name: k.Name, Site: k.Site, Created: k.Created, Used: k.Used, Rename: name})
	}
	p.Harmed, p.Confirmed = !whole, a.confirmed(c)
	if here := site(c); here.HasPasskeys() {
		p.Site = here.Name
	}
	return a.render(c, status, views.PasskeysPage(a.shell(c), p))
}

// offerPasskey gives out the challenge with which the browser makes a passkey.
func (a *App) offerPasskey(c echo.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	if !partial(c) {
		return seeOther(c, passkeysRoute)
	}
	who := visitOf(c).user.ID
	err = a.limits.passkeys.take(who.String())
	var options, challenge string
	if err == nil {
		options, challenge, err = a.o.Store.OfferPasskey(c.Request().Context(), who, field("name"), site(c))
	}
	if err != nil {
		return a.noChallenge(c, err)
	}
	a.keepChallenge(c, forAdd, challenge)
	return a.render(c, http.StatusOK, views.PasskeyPartial(options))
}

func (a *App) addPasskey(c echo.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	if field("passkey") == "" { // no module has run
		err = &models.Error{Kind: models.Invalid, Msg: views.PasskeyMissingProblem}
	} else {
		err = a.o.Store.AddPasskey(c.Request().Context(), by(c), field("name"), a.passkeyAnswer(c, forAdd, field("passkey")))
	}
	if err != nil {
		fault, ok := faults(err)
		if !ok {
			return err
		}
		return a.showPasskeys(c, status(err), views.Passkeys{Name: views.Field{Value: field("name"), Error: fault["name"]}, Error: fault[""]}, nil)
	}
	return a.noted(c, views.PasskeyAddedNotice, passkeysRoute)
}

// renamePasskey needs no confirmation: a name opens nothing.
func (a *App) renamePasskey(c echo.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	id, err := models.ParseID(c.Param("passkey"))
	if err != nil {
		return err
	}
	typed := field("name-" + id.String())
	if err = a.limits.account.take(visitOf(c).user.ID.String()); err == nil {
		err = a.o.Store.RenamePasskey(c.Request().Context(), by(c), id, typed)
	}
	if kind := models.KindOf(err); kind == models.Invalid || kind == models.Limited {
		fault, _ := faults(err)
		retryAfter(c, err)
		return a.showPasskeys(c, status(err), views.Passkeys{}, map[models.ID]views.Field{id: {Value: typed, Error: fault["name"] + fault[""]}})
	}
	if err != nil {
		return err
	}
	return a.noted(c, views.PasskeyRenamedNotice, passkeysRoute)
}

func (a *App) removePasskey(c echo.Context) error {
	id, err := models.ParseID(c.Param("passkey"))
	if err == nil {
		err = a.o.Store.RemovePasskey(c.Request().Context(), by(c), id)
	}
	if err != nil {
		return err
	}
	return a.noted(c, views.PasskeyRemovedNotice, passkeysRoute)
}
