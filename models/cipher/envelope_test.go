package cipher

import (
	"bytes"
	"reflect"
	"strings"
	"sync"
	"testing"
)

// sealed is an envelope with the way to open it, and every way to open it in a
// place that differs in one argument.
type sealed struct {
	name      string
	content   string
	envelope  []byte
	open      func(envelope []byte) (string, error)
	elsewhere map[string]func(envelope []byte) (string, error)
}

type keys struct {
	master, otherMaster   *Master
	service, otherService *Service
	key, otherKey         *RoomKey
}

func newKeys() keys {
	return keys{
		newMaster(0x0a1b2c3d, newSecret()), newMaster(0x0a1b2c3d, newSecret()),
		NewService(), NewService(),
		NewRoomKey(lab, 3), NewRoomKey(lab, 3),
	}
}

// oneOfEach seals one envelope with every Seal function.
func oneOfEach(t *testing.T, k keys) []sealed {
	t.Helper()
	type opener = func([]byte) (string, error)
	text := func(b []byte, err error) (string, error) { return string(b), err }

	message := func(key *RoomKey, p MessagePlace) opener {
		return func(e []byte) (string, error) { return text(key.OpenMessage(p, e)) }
	}
	at := func(change func(*MessagePlace)) opener {
		p := hello
		change(&p)
		return message(k.key, p)
	}
	envelope, err := k.key.SealMessage(hello, []byte("Good evening, Grace."))
	if err != nil {
		t.Fatal(err)
	}

	name := func(key *RoomKey, n uint64) opener {
		return func(e []byte) (string, error) { return text(key.OpenName(n, e)) }
	}
	profile := func(s *Service, user ID, revision uint32) opener {
		return func(e []byte) (string, error) { return text(s.OpenProfile(user, revision, e)) }
	}
	password := func(s *Service, user ID) opener {
		return func(e []byte) (string, error) { return text(s.OpenPassword(user, e)) }
	}
	totp := func(s *Service, user ID) opener {
		return func(e []byte) (string, error) { return text(s.OpenTOTP(user, e)) }
	}
	passkey := func(s *Service, user, id ID) opener {
		return func(e []byte) (string, error) { return text(s.OpenPasskey(user, id, e)) }
	}
	code := func(s *Service, room ID, n uint64) opener {
		return func(e []byte) (string, error) { return s.OpenRoomCode(room, n, e) }
	}
	session := func(s *Service, hash [32]byte, user ID, authAt int64) opener {
		return func(e []byte) (string, error) { return text(s.OpenSession(hash, user, authAt, e)) }
	}
	check := func(m *Master) opener {
		return func(e []byte) (string, error) {
			if err := m.OpenCheck(e); err != nil {
				return "", err
			}
			return checkValue, nil
		}
	}
	service := func(m *Master) opener {
		return func(e []byte) (string, error) {
			s, err := m.OpenService(e)
			if err != nil {
				return "", err
			}
			return string(s.secret), nil
		}
	}
	roomKey := func(m *Master, room ID, epoch uint32) opener {
		return func(e []byte) (string, error) {
			k, err := m.OpenRoomKey(room, epoch, e)
			if err != nil {
				return "", err
			}
			return string(k.secret), nil
		}
	}
	renamed := &Master{id: k.master.id ^ 1, wrap: k.master.wrap}
	moved := &RoomKey{room: attic, epoch: 3, message: k.key.message, meta: k.key.meta}
	later := &RoomKey{room: lab, epoch: 2, message: k.key.message, meta: k.key.meta}
	hash := k.service.SessionHash("token")
	otherHash := hash
	otherHash[15] ^= 1

	return []sealed{
		{"message", "Good evening, Grace.", envelope, message(k.key, hello), map[string]opener{
			"key":      message(k.otherKey, hello),
			"room":     message(moved, hello),
			"epoch":    message(later, hello),
			"author":   at(func(p *MessagePlace) { p.Author = grace }),
			"n":        at(func(p *MessagePlace) { p.N ^= 1 << 63 }),
			"created":  at(func(p *MessagePlace) { p.Created++ }),
			"sign":     at(func(p *MessagePlace) { p.Created = -p.Created }),
			"revision": at(func(p *MessagePlace) { p.Revision++ }),
		}},
		{"room name", "The laboratory", k.key.SealName(1, []byte("The laboratory")), name(k.key, 1), map[string]opener{
			"key": name(k.otherKey, 1), "room": name(moved, 1), "epoch": name(later, 1), "n": name(k.key, 2),
		}},
		{"profile", "Ada Lovelace", k.service.SealProfile(ada, 4, []byte("Ada Lovelace")), profile(k.service, ada, 4), map[string]opener{
			"service": profile(k.otherService, ada, 4), "user": profile(k.service, grace, 4), "revision": profile(k.service, ada, 3),
		}},
		{"password", "$argon2id$", k.service.SealPassword(ada, []byte("$argon2id$")), password(k.service, ada), map[string]opener{
			"service": password(k.otherService, ada), "user": password(k.service, grace),
		}},
		{"TOTP", "12345678901234567890", k.service.SealTOTP(ada, []byte("12345678901234567890")), totp(k.service, ada), map[string]opener{
			"service": totp(k.otherService, ada), "user": totp(k.service, grace),
		}},
		{"passkey", "{}", k.service.SealPasskey(ada, bronze, []byte("{}")), passkey(k.service, ada, bronze), map[string]opener{
			"service": passkey(k.otherService, ada, bronze), "user": passkey(k.service, grace, bronze), "id": passkey(k.service, ada, silver),
		}},
		{"room code", "0123456789ABCDEF", k.service.SealRoomCode(lab, 1, "0123456789ABCDEF"), code(k.service, lab, 1), map[string]opener{
			"service": code(k.otherService, lab, 1), "room": code(k.service, attic, 1), "n": code(k.service, lab, 2),
		}},
		{"session", "{}", k.service.SealSession(hash, ada, 99, []byte("{}")), session(k.service, hash, ada, 99), map[string]opener{
			"service": session(k.otherService, hash, ada, 99), "hash": session(k.service, otherHash, ada, 99),
			"user": session(k.service, hash, grace, 99), "authAt": session(k.service, hash, ada, 98),
		}},
		{"check", checkValue, k.master.SealCheck(), check(k.master), map[string]opener{
			"master": check(k.otherMaster), "master id": check(renamed),
		}},
		{"service", string(k.service.secret), k.master.SealService(k.service), service(k.master), map[string]opener{
			"master": service(k.otherMaster), "master id": service(renamed),
		}},
		{"room key", string(k.key.secret), k.master.SealRoomKey(k.key), roomKey(k.master, lab, 3), map[string]opener{
			"master": roomKey(k.otherMaster, lab, 3), "master id": roomKey(renamed, lab, 3),
			"room": roomKey(k.master, attic, 3), "epoch": roomKey(k.master, lab, 2),
		}},
	}
}

