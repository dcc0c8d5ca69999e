package handlers

import (
	"fmt"
	"strings"
	"testing"

	"rsc.io/qr/coding"
)

// slowPenalty counts what the standard says, cell by cell.
func slowPenalty(c *coding.Code) int {
	sum, dark := 0, 0
	for _, across := range []bool{true, false} {
		black := func(i, j int) byte {
			x, y := j, i
			if !across {
				x, y = i, j
			}
			if c.Black(x, y) {
				return '1'
			}
			return '0'
		}
		for i := range c.Size {
			var line []byte
			for j := range c.Size {
				line = append(line, black(i, j))
			}
			text := string(line)
			for start := 0; start < len(text); {
				end := start
				for end < len(text) && text[end] == text[start] {
					end++
				}
				if run := end - start; run >= 5 {
					sum += 3 + run - 5
				}
				start = end
			}
			for j := 0; j+11 <= len(text); j++ {
				if w := text[j : j+11]; w == "10111010000" || w == "00001011101" {
					sum += 40
				}
			}
			if across {
				dark += strings.Count(text, "1")
			}
		}
	}
	for y := 1; y < c.Size; y++ {
		for x := 1; x < c.Size; x++ {
			if b := c.Black(x, y); b == c.Black(x-1, y) && b == c.Black(x, y-1) && b == c.Black(x-1, y-1) {
				sum += 3
			}
		}
	}
	share := dark * 100 / (c.Size * c.Size)
	return sum + max(share-50, 50-share)/5*10
}

func TestTheMaskOfAQRCodeIsTheOneThatTheStandardChooses(t *testing.T) {
	for _, text := range []string{"a", "https://localhost:8443/join#ABCD-EFGH-JKMN-PQRS", strings.Repeat("0123456789", 25)} {
		best, err := encodeQR(coding.String(text))
		if err != nil {
			t.Fatal(err)
		}
		version := coding.Version((best.Size - 17) / 4)
		for mask := range coding.Mask(masks) {
			plan, err := coding.NewPlan(version, coding.M, mask)
			if err != nil {
				t.Fatal(err)
			}
			code, err := plan.Encode(coding.String(text))
			if err != nil {
				t.Fatal(err)
			}
			if got, want := penalty(code), slowPenalty(code); got != want {
				t.Errorf("version %d, mask %d: the penalty is %d, want %d", version, mask, got, want)
			}
			if slowPenalty(code) < slowPenalty(best) {
				t.Errorf("version %d: mask %d is better", version, mask)
			}
		}
	}
	if big, err := qrCode(strings.Repeat("0123456789", 100)); err != nil || big.Size < 100 {
		t.Errorf("a long text: size %d, %v", big.Size, err)
	}
	if _, err := qrCode(strings.Repeat("0123456789", 300)); err == nil {
		t.Error("a text that is too long has a code")
	}
}

func TestAQRCodeIsDrawnAsItIs(t *testing.T) {
	const text = "https://localhost:8443/join#ABCD-EFGH-JKMN-PQRS"
	drawn, err := qrCode(text)
	if err != nil {
		t.Fatal(err)
	}
	code, err := encodeQR(coding.String(text))
	if err != nil {
		t.Fatal(err)
	}
	ink := map[[2]int]bool{}
	x, y := 0, 0
	strokes := strings.Split(drawn.Path, "m")
	for _, stroke := range strokes[1:] {
		var dx, dy, length int
		if n, err := fmt.Sscanf(stroke, "%d %dh%d", &dx, &dy, &length); n != 3 {
			t.Fatalf("%q: %v", stroke, err)
		}
		x, y = x+dx, y+dy
		for range length {
			ink[[2]int{x, y}] = true
			x++
		}
	}
	for y := range drawn.Size {
		for x := range drawn.Size {
			if black := code.Black(x-quietZone, y-quietZone); ink[[2]int{x, y}] != black {
				t.Errorf("at %d, %d: black is %t, and drawn %t", x, y, black, !black)
			}
		}
	}
	if strokes[0] != "M0 .5" || drawn.Size != code.Size+2*quietZone {
		t.Errorf("the path begins with %q in a square of %d", strokes[0], drawn.Size)
	}
}

func BenchmarkQRCode(b *testing.B) {
	for b.Loop() {
		if _, err := qrCode("https://127.0.0.1:8443/join#ABCD-EFGH-JKMN-PQRS"); err != nil {
			b.Fatal(err)
		}
	}
}
