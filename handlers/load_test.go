package handlers_test

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/tls"
	"fmt"
	"io"
	"math/bits"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// The light listener of the load generator. It runs on the same machine as the server that it
// measures, thousands of times, so it does as little as it can: one connection, one stream,
// buffers that are used again, and no look into an event beyond its number and its mark.

// wide is a window that a listener hardly ever has to open again, as browsers have it.
const wide = 1 << 24

// ear is one connection with one open stream.
type ear struct {
	conn   net.Conn
	out    *bufio.Writer
	framer *http2.Framer
	window uint32
	used   uint32 // of the window, since it was opened last
	rest   []byte // of an event that has not arrived whole
}

// openEar asks for a stream and returns when the server has accepted it.
func openEar(trust *tls.Config, address, path, cookie, lastID string, window uint32) (*ear, error) {
	dialer := net.Dialer{Timeout: time.Minute}
	conn, err := tls.DialWithDialer(&dialer, "tcp", address, trust)
	if err != nil {
		return nil, err
	}
	e := &ear{conn: conn, out: bufio.NewWriterSize(conn, 1024), window: window}
	e.framer = http2.NewFramer(e.out, bufio.NewReader(conn))
	e.framer.SetReuseFrames()
	e.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := e.ask(address, path, cookie, lastID); err != nil {
		conn.Close()
		return nil, err
	}
	return e, nil
}

func (e *ear) ask(address, path, cookie, lastID string) error {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, h := range [][2]string{
		{":method", "GET"}, {":scheme", "https"}, {":authority", address}, {":path", path},
		{"accept", "text/event-stream"}, {"cookie", cookie}, {"last-event-id", lastID},
	} {
		if h[1] != "" {
			encoder.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]}) // a Buffer never fails
		}
	}
	// What fails here fails again at the Flush.
	e.out.WriteString(http2.ClientPreface)
	e.framer.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 0}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: e.window})
	e.framer.WriteWindowUpdate(0, wide)
	e.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true})
	if err := e.out.Flush(); err != nil {
		return err
	}
	for {
		frame, err := e.next()
		if err != nil {
			return err
		}
		if head, ok := frame.(*http2.MetaHeadersFrame); ok {
			if status := head.PseudoValue("status"); status != "200" {
				return fmt.Errorf("the feed answers %s", status)
			}
			return nil
		}
	}
}

// next reads a frame and answers those that want an answer.
func (e *ear) next() (http2.Frame, error) {
	frame, err := e.framer.ReadFrame()
	if err != nil {
		return nil, err
	}
	switch f := frame.(type) {
	case *http2.DataFrame:
		if e.used += uint32(len(f.Data())); e.used < e.window/2 {
			return f, nil
		}
		e.framer.WriteWindowUpdate(0, e.used)
		e.framer.WriteWindowUpdate(1, e.used)
		e.used = 0
	case *http2.SettingsFrame:
		if !f.IsAck() {
			e.framer.WriteSettingsAck()
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			e.framer.WritePing(true, f.Data)
		}
	case *http2.RSTStreamFrame, *http2.GoAwayFrame:
		return nil, fmt.Errorf("the server ends the stream: %v", f)
	}
	return frame, e.out.Flush()
}

// listen hands over each whole event, with the empty line that ends it, until the stream ends.
// The bytes are good until heard returns.
func (e *ear) listen(heard func(event []byte)) error {
	for {
		frame, err := e.next()
		if err != nil {
			return err
		}
		f, ok := frame.(*http2.DataFrame)
		if !ok {
			continue
		}
		data := f.Data()
		if len(e.rest) > 0 {
			e.rest = append(e.rest, data...)
			data = e.rest
		}
		for {
			end := bytes.Index(data, []byte("\n\n"))
			if end < 0 {
				break
			}
			heard(data[:end+2])
			data = data[end+2:]
		}
		e.rest = append(e.rest[:0], data...)
		if f.StreamEnded() {
			return io.EOF
		}
	}
}

