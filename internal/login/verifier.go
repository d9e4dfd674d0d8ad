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

// A verifier bounds the time of another, and notes when it was asked.
type verifier struct {
	sasl.Verifier
	admission *Admission
}

// decide asks a question of which the answer is a verdict.
func (v verifier) decide(ctx context.Context, ask func(context.Context) (sasl.Identity, error)) (sasl.Identity, error) {
	v.admission.asked = time.Now()
	ctx, cancel := context.WithTimeout(ctx, proofTime)
	defer cancel()
	return ask(ctx)
}

// Password implements sasl.Verifier.
func (v verifier) Password(ctx context.Context, authz, authn, password string) (sasl.Identity, error) {
	return v.decide(ctx, func(ctx context.Context) (sasl.Identity, error) {
		return v.Verifier.Password(ctx, authz, authn, password)
	})
}

// Answer implements sasl.Verifier.
func (v verifier) Answer(ctx context.Context, authn string, a account.Answer) (sasl.Identity, error) {
	return v.decide(ctx, func(ctx context.Context) (sasl.Identity, error) { return v.Verifier.Answer(ctx, authn, a) })
}

// Token implements sasl.Verifier.
func (v verifier) Token(ctx context.Context, name, token string) (sasl.Identity, error) {
	return v.decide(ctx, func(ctx context.Context) (sasl.Identity, error) { return v.Verifier.Token(ctx, name, token) })
}

// Certificate implements sasl.Verifier.
func (v verifier) Certificate(ctx context.Context, authz string, names []string) (sasl.Identity, error) {
	return v.decide(ctx, func(ctx context.Context) (sasl.Identity, error) { return v.Verifier.Certificate(ctx, authz, names) })
}

// SCRAM implements sasl.Verifier.
func (v verifier) SCRAM(ctx context.Context, hash, authn string) (sasl.Prover, error) {
	v.admission.asked = time.Now()
	ctx, cancel := context.WithTimeout(ctx, proofTime)
	defer cancel()
	p, err := v.Verifier.SCRAM(ctx, hash, authn)
	return prover{p, v}, err
}

// A prover is to a Prover what a verifier is to a Verifier.
type prover struct {
	sasl.Prover
	verifier verifier
}

// Prove implements sasl.Prover.
func (p prover) Prove(ctx context.Context, authz, messages string, proof []byte) (id sasl.Identity, own []byte, err error) {
	id, err = p.verifier.decide(ctx, func(ctx context.Context) (sasl.Identity, error) {
		id, own, err = p.Prover.Prove(ctx, authz, messages, proof)
		return id, err
	})
	return id, own, err
}
