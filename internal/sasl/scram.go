package sasl

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"slices"

	"usher/internal/account"
	"usher/internal/password"
)

// SCRAM is RFC 5802 with SHA-1, and RFC 7677 with SHA-256. Both sides prove that they
// know the password, or keys made of it, without showing it; those with PLUS prove also
// that nobody is between them.
var (
	SCRAMSHA1       = scram{"SHA-1", false}.mechanism()
	SCRAMSHA256     = scram{"SHA-256", false}.mechanism()
	SCRAMSHA1Plus   = scram{"SHA-1", true}.mechanism()
	SCRAMSHA256Plus = scram{"SHA-256", true}.mechanism()
)

type scram struct {
	hash  string
	bound bool
}

const plus = "-PLUS"

func (s scram) mechanism() Mechanism {
	name := "SCRAM-" + s.hash
	if s.bound {
		name += plus
	}
	return Mechanism{Name: name, Authz: true, Bound: s.bound, Serve: s.serve, Enter: s.enter}
}

func (s scram) serve(ctx context.Context, x Exchange, v Verifier, on Channel) (Identity, error) {
	msg, err := x.Initial("")
	if err != nil {
		return Identity{}, err
	}
	first, err := parseClientFirst(string(msg))
	if err != nil {
		return Identity{}, err
	}
	p, err := v.SCRAM(ctx, s.hash, first.authz, first.name)
	if err != nil {
		return Identity{}, err
	}
	nonce, challenge := s.challenge(first, p, on)
	if msg, err = x.Send([]byte(challenge)); err != nil {
		return Identity{}, err
	}
	final, err := parseClientFinal(string(msg))
	if err != nil {
		return Identity{}, err
	}
	if err := s.sameChannel(first, final, nonce, on); err != nil {
		return Identity{}, named{first.name, err}
	}
	id, own, err := p.Prove(ctx, first.bare+","+challenge+","+final.bare, final.proof)
	if err != nil {
		return id, err
	}
	if _, err := x.Send([]byte("v=" + base64.StdEncoding.EncodeToString(own))); err != nil {
		return Identity{}, err // the client has found that it is not us
	}
	return id, nil
}

// challenge is the server's first message.
func (s scram) challenge(first clientFirst, p Prover, on Channel) (nonce, text string) {
	salt, iterations := p.Salt()
	nonce = first.nonce + on.nonce()
	return nonce, fmt.Sprintf("r=%s,s=%s,i=%d", nonce, base64.StdEncoding.EncodeToString(salt), iterations)
}

// sameChannel tells whether the messages are of one exchange, on one connection, of
// which nobody has hidden anything: RFC 5802 §5.1 and §6.
func (s scram) sameChannel(first clientFirst, final clientFinal, nonce string, on Channel) error {
	if final.nonce != nonce {
		return refused("the client's last message is of another exchange")
	}
	header, sent := []byte(first.header), final.channel
	if first.binding == "" {
		switch {
		case s.bound:
			return refused("the client does not bind itself to TLS, as its mechanism demands")
		case first.couldBind && on.Offers != nil && on.Offers("SCRAM-"+s.hash+plus):
			return refused("somebody between has hidden from the client that SCRAM-" + s.hash + plus + " is offered")
		case !bytes.Equal(sent, header):
			return refused("the client's messages contradict each other")
		}
		return nil
	}
	// Cyrus SASL does so without calling it PLUS. That is as good.
	same := func(binding []byte) bool { return bytes.Equal(sent, slices.Concat(header, binding)) }
	if !slices.ContainsFunc(on.bindings(first.binding), same) {
		return fmt.Errorf("%w: the client is at the other end of another TLS connection, or binds itself in another way (%.40q) than it can here", account.ErrRefused, first.binding)
	}
	return nil
}

func refused(why string) error { return fmt.Errorf("%w: %s", account.ErrRefused, why) }

func (s scram) enter(x Exchange, c Credentials, on Channel) error {
	header, binding := s.header(c, on)
	nonce := on.nonce()
	bare := "n=" + escapeName(password.Prepared(c.Authn)) + ",r=" + nonce
	msg, err := x.Send([]byte(header + bare))
	if err != nil {
		return unproven(err)
	}
	first, err := parseServerFirst(string(msg), nonce)
	if err != nil {
		return err
	}
	final := "c=" + base64.StdEncoding.EncodeToString(append([]byte(header), binding...)) + ",r=" + first.nonce
	proof, own, err := password.Prove(s.hash, c.Password, first.salt, first.iterations, bare+","+string(msg)+","+final)
	if err != nil {
		return err
	}
	msg, err = x.Send([]byte(final + ",p=" + base64.StdEncoding.EncodeToString(proof)))
	if err != nil {
		return unproven(err)
	}
	if string(msg) != "v="+base64.StdEncoding.EncodeToString(own) { // "e=" and why, or a wrong proof
		_, err = x.Send(nil)
		return unproven(err)
	}
	_, err = x.Send(nil)
	return end(err)
}

// header is what the client says of its channel: RFC 5802 §6. Without PLUS it is that of
// a client that cannot bind itself: what the server offers it does not know.
func (s scram) header(c Credentials, on Channel) (header string, binding []byte) {
	authz := ""
	if c.Authz != "" {
		authz = "a=" + escapeName(c.Authz)
	}
	if !s.bound {
		return "n," + authz + ",", nil
	}
	for _, kind := range []string{"tls-exporter", "tls-server-end-point", "tls-unique"} {
		if all := on.bindings(kind); len(all) > 0 {
			return "p=" + kind + "," + authz + ",", all[0]
		}
	}
	return "p=tls-exporter," + authz + ",", nil // no server takes that
}

// unproven is the end of a client's half where the server has not proven itself.
func unproven(err error) error {
	if err = end(err); err != nil {
		return err
	}
	return ErrUnproven
}
