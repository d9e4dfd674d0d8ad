package sasl_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"usher/internal/account"
	"usher/internal/sasl"
)

// certified is a certificate with a key of some kind.
func certified(t testing.TB, key any, public any) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func ecdsaCertificate(t testing.TB) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return certified(t, key, key.Public())
}

// ends are both ends of a TLS connection.
func ends(t testing.TB, version uint16, cert tls.Certificate, others ...*x509.Certificate) (server, client sasl.Channel) {
	t.Helper()
	a, b := net.Pipe()
	s := tls.Server(a, &tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: version})
	c := tls.Client(b, &tls.Config{InsecureSkipVerify: true})
	done := make(chan error, 1)
	go func() { done <- s.Handshake() }()
	if err := errors.Join(c.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	ours, theirs := s.ConnectionState(), c.ConnectionState()
	server = sasl.Channel{TLS: &ours, Certificates: func() []*x509.Certificate { return append(others, cert.Leaf) }}
	client = sasl.Channel{TLS: &theirs, Certificates: func() []*x509.Certificate { return theirs.PeerCertificates[:1] }}
	return server, client
}

// prove lets a client prove itself.
func prove(t *testing.T, m sasl.Mechanism, server, client sasl.Channel) error {
	t.Helper()
	hash := strings.TrimSuffix(strings.TrimPrefix(m.Name, "SCRAM-"), "-PLUS")
	v := &asked{prover: keysOf(t, hash, "secret", "QSXCR+Q6sek8bf92", 100)}
	return converseOn(t, m, sasl.Credentials{Authn: "ann", Password: "secret"}, v, server, client)
}

func TestBothEndsOfTLSKnowThatNobodyIsBetween(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, cert := range map[string]tls.Certificate{"ecdsa": ecdsaCertificate(t), "ed25519": certified(t, key, key.Public())} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			for _, m := range []sasl.Mechanism{sasl.SCRAMSHA1Plus, sasl.SCRAMSHA256Plus} {
				server, client := ends(t, version, cert, ecdsaCertificate(t).Leaf)
				if err := prove(t, m, server, client); err != nil {
					t.Errorf("%s, %s, %s: %v", name, tls.VersionName(version), m.Name, err)
				}
			}
		}
	}
}

// Clients choose how they bind themselves.
func TestEveryKindOfChannelBinding(t *testing.T) {
	for _, c := range []struct {
		kind    string
		version uint16
		want    error
	}{
		{"tls-exporter", tls.VersionTLS13, nil},
		{"tls-exporter", tls.VersionTLS12, nil},
		{"tls-server-end-point", tls.VersionTLS13, nil},
		{"tls-server-end-point", tls.VersionTLS12, nil},
		{"tls-unique", tls.VersionTLS12, nil},
		{"tls-unique", tls.VersionTLS13, account.ErrRefused},
		{"tls-unique-for-telnet", tls.VersionTLS12, account.ErrRefused},
	} {
		server, client := ends(t, c.version, ecdsaCertificate(t), ecdsaCertificate(t).Leaf)
		v := &asked{prover: keysOf(t, "SHA-256", "secret", "QSXCR+Q6sek8bf92", 100)}
		x := &scramClient{kind: c.kind, binding: sasl.BindingForTest(client, c.kind), password: "secret"}
		if _, err := sasl.SCRAMSHA256Plus.Serve(t.Context(), x, v, server); !errors.Is(err, c.want) {
			t.Errorf("%s, %s: %v", c.kind, tls.VersionName(c.version), err)
		}
	}
}

// Cyrus SASL binds itself, but does not say so in the mechanism's name.
func TestChannelBindingIsGoodWithoutPlusToo(t *testing.T) {
	server, client := ends(t, tls.VersionTLS12, ecdsaCertificate(t))
	other, _ := ends(t, tls.VersionTLS12, ecdsaCertificate(t))
	for on, want := range map[*sasl.Channel]error{&server: nil, &other: account.ErrRefused, {}: account.ErrRefused} {
		v := &asked{prover: keysOf(t, "SHA-256", "secret", "QSXCR+Q6sek8bf92", 100)}
		x := &scramClient{kind: "tls-unique", binding: sasl.BindingForTest(client, "tls-unique"), password: "secret"}
		if _, err := sasl.SCRAMSHA256.Serve(t.Context(), x, v, *on); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
}

func TestWhoeverIsBetweenIsFound(t *testing.T) {
	server, client := ends(t, tls.VersionTLS13, ecdsaCertificate(t))
	otherServer, _ := ends(t, tls.VersionTLS13, ecdsaCertificate(t))
	for name, on := range map[string]sasl.Channel{"another connection": otherServer, "one in clear": {}} {
		if err := prove(t, sasl.SCRAMSHA256Plus, on, client); !errors.Is(err, account.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for kind := range map[string]bool{"tls-exporter": true, "tls-server-end-point": true} {
		v := &asked{prover: keysOf(t, "SHA-256", "secret", "QSXCR+Q6sek8bf92", 100)}
		x := &scramClient{kind: kind, binding: sasl.BindingForTest(client, kind), password: "secret"}
		if _, err := sasl.SCRAMSHA256Plus.Serve(t.Context(), x, v, otherServer); !errors.Is(err, account.ErrRefused) {
			t.Errorf("%s of another connection: %v", kind, err)
		}
	}
	x := &scramClient{password: "secret"}
	v := &asked{prover: keysOf(t, "SHA-256", "secret", "QSXCR+Q6sek8bf92", 100)}
	if _, err := sasl.SCRAMSHA256Plus.Serve(t.Context(), x, v, server); !errors.Is(err, account.ErrRefused) {
		t.Errorf("without channel binding: %v", err)
	}
}
