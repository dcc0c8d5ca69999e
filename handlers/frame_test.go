package handlers

import (
	"regexp"
	"strings"
	"testing"
)

func TestNoTextCanForgeAnEvent(t *testing.T) { // R45, P14
	lineEnd := regexp.MustCompile("\r\n|\r|\n") // as the standard and htmx read it
	for _, text := range []string{
		"hello\revent: session-end\rdata: x\r\rid: 99\r", "a\r\n\r\nid: 99\r\ndata: forged", "a\n\nid: 99\n\n", "\r", "\n", "\r\n\r", "", "id: 99", ":", "retry: 1",
		"NUL \x00 id: 1\x002", "a\u2028id: 99\u2029", "a\x0bid: 99\x0c\u0085", "\n\revent: hx:release",
	} {
		for _, n := range []uint64{0, 7} {
			frame := string(event(n, []byte(text)))
			if !strings.HasSuffix(frame, "\n\n") || strings.Contains(frame, "\x00") {
				t.Fatalf("%q becomes %q", text, frame)
			}
			lines := lineEnd.Split(strings.TrimSuffix(frame, "\n\n"), -1)
			if n > 0 {
				if lines[0] != "id: 7" {
					t.Errorf("%q: the event begins %q", text, lines[0])
				}
				lines = lines[1:]
			}
			var data []string
			for _, line := range lines {
				value, ok := strings.CutPrefix(line, "data: ")
				if !ok {
					t.Errorf("%q has made the line %q", text, line)
				}
				data = append(data, value)
			}
			want := strings.Join(lineEnd.Split(strings.ReplaceAll(text, "\x00", ""), -1), "\n")
			if got := strings.Join(data, "\n"); got != want {
				t.Errorf("%q arrives as %q", text, got)
			}
		}
	}
}
