package auth

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"encoding/hex"
	"strings"

	"usher/internal/account"
	"usher/internal/password"
	"usher/internal/sasl"
)

// Answer implements sasl.Verifier. A source may check answers itself; else it is done
// with what is stored for the account.
func (v verifier) Answer(ctx context.Context, authn string, answer account.Answer) (id sasl.Identity, err error) {
	v, authn = v.acting("", authn)
	name, err := v.name(authn)
	if err == nil {
		v.query.Name, v.query.Answer = name, &answer
		id.Account, err = v.prove(ctx, func(acct *account.Account) error {
			if id.Password, id.Proven = fits(acct, v.query.Protocol, answer); !id.Proven {
				return account.ErrRefused
			}
			keep(acct, id.Password)
			return nil
		})
	}
	if id.Account == nil || len(id.Account.Stored(v.query.Protocol)) == 0 {
		_, _ = fits(&nobody, v.query.Protocol, answer) // takes the same time
	}
	return v.verdict(ctx, name, "", v.again(id), err)
}

// keep notes a password that has been found right, if it is known.
func keep(acct *account.Account, clear string) {
	if clear != "" {
		acct.Memory.Keep(acct.Proof, clear)
	}
}

// nobody is an account to do the same work for. What fits it lets nobody in.
var nobody = account.Account{Proof: account.Hashed{Hashes: []string{"{PLAIN}nobody's"}}}

// fits tells whether an answer to a challenge is right, and by which password, if that is
// known.
func fits(acct *account.Account, protocol string, answer account.Answer) (clear string, ok bool) {
	shown, err := hex.DecodeString(answer.Response[strings.LastIndexByte(answer.Response, ' ')+1:])
	if err != nil {
		shown = nil // fits nothing
	}
	ok = acct.Answered(answer)
	for _, stored := range acct.Stored(protocol) {
		if sum, can := expected(stored, answer); !can || !hmac.Equal(sum, shown) {
			continue
		}
		if ok = true; clear == "" {
			clear, _ = password.Clear(stored)
		}
	}
	return clear, ok
}

// expected is the digest that a stored password demands: RFC 2195 §2, RFC 1939 §7.
func expected(stored string, a account.Answer) ([]byte, bool) {
	if a.Method == "apop" {
		clear, ok := password.Clear(stored)
		sum := md5.Sum([]byte(a.Challenge + clear))
		return sum[:], ok
	}
	return password.HMAC(stored, strings.ToUpper(strings.TrimPrefix(a.Method, "cram-")), a.Challenge)
}
