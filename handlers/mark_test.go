package handlers_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// reads marks everything in a room as read.
func (p *person) reads(r room) {
	p.o.t.Helper()
	p.post(r.path("/read"), fields{"n": "9223372036854775807"}).wantRedirect(r.path(""))
}

// unread is what the list of rooms says of a room.
func (p *person) unread(r room) string {
	p.o.t.Helper()
	for _, n := range p.get("/rooms").want(200).class("unread") {
		if attr(n, "data-room") == r.id {
			return attr(n, "data-count")
		}
	}
	p.o.t.Fatal("the room is not in the list")
	return ""
}

func (p *person) wantUnread(r room, want string) {
	p.o.t.Helper()
	if got := p.unread(r); got != want {
		p.o.t.Errorf("%s has %s unread, want %s", p.username, got, want)
	}
}

func TestWhatIsUnreadIsCountedUntilItIsRead(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r, other := ada.createRoom("Engine room"), ada.createRoom("Another room")
	ada.say(r, "Before Grace came")
	grace.join(r)
	grace.join(other)
	grace.wantUnread(r, "0")
	first := o.post(ada, r, "one")
	last := o.post(ada, r, "two")
	o.post(ada, other, "three")
	grace.wantUnread(r, "2")
	grace.wantUnread(other, "1")
	ada.wantUnread(r, "0")

	// Without JavaScript the room leads to what is new, and a button says that it was read.
	grace.get(r.path("")).want(200).contains(fmt.Sprintf(`href="#m-%d"><local-number>2</local-number> new: to the first`, first)).
		contains(fmt.Sprintf(`action="%s"><input type="hidden" name="n" value="%d">`, r.path("/read"), last))
	grace.wantUnread(r, "2") // looking at a page changes nothing by itself
	grace.post(r.path("/read"), fields{"n": fmt.Sprint(first)}).wantRedirect(r.path(""))
	grace.wantUnread(r, "1")
	grace.post(r.path("/read"), fields{"n": fmt.Sprint(last)}, htmx...).want(http.StatusNoContent)
	grace.wantUnread(r, "0")
	grace.post(r.path("/read"), fields{"n": "1"}, htmx...).want(http.StatusNoContent) // never back
	grace.wantUnread(r, "0")
	grace.wantUnread(other, "1")
	if page := grace.get(r.path("")).want(200).body; strings.Contains(page, "to the first") || strings.Contains(page, "data-new") {
		t.Error("a room that was read has something new")
	}
	// on whatever device
	hers := grace.login()
	o.post(ada, r, "four")
	hers.wantUnread(r, "1")
	grace.reads(r)
	hers.wantUnread(r, "0")
}

func TestOnlyAMemberMarksAsReadAndOnlyFromOurPages(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace, zoe := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper"), o.register("zoe", "Zoe Washburne")
	r := ada.createRoom("Engine room")
	grace.join(r)
	o.post(ada, r, "news")
	for _, path := range []string{"/read", "/typing", "/typing/show"} {
		unknown := "/rooms/" + strings.Repeat("0", 32) + path
		for _, headers := range [][]string{nil, htmx} {
			if a, b := zoe.post(r.path(path), fields{"n": "1"}, headers...).want(404), zoe.post(unknown, fields{"n": "1"}, headers...).want(404); len(a.body) != len(b.body) {
				t.Errorf("%s tells a stranger that the room exists", path)
			}
		}
		o.visitor().post(r.path(path), fields{"n": "1"}, htmx...).want(401)
		grace.post(r.path(path), fields{"n": "9"}, "Origin", "https://evil.example").want(403)
		grace.post(r.path(path), fields{"n": "9"}, "Sec-Fetch-Site", "cross-site").want(403)
		grace.post(r.path(path), fields{"n": "9"}, "Origin", "-").want(403)
		grace.get(r.path(path)).want(404)
	}
	for _, n := range []string{"", "-1", "x", "1e3", "9223372036854775808", " 5", "5 ", "+5", "0x5", "5\x00"} {
		grace.post(r.path("/read"), fields{"n": n}, htmx...).want(422)
	}
	grace.wantUnread(r, "1")
}

func TestMarkingAsReadIsThrottled(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	for range 20 {
		ada.post(r.path("/read"), fields{"n": "1"}, htmx...).want(http.StatusNoContent)
	}
	refused := 0
	for range 20 {
		if a := ada.post(r.path("/read"), fields{"n": "1"}, htmx...); a.status == http.StatusTooManyRequests && a.header.Get("Retry-After") != "" {
			refused++
		}
	}
	if refused < 10 {
		t.Errorf("of 20 in a row, %d were refused", refused)
	}
}
