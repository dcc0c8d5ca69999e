package handlers

import (
	"crypto/subtle"
	"fmt"
	"math"
	"math/bits"
	"sync"

	"rsc.io/qr/coding"

	"conclave/views"
)

const (
	quietZone = 4 // modules around a QR code, ISO/IEC 18004 section 9.1
	masks     = 8
)

// qrCode draws text as one SVG path that a pen one module wide follows: a stroke for each run of dark
// modules, reached from the end of the one before.
func qrCode(text string) (views.QR, error) {
	code, err := encodeQR(coding.String(text))
	if err != nil {
		return views.QR{}, err
	}
	path := []byte("M0 .5")
	penX, penY := -quietZone, -quietZone
	for y := range code.Size {
		for x := 0; x < code.Size; x++ {
			start := x
			for code.Black(x, y) { // nothing is black outside
				x++
			}
			if x > start {
				path = fmt.Appendf(path, "m%d %dh%d", start-penX, y-penY, x-start)
				penX, penY = x, y
			}
		}
	}
	return views.QR{Size: code.Size + 2*quietZone, Path: string(path)}, nil
}

// qrVersion is what all symbols of one size share: how they are laid out with the first mask, and
// in which modules the other masks differ from it.
type qrVersion struct {
	plan  *coding.Plan
	masks [masks][]byte
}

var qrVersions struct {
	sync.Mutex
	made [coding.MaxVersion + 1]*qrVersion
}

func versionOf(v coding.Version) (*qrVersion, error) {
	qrVersions.Lock()
	defer qrVersions.Unlock()
	if made := qrVersions.made[v]; made != nil {
		return made, nil
	}
	made := &qrVersion{}
	var first *coding.Code
	for mask := range coding.Mask(masks) {
		plan, err := coding.NewPlan(v, coding.M, mask)
		if err != nil {
			return nil, err
		}
		code, err := plan.Encode(coding.String("any text"))
		if err != nil {
			return nil, err
		}
		if mask == 0 {
			made.plan, first = plan, code
		}
		made.masks[mask] = make([]byte, len(code.Bitmap))
		subtle.XORBytes(made.masks[mask], code.Bitmap, first.Bitmap)
	}
	qrVersions.made[v] = made
	return made, nil
}

// encodeQR makes the smallest symbol of level M that holds the text, with the mask that leaves
// the fewest patterns which could mislead a camera.
func encodeQR(text coding.Encoding) (*coding.Code, error) {
	v := coding.Version(coding.MinVersion)
	for text.Bits(v) > v.DataBytes(coding.M)*8 {
		if v++; v > coding.MaxVersion {
			return nil, fmt.Errorf("%d bits are too much for a QR code", text.Bits(coding.MaxVersion))
		}
	}
	version, err := versionOf(v)
	if err != nil {
		return nil, err
	}
	first, err := version.plan.Encode(text)
	if err != nil || first.Size > lineBits { // over 250 characters: any mask is a valid one
		return first, err
	}
	best, least := first, math.MaxInt
	for _, mask := range version.masks {
		code := &coding.Code{Bitmap: make([]byte, len(mask)), Size: first.Size, Stride: first.Stride}
		subtle.XORBytes(code.Bitmap, first.Bitmap, mask)
		if p := penalty(code); p < least {
			best, least = code, p
		}
	}
	return best, nil
}

const lineBits = 64

// penalty counts what could mislead a camera (ISO/IEC 18004 section 7.8.3.1), a line at a time.
func penalty(c *coding.Code) int {
	var rows, columns [lineBits]uint64
	sum, dark := 0, 0
	for y := range c.Size {
		for x := range c.Size {
			cell := uint64(c.Bitmap[y*c.Stride+x/8] >> (7 - x%8) & 1)
			rows[y] |= cell << x
			columns[x] |= cell << y
		}
		dark += bits.OnesCount64(rows[y])
	}
	for i := range c.Size {
		sum += confusion(rows[i], c.Size) + confusion(columns[i], c.Size)
		if i > 0 { // blocks of two by two
			same := ^(rows[i] ^ rows[i-1])
			along := ^(rows[i] ^ rows[i]>>1)
			sum += 3 * bits.OnesCount64(same&(same>>1)&along&(1<<(c.Size-1)-1))
		}
	}
	share := dark * 100 / (c.Size * c.Size)
	return sum + max(share-50, 50-share)/5*10
}

// confusion counts the long runs of one line, and what looks like a finder with light beside it.
func confusion(line uint64, size int) (sum int) {
	all := uint64(1)<<size - 1
	for _, cells := range []uint64{line, ^line & all} {
		long := cells & (cells >> 1) & (cells >> 2) & (cells >> 3) & (cells >> 4) // where five begin
		sum += bits.OnesCount64(long) + 2*bits.OnesCount64(long&^(long<<1))
	}
	light := ^line
	finder := line & (light >> 1) & (line >> 2) & (line >> 3) & (line >> 4) & (light >> 5) & (line >> 6)
	before := finder & (light << 1) & (light << 2) & (light << 3) & (light << 4) &^ 0b1111
	after := finder & (light >> 7) & (light >> 8) & (light >> 9) & (light >> 10) & (all >> 10)
	return sum + 40*(bits.OnesCount64(before)+bits.OnesCount64(after))
}
