package static

import (
	"bytes"
	"path"
	"slices"
	"strconv"
)

// The mark in its other shapes. The pictures in icons/ are drawn from icon.svg by `make icons`,
// for systems that put Conclave among their programs; the mark with a count is for the tab of a
// page with something unread, and is made at the start.

const svg = "image/svg+xml"

// addIcons adds the mark, the mark with the counts 1 to 9 and with more, the pictures, and the
// manifest that names them.
func addIcons(assets map[string]asset) {
	mark := read(tree, "icon.svg")
	assets["icon.svg"] = prepare(svg, mark)
	for n := 1; n <= 9; n++ {
		digit := strconv.Itoa(n)
		assets["icon-"+digit+".svg"] = prepare(svg, counted(mark, digit))
	}
	assets["icon-more.svg"] = prepare(svg, counted(mark, "9+"))
	for _, name := range list(tree, "icons/*.png") {
		assets[path.Base(name)] = prepare("image/png", read(tree, name))
	}
	assets["manifest.webmanifest"] = prepare("application/manifest+json", read(tree, "manifest.webmanifest"))
}

// counted lays a count over the mark. It is large, because a tab shows the whole in 16 pixels, and in
// a colour that stands out from the mark and from light and dark tabs.
func counted(mark []byte, count string) []byte {
	shape, middle := `<rect x="8" y="8" width="24" height="24" rx="11" `, "20"
	if len(count) > 1 {
		shape, middle = `<rect x="0" y="8" width="32" height="24" rx="8" `, "16"
	}
	badge := `<svg viewBox="0 0 32 32" width="100%" height="100%">` + shape + `fill="#b3242b"/>` +
		`<text x="` + middle + `" y="27.5" fill="#fff" font-family="system-ui, sans-serif" font-size="21" font-weight="700" text-anchor="middle">` + count + `</text></svg>`
	end := bytes.LastIndex(mark, []byte("</svg>"))
	return slices.Concat(mark[:end], []byte(badge), mark[end:])
}
