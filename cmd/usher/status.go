package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"usher/internal/admin"
)

func statusCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show the processes of the running usher",
		Long: `Show the processes of the running usher: the one that is serving, and after an
upgrade those that were replaced and keep sessions that could not move. CLIENTS
are connections that are not logged in yet.

With relay_process there is one more, which is relaying: it has sessions of these
processes, which are counted there, too. One that is replaced has some that were not
at rest at the upgrade; a slow one does not listen, and new sessions stay where they
were let in until it does.

Below, the sources of accounts, and what is remembered of their answers: ENTRIES
are accounts, UNKNOWN names that a source does not know; HITS are questions that
were answered from memory, MISSES those that were not; for STALE of these the
source had no answer, so that an older one was used; OLDEST is the age of the
oldest entry. Sources that answer at once, such as files, are not remembered.
SERVERS are those that a source asks; the ones that do not answer follow.

If no usher is running, the exit status is 3.`,
		Args: cobra.NoArgs,
	}
	flags := newAdminFlags(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		client, err := flags.dial()
		if err != nil {
			return err
		}
		status, err := client.Status(cmd.Context())
		if err != nil {
			return told(err)
		}
		if err := showProcesses(cmd.OutOrStdout(), status.Processes, asJSON); err != nil {
			return err
		}
		return notAll(status.Missing)
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	return c
}

func showProcesses(w io.Writer, list []admin.Process, asJSON bool) error {
	if asJSON {
		return printJSON(w, list)
	}
	t := newTable(w, "PID", "STATE", "SINCE", "SESSIONS", "CLIENTS", "DESCRIPTORS", "VERSION")
	for _, p := range list {
		files := fmt.Sprintf("%d of %d", p.Descriptors, p.DescriptorLimit)
		t.row(p.PID, p.State, clock(p.Since), p.Sessions, p.Conversations, files, p.Version)
	}
	for _, r := range relays(list) {
		t.row(r.PID, r.State, "-", r.Sessions, "-", "-", r.Version)
	}
	err := t.end()
	for _, p := range list {
		if p.Alone {
			fmt.Fprintf(w, "\nthere is no relay process: new sessions end with process %d; the log says why\n", p.PID)
		}
	}
	return errors.Join(err, showSources(w, list))
}

// relays are the relay processes, each once, with the sessions that all processes have
// there.
func relays(list []admin.Process) (all []admin.Relay) {
	for _, p := range list {
		for _, r := range p.Relay {
			i := slices.IndexFunc(all, func(seen admin.Relay) bool { return seen.PID == r.PID })
			if i < 0 {
				all = append(all, r)
				continue
			}
			all[i].Sessions += r.Sessions
		}
	}
	return all
}

// showSources shows what the processes remember, and which servers fail.
func showSources(w io.Writer, list []admin.Process) error {
	if !slices.ContainsFunc(list, func(p admin.Process) bool { return len(p.Sources) > 0 }) {
		return nil
	}
	fmt.Fprintln(w)
	t := newTable(w, "PID", "SOURCE", "ENTRIES", "UNKNOWN", "HITS", "MISSES", "HIT RATIO", "STALE", "OLDEST", "SERVERS")
	var ill []string
	for _, p := range list {
		for _, s := range p.Sources {
			t.row(p.PID, printable(s.Name), s.Entries, s.Unknown, s.Hits, s.Misses, ratio(s), s.Stale, time.Duration(s.Oldest)*time.Second, wellServers(s))
			ill = append(ill, illServers(s)...)
		}
	}
	err := t.end()
	if len(ill) > 0 {
		fmt.Fprintln(w)
	}
	for _, line := range ill {
		fmt.Fprintln(w, line)
	}
	return err
}

func ratio(s admin.Source) string {
	all := s.Hits + s.Misses
	if all == 0 {
		return "-"
	}
	return fmt.Sprintf("%d%%", s.Hits*100/all)
}

func wellServers(s admin.Source) string {
	well := 0
	for _, one := range s.Servers {
		if one.Well {
			well++
		}
	}
	switch len(s.Servers) {
	case 0:
		return "-"
	case well:
		return "well"
	}
	return fmt.Sprintf("%d of %d well", well, len(s.Servers))
}

func illServers(s admin.Source) (lines []string) {
	for _, one := range s.Servers {
		if !one.Well {
			lines = append(lines, fmt.Sprintf("%s: %s is down since %s: %s", printable(s.Name), printable(one.Server), clock(one.Since), harmless(one.Error)))
		}
	}
	return lines
}

// harmless is an error in one line that does nothing to a terminal.
func harmless(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
}
