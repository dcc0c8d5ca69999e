package certs

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func ensure(t *testing.T, o Options) *Keeper {
	t.Helper()
	o.Log = slog.New(slog.DiscardHandler)
	k, err := Ensure(o)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// files maps the names in dir to their contents.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		found[e.Name()] = string(b)
	}
	return found
}

// operatorPair writes a pair that somebody else issued for host.
func operatorPair(t *testing.T, dir, host string, notAfter time.Time) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{Organization: []string{"Example Authority"}},
		DNSNames: []string{host}, NotBefore: notAfter.Add(-90 * 24 * time.Hour), NotAfter: notAfter,
	}
	cert, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{
		keyFile(dir):  {Type: "PRIVATE KEY", Bytes: der},
		certFile(dir): {Type: "CERTIFICATE", Bytes: cert},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func mode(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

func TestTheFirstStartMakesAPairAndTheSecondKeepsIt_T31(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "conclave", "certs")
	first := ensure(t, Options{Dir: dir, Hosts: []string{"Chat.Example.org.", "192.0.2.7"}})
	if d, k, c := mode(t, dir), mode(t, keyFile(dir)), mode(t, certFile(dir)); d != 0o700 || k != 0o600 || c != 0o644 {
		t.Errorf("modes: folder %o, key %o, certificate %o", d, k, c)
	}
	before := files(t, dir)
	if len(before) != 2 {
		t.Errorf("files left: %d", len(before))
	}

	second := ensure(t, Options{Dir: dir, Hosts: []string{"192.0.2.7", "chat.example.org"}})
	if first.Info().CertSHA256 != second.Info().CertSHA256 || files(t, dir)["key.pem"] != before["key.pem"] {
		t.Error("the second start made another certificate")
	}
	shown, err := Show(dir)
	if err != nil || shown.CertSHA256 != first.Info().CertSHA256 || shown.SPKISHA256 != first.Info().SPKISHA256 || !shown.Own {
		t.Errorf("shown: %+v, %v", shown, err)
	}
	if !regexp.MustCompile(`^([0-9A-F]{2}:){31}[0-9A-F]{2}$`).MatchString(shown.CertSHA256) {
		t.Errorf("fingerprint %s", shown.CertSHA256)
	}
}

func TestTheCertificateSaysWhatItShould_T31(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	k := ensure(t, Options{Dir: t.TempDir(), Hosts: []string{"chat.example.org", "192.0.2.7", "2001:DB8:0::1"}, Now: func() time.Time { return now }})
	c := k.current.Load().Leaf

	if !c.NotBefore.Equal(now.Add(-time.Hour)) || c.NotAfter.Sub(c.NotBefore) != 397*24*time.Hour {
		t.Errorf("valid from %v to %v", c.NotBefore, c.NotAfter)
	}
	if c.SignatureAlgorithm != x509.ECDSAWithSHA256 || c.PublicKey.(*ecdsa.PublicKey).Curve != elliptic.P256() {
		t.Errorf("%v with %v", c.SignatureAlgorithm, c.PublicKeyAlgorithm)
	}
	if n := c.SerialNumber.BitLen(); n < 64 || n > 127 {
		t.Errorf("a serial of %d bits", n)
	}
	if !c.BasicConstraintsValid || c.IsCA || c.KeyUsage != x509.KeyUsageDigitalSignature || !slices.Equal(c.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}) {
		t.Errorf("CA %v, usage %v, extended %v", c.IsCA, c.KeyUsage, c.ExtKeyUsage)
	}
	if c.Subject.CommonName != "" {
		t.Errorf("common name %q", c.Subject.CommonName)
	}

	want := []string{"localhost", "127.0.0.1", "::1", "chat.example.org", "192.0.2.7", "2001:db8::1"}
	if host, err := os.Hostname(); err == nil && isName(plain(host)) {
		label, _, _ := strings.Cut(plain(host), ".")
		want = append(want, plain(host), label+".local")
	}
	want = append(want, interfaceAddresses()...)
	for _, name := range want {
		if !slices.Contains(k.Info().Names, name) || c.VerifyHostname(name) != nil {
			t.Errorf("%s is missing in %v", name, k.Info().Names)
		}
	}
	for _, name := range k.Info().Names {
		if ip := net.ParseIP(name); ip != nil && ip.IsLinkLocalUnicast() {
			t.Errorf("a link-local address: %s", name)
		}
	}
}

