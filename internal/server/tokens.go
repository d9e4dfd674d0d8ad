package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"usher/internal/config"
	"usher/internal/route"
	"usher/internal/sasl"
	"usher/internal/token"
)

// tokens are what a house knows of OAuth 2: which tokens of clients are good, and what
// signs those for servers.
type tokens struct {
	settings *token.Settings // nil: clients' tokens are nobody's
	checker  *token.Checker  // once the house is opened
	mints    map[string]*token.Mint
}

// clientTokens reads [auth.oauth2].
func (b *builder) clientTokens() *token.Settings {
	o := b.cfg.Auth.OAuth2
	if !tokensGood(o) {
		if o.Keys != "" || len(o.Audience)+len(o.Scope) > 0 || o.ClientID != "" || o.ClientSecret != "" {
			b.wrong("set issuer, or introspection", "auth.oauth2", "nobody says which tokens are good")
		}
		return nil
	}
	s := &token.Settings{
		Issuer: o.Issuer, Keys: string(o.Keys), Audience: o.Audience, Scope: o.Scope, Claim: o.Claim, Skew: time.Duration(o.Skew),
		Introspect: o.Introspection, ClientID: o.ClientID, ClientSecret: o.ClientSecret.Reveal(), Cache: time.Duration(o.Cache), Timeout: time.Duration(o.Timeout),
	}
	if o.CA != "" {
		s.Roots = b.authorities("auth.oauth2.ca", string(o.CA))
	}
	b.provider(o)
	return s
}

// tokensGood tells whether tokens of clients can be checked.
func tokensGood(o config.OAuth2) bool { return o.Issuer != "" || o.Introspection != "" }

// provider looks for what is wrong with what is said of the provider.
func (b *builder) provider(o config.OAuth2) {
	const key = "auth.oauth2."
	if o.Timeout == 0 {
		b.wrong("leave it out, or write \"5s\"", key+"timeout", "somebody must wait for the provider")
	}
	if o.Claim == "" {
		b.wrong("leave it out, or write \"email\"", key+"claim", "nobody knows whose a token is")
	}
	if o.Introspection != "" {
		b.url(key+"introspection", o.Introspection)
		if o.Keys != "" {
			b.wrong("keep one of the two", key+"keys", "with introspection tokens are not checked here")
		}
		return
	}
	if len(o.Audience)+len(o.Scope) == 0 {
		b.wrong("set audience, or scope", "auth.oauth2", "the issuer's tokens for any other service would open mailboxes")
	}
	if o.Keys == "" {
		b.url(key+"issuer", o.Issuer)
	} else if _, err := token.ReadKeys(string(o.Keys)); err != nil {
		b.wrong("give a file of public keys, PEM or JWKS, that usher may read", key+"keys", "%v", err)
	}
}

// url looks whether a provider can be asked there, and be believed.
func (b *builder) url(key, text string) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" {
		if strings.Contains(text, "@") { // before it there may be a password
			text = "***"
		}
		b.wrong("write it as \"https://login.example.org\"", key, "%.80q is no URL of a provider", text)
		return
	}
	addr, _ := netip.ParseAddr(u.Hostname())
	if u.Scheme == "http" && !addr.IsLoopback() && u.Hostname() != "localhost" {
		b.wrong("use https", key, "without TLS anybody on the way can say which tokens are good")
	}
}

// mint reads how tokens for one backend are made.
func (b *builder) mint(key, name string, l config.Login) *token.Mint {
	m := &token.Mint{
		Issuer: cmp.Or(l.Issuer, b.hostname()), Audience: cmp.Or(l.Audience, name), Claim: cmp.Or(l.Claim, "email"), Scope: l.Scope,
	}
	if l.KeyFile != "" {
		var err error
		if m.Key, err = token.ReadKey(string(l.KeyFile)); err != nil {
			b.wrong("give a private key that usher may read, as from: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256", key+".login.key_file", "%v", err)
		}
	}
	return m
}

