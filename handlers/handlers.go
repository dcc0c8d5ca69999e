// Package handlers says what may be asked over HTTP. New holds every address on one screen.
//
// A request passes, in this order: log and recover, security headers, host check, cross-origin
// check, deadlines, session (middleware.go, session.go). What a route may touch is decided
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
}

// App answers HTTP requests.
type App struct {
	o        Options
	sessions *scs.SessionManager
	origins  *http.CrossOriginProtection
	limits   limits
}

// New returns the whole application as one handler.
func New(o Options) http.Handler {
	if o.Now == nil {
		o.Now = time.Now
	}
	a := &App{o: o, sessions: newSessions(o), origins: http.NewCrossOriginProtection(), limits: newLimits(o.LimitScale)}
	e := echo.New()
	e.HideBanner = true
	e.HTTPErrorHandler = a.fail
	e.IPExtractor = echo.ExtractIPDirect() // the peer itself: X-Forwarded-For is anybody's to write
	e.Use(a.logged, secured, a.hosted, a.sameOrigin, bounded)

	e.GET("/healthz", a.healthy)
	e.GET("/readyz", a.ready)
	e.GET("/static/*", echo.WrapHandler(static.Handler()))
	e.HEAD("/static/*", echo.WrapHandler(static.Handler()))

	anyone := e.Group("", a.visited)
	anyone.GET("/", a.front)
	anyone.GET("/register", a.registerPage)
	anyone.POST("/register", a.register)
	anyone.GET("/register/confirm", a.confirmPage)
	anyone.POST("/register/confirm", a.confirm)
	anyone.GET("/login", a.loginPage)
	anyone.POST("/login", a.login)
	anyone.GET("/login/enrol", a.enrolPage)
	anyone.POST("/login/enrol", a.enrol)
	anyone.POST("/logout", a.logout)
	anyone.GET("/join", a.joinPage)

	member := e.Group("", a.visited, a.signedIn)
	member.GET("/register/recovery", a.recoveryPage)
	member.POST("/register/recovery", a.recoverySaved)
	member.POST("/session", a.touch)
	member.GET("/rooms", a.roomsPage)
	member.POST("/rooms", a.createRoom)
	member.POST("/rooms/join", a.joinRoom)

	room := e.Group("/rooms/:room", a.visited, a.signedIn, a.inRoom)
	room.GET("", a.roomPage)
	room.POST("/messages", a.postMessage)
	room.GET("/messages", a.olderMessages)
	room.GET("/feed", a.feed)
	room.POST("/leave", a.leaveRoom)
	return e
}

// front sends people to where they can do something.
func (a *App) front(c echo.Context) error {
	if visitOf(c).signedIn() {
		return c.Redirect(http.StatusSeeOther, "/rooms")
	}
	return c.Redirect(http.StatusSeeOther, "/login")
}
