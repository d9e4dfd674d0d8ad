package pool

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// lookAgain is how often the files are looked at, at most.
const lookAgain = time.Second

// An identity is what we show other nodes, and what we know them by.
type identity struct {
	cert  tls.Certificate
	roots *x509.CertPool // of the pool's own authorities, never the system's
}

// files hold an identity, and are read again when they change: a renewal needs no
// restart. What cannot be read, or is half written, leaves what was read before.
type files struct {
	cert, key, ca string
	log           *slog.Logger
	now           func() time.Time

	mu      sync.Mutex
	looked  time.Time
	infos   [3]os.FileInfo // as loaded
	loaded  *identity
	trouble string // why it could not be read again; said once
}

func same(a, b os.FileInfo) bool {
	return a != nil && os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// load reads the files if they are not what was loaded.
func (f *files) load() error {
	var infos [3]os.FileInfo
	changed := false
	for i, file := range []string{f.cert, f.key, f.ca} {
		var err error
		if infos[i], err = os.Stat(file); err != nil {
			return err
		}
		changed = changed || !same(f.infos[i], infos[i])
	}
	if !changed {
		return nil
	}
	cert, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return fmt.Errorf("certificate %s with key %s: %w", f.cert, f.key, err)
	}
	text, err := os.ReadFile(f.ca)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return fmt.Errorf("%s holds no certificate in PEM", f.ca)
	}
	f.loaded, f.infos = &identity{cert, roots}, infos
	return nil
}

// current looks at the files from time to time.
func (f *files) current() *identity {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.now().Sub(f.looked) < lookAgain {
		return f.loaded
	}
	f.looked = f.now()
	before := f.loaded
	switch err := f.load(); {
	case err != nil && err.Error() != f.trouble:
		f.trouble = err.Error()
		f.log.Error("cannot look at the certificate of this node: it stays in use, but will not be renewed; let usher's user read the files", "err", err)
	case err == nil:
		f.trouble = ""
		if f.loaded != before {
			f.log.Info("certificate of this node renewed", "cert", f.cert)
		}
	}
	return f.loaded
}

// ErrExpired says that a certificate is out of date, however clocks may differ.
var ErrExpired = errors.New("the certificate is expired or not valid yet")

// verify tells whether a chain was signed by the pool's authorities for a use, at a
// time that clocks may see differently.
func (id *identity) verify(chain []*x509.Certificate, use x509.ExtKeyUsage, now time.Time, leeway time.Duration) error {
	o := x509.VerifyOptions{Roots: id.roots, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{use}}
	for _, c := range chain[1:] {
		o.Intermediates.AddCert(c)
	}
	var err error
	for _, at := range []time.Time{now, now.Add(leeway), now.Add(-leeway)} {
		o.CurrentTime = at
		_, err = chain[0].Verify(o)
		if invalid, is := errors.AsType[x509.CertificateInvalidError](err); !is || invalid.Reason != x509.Expired {
			break
		}
	}
	if invalid, is := errors.AsType[x509.CertificateInvalidError](err); is && invalid.Reason == x509.Expired {
		return fmt.Errorf("%w: that of %.200s holds from %s to %s: renew it with usher pool add, and see that the clocks are right",
			ErrExpired, names(chain[0].DNSNames), chain[0].NotBefore.UTC().Format(time.DateTime), chain[0].NotAfter.UTC().Format(time.DateTime))
	}
	return err
}
