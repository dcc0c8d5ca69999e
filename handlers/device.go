package handlers

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"conclave/views"
)

// devicePage shows the settings that belong to the browser. The server neither knows nor keeps them.
func (a *App) devicePage(c echo.Context) error {
	return a.showAccount(c, http.StatusOK, views.DevicePage)
}
