package handlers

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/a-h/templ"

	"conclave/models"
	"conclave/views"
)

// What the pages show of what the models know, where more than one of them shows it.

func enrolForm(action, username, secret string) (views.Enrol, error) {
	address, err := models.OTPURL(secret, username)
	if err != nil {
		return views.Enrol{}, err
	}
	code, err := qrCode(address)
	return views.Enrol{Action: action, Username: username, Secret: secret, QR: code}, err
}

func person(p models.Profile) views.Person {
	return views.Person{Username: p.Username, FullName: p.FullName}
}

// people lists members; here says who has the room open, nil for nobody.
func people(members []models.Person, here map[[16]byte]bool) []views.Person {
	list := make([]views.Person, len(members))
	for i, m := range members {
		list[i] = person(m.Profile)
		list[i].Role = string(m.Role)
		list[i].Here = here[m.ID]
		list[i].Since = m.Since
	}
	return list
}

const cardFaces = 5

func card(c models.Card) views.RoomCard {
	faces := c.People[:min(len(c.People), cardFaces)]
	return views.RoomCard{ID: c.Room.String(), Name: c.Name, Members: people(faces, nil), Count: len(c.People), Last: c.Last, Broken: c.Broken, Unread: c.Unread}
}

// otherRooms lists a person's rooms for the page of one of them.
func otherRooms(r models.Recent, here models.ID) views.Switcher {
	w := views.Switcher{Here: here.String(), More: r.More, List: make([]views.RoomCard, len(r.Rooms))}
	for i, one := range r.Rooms {
		w.List[i] = views.RoomCard{ID: one.Room.String(), Name: one.Name, Unread: one.Unread}
	}
	return w
}

func unreads(list []models.Unread, all bool) views.Unreads {
	u := views.Unreads{All: all, Rooms: make([]views.Unread, len(list))}
	for i, r := range list {
		u.Rooms[i] = views.Unread{RoomID: r.Room.String(), Count: r.Count, Mark: r.Mark}
	}
	return u
}

// history lists a page, each line rendered once for all.
func history(room models.ID, p models.Page) views.History {
	h := views.History{RoomID: room.String(), Before: p.Before, Since: p.From > 0, Entries: make([]views.Entry, len(p.Lines))}
	for i, l := range p.Lines {
		ready, err := models.Rendered(p.Renderings[i], "", func() (prepared, error) { return prepare(views.EntryPart(entry(room, l))) })
		h.Entries[i] = views.Entry{Ready: ready}
		if err != nil {
			h.Entries[i] = entry(room, l) // the page will say what is wrong with it
		}
	}
	return h
}

// invitation draws the address that a room's members hand to others.
func invitation(v models.View, url string) (templ.Component, error) {
	return models.Rendered(v.Invitation, url, func() (prepared, error) {
		code, err := qrCode(url)
		if err != nil {
			return prepared{}, err
		}
		return prepare(views.JoinQRPart(code))
	})
}

// terms are what a room's code lets in at a moment.
func terms(v models.View, now time.Time) views.Terms {
	t := v.Terms
	return views.Terms{
		Off: t.Off, Expires: t.Expires, Expired: t.Expired(now), Uses: t.Uses, Joined: v.Joined, Knock: t.Knock,
		Damaged: v.Code == "" && !t.Off,
	}
}

func waiting(list []models.Knock) []views.Waiting {
	people := make([]views.Waiting, len(list))
	for i, k := range list {
		people[i] = views.Waiting{Who: person(k.Who), At: k.At}
	}
	return people
}

// firstNew is the first message after the mark that somebody else wrote, 0 for none.
func firstNew(p models.Page, mark uint64, me models.ID) uint64 {
	for _, l := range p.Lines {
		if l.N > mark && l.Op == models.OpPost && !l.Removed && !l.Damaged && l.Who.ID != me {
			return l.N
		}
	}
	return 0
}

// neverMet reports whether a page is all of a room, and all of it is by this person.
func neverMet(p models.Page, me models.ID) bool {
	return p.Before == 0 && !slices.ContainsFunc(p.Lines, func(l models.Line) bool { return l.Who.ID != me })
}

var entryKinds = map[models.Op]views.EntryKind{
	models.OpCreate: views.Created, models.OpJoin: views.Joined, models.OpLeave: views.Left, models.OpRemove: views.Expelled, models.OpBan: views.Banned, models.OpPost: views.Message, models.OpEdit: views.Message, models.OpDelete: views.Removed,
}

func entry(room models.ID, l models.Line) views.Entry {
	switch {
	case l.Missing > 0:
		return views.Entry{N: l.N, Kind: views.Gap, Missing: l.Missing}
	case l.Damaged:
		return views.Entry{N: l.N, Kind: views.Damaged}
	}
	e := views.Entry{N: l.N, Kind: entryKinds[l.Op], Who: person(l.Who), At: l.At, Body: spans(l.Body), Edited: l.Edited}
	if e.Kind == views.Message {
		e.RoomID = room.String()
	}
	if l.Removed {
		e.Kind = views.Removed
	}
	return e
}

var link = regexp.MustCompile(`(?i)\bhttps?://[^\s<>"'` + "`" + `\x{200b}\x{2028}\x{2029}]+`)

// spans cuts a text into plain pieces and links. Only http and https become links, and only
// what parses as such an address with a host.
func spans(text string) []views.Span {
	if text != "" && !strings.Contains(text, "://") {
		return []views.Span{{Text: text}}
	}
	var list []views.Span
	rest := 0
	for _, at := range link.FindAllStringIndex(text, -1) {
		address := trimLink(text[at[0]:at[1]])
		u, err := url.Parse(address)
		if err != nil || u.Host == "" || u.User != nil { // user@host is how a false address looks like a true one
			continue
		}
		if at[0] > rest {
			list = append(list, views.Span{Text: text[rest:at[0]]})
		}
		list = append(list, views.Span{Text: address, Href: u.String()})
		rest = at[0] + len(address)
	}
	if rest < len(text) {
		list = append(list, views.Span{Text: text[rest:]})
	}
	return list
}

// trimLink leaves out punctuation that ends the sentence rather than the address.
func trimLink(address string) string {
	for {
		trimmed := strings.TrimRight(address, ".,;:!?*_~…")
		if strings.HasSuffix(trimmed, ")") && strings.Count(trimmed, ")") > strings.Count(trimmed, "(") {
			trimmed = strings.TrimSuffix(trimmed, ")")
		}
		if trimmed == address {
			return address
		}
		address = trimmed
	}
}