func TestWhatIsSealedOpens(t *testing.T) {
	for _, s := range oneOfEach(t, newKeys()) {
		if content, err := s.open(s.envelope); err != nil || content != s.content {
			t.Errorf("%s: %q, %v", s.name, content, err)
		}
	}
}

func TestAnEnvelopeOpensInItsPlaceOnly(t *testing.T) {
	all := oneOfEach(t, newKeys())
	for _, s := range all {
		for field, open := range s.elsewhere {
			if content, err := open(s.envelope); err != ErrAuth || content != "" {
				t.Errorf("%s with another %s: %q, %v", s.name, field, content, err)
			}
		}
		for _, other := range all {
			if content, err := other.open(s.envelope); other.name != s.name && (err != ErrAuth || content != "") {
				t.Errorf("%s opened as %s: %q, %v", s.name, other.name, content, err)
			}
		}
	}
}

// A changed kind byte or epoch must fail by the tag too, not only because the
// reader compares the header.
func TestHeaderAndPlaceAreAuthenticatedByteByByte(t *testing.T) {
	a, p := newAEAD(testKey), place{
		kind: kindMessage, epoch: 3, room: lab, object: attic, owner: ada, n: 1, created: 2, revision: 4,
	}
	envelope, data := a.seal(p, []byte("text")), p.associated()
	for i := range data {
		changed := data
		changed[i] ^= 1
		if _, err := a.Open(nil, envelope[prefixSize:headerSize], envelope[headerSize:], changed[:]); err != ErrAuth {
			t.Errorf("byte %d: %v", i, err)
		}
	}
	if _, err := a.Open(nil, envelope[prefixSize:headerSize], envelope[headerSize:], data[:]); err != nil {
		t.Error(err)
	}
}

