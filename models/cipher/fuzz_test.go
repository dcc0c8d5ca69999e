package cipher

import (
	"bytes"
	"testing"
)

// FuzzOpen hands strangers' bytes to everything that reads envelopes. Nothing
// may panic, and nothing opens but what was sealed here.
func FuzzOpen(f *testing.F) {
	_, example := formatExample(f)
	master := newMaster(0x0a1b2c3d, example["master_secret"])
	service, key := newService(example["service_secret"]), newRoomKey(lab, 3, example["room_secret"])
	at := MessagePlace{Author: ada, N: 7, Created: 1_790_000_000_123, Revision: 2}
	ours := map[string]bool{}
	for _, name := range []string{"message", "name", "profile", "code", "check", "service"} {
		ours[string(example[name])] = true
		f.Add(example[name])
	}
	f.Fuzz(func(t *testing.T, envelope []byte) {
		refused := func(name string, content []byte, err error) {
			t.Helper()
			if err == nil && !ours[string(envelope)] {
				t.Errorf("%s opened as %x", name, content)
			}
			if err != nil && (err != ErrAuth || len(content) != 0) {
				t.Errorf("%s: %x, %v", name, content, err)
			}
		}
		body, err := key.OpenMessage(at, envelope)
		refused("message", body, err)
		name, err := key.OpenName(1, envelope)
		refused("name", name, err)
		profile, err := service.OpenProfile(ada, 4, envelope)
		refused("profile", profile, err)
		code, err := service.OpenRoomCode(lab, 1, envelope)
		refused("code", []byte(code), err)
		refused("check", nil, master.OpenCheck(envelope))
		_, err = master.OpenService(envelope)
		refused("service", nil, err)
		Tag(envelope)
		if id, err := MasterOf(envelope); (err == nil) != (id != 0) || err == nil && id != EpochOf(envelope) {
			t.Errorf("master %08x, %v", id, err)
		}
	})
}

// FuzzKeyFile reads any text as a key file. What is taken for one gives the
// same key when it is written again.
func FuzzKeyFile(f *testing.F) {
	f.Add(formatKey(0x0a1b2c3d, bytes.Repeat([]byte("seed"), 16), noon))
	f.Fuzz(func(t *testing.T, text []byte) {
		id, secret, err := parseKey(text)
		if err != nil {
			if id != 0 || secret != nil {
				t.Errorf("%08x, %d bytes, %v", id, len(secret), err)
			}
			return
		}
		again, same, err := parseKey(formatKey(id, secret, noon))
		if err != nil || id == 0 || again != id || len(secret) != secretSize || !bytes.Equal(same, secret) {
			t.Errorf("%08x, %08x, %v", id, again, err)
		}
	})
}
