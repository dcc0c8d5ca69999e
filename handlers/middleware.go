package handlers

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"conclave/models"
	"conclave/views"
)

const (
	formLimit    = 64 << 10 // bytes of a request's body
	headerLimit  = 16 << 10 // bytes of its headers
	readDeadline = 60 * time.Second
	// Long enough for a page over a slow line; the feed sets its own deadline for each write.
	writeDeadline = 30 * time.Second
)

const requestIDKey = "request id"

// logged gives the request its id, turns a panic into an error, answers errors, and writes one
// line. The line names the route's pattern, never the address, which can hold more.
func (a *App) logged(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		raw := make([]byte, 6)
		rand.Read(raw)
		id := hex.EncodeToString(raw)
		c.Set(requestIDKey, id)
		start := time.Now()
		if err := recovered(c, next); err != nil {
			c.Error(err)
		}
		if strings.HasPrefix(c.Path(), "/static/") {
			return nil
		}
		a.o.Log.LogAttrs(c.Request().Context(), slog.LevelInfo, "request",
			slog.String("id", id), slog.String("method", c.Request().Method), slog.String("route", c.Path()),
			slog.Int("status", c.Response().Status), slog.String("address", c.RealIP()), slog.Duration("took", time.Since(start)))
		return nil
	}
}

func recovered(c echo.Context, next echo.HandlerFunc) (err error) {
	defer func() {
		if r := recover(); r != nil {
			if r == http.ErrAbortHandler {
				panic(r)
			}
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return next(c)
}

// The policy lets a page load its own files and talk to its own server, and nothing else:
// no inline script or style, no foreign frame, and HTML from a string only through the one
// Trusted Types policy that static/safe.js makes for htmx.
const contentPolicy = "default-src 'none'; script-src 'self'; script-src-attr 'none'; style-src 'self'; style-src-attr 'none'; " +
	"img-src 'self'; font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; " +
	"frame-src 'none'; object-src 'none'; worker-src 'none'; manifest-src 'self'; require-trusted-types-for 'script'; trusted-types htmx"

// secured sets the headers that every response carries. There is no HSTS: with a certificate
// that the server made itself it would lock people out (RFC 6797 sections 8.1 and 11.3).
func secured(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		h := c.Response().Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin") // no-referrer would turn the Origin of our own forms into "null"
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=(), payment=(), usb=()")
		h.Set("X-Robots-Tag", "noindex")
		h.Set("Cache-Control", "no-store") // the static files, which hold nothing of anybody, say otherwise
		return next(c)
	}
}

// hosted refuses a request for a host name that is not ours, as DNS rebinding makes them.
func (a *App) hosted(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if !a.o.Serves(hostName(c)) {
			return echo.NewHTTPError(http.StatusMisdirectedRequest)
		}
		return next(c)
	}
}

// hostName is the name, or the address, by which the request asks for us.
func hostName(c echo.Context) string {
	host := c.Request().Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.Trim(host, "[]")
}

// sameOrigin lets only our own pages change or read anything. A request that changes something
// must come from our origin, and prove it with at least one of the two headers that browsers
// send; a reading one may also be somebody following a link.
func (a *App) sameOrigin(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		site := r.Header.Get("Sec-Fetch-Site")
		switch r.Method {
		case http.MethodGet, http.MethodHead, http.MethodOptions:
			followed := r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
			if site != "" && site != "same-origin" && site != "none" && !followed {
				return echo.NewHTTPError(http.StatusForbidden)
			}
		default:
			if a.origins.Check(r) != nil || site == "" && r.Header.Get("Origin") == "" {
				return echo.NewHTTPError(http.StatusForbidden)
			}
		}
		return next(c)
	}
}

// bounded limits how long a request may take and how much it may carry. It comes before all that
// refuses a request: the server reads on in the body of one that was refused.
func bounded(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		control := http.NewResponseController(c.Response())
		err := control.SetWriteDeadline(time.Now().Add(writeDeadline))
		if c.Request().ContentLength != 0 { // there is a body to wait for; under HTTP/2 each deadline costs a way to the connection's goroutine and back
			err = errors.Join(err, control.SetReadDeadline(time.Now().Add(readDeadline)))
		}
		if err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		if headerBytes(c.Request()) > headerLimit {
			return echo.NewHTTPError(http.StatusRequestHeaderFieldsTooLarge)
		}
		if c.Request().ContentLength > formLimit {
			return echo.NewHTTPError(http.StatusRequestEntityTooLarge)
		}
		c.Request().Body = http.MaxBytesReader(c.Response(), c.Request().Body, formLimit)
		return next(c)
	}
}

// headerBytes is the size of a request's head as HTTP/1.1 writes it, about.
func headerBytes(r *http.Request) int {
	size := len(r.RequestURI)
	for name, values := range r.Header {
		for _, value := range values {
			size += len(name) + len(value) + len(": \r\n")
		}
	}
	return size
}

const formKey = "form" // error: why the form could not be read, nil when it was

// form returns the fields of a posted form, which visited has read; the query of the address is no
// part of it. A body that is too long or is no form is an error, never a form with empty fields.
func form(c echo.Context) (func(field string) string, error) {
	r := c.Request()
	if err, _ := c.Get(formKey).(error); err != nil {
		if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
			return nil, echo.NewHTTPError(http.StatusRequestEntityTooLarge)
		}
		return nil, &models.Error{Kind: models.Invalid, Msg: views.ErrorBrokenForm, Err: err}
	}
	return r.PostForm.Get, nil
}
