package models

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math"

	"conclave/models/cipher"
)

// A walker goes through one room from its first entry to its last and reports whatever is not
// what this program wrote. It reads slices, each in one short read transaction, so that it can
// run beside a server at work: every slice fits together in itself, and entries that are added
// later are met later. It reads plain SQL, because it looks at every row there is, and believes
// no value before a MAC has vouched for it.
//
// An entry that is missing or changed could have been anything but a post if the count of posts
// on both sides does not say otherwise: an edit, a removal, a departure. What was said about
// messages and members before it is then in doubt.
type walker struct {
	s        *Store
	room     ID
	chain    *cipher.Chain
	report   func(n uint64, class, what string)
	progress func(n uint64)

	n         uint64 // the last entry that was read
	mac       [32]byte
	proven    mark   // the last entry that was genuine
	posts     uint64 // up to there
	epoch     uint32
	doubtful  uint64
	unsure    bool // what newcomers see may have been changed once more
	destroyed bool // a destroy entry was met
	gone      bool // the room's row has gone while we walked
	keys      map[uint32]*cipher.RoomKey
	members   map[ID]standing
	standing  map[ID]mark  // the latest entry about each membership, ended ones too
	since     map[ID]int64 // and its time
	name      sealedBy
	code      sealedBy
	joins     []uint64 // the entries after that by which somebody joined
	setting   mark     // the latest entry that says what newcomers see
	history   [32]byte
	settings  int // how many there were
	changed   map[uint64]mark
	days      map[int64]int // posts from before the start of this process, by the day
}

// standing is a membership as the log tells it.
type standing struct {
	role          Role
	entry, joined uint64
}

// sealedBy is the entry that set a sealed field, and the tag of its envelope.
type sealedBy struct {
	at  mark
	tag [32]byte
}

const sliceSize = 10_000 // entries: far less than 250 ms of reading

func (s *Store) newWalker(room ID, report func(n uint64, class, what string)) *walker {
	chain := s.chain(room)
	return &walker{
		s: s, room: room, chain: chain, report: report, progress: func(uint64) {}, mac: chain.Genesis(),
		keys: map[uint32]*cipher.RoomKey{}, members: map[ID]standing{}, standing: map[ID]mark{}, since: map[ID]int64{}, changed: map[uint64]mark{}, days: map[int64]int{},
	}
}

// run walks to the end. An error means that the database could not be read, not that it is damaged.
func (w *walker) run(ctx context.Context, pool *sql.DB) error {
	for {
		tx, err := pool.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		end, err := w.slice(ctx, tx)
		w.progress(w.n)
		if err = errors.Join(err, tx.Rollback()); err != nil || end {
			return err
		}
	}
}

// slice reads the next entries; at the end of the log it compares what stands beside the log.
func (w *walker) slice(ctx context.Context, tx *sql.Tx) (end bool, err error) {
	var last sql.NullInt64
	err = tx.QueryRowContext(ctx, "SELECT max(n) FROM (SELECT n FROM room_log WHERE room_id = ? AND n > ? ORDER BY n LIMIT ?)", w.room, int64(w.n), sliceSize).Scan(&last)
	if err != nil {
		return false, err
	}
	if !last.Valid {
		return true, w.finish(ctx, tx)
	}
	from, to := w.n+1, uint64(last.Int64)
	destroyed, err := exists(ctx, tx, "SELECT 1 FROM room_log WHERE room_id = ?1 AND op = 17 AND n = (SELECT max(n) FROM room_log WHERE room_id = ?1)", w.room)
	if err != nil {
		return false, err
	}
	latest, err := w.latest(ctx, tx, from, to)
	if err != nil {
		return false, err
	}
	rows, err := tx.QueryContext(ctx, "SELECT "+entryColumns+`, p.n, p.author, p.created_ms, p.revision, p.envelope
		FROM room_log l LEFT JOIN messages p ON l.op = 7 AND p.room_id = l.room_id AND p.n = l.n
		WHERE l.room_id = ? AND l.n BETWEEN ? AND ? ORDER BY l.n`, w.room, from, to)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	var r entryRow
	var stored storedMessage
	into := append(r.into(), &stored.n, &stored.author, &stored.created, &stored.revision, &stored.envelope)
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return false, err
		}
		if r.n > 0 && uint64(r.n) <= w.n {
			w.report(w.n, faultLog, "this entry of the log stands there twice")
			continue
		}
		e := r.entry(w.room, w.chain, w.mac)
		e.genuine = e.genuine && e.N == w.n+1
		w.entry(ctx, tx, e, destroyed)
		if e.genuine && e.Op == OpPost {
			w.stored(ctx, tx, e, latest[e.N], stored, destroyed)
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return false, err
	}
	return false, w.strays(ctx, tx, "p.n BETWEEN ? AND ?", from, to)
}