// eventNumber returns the number in an event's id line, which is its first; 0 when it has none.
func eventNumber(event []byte) uint64 {
	digits, ok := bytes.CutPrefix(event, []byte("id: "))
	if !ok {
		return 0
	}
	return number(digits)
}

// number reads the digits that b begins with.
func number(b []byte) (n uint64) {
	for _, c := range b {
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + uint64(c-'0')
	}
	return n
}

// A text of the load carries a mark by which a listener knows it: which message of the run it
// is, and when it was sent.
const mark = "mark-"

// markedText is a message of 200 bytes, about what people write at a time.
func markedText(seq int, sent time.Time) string {
	head := fmt.Sprintf("%s%08d-%019d", mark, seq, sent.UnixNano())
	return head + strings.Repeat(" and so on", 20)[:200-len(head)]
}

// nextMark finds the first mark in b, and what comes after it.
func nextMark(b []byte) (seq int, sent int64, rest []byte) {
	i := bytes.Index(b, []byte(mark))
	if i < 0 || len(b) < i+len(mark)+28 {
		return -1, 0, nil
	}
	b = b[i+len(mark):]
	return int(number(b[:8])), int64(number(b[9:28])), b[28:]
}

// tally is what one listener has heard.
type tally struct {
	mu         sync.Mutex
	last       uint64 // number of the last event
	seen       []bool // by message of the run
	heard      int    // messages, each counted once
	doubled    int
	disordered int
	cuts       int // the stream ended and was opened again
	refreshes  int // the listener was so far behind that it got the newest page instead
	bytes      int
	latency    spread
}

// take notes an event and returns how many messages in it are new.
func (t *tally) take(event []byte) (fresh int) {
	if event[0] == ':' {
		return 0 // a heartbeat
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bytes += len(event)
	n := eventNumber(event)
	ordered := n > t.last
	t.last = max(t.last, n)
	seq, sent, rest := nextMark(event)
	_, _, more := nextMark(rest)
	page := more != nil // events of the feed show one message each
	if page {
		t.refreshes++
	}
	for ; rest != nil; seq, sent, rest = nextMark(rest) {
		for seq >= len(t.seen) {
			t.seen = append(t.seen, false)
		}
		switch {
		case t.seen[seq]:
			if !page {
				t.doubled++
			}
			continue
		case !ordered:
			t.disordered++
		}
		t.seen[seq] = true
		t.heard++
		fresh++
		t.latency.add(time.Duration(time.Now().UnixNano() - sent))
	}
	return fresh
}

func (t *tally) lastID() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last == 0 {
		return ""
	}
	return strconv.FormatUint(t.last, 10)
}

// spread counts durations by size, in steps of at most a sixteenth, so that millions of them
// take no room.
type spread struct {
	counts [40 << 4]uint32
	max    time.Duration
}

func (s *spread) add(d time.Duration) {
	s.max = max(s.max, d)
	us := uint64(max(d.Microseconds(), 16))
	shift := bits.Len64(us) - 5 // keeps five bits, the highest of which is 1
	s.counts[min(shift<<4+int(us>>shift)-16, len(s.counts)-1)]++
}

func (s *spread) join(o *spread) {
	for i, n := range o.counts {
		s.counts[i] += n
	}
	s.max = max(s.max, o.max)
}

// at returns the duration that the fraction q of all stayed below.
func (s *spread) at(q float64) time.Duration {
	total := uint64(0)
	for _, n := range s.counts {
		total += uint64(n)
	}
	sum := uint64(0)
	for i, n := range s.counts {
		if sum += uint64(n); n > 0 && float64(sum) >= q*float64(total) {
			return min(time.Duration((i&15+17)<<(i>>4))*time.Microsecond, cmp.Or(s.max, 1))
		}
	}
	return 0
}
