package server

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"os"
	"sync"
	"time"

	"usher/internal/auth"
)

// clientAuthority reads whom clients' certificates are from; nil if nobody asks for them.
func (b *builder) clientAuthority() *auth.Authority {
	t := b.cfg.TLS
	if t.ClientCA == "" {
		if t.CRL != "" {
			b.wrong("set client_ca, or leave crl out", "tls.crl", "without client_ca no client is asked for a certificate")
		}
		return nil
	}
	a := &auth.Authority{Name: t.ExternalName, Roots: b.authorities("tls.client_ca", string(t.ClientCA))}
	if t.CRL != "" {
		f := &revoked{log: b.log, file: string(t.CRL)}
		if err := f.load(); err != nil {
			b.wrong("give a file of lists in PEM, or one in DER, that usher may read", "tls.crl", "%v", err)
		}
		a.Revoked = f.current
	}
	return a
}

// authorities reads certificates.
func (b *builder) authorities(key, file string) *x509.CertPool {
	pool := x509.NewCertPool()
	pem, err := os.ReadFile(file)
	switch {
	case err != nil:
		b.wrong("check the path, and that usher may read it", key, "%v", err)
	case !pool.AppendCertsFromPEM(pem):
		b.wrong("give a PEM file of certificates", key, "%s holds no certificate", file)
	}
	return pool
}

// ask has clients of TLS asked for a certificate. It is not verified in the handshake:
// one that is wrong shall not keep anybody from logging in in another way.
func ask(base *tls.Config, a *auth.Authority) {
	if a != nil {
		base.ClientAuth, base.ClientCAs = tls.RequestClientCert, a.Roots
	}
}

// revoked is the file of revoked certificates, read again when it changes.
type revoked struct {
	log  *slog.Logger
	file string

	mu      sync.Mutex
	looked  time.Time
	info    os.FileInfo
	lists   auth.Revocations
	trouble string // why it could not be read again; said once
}

// load reads the file if it is not what was read. It is called with mu held.
func (r *revoked) load() error {
	info, err := os.Stat(r.file)
	if err != nil || r.info != nil && same(info, r.info) {
		return err
	}
	text, err := os.ReadFile(r.file)
	if err != nil {
		return err
	}
	lists, err := auth.ParseRevocations(text)
	if err != nil {
		return err
	}
	r.lists, r.info = lists, info
	return nil
}

// current are the lists as they are now. If they cannot be read, or are half written,
// the last ones hold, until they say themselves that they are out of date.
func (r *revoked) current() auth.Revocations {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); now.Sub(r.looked) >= lookAgain {
		r.looked = now
		switch err := r.load(); {
		case err == nil:
			r.trouble = ""
		case err.Error() != r.trouble:
			r.trouble = err.Error()
			r.log.Error("cannot read the revoked certificates: what was read last stays in use; let usher's user read the file", "file", r.file, "err", err)
		}
	}
	return r.lists
}
