package handlers_test

import (
	"errors"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"
)

func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	for range 50 {
		l, err := net.Listen("tcp", address)
		if err == nil {
			return l
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("%s stays in use", address)
	return nil
}

func TestTwoPeopleMeetByTheCodeAndTalk(t *testing.T) {
	o := openOffice(t)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	r := ada.createRoom("Engine room")
	listening := ada.listen(r)
	grace.join(r)
	listening.next("Grace joining", func(e event) bool { return e.id != "" && e.bodies() == nil && e.data != "" })
	hers := grace.listen(r)
	grace.say(r, "Good morning, Ada")
	ada.say(r, "Good morning!\nHow is the compiler?")
	for _, l := range []*listener{listening, hers} {
		l.message("Good morning, Ada")
		l.message("Good morning!\nHow is the compiler?")
	}
	page := grace.get(r.path("")).want(200)
	if got, want := page.bodies(), []string{"Good morning, Ada", "Good morning!\nHow is the compiler?"}; !slices.Equal(got, want) {
		t.Errorf("the page shows %q, want %q", got, want)
	}
	page.contains("Engine room").contains("Ada Lovelace").contains("Grace Hopper")
	o.restart()
	if got := grace.get(r.path("")).want(200).bodies(); len(got) != 2 {
		t.Errorf("after a restart the page shows %q", got)
	}
}
