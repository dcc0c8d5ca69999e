package handlers

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"conclave/models"
	"conclave/views"
)

const (
	auditPageSize  = 50
	keyAuditFilter = "audit_filter" // string in the session: the filters of an export that has to be confirmed first
)

// auditFields are the filters as they were typed.
type auditFields struct{ kind, person, from, to string }

func (f auditFields) query() url.Values {
	values := url.Values{}
	for name, value := range map[string]string{"kind": f.kind, "person": f.person, "from": f.from, "to": f.to} {
		if value != "" {
			values.Set(name, value)
		}
	}
	return values
}

// address is the page of the audit log with these filters, up to a number that is not 0.
func (f auditFields) address(before uint64) string {
	values := f.query()
	if before > 0 {
		values.Set("before", strconv.FormatUint(before, 10))
	}
	if len(values) == 0 {
		return "/admin/audit"
	}
	return "/admin/audit?" + values.Encode()
}

// auditFilter reads the filters. It is Invalid, with the field, for what cannot be understood.
func (a *App) auditFilter(c echo.Context, f auditFields) (filter models.AuditFilter, err error) {
	var wrong models.Errors
	fault := func(field, msg string) {
		wrong = append(wrong, &models.Error{Kind: models.Invalid, Field: field, Msg: msg})
	}
	var ok bool
	if filter.Events, ok = auditEvents(f.kind); !ok {
		fault("", views.AuditKindProblem)
	}
	day := func(field, text string) time.Time {
		if text == "" {
			return time.Time{}
		}
		at, err := time.Parse(time.DateOnly, text)
		if err != nil {
			fault(field, views.AuditDayProblem)
		}
		return at
	}
	filter.From = day("from", f.from)
	if filter.To = day("to", f.to); !filter.To.IsZero() {
		filter.To = filter.To.AddDate(0, 0, 1) // the whole day
	}
	if f.person != "" {
		filter.Person, err = a.o.Store.PersonNamed(c.Request().Context(), f.person)
		var ours *models.Error
		if errors.As(err, &ours) {
			fault(ours.Field, ours.Msg)
		} else if err != nil {
			return filter, err
		}
	}
	if wrong != nil {
		return filter, wrong
	}
	return filter, nil
}

func (a *App) auditPage(c echo.Context) error {
	ctx := c.Request().Context()
	if c.Request().URL.RawQuery == "" {
		if kept := a.sessions.PopString(ctx, keyAuditFilter); kept != "" && a.confirmed(c) {
			return c.Redirect(http.StatusSeeOther, "/admin/audit?"+kept)
		}
	}
	f := auditFields{c.QueryParam("kind"), strings.TrimSpace(c.QueryParam("person")), c.QueryParam("from"), c.QueryParam("to")}
	l := views.AuditLog{
		Kind: f.kind, Kinds: views.AuditKinds, Person: views.Field{Value: f.person}, From: views.Field{Value: f.from}, To: views.Field{Value: f.to},
		Filtered: len(f.query()) > 0,
	}
	before, err := strconv.ParseUint(c.QueryParam("before"), 10, 63)
	if err != nil && c.QueryParam("before") != "" {
		before = math.MaxInt64
	}
	filter, err := a.auditFilter(c, f)
	if fault, ok := faults(err); ok {
		l.Error, l.Person.Error, l.From.Error, l.To.Error = fault[""], fault["person"], fault["from"], fault["to"]
		if l.Error == "" {
			l.Error = views.AuditFiltersProblem
		}
		l.State, l.Broken = chainWords(a.o.Store.Integrity().Audit)
		return a.render(c, http.StatusUnprocessableEntity, views.AuditPage(a.shell(c), l))
	}
	if err != nil {
		return err
	}
	entries, older, err := a.o.Store.AuditPage(ctx, filter, before, auditPageSize)
	if err != nil {
		return err
	}
	l.Rows = auditRows(entries)
	if older {
		l.Older = f.address(entries[len(entries)-1].N)
	}
	if before > 0 {
		l.Newest = f.address(0)
	}
	l.State, l.Broken = chainWords(a.o.Store.Integrity().Audit) // after the page, which may have found something
	return a.render(c, http.StatusOK, views.AuditPage(a.shell(c), l))
}

// chainWords says what is known of the audit log as a whole.
func chainWords(state models.AuditState) (text string, broken bool) {
	switch {
	case state.Damaged > 0:
		return views.AuditChainDamaged.With(strconv.FormatUint(state.Damaged, 10), state.What), true
	case !state.Checked:
		return views.AuditChainOpen, false
	}
	if state.UpTo == 0 {
		return views.AuditChainWhole, false
	}
	return views.AuditChainUpTo.With(views.AuditChainWhole, strconv.FormatUint(state.UpTo, 10)), false
}

