package server

import (
	"crypto/x509"
	"time"

	"usher/internal/policy"
)

// leastNonce is how long a nonce must be to be worth something.
const leastNonce = 16

// policy translates [auth.policy]; nil: there is no service.
func (b *builder) policy() *policy.Settings {
	const key = "auth.policy"
	c := b.cfg.Auth.Policy
	if c.URL == "" {
		if c.HashNonce != "" || c.APIHeader != "" {
			b.wrong("add url, or leave the rest out too", key, "there is no url: nobody would be asked")
		}
		return nil
	}
	set := &policy.Settings{
		Hash: policy.Hash{Mech: c.HashMech, Nonce: c.HashNonce.Reveal(), Bits: c.HashTruncate}, Timeout: time.Duration(c.Timeout), CA: b.policyCA(),
		Before: c.CheckBeforeAuth, After: c.CheckAfterAuth, Report: c.ReportAfterAuth, RejectOnFail: c.RejectOnFail, LogOnly: c.LogOnly, Log: b.log,
	}
	var err error
	if set.URL, err = policy.ParseURL(c.URL); err != nil {
		b.wrong("write it as \"http://127.0.0.1:8084/\"; secrets go into api_header_file", key+".url", "%v", err)
	} else if policy.Clear(set.URL) {
		b.warn("use https, or a service on this machine", key+".url", "anybody on the way to this service can read who logs in, and let in whom it would refuse")
	}
	if set.Header, err = policy.ParseHeader(c.APIHeader.Reveal()); err != nil {
		b.wrong("write it as \"Authorization: Basic d2ZvcmNlOnNlY3JldA==\"", key+".api_header", "%v", err)
	}
	const remedy = "add hash_nonce_file; the file may come from: openssl rand -hex 32"
	switch {
	case c.HashNonce == "": // nor would Dovecot start
		b.wrong(remedy, key, "without hash_nonce the service could find passwords out")
	case len(c.HashNonce) < leastNonce: // a Dovecot may have it already
		b.warn(remedy, key, "hash_nonce is short: the service could find passwords out")
	}
	if err := set.Hash.Check(); err != nil {
		b.wrong("write 12, or 0 for all", key+".hash_truncate", "%v", err)
	}
	if c.Timeout <= 0 {
		b.wrong("write \"2s\"", key+".timeout", "a question without a timeout could hold a login up for ever")
	}
	return set
}

func (b *builder) policyCA() *x509.CertPool {
	if b.cfg.Auth.Policy.CA == "" {
		return nil
	}
	return b.authorities("auth.policy.ca", string(b.cfg.Auth.Policy.CA))
}
