package ldap

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"usher/internal/account"
)

// An examination is of one server, on a connection of its own.
type examination struct {
	*server
	name   string
	conn   *conn
	report func(what string, err error)
}

// Examine implements account.Examiner.
func (s *Source) Examine(ctx context.Context, report func(what string, err error)) {
	s.servers.Each(func(name string, one *server) {
		ctx := ctx
		if s.settings.Timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, 2*s.settings.Timeout)
			defer cancel()
		}
		x := examination{server: one, name: name, report: report}
		x.run(ctx, s.settings.Bind)
	})
}

func (x *examination) says(what string, err error) { x.report(x.name+": "+what, err) }

// run looks at one thing after the other; after what nothing more can work it ends.
func (x *examination) run(ctx context.Context, binds bool) {
	c, err := x.connect(ctx)
	if x.says(x.how(), err); err != nil {
		return
	}
	x.conn = c
	defer c.end()
	err = x.service.bind(ctx, c)
	if x.says("we are "+x.service.String(), err); err != nil {
		return
	}
	if !x.base(ctx) {
		return
	}
	x.nobody(ctx)
	x.schema(ctx)
	if !binds && !x.question.known {
		x.passwords(ctx)
	}
}

func (x *examination) how() string {
	switch {
	case x.at.scheme == "ldapi":
		return "it listens on its socket"
	case x.encrypted():
		return fmt.Sprintf("it listens, and its certificate is for %s", x.at.host)
	}
	return "it listens, without TLS"
}

// search asks for no more than one entry, if the request does not say more.
func (x *examination) search(ctx context.Context, r *ldap.SearchRequest) (found *ldap.SearchResult, err error) {
	r.SizeLimit, r.TimeLimit = max(r.SizeLimit, 1), 5
	err = x.conn.do(ctx, largeAnswer, func(c *ldap.Conn) (err error) {
		found, err = c.Search(r)
		return err
	})
	return found, err
}

// base tells whether what we search below is there, if it is the same for all names.
func (x *examination) base(ctx context.Context) bool {
	if x.question.varies() {
		return true
	}
	base := x.question.base.Expand(account.Query{}, nil)
	found, err := x.search(ctx, &ldap.SearchRequest{BaseDN: base, Scope: ldap.ScopeBaseObject, Filter: "(objectClass=*)", Attributes: []string{"1.1"}})
	switch {
	case err != nil:
		err = errors.New(explain(err))
	case len(found.Entries) == 0:
		err = fmt.Errorf("%s may not read it: correct base, or the rights of bind_dn", x.service)
	}
	x.says(fmt.Sprintf("base %q is there", base), err)
	return err == nil
}

// nobody looks for a name that there cannot be, as a login would.
func (x *examination) nobody(ctx context.Context) {
	request, err := x.question.about(account.Query{Name: "nobody-" + strings.ToLower(rand.Text()) + "@invalid"}) // RFC 6761 §6.4
	if err != nil {
		return
	}
	found, err := x.search(ctx, request)
	switch _, err = x.question.only(request, found, err); {
	case errors.Is(err, account.ErrUnknown):
		err = nil
	case err == nil && !x.question.known:
		err = fmt.Errorf("somebody is found for a name that nobody has: the filter %s fits too many", request.Filter)
	}
	what := "a search for " + request.Filter + " finds nobody"
	if found != nil && len(found.Referrals) > 0 {
		what += fmt.Sprintf("; referrals to other servers are not followed, such as %.80q", found.Referrals[0])
	}
	x.says(what, err)
}

var typeNames = regexp.MustCompile(`NAME\s+(?:'([^']+)'|\(([^)]*)\))`)

// schema tells whether there are such attributes as the filter and the map name, if the server
// shows its schema (RFC 4512 §4.4).
func (x *examination) schema(ctx context.Context) {
	dse, err := x.search(ctx, &ldap.SearchRequest{Scope: ldap.ScopeBaseObject, Filter: "(objectClass=*)", Attributes: []string{"subschemaSubentry"}})
	if err != nil || len(dse.Entries) == 0 {
		return
	}
	at := dse.Entries[0].GetEqualFoldAttributeValue("subschemaSubentry")
	found, err := x.search(ctx, &ldap.SearchRequest{BaseDN: at, Scope: ldap.ScopeBaseObject, Filter: "(objectClass=subschema)", Attributes: []string{"attributeTypes"}})
	if err != nil || len(found.Entries) == 0 {
		return
	}
	known := map[string]string{} // by any name of it: its first one, under which it is sent
	for _, def := range found.Entries[0].GetEqualFoldAttributeValues("attributeTypes") {
		m := typeNames.FindStringSubmatch(def)
		if m == nil {
			continue
		}
		names := strings.Fields(strings.ReplaceAll(m[1]+m[2], "'", ""))
		for _, n := range names {
			known[strings.ToLower(n)] = names[0]
		}
	}
	if len(known) > 0 {
		x.known(known)
	}
}

// known compares the attributes that were chosen with those that there are.
func (x *examination) known(known map[string]string) {
	usual := usual()
	for _, w := range x.question.wanted {
		name, _, _ := strings.Cut(w.attribute, ";")
		sent, ok := known[strings.ToLower(name)]
		var err error
		switch {
		case slices.Contains(usual, w), name[0] >= '0' && name[0] <= '9':
			continue
		case !ok:
			err = fmt.Errorf("the schema has no such attribute: correct map (or url), or extend the schema")
		case !strings.EqualFold(sent, name):
			err = fmt.Errorf("it is sent as %.80q: write that name", sent)
		}
		x.says(fmt.Sprintf("field %s is the attribute %s", w.field, w.attribute), err)
	}
}

// passwords tells whether the hashes can be read that logins are to be checked against.
// With perdition's attributes they need not be: its backends have always checked.
func (x *examination) passwords(ctx context.Context) {
	i := slices.IndexFunc(x.question.wanted, func(w wanted) bool { return w.means() == passwords })
	if i < 0 || x.at.attributes != nil || x.question.varies() {
		return
	}
	a := x.question.wanted[i].attribute
	found, err := x.search(ctx, &ldap.SearchRequest{
		BaseDN: x.question.base.Expand(account.Query{}, nil), Scope: ldap.ScopeWholeSubtree,
		Filter: "(" + a + "=*)", Attributes: []string{a},
	})
	code, answered := result(err)
	switch {
	case !answered || code != ldap.LDAPResultSuccess && code != ldap.LDAPResultSizeLimitExceeded:
		err = errors.New(explain(err))
	case len(found.Entries) == 0 || len(values(found.Entries[0], a)) == 0:
		err = fmt.Errorf("no entry shows one to %s, so that only backends could check passwords: name in bind_dn somebody who may read it, or let the directory check with bind = true", x.service)
	default:
		err = nil
	}
	x.says(fmt.Sprintf("passwords (%s) can be read", a), err)
}
