package handlers_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"

	"conclave/models"
)

// sure gives password and code again.
func (p *person) sure() {
	p.o.t.Helper()
	p.post("/sudo", fields{"password": p.password, "code": p.code()}).want(http.StatusSeeOther)
}

// auditLines lists what the table of events on a page says, cell by cell, the headings left out.
func (a *answer) auditLines() (lines [][]string) {
	a.t.Helper()
	for _, table := range a.class("audit") {
		for _, row := range elements(table, func(n *nodeT) bool { return n.Data == "tr" }) {
			var cells []string
			for _, cell := range elements(row, func(n *nodeT) bool { return n.Data == "td" || n.Data == "th" && attr(n, "scope") == "row" }) {
				cells = append(cells, strings.Join(strings.Fields(text(cell)), " "))
			}
			if cells != nil {
				lines = append(lines, cells)
			}
		}
	}
	return lines
}

// leafed turns the pages of the audit log.
func (p *person) leafed(address string) (lines [][]string) {
	p.o.t.Helper()
	for {
		a := p.get(address).want(200)
		lines = append(lines, a.auditLines()...)
		older := elements(a.doc(), func(n *nodeT) bool { return n.Data == "a" && strings.TrimSpace(text(n)) == "Older" })
		if len(older) == 0 {
			return lines
		}
		address = attr(older[0], "href")
	}
}

func (p *person) export(f fields) *answer {
	p.o.t.Helper()
	return p.post("/admin/audit/export", f).want(200)
}

var oversight = []string{"/admin", "/admin/rooms", "/admin/rooms?sort=size", "/admin/attempts", "/admin/audit", "/admin/audit?kind=rooms&before=100"}

func TestOnlyTheAdministratorSeesTheAdministration(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	admin, ada, nobody := o.administrator("root", "Radia Perlman"), o.register("ada", "Ada Lovelace"), o.visitor()
	ada.sure()
	admin.sure()
	before := len(admin.leafed("/admin/audit"))
	posts := []string{"/admin/attempts/lift", "/admin/audit/export"}
	for _, path := range oversight {
		ada.get(path).want(http.StatusForbidden)
		ada.get(path, htmx...).want(http.StatusForbidden)
		nobody.get(path).wantRedirect("/login")
		admin.get(path).want(200)
	}
	for _, path := range posts {
		ada.post(path, fields{"format": "csv", "user": strings.Repeat("0", 32)}).want(http.StatusForbidden)
		nobody.post(path, fields{"format": "csv"}).wantRedirect("/login")
		if a := admin.get(path); a.status != 404 && a.status != 405 {
			t.Errorf("GET %s: %d", path, a.status)
		}
	}
	if after := len(admin.leafed("/admin/audit")); after != before {
		t.Errorf("%d events instead of %d: something has happened", after, before)
	}
}

func TestWhatTheAdministratorDoesMustBeConfirmed_T26(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	admin := o.administrator("root", "Radia Perlman")
	admin.post("/admin/attempts/lift", fields{"user": strings.Repeat("0", 32)}).wantRedirect("/sudo?next=/admin/attempts")
	admin.post("/admin/audit/export", fields{"format": "csv", "kind": "accounts", "person": "root"}).wantRedirect("/sudo?next=/admin/audit")
	admin.post("/sudo", fields{"password": admin.password, "code": admin.code(), "next": "/admin/audit"}).wantRedirect("/admin/audit")
	admin.get("/admin/audit").wantRedirect("/admin/audit?kind=accounts&person=root") // the filters were not lost
	admin.get("/admin/audit").want(200)
	admin.export(fields{"format": "csv"})
	o.clock.advance(11 * time.Minute)
	admin.post("/admin/audit/export", fields{"format": "csv"}).wantRedirect("/sudo?next=/admin/audit")
}

