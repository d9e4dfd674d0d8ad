package login_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"path/filepath"
	"testing"

	"usher/internal/demo"
	"usher/internal/sasl"
	"usher/internal/wire"
)

// A stranger can make a chain of certificates that takes long to look at, and ask what
// is offered as often as it likes.
func TestACertificateIsLookedAtOnce(t *testing.T) {
	cert, key := filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	if err := demo.WriteCertificate(cert, key); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	looked := 0
	ours, theirs := net.Pipe()
	s := newStage()
	s.desk.Mechanisms = []sasl.Mechanism{sasl.External}
	s.client.Conn = wire.New(ours, wire.Bounds{})
	s.client.Terms.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequestClientCert}
	s.client.Terms.Who = func([]*x509.Certificate) ([]string, error) { looked++; return []string{"ann"}, nil }
	if s.desk.Offers(s.client, "EXTERNAL") {
		t.Error("it is offered in clear")
	}
	peer := tls.Client(theirs, &tls.Config{Certificates: []tls.Certificate{pair}, InsecureSkipVerify: true})
	go func() { _, _ = io.Copy(io.Discard, peer) }()
	if err := s.client.StartTLS(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if !s.desk.Offers(s.client, "EXTERNAL") {
			t.Error("it is not offered")
		}
	}
	if names, err := s.desk.Channel(s.client).Who(); err != nil || len(names) != 1 || looked != 1 {
		t.Errorf("it is %q's, %v, looked at %d times", names, err, looked)
	}
	_ = theirs.Close()
	_ = s.client.Conn.Close()
}
