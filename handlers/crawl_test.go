package handlers_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"conclave/handlers"
	"conclave/static"
)

// The crawls go to every address that the application registers, so that one that is added is
// attacked from the first day on. They know no list of addresses, only what stands for the
// parameters in them.

func (o *office) routes() []handlers.Route {
	return o.server.Config.Handler.(*handlers.App).Routes()
}

// paths are the addresses that answer to a method, filled in.
func (o *office) paths(method string, values map[string]string) (list []string) {
	o.t.Helper()
	for _, r := range o.routes() {
		if r.Method == method {
			list = append(list, fill(r.Path, values))
		}
	}
	if len(list) < 3 {
		o.t.Fatalf("only %d addresses answer to %s", len(list), method)
	}
	return list
}

var parameter = regexp.MustCompile(`:[a-z_]+|\*`)

// fill puts values in the place of a route's parameters; "" stands for those that have none.
func fill(route string, values map[string]string) string {
	return parameter.ReplaceAllStringFunc(route, func(name string) string {
		if value, ok := values[strings.TrimPrefix(name, ":")]; ok {
			return value
		}
		return values[""]
	})
}

// places are values for the parameters of a member of the room.
func (o *office) places(p *person, r room, n uint64) map[string]string {
	o.t.Helper()
	return map[string]string{"room": r.id, "n": fmt.Sprint(n), "*": strings.TrimPrefix(static.URL("app.js"), "/static/"), "": o.idOf(p, r).String()}
}

// peek is do for addresses of which some never end: of a stream it reads nothing.
func (p *person) peek(method, path string, f fields, headers ...string) *answer {
	p.o.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var body io.Reader
	if f != nil {
		body = strings.NewReader(f.encode())
	}
	req, err := http.NewRequestWithContext(ctx, method, p.o.server.URL+path, body)
	if err != nil {
		p.o.t.Fatal(err)
	}
	if f != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	req.Header.Set("Origin", p.o.server.URL)
	for i := 0; i+1 < len(headers); i += 2 {
		switch {
		case headers[i] == "Host":
			req.Host = headers[i+1]
		case headers[i+1] == "-":
			req.Header.Del(headers[i])
		default:
			req.Header.Set(headers[i], headers[i+1])
		}
	}
	res, err := p.client.Do(req)
	if err != nil {
		p.o.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	a := &answer{p.o.t, method + " " + path, res.StatusCode, res.Header, "", res.Cookies()}
	if a.isFeed() {
		return a
	}
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		p.o.t.Fatalf("%s %s: %v", method, path, err)
	}
	a.body = string(raw)
	return a
}

func (a *answer) isFeed() bool {
	return strings.HasPrefix(a.header.Get("Content-Type"), "text/event-stream")
}

func (a *answer) isPage() bool {
	return strings.EqualFold(a.header.Get("Content-Type"), "text/html; charset=utf-8")
}

// stored is what the database holds, each table as one hash, without those that are named.
func (o *office) stored(without ...string) map[string]string {
	o.t.Helper()
	db := o.intruder()
	defer db.Close()
	names, err := db.Query("SELECT name FROM sqlite_master WHERE type = 'table'")
	if err != nil {
		o.t.Fatal(err)
	}
	var tables []string
	for names.Next() {
		var name string
		if err := names.Scan(&name); err != nil {
			o.t.Fatal(err)
		}
		if !slices.Contains(without, name) && !strings.HasPrefix(name, "sqlite_") {
			tables = append(tables, name)
		}
	}
	names.Close()
	content := map[string]string{}
	for _, table := range tables {
		rows, err := db.Query("SELECT * FROM " + table + " ORDER BY rowid")
		if err != nil {
			o.t.Fatal(err)
		}
		columns, _ := rows.Columns()
		values, into, hash, count := make([]any, len(columns)), make([]any, len(columns)), sha256.New(), 0
		for i := range values {
			into[i] = &values[i]
		}
		for ; rows.Next(); count++ {
			if err := rows.Scan(into...); err != nil {
				o.t.Fatal(err)
			}
			fmt.Fprintf(hash, "%v\n", values)
		}
		if err := rows.Close(); err != nil {
			o.t.Fatal(err)
		}
		content[table] = fmt.Sprintf("%d rows %s", count, hex.EncodeToString(hash.Sum(nil)[:8]))
	}
	return content
}