func TestServes(t *testing.T) {
	dir := t.TempDir()
	operatorPair(t, dir, "*.example.org", time.Now().Add(60*24*time.Hour))
	k := ensure(t, Options{Dir: dir, Hosts: []string{"Proxy.Example.net", "192.0.2.7"}})
	for host, want := range map[string]bool{
		"chat.example.org": true, "CHAT.example.org.": true, "example.org": false, "a.b.example.org": false,
		"proxy.example.net": true, "proxy.example.net.": true, "192.0.2.7": true, "192.0.2.8": false,
		"localhost": true, "LocalHost": true, "127.0.0.1": true, "::1": true, "[::1]": true, "0:0::1": true,
		"": false, ".": false, "evil.test": false, "localhost.evil.test": false, "127.0.0.1.evil.test": false, "chat.example.org:8443": false,
	} {
		if got := k.Serves(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}

func TestARenewalKeepsTheKeyUnlessAskedForANewOne_T31(t *testing.T) {
	dir := t.TempDir()
	k := ensure(t, Options{Dir: dir})
	made := k.Info()
	if err := k.Renew(false); err != nil {
		t.Fatal(err)
	}
	renewed := k.Info()
	if renewed.CertSHA256 == made.CertSHA256 || renewed.SPKISHA256 != made.SPKISHA256 {
		t.Errorf("made %+v, renewed %+v", made, renewed)
	}
	if err := k.Renew(true); err != nil {
		t.Fatal(err)
	}
	if k.Info().SPKISHA256 == made.SPKISHA256 {
		t.Error("the new key is the old one")
	}
	if mode(t, keyFile(dir)) != 0o600 || len(files(t, dir)) != 2 {
		t.Errorf("key %o, %d files", mode(t, keyFile(dir)), len(files(t, dir)))
	}
	if again := ensure(t, Options{Dir: dir}); again.Info().CertSHA256 != k.Info().CertSHA256 {
		t.Error("the next start does not use the renewed one")
	}
}

func TestAStartRenewsWhatIsDue(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		later   time.Duration
		hosts   []string
		renewed bool
	}{
		"nothing changed":           {0, []string{"a.example.org"}, false},
		"31 days before its end":    {366*24*time.Hour - 2*time.Hour, []string{"a.example.org"}, false},
		"29 days before its end":    {368 * 24 * time.Hour, []string{"a.example.org"}, true},
		"a year after its end":      {800 * 24 * time.Hour, []string{"a.example.org"}, true},
		"another host":              {0, []string{"b.example.org"}, true},
		"one host more":             {0, []string{"a.example.org", "192.0.2.7"}, true},
		"a host named in two forms": {0, []string{"a.example.org", "A.example.org."}, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			before := ensure(t, Options{Dir: dir, Hosts: []string{"a.example.org"}, Now: func() time.Time { return now }}).Info()
			after := ensure(t, Options{Dir: dir, Hosts: c.hosts, Now: func() time.Time { return now.Add(c.later) }}).Info()
			if renewed := before.CertSHA256 != after.CertSHA256; renewed != c.renewed || before.SPKISHA256 != after.SPKISHA256 {
				t.Errorf("renewed: %v, same key: %v", renewed, before.SPKISHA256 == after.SPKISHA256)
			}
		})
	}
}

func TestAnOperatorsPairIsNeverWrittenButWarnedAbout(t *testing.T) {
	for name, c := range map[string]struct {
		left   time.Duration
		warned bool
	}{"fresh": {60 * 24 * time.Hour, false}, "29 days left": {29 * 24 * time.Hour, true}, "over": {-time.Hour, true}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			operatorPair(t, dir, "chat.example.org", time.Now().Add(c.left))
			before := files(t, dir)
			var log strings.Builder
			k, err := Ensure(Options{Dir: dir, Hosts: []string{"other.example.org"}, Log: slog.New(slog.NewTextHandler(&log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			if warned := strings.Contains(log.String(), "level=WARN"); warned != c.warned || k.Info().Own {
				t.Errorf("own %v, log %q", k.Info().Own, log.String())
			}
			if err := k.Renew(true); err == nil || !strings.Contains(err.Error(), certFile(dir)) {
				t.Errorf("renewing it: %v", err)
			}
			if !maps.Equal(files(t, dir), before) {
				t.Error("the folder was written")
			}
		})
	}
}

func TestAPairThatIsNotWholeIsRefusedAndLeftAlone(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(cert, key string) error
		says  []string // with CERT and KEY for the paths
	}{
		"no key":              {func(_, key string) error { return os.Remove(key) }, []string{"CERT exists without KEY"}},
		"no certificate":      {func(cert, _ string) error { return os.Remove(cert) }, []string{"KEY exists without CERT"}},
		"empty key":           {func(_, key string) error { return os.Truncate(key, 0) }, []string{"KEY is damaged"}},
		"truncated key":       {func(_, key string) error { return os.Truncate(key, 100) }, []string{"KEY is damaged"}},
		"truncated cert":      {func(cert, _ string) error { return os.Truncate(cert, 100) }, []string{"CERT is damaged"}},
		"key of another cert": {func(_, key string) error { return swapKey(key) }, []string{"CERT and KEY", "not make a pair"}},
		"key open to others":  {func(_, key string) error { return os.Chmod(key, 0o640) }, []string{"chmod 600 KEY"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			ensure(t, Options{Dir: dir})
			cert, key := certFile(dir), keyFile(dir)
			if err := c.spoil(cert, key); err != nil {
				t.Fatal(err)
			}
			before := files(t, dir)

			_, ensured := Ensure(Options{Dir: dir})
			_, shown := Show(dir)
			for _, err := range []error{ensured, shown} {
				if err == nil {
					t.Fatal("taken")
				}
				for _, part := range c.says {
					if part = strings.NewReplacer("CERT", cert, "KEY", key).Replace(part); !strings.Contains(err.Error(), part) {
						t.Errorf("%q lacks %q", err, part)
					}
				}
				if errors.Is(err, ErrModes) != (name == "key open to others") {
					t.Errorf("is ErrModes: %v", err)
				}
			}
			if !maps.Equal(files(t, dir), before) {
				t.Error("the folder was written")
			}
		})
	}
}

// swapKey puts the key of another pair at path.
func swapKey(path string) error {
	dir, err := os.MkdirTemp("", "certs")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if _, err := newKey(dir); err != nil {
		return err
	}
	return os.Rename(keyFile(dir), path)
}

func TestFoldersAndHostsThatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := create(filepath.Join(file, "certs"), []string{"localhost"}, time.Now()); err == nil || !strings.Contains(err.Error(), "--certs") || strings.Contains(err.Error(), "\n") {
		t.Errorf("a folder that cannot be made: %v", err)
	}
	empty := t.TempDir()
	if _, err := Show(empty); !errors.Is(err, errNone) || len(files(t, empty)) != 0 {
		t.Errorf("showing nothing: %v", err)
	}
	for _, host := range []string{"", "https://chat.example.org", "chat.example.org:8443", "two words", "münchen.example", "-x.example", "fe80::1%eth0"} {
		if _, err := Ensure(Options{Dir: empty, Hosts: []string{host}}); err == nil || len(files(t, empty)) != 0 {
			t.Errorf("host %q is taken", host)
		}
	}
}

