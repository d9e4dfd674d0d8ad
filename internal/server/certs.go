package server

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// lookAgain is how often the files are looked at, at most.
const lookAgain = time.Second

// certificates are read from files, and read again when those change: a renewal
// needs no restart and disturbs nobody.
type certificates struct {
	log *slog.Logger
	now func() time.Time

	mu     sync.Mutex
	pairs  []*pair
	looked time.Time
}

// pair is a certificate and its key.
type pair struct {
	cert, key string
	files     [2]os.FileInfo // cert and key, as loaded
	loaded    *tls.Certificate
	former    *tls.Certificate // loaded before that
	trouble   string           // why it could not be read again; said once
}

func same(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

func (c *certificates) add(cert, key string) error {
	p := &pair{cert: cert, key: key}
	c.pairs = append(c.pairs, p)
	return p.load()
}

// load reads the files if they are not what was loaded.
func (p *pair) load() error {
	var files [2]os.FileInfo
	for i, file := range []string{p.cert, p.key} {
		var err error
		if files[i], err = os.Stat(file); err != nil {
			return err
		}
	}
	if p.loaded != nil && same(files[0], p.files[0]) && same(files[1], p.files[1]) {
		return nil
	}
	loaded, err := tls.LoadX509KeyPair(p.cert, p.key)
	if err != nil {
		return fmt.Errorf("certificate %s with key %s: %w", p.cert, p.key, err)
	}
	p.loaded, p.former, p.files = &loaded, p.loaded, files
	return nil
}

// get is for tls.Config: the first certificate that fits the name that the
// client asks for, else the first of all.
func (c *certificates) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	all := c.current()
	for _, cert := range all {
		if hello.SupportsCertificate(cert) == nil {
			return cert, nil
		}
	}
	return all[0], nil
}

// renew loads a pair if it has changed, and says once if that fails.
func (c *certificates) renew(p *pair) {
	before := p.loaded
	switch err := p.load(); {
	case err != nil && err.Error() != p.trouble:
		p.trouble = err.Error()
		c.log.Error("cannot look at a certificate: it stays in use, but will not be renewed; let usher's user read the files", "err", err)
	case err == nil:
		p.trouble = ""
		if p.loaded != before {
			c.log.Info("certificate renewed", "cert", p.cert)
		}
	}
}

// current looks at the files from time to time. One that cannot be read, or is
// half written, leaves what was loaded before.
func (c *certificates) current() []*tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	look := c.now().Sub(c.looked) >= lookAgain
	if look {
		c.looked = c.now()
	}
	all := make([]*tls.Certificate, len(c.pairs))
	for i, p := range c.pairs {
		if look {
			c.renew(p)
		}
		all[i] = p.loaded
	}
	return all
}

// leaves are the certificates that a client may have seen. One that goes on with a
// session of TLS has seen that of its beginning.
func (c *certificates) leaves() (all []*x509.Certificate) {
	for _, cert := range c.current() {
		all = append(all, cert.Leaf)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.pairs {
		if p.former != nil {
			all = append(all, p.former.Leaf)
		}
	}
	return all
}

// freeze has the files looked at no more: from now on they cannot be seen.
func (c *certificates) freeze() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looked = c.now().Add(100 * 365 * 24 * time.Hour)
}
