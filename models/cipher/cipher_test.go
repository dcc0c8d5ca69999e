package cipher

import (
	"bytes"
	"crypto/cipher"
	"errors"
	"testing"
)

var (
	testKey  = []byte("the half that authenticates ....the half that encrypts .........")
	testIV   = []byte("an IV, 16 bytes.")
	testData = []byte("room 1, entry 2")
)

func testAEAD(t *testing.T) cipher.AEAD {
	t.Helper()
	a, err := NewAEAD(testKey)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestNoLengthOfInputMakesOpenPanic(t *testing.T) {
	a := testAEAD(t)
	sealed := a.Seal(nil, testIV, []byte("Good evening, Grace."), testData)
	for n := range len(sealed) {
		if plain, err := a.Open(nil, testIV, sealed[:n], testData); err != ErrAuth || plain != nil {
			t.Errorf("first %d bytes: %q, %v", n, plain, err)
		}
		if plain, err := a.Open(nil, testIV, sealed[n+1:], testData); err != ErrAuth || plain != nil {
			t.Errorf("without the first %d bytes: %q, %v", n+1, plain, err)
		}
	}
	for n := range 40 {
		if n != len(testIV) {
			if plain, err := a.Open(nil, make([]byte, n), sealed, testData); err != ErrAuth || plain != nil {
				t.Errorf("IV of %d bytes: %q, %v", n, plain, err)
			}
			// Not even if a holder of the key made the tag fit.
			own := newAEAD(testKey)
			tag := own.mac.take().tag(testData, make([]byte, n), sealed[:32])
			if plain, err := a.Open(nil, make([]byte, n), append(bytes.Clone(sealed[:32]), tag...), testData); err != ErrAuth || plain != nil {
				t.Errorf("IV of %d bytes with a tag: %q, %v", n, plain, err)
			}
		}
	}
}

func TestSealPanicsOnAnotherIVLength(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("it did not")
		}
	}()
	testAEAD(t).Seal(nil, testIV[:12], nil, nil)
}

func TestSealAndOpenAppend(t *testing.T) {
	a := testAEAD(t)
	for n := range 70 {
		plain := bytes.Repeat([]byte("p"), n)
		for _, spare := range []int{0, 5, 200} {
			dst := append(make([]byte, 0, 6+spare), "before"...)
			sealed := a.Seal(dst, testIV, plain, testData)
			if !bytes.HasPrefix(sealed, []byte("before")) || len(sealed) > 6+n+a.Overhead() || len(sealed) <= 6+n+tagSize {
				t.Fatalf("%d bytes, %d spare: sealed as %q", n, spare, sealed)
			}
			opened, err := a.Open(dst, testIV, bytes.Clone(sealed[6:]), testData)
			if err != nil || string(opened) != "before"+string(plain) {
				t.Fatalf("%d bytes, %d spare: %q, %v", n, spare, opened, err)
			}
		}
		// In place, as crypto/cipher.AEAD allows.
		buffer := append(make([]byte, 0, n+a.Overhead()), plain...)
		sealed := a.Seal(buffer[:0], testIV, buffer, testData)
		if opened, err := a.Open(sealed[:0], testIV, sealed, testData); err != nil || !bytes.Equal(opened, plain) {
			t.Fatalf("%d bytes in place: %q, %v", n, opened, err)
		}
	}
}

// The tag is right and the padding is not, which only a holder of the key can
// make: still nothing of the plaintext may be left behind.
func TestAFailedOpenLeavesNoPlaintext(t *testing.T) {
	a := newAEAD(testKey)
	body := []byte("a secret text ..") // a whole block without padding
	cipher.NewCBCEncrypter(a.block, testIV).CryptBlocks(body, body)
	s := a.mac.take()
	sealed := append(body, s.tag(testData, testIV, body)...)
	buffer := make([]byte, 0, 64)
	if _, err := a.Open(buffer, testIV, sealed, testData); err != ErrAuth {
		t.Fatal(err)
	}
	if !bytes.Equal(buffer[:64], make([]byte, 64)) {
		t.Errorf("left %q", buffer[:64])
	}

	// And with a wrong tag nothing is decrypted at all.
	sealed = a.Seal(nil, testIV, []byte("a secret text"), testData)
	sealed[len(sealed)-1] ^= 1
	if _, err := a.Open(buffer, testIV, sealed, testData); err != ErrAuth || !bytes.Equal(buffer[:64], make([]byte, 64)) {
		t.Errorf("%v, left %q", err, buffer[:64])
	}
}

func TestEveryFailureIsTheSameValue(t *testing.T) {
	if errors.Unwrap(ErrAuth) != nil {
		t.Error("ErrAuth wraps a reason")
	}
	a := testAEAD(t)
	sealed := a.Seal(nil, testIV, []byte("text"), testData)
	flip := func(b []byte, i int) []byte { c := bytes.Clone(b); c[i] ^= 0x80; return c }
	for name, open := range map[string]func() ([]byte, error){
		"nothing": func() ([]byte, error) { return a.Open(nil, nil, nil, nil) },
		"IV":      func() ([]byte, error) { return a.Open(nil, flip(testIV, 3), sealed, testData) },
		"data":    func() ([]byte, error) { return a.Open(nil, testIV, sealed, flip(testData, 3)) },
		"no data": func() ([]byte, error) { return a.Open(nil, testIV, sealed, nil) },
		"body":    func() ([]byte, error) { return a.Open(nil, testIV, flip(sealed, 3), testData) },
		"tag":     func() ([]byte, error) { return a.Open(nil, testIV, flip(sealed, 20), testData) },
	} {
		if plain, err := open(); err != ErrAuth || plain != nil {
			t.Errorf("%s: %q, %v", name, plain, err)
		}
	}
}
