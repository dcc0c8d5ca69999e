// Package demo fills a fresh data folder with an example: a week in the rooms of a small repair co-op.
// Its people, and all that they say, are invented.
//
// Everything is done through the verbs that a server uses for its people (they register, confirm a
// code, open rooms, join with a code, write), only under a clock that runs through the week. So the
// folder is one like any other: its history verifies, and its passwords are hashed in earnest. They
// and all other secrets are random, other ones each time, and stand nowhere but in what Seed returns.
package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pquerna/otp/totp"

	"conclave/models"
)

// Person is one of the co-op, with what is needed to log in.
type Person struct {
	ID                           models.ID
	Username, FullName, Password string
	Secret                       string // of the authenticator, base 32
}

// Code returns the six digits that the person's authenticator shows at a time.
func (p Person) Code(at time.Time) (string, error) { return totp.GenerateCode(p.Secret, at) }

// Seed makes the data folder that the options name, which must be empty or missing, plays the week up
// to now in it, and closes it. Working hours are those of now's zone. It returns everybody; the first
// administers the server, and has, like the second, some rooms with unread messages. When ctx ends it
// gives up and leaves half a folder behind.
func Seed(ctx context.Context, o models.Options, now time.Time) ([]Person, error) {
	events, err := story(now)
	if err != nil {
		return nil, err
	}
	c := &clock{}
	c.turn(events[0].at.Add(-time.Hour))
	o.Now = c.now
	store, err := models.Open(o)
	if err != nil {
		return nil, err
	}
	people, err := play(ctx, store, c, events)
	return people, errors.Join(err, store.Close())
}

// clock is the store's idea of the time, which other goroutines of it ask for as well.
type clock struct{ ms atomic.Int64 }

func (c *clock) now() time.Time    { return time.UnixMilli(c.ms.Load()) }
func (c *clock) turn(at time.Time) { c.ms.Store(at.UnixMilli()) }

func play(ctx context.Context, store *models.Store, c *clock, events []event) ([]Person, error) {
	people, err := register(ctx, store, c)
	if err != nil {
		return nil, err
	}
	s := &stage{store: store, people: map[string]models.By{}, rooms: map[string]*room{}}
	for i, p := range people {
		s.people[p.Username] = models.By{User: p.ID, Address: helpers[i].address}
	}
	for _, e := range events {
		c.turn(e.at)
		if err := s.happen(ctx, e); err != nil {
			return nil, fmt.Errorf("%s, %s %s%s: %w", e.room, e.who, e.deed, e.text, err)
		}
	}
	return people, s.catchUp(ctx)
}

// register makes everybody's account. Passwords take a tenth of a second each, so the store is given
// all of them at once; it works on two at a time.
func register(ctx context.Context, store *models.Store, c *clock) ([]Person, error) {
	setup, err := store.SetupToken(ctx)
	if err != nil {
		return nil, err
	}
	people, errs := make([]Person, len(helpers)), make([]error, len(helpers))
	var work sync.WaitGroup
	for i, h := range helpers {
		token := ""
		if i == 0 {
			token = setup
		}
		work.Go(func() { people[i], errs[i] = enrol(ctx, store, c, h, token) })
	}
	work.Wait()
	return people, errors.Join(errs...)
}

// enrol takes one person through both steps of the registration.
func enrol(ctx context.Context, store *models.Store, c *clock, h helper, token string) (Person, error) {
	p := Person{Username: h.username, FullName: h.fullName, Password: newPassword()}
	var err error
	p.ID, err = store.Register(ctx, models.Registration{
		Username: p.Username, FullName: p.FullName, Email: p.Username + "@example.org", Password: p.Password, Token: token,
	})
	if err != nil {
		return p, err
	}
	pending, err := store.Pending(ctx, p.ID)
	if err != nil {
		return p, err
	}
	p.Secret = pending.Secret
	code, err := p.Code(c.now())
	if err != nil {
		return p, err
	}
	_, _, err = store.Confirm(ctx, models.By{Address: h.address}, p.ID, code)
	return p, err
}

// newPassword returns sixteen random letters and digits (76 bits) in groups, easily typed on a phone.
// Without vowels there are no words in it.
func newPassword() string {
	const letters = "bcdfghjkmnpqrstvwxz23456789"
	password := make([]byte, 0, 19)
	for len(password) < cap(password) {
		if len(password)%5 == 4 {
			password = append(password, '-')
		}
		var b [1]byte
		rand.Read(b[:]) // never fails
		if int(b[0]) < 256/len(letters)*len(letters) {
			password = append(password, letters[int(b[0])%len(letters)])
		}
	}
	return string(password)
}