// Radia runs the server and is in none of the rooms but one.
func TestTheAdministrationShowsNothingOfRoomsNorSecrets(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	admin, ada, grace := o.administrator("root", "Radia Perlman"), o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	hidden, shared := ada.createRoom("Cabal of the kettle"), ada.createRoom("Town square")
	grace.join(hidden)
	admin.join(shared)
	ada.say(hidden, "the password is swordfish")
	grace.say(hidden, "then I shall tell nobody")
	ada.sure()
	grace.post("/login", fields{"username": "grace", "password": "something else entirely", "code": "000000"}).want(422)
	grace.post(hidden.path("/leave"), nil).want(http.StatusSeeOther)
	ada.post("/logout", nil).want(http.StatusSeeOther)
	admin.sure()
	all := ""
	for _, path := range oversight {
		all += admin.get(path).want(200).body
	}
	for _, format := range []string{"csv", "json"} {
		all += admin.export(fields{"format": format}).body
	}
	if !strings.Contains(all, "Town square") {
		t.Error("the name of the administrator's own room is nowhere")
	}
	for _, secret := range []string{
		"Cabal", "kettle", "swordfish", "tell nobody", "@example.org", password, "something else", ada.secret, grace.secret, admin.secret, hidden.code, shared.code,
		strings.ReplaceAll(hidden.code, "-", ""), admin.sid(), ada.recovery[0], grace.recovery[3], strings.ReplaceAll(ada.recovery[0], "-", ""),
	} {
		if secret == "" {
			t.Fatal("an empty secret")
		}
		if strings.Contains(strings.ToLower(all), strings.ToLower(secret)) {
			t.Errorf("%q is shown", secret)
		}
	}
	if page := admin.get("/admin/rooms").body; !strings.Contains(page, hidden.id[:8]) || strings.Contains(page, hidden.path("")) {
		t.Error("the hidden room is not shown by the beginning of its id alone")
	}
}

func TestTheAuditPageShowsEachEventOnceAndTheExportIsThePage(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	admin, ada := o.administrator("root", "Radia Perlman"), o.register("ada", "Ada Lovelace")
	for i := range 60 {
		r := ada.createRoom(fmt.Sprintf("Room %d", i))
		if i%10 == 0 {
			admin.join(r)
		}
	}
	admin.sure()
	today := o.clock.now().UTC().Format(time.DateOnly)
	for _, c := range []struct {
		query  string
		filter fields
		want   int // at least; -1: none
	}{
		{"", fields{}, 70},
		{"?kind=rooms", fields{"kind": "rooms"}, 66},
		{"?kind=room.join", fields{"kind": "room.join"}, 6},
		{"?person=ada", fields{"person": "ada"}, 61},
		{"?person=%40Root&kind=rooms", fields{"person": "@Root", "kind": "rooms"}, 6},
		{"?from=" + today, fields{"from": today}, 70},
		{"?to=2020-01-01", fields{"to": "2020-01-01"}, -1},
		{"?kind=integrity", fields{"kind": "integrity"}, -1},
	} {
		exports := map[string][][]string{}
		for _, format := range []string{"csv", "json"} {
			f := fields{"format": format}
			for name, value := range c.filter {
				f[name] = value
			}
			a := admin.export(f)
			if d := a.header.Get("Content-Disposition"); !strings.HasPrefix(d, "attachment; filename=") || !strings.HasSuffix(d, "."+format+`"`) {
				t.Errorf("%s: %s", c.query, d)
			}
			exports[format] = exportedLines(t, format, a.body)
		}
		if slices.EqualFunc(exports["csv"], exports["json"], slices.Equal) != true && c.query != "" && !strings.HasPrefix(c.query, "?from") {
			t.Errorf("%s: CSV and JSON differ", c.query)
		}
		lines := admin.leafed("/admin/audit" + c.query)
		seen := map[string]bool{}
		last := 1 << 30
		for _, cells := range lines {
			n, err := strconv.Atoi(cells[0])
			if err != nil || seen[cells[0]] || n >= last {
				t.Fatalf("%s: %v after %d", c.query, cells, last)
			}
			seen[cells[0]], last = true, n
		}
		if len(lines) < c.want || c.want < 0 && len(lines) > 0 {
			t.Errorf("%s: %d events", c.query, len(lines))
		}
		var shown, exported []string
		for _, cells := range lines {
			shown = append(shown, cells[0]+" "+cells[4]+" "+cells[5])
		}
		for _, cells := range exports["json"] {
			exported = append(exported, cells[0]+" "+cells[6]+" "+cells[8])
		}
		if !slices.Equal(shown, exported) {
			t.Errorf("%s: the page has\n%v\nthe export\n%v", c.query, shown, exported)
		}
	}
	if lines := admin.leafed("/admin/audit?kind=audit.export"); len(lines) != 16 || !strings.Contains(strings.Join(lines[0], " "), "Radia Perlman") {
		t.Errorf("the exports are %v", lines)
	}
	for query, field := range map[string]string{"?person=nobody": "person", "?from=yesterday": "from", "?to=2026-13-01": "to"} {
		if a := admin.get("/admin/audit" + query).want(422); attr(a.id(field), "aria-invalid") != "true" || attr(a.id(field), "value") == "" {
			t.Errorf("%s: the field is not marked, or empty", query)
		}
	}
	admin.get("/admin/audit?kind=nonsense").want(422)
	admin.post("/admin/audit/export", fields{"format": "exe"}).want(422)
	admin.post("/admin/audit/export", fields{"format": "csv", "person": "nobody"}).want(422)
	admin.get("/admin/audit?before=x").want(200)
	admin.get("/admin/audit?before=-1").want(200)
}

