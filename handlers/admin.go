package handlers

import (
	"fmt"
	"net/http"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"conclave/models"
	"conclave/views"
)

// administrator lets only those through who administer the server. What they change there they
// must have confirmed (sudo).
func administrator(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if !visitOf(c).user.Admin {
			return &models.Error{Kind: models.Denied, Msg: views.ErrorAdministratorOnly}
		}
		return next(c)
	}
}

// Certificate is what the administration shows of the server's certificate.
type Certificate struct {
	Fingerprint, KeyFingerprint string // SHA-256
	Until                       time.Time
	Names                       []string
	Own                         bool // made, and renewed, by this program
}

const (
	certificateEnds = 30 * 24 * time.Hour // before which its end is a warning
	anchorsLate     = 5 * time.Minute
)

func (a *App) overview(c echo.Context) error {
	ctx := c.Request().Context()
	health, err := a.o.Store.Health(ctx)
	if err != nil {
		return err
	}
	state := a.o.Store.Integrity()
	days, counted := a.o.Store.Days()
	o := views.Overview{Posts: postsChart(days, counted), Logins: loginsChart(days, counted)}
	o.Warnings = append(integrityWarnings(state, a.o.Now()), keyWarnings(health)...)
	o.Integrity = views.Integrity{
		Walked: state.Walked, Rooms: state.Rooms, Finished: state.Finished, Harmed: len(state.Harmed),
		AuditDamaged: state.Audit.Damaged, AuditChecked: state.Audit.Checked, Anchored: state.Anchored,
	}
	o.Server = a.process(health)
	o.Keys = views.Keys{Master: health.Key, Since: health.KeySince, Credentials: health.Credentials, Unused: health.Unused}
	o.Disk = views.Disk{
		Database: health.Database, WriteAhead: health.WriteAhead, Free: health.Free, Disk: health.Disk,
		Known: health.DiskKnown, Short: health.Short(),
	}
	if a.o.Certificate != nil {
		cert := a.o.Certificate()
		o.Certificate = new(views.Certificate(cert))
		o.CertificateEnds = cert.Until.Sub(a.o.Now()) < certificateEnds
	}
	return a.render(c, http.StatusOK, views.OverviewPage(a.shell(c), o))
}

func integrityWarnings(state models.IntegrityState, now time.Time) (list []string) {
	if text, broken := chainWords(state.Audit); broken {
		list = append(list, views.OverviewAudit.With(text))
	}
	for _, h := range state.Harmed {
		text := views.OverviewRoom
		if h.Closed {
			text = views.OverviewRoomClosed
		}
		list = append(list, text.With(h.Room.String()[:shortID], h.What))
	}
	if len(state.Harmed) > 0 {
		list = append(list, views.OverviewVerify)
	}
	if !state.Anchored.IsZero() && now.Sub(state.Anchored) > anchorsLate {
		list = append(list, views.OverviewAnchors.With(models.InWords(now.Sub(state.Anchored))))
	}
	return list
}

func keyWarnings(h models.Health) []string {
	if len(h.Unused) == 0 {
		return nil
	}
	return []string{views.OverviewUnusedKeys.With(strings.Join(h.Unused, ", "))}
}

func (a *App) process(h models.Health) views.Server {
	streams := a.o.Hub.Open()
	online := map[models.ID]bool{}
	for _, l := range streams {
		online[l.User] = true
	}
	return views.Server{
		Started: a.started, Online: len(online), People: h.People, Pages: len(streams), Rooms: h.Rooms,
		Registration: a.o.Registration, Memory: memory(), LimitScale: a.o.LimitScale, Version: a.o.Version,
	}
}

// memory is what the process has taken from the system and not given back, in bytes.
func memory() int64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return int64(samples[0].Value.Uint64() - samples[1].Value.Uint64())
}

var roomOrders = []string{models.ByActivity, models.BySize, models.ByPosts}

// roomTable lists all rooms. The place where a page begins is "value-room" of the one before it.
func (a *App) roomTable(c echo.Context) error {
	t := views.RoomTable{Order: models.ByActivity, Orders: roomOrders}
	if order := c.QueryParam("sort"); slices.Contains(roomOrders, order) {
		t.Order = order
	}
	var after models.RoomsAfter
	value, room, _ := strings.Cut(c.QueryParam("after"), "-")
	if id, err := models.ParseID(room); err == nil {
		if after.Value, err = strconv.ParseInt(value, 10, 64); err == nil {
			after.Room = id
		}
	}
	page, next, all, err := a.o.Store.Census(c.Request().Context(), visitOf(c).user.ID, t.Order, after)
	if err != nil {
		return err
	}
	t.All = all
	for _, f := range page {
		t.Rows = append(t.Rows, roomRow(f))
	}
	if !next.Room.Zero() {
		t.Next = fmt.Sprintf("/admin/rooms?sort=%s&after=%d-%s", t.Order, next.Value, next.Room)
	}
	return a.render(c, http.StatusOK, views.RoomTablePage(a.shell(c), t))
}

func roomRow(f models.Figures) views.RoomRow {
	row := views.RoomRow{
		Short: f.Room.String()[:shortID], Members: f.Members, Posts: f.Posts, Bytes: f.Bytes, Counted: f.Bytes >= 0, Created: f.Created, Last: f.Last,
		Epoch: f.Epoch, Destroyed: f.Destroyed, Harm: f.Harm,
	}
	if f.Name != "" {
		row.ID, row.Name = f.Room.String(), f.Name
	}
	return row
}
