package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"usher/internal/account"
	"usher/internal/config"
)

// A source is one [[accounts]] block, not opened yet.
type source struct {
	name string
	cfg  config.Accounts
	open account.Open
	keys []account.Template
	set  map[string]account.Template
}

// accounts reads the settings of the sources without opening them.
func (b *builder) accounts(h *house) {
	hosts := slices.ContainsFunc(b.cfg.Accounts, func(a config.Accounts) bool { return a.Type != "any" || a.Set["host"] != "" })
	if !hosts && !h.desk.Routes.Leads() {
		b.warn("add a [[route]] to a backend, or addr to [backend.default]", "accounts", "nobody can log in: accounts of type \"any\" have no host, and no route leads anywhere")
	}
	b.masters()
	names := b.cfg.SourceNames()
	for i, a := range b.cfg.Accounts {
		key := fmt.Sprintf("accounts[%d]", i)
		if a.Name != "" && a.Name != names[i] {
			b.wrong("give it another name", key+".name", "there is an account source %q already", a.Name)
		}
		h.sources = append(h.sources, b.source(key, names[i], a))
	}
}

// masters tells of those whom nobody is, or everybody.
func (b *builder) masters() {
	n := 0
	for i, a := range b.cfg.Accounts {
		if !a.Master {
			continue
		}
		if n++; a.Type == "any" {
			b.wrong("leave master out, or use another type", fmt.Sprintf("accounts[%d].master", i), "of this kind everybody would be a master")
		}
	}
	switch {
	case n == 0 && b.cfg.Auth.MasterSeparator != "":
		b.wrong("set master = true in the [[accounts]] block that has the masters", "auth.master_separator", "there are no masters")
	case strings.Contains(b.cfg.Auth.MasterSeparator, "@"):
		b.wrong("use another, such as \"*\"", "auth.master_separator", "every address would be that of a master")
	case n > 0 && n == len(b.cfg.Accounts):
		b.wrong("add an [[accounts]] block for those whom they act for", "accounts", "there are masters only")
	}
}

func (b *builder) source(key, name string, a config.Accounts) source {
	s := source{name: name, cfg: a}
	driver, ok := accounts[a.Type]
	if !ok {
		b.wrong("use one of "+strings.Join(slices.Sorted(maps.Keys(accounts)), ", "), key+".type", "there is no account source %q", a.Type)
		return s
	}
	open, err := driver(a.Decode)
	b.found(key, err)
	s.open = open
	if a.Cache.Disk && a.Cache.Stale == 0 {
		b.warn("set stale, or leave disk out", key+".cache.disk", "with stale = \"0s\" nothing is kept on the disk")
	}
	for i, text := range a.Keys {
		t, err := account.ParseTemplate(text)
		b.found(fmt.Sprintf("%s.keys[%d]", key, i), err)
		s.keys = append(s.keys, t)
	}
	s.set = map[string]account.Template{}
	for _, name := range slices.Sorted(maps.Keys(a.Set)) {
		t, err := account.ParseFieldTemplate(a.Set[name])
		b.found(key+".set."+name, err)
		s.set[account.FieldName(name)] = t
	}
	return s
}

// start opens the source.
func (s source) start(ctx context.Context, state string, log *slog.Logger) (*openSource, error) {
	log = log.With("source", s.name)
	src, err := s.open(ctx, account.Site{State: state, Log: log})
	if err != nil {
		return nil, fmt.Errorf("accounts %q: %w", s.name, err)
	}
	if n, ok := src.(interface{ Notes() []string }); ok {
		for _, note := range n.Notes() {
			log.Warn("account source", "note", note)
		}
	}
	o := &openSource{name: s.name, block: s.cfg.Block(), source: src}
	r := &account.Reader{Name: s.name, Source: src, Keys: s.keys, Set: s.set, Times: s.times(), Answers: answersOf(s.cfg.Type)}
	d := account.Directory(r)
	if near, ok := src.(interface{ Nearby() bool }); !ok || !near.Nearby() {
		o.cache = account.NewCache(r, account.CacheOptions{Times: s.times(), Size: s.cfg.Cache.Size, Log: log, Disk: s.disk(state)})
		d = o.cache
	}
	o.directory = account.Some{Directory: d, Name: s.name, Only: s.cfg.Only, Skip: s.cfg.Skip}
	return o, nil
}

func (s source) times() account.Times {
	c := s.cfg.Cache
	return account.Times{Good: time.Duration(c.Good), Unknown: time.Duration(c.Unknown), Stale: time.Duration(c.Stale)}
}

// found notes what is wrong with a key: mistakes that know their places, or another
// error.
func (b *builder) found(key string, err error) {
	if mistakes, ok := errors.AsType[config.Mistakes](err); ok {
		b.mistakes = append(b.mistakes, mistakes...)
	} else if err != nil {
		b.wrong("see doc/config.md", key, "%v", err)
	}
}
