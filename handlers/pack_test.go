package handlers

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"conclave/views"
)

// unpacked is what a browser makes of a packed page.
func unpacked(t *testing.T, page []byte) string {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	html, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("after %d bytes: %v", len(html), err)
	}
	return string(html)
}

// whole packs a page without a hole.
func whole(html string) []byte { return pack(html, "", 0).with("", "", len(html)) }

func TestAPackedPageIsThePage(t *testing.T) {
	t.Parallel()
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	line := `<li id="m-%d" class="message" data-author="grace"><p class="body" dir="auto">%s</p><a href="/rooms/0123456789abcdef0123456789abcdef/messages/7/edit">⋯</a></li>`
	var list strings.Builder
	for i := range 400 { // further apart than a repeat may refer
		fmt.Fprintf(&list, line, i, strings.Repeat("Καλημέρα 👋 ", i%7))
	}
	pages := []string{"", "no markup", "<p>", "<p", `<p class="`, `<p class="a`, string(every), list.String(), strings.Repeat("<br>", 1000), strings.Repeat("<", 300), "<" + strings.Repeat("a", 70_000) + ">", strings.Repeat(`<p title="">`, 50)}
	for size := range 12 { // repeats of every length there is
		pages = append(pages, strings.Repeat("<i>"+strings.Repeat("x", 1<<size)+"</i>", 3), strings.Repeat("<"+strings.Repeat("y", 1<<size+size)+">", 3))
	}
	for length := 4; length < 262; length++ {
		tag := "<" + strings.Repeat("z", length-2) + ">"
		pages = append(pages, tag+"."+tag)
	}
	for range 300 {
		var b strings.Builder
		for range rand.IntN(40) {
			b.WriteString([]string{"<p>", "</p>", `<a href="/rooms/`, `"`, "text", `<i class="x">`, "<", ">", "\x00", " class=", "ff"}[rand.IntN(11)])
		}
		pages = append(pages, b.String())
	}
	for _, page := range pages {
		if got := unpacked(t, whole(page)); got != page {
			t.Errorf("%q has become %q", shortest80(page), shortest80(got))
		}
		for _, at := range []int{0, len(page) / 3, len(page)} {
			p := pack(page[:at], page[at:], 26)
			for _, text := range []string{strings.Repeat("A", 26), "6ZV3KN7QHE2EIDD2LCN3GE3A5R"} {
				if got := unpacked(t, p.with(text, page[at:], len(page)+26)); got != page[:at]+text+page[at:] {
					t.Errorf("with a hole at %d, %q has become %q", at, shortest80(page), shortest80(got))
				}
			}
		}
	}
}

func shortest80(s string) string { return s[:min(len(s), 80)] }

// Somebody puts guesses at the room's code into a name or a message, and watches how many bytes the pages
// of others have. A right guess must not show.
func TestTheSizeOfAPackedPageTellsNothingOfWhatIsOnIt(t *testing.T) {
	t.Parallel()
	const code = "MHJ5-Z7SD-6RKV-RTFQ"
	colour := func(name string) uint32 { // as the views choose it, from the user name
		h := fnv.New32a()
		h.Write([]byte(name))
		return h.Sum32() % 8
	}
	letters := []byte(code)
	for string(letters) == code || letters[0] != code[0] || colour(string(letters)) != colour(code) {
		rand.Shuffle(len(letters), func(i, j int) { letters[i], letters[j] = letters[j], letters[i] })
	}
	other := string(letters)
	sizes := map[string]int{}
	page := func(what, name, text, draft string) {
		r := views.Room{
			ID: strings.Repeat("c27daabd918b628d", 2), Name: "Engine room", Code: code, JoinURL: "https://chat.example.org/join#" + code, Me: "ada",
			Members:  []views.Person{{Username: "ada", FullName: "Ada Lovelace"}, {Username: name, FullName: name}},
			Waiting:  []views.Waiting{{Who: views.Person{Username: name, FullName: name}, At: time.UnixMilli(1795338540877)}},
			Composer: views.Composer{ClientID: "6ZV3KN7QHE2EIDD2LCN3GE3A5R", Draft: draft}, Owner: true,
		}
		for n := range uint64(20) {
			r.History.Entries = append(r.History.Entries, views.Entry{N: n + 1, RoomID: r.ID, Who: r.Members[n%2], At: time.UnixMilli(1795338540877), Body: []views.Span{{Text: text}, {Text: text, Href: "https://example.org/" + text}}})
		}
		p, err := prepare(views.RoomPage(views.Shell{Me: &r.Members[0]}, r))
		if err != nil {
			t.Fatal(err)
		}
		if got := unpacked(t, whole(p.html)); got != p.html {
			t.Fatal("the page is another one when unpacked")
		}
		sizes[what] = len(whole(p.html))
		t.Logf("%s: %d bytes, packed %d", what, len(p.html), sizes[what])
	}
	page("nothing of the code", other, other, other)
	page("the code in a name", code, other, other)
	page("the code in the messages", other, code, other)
	page("the code in a draft", other, other, code)
	for what, size := range sizes {
		if size != sizes["nothing of the code"] {
			t.Errorf("with %s the page has %d bytes, with the same letters in another order %d", what, size, sizes["nothing of the code"])
		}
	}
}
