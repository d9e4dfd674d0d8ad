package interop

import (
	"crypto/tls"
	"errors"
	"os"
	"testing"
	"time"

	"usher/internal/dovecot"
)

// shows reports whether usher serves the certificate that an authority has
// signed for a name.
func (p *proxy) shows(t *testing.T, ca, name string) bool {
	t.Helper()
	c, err := tls.Dial("tcp", p.addrs["imaps"], &tls.Config{RootCAs: roots(t, ca), ServerName: name})
	var wrong *tls.CertificateVerificationError
	switch {
	case err == nil:
		_ = c.Close()
		return true
	case errors.As(err, &wrong):
		return false
	}
	t.Fatal(err)
	return false
}

// within2s reports whether it becomes true in the time that is promised.
func within2s(isTrue func() bool) bool {
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if isTrue() {
			return true
		}
	}
	return false
}

func replace(t *testing.T, file, by string) {
	t.Helper()
	text, err := os.ReadFile(by)
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, string(text))
}

func TestCertificateRenewal(t *testing.T) {
	_, _, config := twoStores(t)
	p := start(t, setup{config: config, accounts: usersOfTwo()})
	open := p.client(t, "imap", "implicit")
	open.enter(ann, annSecret)
	cert, key, ca := dovecot.Certificate(t, "localhost")
	replace(t, p.cert, cert)
	for range 13 { // the certificate alone: half a renewal
		if !p.shows(t, p.ca, "localhost") {
			t.Fatal("the old certificate is gone before the new key is there")
		}
		time.Sleep(100 * time.Millisecond)
	}
	replace(t, p.key, key)
	if !within2s(func() bool { return p.shows(t, ca, "localhost") }) {
		t.Error("the new certificate is not served")
	}
	open.finds(ann, "east")
	write(t, p.cert, "-----BEGIN CERTIFICATE-----\nMIIB") // the disk is full, say
	time.Sleep(1200 * time.Millisecond)
	if !p.shows(t, ca, "localhost") {
		t.Error("a half-written file has replaced the certificate")
	}
	if err := os.Remove(p.cert); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1200 * time.Millisecond)
	if !p.shows(t, ca, "localhost") {
		t.Error("a file that is gone has taken the certificate along")
	}
}

// A new certificate for the same key may have been written before the key was
// last touched: by cp -p, rsync or a restored backup.
func TestCertificateRenewalByOlderFile(t *testing.T) {
	p := start(t, setup{})
	cert, key, ca := dovecot.Certificate(t, "localhost")
	past := time.Now().Add(-time.Hour)
	info, err := os.Stat(p.key)
	if err != nil {
		t.Fatal(err)
	}
	replace(t, p.cert, cert)
	replace(t, p.key, key)
	if err := errors.Join(os.Chtimes(p.cert, past, past), os.Chtimes(p.key, info.ModTime(), info.ModTime())); err != nil {
		t.Fatal(err)
	}
	if !within2s(func() bool { return p.shows(t, ca, "localhost") }) {
		t.Error("the new certificate is not served")
	}
}

func TestCertificateByName(t *testing.T) {
	t.Parallel()
	cert, key, ca := dovecot.Certificate(t, "pop.example.org", "*.example.net")
	p := start(t, setup{config: "[[tls.certificate]]\ncert = \"" + cert + "\"\nkey = \"" + key + "\"\n"})
	for _, x := range []struct {
		name, ca string
		shown    bool
	}{
		{"localhost", p.ca, true},
		{"pop.example.org", ca, true},
		{"any.example.net", ca, true},
		{"localhost", ca, false},
		{"pop.example.org", p.ca, false},
		{"other.example.org", ca, false}, // of [tls], for the name localhost
	} {
		if shown := p.shows(t, x.ca, x.name); shown != x.shown {
			t.Errorf("%s: got %v, want %v", x.name, shown, x.shown)
		}
	}
}
