// Package certs keeps the server's certificate: it makes one at the first start, renews it, loads it anew
// when its files change, and says what people need in order to recognise it.
//
// The folder holds cert.pem and key.pem. A pair that Conclave made bears its mark in the subject; it is
// renewed, with the same key, so that whoever pinned the key stays content. Any other pair belongs to the
// operator: it is loaded and never written. A pair that is not whole is refused, never repaired, because
// only the operator knows what was meant to be there.
package certs

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// ErrModes means that others on this machine can read the private key.
var ErrModes = errors.New("the private key can be read by other users of this machine")

// renewBefore is how long before its end a certificate is renewed, or its operator warned.
const renewBefore = 30 * 24 * time.Hour

// Options of a Keeper. Hosts are names and addresses that the certificate must have beside those of this
// machine; Now and Log may be nil.
type Options struct {
	Dir   string
	Hosts []string
	Now   func() time.Time
	Log   *slog.Logger
}

// A Keeper holds the pair in use. Its methods may be called from any goroutine.
type Keeper struct {
	o       Options
	mu      sync.Mutex // held by who replaces the pair, on disk or in use
	current atomic.Pointer[pair]
	seen    [sha256.Size]byte // the files when last looked at; guarded by mu
}

// Ensure loads the pair in o.Dir, makes it when neither file exists, and renews it when it is our own and
// due. Every error is a sentence that names the file and says what to do; one about modes is an ErrModes.
func Ensure(o Options) (*Keeper, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	o.Hosts = slices.Clone(o.Hosts)
	for i, host := range o.Hosts {
		o.Hosts[i] = plain(host)
		if !isName(o.Hosts[i]) && !isAddress(o.Hosts[i]) {
			return nil, fmt.Errorf("%q is no host: give a name or an address, without scheme and port", host)
		}
	}

	k := &Keeper{o: o}
	p, err := load(o.Dir)
	if errors.Is(err, errNone) {
		p, err = create(o.Dir, names(o.Hosts), o.Now())
	}
	if err != nil {
		return nil, err
	}
	k.use(p)
	k.upkeep()
	return k, nil
}

// Show describes the pair in dir. It creates nothing.
func Show(dir string) (Info, error) {
	p, err := load(dir)
	if err != nil {
		return Info{}, err
	}
	return p.info(), nil
}

// Config is a server's TLS configuration: 1.3 only, HTTP/2 offered, and always the pair in use.
func (k *Keeper) Config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return &k.current.Load().Certificate, nil
		},
	}
}

// Serves says whether host, without its port, is a name of this server: one in the certificate, one of
// Options.Hosts, or this machine's own loopback names.
func (k *Keeper) Serves(host string) bool {
	host = plain(host)
	return host == "localhost" || host == "127.0.0.1" || host == "::1" ||
		slices.Contains(k.o.Hosts, host) || k.current.Load().Leaf.VerifyHostname(host) == nil
}

// Watch loads the pair anew when its files change, within a minute, and once a day renews or warns. It
// calls changed after another pair was taken into use, and returns when ctx is done.
func (k *Keeper) Watch(ctx context.Context, changed func(Info)) {
	last := k.current.Load()
	minute, day := time.NewTicker(time.Minute), time.NewTicker(24*time.Hour)
	defer minute.Stop()
	defer day.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-minute.C:
			k.reload()
		case <-day.C:
			k.reload()
			k.upkeep()
		}
		if p := k.current.Load(); p != last {
			last = p
			changed(p.info())
		}
	}
}

// reload takes the pair on disk into use if the files are not those last seen. A pair in the middle of being
// replaced does not fit; the one in use stays until the files change again.
func (k *Keeper) reload() {
	k.mu.Lock()
	defer k.mu.Unlock()
	found := digest(k.o.Dir)
	if found == k.seen {
		return
	}
	p, err := load(k.o.Dir)
	if err != nil {
		k.seen = found
		k.o.Log.Warn("certificate not reloaded, the old one stays in use", "error", err)
		return
	}
	k.use(p)
	k.o.Log.Info("certificate reloaded", "sha256", p.info().CertSHA256, "not_after", p.Leaf.NotAfter)
}

// upkeep renews our own certificate when it ends soon or its names are not today's, and warns of the end of
// one that is the operator's. A failure is only logged: an old certificate serves better than none.
func (k *Keeper) upkeep() {
	p := k.current.Load()
	ends := k.o.Now().Add(renewBefore).After(p.Leaf.NotAfter)
	switch {
	case !p.own() && ends:
		k.o.Log.Warn("the certificate ends soon and was not made by Conclave: replace it", "file", certFile(k.o.Dir), "not_after", p.Leaf.NotAfter)
	case p.own() && (ends || !slices.Equal(p.info().Names, names(k.o.Hosts))):
		if err := k.Renew(false); err != nil {
			k.o.Log.Warn("certificate not renewed", "error", err, "not_after", p.Leaf.NotAfter)
		}
	}
}

// Renew makes a new certificate now, with the same key or a new one, and takes it into use. It refuses to
// replace a pair that Conclave did not make.
func (k *Keeper) Renew(newKey bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	p, err := load(k.o.Dir) // what is there now: an operator may have put a pair there a moment ago
	if err != nil {
		return err
	}
	if !p.own() {
		return fmt.Errorf("%s was not made by Conclave: renew it where it came from, or move it and its key away to let Conclave make a pair", certFile(k.o.Dir))
	}
	if p, err = p.renew(k.o.Dir, newKey, names(k.o.Hosts), k.o.Now()); err != nil {
		return err
	}
	k.use(p)
	k.o.Log.Info("certificate renewed", "sha256", p.info().CertSHA256, "not_after", p.Leaf.NotAfter, "new_key", newKey)
	return nil
}

// use takes p into use. The caller holds k.mu, or is the only one who knows k.
func (k *Keeper) use(p *pair) {
	k.seen = p.digest
	k.current.Store(p)
}

// Info is what people need to recognise a certificate. The fingerprints are upper-case hex with colons:
// of the whole certificate, and of its public key, which stays when it is renewed.
type Info struct {
	CertSHA256, SPKISHA256 string
	NotAfter               time.Time
	Names                  []string // DNS names, then addresses
	Own                    bool     // made by Conclave
}

// Info describes the pair in use.
func (k *Keeper) Info() Info { return k.current.Load().info() }
