package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"usher/internal/account"
)

func accountExportCommand(flags *accountFlags) *cobra.Command {
	var format, output string
	c := &cobra.Command{
		Use:   "export",
		Short: "Write all accounts, with their secrets, as a file that import reads",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			format, err := formatOf(format, output)
			if err != nil {
				return err
			}
			return flags.with(cmd.Context(), func(s account.Store) error {
				write := func(w io.Writer) error { return exportAccounts(cmd.Context(), s, format, w) }
				if output == "" || output == "-" {
					return write(cmd.OutOrStdout())
				}
				return replaceFile(output, write)
			})
		},
	}
	c.Flags().StringVar(&format, "format", "", "csv or jsonl (default: by the name of the output, else csv)")
	c.Flags().StringVar(&output, "output", "", "write to this `file`; it is replaced once all is written")
	return c
}

func exportAccounts(ctx context.Context, s account.Store, format string, out io.Writer) error {
	w := bufio.NewWriter(out)
	err := s.Export(ctx, func(fields []string, rows iter.Seq2[account.Fields, error]) error {
		if format == "jsonl" {
			return writeJSONL(w, rows)
		}
		return writeCSV(w, fields, rows)
	})
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		return fmt.Errorf("export the accounts: %w", err)
	}
	return nil
}

func writeCSV(out io.Writer, fields []string, rows iter.Seq2[account.Fields, error]) error {
	w := csv.NewWriter(out)
	if err := w.Write(fields); err != nil {
		return err
	}
	for f, err := range rows {
		if err != nil {
			return err
		}
		cells := make([]string, len(fields))
		for i, name := range fields {
			cells[i] = f[name]
		}
		if err := w.Write(cells); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}

func writeJSONL(out io.Writer, rows iter.Seq2[account.Fields, error]) error {
	w := json.NewEncoder(out)
	w.SetEscapeHTML(false)
	for f, err := range rows {
		if err != nil {
			return err
		}
		if err := w.Encode(f); err != nil {
			return err
		}
	}
	return nil
}

// replaceFile writes beside the file and renames: whatever happens, there is
// the old file or the whole new one. Nobody else may read it.
func replaceFile(name string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
