package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"usher/internal/account"
	"usher/internal/account/sql"
	"usher/internal/config"
)

// store opens the accounts that the flags mean: the embedded database, or a source of
// the configuration.
func (a *accountFlags) store(ctx context.Context, embedded account.Open) (account.Store, error) {
	open, state := embedded, a.state
	if state == "" {
		cfg, err := accountConfig(a.config)
		if err != nil {
			return nil, err
		}
		if open, err = a.choose(keepers(cfg), embedded); err != nil {
			return nil, err
		}
		state = string(cfg.Server.State)
	} else if a.source != "" {
		return nil, usage("--state means the embedded database there, --source a source of the configuration; give one of them")
	}
	src, err := open(ctx, account.Site{State: state, Log: slog.New(slog.DiscardHandler)}) // what fails is returned too
	if err != nil {
		return nil, err
	}
	return src.(account.Store), nil // those of type sql all are
}

// accountConfig is the configuration in the usual places; without one, the default.
func accountConfig(flag string) (*config.Config, error) {
	path := findConfig(flag)
	if path == "" {
		return config.Default(), nil
	}
	return config.Load(path)
}

// A keeper is a source of which the account commands can do more than ask.
type keeper struct {
	name string
	cfg  config.Accounts
}

// keepers are the sources of type sql, by the names that the log gives them.
func keepers(cfg *config.Config) (list []keeper) {
	names := cfg.SourceNames()
	for i, c := range cfg.Accounts {
		if c.Type == "sql" {
			list = append(list, keeper{names[i], c})
		}
	}
	return list
}

// choose is how to open the source that is meant. Without one of type sql it is the
// embedded database: it may be filled before it is named.
func (a *accountFlags) choose(list []keeper, embedded account.Open) (account.Open, error) {
	var names []string
	for _, k := range list {
		names = append(names, k.name)
	}
	i := slices.Index(names, a.source)
	switch {
	case a.source != "" && i < 0:
		return nil, usage("there is no source %q of type sql; there are: %s", a.source, cmp.Or(strings.Join(names, ", "), "none"))
	case a.source == "" && len(list) == 0:
		return embedded, nil
	case a.source == "" && len(list) > 1:
		return nil, usage("several sources keep accounts: %s; choose one with --source", strings.Join(names, ", "))
	}
	k := list[max(i, 0)]
	open, err := sql.Driver(embedded)(k.cfg.Decode)
	if err != nil {
		return nil, fmt.Errorf("accounts %q: %w", k.name, err)
	}
	return open, nil
}