// exportedLines reads an export, without the headings.
func exportedLines(t *testing.T, format, body string) (lines [][]string) {
	t.Helper()
	if format == "csv" {
		all, err := csv.NewReader(strings.NewReader(body)).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		if len(all) == 0 || all[0][0] != "n" {
			t.Fatalf("the export begins with %v", all)
		}
		return all[1:]
	}
	for line := range strings.Lines(body) {
		var e struct {
			N                                                                      uint64
			Time, Event, Actor, User, Session, Address, Object, Outcome, Integrity string
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, []string{strconv.FormatUint(e.N, 10), e.Time, e.Event, e.Actor, e.User, e.Session, e.Address, e.Object, e.Outcome, e.Integrity})
	}
	return lines
}

func TestNoCellOfAnExportIsAFormula(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	admin := o.administrator("root", "Radia Perlman")
	admin.sure()
	for _, start := range []string{"=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1"} {
		o.store.Serving(start, start+", and more")
	}
	lines := exportedLines(t, "csv", admin.export(fields{"format": "csv", "kind": "server.start"}).body)
	if len(lines) != 6 {
		t.Fatalf("%d lines", len(lines))
	}
	for _, cells := range lines {
		if !strings.HasPrefix(cells[7], "'") || !strings.HasPrefix(cells[8], "'") {
			t.Errorf("%q and %q", cells[7], cells[8])
		}
	}
}

func TestADamagedAuditLogSaysSoOnThePageAndInTheExport(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	admin := o.administrator("root", "Radia Perlman")
	for i := range 6 {
		admin.createRoom(fmt.Sprintf("Room %d", i))
	}
	admin.sure()
	events := admin.leafed("/admin/audit?kind=room.create")
	changed, gone := events[1][0], events[3][0]
	if a := admin.get("/admin/audit"); strings.Contains(a.body, "is not what was written") {
		t.Fatal("damaged before anything was done to it")
	}
	o.tamper("UPDATE audit_log SET address = '203.0.113.66' WHERE n = ?", changed)
	o.tamper("DELETE FROM audit_log WHERE n = ?", gone)
	a := admin.get("/admin/audit").want(200).contains("This log is not what was written").contains("One entry is missing here").contains("this entry of the audit log was changed")
	export := admin.export(fields{"format": "csv"})
	if export.contains("1 entries are missing from this one on").contains("this entry of the audit log was changed"); strings.Contains(a.body+export.body, "203.0.113.66") {
		t.Error("what was changed is shown as genuine")
	}
	admin.get("/admin").want(200).contains("The audit log: This log is not what was written")
}

func TestTheOverviewWarnsOfWhatIsDamaged(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	admin, ada := o.administrator("root", "Radia Perlman"), o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	ada.say(r, "Is the kettle on?")
	if a := admin.get("/admin").want(200); !strings.Contains(a.body, "Nothing needs your attention") {
		t.Fatal("a warning without a reason")
	}
	o.flip(r, 4)
	ada.get(r.path("")).want(200).contains(damaged)
	admin.get("/admin").want(200).contains("Room " + r.id[:8] + ":")
	wrong := admin.get("/admin/rooms").want(200).class("wrong")
	if len(wrong) != 1 {
		t.Errorf("%d rooms are damaged", len(wrong))
	}
}

