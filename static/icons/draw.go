//go:build ignore

// Draw makes the pictures of this folder from icon.svg, with Chromium: go run static/icons/draw.go,
// at the root. Two of them are cut to a shape by the system that shows them and so fill their
// square: their ground has the colour that the mark has in the middle of its upper edge.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"log"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

func main() {
	log.SetFlags(0)
	mark, err := os.ReadFile("static/icon.svg")
	check(err)
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	ctx, stop = chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:], chromedp.Headless, chromedp.NoSandbox)...)
	defer stop()
	ctx, stop = chromedp.NewContext(ctx)
	defer stop()
	check(chromedp.Do(ctx))
	for _, p := range []struct {
		name   string
		size   int
		part   int // of the square that the mark takes, in percent
		filled bool
	}{
		{"icon-192.png", 192, 100, false},
		{"icon-512.png", 512, 100, false},
		{"icon-180.png", 180, 100, true},
		{"icon-maskable.png", 512, 80, true},
	} {
		whole := image.NewNRGBA(image.Rect(0, 0, p.size, p.size))
		part := drawn(ctx, mark, p.size*p.part/100)
		if p.filled {
			draw.Draw(whole, whole.Rect, image.NewUniform(part.At(part.Bounds().Dx()/2, part.Bounds().Dy()/50)), image.Point{}, draw.Src)
		}
		edge := (p.size - part.Bounds().Dx()) / 2
		draw.Draw(whole, part.Bounds().Add(image.Pt(edge, edge)), part, image.Point{}, draw.Over)
		check(os.WriteFile("static/icons/"+p.name, packed(whole), 0o644))
	}
	sum := sha256.Sum256(mark)
	check(os.WriteFile("static/icons/SOURCE", []byte(hex.EncodeToString(sum[:])+"  icon.svg\n"), 0o644))
}

// drawn is the mark in a square, on nothing.
func drawn(ctx context.Context, mark []byte, size int) image.Image {
	page := fmt.Sprintf(`<style>body{margin:0}img{display:block;width:%[1]dpx;height:%[1]dpx}</style><img src="data:image/svg+xml;base64,%[2]s">`, size, base64.StdEncoding.EncodeToString(mark))
	_, err := chromedp.Call(ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: int64(size), Height: int64(size), DeviceScaleFactor: 1})
	check(err)
	check(chromedp.Do(ctx, func(ctx context.Context, t *chromedp.Target) (none chromedp.Void, err error) {
		// The struct leaves out an alpha of 0, and without one the colour is opaque.
		clear := map[string]int{"r": 0, "g": 0, "b": 0, "a": 0}
		return none, t.Call(ctx, emulation.SetDefaultBackgroundColorOverride.Method, map[string]any{"color": clear}, nil)
	}))
	check(chromedp.Do(ctx, chromedp.Navigate("data:text/html;base64,"+base64.StdEncoding.EncodeToString([]byte(page)))))
	picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	check(err)
	whole, err := png.Decode(bytes.NewReader(picture))
	check(err)
	return whole
}

// packed writes a picture with a palette of its most frequent colours.
func packed(whole *image.NRGBA) []byte {
	count := map[color.Color]int{}
	for y := range whole.Rect.Dy() {
		for x := range whole.Rect.Dx() {
			count[whole.At(x, y)]++
		}
	}
	colours := slices.SortedFunc(maps.Keys(count), func(a, b color.Color) int { return count[b] - count[a] })
	few := image.NewPaletted(whole.Rect, colours[:min(len(colours), 64)])
	draw.Draw(few, few.Rect, whole, image.Point{}, draw.Src)
	var out bytes.Buffer
	check((&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, few))
	return out.Bytes()
}

func check(err error) {
	if err != nil {
		log.Fatal("icons: ", err)
	}
}
