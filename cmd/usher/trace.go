package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"usher/internal/admin"
)

// traceFlags are what a trace may be told besides whose it is.
type traceFlags struct {
	length                 time.Duration
	protocol, end          string
	noFollow, list, asJSON bool
}

func traceCommand() *cobra.Command {
	var f traceFlags
	c := &cobra.Command{
		Use:   "trace USER|GLOB|ADDRESS|NETWORK",
		Short: "Write down what a user or an address says before login, without passwords",
		Long: `Write down what clients and usher, and usher and the servers, say to each other before
login: the conversations of one user, of those whose name matches GLOB (* ?), or of
an address or network. Each is a file in a folder of usher's state folder, which only
root and the user that usher runs as may read. Passwords, tokens and whatever else
proves who somebody is are never written. After login usher only passes bytes, which
are not traced.

The lines are also shown as they come, until the time is over; ^C ends the trace.`,
		Args: cobra.MaximumNArgs(1),
	}
	flags := newAdminFlags(c)
	c.Flags().DurationVar(&f.length, "for", 10*time.Minute, "the trace ends by itself after this `time`, a day at most")
	c.Flags().StringVar(&f.protocol, "protocol", "", "only this protocol: imap or pop3")
	c.Flags().BoolVar(&f.noFollow, "no-follow", false, "begin the trace, say where it is written, and leave")
	c.Flags().BoolVar(&f.list, "list", false, "show which traces are on")
	c.Flags().BoolVar(&f.asJSON, "json", false, "with --list or --no-follow: print JSON")
	c.Flags().StringVar(&f.end, "end", "", "end the trace with this `ID`, or all")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if err := f.check(cmd, args); err != nil {
			return err
		}
		client, err := flags.dial()
		if err != nil {
			return err
		}
		switch {
		case f.list:
			return listTraces(cmd, client, f.asJSON)
		case f.end != "":
			return endTraces(cmd, client, f.end)
		}
		return beginTrace(cmd, client, args[0], f)
	}
	return c
}

func (f traceFlags) check(cmd *cobra.Command, args []string) error {
	ends := cmd.Flags().Changed("end")
	switch {
	case len(args) == 1 && args[0] == "" || ends && f.end == "":
		return usage("a user, address or ID cannot be empty; see: %s --help", cmd.CommandPath())
	case len(args) == 1 && (f.list || ends) || f.list && ends:
		return usage("begin, list or end: one at a time; see: %s --help", cmd.CommandPath())
	case len(args) == 0 && !f.list && !ends:
		return usage("whose? name a user or an address, --list or --end; see: %s --help", cmd.CommandPath())
	case f.length <= 0:
		return usage("--for must be more than nothing")
	}
	return nil
}

// beginTrace takes what reads like a network for one, as usher penalty does.
func beginTrace(cmd *cobra.Command, client *admin.Client, whose string, f traceFlags) error {
	p := pardon([]string{whose})
	t, err := client.Trace(cmd.Context(), admin.Watch{User: p.User, Network: p.Network, Protocol: f.protocol, For: f.length.String()})
	if err != nil {
		return told(err)
	}
	if f.noFollow && f.asJSON {
		return printJSON(cmd.OutOrStdout(), t)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "trace %s is on until %s; its files are in %s\n", t.ID, clock(t.Until), t.Folder)
	if f.noFollow {
		return nil
	}
	return followTrace(cmd, client, t)
}

func listTraces(cmd *cobra.Command, client *admin.Client, asJSON bool) error {
	answer, err := client.Traces(cmd.Context())
	if err != nil {
		return told(err)
	}
	if err := showTraces(cmd.OutOrStdout(), answer.Traces, asJSON); err != nil {
		return err
	}
	if len(answer.Traces) == 0 {
		fmt.Fprintln(cmd.ErrOrStderr(), "no trace is on")
	}
	return notAll(answer.Missing)
}

func showTraces(w io.Writer, list []admin.Trace, asJSON bool) error {
	if asJSON {
		return printJSON(w, list)
	}
	if len(list) == 0 {
		return nil
	}
	t := newTable(w, "ID", "OF", "PROTOCOL", "UNTIL", "CONVERSATIONS", "FOLDER")
	for _, x := range list {
		t.row(x.ID, cmp.Or(x.Network, printable(x.User)), cmp.Or(x.Protocol, "all"), clock(x.Until), x.Conversations, x.Folder)
	}
	return t.end()
}

func endTraces(cmd *cobra.Command, client *admin.Client, which string) error {
	u := admin.Untrace{ID: which}
	if which == "all" {
		u = admin.Untrace{All: true}
	}
	answer, err := client.Untrace(cmd.Context(), u)
	if err != nil {
		return told(err)
	}
	if answer.Ended > 0 {
		fmt.Fprintf(cmd.OutOrStdout(), "ended: %d\n", answer.Ended)
	}
	if err := notAll(answer.Missing); err != nil {
		return err
	}
	if answer.Ended == 0 {
		return no("no trace like that is on")
	}
	return nil
}

// stillOn tells whether a trace goes on. Who cannot be asked has ended it.
func stillOn(ctx context.Context, client *admin.Client, id string) bool {
	answer, err := client.Traces(ctx)
	for _, t := range answer.Traces {
		if t.ID == id {
			return true
		}
	}
	return err != nil && ctx.Err() != nil // asked when ^C came
}
