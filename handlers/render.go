package handlers

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"conclave/static"
	"conclave/views"
)

// render writes a component. It is rendered whole before the status is sent, so that a failure
// on the way is a clean error page.
func (a *App) render(c echo.Context, status int, component templ.Component) error {
	b := buffers.Get().(*bytes.Buffer)
	b.Reset()
	defer buffers.Put(b)
	if err := component.Render(c.Request().Context(), b); err != nil {
		return err
	}
	return c.HTMLBlob(status, b.Bytes())
}

// renderPacked is render for the pages of rooms, which are packed.
func (a *App) renderPacked(c echo.Context, status int, component templ.Component) error {
	page, err := prepare(component)
	if err != nil {
		return err
	}
	if !packs(c) {
		return a.render(c, status, page)
	}
	return sendPacked(c, status, pack(page.html, "", 0).with("", "", len(page.html)))
}

// packs tells whether a browser takes packed pages.
func packs(c echo.Context) bool {
	return static.AcceptsGzip(c.Request().Header.Get("Accept-Encoding"))
}

func sendPacked(c echo.Context, status int, page []byte) error {
	c.Response().Header().Set("Content-Encoding", "gzip")
	return c.HTMLBlob(status, page)
}

// buffers saves pages from growing a buffer each. None is bigger than the biggest page.
var buffers = sync.Pool{New: func() any { return &bytes.Buffer{} }}

// prepared is what a component has rendered before. Only prepare makes one, so that nothing gets
// into a page that was not escaped on its way.
type prepared struct{ html string }

func prepare(component templ.Component) (prepared, error) {
	b := buffers.Get().(*bytes.Buffer)
	b.Reset()
	defer buffers.Put(b)
	err := component.Render(context.Background(), b)
	return prepared{b.String()}, err
}

// Render makes a templ.Component of it.
func (p prepared) Render(_ context.Context, w io.Writer) error {
	_, err := io.WriteString(w, p.html)
	return err
}

// gap stands where a prepared page has something that must be new each time. Nobody can write
// it into a page, because nobody knows it.
var gap = rand.Text()

// gapped is a prepared page in two parts, as it is and packed.
type gapped struct {
	before, after string
	packed        packed
}

func prepareGapped(page templ.Component) (gapped, error) {
	p, err := prepare(page)
	before, after, _ := strings.Cut(p.html, gap)
	return gapped{before, after, pack(before, after, len(gap))}, err
}

// send puts letters and digits into the gap, as many as were left out.
func (g gapped) send(a *App, c echo.Context, text string) error {
	if !packs(c) {
		return a.render(c, http.StatusOK, g.with(text))
	}
	return sendPacked(c, http.StatusOK, g.packed.with(text, g.after, len(g.before)+len(text)+len(g.after)))
}

// with puts letters and digits into the gap.
func (g gapped) with(text string) templ.Component {
	return templ.ComponentFunc(func(_ context.Context, w io.Writer) error {
		for _, part := range []string{g.before, text, g.after} {
			if _, err := io.WriteString(w, part); err != nil {
				return err
			}
		}
		return nil
	})
}

// formAgain answers a form that has to be shown again: alone to htmx, in its page to everybody else.
func (a *App) formAgain(c echo.Context, status int, part, page templ.Component) error {
	if partial(c) {
		return a.render(c, status, part)
	}
	return a.render(c, status, page)
}

// partial reports whether htmx asks for a part of a page.
func partial(c echo.Context) bool {
	h := c.Request().Header
	return h.Get("HX-Request") == "true" && h.Get("HX-Request-Type") == "partial"
}

// seeOther sends the browser to another page. htmx is told in a header, since fetch would
// follow a redirect and put the page where the form stands.
func seeOther(c echo.Context, target string) error {
	if partial(c) {
		c.Response().Header().Set("HX-Redirect", target)
		return c.NoContent(http.StatusNoContent)
	}
	return c.Redirect(http.StatusSeeOther, target)
}

// noted leaves a sentence for the page that it leads to.
func (a *App) noted(c echo.Context, notice, target string) error {
	a.sessions.Put(c.Request().Context(), keyNotice, notice)
	return seeOther(c, target)
}

// shell fills the frame of a page, and takes the notices that were left for it.
func (a *App) shell(c echo.Context) views.Shell {
	s := views.Shell{}
	v, known := c.Get(visitKey).(visit) // not of a request that was refused before
	if v.signedIn() {
		s.Me = &views.Person{Username: v.user.Username, FullName: v.user.FullName}
		s.Admin = v.user.Admin
	}
	if known && !v.limited {
		s.Notice = a.sessions.PopString(c.Request().Context(), keyNotice)
		s.Arrival = a.arrivalNotice(c)
		s.News = newsShown(v.news)
	}
	return s
}
