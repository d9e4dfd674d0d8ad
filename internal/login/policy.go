package login

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"usher/internal/account"
	"usher/internal/policy"
)

// consult asks the policy service, if there is one, before a password is looked at. It
// waits if the service wants it: that comes after what is held against guessers, who
// then cost the service nothing.
func (a *Admission) consult(ctx context.Context, name string) error {
	p, c := a.desk.Policy, a.client
	if p == nil {
		return nil
	}
	name = name[:min(len(name), account.MaxName)]
	a.told = &policy.Login{
		DeviceID: arglist(c.own), Login: name, Protocol: c.Protocol.Info().Name, PWHash: p.Hash(name, a.shown),
		Remote: c.Remote.Addr().Unmap().WithZone("").String(), SessionID: c.sessionID(), TLS: c.encrypted(),
	}
	v, err := p.Before(ctx, *a.told)
	if v.Wait > 0 {
		_ = c.Conn.Flush() // what was answered before need not wait
		a.asked = a.asked.Add(slept(ctx, v.Wait))
	}
	switch {
	case ctx.Err() != nil: // the client has to go
		return &Refusal{Reason: Aborted, Err: heldBack{name, context.Cause(ctx)}}
	case err != nil:
		return &Refusal{Reason: CannotTell, Err: heldBack{name, err}}
	case v.Refused:
		return &Refusal{Reason: ByPolicy, Err: heldBack{name, refusal(v)}}
	}
	return nil
}

// consultAgain asks it about somebody who has shown the right password.
func (a *Admission) consultAgain(ctx context.Context) error {
	if a.told == nil {
		return nil
	}
	if a.shown == "" { // only now it may be known
		a.told.PWHash = a.desk.Policy.Hash(a.told.Login, a.who.Password)
	}
	v, err := a.desk.Policy.After(a.client.staying(ctx), *a.told)
	switch {
	case err != nil:
		return &Refusal{Reason: CannotTell, Err: err}
	case v.Refused:
		return &Refusal{Reason: ByPolicy, Err: refusal(v)}
	}
	return nil
}

func refusal(v policy.Verdict) error { return fmt.Errorf("the policy service says no: %.80q", v.Words) }

// report tells the service what became of a login. What nobody could judge is not
// reported: an outage must not look like guesses.
func (a *Admission) report(err error) {
	if a.told == nil {
		return
	}
	o := policy.Outcome{Success: err == nil || a.who.Proven}
	switch r := ReasonOf(err); {
	case err == nil:
	case r == ByPolicy:
		o = policy.Outcome{Refused: true, Fail: policy.FailPolicy}
	case r == BadLogin && errors.Is(err, account.ErrUnknown):
		o = policy.Outcome{Fail: policy.FailAccount}
	case r == BadLogin:
		o = policy.Outcome{Fail: policy.FailCredentials}
	case r == Disabled, r == NotPermitted:
		o = policy.Outcome{Fail: policy.FailDisabled}
	case r == Expired:
		o = policy.Outcome{Fail: policy.FailExpired}
	case !o.Success:
		return
	}
	a.desk.Policy.Report(*a.told, o)
}

// arglist is what a client says of itself by ID (RFC 2971 §3.1), as Dovecot writes it.
func arglist(pairs []Pair) string {
	var words []string
	for _, p := range pairs {
		words = append(words, `"`+quoted.Replace(p.Name)+`" "`+quoted.Replace(p.Value)+`"`)
	}
	return strings.Join(words, " ")
}

// quoted makes text fit for between quotes: RFC 9051 §4.3.
var quoted = strings.NewReplacer(`"`, `\"`, `\`, `\\`)
