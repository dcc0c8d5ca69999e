package certs

// The two files and what is in them. Each is written beside its place, made durable and renamed, so that
// neither is ever half there. Both at once cannot be: a crash between them leaves a pair that does not fit,
// which the next start refuses.

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// mark is the subject's organisation by which we know our own certificates.
const mark = "Conclave self-made certificate"

const validity = 397 * 24 * time.Hour

var errNone = errors.New("there is no certificate yet")

type pair struct {
	tls.Certificate
	digest [sha256.Size]byte
}

func certFile(dir string) string { return filepath.Join(dir, "cert.pem") }
func keyFile(dir string) string  { return filepath.Join(dir, "key.pem") }

// load reads the pair in dir: errNone when neither file exists, and a sentence for every way in which it
// is not whole.
func load(dir string) (*pair, error) {
	certPath, keyPath := certFile(dir), keyFile(dir)
	digest := digest(dir) // before the reads below: a change in between is seen as one later
	info, keyErr := os.Stat(keyPath)
	certPEM, certErr := os.ReadFile(certPath)
	noKey, noCert := errors.Is(keyErr, fs.ErrNotExist), errors.Is(certErr, fs.ErrNotExist)
	switch {
	case noKey && noCert:
		return nil, fmt.Errorf("%w in %s: it is made at the first start", errNone, dir)
	case noKey:
		return nil, halfPair(certPath, keyPath)
	case noCert:
		return nil, halfPair(keyPath, certPath)
	case keyErr != nil:
		return nil, unreadable(keyPath, keyErr)
	case certErr != nil:
		return nil, unreadable(certPath, certErr)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("%w: run chmod 600 %s", ErrModes, keyPath)
	}
	keyPEM, err := os.ReadFile(keyPath)
	if err != nil {
		return nil, unreadable(keyPath, err)
	}

	if block, _ := pem.Decode(certPEM); block == nil {
		return nil, damaged(certPath)
	}
	if block, _ := pem.Decode(keyPEM); block == nil {
		return nil, damaged(keyPath)
	}
	c, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("%s and %s do not make a pair (%w): put the right files there, or move both away to let Conclave make a new pair", certPath, keyPath, err)
	}
	return &pair{c, digest}, nil
}

func halfPair(there, missing string) error {
	return fmt.Errorf("%s exists without %s: put the missing file there, or move the other away to let Conclave make a new pair", there, missing)
}

func unreadable(path string, err error) error {
	return fmt.Errorf("%s cannot be read (%w): let the user who runs Conclave read it", path, err)
}

func damaged(path string) error {
	return fmt.Errorf("%s is damaged: put a good copy there, or move cert.pem and key.pem away to let Conclave make a new pair", path)
}

// digest tells whether the files have changed; one that cannot be read counts as empty.
func digest(dir string) [sha256.Size]byte {
	cert, _ := os.ReadFile(certFile(dir))
	key, _ := os.ReadFile(keyFile(dir))
	return sha256.Sum256(slices.Concat(cert, []byte{0}, key))
}

// create makes the first pair, and the folder when it is missing.
func create(dir string, names []string, now time.Time) (*pair, error) {
	if err := prepare(dir); err != nil {
		return nil, unwritable(dir, err)
	}
	key, err := newKey(dir)
	if err != nil {
		return nil, err
	}
	return issue(dir, key, names, now)
}

// prepare makes dir for its owner alone. A folder with other things in it, such as the sources that lie in
// certs/ of a checkout, keeps its mode: the key is 0600 by itself.
func prepare(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) > 0 {
		return err
	}
	return os.Chmod(dir, 0o700)
}

// renew replaces the certificate in dir, and the key too if wanted.
func (p *pair) renew(dir string, withNewKey bool, names []string, now time.Time) (*pair, error) {
	key := p.PrivateKey.(crypto.Signer) // X509KeyPair makes no others
	if withNewKey {
		var err error
		if key, err = newKey(dir); err != nil {
			return nil, err
		}
	}
	return issue(dir, key, names, now)
}

func newKey(dir string) (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, write(keyFile(dir), 0o600, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// issue signs a certificate with its own key, writes it, and loads what is now on disk.
func issue(dir string, key crypto.Signer, names []string, now time.Time) (*pair, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	c := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Organization: []string{mark}},
		NotBefore:             now.Add(-time.Hour), // for clocks that are a little behind
		NotAfter:              now.Add(validity - time.Hour),
		BasicConstraintsValid: true, // says CA:FALSE
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		return nil, err
	}
	if err := write(certFile(dir), 0o644, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
		return nil, err
	}
	return load(dir)
}

// write puts the block at path, durably and all at once.
func write(path string, mode fs.FileMode, block *pem.Block) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "new-*.pem") // O_EXCL and 0600
	if err != nil {
		return unwritable(dir, err)
	}
	defer os.Remove(f.Name()) // finds nothing when all went well
	err = errors.Join(f.Chmod(mode), pem.Encode(f, block), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return unwritable(dir, err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func unwritable(dir string, err error) error {
	return fmt.Errorf("%s cannot be written (%w): let the user who runs Conclave write there, or choose another folder with --certs", dir, err)
}

// own says whether Conclave made the certificate.
func (p *pair) own() bool {
	return slices.Contains(p.Leaf.Subject.Organization, mark)
}

func (p *pair) info() Info {
	i := Info{
		CertSHA256: fingerprint(p.Leaf.Raw),
		SPKISHA256: fingerprint(p.Leaf.RawSubjectPublicKeyInfo),
		NotAfter:   p.Leaf.NotAfter,
		Names:      slices.Clone(p.Leaf.DNSNames),
		Own:        p.own(),
	}
	for _, ip := range p.Leaf.IPAddresses {
		i.Names = append(i.Names, ip.String())
	}
	return i
}

func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return strings.ReplaceAll(fmt.Sprintf("% X", sum[:]), " ", ":")
}
