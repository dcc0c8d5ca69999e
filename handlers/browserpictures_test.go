package handlers_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"conclave/models"
	"conclave/models/demo"
	"conclave/models/feed"
)

// openDemo opens an office in which the example was played up to now, and returns its people by their
// user names.
func openDemo(t *testing.T, now time.Time) (*office, map[string]*person) {
	t.Helper()
	dir := t.TempDir()
	told, err := demo.Seed(context.Background(), models.Options{
		Dir: dir, Hub: feed.New(feed.Options{}), Log: slog.New(slog.DiscardHandler), LightHashes: true,
	}, now)
	if err != nil {
		t.Fatal(err)
	}
	o := openOffice(t, quick, func(s *settings) { s.dir = dir })
	people := map[string]*person{}
	for _, d := range told {
		p := o.visitor()
		p.username, p.fullName, p.password, p.secret = d.Username, d.FullName, d.Password, d.Secret
		people[d.Username] = p
	}
	return o, people
}

// view is how a page is looked at.
type view struct {
	device, scheme string
	width, height  int64
	density        float64
}

// The pages of the example fit, in every view that the README shows, and no console complains. With
// CONCLAVE_PICTURES (make screenshots) they become its pictures.
func TestBrowserPicturesOfTheExample(t *testing.T) {
	t.Parallel()
	views := []view{{"phone", "light", 375, 812, 2}}
	folder := os.Getenv("CONCLAVE_PICTURES")
	if folder != "" {
		views = append(views, view{"phone", "dark", 375, 812, 2}, view{"desktop", "light", 1280, 800, 2}, view{"desktop", "dark", 1280, 800, 2})
	}
	afternoon := 14 - time.Now().UTC().Hour() // hours east of Greenwich where it is between two and three now
	o, people := openDemo(t, time.Now().In(time.FixedZone("", afternoon*60*60)))
	for _, name := range []string{"mara", "yusuf", "layla", "siobhan", "minhanh", "bert"} {
		p := people[name]
		p.post("/login", fields{"username": p.username, "password": p.password, "code": p.codeAt(0)}).wantRedirect("/rooms")
	}
	mara := people["mara"]
	workshop := demoRoom(t, o, mara, "Workshop")
	for _, name := range []string{"yusuf", "layla", "siobhan", "minhanh"} {
		people[name].listen(workshop) // is there
	}
	stranger, b := o.browser("somebody"), mara.browserOf()
	for _, v := range views {
		for _, shown := range []struct {
			name, path, ready string
			tab               *tab
		}{
			{"front", "/login", `document.readyState === "complete"`, stranger},
			{"rooms", "/rooms", `document.readyState === "complete"`, b},
			{"room", workshop.path(""), `document.querySelector("#presence > [data-here]") && ` + atEnd, b},
		} {
			shown.tab.from(v, afternoon)
			shown.tab.open(shown.path)
			shown.tab.at(shown.path)
			shown.tab.until("the page of "+shown.name, shown.ready)
			shown.tab.settle()
			shown.tab.fits(fmt.Sprintf("(%s of the example) on a %s, %s,", shown.name, v.device, v.scheme))
			if folder != "" {
				shown.tab.picture(filepath.Join(folder, fmt.Sprintf("%s-%s-%s.webp", shown.name, v.device, v.scheme)))
			}
		}
	}
}

// demoRoom finds a room of the example by its name.
func demoRoom(t *testing.T, o *office, p *person, name string) room {
	t.Helper()
	ctx := context.Background()
	id, err := o.store.PersonNamed(ctx, p.username)
	if err != nil {
		t.Fatal(err)
	}
	cards, err := o.store.Rooms(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cards {
		if c.Name == name {
			return room{id: c.Room.String()}
		}
	}
	t.Fatalf("there is no room %s", name)
	return room{}
}

// from looks at the page in a view, so many hours east of Greenwich.
func (b *tab) from(v view, east int) {
	b.t.Helper()
	b.do("look from a "+v.device,
		command(emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: v.width, Height: v.height, DeviceScaleFactor: v.density}),
		command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: v.scheme}}}),
		command(emulation.SetScrollbarsHidden, emulation.SetScrollbarsHiddenParams{Hidden: true}),
		command(emulation.SetLocaleOverride, emulation.SetLocaleOverrideParams{Locale: "en-GB"}),
		command(emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: fmt.Sprintf("Etc/GMT%+d", -east)}),
	)
}

// picture keeps what is in the window. WebP, which is a third of a PNG where there is much text.
func (b *tab) picture(path string) {
	b.t.Helper()
	b.do("take a picture", command(page.BringToFront, cdp.Empty{}))
	taken, err := chromedp.Call(b.ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{Format: page.CaptureScreenshotFormatWebp, Quality: new(int64(80))})
	if err == nil {
		err = os.WriteFile(path, taken.Data, 0o644)
	}
	if err != nil {
		b.t.Error(err)
	}
}
