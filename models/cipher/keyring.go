package cipher

// The rules of this file:
//
//   - One secret of 64 random bytes, one derived key for each use of it; no
//     secret is ever used itself.
//   - The master wraps secrets and nothing else, so that it can be exchanged
//     without touching what they seal.
//   - Secrets leave this package in one form only: wrapped under a master.

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// ErrTooLong is the error of sealing a message over the maximum size.
var ErrTooLong = errors.New("the message is too long")

const (
	checkValue = "conclave/1/check"
	generation = 1 // of the service secret; there is one until there is a way to exchange it
)

// derive expands a secret into the key named by info (RFC 5869, section 2.3,
// with SHA-512). The secrets are uniformly random already, so Expand alone is
// right: Extract is for keys that are not (section 3.3).
func derive(secret []byte, info string, size int) []byte {
	key, err := hkdf.Expand(sha512.New, secret, "conclave/1/"+info, size)
	if err != nil {
		panic(err) // only a size over 16,320 bytes
	}
	return key
}

func newSecret() []byte {
	secret := make([]byte, secretSize)
	rand.Read(secret)
	return secret
}

// Master is the secret of a key file. It wraps the service secret and the keys
// of the rooms.
type Master struct {
	redacted
	id   uint32
	wrap *aead
}

func newMaster(id uint32, secret []byte) *Master {
	return &Master{id: id, wrap: newAEAD(derive(secret, "wrap", secretSize))}
}

// ID is the number by which envelopes name this master, never 0.
func (m *Master) ID() uint32 { return m.id }

// Name is the id as 8 lower-case hex digits.
func (m *Master) Name() string { return masterName(m.id) }

func masterName(id uint32) string { return fmt.Sprintf("%08x", id) }

// MasterOf returns the id of the master an envelope of kind 5 was wrapped
// under, to choose the key file by, or ErrAuth for anything else. Nothing
// vouches for it until the envelope is opened.
func MasterOf(envelope []byte) (uint32, error) {
	if !fits(envelope, kindSecret) {
		return 0, ErrAuth
	}
	return EpochOf(envelope), nil
}

// A check has room and n zero, the service secret n >= 1, a room key a room.
func (m *Master) place(room ID, n uint64) place {
	return place{kind: kindSecret, epoch: m.id, room: room, n: n}
}

// SealCheck returns an envelope by which a database can tell its master.
func (m *Master) SealCheck() []byte {
	return m.wrap.seal(m.place(ID{}, 0), []byte(checkValue))
}

// OpenCheck returns nil if SealCheck of this master made the envelope, else
// ErrAuth.
func (m *Master) OpenCheck(envelope []byte) error {
	value, err := m.wrap.open(m.place(ID{}, 0), envelope)
	if err != nil || string(value) != checkValue {
		return ErrAuth
	}
	return nil
}

// SealService wraps the service secret.
func (m *Master) SealService(s *Service) []byte {
	return m.wrap.seal(m.place(ID{}, generation), s.secret)
}

// OpenService unwraps the service secret, or returns ErrAuth.
func (m *Master) OpenService(envelope []byte) (*Service, error) {
	secret, err := m.openSecret(m.place(ID{}, generation), envelope)
	if err != nil {
		return nil, err
	}
	return newService(secret), nil
}

// SealRoomKey wraps the key of a room, bound to its room and epoch.
func (m *Master) SealRoomKey(k *RoomKey) []byte {
	return m.wrap.seal(m.place(k.room, uint64(k.epoch)), k.secret)
}

// OpenRoomKey unwraps the key of a room and epoch, or returns ErrAuth.
func (m *Master) OpenRoomKey(room ID, epoch uint32, envelope []byte) (*RoomKey, error) {
	secret, err := m.openSecret(m.place(room, uint64(epoch)), envelope)
	if err != nil {
		return nil, err
	}
	return newRoomKey(room, epoch, secret), nil
}

func (m *Master) openSecret(p place, envelope []byte) ([]byte, error) {
	secret, err := m.wrap.open(p, envelope)
	if err != nil || len(secret) != secretSize {
		return nil, ErrAuth
	}
	return secret, nil
}

// Service is the secret of a database: it seals what belongs to users and
// rooms rather than to what is said there, and hashes what is only looked up.
// Its Open functions return ErrAuth for whatever was not sealed by the same
// function with the same arguments; its Seal functions panic on contents over
// 65,535 bytes.
type Service struct {
	redacted
	secret                   []byte
	field                    *aead
	index, recovery, session *keyed
	audit                    *keyed
}

