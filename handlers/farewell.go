package handlers

import (
	"net/http"
	"strings"
	"time"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"conclave/models"
	"conclave/views"
)

// Leaving Conclave.

// farewellDeadline is for an account with very many messages to remove.
const farewellDeadline = 10 * time.Minute

func (a *App) farewellPage(c echo.Context) error {
	return a.showFarewell(c, http.StatusOK, views.Farewell{})
}

// showFarewell shows the form as it was sent, with what will happen.
func (a *App) showFarewell(c echo.Context, code int, f views.Farewell) error {
	ctx, user := c.Request().Context(), visitOf(c).user
	err := a.o.Store.MayDelete(ctx, user.ID)
	if fault, ok := faults(err); ok {
		f.Refused = fault[""]
	} else if err != nil {
		return err
	}
	cards, err := a.o.Store.Rooms(ctx, user.ID)
	if err != nil {
		return err
	}
	f.Username, f.Rooms = user.Username, len(cards)
	for _, card := range cards {
		switch {
		case len(card.People) > 1:
		case card.Name == "":
			f.Closing = append(f.Closing, views.RoomsBroken)
		default:
			f.Closing = append(f.Closing, card.Name)
		}
	}
	return a.showAccount(c, code, func(s views.Shell) templ.Component { return views.FarewellPage(s, f) })
}

func (a *App) farewell(c echo.Context) error {
	field, err := form(c)
	if err != nil {
		return err
	}
	f := views.Farewell{Typed: views.Field{Value: field("username")}, Remove: field("remove_messages") != ""}
	if strings.ToLower(strings.TrimSpace(f.Typed.Value)) != visitOf(c).user.Username {
		f.Typed.Error = views.FarewellNameProblem
		return a.showFarewell(c, http.StatusUnprocessableEntity, f)
	}
	if err := http.NewResponseController(c.Response()).SetWriteDeadline(time.Now().Add(farewellDeadline)); err != nil {
		return err
	}
	err = a.o.Store.DeleteAccount(c.Request().Context(), by(c), f.Remove)
	if models.KindOf(err) == models.Conflict {
		fault, _ := faults(err)
		f.Error = fault[""]
		return a.showFarewell(c, status(err), f)
	}
	if err != nil {
		return err
	}
	return a.goodbye(c, "/goodbye")
}

func (a *App) goodbyePage(c echo.Context) error {
	return a.render(c, http.StatusOK, views.GoodbyePage(a.shell(c)))
}
