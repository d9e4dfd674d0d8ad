package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"usher/internal/account"
	"usher/internal/password"
)

func accountAddCommand(flags *accountFlags) *cobra.Command {
	var fromStdin bool
	c := &cobra.Command{
		Use:   "add USER [FIELD=VALUE…]",
		Short: "Add an account",
		Example: `  usher account add ann@example.org host=imap1.example.org --password-stdin
  usher account add bob@example.org nopassword=Y host=imap2.example.org`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if name, _, is := strings.Cut(args[0], "="); is && slices.Contains(account.Known, account.FieldName(name)) {
				return usage("the first argument is the user's name, not a field; see: %s --help", cmd.CommandPath())
			}
			f, err := fieldsOf(cmd, args[1:], fromStdin)
			if err != nil {
				return err
			}
			f["user"] = args[0]
			return flags.withNew(cmd.Context(), func(s account.Store) error {
				err := s.Add(cmd.Context(), f)
				if errors.Is(err, account.ErrExists) {
					return fmt.Errorf("%w; change it with: usher account set", err)
				}
				if err == nil {
					hint(cmd, f)
				}
				return report(cmd, "added", args[:1], err)
			})
		},
	}
	passwordFlag(c, &fromStdin)
	return c
}

func accountSetCommand(flags *accountFlags) *cobra.Command {
	var fromStdin bool
	c := &cobra.Command{
		Use:     "set USER FIELD=VALUE…",
		Short:   "Change fields of an account; FIELD= removes one",
		Example: `  usher account set ann@example.org host=imap2.example.org port=`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && !fromStdin {
				return usage("nothing to set; give FIELD=VALUE or --password-stdin")
			}
			f, err := fieldsOf(cmd, args[1:], fromStdin)
			if err != nil {
				return err
			}
			return flags.with(cmd.Context(), func(s account.Store) error {
				hintFields(cmd, f)
				return report(cmd, "changed", args[:1], s.Set(cmd.Context(), args[0], f))
			})
		},
	}
	passwordFlag(c, &fromStdin)
	return c
}

func accountRemoveCommand(flags *accountFlags) *cobra.Command {
	return &cobra.Command{
		Use:        "remove USER…",
		SuggestFor: []string{"rm", "delete", "del"},
		Short:      "Remove accounts: all that are named, or none if one is unknown",
		Args:       cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return flags.with(cmd.Context(), func(s account.Store) error {
				return report(cmd, "removed", args, s.Remove(cmd.Context(), args...))
			})
		},
	}
}

// hint says what a new account lacks, which may well be meant.
func hint(cmd *cobra.Command, f account.Fields) {
	if f["password"] == "" && f["nopassword"] == "" {
		cmd.PrintErrln("note: without a password, the account's server checks it")
	}
	if f["host"] == "" {
		cmd.PrintErrln("note: without a host, a [[route]] or [backend.default] must serve the account")
	}
	hintFields(cmd, f)
}

// hintFields names fields without a meaning: one of them may be a slip.
func hintFields(cmd *cobra.Command, f account.Fields) {
	for _, name := range fieldNames(f) {
		if !slices.Contains(account.Known, name) {
			cmd.PrintErrf("note: %q is no field that usher acts on; it is kept as an attribute, for routes\n", name)
		}
	}
}

func passwordFlag(c *cobra.Command, fromStdin *bool) {
	c.Flags().BoolVar(fromStdin, "password-stdin", false, "read a clear password from standard input and store its "+password.Default+" hash")
}

// report says what has been done, if it has.
func report(cmd *cobra.Command, done string, users []string, err error) error {
	for _, user := range users {
		if err == nil {
			fmt.Fprintln(cmd.OutOrStdout(), done, user)
		}
	}
	return err
}

// fieldsOf reads the arguments FIELD=VALUE, and the password if it is asked for.
func fieldsOf(cmd *cobra.Command, args []string, fromStdin bool) (account.Fields, error) {
	f := account.Fields{}
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		if !ok {
			return nil, usage("an argument is not of the form FIELD=VALUE; see: %s --help", cmd.CommandPath())
		}
		name = account.FieldName(name)
		if _, twice := f[name]; twice {
			return nil, usage("field %q is given twice", name)
		}
		f[name] = value
	}
	if !fromStdin {
		return f, nil
	}
	if _, twice := f["password"]; twice {
		return nil, usage("give either password=… or --password-stdin")
	}
	clear, err := readPassword(cmd)
	if err != nil {
		return nil, err
	}
	f["password"], err = makeHash(password.Default, clear)
	return f, err
}
