package handlers

import (
	"encoding/binary"
	"hash/crc32"
	"iter"
	"math/bits"
	"strings"
	"sync"
)

// The pages of rooms are sent packed, in the format of gzip, but not by an ordinary packer. That one
// looks for repeats everywhere, and so the size of a page tells whether what one person has written
// occurs elsewhere on it: a guess at the room's code, for example (the attack is known as BREACH).
// This one is blind to what people write:
//
//   - only markup repeats markup: the names of elements and attributes, and the values of those
//     attributes that hold nothing but words of ours. Everything else, each text and each other
//     value, is spelled letter by letter, and nothing ever refers to it;
//   - how many bits a letter takes is fixed, and does not depend on the page.
//
// So each piece of text adds to the size what it would add alone, whatever else is on the page.

// packed is a packed page, with a hole for letters and digits that must be new each time.
type packed struct {
	head, tail []byte
	before     uint32 // CRC-32 of the page up to the hole
}

const gzipHeader = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff" // RFC 1952: deflate, no name, no time

// pack packs a page. Between its two parts it has a hole of so many bytes; 0 for none.
func pack(before, after string, hole int) packed {
	page := before + strings.Repeat(" ", hole) + after
	p := packers.Get().(*packer)
	defer packers.Put(p)
	*p = packer{out: append(make([]byte, 0, len(page)/3+len(gzipHeader)), gzipHeader...)}
	head, start := 0, 0
	if hole > 0 {
		p.block(page, 0, len(before), false)
		p.leave(hole)
		head, start = len(p.out), len(before)+hole
	}
	p.block(page, start, len(page), true)
	p.align()
	return packed{p.out[:head:head], p.out[head:], crc32.ChecksumIEEE([]byte(before))}
}

// with fills the hole. What follows it on the page is needed for the checksum.
func (p packed) with(text, after string, size int) []byte {
	out := make([]byte, 0, len(p.head)+len(text)+len(p.tail)+8)
	out = append(append(append(out, p.head...), text...), p.tail...)
	sum := crc32.Update(p.before, crc32.IEEETable, []byte(text))
	sum = crc32.Update(sum, crc32.IEEETable, []byte(after))
	out = binary.LittleEndian.AppendUint32(out, sum)
	return binary.LittleEndian.AppendUint32(out, uint32(size))
}

// ours are the attributes whose values are words of ours, and never anybody's text, name or number.
var ours = map[string]bool{
	"class": true, "type": true, "method": true, "role": true, "dir": true, "rel": true, "target": true, "tabindex": true,
	"aria-hidden": true, "aria-live": true, "data-show": true, "viewBox": true, "popover": true, "popovertarget": true,
	"hx-ignore": true, "hx-swap": true, "hx-sync": true, "hx-trigger": true, "hx-status:4xx": true, "hx-status:5xx": true,
}

// addresses are the attributes that hold addresses of ours. How they begin is no secret to a reader,
// and nobody can choose it.
var addresses = map[string]bool{"href": true, "action": true, "hx-get": true, "hx-post": true}

const (
	addressStart  = "/rooms/"
	addressMiddle = "/messages/"
	idLetters     = 32 // of a room
)

// markup finds the markup of a page that the views have written: there each value stands between
// double quotes, and a text holds neither these nor angle brackets.
func markup(page string) iter.Seq2[int, int] {
	return func(yield func(from, to int) bool) {
		for at := 0; ; {
			next := strings.IndexByte(page[at:], '<')
			if next < 0 {
				return
			}
			from := at + next
			at = from
			for at < len(page) && (page[at] != '>' || at+1 < len(page) && page[at+1] == '<') {
				if page[at] != '"' {
					at++
					continue
				}
				value := at + 1
				at = value + strings.IndexByte(page[value:], '"')
				if at < value {
					return // no markup of ours
				}
				if told := value + known(page[from:value], page[value:at]); told < at {
					if !yield(from, told) {
						return
					}
					from = at
				}
				at++
			}
			at = min(at+1, len(page))
			if !yield(from, at) {
				return
			}
		}
	}
}

// known is how much of an attribute's value is markup. The tag up to the value ends with name=".
func known(tag, value string) int {
	name := strings.TrimSuffix(tag, `="`)
	name = name[strings.LastIndexAny(name, " <")+1:]
	switch {
	case ours[name]:
		return len(value)
	case !addresses[name] || !strings.HasPrefix(value, addressStart) || len(value) < len(addressStart)+idLetters:
		return 0
	case strings.Trim(value[len(addressStart):len(addressStart)+idLetters], "0123456789abcdef") != "":
		return 0
	case strings.HasPrefix(value[len(addressStart)+idLetters:], addressMiddle):
		return len(addressStart) + idLetters + len(addressMiddle)
	}
	return len(addressStart) + idLetters
}

// packer writes blocks with codes of their own (RFC 1951, section 3.2.7), which are always the same.
type packer struct {
	out  []byte
	held uint64 // bits that are not in it yet
	n    uint
	seen [1 << 11][4]place // where four letters of markup stood, the last first
}

// place is where something stood in a piece of markup, and where that piece ends.
type place struct{ at, end int32 }

var packers = sync.Pool{New: func() any { return &packer{} }}

const (
	shortest, longest = 4, 258     // of a repeat
	farthest          = 32 << 10   // how far back it may refer
	spread            = 0x9E3779B1 // for the table of what was seen
)

// block packs a part of a page; what stands before that may be repeated in it.
func (p *packer) block(page string, at, end int, last bool) {
	p.begin(last)
	for from, to := range markup(page) {
		if from, to = max(from, at), min(to, end); from < to {
			p.spell(page[at:from])
			p.repeat(page, from, to)
			at = to
		}
	}
	p.spell(page[at:end])
	p.symbol(endOfBlock)
}