// NewService makes the secret of a new database.
func NewService() *Service { return newService(newSecret()) }

func newService(secret []byte) *Service {
	key := func(name string) *keyed { return newKeyed(sha256.New, derive(secret, name, 32)) }
	return &Service{
		secret:   secret,
		field:    newAEAD(derive(secret, "field", secretSize)),
		index:    key("index"),
		recovery: key("recovery"),
		session:  key("session"),
		audit:    key("audit"),
	}
}

// SealProfile seals the profile of a user as of a revision.
func (s *Service) SealProfile(user ID, revision uint32, profile []byte) []byte {
	return s.field.seal(profilePlace(user, revision), profile)
}

// OpenProfile is the reverse of SealProfile.
func (s *Service) OpenProfile(user ID, revision uint32, envelope []byte) ([]byte, error) {
	return s.field.open(profilePlace(user, revision), envelope)
}

func profilePlace(user ID, revision uint32) place {
	return place{kind: kindProfile, epoch: generation, owner: user, revision: revision}
}

// SealPassword seals the password hash of a user, a PHC string.
func (s *Service) SealPassword(user ID, phc []byte) []byte {
	return s.field.seal(place{kind: kindPassword, epoch: generation, owner: user}, phc)
}

// OpenPassword is the reverse of SealPassword.
func (s *Service) OpenPassword(user ID, envelope []byte) ([]byte, error) {
	return s.field.open(place{kind: kindPassword, epoch: generation, owner: user}, envelope)
}

// SealTOTP seals the TOTP secret of a user.
func (s *Service) SealTOTP(user ID, secret []byte) []byte {
	return s.field.seal(place{kind: kindTOTP, epoch: generation, owner: user}, secret)
}

// OpenTOTP is the reverse of SealTOTP.
func (s *Service) OpenTOTP(user ID, envelope []byte) ([]byte, error) {
	return s.field.open(place{kind: kindTOTP, epoch: generation, owner: user}, envelope)
}

// SealPasskey seals what is kept of a passkey of a user, which has an id of
// its own.
func (s *Service) SealPasskey(user, passkey ID, credential []byte) []byte {
	return s.field.seal(place{kind: kindPasskey, epoch: generation, object: passkey, owner: user}, credential)
}

// OpenPasskey is the reverse of SealPasskey.
func (s *Service) OpenPasskey(user, passkey ID, envelope []byte) ([]byte, error) {
	return s.field.open(place{kind: kindPasskey, epoch: generation, object: passkey, owner: user}, envelope)
}

// SealRoomCode seals the code by which one joins a room; n is the number of
// the log entry that set it.
func (s *Service) SealRoomCode(room ID, n uint64, code string) []byte {
	return s.field.seal(place{kind: kindCode, epoch: generation, room: room, n: n}, []byte(code))
}

// OpenRoomCode is the reverse of SealRoomCode.
func (s *Service) OpenRoomCode(room ID, n uint64, envelope []byte) (string, error) {
	code, err := s.field.open(place{kind: kindCode, epoch: generation, room: room, n: n}, envelope)
	return string(code), err
}

// SealSession seals the data of a session, which belongs to the token of this
// hash (SessionHash), to a user, and to a sign-in at authAt in unix
// milliseconds. Of the hash the first 16 bytes are bound.
func (s *Service) SealSession(tokenHash [32]byte, user ID, authAt int64, data []byte) []byte {
	return s.field.seal(sessionPlace(tokenHash, user, authAt), data)
}

// OpenSession is the reverse of SealSession.
func (s *Service) OpenSession(tokenHash [32]byte, user ID, authAt int64, envelope []byte) ([]byte, error) {
	return s.field.open(sessionPlace(tokenHash, user, authAt), envelope)
}

func sessionPlace(tokenHash [32]byte, user ID, authAt int64) place {
	return place{kind: kindSession, epoch: generation, object: ID(tokenHash[:16]), owner: user, created: authAt}
}

// Index returns the 32 bytes under which a value can be found without being
// stored: its blind index. A purpose is a constant without a zero byte.
func (s *Service) Index(purpose, value string) []byte {
	sum := s.index.sum([]byte(purpose), []byte{0}, []byte(value))
	return sum[:]
}

// RecoveryHash returns the 32 bytes that are stored for a recovery code. The
// code has 120 random bits, so a fast hash is enough.
func (s *Service) RecoveryHash(user ID, code string) []byte {
	sum := s.recovery.sum(user[:], []byte(code))
	return sum[:]
}

