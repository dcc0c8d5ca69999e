package models

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"time"

	"gorm.io/gorm"

	"conclave/models/cipher"
	"conclave/models/feed"
)

// Op is what an entry of a room's log records. The numbers are stored and chained: never change them.
type Op byte

// The operations. The numbers between them are kept for others.
const (
	OpCreate Op = 1  // target: the owner, who becomes a member; payload: tag of the name's envelope
	OpJoin   Op = 2  // target: the new member
	OpLeave  Op = 3  // target: who left
	OpRemove Op = 4  // target: who was removed
	OpBan    Op = 5  // target: who was removed and comes back only with a code made later
	OpRole   Op = 6  // target: the member; payload: SHA-256 of the role's name
	OpPost   Op = 7  // target: the message itself; payload: tag of its envelope
	OpEdit   Op = 8  // target: the message; payload: tag of its new envelope
	OpDelete Op = 9  // target: the message, which has no envelope any more
	OpCode   Op = 12 // payload: tag of the room code's envelope

	OpSetting Op = 13 // payload: SHA-256 of what newcomers see: "history=all" or "history=since_join"
	OpEpoch   Op = 14 // payload: the new room secret's commitment

	OpRestored Op = 16 // history went back on purpose; payload: the abandoned head's MAC
	OpDestroy  Op = 17 // the room's keys and texts are gone
	OpUnban    Op = 18 // target: who may come back with any valid code
)

// membershipOps says, as an SQL list, what speaks about a person's membership: the latest one counts.
const membershipOps = "(1, 2, 3, 4, 5, 6, 18)"

// onPage reports whether an entry has a line of its own in the history.
func (o Op) onPage() bool { return o == OpCreate || o == OpJoin || o == OpPost || o.ends() }

// ends reports whether an entry ends the membership of its target.
func (o Op) ends() bool { return o == OpLeave || o == OpRemove || o == OpBan }

// Shown reports whether an entry shows a listener anything: a line, or a change of one.
func (o Op) Shown() bool { return o.onPage() || o == OpEdit || o == OpDelete }

// OfMember reports whether an entry changes who is a member, or as what.
func (o Op) OfMember() bool {
	return o == OpCreate || o == OpJoin || o == OpRole || o == OpDestroy || o.ends()
}

// Entry is one entry of a room's log, still sealed. It travels on the feed; Store.Open makes
// it readable for members.
type Entry struct {
	Room    ID
	N       uint64
	Op      Op
	Target  ID
	Actor   ID
	Epoch   uint32
	Time    int64 // unix milliseconds
	Posts   uint64
	Payload [32]byte
	MAC     [32]byte

	genuine bool   // its MAC was verified, or made, by this process
	sealed  []byte // of a post that was just written: its envelope
}

func (e *Entry) link() cipher.Link {
	return cipher.Link{N: e.N, Op: byte(e.Op), Target: e.Target, Actor: e.Actor, Epoch: e.Epoch, Time: e.Time, Posts: e.Posts, Payload: e.Payload}
}

// about returns the number of the message that an entry is about, 0 for another entry.
func (e *Entry) about() uint64 {
	switch e.Op {
	case OpPost, OpEdit, OpDelete:
		return binary.BigEndian.Uint64(e.Target[8:])
	}
	return 0
}

var errDamagedLog = &Error{Kind: Denied, Msg: "This room's record does not pass its integrity check, so nothing can be added to it. Tell the person who runs this server."}