// mintsFor has usher log in to a backend with tokens that it signs. m is the mechanism
// that shows them, if the configuration names one.
func (b *builder) mintsFor(r *route.Backend, key string, l config.Login, m sasl.Mechanism) {
	r.Token = true
	if l.Mechanism != "" && !m.Token {
		b.wrong("leave it out, or use OAUTHBEARER or XOAUTH2", key+".login.mechanism", "%s shows no token", m.Name)
	}
	if b.mints == nil {
		b.mints = map[string]*token.Mint{}
	}
	name := strings.TrimPrefix(key, "backend.")
	b.mints[name] = b.mint(key, name, l)
}

// openTokens has clients' tokens checked from now on.
func (h *house) openTokens() {
	s := h.tokens.settings
	if s == nil {
		return
	}
	c := token.New(*s)
	h.tokens.checker = c
	h.auth.Tokens = func(ctx context.Context, text string) ([]string, time.Time, error) {
		names, until, err := c.Whose(ctx, text)
		if !h.cfg.Auth.OAuth2.EndWithToken {
			until = time.Time{}
		}
		return names, until, err
	}
}

// closeTokens ends what is asked of the provider.
func (h *house) closeTokens() {
	if h.tokens.checker != nil {
		h.tokens.checker.Close()
	}
}

// bequeathTokens keeps the provider's keys over a reload: it may be down just now.
func (h *house) bequeathTokens(next *house) {
	if h.tokens.checker != nil && next.tokens.checker != nil {
		next.tokens.checker.Inherit(h.tokens.checker)
	}
}

// tokenKey is the file of the key that signs tokens, in the state folder.
const tokenKey = "token.key"

// keepTokenKey gives the house the key that signs tokens, if it needs it. Where it cannot
// be had, nobody gets in by such tokens.
func (s *Server) keepTokenKey(h *house) {
	key, err := h.stateKey(token.OpenKey)
	if err != nil {
		s.log.Error("there is no key that signs tokens: logins to backends with login = { as = \"token\" } fail", "err", err,
			"remedy", "let usher's user read and write the file, or set key_file in login")
	}
	for _, m := range h.tokens.mints {
		if m.Key == nil {
			m.Key = key
		}
	}
}

// stateKey is the key in the state folder; nil if none is needed.
func (h *house) stateKey(open func(file string) (*token.Key, error)) (*token.Key, error) {
	for _, m := range h.tokens.mints {
		if m.Key == nil {
			return open(filepath.Join(string(h.cfg.Server.State), tokenKey))
		}
	}
	return nil, nil
}

// mintToken makes a token for one login.
func (h *house) mintToken(backend, user string) (string, error) {
	m := h.tokens.mints[backend]
	if m == nil || m.Key == nil {
		return "", errors.New("there is no key: see the log of the start or of the last reload")
	}
	return m.Token(user)
}

// TokenKeys are the keys that sign tokens, by backend. None is made: it belongs to the
// user that usher runs as.
func TokenKeys(cfg *config.Config) (map[string]*token.Key, error) {
	s, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	h := s.house.Load()
	state, err := h.stateKey(token.ReadKey)
	if err != nil {
		return nil, fmt.Errorf("the key is made when usher starts: %w", err)
	}
	keys := map[string]*token.Key{}
	for _, name := range slices.Sorted(maps.Keys(h.tokens.mints)) {
		if keys[name] = h.tokens.mints[name].Key; keys[name] == nil {
			keys[name] = state
		}
	}
	return keys, nil
}

// examineTokens asks the provider.
func (h *house) examineTokens(ctx context.Context, report func(what string, err error)) {
	if h.tokens.settings == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, examineTime)
	defer cancel()
	c := token.New(*h.tokens.settings)
	defer c.Close()
	what, err := c.Examine(ctx)
	report("tokens: "+what, err)
}
