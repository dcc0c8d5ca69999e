package handlers

import (
	"context"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"conclave/models"
	"conclave/views"
)

// The administration's pages about people: who has an account, and what can be done with one.

const personRoute = "/admin/people/:person"

func (a *App) peoplePage(c echo.Context) error {
	accounts, err := a.o.Store.Accounts(c.Request().Context())
	if err != nil {
		return err
	}
	page, _ := strconv.Atoi(c.QueryParam("page")) // what is no number is the first page
	return a.render(c, http.StatusOK, views.PeoplePage(a.shell(c), peopleList(accounts, c.QueryParam("q"), page)))
}

func (a *App) personPage(c echo.Context) error {
	account, err := a.account(c)
	if err != nil {
		return err
	}
	return a.render(c, http.StatusOK, views.PersonPage(a.shell(c), a.accountView(c, account)))
}

// account is the one that the address names.
func (a *App) account(c echo.Context) (models.Account, error) {
	id, err := models.ParseID(c.Param("person"))
	if err != nil {
		return models.Account{}, err
	}
	return a.o.Store.Account(c.Request().Context(), id)
}

// operate does one thing to an account, says so and goes back to its page. What cannot be done
// stands on that page with its reason.
func (a *App) operate(deed func(context.Context, models.By, models.ID) error, done views.Text) echo.HandlerFunc {
	return func(c echo.Context) error {
		account, err := a.account(c)
		if err != nil {
			return err
		}
		if err := deed(c.Request().Context(), by(c), account.ID); err != nil {
			return a.personAgain(c, account, err)
		}
		a.sessions.Put(c.Request().Context(), keyNotice, done.With(account.Username))
		if account.ID == visitOf(c).user.ID {
			return seeOther(c, "/rooms") // who did it to himself may not see that page any more
		}
		return seeOther(c, "/admin/people/"+account.ID.String())
	}
}

func (a *App) personAgain(c echo.Context, account models.Account, err error) error {
	fault, ok := faults(err)
	if !ok || models.KindOf(err) != models.Conflict {
		return err
	}
	p := a.accountView(c, account)
	p.Error = fault[""]
	return a.render(c, status(err), views.PersonPage(a.shell(c), p))
}

// makeReset shows a link with which somebody sets a new password, on this one answer.
func (a *App) makeReset(c echo.Context) error {
	account, err := a.account(c)
	if err != nil {
		return err
	}
	token, err := a.o.Store.ResetToken(c.Request().Context(), by(c), account.ID)
	if err != nil {
		return a.personAgain(c, account, err)
	}
	p := a.accountView(c, account)
	p.ResetLink = "https://" + c.Request().Host + "/reset#reset=" + token
	return a.render(c, http.StatusOK, views.PersonPage(a.shell(c), p))
}
