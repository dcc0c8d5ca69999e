package models

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"gorm.io/gorm"
)

// By is who does something, and from where. It goes into the audit log with the deed.
type By struct {
	User    ID       // zero: nobody who has signed in, or the server itself
	Session [32]byte // keyed hash; zero: none
	Address string   // empty: the server's own doing
}

// Audit is one event of the audit log. It holds no secret and no text of anybody: ids, names
// of events and outcomes. Where nothing else is said the outcome is "done".
//
// Signing in. The actor is the account that was meant, whoever it was; nobody for a name that nobody
// has. There is no object. A try that has to wait is not checked and leaves nothing.
//
//	login.ok       signed in; outcome: what stood beside the password ("code", "passkey", "recovery code")
//	login.fail     refused
//	login.code     refused: the password was right, the code was not
//	login.wait     besides: the account or the address has to wait now; outcome: how long
//	sudo           password and code given again; "refused" when they did not fit
//	attempts.lift  the administrator ended an account's wait; object: the account
//	passkey.clone  a passkey counted backwards, as a copy of it would; the outcome says what was done
//
// Accounts. The object is "user revision"; the actor is whoever did it, the person or the administrator.
//
//	account.register  profile  email  password  totp  codes  recovery (a recovery code was used)
//	account.rehash    passkey  passkey-name  passkey-remove  disable  enable  promote  demote
//	account.reset     reset-link  delete
//
// Sessions, and links that can be used up. The object is half of a keyed hash, and of a session that
// an administrator has ended the user besides; the outcome of an ended session is why, that of a link
// what it is for.
//
//	session.end
//	token.create  token.use  token.revoke    set-up links, invitations, links for a new password
//
// Rooms. The object is "room", and "room user" where it is done to somebody else; after that what
// was chosen, a role for instance.
//
//	room.create  join  leave  remove  ban  unban  role  own (somebody else owns it now)
//	room.knock   admit  decline  code  history  epoch (the owner asked for it)  destroy
//
// Keys, certificate, copies. The server is the actor, or whoever types commands on its machine.
//
//	keys.rotate  keys.destroy  keys.export  keys.import
//	                                                object: "old to new", else the key's name; outcome of an
//	                                                import while no server ran: when it was
//	cert.new     cert.renew (the same key)  cert.key (a new one)   object: "certificate key", SHA-256;
//	                                                outcome: who has made it
//	backup.made                                     no object
//
// Integrity. Nobody is the actor.
//
//	integrity.log  message  key  member  setting    object: "room n"
//	integrity.profile  session  passkey  token  audit    object: the user, half of a keyed hash, or
//	                                                "entry n" of this log; outcome: what is wrong
//	rollback.accepted  the operator let history go on from an older database; object: the room, zeros for this log
//	alarm.codes        many wrong room codes in an hour; outcome: how many; the address is that of the last
//
// The server itself.
//
//	server.start  object: the version; outcome: the configuration
//	server.stop   missing before a start: the server was killed, or its machine stopped
//	audit.export  object: the format; outcome: how the log was filtered
type Audit struct {
	Event   string
	Actor   ID
	Session []byte // keyed hash; empty: none
	Address string
	Object  string // ids, separated by spaces
	Outcome string
}

// Events of rooms that say something about a room's log, if that has a hole. The object is the room; of
// a removal and a ban also the member.
const (
	auditLeave   = "room.leave"
	auditRemove  = "room.remove"
	auditBan     = "room.ban"
	auditHistory = "room.history"
)

// audit is an event of this doer's.
func (b By) audit(event, object, outcome string) Audit {
	e := Audit{Event: event, Actor: b.User, Address: b.Address, Object: object, Outcome: outcome}
	if b.Session != [32]byte{} {
		e.Session = b.Session[:]
	}
	return e
}

