package handlers_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"testing"
	"time"
)

// device is an authenticator written down: it makes one passkey and signs with it, as WebAuthn
// says (https://www.w3.org/TR/webauthn-3/, sections 6.1 and 6.5), and asks nobody.
type device struct {
	t      *testing.T
	key    *ecdsa.PrivateKey
	id     []byte
	site   string
	handle []byte // of the user
	count  uint32
	counts bool // each signature raises the count
}

// wish is what a device reads of the options.
type wish struct {
	Challenge string
	RPID      string `json:"rpId"`
	RP        struct{ ID string }
	User      struct{ ID, Name, DisplayName string }
	Exclude   []struct{ ID string } `json:"excludeCredentials"`
	Allow     []struct{ ID string } `json:"allowCredentials"`
}

func newDevice(t *testing.T) *device {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &device{t: t, key: key, id: []byte(rand.Text())}
}

// make answers the options for a new passkey.
func (d *device) make(w wish, origin string) string {
	d.site, d.handle = w.RP.ID, unbase(d.t, w.User.ID)
	point, err := d.key.PublicKey.Bytes() // 4, x, y
	if err != nil {
		d.t.Fatal(err)
	}
	var key bytes.Buffer // COSE: {1: 2, 3: -7, -1: 1, -2: x, -3: y}
	key.Write([]byte{0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 32})
	key.Write(point[1:33])
	key.Write([]byte{0x22, 0x58, 32})
	key.Write(point[33:])
	data := d.data(0x45) // present, verified, with a key
	data = append(data, make([]byte, 16)...)
	data = binary.BigEndian.AppendUint16(data, uint16(len(d.id)))
	data = append(append(data, d.id...), key.Bytes()...)
	var object bytes.Buffer // {"fmt": "none", "attStmt": {}, "authData": data}
	object.WriteString("\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x59")
	binary.Write(&object, binary.BigEndian, uint16(len(data)))
	object.Write(data)
	return d.answer(map[string]any{"clientDataJSON": d.client("webauthn.create", w.Challenge, origin), "attestationObject": base(object.Bytes())})
}

// sign answers the options of a login.
func (d *device) sign(w wish, origin string) string {
	if d.counts {
		d.count++
	}
	data, client := d.data(0x05), d.client("webauthn.get", w.Challenge, origin)
	hash := sha256.Sum256(unbase(d.t, client))
	digest := sha256.Sum256(append(bytes.Clone(data), hash[:]...))
	signature, err := ecdsa.SignASN1(rand.Reader, d.key, digest[:])
	if err != nil {
		d.t.Fatal(err)
	}
	return d.answer(map[string]any{"clientDataJSON": client, "authenticatorData": base(data), "signature": base(signature), "userHandle": base(d.handle)})
}

func (d *device) data(flags byte) []byte {
	hash := sha256.Sum256([]byte(d.site))
	return binary.BigEndian.AppendUint32(append(hash[:], flags), d.count)
}

func (d *device) client(kind, challenge, origin string) string {
	text, _ := json.Marshal(map[string]any{"type": kind, "challenge": challenge, "origin": origin, "crossOrigin": false})
	return base(text)
}

func (d *device) answer(response map[string]any) string {
	text, _ := json.Marshal(map[string]any{"id": base(d.id), "rawId": base(d.id), "type": "public-key", "clientExtensionResults": map[string]any{}, "response": response})
	return string(text)
}

func base(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }

func unbase(t *testing.T, text string) []byte {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// named is for tests about passkeys: an address that is a number has none.
func named(s *settings) { s.named = true }

// asks fetches a challenge as the page's module does.
func (p *person) asks(path string, f fields) wish {
	p.o.t.Helper()
	a := p.post(path, f, htmx...).want(200)
	found := elements(a.doc(), func(n *nodeT) bool { return attr(n, "data-options") != "" })
	if len(found) != 1 {
		p.o.t.Fatalf("%s: no options in\n%s", path, a.body)
	}
	var w wish
	if err := json.Unmarshal([]byte(attr(found[0], "data-options")), &w); err != nil {
		p.o.t.Fatal(err)
	}
	return w
}

// addsPasskey makes a passkey on a new device.
func (p *person) addsPasskey(name string) *device {
	p.o.t.Helper()
	p.confirm("/account/passkeys").wantRedirect("/account/passkeys")
	d := newDevice(p.o.t)
	p.post("/account/passkeys", fields{"name": name, "passkey": d.make(p.asks("/account/passkeys/new", fields{"name": name}), p.o.server.URL)}).wantRedirect("/account/passkeys")
	return d
}

// signs fills in the form of a login, signed with a device for a fresh challenge. It lets the time
// pass that earlier failures ask for.
func (p *person) signs(username, password string, d *device) fields {
	p.o.t.Helper()
	p.o.clock.advance(16 * time.Minute)
	return fields{"username": username, "password": password, "code": "", "passkey": d.sign(p.asks("/login/passkey", nil), p.o.server.URL)}
}
