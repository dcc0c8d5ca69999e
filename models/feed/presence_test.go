package feed

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// grown makes a hub that is older than the time in which all come back after a start.
func grown(t testing.TB) *Hub {
	h := open(t, Options{})
	time.Sleep(time.Minute)
	return h
}

func TestWhoComesAndGoesIsToldOnceItIsSure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := grown(t)
		p := follow(t, h, garden, ada)
		time.Sleep(time.Hour)
		p.hears(t, "100ms: here A +A -")
		b := follow(t, h, garden, ben)
		time.Sleep(time.Hour)
		p.hears(t, "100ms: here AB +B -")
		b.Close()
		time.Sleep(time.Hour)
		p.hears(t, "10s: here A + -B")
	})
}

func TestWhoIsAwayForLessThanTenSecondsHasNotLeft(t *testing.T) {
	for name, c := range map[string]struct {
		away time.Duration
		want string
	}{
		"a reload":       {50 * time.Millisecond, ""},
		"nine seconds":   {9 * time.Second, ""},
		"eleven seconds": {11 * time.Second, "10s: here A + -B | 11.1s: here AB +B -"},
		"again at once":  {10*time.Second + 200*time.Millisecond, "10s: here A + -B | 11s: here AB +B -"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := grown(t)
				p, b := follow(t, h, garden, ada), listen(t, h, garden, ben)
				quiet(p)
				b.Close()
				if !h.Present(garden)[ben] {
					t.Error("not here any more at once")
				}
				time.Sleep(c.away)
				listen(t, h, garden, ben)
				time.Sleep(time.Minute)
				p.hears(t, c.want)
			})
		})
	}
}

func TestEachAbsenceHasAGraceOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := grown(t)
		p := follow(t, h, garden, ada)
		var others []*Subscription
		for i := range byte(6) {
			others = append(others, listen(t, h, garden, ID{'B' + i}))
		}
		quiet(p)
		for _, s := range slices.Backward(others) {
			s.Close()
			time.Sleep(1500 * time.Millisecond)
		}
		time.Sleep(20 * time.Second)
		p.hears(t, "10s: here ABCDEF + -G | 11.5s: here ABCDE + -F | 13s: here ABCD + -E | 14.5s: here ABC + -D | 16s: here AB + -C | 17.5s: here A + -B")
	})
}

func TestTheGraceBeginsAnewWithEachAbsence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := grown(t)
		p, b := follow(t, h, garden, ada), listen(t, h, garden, ben)
		quiet(p)
		for range 20 {
			b.Close()
			time.Sleep(7 * time.Second)
			b = listen(t, h, garden, ben)
			time.Sleep(time.Second)
		}
		p.hears(t, "")
		b.Close()
		time.Sleep(time.Minute)
		p.hears(t, "10s: here A + -B")
	})
}

func TestSeveralTabsAreOnePerson(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := grown(t)
		p, b := follow(t, h, garden, ada), listen(t, h, garden, ben)
		quiet(p)
		second, third := listen(t, h, garden, ben), listen(t, h, garden, ben)
		time.Sleep(time.Minute)
		b.Close()
		b.Close()
		second.Close()
		time.Sleep(time.Minute)
		p.hears(t, "")
		third.Close()
		time.Sleep(time.Minute)
		p.hears(t, "10s: here A + -B")
	})
}

func TestAThousandArrivalsInASecondAreAtMostTwoUpdates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, Options{})
		time.Sleep(time.Minute)
		p := follow(t, h, garden, ada)
		var all []*Subscription
		for i := range 999 {
			all = append(all, listen(t, h, garden, ID{'B', byte(i), byte(i >> 8)}))
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Minute)
		all999 := strings.Repeat("B", 999)
		if got := strings.Split(p.heard(), " | "); len(got) != 2 || !strings.HasPrefix(got[1], "1.1s: here A"+all999+" +B") {
			t.Errorf("%d updates", len(got))
		}
		if n := len(h.Present(garden)); n != 1000 {
			t.Errorf("%d present", n)
		}
		for _, s := range all {
			s.Close()
		}
		time.Sleep(time.Minute)
		p.hears(t, "10s: here A + -"+all999)
	})
}

func TestUpdatesAreASecondApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, Options{Grace: time.Millisecond})
		p := follow(t, h, garden, ada)
		for range 100 {
			b := listen(t, h, garden, ben)
			time.Sleep(130 * time.Millisecond)
			b.Close()
			time.Sleep(70 * time.Millisecond)
		}
		before := -time.Hour
		blocks, times := p.came()
		for i, at := range times {
			if blocks[i].Kind == KindPresence {
				if at-before < time.Second {
					t.Errorf("updates at %v and %v", before, at)
				}
				before = at
			}
		}
	})
}

func TestWhoIsRevokedIsGoneAtOnce(t *testing.T) {
	for name, revoke := range map[string]func(*Hub){
		"as a member": func(h *Hub) { h.EndMember(garden, ben) },
		"the session": func(h *Hub) { h.EndSession([32]byte(append(ben[:], ben[:]...))) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := grown(t)
				p := follow(t, h, garden, ada)
				listen(t, h, garden, ben)
				listen(t, h, garden, ben)
				quiet(p)
				revoke(h)
				time.Sleep(time.Minute)
				p.hears(t, "100ms: here A + -B")
			})
		})
	}
}

func TestARemovedMemberWhoWasJustAwayIsGoneAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := grown(t)
		p, b := follow(t, h, garden, ada), listen(t, h, garden, ben)
		quiet(p)
		b.Close()
		time.Sleep(time.Second)
		h.EndMember(garden, ben)
		time.Sleep(time.Minute)
		p.hears(t, "1.1s: here A + -B")
	})
}

func TestAfterAStartNobodyComesOrGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, Options{})
		p := follow(t, h, garden, ada)
		time.Sleep(5 * time.Second)
		b := listen(t, h, garden, ben)
		time.Sleep(2 * time.Second)
		h.EndMember(garden, ben)
		time.Sleep(3400 * time.Millisecond)
		listen(t, h, garden, cleo)
		time.Sleep(500 * time.Millisecond) // it is 10.9 s old
		p.hears(t, "100ms: here A + - | 5.1s: here AB + - | 7.1s: here A + - | 10.5s: here AC + -")
		if b.Reason() != Revoked {
			t.Error("not revoked")
		}
		time.Sleep(time.Second)
		listen(t, h, garden, ben)
		time.Sleep(time.Second)
		p.hears(t, "1.1s: here ABC +B -")
	})
}

func TestAStreamThatBeginsLearnsWhoIsHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := grown(t)
		if h.Presence(garden, ada) != nil {
			t.Error("somebody is where nobody is")
		}
		listen(t, h, garden, ada)
		if h.Presence(garden, ada) != nil || !h.Present(garden)[ada] {
			t.Error("told before it was told to all")
		}
		time.Sleep(time.Minute)
		listen(t, h, garden, ben)
		if said := h.Presence(garden, ada); string(said) != "here A + - " {
			t.Errorf("ada's second tab: %q", said)
		}
		if said := h.Presence(garden, ben); said != nil {
			t.Errorf("ben has just come: %q", said)
		}
		if p := h.Present(garden); len(p) != 2 || len(h.Present(quay)) != 0 {
			t.Errorf("present: %v", p)
		}
	})
}

func TestATopicThatEverybodyHasLeftIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := grown(t)
		a, b := listen(t, h, garden, ada), listen(t, h, garden, ben)
		h.Typing(garden, ada)
		time.Sleep(time.Minute)
		topic := h.topics[garden] // nobody writes the table now
		a.Close()
		b.Close()
		h.Typing(garden, ada)
		h.Publish(entry(garden, 1))
		time.Sleep(9 * time.Second)
		if len(h.Present(garden)) != 2 {
			t.Error("forgotten too early")
		}
		time.Sleep(2 * time.Second)
		settled(t, h)
		if topic.timer != nil || topic.pumping || len(topic.waiting) != 0 || len(topic.here) != 0 {
			t.Error("something is still going on")
		}
	})
}

func TestATopicThatWasForgottenWorksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := grown(t)
		for range 5 {
			p := follow(t, h, garden, ada)
			h.Typing(garden, ada)
			time.Sleep(2 * time.Second)
			p.hears(t, "0s: A types | 100ms: here A +A -")
			h.Publish(entry(garden, 1))
			p.hears(t, "0s: 1")
			h.EndTopic(garden)
			time.Sleep(200 * time.Millisecond)
			settled(t, h)
			synctest.Wait()
		}
	})
}

func TestATimerOfATopicThatWasForgottenDoesNotTouchTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := grown(t)
		a := listen(t, h, garden, ada)
		time.Sleep(time.Second)
		h.Typing(garden, ada)
		a.Close() // to be looked at in ten seconds
		time.Sleep(time.Second)
		h.Typing(garden, ada)
		synctest.Wait()
		h.Typing(garden, ada)
		h.EndMember(garden, ada) // to be looked at now, and forgotten
		time.Sleep(500 * time.Millisecond)
		settled(t, h)
		p := follow(t, h, garden, ben)
		time.Sleep(time.Minute)
		p.hears(t, "100ms: here B +B -")
		h.Publish(entry(garden, 1))
		p.hears(t, "0s: 1")
	})
}

func TestWhoTypesIsNamedOnceInANoticeAndNoticesAreASecondApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := grown(t)
		p := follow(t, h, garden, ada)
		listen(t, h, garden, ben)
		listen(t, h, garden, cleo)
		quiet(p)
		h.Typing(garden, ben)
		h.Typing(garden, ben)
		time.Sleep(300 * time.Millisecond)
		h.Typing(garden, cleo)
		h.Typing(garden, cleo)
		time.Sleep(7 * time.Second)
		p.hears(t, "0s: B types | 1s: C types")

		h.Typing(garden, ben)
		time.Sleep(100 * time.Millisecond)
		h.Typing(garden, ben)
		h.Typing(garden, cleo)
		time.Sleep(7 * time.Second)
		p.hears(t, "0s: B types | 1s: BC types")
		h.Typing(garden, ada)
		synctest.Wait()
		h.mu.Lock()
		defer h.mu.Unlock()
		if typing := h.topics[garden].typing; len(typing) != 1 {
			t.Errorf("%d count as typing", len(typing))
		}
	})
}

func TestAPostSaysThatItsAuthorIsNotTypingAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := grown(t)
		p := follow(t, h, garden, ada)
		listen(t, h, garden, ben)
		listen(t, h, garden, cleo)
		quiet(p)
		h.Typing(garden, ada)
		time.Sleep(100 * time.Millisecond)
		h.Typing(garden, ben)
		h.Typing(garden, cleo)
		time.Sleep(100 * time.Millisecond)
		h.Publish(&Event{Topic: garden, Kind: KindEntry, N: 1, Author: ben})
		time.Sleep(7 * time.Second)
		p.hears(t, "0s: A types | 200ms: 1 | 1s: C types")

		h.Typing(garden, ada)
		time.Sleep(100 * time.Millisecond)
		h.Typing(garden, ben)
		h.Publish(&Event{Topic: garden, Kind: KindEntry, N: 2, Author: ben})
		time.Sleep(7 * time.Second)
		p.hears(t, "0s: A types | 100ms: 2")
	})
}

func TestOnlyWhoIsHereTypes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := grown(t)
		p := follow(t, h, garden, ada)
		listen(t, h, quay, ben)
		quiet(p)
		h.Typing(garden, ben)
		h.Typing(ID{9}, ben)
		time.Sleep(7 * time.Second)
		p.hears(t, "")
		if len(h.topics[garden].typing) != 0 || len(h.topics) != 2 {
			t.Error("something is kept of it")
		}
	})
}

func TestARemovedMemberIsNotNamedAsTyping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := grown(t)
		p := follow(t, h, garden, ada)
		listen(t, h, garden, ben)
		quiet(p)
		h.Typing(garden, ada)
		time.Sleep(100 * time.Millisecond)
		h.Typing(garden, ben)
		time.Sleep(100 * time.Millisecond)
		h.EndMember(garden, ben)
		time.Sleep(7 * time.Second)
		p.hears(t, "0s: A types | 300ms: here A + -B")
	})
}