func TestTheOverviewCountsMessagesAndPeople(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	admin, ada := o.administrator("root", "Radia Perlman"), o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	for range 5 {
		ada.say(r, "One more.")
	}
	ada.listen(r)
	a := admin.get("/admin").want(200).says("1 of 2 people, open pages: 1").contains("Messages: 5 in 30 days, 5 of them today.")
	charts := elements(a.doc(), func(n *nodeT) bool { return n.Data == "svg" && attr(n, "role") == "img" })
	if len(charts) != 2 {
		t.Fatalf("%d charts", len(charts))
	}
	for _, chart := range charts {
		for _, id := range strings.Fields(attr(chart, "aria-labelledby")) {
			if strings.TrimSpace(text(a.id(id))) == "" {
				t.Errorf("%s says nothing", id)
			}
		}
	}
	o.restart()
	for range 50 {
		if a = admin.get("/admin").want(200); strings.Contains(a.body, "Messages: 5 in 30 days") {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("after a restart the messages are not counted any more")
}

// Each room stands on one page, and every page leads on or back.
func TestTheRoomsStandOnPages(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick, func(s *settings) { s.scale = 2 })
	admin := o.administrator("root", "Radia Perlman")
	o.register("ada", "Ada Lovelace")
	admin.get("/admin/rooms").want(200).says("There is no room on this server yet.")
	for i := range 51 {
		if _, err := o.store.CreateRoom(t.Context(), models.By{User: o.account("ada").ID}, fmt.Sprintf("Room %d", i)); err != nil {
			t.Fatal(err)
		}
	}
	way := func(page *answer, name string) string {
		for _, a := range elements(page.doc(), func(n *nodeT) bool { return n.Data == "a" && strings.TrimSpace(text(n)) == name }) {
			return attr(a, "href")
		}
		return ""
	}
	rows := func(page *answer) (names []string) {
		for _, n := range elements(page.doc(), func(n *nodeT) bool { return n.Data == "th" && attr(n, "data-label") == "Room" }) {
			names = append(names, words(n))
		}
		return names
	}
	for _, order := range []string{"activity", "size", "messages"} {
		first := admin.get("/admin/rooms?sort=" + order).want(200)
		second := admin.get(way(first, "Next page")).want(200)
		all := append(rows(first), rows(second)...)
		slices.Sort(all)
		if one := len(slices.Compact(slices.Clone(all))); len(rows(first)) != 50 || len(all) != 51 || one != 51 {
			t.Errorf("by %s: %d rooms on the first page, %d on both, %d of them different", order, len(rows(first)), len(all), one)
		}
		if way(first, "First page") != "" || way(second, "Next page") != "" || way(second, "First page") != "/admin/rooms?sort="+order {
			t.Errorf("by %s: the pages do not lead to each other", order)
		}
	}
	behind := admin.get("/admin/rooms?sort=messages&after=-5-" + strings.Repeat("f", 32)).want(200).says("No room stands behind this place any more.")
	if way(behind, "First page") == "" || len(rows(behind)) > 0 {
		t.Error("behind the last room the page does not lead back")
	}
	for _, nonsense := range []string{"x", "1", "1-", "1-x", "-", "99999999999999999999-" + strings.Repeat("f", 32)} {
		if got := len(rows(admin.get("/admin/rooms?after=" + nonsense).want(200))); got != 50 {
			t.Errorf("after %q stand %d rooms", nonsense, got)
		}
	}
}

func TestAWaitIsSeenAndLiftedByTheAdministrator(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	admin, grace, eve := o.administrator("root", "Radia Perlman"), o.register("grace", "Grace Hopper"), o.visitor()
	admin.get("/admin/attempts").want(200).contains("None. An account waits").contains("None so far.")
	for range 5 {
		eve.post("/login", fields{"username": "grace", "password": "something else entirely", "code": "000000"}).want(422)
	}
	eve.post("/login", fields{"username": "nobody", "password": "something else entirely", "code": "000000"}).want(422)
	o.visitor().post("/login", fields{"username": "grace", "password": password, "code": grace.codeAt(0)}).want(http.StatusTooManyRequests)

	page := admin.get("/admin/attempts").want(200).contains("Refused: 6 in 30 days, 6 of them today.")
	if lines := page.auditLines(); len(lines) != 6 || !strings.Contains(lines[0][3], "somebody unknown") || strings.Contains(lines[0][2], "Grace") ||
		!strings.Contains(lines[1][2], "Grace Hopper") || !strings.Contains(lines[1][3], "somebody unknown") {
		t.Errorf("%q", lines)
	}
	user := elements(page.doc(), func(n *nodeT) bool { return attr(n, "name") == "user" })
	if len(user) != 1 {
		t.Fatalf("%d accounts wait", len(user))
	}
	admin.sure()
	lift := fields{"user": attr(user[0], "value")}
	admin.post("/admin/attempts/lift", lift).wantRedirect("/admin/attempts")
	admin.get("/admin/attempts").want(200).contains("The wait is lifted").contains("None. An account waits")
	admin.post("/admin/attempts/lift", lift).want(http.StatusConflict).contains("does not wait any more")
	admin.post("/admin/attempts/lift", fields{"user": "x"}).want(http.StatusNotFound)
	if lines := admin.leafed("/admin/audit?kind=attempts.lift"); len(lines) != 1 || !strings.Contains(lines[0][2], "Grace Hopper") {
		t.Errorf("%v", lines)
	}
	grace.login()
	for event, want := range map[string]int{"login.fail": 6, "login.ok": 3, "login.wait": 1} {
		if lines := admin.leafed("/admin/audit?kind=" + event); len(lines) != want {
			t.Errorf("%s: %q", event, lines)
		}
	}
}

func TestBrowserTheAdministrationFitsEveryWindow(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	admin, ada := o.administrator("root", "Radia Perlman"), o.register("ada", "Augusta Ada King, Countess of Lovelace, née Byron")
	r := ada.createRoom("Engine room")
	shared := ada.createRoom(strings.Repeat("Wolfeschlegelsteinhausenbergerdorff", 2))
	admin.join(shared)
	for i := range 30 {
		ada.say([]room{r, shared}[i%2], "One more.")
	}
	for range 5 {
		o.visitor().post("/login", fields{"username": "ada", "password": "something else entirely", "code": "000000"}).want(422)
	}
	b := admin.browserOf()
	for name, path := range map[string]string{"overview": "/admin", "rooms": "/admin/rooms", "attempts": "/admin/attempts", "audit": "/admin/audit", "audit-rooms": "/admin/audit?kind=rooms&person=ada", "audit-none": "/admin/audit?kind=integrity"} {
		b.open(path)
		for _, size := range [][2]int64{{320, 640}, {375, 812}, {1280, 800}} {
			b.resize(size[0], size[1])
			b.fits(fmt.Sprintf("(%s) at %d px", name, size[0]))
			b.shoot(fmt.Sprintf("admin-%s-%d.png", name, size[0]))
		}
	}
	o.tamper("UPDATE audit_log SET outcome = 'x' WHERE n = 3")
	o.tamper("DELETE FROM audit_log WHERE n = 6")
	b.open("/admin/audit")
	b.shoot("admin-audit-damaged-1280.png")
	b.open("/admin")
	b.shoot("admin-overview-damaged-1280.png")
	b.resize(375, 812)
	b.click("figure .more summary")
	b.fits("(with the figures) at 375 px")

	// Numbers and days as the reader writes them.
	b.do("prefer German", command(emulation.SetLocaleOverride, emulation.SetLocaleOverrideParams{Locale: "de-DE"}))
	b.open("/admin")
	if got := read[[]string](b, `[...document.querySelectorAll("local-number")].map((e) => e.textContent + " of " + e.dataset.n)`); !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, ",") }) {
		t.Errorf("the numbers are %q", got)
	}
	if day := b.text(".chart-days local-time"); !strings.Contains(day, ".") {
		t.Errorf("a day is %q", day)
	}
}
