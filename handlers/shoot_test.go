package handlers_test

import (
	"encoding/base64"
	"os"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

func (b *tab) shot(name string) {
	for _, w := range []int64{375, 1280} {
		b.resize(w, 800)
		res, err := chromedp.Call(b.ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{CaptureBeyondViewport: new(true)})
		if err != nil {
			b.t.Fatal(err)
		}
		_ = base64.StdEncoding
		os.WriteFile("/tmp/pk-"+name+"-"+map[int64]string{375: "s", 1280: "l"}[w]+".png", res.Data, 0o644)
	}
}
