package handlers

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"conclave/models"
	"conclave/views"
)

// The administration's page about invitations: links with which people may register.

func (a *App) invitationsPage(c echo.Context) error {
	i, err := a.invitationList(c)
	if err != nil {
		return err
	}
	return a.render(c, http.StatusOK, views.InvitationsPage(a.shell(c), i))
}

func (a *App) invitationList(c echo.Context) (views.Invitations, error) {
	list, err := a.o.Store.Invitations(c.Request().Context())
	if err != nil {
		return views.Invitations{}, err
	}
	return invitations(list, a.o.Registration, a.confirmed(c), a.o.Now()), nil
}

// invite makes an invitation and shows its link, on this one answer.
func (a *App) invite(c echo.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	uses, hours := strings.TrimSpace(field("uses")), strings.TrimSpace(field("hours"))
	token, err := a.o.Store.Invite(c.Request().Context(), by(c), count(uses), time.Duration(count(hours))*time.Hour)
	fault, ok := faults(err)
	if err != nil && !ok {
		return err
	}
	i, listErr := a.invitationList(c)
	if listErr != nil {
		return listErr
	}
	code := http.StatusOK
	if err != nil {
		code = status(err)
		i.Uses, i.Hours = views.Field{Value: uses, Error: fault["uses"]}, views.Field{Value: hours, Error: fault["hours"]}
	} else {
		i.Link = "https://" + c.Request().Host + "/register#invite=" + token
	}
	return a.render(c, code, views.InvitationsPage(a.shell(c), i))
}

// count reads a number that somebody typed; what is none, or is beyond all reason, is 0.
func count(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil || n > 1_000_000 {
		return 0
	}
	return n
}

func (a *App) revokeInvitation(c echo.Context) error {
	id, err := models.ParseID(c.Param("invitation"))
	if err != nil {
		return err
	}
	if err := a.o.Store.RevokeInvitation(c.Request().Context(), by(c), id); err != nil {
		return err
	}
	return a.noted(c, views.InvitationWithdrawnNotice, "/admin/invitations")
}
