package handlers

import (
	"errors"
	"math"

	"conclave/models"
	"conclave/models/feed"
	"conclave/views"
)

const (
	farBehind    = 200       // entries; further than this, one refresh is cheaper than the replay
	catchUpBytes = 128 << 10 // about how much of the log a stream holds while it catches up
)

// catchUp sends what the log holds after the cursor, stretch by stretch. A listener who is too far
// behind, or whose numbers belong to another log or to a time that is over, gets the newest page instead.
func (s *stream) catchUp() error {
	members, code := false, false // whether what is sent changes who is a member, or the room code
	for {
		var l stretch
		var err error
		s.read(func() { l, err = s.stretch() })
		switch {
		case err != nil:
			return s.gone(err)
		case l.far:
			return s.refresh()
		case len(l.bytes) > 0:
			if err := s.write(l.bytes); err != nil {
				return err
			}
		}
		s.cursor, members, code = l.last, members || l.members, code || l.code
		if l.end {
			break
		}
	}
	var err error
	if members {
		err = s.members()
	}
	if code && err == nil {
		err = s.code()
	}
	return err
}

// stretch is a piece of the log after a stream's cursor.
type stretch struct {
	bytes   []byte
	last    uint64 // the number that it reaches to
	end     bool   // which is that of the log
	far     bool   // the newest page should be sent instead
	members bool   // it changes who is a member
	code    bool   // and this the room code
}

// stretch reads and renders the next one, as far as the listener may see it. Of entries that are large
// it takes only some: otherwise listeners who do not read would hold megabytes each.
func (s *stream) stretch() (stretch, error) {
	tail, err := s.a.o.Store.After(s.ctx, s.m, s.cursor)
	if err != nil {
		return stretch{}, err
	}
	s.m = tail.Member
	l := stretch{last: s.cursor, far: s.cursor > tail.Head || tail.Head-s.cursor > farBehind || s.cursor+1 < s.m.From || s.log != "" && s.log != tail.Log}
	for _, e := range tail.Entries {
		if l.far || len(l.bytes) >= catchUpBytes {
			break
		}
		frame := feed.Bare(e.N)
		if s.m.Shows(e) {
			frame = s.a.entryFrame(s.ctx, e)
		}
		if frame == nil {
			return l, errors.New("an entry could not be rendered")
		}
		l.bytes, l.last = append(l.bytes, frame...), e.N
		l.members, l.code = l.members || e.Op.OfMember(), l.code || e.Op == models.OpCode
	}
	l.end = l.last >= tail.Head || len(tail.Entries) == 0
	return l, nil
}

// readersAtOnce is how many streams read and render at the same time. When thousands come back after
// a restart, a login must not wait behind all of them.
const readersAtOnce = 4

// read runs f, which must not write to the listener, when it is this stream's turn.
func (s *stream) read(f func()) {
	s.a.reading <- struct{}{}
	defer func() { <-s.a.reading }()
	f()
}

// refresh replaces the whole list by the newest page.
func (s *stream) refresh() error {
	p, err := s.a.o.Store.Older(s.ctx, s.m, math.MaxInt64)
	if err != nil {
		return s.gone(err)
	}
	html, err := rendered(s.ctx, views.RefreshPartial(history(s.m.Room, p)))
	if err != nil {
		return err
	}
	s.cursor, s.log = p.Head, ""
	if err := s.write(event(p.Head, html)); err != nil {
		return err
	}
	return s.members()
}

// code says that the room code is another one.
func (s *stream) code() error {
	frame, err := partials(views.CodePartial(s.m.Room.String()))
	if err != nil {
		return err
	}
	return s.write(frame)
}

func (s *stream) members() error {
	frame, err := s.a.membersFrame(s.a.o.Store.Members(s.ctx, s.m))
	if err != nil {
		return s.gone(err)
	}
	return s.write(frame)
}
