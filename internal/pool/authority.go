package pool

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
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
	"time"
)

// An Authority signs the certificates of a pool's nodes. It is two files in a folder,
// which no node needs to have.
type Authority struct {
	Dir   string
	Force bool // files that are there already may be replaced
	Now   func() time.Time
}

// The files of an authority.
const (
	AuthorityCert = "ca.pem"
	AuthorityKey  = "ca.key"
)

const (
	authorityYears = 10
	early          = 24 * time.Hour // certificates hold since then: clocks differ
)

// ErrThere says that a file would have been replaced.
var ErrThere = errors.New("it is there already; --force replaces it")

// Init makes the authority. With domains it can sign for names beneath them only.
func (a Authority) Init(domains ...string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	c, err := a.unsigned("usher pool " + time.Now().UTC().Format(time.DateOnly))
	if err != nil {
		return err
	}
	c.NotAfter = a.Now().AddDate(authorityYears, 0, 0)
	c.IsCA, c.BasicConstraintsValid, c.MaxPathLenZero = true, true, true // it signs nodes, and no other authorities
	c.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	c.ExtKeyUsage = bothEnds()
	c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = domains, true
	c.ExcludedIPRanges = []*net.IPNet{{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}, {IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}} // nodes have names
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(a.Dir, 0o700); err != nil {
		return err
	}
	return a.write(AuthorityCert, AuthorityKey, der, key)
}

// Add signs a certificate for a node, with a key of its own, and gives the names of the
// files.
func (a Authority) Add(node string, days int) (cert, key string, err error) {
	if node+".pem" == AuthorityCert {
		return "", "", fmt.Errorf("no node can be called %q: its files would take the place of the authority's", node)
	}
	by, byKey, err := a.load()
	if err != nil {
		return "", "", err
	}
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	c, err := a.unsigned(node)
	if err != nil {
		return "", "", err
	}
	c.NotAfter = a.Now().AddDate(0, 0, days)
	if c.NotAfter.After(by.NotAfter) {
		c.NotAfter = by.NotAfter
	}
	c.DNSNames = []string{node}
	c.KeyUsage, c.ExtKeyUsage = x509.KeyUsageDigitalSignature, bothEnds()
	der, err := x509.CreateCertificate(rand.Reader, c, by, &own.PublicKey, byKey)
	if err != nil {
		return "", "", err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return "", "", err
	}
	id := &identity{roots: x509.NewCertPool()}
	id.roots.AddCert(by)
	if err := id.verify([]*x509.Certificate{leaf}, x509.ExtKeyUsageClientAuth, a.Now(), 0); err != nil {
		return "", "", fmt.Errorf("the authority may not sign for %q: %w", node, err)
	}
	cert, key = node+".pem", node+".key"
	return filepath.Join(a.Dir, cert), filepath.Join(a.Dir, key), a.write(cert, key, der, own)
}

// bothEnds: a node calls others, and is called.
func bothEnds() []x509.ExtKeyUsage {
	return []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
}

func (a Authority) unsigned(name string) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	return &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: a.Now().Add(-early)}, err
}

func (a Authority) load() (*x509.Certificate, *ecdsa.PrivateKey, error) {
	certFile, keyFile := filepath.Join(a.Dir, AuthorityCert), filepath.Join(a.Dir, AuthorityKey)
	certDER, err := readPEM(certFile, "CERTIFICATE")
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := readPEM(keyFile, "PRIVATE KEY")
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(certDER)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", certFile, err)
	}
	key, err := x509.ParsePKCS8PrivateKey(keyDER)
	own, ok := key.(*ecdsa.PrivateKey)
	if err != nil || !ok || !own.PublicKey.Equal(cert.PublicKey) {
		return nil, nil, fmt.Errorf("%s is not the key of %s", keyFile, certFile)
	}
	return cert, own, nil
}

func readPEM(file, kind string) ([]byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != kind {
		return nil, fmt.Errorf("%s holds no %s in PEM", file, kind)
	}
	return block.Bytes, nil
}

// write writes a key and its certificate. Neither is ever half there, and nobody else
// can read the key at any time.
func (a Authority) write(certFile, keyFile string, der []byte, key *ecdsa.PrivateKey) error {
	for _, file := range []string{certFile, keyFile} {
		path := filepath.Join(a.Dir, file)
		if _, err := os.Lstat(path); !a.Force && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", path, errors.Join(err, ErrThere))
		}
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := a.put(keyFile, "PRIVATE KEY", secret, 0o600); err != nil {
		return err
	}
	return a.put(certFile, "CERTIFICATE", der, 0o644)
}

func (a Authority) put(name, kind string, der []byte, mode fs.FileMode) (err error) {
	f, err := os.CreateTemp(a.Dir, "."+name+".*") // only its owner can read it
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	err = pem.Encode(f, &pem.Block{Type: kind, Bytes: der})
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(a.Dir, name))
}
