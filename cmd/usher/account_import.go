package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"usher/internal/account"
)

func accountImportCommand(flags *accountFlags) *cobra.Command {
	var format string
	var update bool
	c := &cobra.Command{
		Use:   "import FILE|-",
		Short: "Add accounts from a file: all of them, or none if one is wrong",
		Long: `Add the accounts of a file, or of standard input: all of them, or none if one
is wrong.

csv    the first line names the fields; an empty cell is no value
jsonl  one JSON object on each line`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			format, err := formatOf(format, args[0])
			if err != nil {
				return err
			}
			existing := account.Refuse
			if update {
				existing = account.Update
			}
			return flags.withNew(cmd.Context(), func(s account.Store) error {
				return importAccounts(cmd, s, args[0], format, existing)
			})
		},
	}
	c.Flags().StringVar(&format, "format", "", "csv or jsonl (default: by the name of the file, else csv)")
	c.Flags().BoolVar(&update, "update", false, "change accounts that exist: set the fields in the file, keep the others")
	return c
}

func importAccounts(cmd *cobra.Command, s account.Store, file, format string, existing account.Existing) error {
	in, size, err := openImport(cmd, file)
	if err != nil {
		return err
	}
	defer in.Close()
	bar := newProgress(cmd.ErrOrStderr(), in, size)
	n, err := s.Import(cmd.Context(), readRows(format, bar), existing, bar.show)
	bar.end()
	if err != nil {
		return fmt.Errorf("import %s: %w; nothing was changed", file, err)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "imported %d accounts\n", n)
	return nil
}

// openImport gives the size too, or 0 if it is not known.
func openImport(cmd *cobra.Command, file string) (io.ReadCloser, int64, error) {
	if file == "-" {
		return io.NopCloser(cmd.InOrStdin()), 0, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	return f, info.Size(), nil
}