// entry follows what an entry of the log says, if it is genuine.
func (w *walker) entry(ctx context.Context, tx *sql.Tx, e *Entry, destroyed bool) {
	if missing := e.N - w.n - 1; missing > 0 {
		w.report(w.n+1, faultLog, fmt.Sprintf("%d entries of the log are missing here", missing))
		// What follows a hole can still be proved by the entry before it, which is gone: the next one will be.
	} else if !e.genuine {
		w.report(e.N, faultLog, "this entry of the log was changed")
	}
	w.n, w.mac = e.N, e.MAC
	if !e.genuine {
		return
	}
	before := e.Posts
	if e.Op == OpPost {
		before--
	}
	if between := e.N - w.proven.n - 1; between > 0 && before-w.posts != between {
		w.doubtful = e.N
	} else if between == 0 && before != w.posts {
		w.report(e.N, faultLog, "the count of messages is wrong here")
	}
	w.proven, w.posts, w.epoch = mark{e.N, e.MAC}, e.Posts, e.Epoch
	switch e.Op {
	case OpCreate:
		w.stand(e, standing{Owner, e.N, e.N})
		w.name = sealedBy{w.proven, e.Payload}
	case OpJoin:
		w.joins = append(w.joins, e.N)
		w.stand(e, standing{Plain, e.N, e.N})
	case OpLeave, OpRemove, OpBan, OpUnban:
		w.stand(e, standing{})
		delete(w.members, e.Target)
	case OpRole:
		for _, role := range []Role{Owner, Moderator, Plain} {
			if e.grants(role) {
				w.stand(e, standing{role, e.N, w.members[e.Target].joined})
			}
		}
	case OpCode:
		w.code, w.joins = sealedBy{w.proven, e.Payload}, nil
	case OpSetting:
		w.setting, w.history, w.settings = w.proven, e.Payload, w.settings+1
	case OpEpoch:
		if key := w.key(ctx, tx, e.Epoch); !destroyed && (key == nil || key.Commit() != e.Payload) {
			w.report(e.N, faultKey, "the key of this epoch is missing, or not the one that was made")
		}
	case OpPost:
		if e.Time < w.s.tally.opened {
			w.days[e.Time/dayMS]++
		}
	case OpEdit, OpDelete:
		w.changed[e.about()] = w.proven
	case OpDestroy:
		w.destroyed = true
		clear(w.members)
	}
}

func (w *walker) stand(e *Entry, as standing) {
	w.members[e.Target], w.standing[e.Target], w.since[e.Target] = as, w.proven, e.Time
}

// doubt takes away the memberships that cannot be believed any more: those from before a hole
// in the log whose end the audit log records, or all of them when that is damaged too (nil). It does
// the same to what newcomers see.
func (w *walker) doubt(rooms map[ID]told) {
	maps.DeleteFunc(w.standing, func(user ID, at mark) bool {
		if at.n >= w.doubtful {
			return false
		}
		left, known := rooms[w.room].left[user]
		return rooms == nil || known && left >= w.since[user]
	})
	w.unsure = w.setting.n < w.doubtful && (rooms == nil || rooms[w.room].settings > w.settings)
}

// storedMessage is what stands beside the log for a post.
type storedMessage struct {
	n                 sql.NullInt64 // null: nothing
	author            ID
	created, revision number
	envelope          sql.RawBytes
}

