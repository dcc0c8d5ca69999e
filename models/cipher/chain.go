package cipher

// The rules of this file:
//
//   - The head after entry n speaks for the room and for all entries up to n.
//   - It is keyed: whoever edits the database can recompute a plain hash.
//   - Every field has a fixed width, so no two entries give the same bytes.

import "encoding/binary"

// Chain computes the heads of one room's log.
type Chain struct {
	redacted
	room ID
	mac  *keyed
}

// Link is one entry of a room's log, as far as the chain covers it.
type Link struct {
	N       uint64   // number of the entry, from 1
	Op      byte     // what happened
	Target  ID       // a user, or MessageTarget
	Actor   ID       // who did it
	Epoch   uint32   // of the room
	Time    int64    // unix milliseconds
	Posts   uint64   // posts up to and with this entry
	Payload [32]byte // Tag of the envelope the entry writes, or a hash of the value it sets
}

// MessageTarget is the target of an entry about message n: 8 zero bytes, then n.
func MessageTarget(n uint64) (target ID) {
	binary.BigEndian.PutUint64(target[8:], n)
	return target
}

// Genesis returns the head of the empty log: HMAC-SHA-256 of "genesis" and the
// room.
func (c *Chain) Genesis() [32]byte { return c.mac.sum([]byte("genesis"), c.room[:]) }

// Next returns the head after the entry, given the head before it.
func (c *Chain) Next(prev [32]byte, l Link) [32]byte {
	b := make([]byte, 0, 155)
	b = append(b, "conclave/log/1"...)
	b = append(b, c.room[:]...)
	b = binary.BigEndian.AppendUint64(b, l.N)
	b = append(b, l.Op)
	b = append(b, l.Target[:]...)
	b = append(b, l.Actor[:]...)
	b = binary.BigEndian.AppendUint32(b, l.Epoch)
	b = binary.BigEndian.AppendUint64(b, uint64(l.Time))
	b = binary.BigEndian.AppendUint64(b, l.Posts)
	b = append(b, l.Payload[:]...)
	b = append(b, prev[:]...)
	return c.mac.sum(b)
}
