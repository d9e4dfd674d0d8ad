package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"usher/internal/account"
)

func accountListCommand(flags *accountFlags) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "list [GLOB]",
		Short: "List accounts, or those whose name matches GLOB (* ? […])",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			glob := ""
			if len(args) == 1 {
				glob = args[0]
			}
			return flags.with(cmd.Context(), func(s account.Store) error {
				return listAccounts(cmd.Context(), s, glob, asJSON, cmd.OutOrStdout())
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON array; secrets are starred")
	return c
}

// listAccounts prints as it reads, so that a million accounts need no memory.
func listAccounts(ctx context.Context, s account.Store, glob string, asJSON bool, out io.Writer) error {
	w := bufio.NewWriter(out)
	item, end := listLine, ""
	if asJSON {
		item, end = jsonItems(), "\n]\n"
		fmt.Fprint(w, "[")
	}
	for f, err := range s.List(ctx, glob) {
		if err != nil {
			return err
		}
		if err := item(w, f); err != nil {
			return err
		}
	}
	fmt.Fprint(w, end)
	return w.Flush()
}

func listLine(w io.Writer, f account.Fields) error {
	where := f["host"]
	if a, err := f.Account(f["user"]); err != nil {
		where += "  (cannot be used: see usher account show)"
	} else if a.Denied != nil {
		where += "  (no login)"
	}
	_, err := fmt.Fprintf(w, "%-40s %s\n", f["user"], where)
	return err
}

// jsonItems prints the items of one array.
func jsonItems() func(io.Writer, account.Fields) error {
	comma := "\n  "
	return func(w io.Writer, f account.Fields) error {
		fmt.Fprint(w, comma)
		comma = ",\n  "
		text, err := json.Marshal(f.Starred())
		if err != nil {
			return err
		}
		_, err = w.Write(text)
		return err
	}
}

func accountShowCommand(flags *accountFlags) *cobra.Command {
	var asJSON, secrets bool
	c := &cobra.Command{
		Use:   "show USER",
		Short: "Show all fields of an account",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return flags.with(cmd.Context(), func(s account.Store) error {
				f, err := s.Get(cmd.Context(), args[0])
				if err != nil {
					return fmt.Errorf("user %q: %w", args[0], err)
				}
				if !secrets {
					f = f.Starred()
				}
				return showAccount(cmd.OutOrStdout(), f, asJSON)
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	c.Flags().BoolVar(&secrets, "secrets", false, "show the fields password and pass as they are")
	return c
}

func showAccount(w io.Writer, f account.Fields, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(f)
	}
	for _, name := range fieldNames(f) {
		if _, err := fmt.Fprintf(w, "%-14s %s\n", name, f[name]); err != nil {
			return err
		}
	}
	return nil
}
