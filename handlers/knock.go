package handlers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/labstack/echo/v4"

	"conclave/models"
	"conclave/views"
)

// admit lets somebody who has knocked in.
func (a *App) admit(c echo.Context) error {
	return a.answer(c, a.o.Store.Admit, views.KnockAdmittedNotice)
}

// decline sends somebody who has knocked away.
func (a *App) decline(c echo.Context) error {
	return a.answer(c, a.o.Store.Decline, views.KnockDeclinedNotice)
}

// answer gives an answer and leads the owner back to where the list stood, with what became of it.
func (a *App) answer(c echo.Context, give func(context.Context, models.Membership, string) (models.Profile, error), outcome views.Text) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	who, err := give(c.Request().Context(), membership(c), c.Param("username"))
	notice := outcome.With(views.Isolated(who.FullName))
	if fault, ok := faults(err); ok && models.KindOf(err) == models.Conflict {
		notice, err = fault[""], nil
	}
	if err != nil {
		return err
	}
	if field("from") == "settings" {
		return a.settled(c, notice)
	}
	return a.noted(c, notice, "/rooms/"+membership(c).Room.String())
}

// withdraw ends somebody's waiting.
func (a *App) withdraw(c echo.Context) error {
	if err := a.o.Store.Withdraw(c.Request().Context(), by(c), c.Param("knock")); err != nil {
		return err
	}
	return seeOther(c, "/rooms")
}

// lookAgain sends who waits to be let in, or the list of rooms, if the page shows it and shows
// something else.
func (s *stream) lookAgain() error {
	if s.seen == "" {
		return nil
	}
	var seen string
	var frame []byte
	var err error
	s.read(func() {
		if s.m.Room.Zero() {
			seen, frame, err = s.yourRooms()
		} else {
			seen, frame, err = s.waiting()
		}
	})
	if err != nil || frame == nil {
		return s.gone(err)
	}
	s.seen = seen
	return s.write(frame)
}

func (s *stream) waiting() (seen string, frame []byte, err error) {
	list, err := s.a.o.Store.Waiting(s.ctx, s.m)
	if seen = seenWaiting(list); err != nil || seen == s.seen {
		return seen, nil, err
	}
	frame, err = partials(views.KnocksPartial(s.m.Room.String(), waiting(list)))
	return seen, frame, err
}

func (s *stream) yourRooms() (seen string, frame []byte, err error) {
	list, err := s.a.o.Store.Unread(s.ctx, s.user)
	if err != nil {
		return "", nil, err
	}
	own, err := s.a.o.Store.OwnKnocks(s.ctx, s.user)
	rooms := make([]models.ID, len(list))
	for i, u := range list {
		rooms[i] = u.Room
	}
	if seen = seenRooms(rooms, own); err != nil || seen == s.seen {
		return seen, nil, err
	}
	var r views.Rooms
	if seen, err = s.a.yourRooms(s.ctx, s.user, &r); err != nil {
		return "", nil, err
	}
	frame, err = partials(views.YourRoomsPartial(r))
	return seen, frame, err
}

// seenWaiting is a short name for a list of people who wait, by which a page says what it shows.
func seenWaiting(list []models.Knock) string {
	parts := make([]string, len(list))
	for i, k := range list {
		parts[i] = fmt.Sprint(k.Who.ID, k.At.UnixMilli())
	}
	return short(parts)
}

// seenRooms is the same for a list of rooms, in whatever order.
func seenRooms(rooms []models.ID, own []models.OwnKnock) string {
	var parts []string
	for _, room := range rooms {
		parts = append(parts, room.String())
	}
	for _, k := range own {
		parts = append(parts, k.Name)
	}
	slices.Sort(parts)
	return short(parts)
}

func short(parts []string) string {
	sum := sha256.New()
	for _, p := range parts {
		sum.Write([]byte(p))
	}
	return hex.EncodeToString(sum.Sum(nil)[:8])
}
