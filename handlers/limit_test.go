package handlers_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"conclave/models"
)

func TestABodyOfMoreThan64KiBChangesNothing_T62(t *testing.T) { // R52, T62
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	long := strings.Repeat("x", 64<<10)
	for path, f := range map[string]fields{
		r.path("/messages"): {"body": "Too long", "padding": long}, "/rooms": {"name": "Too long", "padding": long}, "/rooms/join": {"code": r.code, "padding": long},
		"/login": {"username": "ada", "password": password, "code": ada.codeAt(0), "padding": long}, "/register": {"username": "eve", "padding": long},
		"/register/confirm": {"code": "000000", "padding": long}, "/login/enrol": {"code": "000000", "padding": long},
	} {
		ada.post(path, f).want(http.StatusRequestEntityTooLarge)
		ada.post(path, f, htmx...).want(http.StatusRequestEntityTooLarge)
		// the field that matters first, the length unknown
		req, err := http.NewRequest(http.MethodPost, o.server.URL+path, io.MultiReader(strings.NewReader(f.encode()+"&z="), endless{}))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", o.server.URL)
		res, err := ada.client.Do(req)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("%s without a length: %d", path, res.StatusCode)
		}
	}
	page := ada.get(r.path("")).want(200)
	if got := page.bodies(); len(got) > 0 {
		t.Errorf("the room shows %q", got)
	}
	if strings.Contains(ada.get("/rooms").want(200).body, "Too long") {
		t.Error("a room was made")
	}
	exact := fields{"body": "Just right", "padding": ""}
	exact["padding"] = strings.Repeat("x", 64<<10-len(exact.encode()))
	ada.post(r.path("/messages"), exact).wantRedirect(r.path(""))
	exact["padding"] += "x"
	ada.post(r.path("/messages"), exact).want(http.StatusRequestEntityTooLarge)
}

// endless is a body without an end.
type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}

func TestAnOddBodyIsNoForm_T62(t *testing.T) { // T62
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	io.CopyN(z, endless{}, 8<<20)
	z.Close()
	for name, c := range map[string]struct{ kind, encoding, body string }{
		"JSON":              {"application/json", "", `{"body":"Hello"}`},
		"plain text":        {"text/plain", "", "body=Hello"},
		"no type":           {"", "", "body=Hello"},
		"broken percent":    {"application/x-www-form-urlencoded", "", "body=Hello&x=%zz"},
		"semicolons":        {"application/x-www-form-urlencoded", "", "body=Hello;x=y"},
		"multipart":         {"multipart/form-data; boundary=x", "", "--x\r\nContent-Disposition: form-data; name=\"body\"\r\n\r\nHello\r\n--x--\r\n"},
		"a compressed bomb": {"application/x-www-form-urlencoded", "gzip", bomb.String()},
	} {
		req, err := http.NewRequest(http.MethodPost, o.server.URL+r.path("/messages"), strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", o.server.URL)
		if c.kind != "" {
			req.Header.Set("Content-Type", c.kind)
		}
		if c.encoding != "" {
			req.Header.Set("Content-Encoding", c.encoding)
		}
		res, err := ada.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d", name, res.StatusCode)
		}
	}
	if got := ada.get(r.path("")).want(200).bodies(); len(got) > 0 {
		t.Errorf("the room shows %q", got)
	}
}

func TestWhoPostsTooFastIsToldToWaitAndLosesNothing(t *testing.T) { // R54
	t.Parallel()
	o := openOffice(t)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r, other := ada.createRoom("Engine room"), ada.createRoom("Another room")
	grace.join(r)
	said := numberedTo(20)
	for _, body := range said {
		ada.say(r, body)
	}
	for _, headers := range [][]string{nil, htmx} {
		var refused *answer
		for range 10 { // one token comes back each second
			if refused = ada.post(r.path("/messages"), fields{"body": "One too many"}, headers...); refused.status == http.StatusTooManyRequests {
				break
			}
			said = append(said, "One too many")
		}
		refused.want(http.StatusTooManyRequests)
		if wait, err := strconv.Atoi(refused.header.Get("Retry-After")); err != nil || wait < 1 || wait > 2 {
			t.Errorf("Retry-After: %q", refused.header.Get("Retry-After"))
		}
		if got := text(refused.id("body")); got != "One too many" {
			t.Errorf("the draft is %q", got)
		}
	}
	ada.say(other, "Another room has its own measure")
	grace.say(r, "And so has another person")
	if got := grace.get(r.path("")).want(200).bodies(); !slices.Equal(got, append(said, "And so has another person")) {
		t.Errorf("the room shows %q", got)
	}
}

