// Package handlers says what may be asked over HTTP. New holds every address on one screen.
//
// A request passes, in this order: log and recover, security headers, limits of time and size, host
// check, cross-origin check, session (middleware.go, session.go). What a route may touch is decided
// before its handler runs: signedIn gives it the user, inRoom the membership, without which no
// verb of package models that concerns a room can be called.
package handlers

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/labstack/echo/v4"

	"conclave/models"
	"conclave/models/feed"
	"conclave/static"
	"conclave/views"
)

// Options are what the handlers need to know.
type Options struct {
	Store           *models.Store
	Hub             *feed.Hub
	Log             *slog.Logger
	Serves          func(host string) bool // whether a Host without its port is ours
	Registration    string                 // "open", "invite" or "closed"
	SessionLifetime time.Duration
	LimitScale      int              // multiplies every count of the limits
	Now             func() time.Time // nil: time.Now
	Version         string
	Certificate     func() Certificate // the one in use; nil: not known
}

// App answers HTTP requests.
type App struct {
	o        Options
	routes   *echo.Echo
	sessions *scs.SessionManager
	origins  *http.CrossOriginProtection
	limits   limits
	started  time.Time
	reading  chan struct{} // full when as many streams read as may at once
}

// New returns the whole application, which is one handler.
func New(o Options) *App {
	if o.Now == nil {
		o.Now = time.Now
	}
	a := &App{o: o, sessions: newSessions(o), origins: http.NewCrossOriginProtection(), limits: newLimits(o.LimitScale), started: o.Now(), reading: make(chan struct{}, readersAtOnce)}
	o.Hub.Render(a.renderEvent)
	e := echo.New()
	a.routes = e
	e.HideBanner = true
	e.HTTPErrorHandler = a.fail
	e.IPExtractor = echo.ExtractIPDirect() // the peer itself: X-Forwarded-For is anybody's to write
	e.Use(a.logged, secured, bounded, a.hosted, a.sameOrigin)

	e.GET("/healthz", a.healthy)
	e.GET("/readyz", a.ready)
	e.GET("/static/*", echo.WrapHandler(static.Handler()))
	e.HEAD("/static/*", echo.WrapHandler(static.Handler()))

	anyone := routes{e, "", []echo.MiddlewareFunc{a.visited}}
	anyone.get("/", a.front)
	anyone.get("/register", a.registerPage)
	anyone.post("/register", a.register)
	anyone.get("/register/confirm", a.confirmPage)
	anyone.post("/register/confirm", a.confirm)
	anyone.get("/login", a.loginPage)
	anyone.post("/login", a.login)
	anyone.post("/login/passkey", a.askAtLogin)
	anyone.get("/login/enrol", a.enrolPage)
	anyone.post("/login/enrol", a.enrol)
	anyone.get("/reset", a.resetPage)
	anyone.post("/reset", a.reset)
	anyone.post("/logout", a.logout)
	anyone.get("/join", a.joinPage)
	anyone.get("/goodbye", a.goodbyePage)

	member := routes{e, "", []echo.MiddlewareFunc{a.visited, a.signedIn}}
	member.get("/register/recovery", a.recoveryPage)
	member.post("/register/recovery", a.recoverySaved)
	member.post("/session", a.touch)
	member.post("/account/news", a.dismissNews)
	member.get("/sudo", a.sudoPage)
	member.post("/sudo", a.confirmSudo)
	member.post("/sudo/passkey", a.askAtSudo)
	member.get(passkeysRoute, a.passkeysPage)
	member.post(passkeysRoute, a.sudo(passkeysRoute, a.addPasskey))
	member.post(passkeysRoute+"/new", a.sudo(passkeysRoute, a.offerPasskey))
	member.post(passkeysRoute+"/:passkey/name", a.renamePasskey)
	member.post(passkeysRoute+"/:passkey/remove", a.sudo(passkeysRoute, a.removePasskey))
	member.get(ownFeedRoute, a.ownFeed)
	member.get("/rooms", a.roomsPage)
	member.post("/rooms", a.createRoom)
	member.post("/rooms/join", a.joinRoom)
	member.post("/rooms/knocks/:knock/withdraw", a.withdraw)

	member.get("/keys", a.keysPage)
	member.get("/account", a.profilePage)
	member.post("/account", a.saveProfile)
	member.get("/account/email", a.sudoForm("/account/email", a.emailPage))
	member.post("/account/email", a.sudo("/account/email", a.saveEmail))
	member.get("/account/password", a.sudoForm("/account/password", a.passwordPage))
	member.post("/account/password", a.sudo("/account/password", a.savePassword))
	member.get("/account/authenticator", a.sudoForm("/account/authenticator", a.authenticatorPage))
	member.post("/account/authenticator", a.sudo("/account/authenticator", a.saveAuthenticator))
	member.get("/account/codes", a.codesPage)
	member.post("/account/codes", a.sudo("/account/codes", a.newCodes))
	member.get("/account/sessions", a.sessionsPage)
	member.post("/account/sessions/end-others", a.sudo("/account/sessions", a.endOtherSessions))
	member.post("/account/sessions/:name/end", a.sudo("/account/sessions", a.endSession))
	member.get("/account/device", a.devicePage)
	member.get("/account/delete", a.sudoForm("/account/delete", a.farewellPage))
	member.post("/account/delete", a.sudo("/account/delete", a.farewell))

	admin := routes{e, "", []echo.MiddlewareFunc{a.visited, a.signedIn, administrator}}
	admin.get("/admin", a.overview)
	admin.get("/admin/people", a.peoplePage)
	admin.get(personRoute, a.personPage)
	admin.post(personRoute+"/promote", a.sudo(personRoute, a.operate(a.o.Store.Promote, views.PersonPromotedNotice)))
	admin.post(personRoute+"/demote", a.sudo(personRoute, a.operate(a.o.Store.Demote, views.PersonDemotedNotice)))
	admin.post(personRoute+"/disable", a.sudo(personRoute, a.operate(a.o.Store.Disable, views.PersonDisabledNotice)))
	admin.post(personRoute+"/enable", a.sudo(personRoute, a.operate(a.o.Store.Enable, views.PersonEnabledNotice)))
	admin.post(personRoute+"/sessions", a.sudo(personRoute, a.operate(a.o.Store.EndSessions, views.PersonLoggedOutNotice)))
	admin.post(personRoute+"/reset", a.sudo(personRoute, a.makeReset))
	admin.get("/admin/invitations", a.invitationsPage)
	admin.post("/admin/invitations", a.sudo("/admin/invitations", a.invite))
	admin.post("/admin/invitations/:invitation/revoke", a.sudo("/admin/invitations", a.revokeInvitation))
	admin.get("/admin/rooms", a.roomTable)
	admin.get("/admin/attempts", a.attemptsPage)
	admin.post("/admin/attempts/lift", a.sudo("/admin/attempts", a.liftWait))
	admin.get("/admin/audit", a.auditPage)
	admin.post("/admin/audit/export", a.exportAudit)

	room := routes{e, roomRoute, []echo.MiddlewareFunc{a.visited, a.signedIn, a.inRoom}}
	room.get("", a.roomPage)
	room.post("/messages", a.postMessage)
	room.get("/messages/:n/edit", a.actionsPage)
	room.post("/messages/:n", a.editMessage)
	room.post("/messages/:n/delete", a.removeMessage)
	room.get("/messages", a.olderMessages)
	room.get("/feed", a.feed)
	room.post("/read", a.markRead)
	room.post("/typing", a.typing)
	room.post("/typing/show", a.showTyping)
	room.post("/leave", a.leaveRoom)
	room.get("/proof", a.proofPage)
	room.get("/members", a.membersPage)
	room.post("/members/:username/role", owned(a.setRole))
	room.post("/members/:username/remove", owned(a.expel))
	room.post("/members/:username/ban", owned(a.ban))
	room.post("/members/:username/own", owned(a.sudo(roomRoute+"/members", a.handOver)))
	room.post("/bans/:username/lift", owned(a.liftBan))
	room.get("/settings", owned(a.settingsPage))
	room.post("/code", owned(a.setCodeTerms))
	room.post("/code/rotate", owned(a.rotateCode))
	room.post("/code/off", owned(a.switchCode(true)))
	room.post("/code/on", owned(a.switchCode(false)))
	room.post("/knocks/:username/admit", owned(a.admit))
	room.post("/knocks/:username/decline", owned(a.decline))
	room.post("/history", owned(a.setHistory))
	room.post("/epoch", owned(a.turnEpoch))
	room.post("/destroy", owned(a.sudo(roomRoute+"/settings", a.destroyRoom)))
	e.RouteNotFound("/*", echo.NotFoundHandler, a.visited)
	return a
}

// routes are addresses that share what a request has to pass. (An echo group would answer
// unknown addresses below it through its middleware, and so send strangers to the login.)
type routes struct {
	e       *echo.Echo
	prefix  string
	through []echo.MiddlewareFunc
}

func (r routes) get(path string, h echo.HandlerFunc) { r.e.GET(r.prefix+path, h, r.through...) }

func (r routes) post(path string, h echo.HandlerFunc) { r.e.POST(r.prefix+path, h, r.through...) }

// front sends people to where they can do something.
func (a *App) front(c echo.Context) error {
	if visitOf(c).signedIn() {
		return c.Redirect(http.StatusSeeOther, "/rooms")
	}
	return c.Redirect(http.StatusSeeOther, "/login")
}
