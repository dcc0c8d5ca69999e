package handlers_test

import (
	"encoding/base32"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

type nodeT = html.Node

var requestID = regexp.MustCompile(`<code>[0-9a-f]{12}</code>`)

func mustURL(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		panic(err)
	}
	return u
}

func queryEscape(s string) string { return url.QueryEscape(s) }

// holdsNothingOf checks that no file of the data folder and no line of the log holds a secret in clear.
func (o *office) holdsNothingOf(secrets map[string]string) {
	o.t.Helper()
	places := map[string]string{"the log": o.log.String()}
	err := filepath.WalkDir(o.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		places[d.Name()] = string(raw)
		return err
	})
	if err != nil {
		o.t.Fatal(err)
	}
	if len(places["conclave.db"])+len(places["conclave.db-wal"]) == 0 {
		o.t.Fatal("the database is not where it was looked for")
	}
	for what, secret := range secrets {
		if secret == "" {
			o.t.Errorf("%s is empty", what)
			continue
		}
		for place, content := range places {
			if strings.Contains(content, secret) {
				o.t.Errorf("%s holds %s in clear", place, what)
			}
		}
	}
}

func unbase32(s string) []byte {
	raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(s)
	if err != nil {
		panic(err)
	}
	return raw
}

// hostile is text that must only ever be shown.
var hostile = []string{
	`<script>alert(1)</script>`,
	`"><img src=x onerror=alert(1)>`,
	`'><svg/onload=alert(1)>`,
	`</textarea><script>alert(1)</script>`,
	`</title></head><body onload=alert(1)>`,
	`<hx-partial hx-target="body" hx-swap="innerHTML">owned</hx-partial>`,
	`<div hx-swap-oob="true" id="main">owned</div>`,
	`<div hx-get="/logout" hx-trigger="load">`,
	`<b hx-sse:connect="/feed">x</b>`,
	`<template><li id="m-1" class="message">`,
	`<!--`, `-->`, `]]>`, `<![CDATA[`, `<?php`,
	`javascript:alert(1)`, `data:text/html,<b>x`, `java&#x0a;script:alert(1)`,
	`{{ .Secret }}`, `${alert(1)}`, `#{7*7}`, `{%raw%}`, `<% x %>`,
	`&lt;b&gt; &amp;amp; &#60;i&#62;`,
	`" autofocus onfocus="alert(1)`, "` onmouseover=alert(1) `",
	`</li></ol><form action="https://evil.example">`,
	`<a href="https://evil.example">`, `<meta http-equiv=refresh content=0>`, `<base href=//evil>`, `<link rel=stylesheet href=//evil>`,
	"id: 99", "event: session-end", "data: x", "retry: 1", ": comment",
}

// skeleton is the structure of some HTML: elements and the names of their attributes. Text that
// makes an element or an attribute changes it.
func skeleton(markup string) string {
	root, err := html.Parse(strings.NewReader(markup))
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for n := range root.Descendants() {
		switch n.Type {
		case html.ElementNode:
			b.WriteString(n.Data)
			for _, a := range n.Attr {
				if a.Key != "data-here" && a.Key != "aria-current" { // who is here changes by itself; where one is in a list differs between rooms
					b.WriteString(" " + a.Namespace + a.Key)
				}
			}
			b.WriteByte('\n')
		case html.CommentNode, html.DoctypeNode:
			b.WriteString("!" + n.Data + "\n")
		}
	}
	return b.String()
}

// firstDifference is a line where two structures part.
func firstDifference(a, b string) string {
	left, right := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(left), len(right)) {
		if left[i] != right[i] {
			return fmt.Sprintf("element %d is <%s>, in the harmless page <%s>", i, left[i], right[i])
		}
	}
	return fmt.Sprintf("%d elements, in the harmless page %d", len(left), len(right))
}

func sameStructure(t *testing.T, what, hostile, harmless string) {
	t.Helper()
	if a, b := skeleton(hostile), skeleton(harmless); a != b {
		t.Errorf("%s: text has become markup: %s", what, firstDifference(a, b))
	}
	checkMarkup(t, what, hostile)
}

