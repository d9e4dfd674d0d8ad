package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"usher/internal/account"
	"usher/internal/account/sql"
	"usher/internal/config"
)

// accountFlags say whose database the account commands work on.
type accountFlags struct{ config, state string }

func accountCommand() *cobra.Command {
	flags := new(accountFlags)
	c := &cobra.Command{
		Use:   "account",
		Short: "Look at and change the accounts in the embedded database",
		Long: `Look at and change the accounts in the embedded database, accounts.db in the
state folder. A running usher uses a change from the next login on.

Fields are those of doc/config.md, "Account fields": password, host, port, …`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.PersistentFlags().StringVarP(&flags.config, "config", "c", "", "configuration `file` that names the state folder")
	c.PersistentFlags().StringVar(&flags.state, "state", "", "state `folder`; overrides the configuration")
	c.AddCommand(
		accountListCommand(flags), accountShowCommand(flags),
		accountAddCommand(flags), accountSetCommand(flags), accountRemoveCommand(flags),
		accountImportCommand(flags), accountExportCommand(flags),
	)
	return c
}

// with opens the store for one command that needs it to be there.
func (a *accountFlags) with(ctx context.Context, f func(*sql.Store) error) error {
	return a.withStore(ctx, sql.OpenStore, f)
}

// withNew is with for commands that add accounts: they make a store if need be.
func (a *accountFlags) withNew(ctx context.Context, f func(*sql.Store) error) error {
	return a.withStore(ctx, sql.MakeStore, f)
}

// withStore gives a command the store. Answers of the store that mean "no"
// become status 1.
func (a *accountFlags) withStore(ctx context.Context, open func(context.Context, string) (*sql.Store, error), f func(*sql.Store) error) error {
	state, err := stateDir(a.config, a.state)
	if err != nil {
		return err
	}
	store, err := open(ctx, state)
	if err != nil {
		return err
	}
	return answer(errors.Join(f(store), store.Close()))
}

func answer(err error) error {
	var bad sql.Invalid
	if errors.Is(err, account.ErrUnknown) || errors.Is(err, sql.ErrExists) || errors.As(err, &bad) {
		return failure{statusNo, err}
	}
	return err
}

// stateDir is the folder of the database: as the flags say, else as the
// configuration in the usual places says, else the default.
func stateDir(configFlag, stateFlag string) (string, error) {
	if stateFlag != "" {
		return stateFlag, nil
	}
	path := findConfig(configFlag)
	if path == "" {
		return string(config.Default().Server.State), nil
	}
	cfg, err := config.Load(path)
	if err != nil {
		return "", err
	}
	return string(cfg.Server.State), nil
}

// fieldNames gives the names of fields in the order of the alphabet, user first.
func fieldNames(f account.Fields) []string {
	names := slices.Sorted(maps.Keys(f))
	if i := slices.Index(names, "user"); i > 0 {
		names = slices.Insert(slices.Delete(names, i, i+1), 0, "user")
	}
	return names
}

// starred hides the secrets of an account. It leaves the scheme of the password
// to be seen.
func starred(f account.Fields) account.Fields {
	const stars = "********"
	f = maps.Clone(f)
	if f["pass"] != "" {
		f["pass"] = stars
	}
	if scheme, _, ok := strings.Cut(f["password"], "}"); ok {
		f["password"] = scheme + "}" + stars
	} else if f["password"] != "" {
		f["password"] = stars
	}
	return f
}
