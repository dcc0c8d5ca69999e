package demo

import (
	"context"
	"fmt"
	"math"

	"conclave/models"
)

// stage is where the story is played.
type stage struct {
	store  *models.Store
	people map[string]models.By // by user name
	rooms  map[string]*room     // by file name
}

// room is one room of the story so far.
type room struct {
	id   models.ID
	code string
	last map[string]uint64 // everybody's latest message
	in   map[string]bool   // who is a member; false: and has stopped reading
}

// happen lets one event happen.
func (s *stage) happen(ctx context.Context, e event) error {
	by, known := s.people[e.who]
	if !known {
		return fmt.Errorf("nobody is called so")
	}
	r := s.rooms[e.room]
	switch {
	case e.deed == "create":
		return s.create(ctx, by, e)
	case r == nil:
		return fmt.Errorf("nobody has created the room yet")
	case e.deed == "join":
		r.in[e.who] = true
		_, err := s.store.Join(ctx, by, r.code)
		return err
	}
	m, err := s.store.Member(ctx, by, r.id.String())
	if err != nil {
		return err
	}
	switch e.deed {
	case "":
		r.last[e.who], err = s.store.Post(ctx, m, e.text, "")
	case "edit":
		err = s.store.Edit(ctx, m, r.last[e.who], e.text)
	case "remove":
		err = s.store.Remove(ctx, m, r.last[e.who])
	case "moderator":
		err = s.store.SetRole(ctx, m, s.people[e.text].User, models.Moderator)
	case "leave":
		delete(r.in, e.who)
		err = s.store.Leave(ctx, m)
	case "read": // and nothing that comes later
		r.in[e.who] = false
		err = s.store.MarkRead(ctx, m, math.MaxInt64)
	default:
		err = fmt.Errorf("there is no such deed")
	}
	return err
}

func (s *stage) create(ctx context.Context, by models.By, e event) error {
	id, err := s.store.CreateRoom(ctx, by, e.text)
	if err != nil {
		return err
	}
	m, err := s.store.Member(ctx, by, id.String())
	if err != nil {
		return err
	}
	view, err := s.store.View(ctx, m)
	s.rooms[e.room] = &room{id, view.Code, map[string]uint64{}, map[string]bool{e.who: true}}
	return err
}

// catchUp lets everybody read everything, but for those who have stopped reading somewhere.
func (s *stage) catchUp(ctx context.Context) error {
	for _, r := range s.rooms {
		for who, reads := range r.in {
			if !reads {
				continue
			}
			m, err := s.store.Member(ctx, s.people[who], r.id.String())
			if err == nil {
				err = s.store.MarkRead(ctx, m, math.MaxInt64)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}