func TestAMessageIsOnlyEverText_T33(t *testing.T) { // T33, both originals
	t.Parallel()
	o := openOffice(t)
	ada, grace := o.register("ada", "Ada Lovelace"), o.register("grace", "Grace Hopper")
	bad, good := ada.createRoom("Engine room"), ada.createRoom("Harmless room")
	for _, r := range []room{bad, good} {
		grace.join(r)
	}
	badFeed, goodFeed := grace.listen(bad), grace.listen(good)
	// The mates make that each hostile text is the whole of one message and a line of another.
	texts := append(slices.Clone(hostile), strings.Join(hostile, "\n"), strings.Join(hostile, " "), strings.Join(hostile, "\n\n"), "line\u2028id: 99\u2028\u2028event: session-end\u2029data: x\u0009end")
	harmless := make([]string, len(texts))
	for i := range texts {
		// plain words where the hostile text has a link of ours in it, the same link
		harmless[i] = "plain words"
		if links := strings.Count(texts[i], "https://evil.example"); links > 0 {
			harmless[i] = strings.TrimSpace(strings.Repeat("words https://good.example ", links)) + " words"
		}
	}
	for i := range texts {
		n := o.post(ada, bad, texts[i])
		o.post(ada, good, harmless[i])
		e := badFeed.next(texts[i], func(e event) bool { return len(e.bodies()) == 1 })
		calm := goodFeed.next(harmless[i], func(e event) bool { return len(e.bodies()) == 1 })
		if e.id != fmt.Sprint(n) || e.name != "" || e.bodies()[0] != strings.TrimSpace(texts[i]) {
			t.Errorf("the feed delivers %q as event %q %q: %q", texts[i], e.id, e.name, e.bodies())
		}
		sameStructure(t, fmt.Sprintf("the feed, %.60q", texts[i]), e.data, calm.data)
	}
	compare := func(what string, a, b *answer, want []string) {
		t.Helper()
		sameStructure(t, what, a.body, b.body)
		got := a.bodies()
		for i := range want {
			want[i] = strings.TrimSpace(want[i])
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s shows %q, want %q", what, got, want)
		}
		for _, div := range a.class("body") {
			if attr(div, "hx-ignore") == "" {
				t.Errorf("%s: a text stands where htmx looks for its attributes", what)
			}
			for _, n := range elements(div, func(*nodeT) bool { return true }) {
				if n.Data == "a" && (!strings.HasPrefix(attr(n, "href"), "https://") || !strings.Contains(attr(n, "rel"), "noopener")) || n.Data != "a" && n.Data != "span" {
					t.Errorf("%s: <%s %v> in a text", what, n.Data, n.Attr)
				}
			}
		}
	}
	last := slices.Clone(texts[max(0, len(texts)-40):])
	compare("the page", grace.get(bad.path("")).want(200), grace.get(good.path("")).want(200), last)
	for _, more := range numberedTo(60) { // so that there are older pages
		o.post(ada, bad, more)
		o.post(ada, good, more)
	}
	before := fmt.Sprintf("/messages?before=%d", 5+len(texts))
	for what, headers := range map[string][]string{"the older page": nil, "the older fragment": htmx} {
		compare(what, grace.get(bad.path(before), headers...).want(200), grace.get(good.path(before), headers...).want(200), slices.Clone(texts[len(texts)-40:]))
	}
	o.restart()
	grace.reconnect()
	refreshed := grace.stream(bad.path("/feed?after=999999"))
	refreshed.next("the newest page", func(e event) bool { return len(e.bodies()) == 40 })
}

