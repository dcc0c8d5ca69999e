package static

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
)

func ask(t *testing.T, method, target string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, res *http.Response) []byte {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestVendoredFilesAreThePublishedOnes(t *testing.T) {
	sums, err := os.Open("vendor/SHA256SUMS")
	if err != nil {
		t.Fatal(err)
	}
	defer sums.Close()
	checked := 0
	for lines := bufio.NewScanner(sums); lines.Scan(); checked++ {
		want, name, _ := strings.Cut(lines.Text(), "  ")
		file, err := os.ReadFile("vendor/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if got := sha256.Sum256(file); hex.EncodeToString(got[:]) != want {
			t.Errorf("%s is not what SHA256SUMS says", name)
		}
	}
	if scripts := list(tree, "vendor/*.js"); checked != len(scripts) {
		t.Errorf("SHA256SUMS names %d files, vendor has %d scripts", checked, len(scripts))
	}
}

func TestEveryAssetIsServedForEver(t *testing.T) {
	kinds := map[string]string{
		"app.css":              "text/css; charset=utf-8",
		"app.js":               "text/javascript; charset=utf-8",
		"htmx.js":              "text/javascript; charset=utf-8",
		"icon.svg":             "image/svg+xml",
		"manifest.webmanifest": "application/manifest+json",
		"icon-more.svg":        "image/svg+xml",
	}
	for n := range 9 {
		kinds[fmt.Sprintf("icon-%d.svg", n+1)] = "image/svg+xml"
	}
	for _, name := range list(tree, "icons/*.png") {
		kinds[path.Base(name)] = "image/png"
	}
	for name, kind := range kinds {
		res := ask(t, "GET", URL(name))
		plain := body(t, res)
		if res.StatusCode != 200 || res.Header.Get("Content-Type") != kind || len(plain) == 0 {
			t.Errorf("%s: %d %q, %d bytes", name, res.StatusCode, res.Header.Get("Content-Type"), len(plain))
		}
		if got := res.Header.Get("Cache-Control"); got != "public, max-age=31536000, immutable" {
			t.Errorf("%s: Cache-Control %q", name, got)
		}
		if res.Header.Get("Vary") != "Accept-Encoding" || res.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s: headers %v", name, res.Header)
		}

		head := ask(t, "HEAD", URL(name))
		if head.StatusCode != 200 || len(body(t, head)) != 0 {
			t.Errorf("%s: HEAD sent %d and a body", name, head.StatusCode)
		}
		if again := ask(t, "GET", URL(name), "If-None-Match", res.Header.Get("ETag")); again.StatusCode != 304 {
			t.Errorf("%s: If-None-Match got %d", name, again.StatusCode)
		}
		if refused := ask(t, "GET", URL(name), "Accept-Encoding", "gzip;q=0"); refused.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s: packed although refused", name)
		}

		packed := ask(t, "GET", URL(name), "Accept-Encoding", "br, gzip;q=0.8")
		if packed.Header.Get("Content-Encoding") == "" && kind == "image/png" {
			continue // which is packed already
		}
		if packed.Header.Get("Content-Encoding") != "gzip" || packed.Header.Get("ETag") == res.Header.Get("ETag") {
			t.Errorf("%s: not packed: %v", name, packed.Header)
		}
		r, err := gzip.NewReader(packed.Body)
		if err != nil {
			t.Fatal(err)
		}
		if unpacked, err := io.ReadAll(r); err != nil || !bytes.Equal(unpacked, plain) {
			t.Errorf("%s: the packed bytes differ: %v", name, err)
		}

	}
	if len(kinds) != len(assets) {
		t.Errorf("%d assets are served, %d are checked", len(assets), len(kinds))
	}
}

func TestNothingElseIsServed(t *testing.T) {
	for _, target := range []string{
		"/static/", "/static/app.css", "/static/0123456789abcdef/app.css", URL(""), URL("safe.js"), URL("vendor/README.md"),
		URL("app.css/"), URL("../app.css"), URL("css/base.css"), "/static/" + digest + "/app.css",
	} {
		res := ask(t, "GET", target)
		if res.StatusCode != 404 || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/plain") {
			t.Errorf("%s: %d %s", target, res.StatusCode, res.Header.Get("Content-Type"))
		}
		if res.Header.Get("Cache-Control") != "" {
			t.Errorf("%s: a 404 may be kept", target)
		}
	}
	if res := ask(t, "POST", URL("app.css")); res.StatusCode != 405 {
		t.Errorf("POST got %d", res.StatusCode)
	}
}

