package cipher

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestAnUnwrappedKeyIsTheKey(t *testing.T) {
	k := newKeys()
	s, err := k.master.OpenService(k.master.SealService(k.service))
	if err != nil {
		t.Fatal(err)
	}
	profile, err := s.OpenProfile(ada, 1, k.service.SealProfile(ada, 1, []byte("Ada")))
	if err != nil || string(profile) != "Ada" {
		t.Errorf("%q, %v", profile, err)
	}
	if !bytes.Equal(s.Index("email", "a@example.org"), k.service.Index("email", "a@example.org")) ||
		!bytes.Equal(s.RecoveryHash(ada, "code"), k.service.RecoveryHash(ada, "code")) ||
		s.SessionHash("token") != k.service.SessionHash("token") ||
		s.Chain(lab).Genesis() != k.service.Chain(lab).Genesis() {
		t.Error("its hashes differ")
	}

	key, err := k.master.OpenRoomKey(lab, 3, k.master.SealRoomKey(k.key))
	if err != nil {
		t.Fatal(err)
	}
	envelope, _ := k.key.SealMessage(hello, []byte("Good evening"))
	if body, err := key.OpenMessage(hello, envelope); err != nil || string(body) != "Good evening" {
		t.Errorf("%q, %v", body, err)
	}
	if key.Room() != lab || key.Epoch() != 3 || key.Commit() != k.key.Commit() {
		t.Error("it is another room, epoch or commit")
	}
}

func TestASecretOfAnotherLengthIsRefused(t *testing.T) {
	m := newMaster(1, newSecret())
	for _, size := range []int{0, 32, 63, 65} {
		if _, err := m.OpenService(m.wrap.seal(m.place(ID{}, generation), make([]byte, size))); err != ErrAuth {
			t.Errorf("service of %d bytes: %v", size, err)
		}
		if _, err := m.OpenRoomKey(lab, 1, m.wrap.seal(m.place(lab, 1), make([]byte, size))); err != ErrAuth {
			t.Errorf("room key of %d bytes: %v", size, err)
		}
	}
	if err := m.OpenCheck(m.wrap.seal(m.place(ID{}, 0), []byte("something else"))); err != ErrAuth {
		t.Error(err)
	}
}

func TestAnEnvelopeNamesItsMaster(t *testing.T) {
	k := newKeys()
	for _, envelope := range [][]byte{k.master.SealCheck(), k.master.SealService(k.service), k.master.SealRoomKey(k.key)} {
		if id, err := MasterOf(envelope); err != nil || id != k.master.ID() {
			t.Errorf("%08x, %v", id, err)
		}
		if id, err := MasterOf(envelope[:len(envelope)-1]); err != ErrAuth || id != 0 {
			t.Errorf("cut: %08x, %v", id, err)
		}
		envelope[0] = 2
		if id, err := MasterOf(envelope); err != ErrAuth || id != 0 {
			t.Errorf("another version: %08x, %v", id, err)
		}
	}
	if id, err := MasterOf(k.service.SealTOTP(ada, nil)); err != ErrAuth || id != 0 {
		t.Errorf("another kind: %08x, %v", id, err)
	}
	if k.master.Name() != "0a1b2c3d" || newMaster(1, newSecret()).Name() != "00000001" {
		t.Error("the name is not 8 hex digits")
	}
}

func TestEveryKeyIsItsOwn(t *testing.T) {
	secret, seen := newSecret(), map[string]string{}
	for _, info := range []string{"wrap", "field", "index", "recovery", "session", "msg", "meta", "commit", "chain" + string(lab[:]), "chain" + string(attic[:])} {
		key := derive(secret, info, 64)
		for _, half := range []string{string(key[:32]), string(key[32:])} {
			if seen[half] != "" {
				t.Errorf("%q and %q share bytes", info, seen[half])
			}
			seen[half] = info
		}
	}
	if one, other := NewRoomKey(lab, 1), NewRoomKey(lab, 1); one.Commit() == other.Commit() {
		t.Error("two room keys commit to the same")
	}
	if bytes.Equal(NewService().secret, NewService().secret) {
		t.Error("two services are the same")
	}
}

func TestHashesDifferByEveryArgument(t *testing.T) {
	s, other := NewService(), NewService()
	session := func(s *Service, token string) []byte { h := s.SessionHash(token); return h[:] }
	hashes := map[string][]byte{
		"index":               s.Index("username", "ada"),
		"other service":       other.Index("username", "ada"),
		"other purpose":       s.Index("email", "ada"),
		"other value":         s.Index("username", "adb"),
		"purpose runs on":     s.Index("usernamea", "da"),
		"empty purpose":       s.Index("", "usernameada"),
		"recovery":            s.RecoveryHash(ada, "code"),
		"recovery, service":   other.RecoveryHash(ada, "code"),
		"recovery, user":      s.RecoveryHash(grace, "code"),
		"recovery, code":      s.RecoveryHash(ada, "cod"),
		"session":             session(s, "token"),
		"session, service":    session(other, "token"),
		"session, token":      session(s, "tokem"),
		"token":               s.TokenHash("reset", "token"),
		"token, service":      other.TokenHash("reset", "token"),
		"token, purpose":      s.TokenHash("invitation", "token"),
		"token, token":        s.TokenHash("reset", "tokem"),
		"token, no purpose":   s.TokenHash("", "token"),
		"session, run on":     session(s, "resettoken"),
		"index as a token is": s.Index("reset", "token"),
	}
	seen := map[string]string{}
	for name, hash := range hashes {
		if len(hash) != 32 || seen[string(hash)] != "" {
			t.Errorf("%s: %d bytes, same as %q", name, len(hash), seen[string(hash)])
		}
		seen[string(hash)] = name
	}
	if !bytes.Equal(s.Index("username", "ada"), hashes["index"]) {
		t.Error("the same is not the same")
	}
}

func TestNoKeyIsPrintedOrLogged(t *testing.T) {
	secret := bytes.Repeat([]byte{0xc5}, 64)
	service, key := newService(secret), newRoomKey(lab, 1, secret)
	var b strings.Builder
	text, structured := slog.New(slog.NewTextHandler(&b, nil)), slog.New(slog.NewJSONHandler(&b, nil))
	for _, v := range []any{newMaster(1, secret), service, *service, key, *key, service.Chain(lab), newAEAD(secret)} {
		b.Reset()
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			if got := fmt.Sprintf(verb, v); got != "redacted" {
				t.Errorf("%T, %s: %s", v, verb, got)
			}
		}
		text.Info("it", "key", v, "in", struct{ V any }{v}, "list", []any{v})
		structured.Info("it", "key", v, "in", struct{ V any }{v}, "list", []any{v})
		marshalled, _ := json.Marshal(v)
		out := b.String() + string(marshalled)
		if !strings.Contains(out, "key=redacted") || !strings.Contains(out, `"key":"redacted"`) {
			t.Errorf("%T: %s", v, out)
		}
		for _, trace := range []string{"197 197", "\xc5\xc5", "0xc5", hex.EncodeToString(secret[:2]), "xcXF"} {
			if strings.Contains(strings.ToLower(out), strings.ToLower(trace)) {
				t.Errorf("%T leaks %q: %s", v, trace, out)
			}
		}
	}
}
