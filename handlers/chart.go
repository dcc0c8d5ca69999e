package handlers

import (
	"fmt"
	"strings"

	"conclave/models"
	"conclave/views"
)

// postsChart shows how many messages were written each day.
func postsChart(days []models.Day, counted bool) views.Chart {
	return chart(views.PostsChart, 1, days, counted, func(d models.Day) []int { return []int{d.Posts} })
}

// loginsChart shows how many people signed in each day, and how many times somebody was refused.
func loginsChart(days []models.Day, counted bool) views.Chart {
	return chart(views.LoginsChart, 2, days, counted, func(d models.Day) []int { return []int{d.Logins, d.Refused} })
}

// chart draws so many curves into a field of 290 by 100: a day is 10 wide with thirty of
// them, and zero lies 2 above the lower edge.
func chart(kind views.ChartKind, curves int, days []models.Day, counted bool, figures func(models.Day) []int) views.Chart {
	c := views.Chart{Kind: kind, Partial: !counted, Max: 4}
	sums, last := make([]int, curves), make([]int, curves)
	for _, d := range days {
		last = figures(d)
		for i, n := range last {
			c.Max = max(c.Max, n)
			sums[i] += n
		}
		c.Days = append(c.Days, views.ChartDay{Day: d.Start, Figures: last})
	}
	for i := range curves {
		var path strings.Builder
		for at, d := range c.Days {
			fmt.Fprintf(&path, "%c%.1f %.1f", "ML"[min(at, 1)], float64(at)*290/float64(len(days)-1), 98-96*float64(d.Figures[i])/float64(c.Max))
		}
		c.Series = append(c.Series, views.Series{Path: path.String(), Sum: sums[i], Today: last[i]})
	}
	return c
}