func TestAFolderWithSourcesKeepsItsMode(t *testing.T) {
	for want, content := range map[fs.FileMode]string{0o755: "certs.go", 0o700: ""} {
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if content != "" {
			if err := os.WriteFile(filepath.Join(dir, content), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		ensure(t, Options{Dir: dir})
		if got := mode(t, dir); got != want || mode(t, keyFile(dir)) != 0o600 {
			t.Errorf("with %q: folder %o, key %o", content, got, mode(t, keyFile(dir)))
		}
	}
}

func TestTLS13AndHTTP2AndHotReload_T31(t *testing.T) {
	dir := t.TempDir()
	k := ensure(t, Options{Dir: dir})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		TLSConfig: k.Config(),
		Handler:   http.NotFoundHandler(),
		ErrorLog:  slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	go server.ServeTLS(l, "", "")
	defer server.Close()

	roots := x509.NewCertPool()
	roots.AddCert(k.current.Load().Leaf)
	client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots}}}
	defer client.CloseIdleConnections()
	answer, err := client.Get("https://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.ProtoMajor != 2 || answer.TLS.Version != tls.VersionTLS13 {
		t.Errorf("%s over TLS %x", answer.Proto, answer.TLS.Version)
	}

	if c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: roots, MaxVersion: tls.VersionTLS12}); err == nil {
		c.Close()
		t.Error("TLS 1.2 is accepted")
	}

	presented := func() string {
		t.Helper()
		c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return fingerprint(c.ConnectionState().PeerCertificates[0].Raw)
	}
	if err := k.Renew(true); err != nil {
		t.Fatal(err)
	}
	if presented() != k.Info().CertSHA256 {
		t.Error("a new connection still gets the old certificate")
	}
	operatorPair(t, dir, "chat.example.org", time.Now().Add(60*24*time.Hour))
	k.reload()
	if presented() != k.Info().CertSHA256 || k.Info().Own || !k.Serves("chat.example.org") {
		t.Error("the operator's pair is not in use")
	}
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const later = 370 * 24 * time.Hour
		start, dir := time.Now(), t.TempDir()
		k := ensure(t, Options{Dir: dir, Now: func() time.Time {
			if now := time.Now(); now.Before(start.Add(30 * time.Hour)) {
				return now
			}
			return time.Now().Add(later)
		}})
		made := k.Info()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var told []string
		go k.Watch(ctx, func(i Info) { told = append(told, i.CertSHA256) })
		after := func(d time.Duration) Info {
			time.Sleep(d)
			synctest.Wait()
			return k.Info()
		}

		if after(25*time.Hour).CertSHA256 != made.CertSHA256 {
			t.Error("renewed before its time")
		}
		renewed := after(24 * time.Hour)
		if renewed.CertSHA256 == made.CertSHA256 || renewed.SPKISHA256 != made.SPKISHA256 {
			t.Error("not renewed with the same key within a day")
		}

		whole := files(t, dir)
		if err := swapKey(keyFile(dir)); err != nil {
			t.Fatal(err)
		}
		if after(3*time.Minute).CertSHA256 != renewed.CertSHA256 {
			t.Error("half a replacement was taken into use")
		}
		if err := os.WriteFile(keyFile(dir), []byte(whole["key.pem"]), 0o600); err != nil {
			t.Fatal(err)
		}
		operatorPair(t, dir, "chat.example.org", time.Now().Add(later+60*24*time.Hour))
		if after(time.Minute).Own {
			t.Error("the operator's pair is not in use after a minute")
		}
		if want := []string{renewed.CertSHA256, k.Info().CertSHA256}; !slices.Equal(told, want) {
			t.Errorf("was told of %v, want %v", told, want)
		}
	})
}
