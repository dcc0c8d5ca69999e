package handlers

import (
	"fmt"
	"strings"

	"conclave/models"
	"conclave/views"
)

// postsChart shows how many messages were written each day.
func postsChart(days []models.Day, counted bool) views.Chart {
	return chart("posts", "Messages a day", []string{"Messages"}, days, counted, func(d models.Day) []int { return []int{d.Posts} })
}

// loginsChart shows how many people signed in each day, and how many times somebody was refused.
func loginsChart(days []models.Day, counted bool) views.Chart {
	return chart("logins", "Logins a day", []string{"Logged in", "Refused"}, days, counted, func(d models.Day) []int { return []int{d.Logins, d.Refused} })
}

// chart draws one curve for each name into a field of 290 by 100: a day is 10 wide with thirty of
// them, and zero lies 2 above the lower edge.
func chart(id, title string, names []string, days []models.Day, counted bool, figures func(models.Day) []int) views.Chart {
	c := views.Chart{ID: id, Title: title, Partial: !counted, Max: 4}
	sums, last := make([]int, len(names)), make([]int, len(names))
	for _, d := range days {
		last = figures(d)
		for i, n := range last {
			c.Max = max(c.Max, n)
			sums[i] += n
		}
		c.Days = append(c.Days, views.ChartDay{Day: d.Start, Figures: last})
	}
	var said []string
	for i, name := range names {
		var path strings.Builder
		for at, d := range c.Days {
			fmt.Fprintf(&path, "%c%.1f %.1f", "ML"[min(at, 1)], float64(at)*290/float64(len(days)-1), 98-96*float64(d.Figures[i])/float64(c.Max))
		}
		c.Series = append(c.Series, views.Series{Name: name, Path: path.String()})
		said = append(said, fmt.Sprintf("%s: %d in %d days, %d of them today", name, sums[i], len(days), last[i]))
	}
	c.Summary = strings.Join(said, ". ") + "."
	return c
}
