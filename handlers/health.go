package handlers

import (
	"net/http"

	"github.com/labstack/echo/v4"
)

// healthy says that the process answers.
func (a *App) healthy(c echo.Context) error { return c.String(http.StatusOK, "ok\n") }

// ready says that the database answers too.
func (a *App) ready(c echo.Context) error {
	if err := a.o.Store.Ready(c.Request().Context()); err != nil {
		a.o.Log.Error("not ready", "error", err)
		return c.String(http.StatusServiceUnavailable, "not ready\n")
	}
	return c.String(http.StatusOK, "ready\n")
}