func TestStyleSheetsStandInTheOrderOfTheirLayers(t *testing.T) {
	css := string(assets["app.css"].body)
	if !strings.HasPrefix(css, "@layer reset, tokens, base, layout, components, utilities;\n") {
		t.Error("the order of the layers is not the first line")
	}
	last := -1
	for _, layer := range []string{"@layer reset{", "@layer tokens{", "@layer base{", "@layer layout{", "@layer components{", "@layer utilities{"} {
		if at := strings.Index(css, layer); at <= last {
			t.Errorf("%s is missing or out of order", layer)
		} else {
			last = at
		}
	}
	for _, name := range list(tree, "css/*.css") {
		if !strings.Contains(string(read(tree, name)), "@layer ") {
			t.Errorf("%s stands outside of the layers", name)
		}
	}
	if strings.Contains(css, "url(") || strings.Contains(css, "@import") {
		t.Error("the style sheet loads something the CSP would refuse")
	}
}

func TestScriptsAreJoinedInTheirOrder(t *testing.T) {
	js := string(assets["htmx.js"].body)
	last := -1
	for _, mark := range []string{"var htmx=", `registerExtension("safe"`, `registerExtension("sse"`, `registerExtension("upsert"`} {
		if at := strings.Index(js, mark); at <= last {
			t.Errorf("%s is missing or out of order", mark)
		} else {
			last = at
		}
	}
	if strings.Contains(js, "sourceMappingURL") {
		t.Error("a source map is named that is not served")
	}
}

func TestSourcesLoseOnlyWhatNobodyRuns(t *testing.T) {
	style := "/* a */\n\n\t.b { c: d, e; } /* f */\n\t/* two\n\tlines */\n\t.g .h > i { j: \"k l\"; }\n"
	if got, want := string(slimStyle([]byte(style))), ".b{c: d,e;}\n.g .h > i{j: \"k l\";}\n"; got != want {
		t.Errorf("%q has become %q, want %q", style, got, want)
	}
	script := "// a\nconst b = 1; // c\n\n\tif (b) { // d\n\t\t// e\n\t\tf(\"https://g\");\n\t}\n"
	if got, want := string(slimScript([]byte(script))), "const b = 1;\nif (b) {\nf(\"https://g\");\n}\n"; got != want {
		t.Errorf("%q has become %q, want %q", script, got, want)
	}
	// What looks like something to take away must not stand in a text, nor reach over lines.
	for _, name := range list(tree, "js/*.js") {
		for line := range strings.Lines(string(read(tree, name))) {
			if strings.Count(line, "`")%2 == 1 || strings.Count(line, "/*") != strings.Count(line, "*/") {
				t.Errorf("%s has a text or a comment over several lines: %s", name, line)
			}
			if at := scriptComment.FindStringIndex(line); at != nil && strings.Count(line[:at[0]], `"`)%2+strings.Count(line[:at[0]], "`")%2 > 0 {
				t.Errorf("%s has a text that looks like a comment: %s", name, line)
			}
		}
	}
	for _, name := range list(tree, "css/*.css") {
		for _, text := range regexp.MustCompile(`"[^"\n]*"`).FindAllString(styleComment.ReplaceAllString(string(read(tree, name)), ""), -1) {
			if styleBlank.MatchString(text) {
				t.Errorf("%s has a text that would lose a blank: %s", name, text)
			}
		}
	}
}

