package handlers

import (
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
			plan, err := qrPlan(version, mask)
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

func BenchmarkQRCode(b *testing.B) {
	for b.Loop() {
		if _, err := qrCode("https://127.0.0.1:8443/join#ABCD-EFGH-JKMN-PQRS"); err != nil {
			b.Fatal(err)
		}
	}
}
