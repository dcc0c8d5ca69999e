package handlers

import (
	"net/http"
	"strings"
	"unicode"

	"conclave/views"
)

const agentMax = 256 // characters: browsers name themselves last

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
	browserNames = []nameSign{
		{"Edg", "Edge"}, {"OPR/", "Opera"}, {"SamsungBrowser/", "Samsung Internet"}, {"Vivaldi/", "Vivaldi"}, {"Firefox/", "Firefox"}, {"FxiOS/", "Firefox"},
		{"Chromium/", "Chromium"}, {"Chrome/", "Chrome"}, {"CriOS/", "Chrome"}, {"Safari/", "Safari"}, {"curl/", "curl"},
	}
	systemNames = []nameSign{
		{"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Android", "Android"}, {"Windows", "Windows"}, {"Mac OS X", "macOS"},
		{"CrOS", "ChromeOS"}, {"Linux", "Linux"},
	}
)

type nameSign struct{ sign, name string }

const agentShown = 40 // characters of an agent that nobody knows

// browserIn says in a few words what an agent seems to be: "Firefox on Linux".
func browserIn(agent string) string {
	browser, system := nameIn(agent, browserNames), nameIn(agent, systemNames)
	switch {
	case browser != "" && system != "":
		return views.SessionBrowser.With(browser, system)
	case browser != "":
		return browser
	case system != "":
		return views.SessionUnknownOn.With(system)
	case agent == "":
		return views.SessionUnknown
	}
	if letters := []rune(agent); len(letters) > agentShown {
		return string(letters[:agentShown]) + "…"
	}
	return agent
}

func nameIn(agent string, names []nameSign) string {
	for _, n := range names {
		if strings.Contains(agent, n.sign) {
			return n.name
		}
	}
	return ""
}