// append adds an entry to a room's log: numbered, chained, stored, and announced after the commit.
// The caller fills Room, Op, Target, Actor and Payload.
func (c *change) append(e *Entry) error {
	h, err := c.head(e.Room)
	if err != nil {
		return err
	}
	if damage, _ := c.s.proofs.status(e.Room); damage != "" {
		return errDamagedLog
	}
	e.N, e.Epoch, e.Time, e.Posts = h.n+1, h.epoch, c.now, h.posts
	if e.Op == OpPost {
		e.Posts++
	}
	e.MAC = c.s.chain(e.Room).Next(h.mac, e.link())
	e.genuine = true
	err = c.exec("INSERT INTO room_log (room_id, n, op, target, actor, epoch, time_ms, posts, payload, mac) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		e.Room, e.N, e.Op, e.Target, e.Actor, e.Epoch, e.Time, e.Posts, e.Payload[:], e.MAC[:])
	if err != nil {
		return err
	}
	if e.Op.OfMember() || e.Op == OpSetting {
		c.s.lane.unsettled[e.Room] = true
	}
	h.n, h.mac, h.posts = e.N, e.MAC, e.Posts
	c.heads[e.Room] = h
	event := &feed.Event{Topic: e.Room, Kind: feed.KindEntry, N: e.N, Entry: e, Removal: e.Op == OpDelete}
	switch e.Op {
	case OpPost:
		event.Author = e.Actor
	case OpEdit, OpDelete:
		event.About = e.about()
	}
	c.events = append(c.events, event)
	return nil
}

// openEpoch gives the room a new secret and records it. From here on entries belong to it.
func (c *change) openEpoch(room, actor ID) error {
	h, err := c.head(room)
	if err != nil {
		return err
	}
	h.epoch, h.stale, h.opened, h.openedPosts = h.epoch+1, false, c.now, h.posts
	c.heads[room] = h
	key := cipher.NewRoomKey(room, h.epoch)
	if err := c.exec("INSERT INTO room_keys (room_id, epoch, wrapped) VALUES (?, ?, ?)", room, h.epoch, c.master().SealRoomKey(key)); err != nil {
		return err
	}
	c.keys = append(c.keys, key)
	return c.append(&Entry{Room: room, Op: OpEpoch, Actor: actor, Payload: key.Commit()})
}

// An epoch is worn after so long, or so many posts: one room secret that leaks opens no more than that.
const (
	epochLife  = 90 * 24 * time.Hour
	epochPosts = 1 << 20
)

// epochWorn reports whether an epoch has been used long enough. Its opening entry knows.
func (c *change) epochWorn(room ID, h head) (bool, error) {
	if h.opened == 0 {
		err := c.row("SELECT time_ms, posts FROM room_log WHERE room_id = ? AND op = 14 ORDER BY n DESC LIMIT 1", room).Scan(&h.opened, &h.openedPosts)
		if err != nil {
			return false, err
		}
		c.heads[room] = h
	}
	return c.now-h.opened > epochLife.Milliseconds() || h.posts-h.openedPosts >= epochPosts, nil
}

// roomKey returns the key of one epoch, also one that this batch has just made.
func (c *change) roomKey(room ID, epoch uint32) (*cipher.RoomKey, error) {
	for _, k := range c.keys {
		if k.Room() == room && k.Epoch() == epoch {
			return k, nil
		}
	}
	// A key that this batch has made is not kept beyond it before the commit.
	if k := c.s.lane.minted[keyID{room, epoch}]; k != nil {
		return k, nil
	}
	return c.s.roomKey(c.ctx, c.db, room, epoch)
}

// chain returns the chain of a room's log, once made.
func (s *Store) chain(room ID) *cipher.Chain {
	if c, ok := s.chains.Get(room); ok {
		return c
	}
	c := s.service.Chain(room)
	s.chains.Add(room, c)
	return c
}

// roomKey unwraps the secret of one epoch of a room, once per process.
func (s *Store) roomKey(ctx context.Context, db gorm.ConnPool, room ID, epoch uint32) (*cipher.RoomKey, error) {
	if key, ok := s.keys.Get(keyID{room, epoch}); ok {
		return key, nil
	}
	var wrapped []byte
	err := db.QueryRowContext(ctx, "SELECT wrapped FROM room_keys WHERE room_id = ? AND epoch = ?", room, epoch).Scan(&wrapped)
	if err == sql.ErrNoRows {
		return nil, cipher.ErrAuth // a secret that is gone and one that fails are told apart by nobody
	}
	if err != nil {
		return nil, err
	}
	master, err := s.masterOf(wrapped)
	if err != nil {
		return nil, err
	}
	key, err := master.OpenRoomKey(room, epoch, wrapped)
	if err != nil {
		return nil, err
	}
	s.keys.Add(keyID{room, epoch}, key)
	return key, nil
}

// entryRow is an entry as it stands in the database, whatever somebody may have put there.
type entryRow struct {
	n, op, epoch, time, posts number
	target, actor             ID
	payload, mac              hash
}

// entryColumns are the columns of an entryRow in the table l, for into.
const entryColumns = "l.n, l.op, l.target, l.actor, l.epoch, l.time_ms, l.posts, l.payload, l.mac"

func (r *entryRow) into() []any {
	return []any{&r.n, &r.op, &r.target, &r.actor, &r.epoch, &r.time, &r.posts, &r.payload, &r.mac}
}

// entry returns the entry, genuine when it is whole and follows from the MAC before it.
func (r *entryRow) entry(room ID, chain *cipher.Chain, previous [32]byte) *Entry {
	e := &Entry{
		Room: room, N: uint64(r.n), Op: Op(r.op), Target: r.target, Actor: r.actor, Epoch: uint32(r.epoch),
		Time: int64(r.time), Posts: uint64(r.posts), Payload: r.payload, MAC: r.mac,
	}
	e.genuine = r.n.within(math.MaxInt64) && r.op.within(math.MaxUint8) && r.epoch.within(math.MaxUint32) && r.posts.within(math.MaxInt64) &&
		chain.Next(previous, e.link()) == e.MAC
	return e
}

// packedEntry is an entryRow of the table l in one column, since each column of a row costs as much
// as a row: the numbers in digits, then target, actor, payload and mac without anything between
// them. Whoever moves bytes from one of them to the next changes nothing of what is verified.
const packedEntry = "CAST(l.n||' '||l.op||' '||l.epoch||' '||l.time_ms||' '||l.posts||' '||" +
	"l.target||l.actor||l.payload||l.mac AS BLOB)"

// unpack reads a packedEntry. What is none reads as an entry that is not genuine.
func (r *entryRow) unpack(raw []byte) {
	*r = entryRow{}
	for _, n := range []*number{&r.n, &r.op, &r.epoch, &r.time, &r.posts} {
		raw = n.cut(raw)
	}
	const all = len(r.target) + len(r.actor) + len(r.payload) + len(r.mac)
	if len(raw) != all {
		r.n = math.MinInt64
		return
	}
	raw = raw[copy(r.target[:], raw):]
	raw = raw[copy(r.actor[:], raw):]
	raw = raw[copy(r.payload[:], raw):]
	copy(r.mac[:], raw)
}

// cut reads digits up to a space and returns what follows.
func (n *number) cut(raw []byte) []byte {
	text, rest, found := bytes.Cut(raw, []byte{' '})
	i, err := strconv.ParseInt(string(text), 10, 64)
	if !found || err != nil {
		i = math.MinInt64
	}
	*n = number(i)
	return rest
}

// readLog returns the entries from..to of a room's log in order and verifies each against the
// one before it. Call it inside a read transaction when the result must fit something else
// that was read.
func (s *Store) readLog(ctx context.Context, db gorm.ConnPool, room ID, from, to uint64) ([]*Entry, error) {
	rows, err := db.QueryContext(ctx, "SELECT "+entryColumns+" FROM room_log l WHERE room_id = ? AND n BETWEEN ? AND ? ORDER BY n", room, max(from, 1)-1, to)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	chain := s.chain(room)
	var entries []*Entry
	last := mark{mac: chain.Genesis()} // what entry 1 is chained to
	for rows.Next() {
		var r entryRow
		if err := rows.Scan(r.into()...); err != nil {
			return nil, err
		}
		e := r.entry(room, chain, last.mac)
		e.genuine = e.genuine && e.N == last.n+1
		if e.N >= from {
			entries = append(entries, e)
		}
		last = mark{e.N, e.MAC}
	}
	return entries, rows.Err()
}

// readHead reads where a room's log ends and verifies the entry there. A log that goes on
// behind its end is damaged as well.
func (s *Store) readHead(ctx context.Context, db gorm.ConnPool, room ID) (head, error) {
	var n, epoch number
	var mac hash
	var stale bool // somebody left after the epoch began
	err := db.QueryRowContext(ctx, `SELECT head_n, head_mac, epoch, EXISTS (SELECT 1 FROM room_log WHERE room_id = ?1 AND op IN (3, 4, 5)
		AND n > (SELECT max(n) FROM room_log WHERE room_id = ?1 AND op = 14)) FROM rooms WHERE id = ?1`, room).Scan(&n, &mac, &epoch, &stale)
	if err != nil {
		return head{}, noRow(err, errNotFound)
	}
	h := head{n: uint64(n), mac: mac, epoch: uint32(epoch), stale: stale}
	chain := s.chain(room)
	previous := hash(chain.Genesis())
	if h.n == 0 && h.mac == chain.Genesis() {
		return h, nil
	}
	var r entryRow
	var beyond bool
	err = db.QueryRowContext(ctx, "SELECT "+entryColumns+", EXISTS (SELECT 1 FROM room_log b WHERE b.room_id = l.room_id AND b.n > l.n) FROM room_log l WHERE room_id = ? AND n = ?", room, n).
		Scan(append(r.into(), &beyond)...)
	if err == nil && n > 1 {
		err = db.QueryRowContext(ctx, "SELECT mac FROM room_log WHERE room_id = ? AND n = ?", room, n-1).Scan(&previous)
	}
	if err != nil && err != sql.ErrNoRows {
		return head{}, err
	}
	if e := r.entry(room, chain, previous); err != nil || beyond || !e.genuine || e.MAC != h.mac || number(e.Epoch) != epoch {
		return head{}, fmt.Errorf("head %d of room %s: %w", n, room, errDamagedLog)
	}
	h.posts = uint64(r.posts)
	return h, nil
}

func digest(value string) [32]byte { return sha256.Sum256([]byte(value)) }
