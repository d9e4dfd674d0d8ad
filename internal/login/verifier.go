package login

import (
	"context"
	"time"

	"usher/internal/account"
	"usher/internal/sasl"
)

// proofTime is how long the account sources and the check of what a client shows may
// take together.
const proofTime = 10 * time.Second

// A verifier bounds the time of another, and lets those wait who guess.
type verifier struct {
	sasl.Verifier
	admission *Admission
}

// decide asks a question about whom a name means, that acts for authz, or for itself.
// shown is what the client shows, if it is the same each time.
func (v verifier) decide(ctx context.Context, authz, name, shown string, ask func(context.Context) error) error {
	name = v.admission.claims(authz, name)
	if err := v.admission.begin(ctx, name, shown); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, proofTime)
	defer cancel()
	return ask(ctx)
}

// Password implements sasl.Verifier.
func (v verifier) Password(ctx context.Context, authz, authn, password string) (id sasl.Identity, err error) {
	v.record().Hide(password)
	err = v.decide(ctx, authz, authn, password, func(ctx context.Context) error {
		id, err = v.Verifier.Password(ctx, authz, authn, password)
		return err
	})
	return id, err
}

// Answer implements sasl.Verifier.
func (v verifier) Answer(ctx context.Context, authn string, a account.Answer) (id sasl.Identity, err error) {
	err = v.decide(ctx, "", authn, "", func(ctx context.Context) error {
		id, err = v.Verifier.Answer(ctx, authn, a)
		return err
	})
	return id, err
}

// Token implements sasl.Verifier.
func (v verifier) Token(ctx context.Context, name, token string) (id sasl.Identity, err error) {
	v.record().Hide(token)
	err = v.decide(ctx, "", name, token, func(ctx context.Context) error {
		id, err = v.Verifier.Token(ctx, name, token)
		return err
	})
	return id, err
}

// Certificate implements sasl.Verifier.
func (v verifier) Certificate(ctx context.Context, authz string, names []string) (id sasl.Identity, err error) {
	v.record().Claims("acts for", authz)
	err = v.decide(ctx, "", names[0], authz, func(ctx context.Context) error {
		id, err = v.Verifier.Certificate(ctx, authz, names)
		return err
	})
	return id, err
}

// SCRAM implements sasl.Verifier.
func (v verifier) SCRAM(ctx context.Context, hash, authz, authn string) (p sasl.Prover, err error) {
	err = v.decide(ctx, authz, authn, "", func(ctx context.Context) error {
		p, err = v.Verifier.SCRAM(ctx, hash, authz, authn)
		return err
	})
	v.admission.awaits = err == nil
	return prover{p, v}, err
}

// A prover is to a Prover what a verifier is to a Verifier.
type prover struct {
	sasl.Prover
	verifier verifier
}

// Prove implements sasl.Prover.
func (p prover) Prove(ctx context.Context, messages string, proof []byte) (id sasl.Identity, own []byte, err error) {
	p.verifier.admission.awaits = false
	err = p.verifier.decide(ctx, "", "", "", func(ctx context.Context) error {
		id, own, err = p.Prover.Prove(ctx, messages, proof)
		return err
	})
	return id, own, err
}
