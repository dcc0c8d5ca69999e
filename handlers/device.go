package handlers

import "strings"

// What browsers say of themselves, in the order to look for it: most of them also claim to be
// one or two of those further down.
var (
	browsers = []struct{ mark, name string }{
		{"Edg", "Edge"}, {"OPR/", "Opera"}, {"SamsungBrowser/", "Samsung Internet"}, {"Vivaldi/", "Vivaldi"},
		{"Firefox/", "Firefox"}, {"FxiOS/", "Firefox"}, {"CriOS/", "Chrome"}, {"Chrome/", "Chrome"}, {"Safari/", "Safari"},
	}
	systems = []struct{ mark, name string }{
		{"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Android", "Android"}, {"Windows", "Windows"}, {"Macintosh", "Mac"},
		{"CrOS", "ChromeOS"}, {"Linux", "Linux"},
	}
)

const deviceMax = 40 // characters of what nobody knows

// device names a browser in words: "Chrome on Linux". What it does not know is shown as it came,
// shortened.
func device(agent string) string {
	browser, system := "", ""
	for _, b := range browsers {
		if browser == "" && strings.Contains(agent, b.mark) {
			browser = b.name
		}
	}
	for _, s := range systems {
		if system == "" && strings.Contains(agent, s.mark) {
			system = s.name
		}
	}
	switch {
	case browser != "" && system != "":
		return browser + " on " + system
	case browser != "":
		return browser
	case system != "":
		return "A browser on " + system
	case agent == "":
		return "Unknown device"
	}
	if letters := []rune(agent); len(letters) > deviceMax {
		return string(letters[:deviceMax]) + "…"
	}
	return agent
}
