package config

import (
	"fmt"
	"maps"
	"net/url"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// Effective is the configuration as usher.toml would say it with every default
// written out. Secrets are hidden. It can be loaded again.
func (c *Config) Effective() string {
	shown := struct {
		Server   Server             `toml:"server"`
		TLS      TLS                `toml:"tls"`
		Listen   []Listen           `toml:"listen,omitempty"`
		Accounts []map[string]any   `toml:"accounts"`
		Backend  map[string]Backend `toml:"backend,omitempty"`
		Local    *Local             `toml:"local,omitempty"`
		Route    []Route            `toml:"route,omitempty"`
		Auth     Auth               `toml:"auth"`
		Limit    Limit              `toml:"limit"`
	}{c.Server, c.TLS, c.Listen, nil, maps.Clone(c.Backend), c.local(), c.Route, c.Auth.shown(), c.Limit}
	for _, a := range c.Accounts {
		shown.Accounts = append(shown.Accounts, a.effective())
	}
	for name, b := range shown.Backend {
		b.Login = b.Login.shown()
		shown.Backend[name] = b
	}
	text, err := toml.Marshal(shown)
	if err != nil {
		panic(fmt.Sprintf("config: cannot write the configuration: %v", err))
	}
	return strings.ReplaceAll(string(text), "${", "$${") // else it would be expanded again
}

// local is nil if there are no programs.
func (c *Config) local() *Local {
	if !c.Local.Has() {
		return nil
	}
	return &c.Local
}

// Has tells whether there is any program.
func (l *Local) Has() bool { return len(l.IMAP) > 0 || len(l.POP3) > 0 || len(l.Program) > 0 }

// shown hides the password here since go-toml asks no string for its
// MarshalText.
func (l Login) shown() Login {
	l.Password = Secret(l.Password.String())
	if l.PasswordFile != "" {
		l.Password = "" // only one of them may be given
	}
	return l
}

// shown hides the secret of salts, and those of the provider of tokens and of the policy
// service.
func (a Auth) shown() Auth {
	a.ScramSecret = a.ScramSecret.shown(a.ScramSecretFile)
	a.OAuth2.ClientSecret = a.OAuth2.ClientSecret.shown(a.OAuth2.ClientSecretFile)
	a.Policy.APIHeader = a.Policy.APIHeader.shown(a.Policy.APIHeaderFile)
	a.Policy.HashNonce = a.Policy.HashNonce.shown(a.Policy.HashNonceFile)
	return a
}

// shown hides a secret that may be in a file: only one of them may be given.
func (s Secret) shown(file Path) Secret {
	if file != "" {
		return ""
	}
	return Secret(s.String())
}

// effective shows a source's own keys as they were written: their defaults are
// the driver's.
func (a Accounts) effective() map[string]any {
	t := map[string]any{"type": a.Type}
	if a.Name != "" {
		t["name"] = a.Name
	}
	if a.Only != nil {
		t["only"] = a.Only
	}
	if a.Skip != nil {
		t["skip"] = a.Skip
	}
	if a.Keys != nil {
		t["keys"] = a.Keys
	}
	if a.Set != nil {
		t["set"] = a.Set
	}
	if a.Cache != (Cache{}) {
		t["cache"] = a.Cache
	}
	for name, v := range a.rest {
		t[name] = hide(v, name)
	}
	return t
}

// hide hides what may be a secret. Here nobody knows which of a driver's keys
// are, so the name decides, and every password in a URL goes.
func hide(v any, name string) any {
	switch v := v.(type) {
	case map[string]any:
		shown := make(map[string]any, len(v))
		for inner, x := range v {
			if soundsSecret(name) {
				shown[inner] = hide(x, name)
			} else {
				shown[inner] = hide(x, inner)
			}
		}
		return shown
	case []any:
		shown := make([]any, len(v))
		for i, x := range v {
			shown[i] = hide(x, name)
		}
		return shown
	case string:
		return hideText(v, name)
	}
	return v
}

// soundsSecret is true for a dsn too: where in it the password stands is the
// driver's own form.
func soundsSecret(name string) bool {
	name = strings.ToLower(name)
	if strings.HasSuffix(name, fileKey("")) {
		return false
	}
	for _, word := range []string{"pass", "secret", "token", "dsn", "header"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}

func hideText(s, name string) string {
	if s == "" {
		return s
	}
	if soundsSecret(name) || strings.Contains(strings.ToLower(s), "password=") {
		return hidden
	}
	scheme, rest, isURL := strings.Cut(s, "://")
	if !isURL || !strings.Contains(rest, "@") {
		return s
	}
	if _, err := url.Parse(s); err != nil {
		return hidden // there is no telling where its password ends
	}
	end := strings.IndexAny(rest+"/", "/?#")
	user, _, hasPassword := strings.Cut(rest[:end], ":")
	if at := strings.LastIndex(rest[:end], "@"); at > len(user) && hasPassword {
		return scheme + "://" + user + ":" + hidden + rest[at:]
	}
	return s
}
