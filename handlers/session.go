package handlers

import (
	"errors"
	"net/http"
	"regexp"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/labstack/echo/v4"

	"conclave/models"
	"conclave/views"
)

// Values of a session besides the two that the store knows. Counters that guard anything never
// stand here: of two parallel requests the later one overwrites the whole session.
const (
	keyLimited    = "limited"     // bool: signed in with a recovery code, good for a new enrolment only
	keyPending    = "pending"     // string: id of the registration under way
	keySecret     = "secret"      // string: TOTP secret that is being enrolled
	keyCodes      = "codes"       // []string: recovery codes that have not been marked as saved
	keyCodesUntil = "codes_until" // int64: unix milliseconds after which they are no longer shown
	keyCodesBack  = "codes_back"  // string: the page that they lead to
	keyChallenge  = "challenge"   // string: what a passkey is to sign, with what for and until when
	keyNotice     = "notice"      // string: a sentence for the next page
)

const codesShown = 15 * time.Minute

func newSessions(o Options) *scs.SessionManager {
	m := scs.New()
	m.Store, m.Codec = o.Store.Sessions(), o.Store.Sessions()
	m.Lifetime = o.SessionLifetime
	m.IdleTimeout = 0 // the store has its own; with this one every request would write, and could revive a session
	m.Cookie.Name = "__Host-sid"
	m.Cookie.Path = "/"
	m.Cookie.Secure = true
	m.Cookie.HttpOnly = true
	m.Cookie.SameSite = http.SameSiteLaxMode
	m.Cookie.Persist = false
	return m
}

// visit is what a request knows about who sent it.
type visit struct {
	user    models.User
	session [32]byte // the session's keyed hash
	limited bool
	news    []models.News
}

func (v visit) signedIn() bool { return !v.user.ID.Zero() && !v.limited }

const visitKey = "visit"

func visitOf(c echo.Context) visit {
	v, _ := c.Get(visitKey).(visit)
	return v
}

// visited loads the session and its user, once, and stores the session when the response begins.
// It does so when the whole form has arrived: whoever is about to lose a session or a right could
// else send the head of a request now and the rest a minute later.
func (a *App) visited(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if c.Request().Method == http.MethodPost {
			c.Set(formKey, c.Request().ParseForm())
		}
		var token string
		if cookie, err := c.Cookie(a.sessions.Cookie.Name); err == nil {
			token = cookie.Value
		}
		ctx, err := a.sessions.Load(c.Request().Context(), token)
		if err != nil {
			return err
		}
		c.SetRequest(c.Request().WithContext(ctx))
		c.Response().Before(func() { a.storeSession(c) })

		v := visit{limited: a.sessions.GetBool(ctx, keyLimited)}
		if token != "" {
			v.session = a.o.Store.SessionHash(token)
		}
		if id, err := models.ParseID(a.sessions.GetString(ctx, models.SessionUser)); err == nil {
			v.user, err = a.o.Store.User(ctx, id)
			if err != nil && models.KindOf(err) != models.SignedOut {
				return err
			}
		}
		if v.signedIn() {
			if v.news, err = a.o.Store.News(ctx, v.session); err != nil {
				return err
			}
		}
		c.Set(visitKey, v)
		defer a.released(c)
		return next(c)
	}
}

// storeSession runs just before the first byte of the response leaves.
func (a *App) storeSession(c echo.Context) {
	ctx := c.Request().Context()
	switch a.sessions.Status(ctx) {
	case scs.Modified:
		token, expiry, err := a.sessions.Commit(ctx)
		if err != nil {
			a.o.Log.Error("a session could not be stored", "id", c.Get(requestIDKey), "error", err)
			return
		}
		a.sessions.WriteSessionCookie(ctx, c.Response(), token, expiry)
		a.inherit(c, token)
	case scs.Destroyed:
		a.sessions.WriteSessionCookie(ctx, c.Response(), "", time.Time{})
	}
	c.Response().Header().Set("Cache-Control", "no-store") // scs adds a weaker word beside it
}

// signedIn lets only people through who have signed in completely, and notes their activity.
func (a *App) signedIn(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		v := visitOf(c)
		if v.limited && !v.user.ID.Zero() && !isFeed(c) {
			return seeOther(c, "/login/enrol")
		}
		if !v.signedIn() {
			return errSignedOut
		}
		if !isFeed(c) {
			if err := a.o.Store.TouchSession(c.Request().Context(), v.session); err != nil {
				return err
			}
		}
		return next(c)
	}
}

// by is who asks, and from where.
func by(c echo.Context) models.By {
	v := visitOf(c)
	return models.By{User: v.user.ID, Session: v.session, Address: c.RealIP()}
}

var errSignedOut = &models.Error{Kind: models.SignedOut, Msg: views.LoginFirstProblem}

// signIn starts a session of its own for the user: a new token, and nothing of what was there before.
// Whoever calls it has the store confirm the session (Arrive, Settle).
func (a *App) signIn(c echo.Context, user models.User, limited bool) (models.By, error) {
	ctx := c.Request().Context()
	by := models.By{User: user.ID, Address: c.RealIP()}
	err := errors.Join(a.sessions.Clear(ctx), a.sessions.RenewToken(ctx))
	if err != nil {
		return by, err
	}
	a.sessions.Put(ctx, models.SessionUser, user.ID.String())
	a.sessions.Put(ctx, models.SessionAuth, a.o.Now().UnixMilli())
	a.sessions.Put(ctx, models.SessionAddress, c.RealIP())
	a.sessions.Put(ctx, models.SessionAgent, agentOf(c.Request()))
	if limited {
		a.sessions.Put(ctx, keyLimited, true)
	}
	token, _, err := a.sessions.Commit(ctx)
	by.Session = a.o.Store.SessionHash(token)
	return by, err
}

const retiredKey = "retired"

// renew gives the session a new token. The old one is dead at once.
func (a *App) renew(c echo.Context) error {
	ctx, by := c.Request().Context(), by(c)
	user, err := a.o.Store.RetireSession(ctx, by)
	if err != nil {
		return err
	}
	c.Set(retiredKey, true)
	if err := a.sessions.RenewToken(ctx); err != nil {
		return err
	}
	token, _, err := a.sessions.Commit(ctx)
	if err == nil {
		by.Session = a.o.Store.SessionHash(token)
		err = a.o.Store.Settle(ctx, by, user)
	}
	if models.KindOf(err) == models.Invalid {
		err = errSignedOut // the account was changed by somebody else meanwhile
	}
	return err
}

// released ends what the old token of a renewed session has open, once the new one is on its way:
// then the person's other pages come back under the new one, and nobody else does.
func (a *App) released(c echo.Context) {
	if c.Get(retiredKey) == nil {
		return
	}
	if c.Response().Committed {
		http.NewResponseController(c.Response()).Flush() // fails when nobody waits any more
	}
	a.o.Hub.Release(visitOf(c).session)
}

// begin notes when a session that nobody has signed in to was started.
func (a *App) begin(c echo.Context) {
	a.sessions.Put(c.Request().Context(), models.SessionAuth, a.o.Now().UnixMilli())
}

var localPath = regexp.MustCompile(`^/[A-Za-z0-9_-][A-Za-z0-9/_-]*$`)

// localTarget returns where a login leads: an address of ours in the plainest form, or the rooms.
func localTarget(next string) string {
	if localPath.MatchString(next) {
		return next
	}
	return "/rooms"
}
