package cipher

// The rules of this file:
//
//   - An envelope is header | ciphertext | tag. It is stored and carried whole.
//   - What an envelope says about itself is never believed: the caller names
//     the place, and header and associated data are made from that.
//   - Lengths, version, kind and epoch are judged before any cryptography.
//   - Numbers are big endian and of fixed width; there are no separators.

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
)

// ID names a room, a user or an object.
type ID = [16]byte

// kind says what an envelope holds; the numbers are decimal. 2, 11 and 12 are
// kept for files and for rooms whose keys only browsers hold.
type kind byte

const (
	kindMessage  kind = 1  // the text of a message, under a RoomKey
	kindMetadata kind = 3  // the name of a room, under a RoomKey
	kindTOTP     kind = 4  // a user's TOTP secret, under the Service
	kindSecret   kind = 5  // a wrapped secret, under the Master
	kindPassword kind = 6  // a password hash, under the Service
	kindCode     kind = 7  // the code of a room, under the Service
	kindPasskey  kind = 8  // a user's passkey, under the Service
	kindProfile  kind = 9  // a user's profile, under the Service
	kindSession  kind = 10 // a session's data, under the Service
)

const (
	version     = 1 // the suite of this package; another suite is another version
	prefixSize  = 6 // version, kind, epoch
	headerSize  = prefixSize + ivSize
	minEnvelope = headerSize + blockSize + tagSize // 70
	placeSize   = 82

	maxMessage = 16_454 // bytes of an envelope: a body of at most 16,399
	maxSecret  = headerSize + secretSize + blockSize + tagSize
	maxOther   = 65_590 // a content of at most 65,535 bytes
)

// maximum is the size in bytes of the largest envelope of this kind.
func (k kind) maximum() int {
	switch k {
	case kindMessage:
		return maxMessage
	case kindSecret:
		return maxSecret
	default:
		return maxOther
	}
}

// place is all that an envelope is bound to. Fields without a meaning for the
// kind stay zero; FORMAT.md has the table.
type place struct {
	kind                kind
	epoch               uint32 // of the room, of the service secret, or the id of the master
	room, object, owner ID
	n                   uint64
	created             int64 // unix milliseconds
	revision            uint32
}

// associated returns the associated data. Its bytes 8 to 13 are the beginning
// of the envelope's header.
func (p *place) associated() (data [placeSize]byte) {
	b := append(data[:0], "conclave"...)
	b = append(b, version, byte(p.kind))
	b = binary.BigEndian.AppendUint32(b, p.epoch)
	b = append(b, p.room[:]...)
	b = append(b, p.object[:]...)
	b = append(b, p.owner[:]...)
	b = binary.BigEndian.AppendUint64(b, p.n)
	b = binary.BigEndian.AppendUint64(b, uint64(p.created))
	binary.BigEndian.AppendUint32(b, p.revision)
	return data
}

// seal puts the content into an envelope that opens at this place only. It
// panics when the envelope would be over the maximum of its kind: nothing that
// Open would refuse may be stored.
func (a *aead) seal(p place, content []byte) []byte {
	size := envelopeSize(len(content))
	if size > p.kind.maximum() {
		panic("cipher: the content is too long for its kind")
	}
	data := p.associated()
	envelope := make([]byte, headerSize, size)
	copy(envelope, data[8:8+prefixSize])
	iv := envelope[prefixSize:]
	rand.Read(iv) // never fails: it ends the program instead
	return a.Seal(envelope, iv, content, data[:])
}

// open returns the content of an envelope that was sealed at this place.
func (a *aead) open(p place, envelope []byte) ([]byte, error) {
	data := p.associated()
	if !fits(envelope, p.kind) || !bytes.Equal(envelope[:prefixSize], data[8:8+prefixSize]) {
		return nil, ErrAuth
	}
	return a.Open(nil, envelope[prefixSize:headerSize], envelope[headerSize:], data[:])
}

// fits reports whether an envelope can be one of this kind, judging by its
// length and header alone.
func fits(envelope []byte, k kind) bool {
	return len(envelope) >= minEnvelope && len(envelope) <= k.maximum() &&
		(len(envelope)-headerSize-tagSize)%blockSize == 0 &&
		envelope[0] == version && kind(envelope[1]) == k && EpochOf(envelope) != 0
}

func envelopeSize(content int) int { return headerSize + paddedSize(content) + tagSize }

// EpochOf returns the epoch an envelope names, 0 when it is too short to be
// one. Nothing vouches for it until the envelope is opened.
func EpochOf(envelope []byte) uint32 {
	if len(envelope) < minEnvelope {
		return 0
	}
	return binary.BigEndian.Uint32(envelope[2:])
}

// Tag returns the last 32 bytes of an envelope, which stand for it in the log;
// zeros when it is too short to be one.
func Tag(envelope []byte) (tag [32]byte) {
	if len(envelope) >= minEnvelope {
		copy(tag[:], envelope[len(envelope)-tagSize:])
	}
	return tag
}
