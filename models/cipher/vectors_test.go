package cipher

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
)

// A vector is a paragraph of "name: value" lines in testdata; what must come of
// it is in its "expect" line.
type vector map[string]string

func (v vector) bytes(t *testing.T, name string) []byte {
	t.Helper()
	text, there := v[name]
	b, err := hex.DecodeString(text)
	if err != nil || !there {
		t.Fatalf("the vector has no good %q", name)
	}
	return b
}

func eachVector(t *testing.T, file string, atLeast int, test func(*testing.T, vector)) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for paragraph := range strings.SplitSeq(string(text), "\n\n") {
		v := vector{}
		for line := range strings.Lines(paragraph) {
			if name, value, ok := strings.Cut(line, ":"); ok && line[0] != '#' {
				v[name] = strings.TrimSpace(value)
			}
		}
		if v["expect"] != "" {
			count++
			t.Run(v["name"], func(t *testing.T) { test(t, v) })
		}
	}
	if count < atLeast {
		t.Errorf("%s has %d vectors, not %d", file, count, atLeast)
	}
}

func TestAEADVectors(t *testing.T) {
	for file, count := range map[string]int{"testdata/aead.txt": 36, "testdata/wycheproof.txt": 94} {
		eachVector(t, file, count, func(t *testing.T, v vector) {
			a, err := NewAEAD(v.bytes(t, "key"))
			if err != nil {
				t.Fatal(err)
			}
			iv, data, sealed := v.bytes(t, "iv"), v.bytes(t, "data"), v.bytes(t, "sealed")
			plain, err := a.Open(nil, iv, sealed, data)
			switch v["expect"] {
			case "ErrAuth":
				if err != ErrAuth || plain != nil {
					t.Errorf("opened as %x, %v", plain, err)
				}
			case "ok":
				if err != nil || !bytes.Equal(plain, v.bytes(t, "plain")) {
					t.Errorf("opened as %x, %v", plain, err)
				}
				if again := a.Seal(nil, iv, v.bytes(t, "plain"), data); !bytes.Equal(again, sealed) {
					t.Errorf("sealed as %x", again)
				}
			default:
				t.Error("unknown expectation")
			}
		})
	}
}

func TestPaddingVectors(t *testing.T) {
	eachVector(t, "testdata/padding.txt", 71, func(t *testing.T, v vector) {
		padded := v.bytes(t, "padded")
		padding, ok := paddingOf(padded[len(padded)-blockSize:])
		if got := strconv.Itoa(padding); ok && got != v["expect"] || !ok && v["expect"] != "ErrAuth" {
			t.Errorf("padding %d, %v; expected %s", padding, ok, v["expect"])
		}
	})
}

// All 65,536 ends of two bytes, after a run of equal bytes, against the plain rule.
func TestPaddingIsJudgedAsTheRuleSays(t *testing.T) {
	for i := range 1 << 16 {
		for _, run := range []byte{2, 3, 15, 16} {
			last := append(bytes.Repeat([]byte{run}, blockSize-2), byte(i>>8), byte(i))
			p := int(last[blockSize-1])
			want := p >= 1 && p <= blockSize && bytes.HasSuffix(last, bytes.Repeat([]byte{byte(p)}, p))
			if padding, ok := paddingOf(last); ok != want || ok && padding != p {
				t.Fatalf("%x: %d, %v", last, padding, ok)
			}
		}
	}
}

func TestAKeyOfAnotherLengthIsAnError(t *testing.T) {
	for _, size := range []int{0, 32, 63, 65, 128} {
		if a, err := NewAEAD(make([]byte, size)); err == nil || a != nil || errors.Is(err, ErrAuth) {
			t.Errorf("%d bytes: %v, %v", size, a, err)
		}
	}
}
