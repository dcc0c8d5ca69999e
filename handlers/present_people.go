package handlers

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"conclave/models"
	"conclave/views"
)

// This file turns accounts and invitations into what the administration's pages show.

const peoplePerPage = 50

// peopleList is one page of those whose names hold what was asked for.
func peopleList(accounts []models.Account, query string, page int) views.People {
	query = strings.TrimSpace(query)
	wanted := strings.ToLower(strings.TrimPrefix(query, "@"))
	found := slices.DeleteFunc(accounts, func(a models.Account) bool {
		return !strings.Contains(a.Username, wanted) && !strings.Contains(strings.ToLower(a.FullName), wanted)
	})
	last := max(1, (len(found)+peoplePerPage-1)/peoplePerPage)
	page = min(max(page, 1), last)
	p := views.People{Query: query, Count: len(found), Page: page, Pages: last}
	for _, a := range found[(page-1)*peoplePerPage : min(page*peoplePerPage, len(found))] {
		p.List = append(p.List, accountRow(a))
	}
	link := func(page int) string {
		return "/admin/people?" + url.Values{"q": {query}, "page": {strconv.Itoa(page)}}.Encode()
	}
	if page > 1 {
		p.Previous = link(page - 1)
	}
	if page < last {
		p.Next = link(page + 1)
	}
	return p
}

func accountRow(a models.Account) views.Account {
	return views.Account{
		ID: a.ID.String(), Person: person(a.Profile), Email: a.Email, Admin: a.Admin, Damaged: a.Damaged,
		Created: a.Created, LastLogin: a.LastLogin, Disabled: a.Disabled, Sessions: a.Sessions, Rooms: a.Rooms,
	}
}

func (a *App) accountView(c echo.Context, account models.Account) views.Account {
	v := accountRow(account)
	v.Myself = account.ID == visitOf(c).user.ID
	v.Confirmed = a.confirmed(c)
	return v
}

func invitations(list []models.Invitation, registration string, confirmed bool, now time.Time) views.Invitations {
	i := views.Invitations{Registration: registration, Confirmed: confirmed, Uses: views.Field{Value: "1"}, Hours: views.Field{Value: "168"}}
	for _, m := range list {
		state := ""
		switch {
		case m.Revoked:
			state = views.InvitationWithdrawn
		case m.Used >= m.Most:
			state = views.InvitationUsedUp
		case !m.Expires.After(now):
			state = views.InvitationRunOut
		}
		i.List = append(i.List, views.Invitation{
			ID: m.ID.String(), By: person(m.By), Created: m.Created, Expires: m.Expires, Most: m.Most, Used: m.Used, Ended: state,
		})
	}
	return i
}
