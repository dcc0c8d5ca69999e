package handlers

import (
	"context"
	"net/http"

	"github.com/labstack/echo/v4"

	"conclave/models"
	"conclave/views"
)

// membersPage shows every member who belongs to the room.
func (a *App) membersPage(c echo.Context) error {
	return a.showMembers(c, http.StatusOK, "")
}

func (a *App) showMembers(c echo.Context, code int, problem string) error {
	m := membership(c)
	v, err := a.o.Store.View(c.Request().Context(), m)
	if err != nil {
		return err
	}
	r := views.Members{
		RoomID: m.Room.String(), Room: v.Name, People: people(v.People, nil), Me: visitOf(c).user.Username,
		Owner: m.Role == models.Owner, Error: problem,
	}
	return a.render(c, code, views.MembersPage(a.shell(c), r))
}

func (a *App) setRole(c echo.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	role := models.Role(field("role"))
	done := views.MembersMemberNotice
	if role == models.Moderator {
		done = views.MembersModeratorNotice
	}
	return a.manage(c, done, func(ctx context.Context, m models.Membership, user models.ID) error {
		return a.o.Store.SetRole(ctx, m, user, role)
	})
}

func (a *App) expel(c echo.Context) error {
	return a.manage(c, views.MembersRemovedNotice, a.o.Store.Expel)
}

func (a *App) ban(c echo.Context) error {
	return a.manage(c, views.MembersBannedNotice, a.o.Store.Ban)
}

func (a *App) handOver(c echo.Context) error {
	return a.manage(c, views.MembersOwnerNotice, a.o.Store.HandOver)
}

// manage does something about the member whom the address names, and goes back to the members. done is
// what the page says then about the user name.
func (a *App) manage(c echo.Context, done views.Text, do func(context.Context, models.Membership, models.ID) error) error {
	m, ctx, username := membership(c), c.Request().Context(), c.Param("username")
	err := a.limits.manage.take(m.User.String())
	if err == nil {
		var user models.ID
		if user, err = a.o.Store.MemberNamed(ctx, m, username); err == nil {
			err = do(ctx, m, user)
		}
	}
	if fault, ok := faults(err); ok && models.KindOf(err) != models.NotFound && models.KindOf(err) != models.Denied {
		retryAfter(c, err)
		return a.showMembers(c, status(err), fault[""]+fault["role"])
	}
	if err != nil {
		return err
	}
	return a.noted(c, done.With(username), "/rooms/"+m.Room.String()+"/members")
}

// liftBan lets somebody come back with any valid code.
func (a *App) liftBan(c echo.Context) error {
	m, ctx, username := membership(c), c.Request().Context(), c.Param("username")
	if err := a.limits.manage.take(m.User.String()); err != nil {
		return err
	}
	if err := a.o.Store.Unban(ctx, m, username); err != nil {
		return err
	}
	return a.settled(c, views.BannedLiftedNotice.With(username))
}

// setHistory decides what newcomers see.
func (a *App) setHistory(c echo.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	m, ctx := membership(c), c.Request().Context()
	if err = a.limits.manage.take(m.User.String()); err == nil {
		err = a.o.Store.SetHistory(ctx, m, models.History(field("history")))
	}
	if fault, ok := faults(err); ok && fault["history"] != "" {
		return a.showSettings(c, status(err), nil, fault)
	}
	if err != nil {
		return err
	}
	notice := views.NewcomersAllNotice
	if models.History(field("history")) == models.HistorySinceJoin {
		notice = views.NewcomersSinceNotice
	}
	return a.settled(c, notice)
}

// newcomersAndBanned are the parts of a room's settings that are about people.
func (a *App) newcomersAndBanned(ctx context.Context, m models.Membership) (newcomers views.Field, banned []views.Person, err error) {
	h, err := a.o.Store.History(ctx, m)
	if err != nil {
		return newcomers, nil, err
	}
	list, err := a.o.Store.Banned(ctx, m)
	for _, p := range list {
		banned = append(banned, person(p))
	}
	return views.Field{Value: string(h)}, banned, err
}
