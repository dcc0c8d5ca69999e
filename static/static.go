// Package static holds what the browser loads besides pages: one style sheet, two
// scripts and the mark in its shapes. Everything is embedded, joined and compressed once at start, and
// served under a digest of the whole tree, so a browser may keep it for ever and never
// sees half of an old version.
package static

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"maps"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

//go:embed css/*.css js/*.js vendor/*.min.js safe.js icon.svg icons/*.png manifest.webmanifest
var tree embed.FS

// asset is one served file, as it is and compressed, if that makes it smaller.
type asset struct {
	kind string
	etag string
	body []byte
	gz   []byte
}

var (
	digest string
	assets map[string]asset
)

func init() {
	assets = map[string]asset{
		"app.css": prepare("text/css; charset=utf-8", joinCSS(tree)),
		"htmx.js": prepare("text/javascript; charset=utf-8", joinHTMX(tree)),
		"app.js":  prepare("text/javascript; charset=utf-8", joinModules(tree)),
	}
	addIcons(assets)
	digest = digestOf(assets)
}

// URL is the address of one of the served files.
func URL(name string) string {
	return "/static/" + digest[:16] + "/" + name
}

// Handler serves the addresses that URL makes and nothing else.
func Handler() http.Handler {
	prefix := URL("")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, ours := strings.CutPrefix(r.URL.Path, prefix)
		a, known := assets[name]
		if !ours || !known {
			http.Error(w, "not found", http.StatusNotFound)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		h := w.Header()
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
		h.Set("Vary", "Accept-Encoding")
		body, etag := a.body, `"`+a.etag+`"`
		if a.gz != nil && AcceptsGzip(r.Header.Get("Accept-Encoding")) {
			body, etag = a.gz, `"`+a.etag+`-gz"`
		}
		h.Set("ETag", etag)
		if listsTag(r.Header.Get("If-None-Match"), etag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		if strings.HasSuffix(etag, `-gz"`) {
			h.Set("Content-Encoding", "gzip")
		}
		h.Set("Content-Type", a.kind)
		h.Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(http.StatusOK)
		if r.Method == http.MethodGet {
			_, _ = w.Write(body) // the reader has gone; nobody is left to tell
		}
	})
}

// AcceptsGzip tells whether a browser that sent this Accept-Encoding takes gzip.
func AcceptsGzip(header string) bool {
	for part := range strings.SplitSeq(header, ",") {
		coding, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		if coding != "gzip" && coding != "*" {
			continue
		}
		q, weighted := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q=")
		weight, err := strconv.ParseFloat(q, 64)
		return !weighted || (err == nil && weight > 0)
	}
	return false
}

func listsTag(header, etag string) bool {
	for tag := range strings.SplitSeq(header, ",") {
		if tag = strings.TrimSpace(tag); strings.TrimPrefix(tag, "W/") == etag || tag == "*" {
			return true
		}
	}
	return false
}

// first and last fix the order of the style sheets; those between stand in the order of
// their names, since components do not depend on each other.
var first = []string{"reset", "tokens", "base", "layout"}

const last = "utilities"

func joinCSS(files fs.FS) []byte {
	names := list(files, "css/*.css")
	place := func(name string) int {
		name = strings.TrimSuffix(path.Base(name), ".css")
		if i := slices.Index(first, name); i >= 0 {
			return i - len(first)
		}
		if name == last {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(names, func(a, b string) int { return place(a) - place(b) })
	var out bytes.Buffer
	out.WriteString("@layer reset, tokens, base, layout, components, utilities;\n")
	for _, name := range names {
		out.Write(slimStyle(read(files, name)))
	}
	return out.Bytes()
}

// What only the reader of a source needs: comments, indentation and empty lines, in a style sheet most
// blanks. (What else a minifier does saves little after compression.)
var (
	styleComment  = regexp.MustCompile(`/\*[^*]*\*/`)
	scriptComment = regexp.MustCompile(`(?m)(^|[;{},)])[ \t]*//.*$`)
	indentation   = regexp.MustCompile(`(?m)^\s+|[ \t]+$`)
	styleBlank    = regexp.MustCompile(`[ \t]*([{};,])[ \t]*`)
)

func slimStyle(source []byte) []byte {
	source = indentation.ReplaceAll(styleComment.ReplaceAll(source, nil), nil)
	return styleBlank.ReplaceAll(source, []byte("$1"))
}

func slimScript(source []byte) []byte {
	return indentation.ReplaceAll(scriptComment.ReplaceAll(source, []byte("$1")), nil)
}

// sourceMap is a pointer to a file that is not served; a browser's tools would ask for it.
var sourceMap = regexp.MustCompile(`(?m)^//# sourceMappingURL=.*$`)

// joinHTMX keeps an order that matters: the policy must stand before the first extension
// and before htmx looks at the page.
func joinHTMX(files fs.FS) []byte {
	var parts [][]byte
	for _, name := range []string{"vendor/htmx.min.js", "safe.js", "vendor/hx-sse.min.js", "vendor/hx-upsert.min.js"} {
		parts = append(parts, bytes.TrimSpace(sourceMap.ReplaceAll(read(files, name), nil)))
	}
	return bytes.Join(parts, []byte(";\n"))
}

// joinModules puts each of our modules into a block of its own, so that their names do not
// meet, and all into one file that the page loads as a module.
func joinModules(files fs.FS) []byte {
	var out bytes.Buffer
	for _, name := range list(files, "js/*.js") {
		out.WriteString("{\n")
		out.Write(slimScript(read(files, name)))
		out.WriteString("}\n")
	}
	return out.Bytes()
}

func prepare(kind string, body []byte) asset {
	sum := sha256.Sum256(body)
	var gz bytes.Buffer
	w, err := gzip.NewWriterLevel(&gz, gzip.BestCompression)
	if err == nil {
		_, err = w.Write(body)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic("static: " + err.Error()) // writing to memory at a fixed level cannot fail
	}
	a := asset{kind: kind, etag: hex.EncodeToString(sum[:8]), body: body}
	if gz.Len() < len(body) {
		a.gz = gz.Bytes()
	}
	return a
}

// digestOf looks at the joined files, not at their parts: a change in the way they are
// joined must change their address too.
func digestOf(assets map[string]asset) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(assets)) {
		body := assets[name].body
		h.Write([]byte(name + "\x00" + strconv.Itoa(len(body)) + "\x00"))
		h.Write(body)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func list(files fs.FS, pattern string) []string {
	names, err := fs.Glob(files, pattern)
	if err != nil {
		panic("static: " + err.Error())
	}
	return names
}

// read panics: an embedded file that cannot be read is a broken build.
func read(files fs.FS, name string) []byte {
	body, err := fs.ReadFile(files, name)
	if err != nil {
		panic("static: " + err.Error())
	}
	return body
}
