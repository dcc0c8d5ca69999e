package demo

import (
	"embed"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The story stands in rooms/*.txt, one file a room, as it would be told:
//
//	5 days ago                        a day: "5 days ago", "yesterday" or "today"
//	09:12 mara      Good morning.     when, who, what
//	                Tea?              more lines of the same message stand under its first
//	09:15 yusuf     /join             what somebody does instead of writing; see deeds
//	today
//	12  mara        Nearly there.     today's times are minutes before now
//
// In a text {+2} is the name of the day two days later, and {soon} an hour that is about two hours away.

//go:embed rooms/*.txt
var rooms embed.FS

// event is one thing that somebody says or does in a room.
type event struct {
	at   time.Time
	room string // the name of its file
	who  string // user name
	deed string // empty: writes
	text string // the message, or what the deed is about
}

var (
	dayLine   = regexp.MustCompile(`^(\d) days ago$|^yesterday$|^today$`)
	eventLine = regexp.MustCompile(`^(?:(\d\d):(\d\d)|(\d+)) +([a-z]+) +(?:/([a-z]+) ?)?(.*)$`)
	moreLine  = regexp.MustCompile(`^ {16}(.+)$`)
	dayName   = regexp.MustCompile(`\{([+-]\d)\}`)
)

// story returns all events in the order in which they happen when it is now, whose zone is that of
// the people.
func story(now time.Time) ([]event, error) {
	files, err := rooms.ReadDir("rooms")
	if err != nil {
		return nil, err
	}
	var all []event
	for _, file := range files {
		text, err := rooms.ReadFile(path.Join("rooms", file.Name()))
		if err != nil {
			return nil, err
		}
		told, err := tell(file.Name(), string(text), now)
		if err != nil {
			return nil, err
		}
		all = append(all, told...)
	}
	slices.SortStableFunc(all, func(a, b event) int { return a.at.Compare(b.at) })
	return all, nil
}

// tell reads one file.
func tell(room, text string, now time.Time) ([]event, error) {
	var events []event
	day := now
	for i, line := range strings.Split(text, "\n") {
		if line == "" {
			continue
		}
		if found := dayLine.FindStringSubmatch(line); found != nil {
			day = now.AddDate(0, 0, -daysAgo(line, found[1]))
			continue
		}
		if more := moreLine.FindStringSubmatch(line); more != nil && len(events) > 0 {
			events[len(events)-1].text += "\n" + worded(more[1], day, now)
			continue
		}
		found := eventLine.FindStringSubmatch(line)
		if found == nil {
			return nil, fmt.Errorf("%s, line %d cannot be read: %s", room, i+1, line)
		}
		e := event{room: room, who: found[4], deed: found[5], text: worded(found[6], day, now)}
		if found[3] != "" {
			e.at = now.Add(-time.Duration(number(found[3])) * time.Minute)
		} else {
			e.at = time.Date(day.Year(), day.Month(), day.Day(), number(found[1]), number(found[2]), 0, 0, now.Location())
		}
		events = append(events, e)
	}
	return events, nil
}

func daysAgo(line, count string) int {
	switch line {
	case "today":
		return 0
	case "yesterday":
		return 1
	}
	return number(count)
}

// number reads digits that a pattern has found.
func number(digits string) int {
	n, _ := strconv.Atoi(digits)
	return n
}

var hours = [...]string{"twelve", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven"}

// worded puts the names of days and hours into a text.
func worded(text string, day, now time.Time) string {
	soon := now.Add(150 * time.Minute).Hour()
	text = strings.ReplaceAll(text, "{soon}", hours[soon%len(hours)])
	return dayName.ReplaceAllStringFunc(text, func(s string) string {
		later, _ := strconv.Atoi(strings.Trim(s, "{}"))
		return day.AddDate(0, 0, later).Weekday().String()
	})
}