func TestARefusedMessageComesBackAsText_T33(t *testing.T) { // T33: error
	t.Parallel()
	o := openOffice(t, func(s *settings) { s.scale = 100 })
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	long := strings.Repeat(" and on it goes", 300)
	for _, headers := range [][]string{nil, htmx} {
		calm := ada.post(r.path("/messages"), fields{"body": "plain words" + long}, headers...).want(422)
		for _, h := range hostile {
			a := ada.post(r.path("/messages"), fields{"body": h + long, "client_id": ""}, headers...).want(422)
			sameStructure(t, "the draft "+h, a.body, calm.body)
			if got := text(a.id("body")); got != h+long {
				t.Errorf("the draft %q comes back as %.60q", h, got)
			}
			a = ada.post(r.path("/messages"), fields{"body": "short", "client_id": h}, headers...).want(422)
			sameStructure(t, "the client id "+h, a.body, calm.body)
		}
	}
}

func TestANameIsOnlyEverText_T33(t *testing.T) { // T33: full name, room name
	t.Parallel()
	o := openOffice(t, func(s *settings) { s.scale = 100 })
	names := []string{
		`<script>alert(1)</script><img src=x onerror=alert(1)>`,
		`"><hx-partial hx-target="body"><b onclick="x">`,
		`' autofocus onfocus=alert(1) x='</bdi></title>{{.}}${x}`,
	}
	calmAlone, guest := o.register("calm", "Calm Person"), o.register("guest", "Another Person")
	for i, name := range names {
		eve := o.register(fmt.Sprintf("eve%d", i), name)
		r := eve.createRoom(name)
		stream := eve.listen(r)
		guest.join(r)
		seen := stream.next("who is a member", func(e event) bool { return strings.Contains(e.data, "member-name") })
		if got := strings.TrimSpace(memberNames(t, seen.data)[0]); got != name {
			t.Errorf("the list of members shows %q", got)
		}
		checkMarkup(t, "the list of members", seen.data)
		eve.say(r, "Hello")
		e := stream.message("Hello")
		checkMarkup(t, "the feed", e.data)
		if !strings.Contains(textOf(e.data), name) {
			t.Errorf("the feed does not show the name %q: %q", name, textOf(e.data))
		}
		quiet := calmAlone.createRoom("Quiet room")
		quietStream := calmAlone.listen(quiet)
		guest.join(quiet)
		quietSeen := quietStream.next("who is a member", func(e event) bool { return strings.Contains(e.data, "member-name") })
		calmAlone.say(quiet, "Hello")
		sameStructure(t, "the members in the feed", seen.data, quietSeen.data)
		sameStructure(t, "a message in the feed", e.data, quietStream.message("Hello").data)
		for what, pair := range map[string][2]*answer{
			"the room": {eve.get(r.path("")), calmAlone.get(quiet.path(""))}, "the list of rooms": {eve.get("/rooms"), calmAlone.get("/rooms")}, "the join page": {eve.get("/join"), calmAlone.get("/join")},
			"the older page": {eve.get(r.path("/messages?before=9")), calmAlone.get(quiet.path("/messages?before=9"))},
			"the fragment":   {eve.get(r.path("/messages?before=9"), htmx...), calmAlone.get(quiet.path("/messages?before=9"), htmx...)},
			"not found":      {eve.get("/nothing"), calmAlone.get("/nothing")}, "an error": {eve.post("/rooms", fields{"name": ""}), calmAlone.post("/rooms", fields{"name": ""})},
		} {
			sameStructure(t, what+" of "+name, pair[0].body, pair[1].body)
			if what != "the fragment" && !strings.Contains(text(pair[0].doc()), name) {
				t.Errorf("%s does not show %q as text", what, name)
			}
		}
		calmAlone.post(quiet.path("/leave"), nil).wantRedirect("/rooms")
		calmAlone.get("/rooms") // takes the notice
	}
}

func memberNames(t *testing.T, markup string) (names []string) {
	a := &answer{t: t, body: markup}
	for _, n := range a.class("member-name") {
		names = append(names, text(elements(n, func(n *nodeT) bool { return n.Data == "bdi" })[0]))
	}
	return names
}

func textOf(markup string) string {
	root, err := html.Parse(strings.NewReader(markup))
	if err != nil {
		return ""
	}
	return text(root)
}

