package handlers

import (
	"net/http"
	"strings"
	"unicode"
)

const agentMax = 120 // characters

// agentOf is what a browser says of itself, cut to what can be shown on one line.
func agentOf(r *http.Request) string {
	var b strings.Builder
	count := 0
	for _, c := range strings.ToValidUTF8(r.UserAgent(), "") {
		if count == agentMax {
			break
		}
		if unicode.IsPrint(c) {
			b.WriteRune(c)
			count++
		}
	}
	return b.String()
}

// What browsers and systems call themselves. The first that fits counts: most browsers claim to be
// several.
var (
	browserNames = []struct{ sign, name string }{
		{"Edg", "Edge"}, {"OPR/", "Opera"}, {"SamsungBrowser/", "Samsung Internet"}, {"Firefox/", "Firefox"}, {"FxiOS/", "Firefox"},
		{"Chromium/", "Chromium"}, {"Chrome/", "Chrome"}, {"CriOS/", "Chrome"}, {"Safari/", "Safari"}, {"curl/", "curl"},
	}
	systemNames = []struct{ sign, name string }{
		{"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Android", "Android"}, {"Windows", "Windows"}, {"Mac OS X", "macOS"},
		{"CrOS", "ChromeOS"}, {"Linux", "Linux"},
	}
)

// browserIn says in a few words what an agent seems to be: "Firefox on Linux".
func browserIn(agent string) string {
	browser, system := "Unknown browser", ""
	for _, b := range browserNames {
		if strings.Contains(agent, b.sign) {
			browser = b.name
			break
		}
	}
	for _, s := range systemNames {
		if strings.Contains(agent, s.sign) {
			system = " on " + s.name
			break
		}
	}
	return browser + system
}
