package handlers

import (
	"cmp"
	"slices"
)

// Route is an address that the application answers, with its parameters as ":room" or "*".
type Route struct{ Method, Path string }

// Routes are all of them, in the order of their addresses: what is added is in the crawls at once.
func (a *App) Routes() (list []Route) {
	for _, r := range a.routes.Routes() {
		if r.Method == "GET" || r.Method == "POST" || r.Method == "HEAD" {
			list = append(list, Route{r.Method, r.Path})
		}
	}
	slices.SortFunc(list, func(a, b Route) int { return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method)) })
	return list
}