// SessionHash returns what is stored for the token of a session. The token
// holds no zero byte (a cookie cannot), which keeps it apart from TokenHash.
func (s *Service) SessionHash(token string) [32]byte {
	return s.session.sum([]byte(token))
}

// TokenHash returns the 32 bytes that are stored for a token that is good for
// one purpose: set-up, reset, invitation. A purpose is a constant without a
// zero byte.
func (s *Service) TokenHash(purpose, token string) []byte {
	sum := s.session.sum([]byte(purpose), []byte{0}, []byte(token))
	return sum[:]
}

// AuditNext returns the MAC of an entry of the audit log: it covers the entry and, through the
// MAC before it, all earlier ones. The first follows 32 zero bytes.
func (s *Service) AuditNext(prev [32]byte, entry []byte) [32]byte {
	return s.audit.sum([]byte("conclave/audit/1"), prev[:], entry)
}

// AnchorSum returns the MAC of the anchors file's text.
func (s *Service) AnchorSum(text []byte) [32]byte {
	return s.audit.sum([]byte("conclave/anchors/1"), text)
}

// Chain returns the chain of a room's log. It is worth keeping.
func (s *Service) Chain(room ID) *Chain {
	return &Chain{room: room, mac: newKeyed(sha256.New, derive(s.secret, "chain"+string(room[:]), 32))}
}

// RoomKey seals what is said in one room during one epoch, at most 2^32
// envelopes.
type RoomKey struct {
	redacted
	room          ID
	epoch         uint32
	secret        []byte
	message, meta *aead
}

// NewRoomKey makes the key of a room for an epoch, which is 1 or more: what is
// sealed in epoch 0 never opens.
func NewRoomKey(room ID, epoch uint32) *RoomKey { return newRoomKey(room, epoch, newSecret()) }

func newRoomKey(room ID, epoch uint32, secret []byte) *RoomKey {
	return &RoomKey{
		room:    room,
		epoch:   epoch,
		secret:  secret,
		message: newAEAD(derive(secret, "msg", secretSize)),
		meta:    newAEAD(derive(secret, "meta", secretSize)),
	}
}

// Room is the room the key belongs to.
func (k *RoomKey) Room() ID { return k.room }

// Epoch is the epoch of the room the key belongs to.
func (k *RoomKey) Epoch() uint32 { return k.epoch }

// Commit returns 32 bytes that stand for the key in the room's log. They stay
// when the master changes and tell nothing about the key.
func (k *RoomKey) Commit() [32]byte { return [32]byte(derive(k.secret, "commit", 32)) }

// MessagePlace is where in its room a message stands. An edit keeps all of it
// but the revision.
type MessagePlace struct {
	Author   ID
	N        uint64 // number of the log entry that posted it
	Created  int64  // unix milliseconds
	Revision uint32
}

func (k *RoomKey) place(p MessagePlace) place {
	return place{
		kind: kindMessage, epoch: k.epoch, room: k.room, owner: p.Author,
		n: p.N, created: p.Created, revision: p.Revision,
	}
}

// SealMessage seals the body of a message. The error is ErrTooLong, for a body
// over 16,399 bytes.
func (k *RoomKey) SealMessage(p MessagePlace, body []byte) ([]byte, error) {
	if envelopeSize(len(body)) > maxMessage {
		return nil, ErrTooLong
	}
	return k.message.seal(k.place(p), body), nil
}

// OpenMessage returns the body sealed at this place with this key, or ErrAuth.
func (k *RoomKey) OpenMessage(p MessagePlace, envelope []byte) ([]byte, error) {
	return k.message.open(k.place(p), envelope)
}

// SealName seals the name of the room; n is the number of the log entry that
// set it. It panics on a name over 65,535 bytes.
func (k *RoomKey) SealName(n uint64, name []byte) []byte {
	return k.meta.seal(place{kind: kindMetadata, epoch: k.epoch, room: k.room, n: n}, name)
}

// OpenName returns the name that entry n set, or ErrAuth.
func (k *RoomKey) OpenName(n uint64, envelope []byte) ([]byte, error) {
	return k.meta.open(place{kind: kindMetadata, epoch: k.epoch, room: k.room, n: n}, envelope)
}

// redacted is part of every type that holds a key: whatever prints or logs one
// gets this word instead.
type redacted struct{}

func (redacted) String() string             { return "redacted" }
func (redacted) LogValue() slog.Value       { return slog.StringValue("redacted") }
func (redacted) Format(f fmt.State, _ rune) { io.WriteString(f, "redacted") }