func TestWhatAFormRefusesComesBackAsText_T33(t *testing.T) { // T33: error
	t.Parallel()
	o := openOffice(t, func(s *settings) { s.scale = 100 })
	ada := o.register("ada", "Ada Lovelace")
	nobody := o.visitor()
	for what, c := range map[string]struct {
		who    *person
		path   string
		field  string
		rest   fields
		suffix string // makes the value wrong
	}{
		"a room's name":  {ada, "/rooms", "name", nil, strings.Repeat("x", 81)},
		"a room code":    {ada, "/rooms/join", "code", nil, " "},
		"a login's name": {nobody, "/login", "username", fields{"password": "x", "code": "000000"}, " "},
		"a user name":    {nobody, "/register", "username", fields{"password": "x"}, " "},
		"a full name":    {nobody, "/register", "full_name", fields{"password": "x"}, strings.Repeat("x", 65)},
		"an address":     {nobody, "/register", "email", fields{"password": "x"}, " "},
		"a token":        {nobody, "/register", "token", fields{"password": "x"}, " "},
		"next":           {nobody, "/login", "next", fields{"username": "x"}, " "},
	} {
		t.Run(what, func(t *testing.T) {
			post := func(value string) *answer {
				f := fields{c.field: value + c.suffix}
				for name, v := range c.rest {
					f[name] = v
				}
				return c.who.post(c.path, f).want(422)
			}
			calm := post("?? plain words ??")
			texts := hostile
			if c.path == "/login" { // each is a hash
				texts = []string{strings.Join(hostile, " ")}
			}
			for _, h := range texts {
				a := post("?" + h)
				sameStructure(t, h, a.body, calm.body)
				id := c.field
				if id == "next" {
					continue
				}
				if got := attr(a.id(id), "value"); strings.TrimSpace(got) != strings.TrimSpace("?"+h+c.suffix) {
					t.Errorf("%q comes back as %q", h, got)
				}
			}
		})
	}
}

func TestOnlyPlainWebAddressesBecomeLinks(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	ada := o.register("ada", "Ada Lovelace")
	r := ada.createRoom("Engine room")
	for body, want := range map[string]string{
		"see https://example.org/a?b=c&d=e#f.":        "https://example.org/a?b=c&d=e#f",
		"(http://example.org/x_(y))":                  "http://example.org/x_(y)",
		"HTTPS://EXAMPLE.ORG":                         "https://EXAMPLE.ORG",
		"javascript:alert(1)//https://":               "",
		"javascript:https://evil.example/%0aalert(1)": "https://evil.example/%0aalert(1)",
		"https://good.example@evil.example":           "",
		"https://user:pw@evil.example/":               "",
		"https:///evil.example":                       "",
		"https://evil.example\\@good.example":         "",
		"https://[evil":                               "",
		"data:text/html,x vbscript:x file:///etc":     "",
		"https://a\" onclick=\"x":                     "https://a",
		"https://a' onclick='x":                       "https://a",
		"//evil.example ftp://evil.example":           "",
	} {
		n := o.post(ada, r, body)
		li := ada.get(r.path("")).want(200).id(fmt.Sprintf("m-%d", n))
		var links []string
		text := elements(li, func(n *nodeT) bool { return attr(n, "class") == "body" })[0]
		for _, a := range elements(text, func(n *nodeT) bool { return n.Data == "a" }) {
			links = append(links, attr(a, "href"))
			if attr(a, "target") != "_blank" || !strings.Contains(attr(a, "rel"), "noopener") || !strings.Contains(attr(a, "rel"), "noreferrer") {
				t.Errorf("%q: the link has %v", body, a.Attr)
			}
		}
		if got := strings.Join(links, " "); got != want {
			t.Errorf("%q links to %q, want %q", body, got, want)
		}
		if got := bodiesIn(li); len(got) != 1 || got[0] != body {
			t.Errorf("%q is shown as %q", body, got)
		}
	}
}

// reconnect gives a browser a new connection, which it needs after a restart of the server.
func (p *person) reconnect() { p.speak("h2", "http/1.1") }
