package handlers

import (
	"fmt"
	"net/http"
	"runtime/metrics"
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
			return &models.Error{Kind: models.Denied, Msg: "Only whoever administers this server can see this."}
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
	o.Warnings = append(integrityWarnings(state, a.o.Now()), healthWarnings(health)...)
	o.Groups = []views.Facts{integrityFacts(state), a.processFacts(health), keyFacts(health), diskFacts(health)}
	if a.o.Certificate != nil {
		cert := a.o.Certificate()
		o.Groups = append(o.Groups, certificateFacts(cert))
		if left := cert.Until.Sub(a.o.Now()); left < certificateEnds {
			o.Warnings = append(o.Warnings, certificateWarning(cert))
		}
	}
	return a.render(c, http.StatusOK, views.OverviewPage(a.shell(c, "Administration"), o))
}

func integrityWarnings(state models.IntegrityState, now time.Time) (list []string) {
	if text, broken := chainWords(state.Audit); broken {
		list = append(list, "The audit log: "+text)
	}
	for _, h := range state.Harmed {
		text := "Room " + h.Room.String()[:shortID] + ": " + h.What + "."
		if h.Closed {
			text += " Nothing can be added to it."
		}
		list = append(list, text)
	}
	if len(state.Harmed) > 0 {
		list = append(list, "conclave verify names every finding. Ask who can write the database file; a backup from before brings back what was there.")
	}
	if !state.Anchored.IsZero() && now.Sub(state.Anchored) > anchorsLate {
		list = append(list, "The anchors could not be written for "+models.InWords(now.Sub(state.Anchored))+": look into the server's log.")
	}
	return list
}

func healthWarnings(h models.Health) (list []string) {
	if h.Short() {
		list = append(list, "The disk of the data folder is nearly full: "+size(h.Free)+" are free. When it is full nobody can write any more.")
	}
	if len(h.Unused) > 0 {
		list = append(list, "Key files that this database does not use lie beside the key: "+strings.Join(h.Unused, ", ")+". An old key still opens old backups; conclave keys destroy deletes one.")
	}
	return list
}

func certificateWarning(cert Certificate) string {
	until := cert.Until.UTC().Format("2 January 2006")
	if cert.Own {
		return "The certificate ends on " + until + " and was not renewed: look into the server's log, or run conclave certs renew."
	}
	return "The certificate ends on " + until + ". It was not made by Conclave: replace cert.pem and key.pem."
}

func integrityFacts(state models.IntegrityState) views.Facts {
	rooms := fmt.Sprintf("%d of the %d there were at the start", state.Walked, state.Rooms)
	if state.Finished && state.Walked == state.Rooms {
		rooms = "all that there were at the start"
	}
	harmed := "none"
	if len(state.Harmed) > 0 {
		harmed = strconv.Itoa(len(state.Harmed))
	}
	audit := "whole"
	switch {
	case state.Audit.Damaged > 0:
		audit = fmt.Sprintf("damaged at entry %d", state.Audit.Damaged)
	case !state.Audit.Checked:
		audit = "still being checked"
	}
	return views.Facts{Heading: "Integrity", List: []views.Fact{
		{Name: "Rooms checked", Text: rooms}, {Name: "Damaged rooms", Text: harmed}, {Name: "Audit log", Text: audit},
		{Name: "Anchored up to", At: state.Anchored},
	}}
}

func (a *App) processFacts(h models.Health) views.Facts {
	streams := a.o.Hub.Open()
	online := map[models.ID]bool{}
	for _, l := range streams {
		online[l.User] = true
	}
	list := []views.Fact{
		{Name: "Running since", At: a.started},
		{Name: "Online now", Text: fmt.Sprintf("%d of %d people, open pages: %d", len(online), h.People, len(streams))},
		{Name: "Rooms", Text: strconv.Itoa(h.Rooms)},
		{Name: "Registration", Text: a.o.Registration},
		{Name: "Memory", Text: size(memory())},
	}
	if a.o.LimitScale > 1 {
		list = append(list, views.Fact{Name: "Limits", Text: "multiplied by " + strconv.Itoa(a.o.LimitScale)})
	}
	if a.o.Version != "" {
		list = append(list, views.Fact{Name: "Version", Text: a.o.Version})
	}
	return views.Facts{Heading: "Server", List: list}
}

func keyFacts(h models.Health) views.Facts {
	from := "in the data folder"
	if h.Credentials {
		from = "from the service manager's credentials"
	}
	list := []views.Fact{{Name: "Master key", Text: h.Key, Code: true}, {Name: "In use since", At: h.KeySince}, {Name: "Kept", Text: from}}
	if len(h.Unused) > 0 {
		list = append(list, views.Fact{Name: "Unused files", Text: strings.Join(h.Unused, " "), Code: true})
	}
	return views.Facts{Heading: "Keys", List: list}
}

func diskFacts(h models.Health) views.Facts {
	free := "not known on this system"
	if h.DiskKnown {
		free = size(h.Free) + " of " + size(h.Disk)
	}
	return views.Facts{Heading: "Disk", List: []views.Fact{
		{Name: "Database", Text: size(h.Database)}, {Name: "Write-ahead log", Text: size(h.WriteAhead)}, {Name: "Free", Text: free},
	}}
}

func certificateFacts(cert Certificate) views.Facts {
	maker := "by Conclave, which renews it"
	if !cert.Own {
		maker = "by you: Conclave never replaces it"
	}
	return views.Facts{Heading: "Certificate", List: []views.Fact{
		{Name: "SHA-256", Text: cert.Fingerprint, Code: true}, {Name: "Public key", Text: cert.KeyFingerprint, Code: true},
		{Name: "Valid until", At: cert.Until}, {Name: "Names", Text: strings.Join(cert.Names, ", ")}, {Name: "Made", Text: maker},
	}}
}

// memory is what the process has taken from the system and not given back, in bytes.
func memory() int64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return int64(samples[0].Value.Uint64() - samples[1].Value.Uint64())
}

// size writes bytes for people.
func size(bytes int64) string {
	switch {
	case bytes < 1<<10:
		return fmt.Sprintf("%d B", bytes)
	case bytes < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(bytes)/(1<<10))
	case bytes < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30))
}

var roomOrders = []views.RoomOrder{{Name: "Last activity", Value: models.ByActivity}, {Name: "Size", Value: models.BySize}, {Name: "Messages", Value: models.ByPosts}}

// roomTable lists all rooms. The place where a page begins is "value-room" of the one before it.
func (a *App) roomTable(c echo.Context) error {
	t := views.RoomTable{Order: models.ByActivity, Orders: roomOrders}
	for _, o := range roomOrders {
		if c.QueryParam("sort") == o.Value {
			t.Order = o.Value
		}
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
	return a.render(c, http.StatusOK, views.RoomTablePage(a.shell(c, "All rooms"), t))
}

func roomRow(f models.Figures) views.RoomRow {
	row := views.RoomRow{
		Short: f.Room.String()[:shortID], Members: f.Members, Posts: f.Posts, Size: "…", Created: f.Created, Last: f.Last,
		Epoch: f.Epoch, Destroyed: f.Destroyed, Harm: f.Harm,
	}
	if f.Bytes >= 0 {
		row.Size = size(f.Bytes)
	}
	if f.Name != "" {
		row.ID, row.Name = f.Room.String(), f.Name
	}
	return row
}
