package auth

import (
	"context"
	"fmt"
	"strings"

	"usher/internal/account"
	"usher/internal/sasl"
)

// Masters open other people's mailboxes. They say for whom they act by their name, such
// as ann*boss, or by an authorization identity (RFC 4616 §2), and prove themselves by
// accounts that are for nothing else.

// An owner is for whom a master acts, as it has written it, and the domain that is added
// to names without one.
type owner struct{ written, domain string }

// acting tells whether a client says that it is a master. Then what it shows is to be
// held against the masters' accounts; authn is its own name.
func (v verifier) acting(authz, authn string) (_ verifier, own string) {
	if v.auth.Masters == nil {
		return v, authn
	}
	user, master, split := strings.Cut(authn, v.auth.Separator)
	name, _ := v.name(authn)
	switch {
	case v.auth.Separator != "" && split && (authz == "" || authz == user || authz == authn):
		authz, authn = user, master
	case authz == "" || v.means(authz, name):
		return v, authn
	}
	v.owner = &owner{authz, v.domain}
	v.directory, v.domain = v.auth.Masters, ""
	return v, authn
}

// act is the verdict about a master: the account of the one it acts for.
func (v verifier) act(ctx context.Context, master string, id sasl.Identity, err error) (sasl.Identity, error) {
	if err == nil {
		err = v.admits(id)
	}
	if err == nil {
		id, err = v.ownersAccount(ctx, master)
	}
	if err != nil {
		err = fmt.Errorf("as a master for %.80q: %w", v.owner.written, err)
	}
	return id, err
}

// admits tells whether a master may log in at all.
func (v verifier) admits(id sasl.Identity) error {
	if !id.Proven {
		return refused("nobody has checked the master's password")
	}
	denied, err := id.Account.Refuses(v.query)
	if err == nil && denied != nil {
		err = refused("the master's account is closed")
	}
	return err
}

func (v verifier) ownersAccount(ctx context.Context, master string) (id sasl.Identity, err error) {
	v.directory, v.domain = v.auth.directory, v.owner.domain
	v.query.Password, v.query.Answer = "", nil
	if v.query.Name, err = v.name(v.owner.written); err != nil {
		return id, err
	}
	id.Account, err = v.directory.Lookup(ctx, v.query)
	if err != nil {
		return id, err
	}
	id.Password, id.Proven, id.Master = clearOf(id.Account, v.query.Protocol), true, master
	return v.again(id), nil
}

func refused(why string) error { return fmt.Errorf("%w: %s", account.ErrRefused, why) }

// Named is the name of the one who proves itself by what is written, to act for authz or
// for itself, whole.
func (a *Auth) Named(authz, written, domain string) string {
	v, own := a.Verifier(account.Query{}, domain).(verifier).acting(authz, written)
	name, _ := v.name(own)
	return name
}
