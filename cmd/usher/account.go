package main

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"usher/internal/account"
	"usher/internal/account/embedded"
)

// accountFlags say which accounts the account commands work on.
type accountFlags struct{ config, state, source string }

func accountCommand() *cobra.Command {
	flags := new(accountFlags)
	c := &cobra.Command{
		Use:   "account",
		Short: "Look at and change the accounts in a database",
		Long: `Look at and change the accounts in the embedded database, accounts.db in the
state folder. A running usher uses a change from the next login on.

If the configuration has a source of type "sql" with a database of its own, it is
that one: list and export need its key list, changes its table write. Of several
sources --source chooses.

Fields are those of doc/config.md, "Account fields": password, host, port, …`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.PersistentFlags().StringVarP(&flags.config, "config", "c", "", "configuration `file` that names the state folder and the sources")
	c.PersistentFlags().StringVar(&flags.state, "state", "", "state `folder` of the embedded database; overrides the configuration")
	c.PersistentFlags().StringVar(&flags.source, "source", "", "`name` of the source, if the configuration has several")
	c.AddCommand(
		accountListCommand(flags), accountShowCommand(flags),
		accountAddCommand(flags), accountSetCommand(flags), accountRemoveCommand(flags),
		accountImportCommand(flags), accountExportCommand(flags),
	)
	return c
}

// with opens the store for one command that needs it to be there.
func (a *accountFlags) with(ctx context.Context, f func(account.Store) error) error {
	return a.withStore(ctx, embedded.OpenExisting, f)
}

// withNew is with for commands that add accounts: they make the embedded database if
// need be.
func (a *accountFlags) withNew(ctx context.Context, f func(account.Store) error) error {
	return a.withStore(ctx, embedded.Open, f)
}

// withStore gives a command the store. Answers of the store that mean "no" become
// status 1.
func (a *accountFlags) withStore(ctx context.Context, embedded account.Open, f func(account.Store) error) error {
	store, err := a.store(ctx, embedded)
	if err != nil {
		return err
	}
	return answer(errors.Join(f(store), store.Close()))
}

func answer(err error) error {
	var bad account.Invalid
	if errors.Is(err, account.ErrUnknown) || errors.Is(err, account.ErrExists) || errors.Is(err, account.ErrChanged) || errors.As(err, &bad) {
		return failure{statusNo, err}
	}
	return err
}

// fieldNames gives the names of fields in the order of the alphabet, user first.
func fieldNames(f account.Fields) []string {
	names := slices.Sorted(maps.Keys(f))
	if i := slices.Index(names, "user"); i > 0 {
		names = slices.Insert(slices.Delete(names, i, i+1), 0, "user")
	}
	return names
}
