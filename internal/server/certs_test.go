package server

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"usher/internal/dovecot"
)

// A store is a pair of certificate files that can be replaced, and a clock.
type store struct {
	t    *testing.T
	cert string
	key  string
	log  bytes.Buffer
	now  time.Time
	*certificates
}

// newStore holds a certificate for name in files of their own.
func newStore(t *testing.T, name string) *store {
	dir := t.TempDir()
	s := &store{t: t, cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem"), now: time.Now()}
	s.certificates = &certificates{log: slog.New(slog.NewTextHandler(&s.log, nil)), now: func() time.Time { return s.now }}
	s.replace(name, s.now.Add(-time.Hour))
	if err := s.add(s.cert, s.key); err != nil {
		t.Fatal(err)
	}
	return s
}

// replace puts a new certificate and key into the files, with this time on them.
func (s *store) replace(name string, changed time.Time) {
	s.t.Helper()
	cert, key, _ := dovecot.Certificate(s.t, name)
	s.copy(cert, s.cert, changed)
	s.copy(key, s.key, changed)
}

func (s *store) copy(from, to string, changed time.Time) {
	s.t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		s.t.Fatal(err)
	}
	s.write(to, text, changed)
}

func (s *store) write(file string, text []byte, changed time.Time) {
	s.t.Helper()
	if err := os.WriteFile(file, text, 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Chtimes(file, changed, changed); err != nil {
		s.t.Fatal(err)
	}
}

// shown is the name on the certificate that a client gets which asks for sni.
func shown(t *testing.T, c *certificates, sni string) string {
	t.Helper()
	near, far := net.Pipe()
	defer func() { _ = far.Close() }()
	go func() {
		_ = tls.Server(near, &tls.Config{GetCertificate: c.get}).Handshake()
		_ = near.Close()
	}()
	client := tls.Client(far, &tls.Config{ServerName: sni, InsecureSkipVerify: true})
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(client.ConnectionState().PeerCertificates[0].DNSNames, " ")
}

func TestARenewedCertificateIsUsedWithoutARestart(t *testing.T) {
	s := newStore(t, "old.example.org")
	if got := shown(t, s.certificates, ""); got != "old.example.org" {
		t.Fatalf("at first %s is shown", got)
	}
	s.replace("new.example.org", s.now)
	if got := shown(t, s.certificates, ""); got != "old.example.org" {
		t.Errorf("within a second %s is shown: the files are looked at for every client", got)
	}
	s.now = s.now.Add(lookAgain)
	if got := shown(t, s.certificates, ""); got != "new.example.org" || strings.Contains(s.log.String(), "level=ERROR") {
		t.Errorf("then %s is shown; log %q", got, &s.log)
	}
}

func TestARestoredCertificateIsUsedThoughItIsOlder(t *testing.T) {
	s := newStore(t, "old.example.org")
	oldCert, oldKey := s.cert+".old", s.key+".old"
	s.copy(s.cert, oldCert, s.now)
	s.copy(s.key, oldKey, s.now)
	s.replace("new.example.org", s.now)
	s.now = s.now.Add(lookAgain)
	if got := shown(t, s.certificates, ""); got != "new.example.org" {
		t.Fatalf("%s is shown", got)
	}
	s.copy(oldKey, s.key, s.now.Add(-lookAgain)) // the time that the new one had
	s.copy(oldCert, s.cert, s.now.Add(-48*time.Hour))
	s.now = s.now.Add(lookAgain)
	if got := shown(t, s.certificates, ""); got != "old.example.org" {
		t.Errorf("%s is shown", got)
	}
}

// Renewals write one file after the other.
func TestAHalfWrittenCertificateChangesNothing(t *testing.T) {
	cert, key, _ := dovecot.Certificate(t, "new.example.org")
	whole, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	s := newStore(t, "old.example.org")
	for _, c := range []struct {
		name  string
		write func()
	}{
		{"empty", func() { s.write(s.cert, nil, s.now) }},
		{"half", func() { s.write(s.cert, whole[:len(whole)/2], s.now) }},
		{"without its key", func() { s.write(s.cert, whole, s.now) }},
		{"gone", func() { _ = os.Remove(s.cert) }},
	} {
		c.write()
		s.now = s.now.Add(lookAgain)
		if got := shown(t, s.certificates, ""); got != "old.example.org" {
			t.Errorf("%s: %s is shown", c.name, got)
		}
	}
	if n := strings.Count(s.log.String(), "level=ERROR"); n < 3 || n > 4 { // an empty and a half file may have the same error
		t.Errorf("%d errors are logged: %s", n, &s.log)
	}
	s.write(s.cert, whole, s.now)
	s.copy(key, s.key, s.now)
	s.now = s.now.Add(lookAgain)
	if got := shown(t, s.certificates, ""); got != "new.example.org" {
		t.Errorf("when all is written %s is shown", got)
	}
}

func TestTheNameThatAClientAsksForChooses(t *testing.T) {
	s := newStore(t, "first.example.org")
	for _, name := range []string{"second.example.org", "*.example.com"} {
		cert, key, _ := dovecot.Certificate(t, name)
		if err := s.add(cert, key); err != nil {
			t.Fatal(err)
		}
	}
	for sni, want := range map[string]string{
		"":                   "first.example.org",
		"first.example.org":  "first.example.org",
		"second.example.org": "second.example.org",
		"SECOND.example.org": "second.example.org",
		"any.example.com":    "*.example.com",
		"other.example.org":  "first.example.org",
	} {
		if got := shown(t, s.certificates, sni); got != want {
			t.Errorf("%q is shown %s, want %s", sni, got, want)
		}
	}
}

func TestManyClientsMayAskWhileFilesChange(t *testing.T) {
	s := newStore(t, "old.example.org")
	s.certificates.now = time.Now
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if all := s.current(); len(all) != 1 || all[0] == nil {
					t.Error("there is no certificate")
				}
			}
		})
	}
	s.replace("new.example.org", time.Now())
	wg.Wait()
}
