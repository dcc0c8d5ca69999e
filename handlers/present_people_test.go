package handlers

import (
	"fmt"
	"testing"

	"conclave/models"
)

func TestManyPeopleStandOnPagesOfFifty(t *testing.T) {
	people := func() (list []models.Account) {
		for i := range 120 {
			a := models.Account{}
			a.Username, a.FullName = fmt.Sprintf("person%03d", i), fmt.Sprintf("Person Number %d", i)
			list = append(list, a)
		}
		return list
	}
	for _, c := range []struct {
		query                string
		page                 int
		first                string
		on, of               int
		hasPrevious, hasNext bool
	}{
		{"", 1, "person000", 50, 3, false, true}, {"", 2, "person050", 50, 3, true, true}, {"", 3, "person100", 20, 3, true, false},
		{"", 0, "person000", 50, 3, false, true}, {"", -7, "person000", 50, 3, false, true}, {"", 1 << 40, "person100", 20, 3, true, false},
		{" NUMBER 1 ", 1, "person001", 31, 1, false, false}, {"@person10", 1, "person100", 10, 1, false, false}, {"number", 2, "person050", 50, 3, true, true},
	} {
		p := peopleList(people(), c.query, c.page)
		if len(p.List) != c.on || p.List[0].Person.Username != c.first || p.Pages != c.of || (p.Previous != "") != c.hasPrevious || (p.Next != "") != c.hasNext {
			t.Errorf("%q, page %d: %d people from %s, %d pages, %q, %q", c.query, c.page, len(p.List), p.List[0].Person.Username, p.Pages, p.Previous, p.Next)
		}
	}
	if p := peopleList(people(), "a&b=c#", 1); len(p.List) != 0 || p.Count != 0 || p.Page != 1 {
		t.Errorf("%+v", p)
	}
	if p := peopleList(people(), "person&", 1); p.Next != "" {
		t.Error(p.Next)
	}
	if p := peopleList(people(), "n number", 1); p.Next != "/admin/people?page=2&q=n+number" {
		t.Error(p.Next)
	}
}