// encoded is what the MAC of an entry covers: every field behind its length.
func (a Audit) encoded(n uint64, at int64) []byte {
	b := binary.BigEndian.AppendUint64(nil, n)
	b = binary.BigEndian.AppendUint64(b, uint64(at))
	for _, field := range [][]byte{[]byte(a.Event), a.Actor[:], a.Session, []byte(a.Address), []byte(a.Object), []byte(a.Outcome)} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(field)))
		b = append(b, field...)
	}
	return b
}

// appendAudit adds an event in the writer's transaction, which makes its number the next one, and
// returns where the log ends then.
func (s *Store) appendAudit(ctx context.Context, db gorm.ConnPool, a Audit) (mark, error) {
	last, err := readAuditMark(ctx, db)
	if err != nil {
		return last, err
	}
	if known := s.integrity.state().Audit.UpTo; last.n < known {
		s.auditFault(last.n+1, auditCut)
	}
	n, at := last.n+1, s.now()
	if a.Session == nil {
		a.Session = []byte{}
	}
	mac := s.service.AuditNext(last.mac, a.encoded(n, at))
	_, err = db.ExecContext(ctx, "INSERT INTO audit_log (n, time_ms, event, actor, session, address, object, outcome, mac) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
		n, at, a.Event, a.Actor, a.Session, a.Address, a.Object, a.Outcome, mac[:])
	return mark{n, mac}, err
}

func readAuditMark(ctx context.Context, db gorm.ConnPool) (mark, error) {
	var n number
	var mac hash
	err := db.QueryRowContext(ctx, "SELECT n, mac FROM audit_log ORDER BY n DESC LIMIT 1").Scan(&n, &mac)
	if errors.Is(err, sql.ErrNoRows) {
		return mark{}, nil
	}
	return mark{uint64(max(n, 0)), mac}, err
}

// record writes an event of its own into the audit log, for what changes nothing else.
func (s *Store) record(a Audit) {
	if err := s.act(context.Background(), func(t *act) error { return t.audit(a) }); err != nil {
		s.o.Log.Error("an event could not be written to the audit log", "event", a.Event, "error", err)
	}
}

// alarm limits how often the same thing is recorded: once a minute for each event and object.
type alarm struct {
	mu   sync.Mutex
	last map[string]time.Time
}

const (
	alarmEvery = time.Minute
	alarmKeys  = 10_000
)

func (a *alarm) due(key string, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if at, ok := a.last[key]; ok && now.Sub(at) < alarmEvery {
		return false
	}
	if a.last == nil || len(a.last) >= alarmKeys {
		a.last = map[string]time.Time{}
	}
	a.last[key] = now
	return true
}

// walkAudit goes through the audit log, and reports every entry that does not follow from the
// one before it.
func (s *Store) walkAudit(ctx context.Context, each func(n uint64, at int64, a Audit), report func(n uint64, what string)) error {
	var last mark
	for {
		read, err := s.walkAuditSlice(ctx, &last, each, report)
		if err != nil || read < sliceSize {
			return err
		}
	}
}

func (s *Store) walkAuditSlice(ctx context.Context, last *mark, each func(n uint64, at int64, a Audit), report func(n uint64, what string)) (read int, err error) {
	rows, err := s.readPool().QueryContext(ctx, `SELECT n, time_ms, CAST(event AS TEXT), actor, session, CAST(address AS TEXT),
		CAST(object AS TEXT), CAST(outcome AS TEXT), mac FROM audit_log WHERE n > ? ORDER BY n LIMIT ?`, last.n, sliceSize)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for ; rows.Next(); read++ {
		var n, at number
		var a Audit
		var session blob
		var mac hash
		if err := rows.Scan(&n, &at, &a.Event, &a.Actor, &session, &a.Address, &a.Object, &a.Outcome, &mac); err != nil {
			return read, err
		}
		a.Session = session
		switch {
		case uint64(n) != last.n+1:
			report(uint64(n), missingBefore)
		case s.service.AuditNext(last.mac, a.encoded(uint64(n), int64(at))) != mac:
			report(uint64(n), entryChanged)
		default:
			each(uint64(n), int64(at), a)
		}
		*last = mark{uint64(n), mac}
	}
	return read, rows.Err()
}
