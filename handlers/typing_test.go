package handlers_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// writers are the names in an event about who is writing.
func (e event) writers() string {
	if !strings.Contains(e.data, `hx-target="#typists"`) {
		return ""
	}
	return strings.Join(strings.Fields(textOf(e.data)), " ")
}

// bothHere fits an event that says that Ada and Grace are here: who is not is not seen typing.
func bothHere(e event) bool {
	return strings.Contains(e.data, `data-here="ada grace"`) || strings.Contains(e.data, `data-here="grace ada"`)
}

// The throttle is for the others' sake; who types too fast must not notice it.
func TestTypingIsToldOnceASecondAndNeverAnError(t *testing.T) {
	t.Parallel()
	o := openOffice(t, func(s *settings) { s.hub.Moment = time.Millisecond }) // so that each notice would be told
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	grace.join(r)
	grace.listen(r)
	l := ada.listen(r)
	l.next("who is here", bothHere)
	start := time.Now()
	for range 30 {
		for _, headers := range [][]string{nil, htmx} {
			if a := grace.post(r.path("/typing"), nil, headers...).want(http.StatusNoContent); a.body != "" {
				t.Errorf("typing answers %q", a.body)
			}
		}
	}
	limit := 1 + int(time.Since(start)/time.Second)
	l.next("that Grace is writing", func(e event) bool { return e.writers() == "Grace Hopper" })
	o.post(grace, r, "Good morning")
	told := 1
	l.next("her message", func(e event) bool {
		if e.writers() != "" {
			told++
		}
		return len(e.bodies()) == 1
	})
	if told > limit {
		t.Errorf("in %v, typing was told %d times", time.Since(start), told)
	}
}

func TestWhoDoesNotWantItIsNotSeenTyping(t *testing.T) {
	t.Parallel()
	o := openOffice(t, quick)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	grace.join(r)
	chosen := func(want bool) {
		t.Helper()
		if _, is := attrOf(grace.get(r.path("")).want(200).id("shows-typing"), "checked"); is != want {
			t.Errorf("the box is checked: %v, want %v", is, want)
		}
	}
	chosen(true)
	grace.post(r.path("/typing/show"), fields{"show": ""}).wantRedirect(r.path(""))
	chosen(false)
	grace.listen(r)
	l := ada.listen(r)
	l.next("who is here", bothHere)
	grace.post(r.path("/typing"), nil, htmx...).want(http.StatusNoContent)
	ada.post(r.path("/typing"), nil, htmx...).want(http.StatusNoContent)
	l.next("that somebody is writing", func(e event) bool {
		if strings.Contains(e.writers(), "Grace") {
			t.Error("Grace is seen typing")
		}
		return e.writers() == "Ada Lovelace"
	})
	grace.post(r.path("/typing/show"), fields{"show": "on"}, htmx...).want(http.StatusNoContent)
	chosen(true)
	grace.post(r.path("/typing"), nil, htmx...).want(http.StatusNoContent)
	l.next("that Grace is writing", func(e event) bool { return e.writers() == "Grace Hopper" })
}

func attrOf(n *nodeT, name string) (string, bool) {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val, true
		}
	}
	return "", false
}