// spell writes letters as they are.
func (p *packer) spell(text string) {
	for i := range len(text) {
		p.symbol(int(text[i]))
	}
}

// repeat writes a piece of markup, and refers to what was there before where it can.
func (p *packer) repeat(page string, at, end int) {
	for at < end {
		length, distance := p.find(page, at, end)
		if length < shortest {
			length = 1
			p.symbol(int(page[at]))
		} else {
			p.refer(length, distance)
		}
		for range length {
			p.note(page, at, end)
			at++
		}
	}
}

func (p *packer) bucket(page string, at int) *[4]place {
	four := uint32(page[at]) | uint32(page[at+1])<<8 | uint32(page[at+2])<<16 | uint32(page[at+3])<<24
	return &p.seen[four*spread>>(32-11)]
}

func (p *packer) note(page string, at, end int) {
	if at+shortest <= end {
		b := p.bucket(page, at)
		copy(b[1:], b[:])
		b[0] = place{int32(at), int32(end)}
	}
}

func (p *packer) find(page string, at, end int) (length, distance int) {
	if at+shortest > end {
		return 0, 0
	}
	for _, before := range p.bucket(page, at) {
		from, most := int(before.at), min(end-at, int(before.end-before.at), longest)
		if most <= length || at-from > farthest {
			continue
		}
		same := 0
		for same < most && page[from+same] == page[at+same] {
			same++
		}
		if same > length {
			length, distance = same, at-from
		}
	}
	return length, distance
}

// refer writes that what stood so far back is repeated (RFC 1951, section 3.2.5).
func (p *packer) refer(length, distance int) {
	switch over := length - 3; {
	case length == longest:
		p.symbol(285)
	case over < 8:
		p.symbol(257 + over)
	default:
		extra := bits.Len(uint(over)) - 3
		p.symbol(257 + 4*extra + over>>extra)
		p.write(uint64(over), uint(extra))
	}
	over := distance - 1
	if over < 4 {
		p.distance(over)
		return
	}
	extra := bits.Len(uint(over)) - 2
	p.distance(2*extra + over>>extra)
	p.write(uint64(over), uint(extra))
}

const endOfBlock = 256

func (p *packer) symbol(s int) { p.write(uint64(letterCodes[s].bits), letterCodes[s].n) }

func (p *packer) distance(d int) { p.write(uint64(distanceCodes[d].bits), distanceCodes[d].n) }

// begin opens a block and says what the codes are: 286 for letters and lengths, 30 for distances, each
// by its length in four bits.
func (p *packer) begin(last bool) {
	if last {
		p.write(1, 1)
	} else {
		p.write(0, 1)
	}
	p.write(2, 2)
	p.write(uint64(len(letterLengths)-257), 5)
	p.write(uint64(len(distanceLengths)-1), 5)
	p.write(19-4, 4)
	p.write(0, 3*3) // no codes for runs
	for range 16 {
		p.write(4, 3)
	}
	for _, l := range []byte(letterLengths + distanceLengths) {
		p.write(uint64(bits.Reverse8(digit(l))>>4), 4)
	}
}

// leave leaves room for bytes as they are (RFC 1951, section 3.2.4).
func (p *packer) leave(hole int) {
	p.write(0, 3)
	p.align()
	p.out = binary.LittleEndian.AppendUint16(p.out, uint16(hole))
	p.out = binary.LittleEndian.AppendUint16(p.out, ^uint16(hole))
}

// write writes the lowest n bits of up to 16, the lowest first.
func (p *packer) write(b uint64, n uint) {
	p.held |= b & (1<<n - 1) << p.n
	if p.n += n; p.n >= 32 {
		p.out = binary.LittleEndian.AppendUint32(p.out, uint32(p.held))
		p.held >>= 32
		p.n -= 32
	}
}

// align goes on at the beginning of a byte.
func (p *packer) align() {
	for p.n = (p.n + 7) &^ 7; p.n > 0; p.n -= 8 {
		p.out = append(p.out, byte(p.held))
		p.held >>= 8
	}
}

// code is what stands for a letter, a length or a distance.
type code struct {
	bits uint16 // the first one lowest
	n    uint
}

// The lengths of the codes in bits, as hexadecimal digits. They come from how often each letter
// occurs in pages of rooms and in a few languages; which lengths they are only changes how well a page packs.
const (
	letterLengths   = "ffffffffffbfffffffffffffffffffff3a79fdac99fc8676555666777779987afaa8a99999bb988bcb9a79bbb99efefdf576547755a865557b55577787cefdffccccccccccc9ccccccccccccccccccccccccccccccccccc9ccccccccccccccccffdbddddddddddddbbddddddbbdddddddd9bbbbdddddddddbddddfffffffffffff787888a88a99ab9a99989fffffff"
	distanceLengths = "bbbb88876655455445234555568986"
)

var letterCodes, distanceCodes = codes(letterLengths), codes(distanceLengths)

// codes numbers codes as RFC 1951, section 3.2.2, does.
func codes(lengths string) []code {
	list := make([]code, len(lengths))
	next := uint16(0)
	for n := uint(1); n < 16; n++ {
		next <<= 1
		for i := range list {
			if uint(digit(lengths[i])) == n {
				list[i] = code{bits.Reverse16(next) >> (16 - n), n}
				next++
			}
		}
	}
	return list
}

func digit(hex byte) byte {
	if hex >= 'a' {
		return hex - 'a' + 10
	}
	return hex - '0'
}