func TestEveryFieldOfAPlaceIsBound(t *testing.T) {
	a := newAEAD(testKey)
	envelope := a.seal(place{kind: kindMessage, epoch: 3}, []byte("text"))
	for field, p := range map[string]place{
		"kind":     {kind: kindMetadata, epoch: 3},
		"epoch":    {kind: kindMessage, epoch: 4},
		"room":     {kind: kindMessage, epoch: 3, room: lab},
		"object":   {kind: kindMessage, epoch: 3, object: lab},
		"owner":    {kind: kindMessage, epoch: 3, owner: lab},
		"n":        {kind: kindMessage, epoch: 3, n: 1},
		"created":  {kind: kindMessage, epoch: 3, created: 1},
		"revision": {kind: kindMessage, epoch: 3, revision: 1},
	} {
		// With the header made to fit, so that the tag alone can tell.
		forged, data := bytes.Clone(envelope), p.associated()
		copy(forged, data[8:8+prefixSize])
		if _, err := a.open(p, forged); err != ErrAuth {
			t.Errorf("%s: %v", field, err)
		}
	}
	if n := reflect.TypeFor[place]().NumField(); n != 8 {
		t.Errorf("a place has %d fields, this test knows 8", n)
	}
}

func TestEveryFlippedBitOfAnEnvelopeIsRefused(t *testing.T) {
	for _, s := range oneOfEach(t, newKeys()) {
		for i := range 8 * len(s.envelope) {
			changed := bytes.Clone(s.envelope)
			changed[i/8] ^= 1 << (i % 8)
			if content, err := s.open(changed); err != ErrAuth || content != "" {
				t.Errorf("%s, byte %d, bit %d: %q, %v", s.name, i/8, i%8, content, err)
			}
		}
	}
}

func TestOtherLengthsOfAnEnvelopeAreRefused(t *testing.T) {
	for _, s := range oneOfEach(t, newKeys()) {
		refused := func(envelope []byte) {
			t.Helper()
			if content, err := s.open(envelope); err != ErrAuth || content != "" {
				t.Errorf("%s with %d bytes: %q, %v", s.name, len(envelope), content, err)
			}
		}
		refused(nil)
		for n := range s.envelope {
			refused(s.envelope[:n])
		}
		for n := 1; n < 40; n++ {
			refused(append(bytes.Clone(s.envelope), make([]byte, n)...))
		}
		refused(append(bytes.Clone(s.envelope), make([]byte, 1<<17)...))
		head, tail := s.envelope[:headerSize], s.envelope[len(s.envelope)-tagSize:]
		refused(append(bytes.Clone(head), tail...)) // no ciphertext at all
		refused(append(append(bytes.Clone(head), make([]byte, 16)...), tail...))
	}
}

func TestTheLongestMessageOpensAndALongerOneIsAnError(t *testing.T) {
	key := NewRoomKey(lab, 1)
	longest := bytes.Repeat([]byte("x"), 16_399)
	envelope, err := key.SealMessage(hello, longest)
	if err != nil || len(envelope) != 16_454 {
		t.Fatalf("%d bytes, %v", len(envelope), err)
	}
	if body, err := key.OpenMessage(hello, envelope); err != nil || !bytes.Equal(body, longest) {
		t.Error(err)
	}
	if envelope, err := key.SealMessage(hello, append(longest, 'x')); err != ErrTooLong || envelope != nil {
		t.Errorf("%d bytes, %v", len(envelope), err)
	}
	// What is over the maximum is not even read, be its tag right.
	data := key.place(hello)
	aad := data.associated()
	header := append(aad[8:8+prefixSize:8+prefixSize], testIV...)
	if _, err := key.OpenMessage(hello, key.message.Seal(header, testIV, append(longest, 'x'), aad[:])); err != ErrAuth {
		t.Error(err)
	}
}

