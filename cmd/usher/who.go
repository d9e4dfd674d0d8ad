package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"usher/internal/admin"
)

func whoCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "who [USER|GLOB]",
		Short: "Show who is logged in",
		Long: `Show who is logged in, those who came first at the top: all, or those whose name
matches GLOB (* ?). If nobody does, the exit status is 1.

With --from: who stands behind a connection that a server has from usher, by the
address and port that the server sees; also logins that are still on their way.`,
		Args: cobra.MaximumNArgs(1),
	}
	flags, chosen := newAdminFlags(c), newSelectorFlags(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		who, err := chosen.selector(cmd, args)
		if err != nil {
			return err
		}
		client, err := flags.dial()
		if err != nil {
			return err
		}
		list, err := client.Sessions(cmd.Context(), who)
		if err != nil {
			return told(err)
		}
		if err := showSessions(cmd.OutOrStdout(), list.Sessions, asJSON); err != nil {
			return err
		}
		if err := notAll(list.Missing); err != nil {
			return err
		}
		return nobody(cmd.ErrOrStderr(), list.Sessions, who)
	}
	c.Flags().StringVar(&chosen.from, "from", "", "only who comes from this `address:port` of usher to a server")
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	return c
}

// nobody says that the list is empty, apart from the list. It is the answer no
// only to a question about somebody.
func nobody(complaints io.Writer, list []admin.Session, who admin.Selector) error {
	switch {
	case len(list) > 0:
		return nil
	case who != (admin.Selector{}):
		return no("nobody like that is logged in")
	}
	fmt.Fprintln(complaints, "nobody is logged in")
	return nil
}

func showSessions(w io.Writer, list []admin.Session, asJSON bool) error {
	if asJSON {
		return printJSON(w, list)
	}
	if len(list) == 0 {
		return nil
	}
	t := newTable(w, "USER", "PROTOCOL", "REMOTE", "TLS", "TARGET", "SINCE", "ID")
	for _, x := range list {
		t.row(printable(x.User), x.Protocol, x.Remote, x.TLS, target(x), clock(x.Since), x.ID)
	}
	return t.end()
}

// target names the backend and the host of a session, as logs do.
func target(x admin.Session) string {
	if x.Backend == "" || strings.Contains(x.Target, "/") {
		return x.Target
	}
	return x.Backend + "/" + x.Target
}

// widest is how much of a name is shown: one of 512 characters would push the
// rest of every line out of sight. --json has all of it.
const widest = 64

// printable quotes a name that would do something to the terminal or the table.
// With a blank in it, it could look like several columns.
func printable(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) || r == ' ' }) {
		name = strconv.Quote(name)
	}
	if long := []rune(name); len(long) > widest {
		return string(long[:widest]) + "…"
	}
	return name
}

// clock is a time for people.
func clock(t time.Time) string { return t.Local().Format(time.DateTime) }

// A table has columns that are as wide as they must.
type table struct {
	*tabwriter.Writer
	err error
}

func newTable(w io.Writer, header ...any) *table {
	t := &table{Writer: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	t.row(header...)
	return t
}

func (t *table) row(cells ...any) {
	format := strings.TrimSuffix(strings.Repeat("%v\t", len(cells)), "\t") + "\n"
	_, err := fmt.Fprintf(t, format, cells...)
	t.err = errors.Join(t.err, err)
}

func (t *table) end() error { return errors.Join(t.err, t.Flush()) }
