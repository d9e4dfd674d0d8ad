package authdaemon

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"usher/internal/account"
)

// login is the Proof of an account whose password only authdaemond can check.
type login struct {
	source *source
	query  account.Query
	user   string // as authdaemond calls the account
}

// mostText is less than what authdaemond reads at once. Nobody's password is longer.
const mostText = 7 << 10

// Check implements account.Proof.
func (l login) Check(ctx context.Context, password string) error {
	if !clean(password) || len(password)+len(l.query.Name) > mostText {
		return account.ErrRefused
	}
	q := l.query
	q.Trace = nil // it was for the question before
	f, err := l.source.auth(ctx, q, "login", q.Name, password)
	if err == nil && f["user"] != l.user {
		// Of two modules one knows the account, another one the password.
		return fmt.Errorf("authdaemond gives the account as %.80q, but with its password as %.80q; look at the order of authmodulelist", l.user, f["user"])
	}
	return err
}

// Identity implements account.Proof. The service is part of it, since there may be a
// password for each.
func (l login) Identity() string {
	return strings.Join([]string{service(l.query), l.query.Name, l.source.remote(l.query)}, "\n")
}

// clean tells whether a name or password can be written into a request, where lines
// end with \n and texts with NUL.
func clean(s string) bool { return s != "" && !strings.ContainsAny(s, "\r\n\x00") }

// readable tells whether usher can check this password itself. Of one that is locked in
// one module another one may know more.
func readable(password string) bool {
	_, err := account.Fields{"password": password}.Account("x")
	return !account.IsLocked(password) && err == nil
}

func yes(v string) bool {
	return slices.Contains([]string{"y", "yes", "1", "true"}, strings.ToLower(v))
}

func encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