// exportAudit hands out what the page with the same filters shows. It changes nothing but that it is
// written down, which is why it is a POST.
func (a *App) exportAudit(c echo.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	f := auditFields{field("kind"), strings.TrimSpace(field("person")), field("from"), field("to")}
	if !a.confirmed(c) {
		a.sessions.Put(c.Request().Context(), keyAuditFilter, f.query().Encode())
		return seeOther(c, "/sudo?next=/admin/audit")
	}
	write, known := auditWriters[field("format")]
	if !known {
		return &models.Error{Kind: models.Invalid, Msg: views.AuditFormatProblem}
	}
	filter, err := a.auditFilter(c, f)
	if err != nil {
		return err
	}
	said := f.query()
	if filter.Person != (models.ID{}) {
		said.Set("person", filter.Person.String()) // the log holds ids, no names
	}
	w := c.Response()
	h := w.Header()
	h.Set(echo.HeaderContentType, write.kind)
	h.Set(echo.HeaderContentDisposition, fmt.Sprintf(`attachment; filename="conclave-audit-%s.%s"`, a.o.Now().UTC().Format(time.DateOnly), field("format")))
	control := http.NewResponseController(w)
	first := true
	err = a.o.Store.AuditExport(c.Request().Context(), by(c), field("format"), said.Encode(), filter, func(entries []models.AuditEntry) error {
		err := control.SetWriteDeadline(time.Now().Add(writeDeadline)) // for each piece: a long log over a slow line is no fault
		if err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		head := first
		first = false
		return write.write(w, head, exported(entries))
	})
	if err != nil && w.Committed {
		panic(http.ErrAbortHandler) // the browser must not take half of it for the whole
	}
	return err
}

// exportedEvent is one line of an export. What is damaged or missing has its own line, as on the page.
type exportedEvent struct {
	N         uint64 `json:"n"`
	Time      string `json:"time"`
	Event     string `json:"event"`
	Actor     string `json:"actor"` // id; empty: the server, or with an address somebody unknown
	User      string `json:"user"`
	Session   string `json:"session"`
	Address   string `json:"address"`
	Object    string `json:"object"`
	Outcome   string `json:"outcome"`
	Integrity string `json:"integrity"` // "verified", or what is wrong
}

var exportColumns = []string{"n", "time", "event", "actor", "user", "session", "address", "object", "outcome", "integrity"}

func (e exportedEvent) cells() []string {
	return []string{strconv.FormatUint(e.N, 10), e.Time, e.Event, e.Actor, e.User, e.Session, e.Address, e.Object, e.Outcome, e.Integrity}
}

func exported(entries []models.AuditEntry) []exportedEvent {
	var list []exportedEvent
	for _, e := range entries {
		x := exportedEvent{N: e.N, Integrity: "verified"}
		switch {
		case e.Cut > 0:
			x.Integrity = views.AuditExportCut.With(strconv.FormatUint(e.Cut, 10))
		case e.Damaged != "":
			x.Integrity = e.Damaged
		default:
			x.Time, x.Event, x.Session, x.Address, x.Object, x.Outcome = e.At.UTC().Format("2006-01-02T15:04:05.000Z"), e.Event, e.Session, e.Address, e.Object, e.Outcome
			if !e.Actor.ID.Zero() {
				x.Actor, x.User = e.Actor.ID.String(), e.Actor.Username
			}
		}
		list = append(list, x)
		if e.Missing > 0 {
			list = append(list, exportedEvent{N: e.N - e.Missing, Integrity: views.AuditExportMissing.With(strconv.FormatUint(e.Missing, 10))})
		}
	}
	return list
}

type auditWriter struct {
	kind  string
	write func(w io.Writer, head bool, list []exportedEvent) error
}

var auditWriters = map[string]auditWriter{
	"csv": {"text/csv; charset=utf-8", func(w io.Writer, head bool, list []exportedEvent) error {
		out := csv.NewWriter(w)
		if head {
			out.Write(exportColumns)
		}
		for _, e := range list {
			cells := e.cells()
			for i, cell := range cells {
				cells[i] = inert(cell)
			}
			out.Write(cells)
		}
		out.Flush()
		return out.Error()
	}},
	"json": {"application/x-ndjson", func(w io.Writer, _ bool, list []exportedEvent) error {
		out := json.NewEncoder(w)
		for _, e := range list {
			if err := out.Encode(e); err != nil {
				return err
			}
		}
		return nil
	}},
}

// inert keeps a spreadsheet from taking a cell for a formula.
func inert(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r\n", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}
