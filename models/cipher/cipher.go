// Package cipher is where Conclave's bytes become unreadable and unchangeable
// for whoever has the database but not the key file.
//
// A [Master] comes from the key file and only wraps other secrets. A [Service]
// holds the one secret of a database: it seals what belongs to users and
// computes every blind index and token hash. A [RoomKey] seals what is said in
// one room during one epoch, and a [Chain] links the entries of a room's log.
// Each thing that is stored has its own pair of functions, Seal and Open, whose
// arguments are the place it belongs to; an envelope opens in that place only.
//
// Everything that does not open gives the one error [ErrAuth]. No error, String
// or log value holds a key or a plaintext. All types are safe for concurrent
// use. FORMAT.md describes every byte.
package cipher

// The rules of this file:
//
//   - Encrypt, then authenticate. Opening compares the whole tag in constant
//     time first and decrypts nothing unless it fits.
//   - The padding is looked at without a branch on its bytes, although the tag
//     has already spoken for it.
//   - Every failure of Open is ErrAuth, and on failure no plaintext is left in
//     the caller's buffer.

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"slices"
	"sync"
)

const (
	secretSize = 64            // bytes of every secret and every AEAD key: MAC half, encryption half
	blockSize  = aes.BlockSize // 16
	ivSize     = blockSize
	tagSize    = sha512.Size / 2 // 32
)

// ErrAuth is the only error of opening anything: a wrong key, place, length,
// version, tag or padding all look the same.
var ErrAuth = errors.New("not authentic: wrong key, wrong place or changed bytes")

// NewAEAD returns AEAD_AES_256_CBC_HMAC_SHA_512 (RFC 7518, sections 5.2.2 and
// 5.2.5) under a key of 64 bytes, of which the first 32 authenticate and the
// last 32 encrypt (section 5.2.2.1, step 1). The nonce is the IV of 16 bytes,
// which must be unpredictable and never repeat. Sealing adds 33 to 48 bytes:
// padding, then a tag of 32 bytes. The error is that of a key of another length.
//
// Open answers ErrAuth to a nonce of another length; Seal panics, as the
// standard library's AEADs do.
func NewAEAD(key []byte) (cipher.AEAD, error) {
	if len(key) != secretSize {
		return nil, fmt.Errorf("cipher: the key has %d bytes instead of %d", len(key), secretSize)
	}
	return newAEAD(key), nil
}

type aead struct {
	redacted
	mac   *keyed
	block cipher.Block
}

// newAEAD is NewAEAD for a key that is known to have 64 bytes.
func newAEAD(key []byte) *aead {
	block, err := aes.NewCipher(key[32:])
	if err != nil {
		panic(err) // only a wrong key length
	}
	return &aead{mac: newKeyed(sha512.New, key[:32]), block: block}
}

func (a *aead) NonceSize() int { return ivSize }

// Overhead is the most that Seal adds: a whole block of padding and the tag.
func (a *aead) Overhead() int { return blockSize + tagSize }

// Seal appends ciphertext and tag to dst (RFC 7518, section 5.2.2.1).
func (a *aead) Seal(dst, nonce, plaintext, additionalData []byte) []byte {
	if len(nonce) != ivSize {
		panic("cipher: the IV must have 16 bytes")
	}
	n := paddedSize(len(plaintext))
	whole := slices.Grow(dst, n+tagSize)[:len(dst)+n+tagSize]
	body, tag := whole[len(dst):len(dst)+n], whole[len(dst)+n:]

	copy(body, plaintext)
	for i := len(plaintext); i < n; i++ {
		body[i] = byte(n - len(plaintext))
	}
	cipher.NewCBCEncrypter(a.block, nonce).CryptBlocks(body, body)

	s := a.mac.take()
	defer a.mac.give(s)
	copy(tag, s.tag(additionalData, nonce, body))
	return whole
}

// Open appends the plaintext to dst (RFC 7518, section 5.2.2.2).
func (a *aead) Open(dst, nonce, ciphertext, additionalData []byte) ([]byte, error) {
	n := len(ciphertext) - tagSize
	if len(nonce) != ivSize || n < blockSize || n%blockSize != 0 {
		return nil, ErrAuth
	}
	body, tag := ciphertext[:n], ciphertext[n:]

	s := a.mac.take()
	defer a.mac.give(s)
	if subtle.ConstantTimeCompare(tag, s.tag(additionalData, nonce, body)) != 1 {
		return nil, ErrAuth
	}

	whole := slices.Grow(dst, n)[:len(dst)+n]
	plain := whole[len(dst):]
	cipher.NewCBCDecrypter(a.block, nonce).CryptBlocks(plain, body)
	padding, ok := paddingOf(plain[n-blockSize:])
	if !ok {
		clear(plain)
		return nil, ErrAuth
	}
	return whole[:len(whole)-padding], nil
}

// paddedSize is the length of n bytes with their padding, PKCS #7 (RFC 5652,
// section 6.3): always at least one byte more, up to a whole block.
func paddedSize(n int) int { return (n/blockSize + 1) * blockSize }

// paddingOf reads the PKCS #7 padding at the end of the last block: p bytes of
// value p, 1 <= p <= 16. It looks at all 16 bytes whatever they are.
func paddingOf(last []byte) (padding int, ok bool) {
	value := last[blockSize-1]
	p := int(value)
	good := subtle.ConstantTimeLessOrEq(1, p) & subtle.ConstantTimeLessOrEq(p, blockSize)
	for i, b := range last {
		text := subtle.ConstantTimeLessOrEq(p, blockSize-1-i) // 1 before the padding begins
		good &= text | subtle.ConstantTimeByteEq(b, value)
	}
	return p, good == 1
}

// keyed is HMAC under one key. Its pool holds states that have the key already
// worked in, so that a sum costs a Reset instead of two more hashed blocks and
// five allocations.
type keyed struct{ states sync.Pool }

type state struct {
	hash.Hash
	in, out []byte // scratch: what passes through it need not move to the heap
}

func newKeyed(h func() hash.Hash, key []byte) *keyed {
	return &keyed{sync.Pool{New: func() any { return &state{Hash: hmac.New(h, key)} }}}
}

func (k *keyed) take() *state {
	s := k.states.Get().(*state)
	s.Reset()
	return s
}

func (k *keyed) give(s *state) {
	clear(s.in[:cap(s.in)]) // it may have been a token or a code
	k.states.Put(s)
}

// sum is the first 32 bytes of the HMAC of all parts, one after the other.
func (k *keyed) sum(parts ...[]byte) [32]byte {
	s := k.take()
	defer k.give(s)
	for _, part := range parts {
		s.add(part)
	}
	s.out = s.Sum(s.out[:0])
	return [32]byte(s.out)
}

// tag is the authentication tag over associated data, IV and ciphertext, valid
// until the state is given back (RFC 7518, section 5.2.2.1, steps 4 and 5).
func (s *state) tag(data, iv, body []byte) []byte {
	s.add(data)
	s.add(iv)
	s.Write(body)
	s.add(binary.BigEndian.AppendUint64(nil, 8*uint64(len(data))))
	s.out = s.Sum(s.out[:0])
	return s.out[:tagSize]
}

func (s *state) add(part []byte) {
	s.in = append(s.in[:0], part...)
	s.Write(s.in)
}