// stored compares that with the post.
func (w *walker) stored(ctx context.Context, tx *sql.Tx, post *Entry, change *entryRow, m storedMessage, destroyed bool) {
	switch {
	case !m.n.Valid:
		w.report(post.N, faultMessage, "this message is missing")
	case m.author != post.Actor || int64(m.created) != post.Time:
		w.report(post.N, faultMessage, "the author or the time of this message was changed")
	case destroyed:
		if len(m.envelope) > 0 {
			w.report(post.N, faultMessage, "this message of a destroyed room is still there")
		}
	default:
		w.message(ctx, tx, post, change, m.revision, m.envelope)
	}
}

// message verifies a message against the latest entry about it.
func (w *walker) message(ctx context.Context, tx *sql.Tx, post *Entry, change *entryRow, revision number, envelope []byte) {
	op, payload, epoch := post.Op, post.Payload, post.Epoch
	if change != nil {
		op, payload, epoch = Op(change.op), change.payload, uint32(change.epoch)
	}
	if op == OpDelete {
		if len(envelope) > 0 {
			w.report(post.N, faultMessage, "this message was removed, and has been put back")
		}
		return
	}
	if cipher.Tag(envelope) != payload || !revision.within(math.MaxUint32) {
		w.report(post.N, faultMessage, "this message was changed")
		return
	}
	key := w.key(ctx, tx, epoch)
	if key == nil {
		w.report(post.N, faultMessage, "the key of this message is missing or damaged")
		return
	}
	place := cipher.MessagePlace{Author: post.Actor, N: post.N, Created: post.Time, Revision: uint32(revision)}
	if _, err := key.OpenMessage(place, envelope); err != nil {
		w.report(post.N, faultMessage, "this message was changed")
	}
}

// latest reads the last edit or removal of each message that was posted as from..to.
func (w *walker) latest(ctx context.Context, tx *sql.Tx, from, to uint64) (map[uint64]*entryRow, error) {
	first, last := ID(cipher.MessageTarget(from)), ID(cipher.MessageTarget(to))
	rows, err := tx.QueryContext(ctx, "SELECT "+entryColumns+` FROM room_log l WHERE room_id = ? AND n IN (SELECT max(n)
		FROM room_log WHERE room_id = ? AND target BETWEEN ? AND ? AND op IN (8, 9) GROUP BY target)`, w.room, w.room, first, last)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := map[uint64]*entryRow{}
	for rows.Next() {
		var r entryRow
		if err := rows.Scan(r.into()...); err != nil {
			return nil, err
		}
		found[(&Entry{Op: OpEdit, Target: r.target}).about()] = &r
	}
	return found, rows.Err()
}

// strays reports messages in a range that no entry of the log posted.
func (w *walker) strays(ctx context.Context, tx *sql.Tx, where string, args ...any) error {
	rows, err := tx.QueryContext(ctx, `SELECT p.n FROM messages p WHERE p.room_id = ? AND `+where+`
		AND NOT EXISTS (SELECT 1 FROM room_log l WHERE l.room_id = p.room_id AND l.n = p.n AND l.op = 7) LIMIT 1000`, append([]any{w.room}, args...)...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var n number
		if err := rows.Scan(&n); err != nil {
			return err
		}
		w.report(uint64(max(n, 0)), faultMessage, "this message is not in the room's log")
	}
	return rows.Err()
}

func (w *walker) key(ctx context.Context, tx *sql.Tx, epoch uint32) *cipher.RoomKey {
	key, known := w.keys[epoch]
	if !known {
		key, _ = w.s.roomKey(ctx, tx, w.room, epoch) // a nil key is reported by whoever needs it
		w.keys[epoch] = key
	}
	return key
}

