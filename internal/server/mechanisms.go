package server

import (
	"fmt"
	"slices"
	"strings"

	"usher/internal/auth"
	"usher/internal/config"
	"usher/internal/login"
	"usher/internal/sasl"
)

// Which mechanisms are offered is decided when the configuration is read: what no
// account could use must not be offered, and what only some can, only if the
// administrator says so. A client that is offered a mechanism does not try another one.

// answers are the methods of account.Answer that some kinds of sources check themselves.
var answers = map[string][]string{
	"http":       {"cram-md5", "apop"},
	"authdaemon": {"cram-md5", "cram-sha1", "cram-sha256"},
}

// silent are the kinds of sources that never tell a password, nor what is made of one.
var silent = []string{"http", "any"}

// answersOf is what a source of this kind is told of the answers of clients.
func answersOf(kind string) []string { return append([]string{}, answers[kind]...) }

// mechanisms are those that clients may use, in the order of the configuration.
func (b *builder) mechanisms() (list []sasl.Mechanism) {
	if len(b.cfg.Auth.Mechanisms) == 0 {
		return those(b.forAll)
	}
	for i, name := range b.cfg.Auth.Mechanisms {
		key := fmt.Sprintf("auth.mechanisms[%d]", i)
		m, ok := mechanism(name)
		if !ok {
			b.wrong("use some of "+namesOf(mechanisms), key, "there is no mechanism %q", name)
			continue
		}
		b.possible(m, key)
		list = append(list, m)
	}
	return list
}

// forAll tells whether a mechanism works for every account.
func (b *builder) forAll(m sasl.Mechanism) bool {
	return showsPassword(m) || (m.Proven && b.cfg.TLS.ClientCA != "" || m.Token && tokensGood(b.cfg.Auth.OAuth2)) && b.someUsers(knowsNames)
}

// some tells whether there is such a source.
func (b *builder) some(is func(kind string) bool) bool {
	return slices.ContainsFunc(b.cfg.Accounts, func(a config.Accounts) bool { return is(a.Type) })
}

// hasTLS tells whether any client may be under TLS.
func (b *builder) hasTLS() bool {
	return slices.ContainsFunc(b.cfg.Listen, func(l config.Listen) bool { return l.TLS != "none" })
}

// provesSome tells whether anybody is known to be who he says before a server is asked.
func (b *builder) provesSome() bool {
	return b.cfg.TLS.ClientCA != "" || tokensGood(b.cfg.Auth.OAuth2) ||
		slices.ContainsFunc(b.cfg.Accounts, func(a config.Accounts) bool { return a.Type != "any" || a.Set["password"] != "" })
}

// someUsers tells whether there is such a source of those who log in as themselves.
func (b *builder) someUsers(is func(kind string) bool) bool {
	return slices.ContainsFunc(b.cfg.Accounts, func(a config.Accounts) bool { return !a.Master && is(a.Type) })
}

// knowsNames tells whether a kind of source knows somebody who shows it nothing.
func knowsNames(kind string) bool { return kind != "http" }

func showsPassword(m sasl.Mechanism) bool { return m.Clear && !m.Token }

// possible tells of a mechanism that was asked for, but can work for nobody.
func (b *builder) possible(m sasl.Mechanism, key string) {
	switch {
	case showsPassword(m):
	case m.Token && !tokensGood(b.cfg.Auth.OAuth2):
		b.wrong("set issuer or introspection in [auth.oauth2]", key, "%s needs somebody who says whose a token is", m.Name)
	case m.Token && !b.someUsers(knowsNames):
		b.wrong("leave it out", key, "%s works for none of these account sources: they want to see a password", m.Name)
	case m.Token:
	case m.Proven && b.cfg.TLS.ClientCA == "":
		b.wrong("set client_ca in [tls]", key, "%s needs certificates of clients, for which nobody asks them", m.Name)
	case m.Proven && !b.someUsers(knowsNames):
		b.wrong("leave it out", key, "%s works for none of these account sources: they want to see a password", m.Name)
	case m.Proven && !b.hasTLS():
		b.wrong("leave it out, or choose another tls in [[listen]]", key, "%s needs TLS, which no listener has", m.Name)
	case m.Proven:
	case !b.some(func(kind string) bool { return can(kind, m) }):
		b.wrong("leave it out", key, "%s works for none of these account sources: they tell no passwords", m.Name)
	case m.Bound && !b.hasTLS():
		b.wrong("leave it out, or choose another tls in [[listen]]", key, "%s is bound to TLS, which no listener has", m.Name)
	}
}

// can tells whether accounts of a kind of source may be able to use a mechanism that
// does not show the password.
func can(kind string, m sasl.Mechanism) bool {
	return !slices.Contains(silent, kind) || slices.Contains(answers[kind], strings.ToLower(m.Name))
}

func mechanism(name string) (sasl.Mechanism, bool) {
	i := slices.IndexFunc(mechanisms, func(m sasl.Mechanism) bool { return strings.EqualFold(m.Name, name) })
	if i < 0 {
		return sasl.Mechanism{}, false
	}
	return mechanisms[i], true
}

// those are the mechanisms that fit, in order of preference.
func those(fit func(sasl.Mechanism) bool) []sasl.Mechanism {
	return slices.DeleteFunc(slices.Clone(mechanisms), func(m sasl.Mechanism) bool { return !fit(m) })
}

func namesOf(list []sasl.Mechanism) string {
	var names []string
	for _, m := range list {
		names = append(names, m.Name)
	}
	return strings.Join(names, ", ")
}

// towards tells whether usher can use a mechanism itself.
func towards(m sasl.Mechanism) bool { return m.Enter != nil }

// letters are the words of username_case.
var letters = map[string]auth.Letters{"keep": auth.KeepLetters, "lower": auth.LowerLetters, "precis": auth.PrecisLetters}

// names are how names of clients are read.
func (b *builder) names() auth.Names {
	a := b.cfg.Auth
	n := auth.Names{Chars: a.UsernameChars, Letters: letters[a.UsernameCase], Strip: a.StripDomains}
	pairs := []rune(a.UsernameTranslate)
	if len(pairs)%2 != 0 {
		b.wrong("write two characters for each change, such as \"%@\"", "auth.username_translate", "%q are no pairs of characters", a.UsernameTranslate)
		return n
	}
	for pair := range slices.Chunk(pairs, 2) {
		if n.Translate == nil {
			n.Translate = map[rune]rune{}
		}
		n.Translate[pair[0]] = pair[1]
	}
	return n
}

// proofs adds to what a listener demands what the mechanisms must know of TLS.
func (h *house) proofs(t *login.Terms) {
	if t.TLS == nil {
		return
	}
	t.Certificates = h.certs.leaves
	if h.clients != nil {
		t.Who = h.clients.Names
	}
}
