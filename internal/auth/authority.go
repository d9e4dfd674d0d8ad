package auth

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// An Authority decides whom a client's certificate names.
type Authority struct {
	Roots *x509.CertPool
	// Name is which part of the certificate is the name: email, cn, uid or subject.
	Name string
	// Revoked gives the lists of certificates that do not hold any more; nil: there are
	// none.
	Revoked func() Revocations
}

// Names are those that a certificate proves, of which there is one at least. chain is as
// the client has sent it. The error says what is wrong with it.
func (a *Authority) Names(chain []*x509.Certificate) ([]string, error) {
	leaf, between := chain[0], x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots: a.Roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err == nil && a.Revoked != nil {
		err = a.Revoked().any(chains)
	}
	if err != nil {
		return nil, fmt.Errorf("certificate of %.80q: %w", leaf.Subject, err)
	}
	names := a.names(leaf)
	if len(names) == 0 {
		return nil, fmt.Errorf("certificate of %.80q: it has no %s (see external_name)", leaf.Subject, a.Name)
	}
	return names, nil
}

// Attributes of a subject: RFC 4519 §2.39, RFC 2985 §5.2.1.
var (
	oidUID   = asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}
	oidEmail = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}
)

func (a *Authority) names(leaf *x509.Certificate) []string {
	switch a.Name {
	case "cn":
		if leaf.Subject.CommonName != "" {
			return []string{leaf.Subject.CommonName}
		}
	case "uid":
		return attributes(leaf, oidUID)
	case "subject":
		if s := leaf.Subject.String(); s != "" {
			return []string{s}
		}
	default:
		if len(leaf.EmailAddresses) > 0 {
			return leaf.EmailAddresses
		}
		return attributes(leaf, oidEmail) // where it was before RFC 5280 §4.1.2.6
	}
	return nil
}

func attributes(leaf *x509.Certificate, of asn1.ObjectIdentifier) (all []string) {
	for _, name := range leaf.Subject.Names {
		if text, ok := name.Value.(string); ok && name.Type.Equal(of) && text != "" {
			all = append(all, text)
		}
	}
	return all
}

// Revocations are lists of revoked certificates, by the name of who has made them.
type Revocations map[string][]revocations

type revocations struct {
	list    *x509.RevocationList
	revoked map[string]bool // serial numbers
}

// ParseRevocations reads lists in PEM, or one in DER: RFC 5280 §5.
func ParseRevocations(text []byte) (Revocations, error) {
	r := Revocations{}
	block, rest := pem.Decode(text)
	if block == nil {
		return r, r.add(text)
	}
	for ; block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "X509 CRL" {
			return nil, fmt.Errorf("there is a %.40q in it, and not only lists of revoked certificates", block.Type)
		}
		if err := r.add(block.Bytes); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r Revocations) add(der []byte) error {
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return err
	}
	one := revocations{list, make(map[string]bool, len(list.RevokedCertificateEntries))}
	for _, e := range list.RevokedCertificateEntries {
		one.revoked[e.SerialNumber.String()] = true
	}
	issuer := string(list.RawIssuer)
	r[issuer] = append(r[issuer], one)
	return nil
}

// any tells what is wrong with each chain; nil if one is right.
func (r Revocations) any(chains [][]*x509.Certificate) error {
	var errs []error
	for _, chain := range chains {
		err := r.check(chain)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// check looks at each certificate below the root. For that of the client there must be a
// list; authorities seldom have lists of each other.
func (r Revocations) check(chain []*x509.Certificate) error {
	for i, cert := range chain[:len(chain)-1] {
		known, err := r.revoked(cert, chain[i+1])
		if err == nil && i == 0 && !known {
			err = errors.New("there is no list of revoked certificates of the authority that has signed it")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r Revocations) revoked(cert, issuer *x509.Certificate) (known bool, err error) {
	for _, one := range r[string(issuer.RawSubject)] {
		if one.list.CheckSignatureFrom(issuer) != nil {
			continue // of another one with the same name
		}
		if one.revoked[cert.SerialNumber.String()] {
			return true, fmt.Errorf("%.80q has been revoked", cert.Subject)
		}
		if next := one.list.NextUpdate; !next.IsZero() && time.Now().After(next) {
			err = fmt.Errorf("the list of revoked certificates is out of date since %s", next.Format(time.RFC3339))
			continue
		}
		known = true
	}
	if known {
		err = nil // a newer list is there, too
	}
	return known, err
}
