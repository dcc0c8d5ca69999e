package handlers

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"conclave/models"
	"conclave/views"
)

// administrator lets only those through who administer the server. What they change there they
// must have confirmed (sudo).
func administrator(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if !visitOf(c).user.Admin {
			return &models.Error{Kind: models.Denied, Msg: "Only whoever administers this server can see this."}
		}
		return next(c)
	}
}

func (a *App) overview(c echo.Context) error {
	return a.render(c, http.StatusOK, views.OverviewPage(a.shell(c, "Administration")))
}
