package models

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"

	"gorm.io/gorm"

	"conclave/models/cipher"
	"conclave/models/feed"
)

// Op is what an entry of a room's log records. The numbers are stored and chained: never change them.
type Op byte

// The operations that exist so far. SECURITY.md C5 names those to come.
const (
	OpCreate Op = 1  // target: the owner, who becomes a member; payload: tag of the name's envelope
	OpJoin   Op = 2  // target: the new member
	OpLeave  Op = 3  // target: who left
	OpRole   Op = 6  // target: the member; payload: SHA-256 of the role's name
	OpPost   Op = 7  // target: the message itself; payload: tag of its envelope
	OpCode   Op = 12 // payload: tag of the room code's envelope
	OpEpoch  Op = 14 // payload: the new room secret's commitment
)

// Sets of operations, as SQL lists.
const (
	membershipOps = "(1, 2, 3, 6)" // who is a member, and as what: the latest one about a person speaks
	joiningOps    = "(1, 2)"       // where a membership begins
	shownOps      = "(1, 2, 3, 7)" // what the history of a room shows
)

// Shown reports whether the history shows such an entry.
func (o Op) Shown() bool { return o == OpCreate || o == OpJoin || o == OpLeave || o == OpPost }

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

	genuine  bool   // its MAC was verified, or made, by this process
	envelope []byte // of a post: the sealed message, nil when its row is missing
	revision uint32
}

func (e *Entry) link() cipher.Link {
	return cipher.Link{N: e.N, Op: byte(e.Op), Target: e.Target, Actor: e.Actor, Epoch: e.Epoch, Time: e.Time, Posts: e.Posts, Payload: e.Payload}
}

var errDamagedLog = &Error{Kind: Denied, Msg: "This room's record does not pass its integrity check, so nothing can be added to it. Tell the person who runs this server."}

// append adds an entry to a room's log: numbered, chained, stored, and announced after the commit.
// The caller fills Room, Op, Target, Actor and Payload, and of a post envelope and revision.
func (c *change) append(e *Entry) error {
	h, err := c.head(e.Room)
	if err != nil {
		return err
	}
	e.N, e.Epoch, e.Time, e.Posts = h.n+1, h.epoch, c.now, h.posts
	if e.Op == OpPost {
		e.Posts++
	}
	e.MAC = c.s.service.Chain(e.Room).Next(h.mac, e.link())
	e.genuine = true
	err = c.exec("INSERT INTO room_log (room_id, n, op, target, actor, epoch, time_ms, posts, payload, mac) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		e.Room, e.N, e.Op, e.Target, e.Actor, e.Epoch, e.Time, e.Posts, e.Payload[:], e.MAC[:])
	if err != nil {
		return err
	}
	h.n, h.mac, h.posts = e.N, e.MAC, e.Posts
	c.heads[e.Room] = h
	c.events = append(c.events, &feed.Event{Topic: e.Room, Kind: feed.KindEntry, N: e.N, Entry: e})
	return nil
}

// openEpoch gives the room a new secret and records it. From here on entries belong to it.
func (c *change) openEpoch(room, actor ID) error {
	h, err := c.head(room)
	if err != nil {
		return err
	}
	h.epoch, h.stale = h.epoch+1, false
	c.heads[room] = h
	key := cipher.NewRoomKey(room, h.epoch)
	if err := c.exec("INSERT INTO room_keys (room_id, epoch, wrapped) VALUES (?, ?, ?)", room, h.epoch, c.s.master.SealRoomKey(key)); err != nil {
		return err
	}
	c.keys = append(c.keys, key)
	return c.append(&Entry{Room: room, Op: OpEpoch, Actor: actor, Payload: key.Commit()})
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
	key, err := s.master.OpenRoomKey(room, epoch, wrapped)
	if err != nil {
		return nil, err
	}
	s.keys.Add(keyID{room, epoch}, key)
	return key, nil
}

const entryColumns = "l.n, l.op, l.target, l.actor, l.epoch, l.time_ms, l.posts, l.payload, l.mac, p.envelope, p.revision"

// readLog returns the entries from..to of a room's log in order, with the messages of the posts
// among them, and verifies each against the one before it. Call it inside a read transaction
// when the result must fit something else that was read.
func (s *Store) readLog(ctx context.Context, db gorm.ConnPool, room ID, from, to uint64) ([]*Entry, error) {
	rows, err := db.QueryContext(ctx, `SELECT `+entryColumns+` FROM room_log l
		LEFT JOIN messages p ON l.op = 7 AND p.room_id = l.room_id AND p.n = l.n
		WHERE l.room_id = ? AND l.n BETWEEN ? AND ? ORDER BY l.n`, room, max(from, 1)-1, to)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	chain := s.service.Chain(room)
	var entries []*Entry
	last := &Entry{MAC: chain.Genesis()} // what entry 1 is chained to
	for rows.Next() {
		e := &Entry{Room: room}
		var payload, mac hash
		var revision sql.NullInt64
		if err := rows.Scan(&e.N, &e.Op, &e.Target, &e.Actor, &e.Epoch, &e.Time, &e.Posts, &payload, &mac, &e.envelope, &revision); err != nil {
			return nil, err
		}
		e.Payload, e.MAC, e.revision = payload, mac, uint32(revision.Int64)
		e.genuine = e.N == last.N+1 && chain.Next(last.MAC, e.link()) == e.MAC
		if e.N >= from {
			entries = append(entries, e)
		}
		last = e
	}
	return entries, rows.Err()
}

// readHead reads where a room's log ends and verifies the entry there.
func readHead(ctx context.Context, db gorm.ConnPool, service *cipher.Service, room ID) (head, error) {
	var h head
	var mac hash
	err := db.QueryRowContext(ctx, "SELECT head_n, head_mac, epoch, epoch_stale FROM rooms WHERE id = ?", room).Scan(&h.n, &mac, &h.epoch, &h.stale)
	if err == sql.ErrNoRows {
		return head{}, errNotFound
	}
	if err != nil {
		return head{}, err
	}
	h.mac = mac
	chain := service.Chain(room)
	if h.n == 0 {
		if h.mac != chain.Genesis() {
			return head{}, errDamagedLog
		}
		return h, nil
	}
	e := Entry{Room: room, N: h.n}
	var payload, stored hash
	previous := hash(chain.Genesis())
	err = db.QueryRowContext(ctx, "SELECT op, target, actor, epoch, time_ms, posts, payload, mac FROM room_log WHERE room_id = ? AND n = ?", room, h.n).
		Scan(&e.Op, &e.Target, &e.Actor, &e.Epoch, &e.Time, &e.Posts, &payload, &stored)
	if err == nil && h.n > 1 {
		err = db.QueryRowContext(ctx, "SELECT mac FROM room_log WHERE room_id = ? AND n = ?", room, h.n-1).Scan(&previous)
	}
	if err != nil && err != sql.ErrNoRows {
		return head{}, err
	}
	e.Payload = payload
	if err != nil || stored != mac || chain.Next(previous, e.link()) != h.mac || e.Epoch != h.epoch {
		return head{}, fmt.Errorf("head %d of room %s: %w", h.n, room, errDamagedLog)
	}
	h.posts = e.Posts
	return h, nil
}

func digest(value string) [32]byte { return sha256.Sum256([]byte(value)) }
