package models

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"syscall"
	"testing"
	"time"

	"conclave/models/feed"
)

// BenchmarkRefusals measures how long a login takes that is refused, for every reason there is, with
// the hashes of a server. The reasons take turns, so that a slow moment of the machine hits all of them.
// It reports the median of each as a ratio to that of a name that nobody has: of the time on the clock,
// where R19 wants less than a tenth between them, and of the processor's, which says the same on a
// machine that has other things to do. Thirty turns: -benchtime 30x.
func BenchmarkRefusals(b *testing.B) { // R19
	s, err := Open(Options{
		Dir: b.TempDir(), Hub: feed.New(feed.Options{}), Log: slog.New(slog.DiscardHandler), SessionIdle: time.Hour, SessionLifetime: 24 * time.Hour, LimitScale: 100,
	})
	must(b, err)
	defer s.Close()
	pending := func(name string) ID {
		id, err := s.Register(b.Context(), Registration{Username: name, FullName: name, Email: name + "@example.org", Password: goodPassword})
		must(b, err)
		return id
	}
	person := func(name string) ID {
		id := pending(name)
		p, err := s.Pending(b.Context(), id)
		must(b, err)
		_, _, err = s.Confirm(b.Context(), By{}, id, codeAt(b, p.Secret, s.o.Now()))
		must(b, err)
		return id
	}
	pending("pending")
	person("known")
	must(b, s.Disable(b.Context(), By{}, person("disabled")))
	keys := person("keys")
	must(b, s.operate(b.Context(), By{}, keys, "passkey", func(t *act, _ *account) error {
		for i := range 5 {
			id := newID()
			plain, err := json.Marshal(sealedPasskey{Name: "A key", Site: "localhost", Credential: id[:]})
			if err != nil {
				return err
			}
			_, err = t.exec("INSERT INTO passkeys (id, user_id, handle, credential, signs, created_ms, used_ms) VALUES (?, ?, ?, ?, 0, ?, 0)",
				id, keys, s.service.Index("passkey", fmt.Sprint(i)), s.service.SealPasskey(keys, id, plain), t.now)
			if err != nil {
				return err
			}
		}
		return nil
	}))
	const spare, wrong = "ABCDEF-GHJKMN-PQRSTV-WXYZ23", "a wrong lantern over the harbour"
	answer := Answer{Site: Site{"localhost", "https://localhost"}, Challenge: "Y2hhbGxlbmdl", JSON: `{"id":"YQ","rawId":"YQ","type":"public-key","response":{"clientDataJSON":"e30","authenticatorData":"YQ","signature":"YQ"}}`}
	cases := []struct {
		name string
		in   SignIn
	}{
		{"unknown-name", SignIn{Username: "nobody", Password: goodPassword, Code: "000000"}},
		{"unknown-name-recovery-code", SignIn{Username: "nobody", Password: goodPassword, Code: spare}},
		{"wrong-password", SignIn{Username: "known", Password: wrong, Code: "000000"}},
		{"wrong-code", SignIn{Username: "known", Password: goodPassword, Code: "000000"}},
		{"wrong-recovery-code", SignIn{Username: "known", Password: goodPassword, Code: spare}},
		{"disabled", SignIn{Username: "disabled", Password: goodPassword, Code: "000000"}},
		{"pending-registration", SignIn{Username: "pending", Password: goodPassword, Code: "000000"}},
		{"passkeys-wrong-code", SignIn{Username: "keys", Password: goodPassword, Code: "000000"}},
		{"passkeys-wrong-signature", SignIn{Username: "keys", Password: goodPassword, Passkey: answer}},
		{"unknown-name-signature", SignIn{Username: "nobody", Password: goodPassword, Passkey: answer}},
		{"impossible-password", SignIn{Username: "known", Password: string(make([]byte, 600)), Code: "000000"}},
	}
	took, cost := make([][]time.Duration, len(cases)), make([][]time.Duration, len(cases))
	for round := 0; b.Loop(); round++ {
		must(b, s.act(b.Context(), func(t *act) error { // else they would have to wait
			_, err := t.exec("DELETE FROM attempts")
			return err
		}))
		for i := range cases {
			i = (i + round) % len(cases)
			c := cases[i]
			c.in.Passkey.Challenge += fmt.Sprint(round)
			begin, worked := time.Now(), processor(b)
			_, err := s.Authenticate(b.Context(), By{}, c.in)
			took[i], cost[i] = append(took[i], time.Since(begin)), append(cost[i], processor(b)-worked)
			if KindOf(err) != Invalid {
				b.Fatalf("%s: %v", c.name, err)
			}
		}
	}
	median := func(of []time.Duration) float64 {
		slices.Sort(of)
		return float64(of[len(of)/2])
	}
	b.ReportMetric(median(took[0])/1e6, "ms/refusal")
	b.ReportMetric(median(cost[0])/1e6, "cpu-ms/refusal")
	for i, c := range cases {
		b.ReportMetric(median(took[i])/median(took[0]), c.name+"/unknown")
		b.ReportMetric(median(cost[i])/median(cost[0]), c.name+"/unknown-cpu")
	}
}

// processor is the processor time that this process has used.
func processor(b *testing.B) time.Duration {
	var u syscall.Rusage
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
