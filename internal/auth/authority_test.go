package auth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"
)

// A signer is an authority of a test.
type signer struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	next int64
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newSigner(t *testing.T, name string) *signer {
	t.Helper()
	s := &signer{t: t, key: newKey(t), next: 1}
	s.cert = &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SubjectKeyId: []byte(name),
	}
	s.cert = s.sign(s.cert, s.key)
	return s
}

// sign makes a certificate that holds for an hour.
func (s *signer) sign(c *x509.Certificate, k *ecdsa.PrivateKey) *x509.Certificate {
	s.t.Helper()
	s.next++
	c.SerialNumber = big.NewInt(s.next)
	if c.NotAfter.IsZero() {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, s.cert, k.Public(), s.key)
	if err != nil {
		s.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		s.t.Fatal(err)
	}
	return cert
}

// client makes a client's certificate.
func (s *signer) client(c x509.Certificate) *x509.Certificate {
	s.t.Helper()
	if c.ExtKeyUsage == nil {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	return s.sign(&c, newKey(s.t))
}

// revoke makes a list.
func (s *signer) revoke(until time.Time, certs ...*x509.Certificate) []byte {
	s.t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-2 * time.Hour), NextUpdate: until}
	for _, c := range certs {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: time.Now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, s.cert, s.key)
	if err != nil {
		s.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}

func (s *signer) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(s.cert)
	return p
}

func TestWhomACertificateNames(t *testing.T) {
	ca := newSigner(t, "authority")
	uid := pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}, Value: "ann"}
	old := pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}, Value: "old@example.org"}
	full := x509.Certificate{
		Subject:        pkix.Name{CommonName: "Ann Lee", Organization: []string{"Example"}, ExtraNames: []pkix.AttributeTypeAndValue{uid, old}},
		EmailAddresses: []string{"ann@example.org", "a.lee@example.org"},
	}
	bare := x509.Certificate{Subject: pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{old}}}
	for _, c := range []struct {
		field string
		cert  x509.Certificate
		want  []string // nil: an error
	}{
		{"email", full, []string{"ann@example.org", "a.lee@example.org"}},
		{"cn", full, []string{"Ann Lee"}},
		{"uid", full, []string{"ann"}},
		{"email", bare, []string{"old@example.org"}},
		{"cn", bare, nil},
		{"uid", bare, nil},
		{"email", x509.Certificate{Subject: pkix.Name{CommonName: "x"}}, nil},
	} {
		a := &Authority{Roots: ca.pool(), Name: c.field}
		got, err := a.Names([]*x509.Certificate{ca.client(c.cert)})
		if !slices.Equal(got, c.want) || (err == nil) != (c.want != nil) {
			t.Errorf("%s of %v: %q, %v; want %q", c.field, c.cert.Subject, got, err, c.want)
		}
	}
	a := &Authority{Roots: ca.pool(), Name: "subject"}
	if got, err := a.Names([]*x509.Certificate{ca.client(full)}); err != nil || !strings.HasPrefix(got[0], "CN=Ann Lee,O=Example") {
		t.Errorf("subject: %q, %v", got, err)
	}
}

func TestCertificatesThatProveNothing(t *testing.T) {
	ca, other := newSigner(t, "authority"), newSigner(t, "authority") // of the same name
	a := &Authority{Roots: ca.pool(), Name: "cn"}
	ann := x509.Certificate{Subject: pkix.Name{CommonName: "ann"}}
	expired, early, server := ann, ann, ann
	expired.NotBefore, expired.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	early.NotBefore, early.NotAfter = time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for name, cert := range map[string]*x509.Certificate{
		"another authority's": other.client(ann), "expired": ca.client(expired), "not valid yet": ca.client(early), "a server's": ca.client(server),
	} {
		if names, err := a.Names([]*x509.Certificate{cert}); err == nil || !strings.Contains(err.Error(), "ann") {
			t.Errorf("%s: %q, %v", name, names, err)
		}
	}
}

func TestRevokedCertificatesProveNothing(t *testing.T) {
	ca, other := newSigner(t, "authority"), newSigner(t, "authority")
	ann := ca.client(x509.Certificate{Subject: pkix.Name{CommonName: "ann"}})
	bob := ca.client(x509.Certificate{Subject: pkix.Name{CommonName: "bob"}})
	soon, past := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	for _, c := range []struct {
		name     string
		lists    []byte
		ann, bob bool
	}{
		{"bob's", ca.revoke(soon, bob), true, false},
		{"nobody's", ca.revoke(soon), true, true},
		{"out of date", ca.revoke(past, bob), false, false},
		{"an old and a new one", slices.Concat(ca.revoke(past), ca.revoke(soon, bob)), true, false},
		{"of another authority with this name", other.revoke(soon), false, false},
	} {
		lists, err := ParseRevocations(c.lists)
		if err != nil {
			t.Fatal(err)
		}
		a := &Authority{Roots: ca.pool(), Name: "cn", Revoked: func() Revocations { return lists }}
		for cert, want := range map[*x509.Certificate]bool{ann: c.ann, bob: c.bob} {
			if names, err := a.Names([]*x509.Certificate{cert}); (err == nil) != want {
				t.Errorf("%s: %s: %q, %v", c.name, cert.Subject, names, err)
			}
		}
	}
	block, _ := pem.Decode(ca.revoke(soon, bob))
	if lists, err := ParseRevocations(block.Bytes); err != nil || len(lists) != 1 {
		t.Errorf("in DER: %v, %v", lists, err)
	}
	for _, bad := range []string{"", "x", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw})), "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"} {
		if lists, err := ParseRevocations([]byte(bad)); err == nil {
			t.Errorf("%.30q: %v", bad, lists)
		}
	}
}

// An authority below the root needs no list of the root, but is looked for in it.
func TestAuthoritiesBelowTheRoot(t *testing.T) {
	root := newSigner(t, "root")
	below := &signer{t: t, key: newKey(t), next: 100}
	below.cert = root.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "below"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SubjectKeyId: []byte("below"),
	}, below.key)
	ann := below.client(x509.Certificate{Subject: pkix.Name{CommonName: "ann"}})
	soon := time.Now().Add(time.Hour)
	for name, c := range map[string]struct {
		lists []byte
		want  bool
	}{
		"its own list only": {below.revoke(soon), true},
		"both":              {slices.Concat(below.revoke(soon), root.revoke(soon)), true},
		"it is revoked":     {slices.Concat(below.revoke(soon), root.revoke(soon, below.cert)), false},
		"the root's only":   {root.revoke(soon), false},
	} {
		lists, err := ParseRevocations(c.lists)
		if err != nil {
			t.Fatal(err)
		}
		a := &Authority{Roots: root.pool(), Name: "cn", Revoked: func() Revocations { return lists }}
		if names, err := a.Names([]*x509.Certificate{ann, below.cert}); (err == nil) != c.want {
			t.Errorf("%s: %q, %v", name, names, err)
		}
	}
}
