package cipher

import (
	"bytes"
	"crypto/aes"
	"math/rand/v2"
	"testing"

	josecipher "github.com/go-jose/go-jose/v4/cipher"
)

// Somebody else's implementation of the same construction is the other opinion: 10,000 random
// keys, nonces, texts and associated data, the same every time. Each case is also broken in one
// random bit, which both must refuse.
func TestAnotherImplementationSealsAndOpensTheSame(t *testing.T) {
	r := rand.NewChaCha8([32]byte([]byte("conclave differential test, 2026")))
	random := func(n uint64) []byte {
		b := make([]byte, n)
		r.Read(b)
		return b
	}
	for i := range 10_000 {
		key, nonce := random(secretSize), random(ivSize)
		text, data := random(r.Uint64()%600), random(r.Uint64()%200)
		if i%100 == 0 {
			text = random(r.Uint64() % 17_000)
		}
		ours, err := NewAEAD(key)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := josecipher.NewCBCHMAC(key, aes.NewCipher)
		if err != nil {
			t.Fatal(err)
		}
		sealed := ours.Seal(nil, nonce, text, data)
		if want := theirs.Seal(nil, nonce, bytes.Clone(text), data); !bytes.Equal(sealed, want) {
			t.Fatalf("case %d: sealed as\n%x, not\n%x", i, sealed, want)
		}
		if opened, err := ours.Open(nil, nonce, sealed, data); err != nil || !bytes.Equal(opened, text) {
			t.Fatalf("case %d: opened as %x, %v", i, opened, err)
		}
		if opened, err := theirs.Open(nil, nonce, bytes.Clone(sealed), data); err != nil || !bytes.Equal(opened, text) {
			t.Fatalf("case %d: they open it as %x, %v", i, opened, err)
		}

		fields := [][]byte{nonce, sealed}
		if len(data) > 0 {
			fields = append(fields, data)
		}
		field := fields[r.Uint64()%uint64(len(fields))]
		field[r.Uint64()%uint64(len(field))] ^= 1 << (r.Uint64() % 8)
		if opened, err := ours.Open(nil, nonce, sealed, data); err != ErrAuth || opened != nil {
			t.Fatalf("case %d, one bit changed: opened as %x, %v", i, opened, err)
		}
		if _, err := theirs.Open(nil, nonce, bytes.Clone(sealed), data); err == nil {
			t.Fatalf("case %d, one bit changed: they open it", i)
		}
		if short := r.Uint64() % uint64(len(sealed)); i%4 == 0 {
			if opened, err := ours.Open(nil, nonce, sealed[:short], data); err != ErrAuth || opened != nil {
				t.Fatalf("case %d, %d bytes of it: opened as %x, %v", i, short, opened, err)
			}
		}
	}
}