func TestOtherContentsHaveAMaximumToo(t *testing.T) {
	s := NewService()
	longest := make([]byte, 65_535)
	if profile, err := s.OpenProfile(ada, 1, s.SealProfile(ada, 1, longest)); err != nil || len(profile) != len(longest) {
		t.Errorf("%d bytes, %v", len(profile), err)
	}
	defer func() {
		if text, _ := recover().(string); !strings.Contains(text, "too long") {
			t.Error("no panic")
		}
	}()
	s.SealProfile(ada, 1, append(longest, 0))
}

func TestAnEmptyBodyIsABody(t *testing.T) {
	key := NewRoomKey(lab, 1)
	envelope, err := key.SealMessage(hello, nil)
	if err != nil || len(envelope) != minEnvelope {
		t.Fatalf("%d bytes, %v", len(envelope), err)
	}
	if body, err := key.OpenMessage(hello, envelope); err != nil || len(body) != 0 {
		t.Errorf("%q, %v", body, err)
	}
}

func TestEpochZeroNeverOpens(t *testing.T) {
	key := NewRoomKey(lab, 0)
	envelope, _ := key.SealMessage(hello, []byte("text"))
	if _, err := key.OpenMessage(hello, envelope); err != ErrAuth {
		t.Error(err)
	}
	if _, err := MasterOf(newMaster(0, newSecret()).SealCheck()); err != ErrAuth {
		t.Error(err)
	}
}

func TestTheSameTextIsNeverSealedTheSameWay(t *testing.T) {
	key, seen := NewRoomKey(lab, 1), map[string]bool{}
	for range 1000 {
		envelope, _ := key.SealMessage(hello, []byte("same"))
		iv, body := string(envelope[prefixSize:headerSize]), string(envelope[headerSize:])
		if seen[iv] || seen[body] {
			t.Fatal("an IV or a ciphertext came twice")
		}
		seen[iv], seen[body] = true, true
	}
}

func TestTagAndEpochAreReadFromTheEnvelope(t *testing.T) {
	envelope, _ := NewRoomKey(lab, 0x01020304).SealMessage(hello, nil)
	if tag := Tag(envelope); !bytes.Equal(tag[:], envelope[len(envelope)-32:]) || EpochOf(envelope) != 0x01020304 {
		t.Errorf("%x, %x", tag, EpochOf(envelope))
	}
	for n := range minEnvelope {
		if Tag(envelope[:n]) != [32]byte{} || EpochOf(envelope[:n]) != 0 {
			t.Errorf("%d bytes have a tag or an epoch", n)
		}
	}
}

func TestManyGoroutinesSealAndOpenWithOneKey(t *testing.T) {
	k := newKeys()
	all := oneOfEach(t, k)
	chain := k.service.Chain(lab)
	genesis, index := chain.Genesis(), k.service.Index("username", "ada")
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 50 {
				for _, s := range all {
					if content, err := s.open(s.envelope); err != nil || content != s.content {
						t.Errorf("%s: %q, %v", s.name, content, err)
					}
				}
				if envelope, err := k.key.SealMessage(hello, []byte("hi")); err != nil {
					t.Error(err)
				} else if body, err := k.key.OpenMessage(hello, envelope); err != nil || string(body) != "hi" {
					t.Errorf("%q, %v", body, err)
				}
				if chain.Genesis() != genesis || !bytes.Equal(k.service.Index("username", "ada"), index) {
					t.Error("a hash changed")
				}
			}
		})
	}
	group.Wait()
}
