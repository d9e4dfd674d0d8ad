package auth

import (
	"context"
	"fmt"

	"usher/internal/account"
	"usher/internal/password"
	"usher/internal/sasl"
)

// Certificate implements sasl.Verifier.
func (v verifier) Certificate(ctx context.Context, authz string, names []string) (sasl.Identity, error) {
	return v.known(ctx, authz, names, sasl.Identity{})
}

// Token implements sasl.Verifier.
func (v verifier) Token(ctx context.Context, name, token string) (sasl.Identity, error) {
	if v.auth.Tokens == nil {
		return v.verdict(ctx, name, "", sasl.Identity{}, fmt.Errorf("%w: nobody here can tell whose a token is", account.ErrRefused))
	}
	names, until, err := v.auth.Tokens(ctx, token)
	if err != nil {
		return v.verdict(ctx, name, "", sasl.Identity{}, err)
	}
	return v.known(ctx, name, names, sasl.Identity{Token: token, Until: until})
}

// known is a client whose names something else has proven, each of which is as good. It
// is the one for whom it wants to act, or else the first. id is what it is so far.
func (v verifier) known(ctx context.Context, authz string, names []string, id sasl.Identity) (sasl.Identity, error) {
	name, err := v.name(names[0])
	for _, other := range names[1:] {
		if n, bad := v.name(other); bad == nil && authz != "" && v.means(authz, n) {
			name, err = n, nil
		}
	}
	if err == nil {
		v.query.Name = name
		id.Account, err = v.directory.Lookup(ctx, v.query)
	}
	if err == nil {
		err = locked(ctx, id.Account)
	}
	if err == nil {
		id.Proven, id.Password = true, clearOf(id.Account, v.query.Protocol)
	}
	return v.verdict(ctx, name, authz, v.again(id), err)
}

// locked is why an account lets nobody in, whatever he shows; nil: it does.
func locked(ctx context.Context, acct *account.Account) error {
	if l, is := acct.Proof.(account.Locked); is {
		return l.Check(ctx, "")
	}
	return nil
}

// clearOf is a password of the account, for a backend; "": none is known.
func clearOf(acct *account.Account, protocol string) string {
	for _, stored := range acct.Stored(protocol) {
		if clear, ok := password.Clear(stored); ok {
			return clear
		}
	}
	return ""
}
