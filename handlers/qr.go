package handlers

import (
	"fmt"
	"math"
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
		if p := penalty(code, least); p < least {
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

// penalty counts what could mislead a camera (ISO/IEC 18004 section 7.8.3.1), and stops at enough.
func penalty(c *coding.Code, enough int) int {
	size := c.Size
	cells := make([]byte, 0, size*size)
	dark := 0
	for y := range size {
		for x := range size {
			cell := c.Bitmap[y*c.Stride+x/8] >> (7 - x%8) & 1
			cells, dark = append(cells, cell), dark+int(cell)
		}
	}
	sum := max(dark*100/len(cells)-50, 50-dark*100/len(cells)) / 5 * 10
	for i := range size {
		if sum >= enough {
			break
		}
		sum += confusion(cells[i*size:], 1, size) + confusion(cells[i:], size, size)
		if i > 0 { // blocks of two by two
			above, line := cells[(i-1)*size:i*size], cells[i*size:][:size]
			for x := 1; x < size; x++ {
				if four := above[x-1] + above[x] + line[x-1] + line[x]; four == 0 || four == 4 {
					sum += 3
				}
			}
		}
	}
	return sum
}

// confusion counts the long runs of one line, and what looks like a finder with light beside it.
func confusion(cells []byte, step, size int) (sum int) {
	const before, after, eleven = 0b0000_1011101, 0b1011101_0000, 1<<11 - 1
	run, last, window := 0, byte(2), 0
	for j := range size {
		cell := cells[j*step]
		if cell != last {
			run, last = 0, cell
		}
		if run++; run == 5 {
			sum += 3
		} else if run > 5 {
			sum++
		}
		window = (window<<1 | int(cell)) & eleven
		if j >= 10 && (window == before || window == after) {
			sum += 40
		}
	}
	return sum
}
