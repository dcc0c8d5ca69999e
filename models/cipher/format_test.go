package cipher

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// FORMAT.md's worked example was made by another implementation. Its values
// are the lines "name = hex" with their indented continuations.
func formatExample(t testing.TB) (text string, values map[string][]byte) {
	t.Helper()
	file, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	text, values = string(file), map[string][]byte{}
	for _, m := range regexp.MustCompile(`(?m)^(\w+) += ([0-9a-f]+(?:\n +[0-9a-f]+)*)$`).FindAllStringSubmatch(text, -1) {
		value, err := hex.DecodeString(strings.Join(strings.Fields(m[2]), ""))
		if err != nil {
			t.Fatalf("%s: %v", m[1], err)
		}
		values[m[1]] = value
	}
	return text, values
}

func TestTheWorkedExampleOfTheFormatIsTrue(t *testing.T) {
	text, values := formatExample(t)
	used := map[string]bool{}
	value := func(name string) []byte {
		used[name] = true
		return values[name]
	}
	is := func(name string, got []byte, err error) {
		t.Helper()
		if want := value(name); err != nil || len(want) == 0 || !bytes.Equal(got, want) {
			t.Errorf("%s is %x, %v", name, got, err)
		}
	}
	array := func(name string, got [32]byte) {
		t.Helper()
		is(name, got[:], nil)
	}

	keyFile := text[strings.Index(text, "# created "):]
	keyFile = keyFile[:strings.Index(keyFile, "```")]
	path := filepath.Join(t.TempDir(), "mk-0a1b2c3d.key")
	os.Chmod(filepath.Dir(path), 0o700)
	if err := writeKeyFile(path, []byte(keyFile)); err != nil {
		t.Fatal(err)
	}
	master, err := LoadKeyFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, secret, _ := parseKey([]byte(keyFile))
	is("master_secret", secret, nil)

	room, user := ID(value("room_id")), ID(value("user_id"))
	service, err := master.OpenService(value("service"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := master.OpenRoomKey(room, 3, value("room_key"))
	if err != nil {
		t.Fatal(err)
	}
	is("service_secret", service.secret, nil)
	is("room_secret", key.secret, nil)

	is("K_wrap", derive(secret, "wrap", 64), nil)
	is("K_field", derive(service.secret, "field", 64), nil)
	is("K_index", derive(service.secret, "index", 32), nil)
	is("K_recovery", derive(service.secret, "recovery", 32), nil)
	is("K_session", derive(service.secret, "session", 32), nil)
	is("K_audit", derive(service.secret, "audit", 32), nil)
	is("chain_key", derive(service.secret, "chain"+string(room[:]), 32), nil)
	is("K_msg", derive(key.secret, "msg", 64), nil)
	is("K_meta", derive(key.secret, "meta", 64), nil)
	array("commit", key.Commit())

	at := MessagePlace{Author: user, N: 7, Created: 1_790_000_000_000 + 123, Revision: 2}
	body, err := key.OpenMessage(at, value("message"))
	is("message_body", body, err)
	p := key.place(at)
	data := p.associated()
	is("message_data", data[:], nil)
	iv := value("message_iv")
	is("message", key.message.Seal(append(data[8:14:14], iv...), iv, body, data[:]), nil)

	opens := func(name, want string, open func(envelope []byte) ([]byte, error)) {
		t.Helper()
		if got, err := open(value(name)); err != nil || string(got) != want {
			t.Errorf("%s opened as %q, %v", name, got, err)
		}
	}
	opens("check", "", func(e []byte) ([]byte, error) { return nil, master.OpenCheck(e) })
	opens("name", "The laboratory", func(e []byte) ([]byte, error) { return key.OpenName(1, e) })
	opens("profile", "Ada Lovelace", func(e []byte) ([]byte, error) { return service.OpenProfile(user, 4, e) })
	opens("password", "$argon2id$v=19$...", func(e []byte) ([]byte, error) { return service.OpenPassword(user, e) })
	opens("totp", "12345678901234567890", func(e []byte) ([]byte, error) { return service.OpenTOTP(user, e) })
	opens("passkey", "{}", func(e []byte) ([]byte, error) {
		return service.OpenPasskey(user, ID(value("passkey_id")), e)
	})
	opens("code", "0123456789ABCDEF", func(e []byte) ([]byte, error) {
		code, err := service.OpenRoomCode(room, 1, e)
		return []byte(code), err
	})
	token := service.SessionHash("a session token")
	opens("session", "{}", func(e []byte) ([]byte, error) {
		return service.OpenSession(token, user, 1_790_000_000_000, e)
	})

	array("session_hash", token)
	is("index", service.Index("username", "ada"), nil)
	is("recovery", service.RecoveryHash(user, "0123456789ABCDEFGHJKMNPQ"), nil)
	is("token_hash", service.TokenHash("invitation", "a token"), nil)

	chain := service.Chain(room)
	genesis := chain.Genesis()
	array("genesis", genesis)
	next := chain.Next(genesis, Link{
		N: 7, Op: 2, Target: MessageTarget(7), Actor: user, Epoch: 3,
		Time: at.Created, Posts: 5, Payload: Tag(value("message")),
	})
	array("next", next)
	array("next", newKeyed(sha256.New, value("chain_key")).sum(value("link")))

	audited := service.AuditNext([32]byte{}, value("audit_entry"))
	array("audit_mac", audited)
	anchors := text[strings.LastIndex(text, "conclave anchors 1\n"):]
	anchors = anchors[:strings.Index(anchors, "sum ")]
	array("anchors_sum", service.AnchorSum([]byte(anchors)))
	if !strings.Contains(anchors, hex.EncodeToString(audited[:])) || !strings.Contains(anchors, hex.EncodeToString(next[:])) {
		t.Error("the anchors of the example do not end the logs of the example")
	}

	for name := range values {
		if !used[name] {
			t.Errorf("nothing tests %s", name)
		}
	}
}