// What the CSP forbids must not be in our own modules either: there it would only fail late.
func TestOwnModulesTouchNoMarkup(t *testing.T) {
	banned := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|\.onclick|setAttribute\("on|localStorage`)
	for _, name := range append(list(tree, "js/*.js"), "safe.js") {
		found := banned.Find(read(tree, name))
		if string(found) == "localStorage" && name == "js/device.js" {
			continue // the one module that keeps something beyond the tab: settings, nothing that was said
		}
		if found != nil {
			t.Errorf("%s uses %s", name, found)
		}
	}
}

func TestTheFirstVisitIsSmall(t *testing.T) {
	total := 0
	for _, name := range []string{"app.css", "htmx.js", "app.js", "icon.svg"} {
		total += len(assets[name].gz)
	}
	if total > 44<<10 {
		t.Errorf("style, scripts and mark weigh %d bytes compressed; 44 KiB are the limit, and a room's page comes on top (handlers, TheFirstVisit)", total)
	}
	t.Logf("%d bytes compressed", total)
}

// The pictures are committed: nobody needs a browser to build Conclave.
func TestThePicturesAreDrawnFromTheMark(t *testing.T) {
	drawn, err := os.ReadFile("icons/SOURCE")
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(read(tree, "icon.svg")); string(drawn) != hex.EncodeToString(sum[:])+"  icon.svg\n" {
		t.Error("icon.svg has changed since its pictures were drawn: run make icons and commit them")
	}
	sizes := map[string]int{"icon-180.png": 180, "icon-192.png": 192, "icon-512.png": 512, "icon-maskable.png": 512}
	for _, name := range list(tree, "icons/*.png") {
		picture := read(tree, name)
		c, err := png.DecodeConfig(bytes.NewReader(picture))
		if want := sizes[path.Base(name)]; err != nil || c.Width != want || c.Height != want || len(picture) > 6<<10 {
			t.Errorf("%s: %d by %d, %d bytes, %v", name, c.Width, c.Height, len(picture), err)
		}
		delete(sizes, path.Base(name))
	}
	if len(sizes) > 0 {
		t.Errorf("not drawn: %v", sizes)
	}
}

func TestTheMarkWithACountIsWholeAndSaysIt(t *testing.T) {
	for n := 1; n <= 10; n++ {
		name, count := fmt.Sprintf("icon-%d.svg", n), fmt.Sprint(n)
		if n == 10 {
			name, count = "icon-more.svg", "9+"
		}
		body, text := assets[name].body, ""
		d := xml.NewDecoder(bytes.NewReader(body))
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if words, ok := token.(xml.CharData); ok {
				text += string(words)
			}
		}
		if strings.TrimSpace(text) != count || !bytes.Contains(body, bytes.TrimSuffix(bytes.TrimSpace(read(tree, "icon.svg")), []byte("</svg>"))) {
			t.Errorf("%s says %q: %s", name, text, body)
		}
	}
}

// The digest in the addresses changes with each version; what a system has installed must stay the same.
func TestTheManifestNamesWhatIsServed(t *testing.T) {
	var manifest struct {
		ID       string
		StartURL string `json:"start_url"`
		Icons    []struct{ Src, Type string }
	}
	if err := json.Unmarshal(assets["manifest.webmanifest"].body, &manifest); err != nil {
		t.Fatal(err)
	}
	if manifest.ID != "/" || manifest.StartURL != "/rooms" || len(manifest.Icons) < 3 {
		t.Errorf("the manifest says %+v", manifest)
	}
	for _, icon := range manifest.Icons {
		if assets[icon.Src].kind != icon.Type {
			t.Errorf("the manifest names %s as %s, which is served as %q", icon.Src, icon.Type, assets[icon.Src].kind)
		}
	}
}

// sided are properties and values that name a side of the screen. What starts and ends with the
// text instead is right in both directions of writing.
var sided = regexp.MustCompile(`[{;]\s*((?:margin|padding|border|scroll-margin|scroll-padding)-(?:left|right|top|bottom)\b[^;}]*|(?:left|right|top|bottom)\s*:[^;}]*|(?:text-align|float|clear)\s*:\s*(?:left|right)\b|border-(?:top|bottom)-(?:left|right)-radius[^;}]*|(?:min-|max-)?(?:width|height)\s*:[^;}]*)`)

// four is a shorthand with four values, the second of them right and the last left. The notch of
// a phone is on a side of the screen, however its language is written.
var four = regexp.MustCompile(`[{;]\s*((?:margin|padding|inset)\s*:\s*([^;}]+))`)

func TestStyleSheetsNameNoSides(t *testing.T) {
	for _, name := range list(tree, "css/*.css") {
		sheet := string(read(tree, name))
		for _, found := range sided.FindAllStringSubmatch(sheet, -1) {
			t.Errorf("%s: %s", name, found[1])
		}
		for _, found := range four.FindAllStringSubmatch(sheet, -1) {
			if v := values(found[2]); len(v) == 4 && v[1] != v[3] && !strings.Contains(v[1], "safe-area-inset-right") {
				t.Errorf("%s: %s", name, found[1])
			}
		}
	}
}

// A slow line brings a page in pieces. Columns that fit what has come so far move it when the rest comes.
func TestColumnsDoNotHangOnHowMuchHasCome(t *testing.T) {
	for _, name := range list(tree, "css/*.css") {
		if strings.Contains(string(read(tree, name)), "auto-fit") {
			t.Errorf("%s: auto-fit gives the first its place once the last has come; auto-fill at once", name)
		}
	}
}

// values are the parts of a declaration, each with its brackets.
func values(declaration string) []string {
	depth := 0
	return strings.FieldsFunc(declaration, func(r rune) bool {
		switch r {
		case '(':
			depth++
		case ')':
			depth--
		}
		return r == ' ' && depth == 0
	})
}