func TestNobodyMakesMoreThanTwentyRoomsAnHour_T62(t *testing.T) { // R54, T62
	t.Parallel()
	o := openOffice(t)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	for i := range 20 {
		ada.post("/rooms", fields{"name": fmt.Sprintf("Room %d", i)}).want(http.StatusSeeOther)
	}
	refused := ada.post("/rooms", fields{"name": "One too many"}).want(http.StatusTooManyRequests)
	if wait, err := strconv.Atoi(refused.header.Get("Retry-After")); err != nil || wait < 60 || wait > 180 {
		t.Errorf("Retry-After: %q", refused.header.Get("Retry-After"))
	}
	if got := attr(refused.id("name"), "value"); got != "One too many" {
		t.Errorf("the name is %q", got)
	}
	ada.login().post("/rooms", fields{"name": "From another browser"}).want(http.StatusTooManyRequests)
	grace.post("/rooms", fields{"name": "Mine"}).want(http.StatusSeeOther)
}

func TestNobodyOwnsMoreThanFiftyRooms_T62(t *testing.T) { // R54: of a thousand
	t.Parallel()
	o := openOffice(t)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	adas := models.By{User: o.idOf(ada, ada.createRoom("Room 0"))}
	made := 1
	for i := range 999 { // without the limit by the hour
		if _, err := o.store.CreateRoom(t.Context(), adas, fmt.Sprintf("Room %d", i+1)); err == nil {
			made++
		} else if models.KindOf(err) != models.Invalid {
			t.Fatal(err)
		}
	}
	if made != 50 {
		t.Errorf("of a thousand rooms %d were made", made)
	}
	refused := ada.post("/rooms", fields{"name": "One too many"}).want(422).contains("You own 50 rooms")
	if got := attr(refused.id("name"), "value"); got != "One too many" {
		t.Errorf("the name is %q", got)
	}
	r := grace.createRoom("Mine")
	ada.join(r)
}

func TestOneAddressRegistersSixtyTimesAnHour(t *testing.T) { // R22
	t.Parallel()
	o := openOffice(t)
	forged := func(i int) []string {
		address := fmt.Sprintf("10.0.0.%d", i)
		return []string{"X-Forwarded-For", address, "X-Real-IP", address, "Forwarded", "for=" + address, "CF-Connecting-IP", address, "True-Client-IP", address}
	}
	for i := range 60 {
		o.visitor().post("/register", fields{"username": "x"}, forged(i)...).want(422)
	}
	f := fields{"username": "ada", "full_name": "Ada Lovelace", "email": "ada@example.org", "password": password}
	refused := o.visitor().post("/register", f, forged(200)...).want(http.StatusTooManyRequests)
	if refused.header.Get("Retry-After") == "" || attr(refused.id("full_name"), "value") != "Ada Lovelace" {
		t.Error("the form is gone, or nothing says how long to wait")
	}
	o.restart()
	o.visitor().post("/register", f).want(http.StatusTooManyRequests)
	o.visitorFrom("127.0.0.2").post("/register", f).wantRedirect("/register/confirm")
	o.clock.advance(55 * time.Minute)
	f["username"], f["email"] = "grace", "grace@example.org"
	o.visitor().post("/register", f).want(http.StatusTooManyRequests)
	o.clock.advance(10 * time.Minute)
	o.visitor().post("/register", f).wantRedirect("/register/confirm")
}

func TestOneAddressTriesThirtyLinksInAQuarterOfAnHour(t *testing.T) { // R22
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	link, err := o.store.ResetToken(t.Context(), models.By{}, o.idOf(ada, ada.createRoom("Workshop")))
	if err != nil {
		t.Fatal(err)
	}
	right, wrong := fields{"token": link, "password": "seven green ladders"}, fields{"token": strings.Repeat("0", 64), "password": "seven green ladders"}
	for range 30 {
		o.visitor().post("/reset", wrong).want(422)
	}
	refused := o.visitor().post("/reset", right).want(http.StatusTooManyRequests)
	if refused.header.Get("Retry-After") == "" || attr(refused.id("token"), "value") != link {
		t.Error("the form is gone, or nothing says how long to wait")
	}
	o.restart()
	ada.reconnect()
	o.visitor().post("/reset", right).want(http.StatusTooManyRequests)
	o.visitorFrom("127.0.0.2").post("/reset", wrong).want(422)
	o.clock.advance(16 * time.Minute)
	o.visitor().post("/reset", right).wantRedirect("/login")
	ada.get("/rooms").wantRedirect("/login")
}

func TestTheSeventeenthStreamOfASessionEndsItsFirst(t *testing.T) { // R55
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	streams := []*listener{}
	for range 16 {
		streams = append(streams, o.open(ada, r))
	}
	streams = append(streams, o.open(ada, r))
	for _, e := range streams[0].ends(2 * time.Second) {
		if e.name == "session-end" {
			t.Error("a replaced stream says that the session is over")
		}
	}
	ada.say(r, "Are you all there?")
	for _, s := range streams[1:] {
		s.message("Are you all there?")
	}
}

