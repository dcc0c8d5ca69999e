package handlers

import (
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"sync"

	"rsc.io/qr/coding"

	"conclave/views"
)

const (
	quietZone = 4 // modules around a QR code, ISO/IEC 18004 section 9.1
	masks     = 8
)

// qrCode draws text as one SVG path: each run of dark modules is a rectangle one module high.
func qrCode(text string) (views.QR, error) {
	code, err := encodeQR(coding.String(text))
	if err != nil {
		return views.QR{}, err
	}
	var path []byte
	number := func(command string, n int) { path = strconv.AppendInt(append(path, command...), int64(n), 10) }
	for y := range code.Size {
		for x := 0; x < code.Size; x++ {
			start := x
			for code.Black(x, y) { // nothing is black outside
				x++
			}
			if x > start {
				number("M", start+quietZone)
				number(" ", y+quietZone)
				number("h", x-start)
				number("v1h-", x-start)
				path = append(path, 'z')
			}
		}
	}
	return views.QR{Size: code.Size + 2*quietZone, Path: string(path)}, nil
}

// qrPlans holds the empty symbols of the versions that were needed, one for each mask.
var qrPlans struct {
	sync.Mutex
	of [coding.MaxVersion + 1][masks]*coding.Plan
}

// encodeQR makes the smallest symbol of level M that holds the text, with the mask that leaves
// the fewest patterns which could mislead a camera.
func encodeQR(text coding.Encoding) (*coding.Code, error) {
	version := coding.Version(coding.MinVersion)
	for text.Bits(version) > version.DataBytes(coding.M)*8 {
		if version++; version > coding.MaxVersion {
			return nil, fmt.Errorf("%d bits are too much for a QR code", text.Bits(coding.MaxVersion))
		}
	}
	var best *coding.Code
	least := math.MaxInt
	for mask := range coding.Mask(masks) {
		plan, err := qrPlan(version, mask)
		if err != nil {
			return nil, err
		}
		code, err := plan.Encode(text)
		if err != nil {
			return nil, err
		}
		if code.Size > lineBits {
			return code, nil // over 250 characters; any mask is a valid one
		}
		if p := penalty(code); p < least {
			best, least = code, p
		}
	}
	return best, nil
}

func qrPlan(version coding.Version, mask coding.Mask) (*coding.Plan, error) {
	qrPlans.Lock()
	defer qrPlans.Unlock()
	plan := &qrPlans.of[version][mask]
	var err error
	if *plan == nil {
		*plan, err = coding.NewPlan(version, coding.M, mask)
	}
	return *plan, err
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