// unchanged runs f and complains of every table that it changed.
func (o *office) unchanged(f func(), without ...string) {
	o.t.Helper()
	before := o.stored(without...)
	f()
	for table, content := range o.stored(without...) {
		if content != before[table] {
			o.t.Errorf("the table %s has changed: %s, before %s", table, content, before[table])
		}
	}
}

// anything fills every field that some form has, in a way that would do something.
func (o *office) anything(p *person, r room) fields {
	return fields{
		"body": "Hello", "name": "By somebody", "code": r.code, "username": "somebody", "full_name": "Some Body", "email": "somebody@example.org", "password": password,
		"current": password, "new_password": "yellow lantern over the harbour", "next": "/rooms", "user": p.username, "role": "moderator", "history": "all", "most": "5", "days": "5", "label": "By somebody",
	}
}

func TestNoAddressTakesAFormFromAnotherOrigin_T27(t *testing.T) { // R35
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.administrator("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	grace.join(r)
	n := o.post(ada, r, "As it was")
	values, f := o.places(grace, r, n), o.anything(grace, r)
	ada.confirm("/rooms").wantRedirect("/rooms")
	o.unchanged(func() {
		for _, path := range append(o.paths(http.MethodPost, values), "/nothing", r.path("/nothing")) {
			for name, headers := range map[string][]string{
				"cross-site":     {"Sec-Fetch-Site", "cross-site"},
				"same-site":      {"Sec-Fetch-Site", "same-site"},
				"an evil origin": {"Origin", "https://evil.example"},
				"null":           {"Origin", "null"},
				"neither":        {"Origin", "-"},
			} {
				if a := ada.post(path, f, headers...); a.status != http.StatusForbidden {
					t.Errorf("%s, %s: %d", a.what, name, a.status)
				}
			}
		}
	})
	ada.get("/rooms").want(200) // nor is she signed out
}

func TestReadingNeverChangesAnything_T28(t *testing.T) { // R35
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.administrator("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	grace.join(r)
	n := o.post(ada, r, "As it was")
	values, f := o.places(grace, r, n), o.anything(grace, r)
	ada.confirm("/rooms").wantRedirect("/rooms") // nothing but the method stands between her and all of it
	reads := map[string]bool{}
	for _, path := range o.paths(http.MethodGet, values) {
		reads[path] = true
	}
	o.unchanged(func() {
		for _, path := range o.paths(http.MethodPost, values) {
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				for _, headers := range [][]string{nil, htmx, {"X-HTTP-Method-Override", "POST"}} {
					a := ada.peek(method, path+"?_method=POST&"+f.encode(), nil, headers...)
					if (method == http.MethodHead || !reads[path]) && a.status != http.StatusNotFound && a.status != http.StatusMethodNotAllowed {
						t.Errorf("%s: %d", a.what, a.status)
					}
				}
			}
		}
		for path := range reads { // nor does a page that only reads
			ada.peek(http.MethodGet, path+"?"+f.encode(), nil)
			ada.peek(http.MethodGet, path, nil, htmx...)
		}
	}, "sessions") // when somebody was last seen, and what a page has said once
	ada.get("/rooms").want(200)
	ada.still(r, "As it was")
}

func TestEveryAddressOfARoomLooksToAStrangerLikeNoRoom_T37(t *testing.T) { // R62
	t.Parallel()
	o := openOffice(t, quick)
	ada, eve, once := o.register("ada", "Ada Lovelace"), o.administrator("eve", "Eve Moneypenny"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	once.join(r)
	n := o.post(once, r, "By somebody who leaves")
	values, f := o.places(ada, r, n), o.anything(ada, r)
	once.post(r.path("/leave"), nil).wantRedirect("/rooms")
	once.get("/rooms") // takes the notice
	eve.confirm("/rooms").wantRedirect("/rooms")
	once.confirm("/rooms").wantRedirect("/rooms")
	var inside []string
	for _, route := range o.routes() {
		if rest, ok := strings.CutPrefix(route.Path, "/rooms/:room"); ok {
			inside = append(inside, rest)
		}
	}
	inside = slices.Compact(inside)
	if len(inside) < 10 {
		t.Fatalf("only %d addresses inside a room", len(inside))
	}
	o.unchanged(func() {
		for _, rest := range append(inside, "/nothing") {
			methods := []string{"GET", "HEAD", "POST"}
			if rest == "" || rest == "/messages/:n" || rest == "/nothing" {
				methods = append(methods, "PUT", "PATCH", "DELETE", "OPTIONS")
			}
			for _, method := range methods {
				var form fields
				if method != "GET" && method != "HEAD" && method != "OPTIONS" {
					form = f
				}
				for _, stranger := range []*person{eve, once, o.visitor()} {
					first := ""
					for _, name := range []string{r.id, strings.Repeat("0", 32), "x"} {
						values["room"] = name
						a := stranger.peek(method, fill("/rooms/:room"+rest, values), form)
						if stranger.username != "" && a.status != http.StatusNotFound && a.status != http.StatusMethodNotAllowed && method != "OPTIONS" {
							t.Errorf("%s: %d", a.what, a.status)
						}
						if stranger.username != "" && a.status == http.StatusMethodNotAllowed && strings.Contains(a.header.Get("Allow"), method) {
							t.Errorf("%s is refused in another way than the room that is none", a.what)
						}
						if at := a.header.Get("Location"); strings.HasPrefix(at, "/login?next=/rooms/") {
							a.header.Set("Location", "/login") // the name that was asked for
						}
						if first == "" {
							first = same(a, "")
						}
						if got := same(a, ""); got != first {
							t.Errorf("%s is told apart:\n%s\nfrom\n%s", a.what, shortened(got), shortened(first))
						}
					}
				}
			}
		}
	}, "sessions")
}

func TestASessionFromARecoveryCodeOpensNoAddress_T10(t *testing.T) { // R15
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.administrator("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	grace.join(r)
	n := o.post(ada, r, "As it was")
	values, f := o.places(grace, r, n), o.anything(grace, r)
	limited, nobody := o.visitor(), o.visitor()
	limited.post("/login", ada.credentials(ada.recovery[0])).wantRedirect("/login/enrol")
	closed := 0
	o.unchanged(func() {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			var form fields
			if method == http.MethodPost {
				form = f
			}
			for _, path := range o.paths(method, values) {
				if strings.HasPrefix(path, "/login") || path == "/logout" || path == "/register" || path == "/register/confirm" {
					continue // anybody's, and they begin something new
				}
				anonymous := nobody.peek(method, path, form)
				a := limited.peek(method, path, form)
				if strings.Contains(a.body, "Engine room") || strings.Contains(a.body, "As it was") || a.isFeed() {
					t.Errorf("%s shows something: %d", a.what, a.status)
				}
				if anonymous.status != http.StatusUnauthorized && !strings.HasPrefix(anonymous.header.Get("Location"), "/login") {
					continue // open to all
				}
				closed++
				if at := a.header.Get("Location"); a.status != http.StatusUnauthorized && at != "/login/enrol" && path != "/" {
					t.Errorf("%s: %d to %q", a.what, a.status, at)
				}
			}
		}
	}, "sessions", "attempts") // a wrong link for a password is counted
	if closed < 15 {
		t.Errorf("only %d addresses need a session", closed)
	}
}

// inAdministration are the addresses of the administration.
func (o *office) inAdministration(method string, values map[string]string) (list []string) {
	for _, path := range o.paths(method, values) {
		if path == "/admin" || strings.HasPrefix(path, "/admin/") {
			list = append(list, path)
		}
	}
	return list
}

func TestTheAdministrationIsClosedToEverybodyElse_T38(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.administrator("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	grace.join(r)
	values, f := o.places(grace, r, o.post(ada, r, "As it was")), o.anything(grace, r)
	grace.confirm("/rooms").wantRedirect("/rooms") // it is not for want of a confirmation
	o.unchanged(func() {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			var form fields
			if method == http.MethodPost {
				form = f
			}
			for _, path := range o.inAdministration(method, values) {
				for _, headers := range [][]string{nil, htmx} {
					if a := grace.peek(method, path, form, headers...); a.status != http.StatusForbidden || strings.Contains(a.body, "Engine room") {
						t.Errorf("%s by somebody who administers nothing: %d", a.what, a.status)
					}
				}
				o.visitor().peek(method, path, form).wantRedirect("/login")
			}
		}
	}, "sessions")
}

func TestTheAdministrationChangesNothingWithoutAConfirmation_T26(t *testing.T) { // R33
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.administrator("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	grace.join(r)
	values, f := o.places(grace, r, o.post(ada, r, "As it was")), o.anything(grace, r)
	ada.confirm("/rooms").wantRedirect("/rooms")
	o.clock.advance(11 * time.Minute)
	ada.get("/rooms").want(200)
	o.unchanged(func() {
		for _, path := range o.inAdministration(http.MethodPost, values) {
			if a := ada.post(path, f); a.status != http.StatusSeeOther || !strings.HasPrefix(a.header.Get("Location"), "/sudo?next=/admin") {
				t.Errorf("%s: %d to %q", a.what, a.status, a.header.Get("Location"))
			}
			if a := ada.post(path, f, htmx...); a.status != http.StatusNoContent || !strings.HasPrefix(a.header.Get("HX-Redirect"), "/sudo?next=/admin") {
				t.Errorf("%s: %d to %q", a.what, a.status, a.header.Get("HX-Redirect"))
			}
		}
	}, "sessions")
}

// Two servers alike, but for the words that people may choose.
func TestNoWordThatSomebodyChoosesChangesAnyPage_T33_T36(t *testing.T) {
	t.Parallel()
	pages := map[string][2]string{}
	for i, c := range []struct{ adasName, gracesName, room, body, browser string }{
		{"Ada Lovelace", "Grace Hopper", "Engine room", "plain words", "Browser"},
		{
			`"><script>alert(1)</script><img src=x onerror=alert(1)>`, `'</bdi></title></textarea><hx-partial hx-target="body">${x}{{.}}`,
			`</option></select><svg/onload=alert(1)><b hx-get="/logout">`, strings.Join(hostile[:20], "\n"), `"><script>alert(1)</script>`,
		},
	} {
		o := openOffice(t, quick, func(s *settings) { s.hub.Moment, s.hub.Grace = time.Millisecond, 50*time.Millisecond })
		ada, grace := o.administrator("ada", c.adasName), o.register("grace", c.gracesName)
		r := ada.createRoom(c.room)
		grace.join(r)
		n := o.post(ada, r, c.body)
		heard := ada.listen(r)
		hears := func(what, mark string) {
			t.Helper()
			pair := pages["the feed, "+what]
			pair[i] = heard.next(what, func(e event) bool { return strings.Contains(e.data, mark) }).data
			pages["the feed, "+what] = pair
		}
		graces := grace.listen(r)
		hears("who comes", `data-entered="grace"`)
		grace.post(r.path("/typing"), nil).want(http.StatusNoContent)
		hears("who is writing", `hx-target="#typists"`)
		graces.cancel()
		hears("who goes", `data-left="grace"`)
		grace.post(r.path("/leave"), nil).wantRedirect("/rooms")
		hears("who has left", ` left`)
		grace.join(r)
		hears("who has joined", ` joined`)
		o.visitor().post("/login", fields{"username": c.room, "password": "x", "code": "x"}, "User-Agent", c.browser)
		o.visitor().post("/login", ada.credentials(ada.code()), "User-Agent", c.browser).wantRedirect("/rooms")
		values := o.places(grace, r, n)
		ada.confirm("/rooms").wantRedirect("/rooms")
		for _, p := range []*person{ada, grace, o.visitor()} {
			for _, route := range o.routes() {
				if route.Method != http.MethodGet {
					continue
				}
				for _, headers := range [][]string{nil, htmx} { // always in this order: some notices are shown once
					if a := p.peek(http.MethodGet, fill(route.Path, values), nil, headers...); a.isPage() {
						what := fmt.Sprint(p.username, ": ", route.Path, headers)
						pair := pages[what]
						pair[i] = a.body
						pages[what] = pair
					}
				}
			}
		}
	}
	if len(pages) < 30 {
		t.Errorf("only %d pages", len(pages))
	}
	for what, pair := range pages {
		if !strings.HasPrefix(what, "the feed") {
			sameStructure(t, what, pair[1], pair[0])
			continue
		}
		checkMarkup(t, what, pair[1]) // Ada herself may have come in the same moment: the kinds of elements are alike, not their number
		if bad, good := kinds(pair[1]), kinds(pair[0]); !slices.Equal(bad, good) {
			t.Errorf("%s: text has become markup: %q, in the harmless one %q", what, bad, good)
		}
	}
}

// kinds are the elements of some HTML, with the names of their attributes, each once.
func kinds(markup string) []string {
	lines := strings.Split(skeleton(markup), "\n")
	slices.Sort(lines)
	return slices.Compact(lines)
}