// open opens a stream and waits until it has begun.
func (o *office) open(p *person, r room) *listener {
	o.t.Helper()
	l := p.stream(r.path("/feed"))
	if l.status == 200 {
		l.next("who is here", func(e event) bool { return e.id == "" })
	}
	return l
}

func TestAPersonHasThirtyTwoStreamsAtMost(t *testing.T) { // R55; by address and in total: models/feed
	t.Parallel()
	o := openOffice(t)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	grace.join(r)
	for _, browser := range []*person{ada, ada.login()} {
		for range 16 {
			if l := o.open(browser, r); l.status != 200 {
				t.Fatalf("a stream too few: %d", l.status)
			}
		}
	}
	third := ada.login()
	refused := third.get(r.path("/feed")).want(http.StatusTooManyRequests)
	if refused.header.Get("Retry-After") == "" || !strings.HasPrefix(refused.header.Get("Content-Type"), "text/html") {
		t.Errorf("the answer is %v", refused.header)
	}
	third.get(r.path("")).want(200)
	if l := o.open(grace, r); l.status != 200 {
		t.Errorf("somebody else: %d", l.status)
	}
}

func TestAnotherTextUnderTheSameClientIDIsRefusedAndKept(t *testing.T) { // HOUSE.md, the composer
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	stream := ada.listen(r)
	id := attr(elements(ada.get(r.path("")).doc(), func(n *nodeT) bool { return attr(n, "name") == "client_id" })[0], "value")
	var wait sync.WaitGroup
	for range 5 {
		wait.Go(func() { ada.post(r.path("/messages"), fields{"body": "Sent twice", "client_id": id}) })
	}
	wait.Wait()
	posted := func(a *answer) string { return attr(a.id("composer-note"), "data-posted") }
	first := ada.post(r.path("/messages"), fields{"body": "Sent twice", "client_id": id}, htmx...).want(200)
	if again := ada.post(r.path("/messages"), fields{"body": "Sent twice", "client_id": id}, htmx...).want(200); posted(again) == "" || posted(again) != posted(first) {
		t.Errorf("the answers name %q and %q", posted(first), posted(again))
	}
	for _, headers := range [][]string{nil, htmx} {
		refused := ada.post(r.path("/messages"), fields{"body": "Another text", "client_id": id}, headers...).want(http.StatusConflict)
		if got := text(refused.id("body")); got != "Another text" {
			t.Errorf("the draft is %q", got)
		}
		if fresh := attr(elements(refused.doc(), func(n *nodeT) bool { return attr(n, "name") == "client_id" })[0], "value"); fresh == id || fresh == "" {
			t.Error("the form keeps the client id that is used up")
		}
	}
	ada.say(r, "The end")
	if e := stream.message("Sent twice"); e.id != posted(first) {
		t.Errorf("the feed says %s, the answer %s", e.id, posted(first))
	}
	if e := stream.next("the next message", func(e event) bool { return len(e.bodies()) > 0 }); e.bodies()[0] != "The end" {
		t.Errorf("after it comes %q", e.bodies())
	}
	if got := ada.get(r.path("")).bodies(); !slices.Equal(got, []string{"Sent twice", "The end"}) {
		t.Errorf("the room shows %q", got)
	}
}

// Each of these writes into the room's log, which everybody who has the room open is sent.
func TestAnOwnerWhoChangesTheRoomTooOftenIsToldToWait(t *testing.T) { // R54
	t.Parallel()
	o := openOffice(t)
	ada, grace, linus := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper"), o.register("linus", "Linus Pauling")
	r := ada.createRoom("Engine room")
	grace.join(r)
	linus.join(r)
	for _, deed := range []struct {
		path string
		form []fields
		most int // before the wait, and what comes back while the test runs
	}{
		{"/epoch", []fields{nil}, 25},
		{"/code/rotate", []fields{nil}, 40},
		{"/code/off", []fields{nil}, 10}, // of the same measure
		{"/code", []fields{{"uses": "3"}}, 10},
		{"/members/linus/role", []fields{{"role": "moderator"}, {"role": "member"}}, 90},
		{"/members/nobody/remove", []fields{nil}, 10},
		{"/bans/linus/lift", []fields{nil}, 10},
		{"/history", []fields{{"history": "all"}, {"history": "since_join"}}, 10},
	} {
		tries := 0
		for refused := false; !refused; tries++ {
			if tries > deed.most {
				t.Fatalf("%s was done %d times", deed.path, tries)
			}
			a := ada.post(r.path(deed.path), deed.form[tries%len(deed.form)])
			if refused = a.status == http.StatusTooManyRequests; refused {
				if wait, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || wait < 1 {
					t.Errorf("%s: Retry-After: %q", deed.path, a.header.Get("Retry-After"))
				}
				a.says("too often")
			}
		}
	}
	ada.say(r, "Who waits with that can still talk")
	own := grace.createRoom("Boiler room")
	grace.post(own.path("/code/rotate"), nil).want(http.StatusSeeOther)
}