// finish compares the room's row, its memberships and what lies outside the log's numbers with
// where the log has led.
func (w *walker) finish(ctx context.Context, tx *sql.Tx) error {
	if w.proven.n < w.n {
		w.doubtful = w.n + 1 // the last entries can be proved by none behind them
	}
	if err := w.strays(ctx, tx, "(p.n <= 0 OR p.n > ?)", w.n); err != nil {
		return err
	}
	if below, err := exists(ctx, tx, "SELECT 1 FROM room_log WHERE room_id = ? AND (n <= 0 OR typeof(n) <> 'integer')", w.room); err != nil {
		return err
	} else if below {
		w.report(0, faultLog, "the log has entries before its first")
	}
	var name, code, codeIndex blob
	var nameN, codeN, headN, epoch, state, history, historyN number
	var headMAC hash
	err := tx.QueryRowContext(ctx, "SELECT name, name_n, code, code_n, code_index, head_n, head_mac, epoch, state, history, history_n FROM rooms WHERE id = ?", w.room).
		Scan(&name, &nameN, &code, &codeN, &codeIndex, &headN, &headMAC, &epoch, &state, &history, &historyN)
	if errors.Is(err, sql.ErrNoRows) {
		w.gone = true
		w.report(w.n, faultLog, "the room has been taken out of the database")
		return nil
	}
	if err != nil {
		return err
	}
	if headN != number(w.n) || headMAC != w.mac || epoch != number(w.epoch) {
		w.report(w.n, faultLog, fmt.Sprintf("the log ends here, but the room says something else (it ends at %d)", headN))
		w.doubtful = max(w.doubtful, uint64(max(headN, 0)))
	}
	if (state != roomOpen) != w.destroyed {
		w.report(w.n, faultLog, "the room is marked as destroyed, which its log does not know, or the other way round")
	}
	if !w.destroyed {
		w.finishSealed(ctx, tx, name, nameN, code, codeN, codeIndex)
	}
	if historyN != number(w.setting.n) || w.setting.n > 0 && digest(settingOf(history)) != w.history || w.setting.n == 0 && history != 0 {
		w.report(w.setting.n, faultSetting, "what newcomers see was changed")
	}
	return w.finishMembers(ctx, tx)
}

func (w *walker) finishSealed(ctx context.Context, tx *sql.Tx, name blob, nameN number, code blob, codeN number, codeIndex blob) {
	key := w.key(ctx, tx, cipher.EpochOf(name))
	if cipher.Tag(name) != w.name.tag || nameN != number(w.name.at.n) {
		w.report(w.name.at.n, faultKey, "the room's name was changed")
	} else if key == nil {
		w.report(w.name.at.n, faultKey, "the key of the room's name is missing or damaged")
	} else if _, err := key.OpenName(w.name.at.n, name); err != nil {
		w.report(w.name.at.n, faultKey, "the room's name was changed")
	}
	opened, err := w.s.openCode(w.room, w.code.at.n, code)
	if err != nil || cipher.Tag(code) != w.code.tag || codeN != number(w.code.at.n) || string(codeIndex) != string(w.s.codeIndex(opened)) {
		w.report(w.code.at.n, faultKey, "the room's code or its terms were changed")
	}
}

func (w *walker) finishMembers(ctx context.Context, tx *sql.Tx) error {
	rows, err := tx.QueryContext(ctx, "SELECT user_id, CAST(role AS TEXT), entry_n, joined_n FROM memberships WHERE room_id = ?", w.room)
	if err != nil {
		return err
	}
	defer rows.Close()
	missing := maps.Clone(w.members)
	for rows.Next() {
		var user ID
		var role string
		var entry, joined number
		if err := rows.Scan(&user, &role, &entry, &joined); err != nil {
			return err
		}
		row := standing{Role(role), uint64(max(entry, 0)), uint64(max(joined, 0))}
		if w.members[user] != row {
			w.report(row.entry, faultMember, "a membership is not what the log says")
		}
		delete(missing, user)
	}
	for _, row := range missing {
		w.report(row.entry, faultMember, "a membership is missing")
	}
	return rows.Err()
}

func exists(ctx context.Context, tx *sql.Tx, query string, args ...any) (bool, error) {
	var one int
	err := tx.QueryRowContext(ctx, query+" LIMIT 1", args...).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}
