package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"usher/internal/admin"
)

func stopCommand() *cobra.Command {
	var drain time.Duration
	var noWait bool
	c := &cobra.Command{
		Use:   "stop",
		Short: "Stop the running usher once its sessions have ended",
		Long: `Stop the running usher with all its processes: no more clients are let in, open
sessions may go on for a while, and those that are left are told goodbye. Waits
until all is over, and shows how many sessions are left.`,
		Args: cobra.NoArgs,
	}
	flags := newAdminFlags(c)
	c.Flags().DurationVar(&drain, "drain", 0, "how long sessions may go on; 0s ends them at once (default: grace in the configuration)")
	c.Flags().BoolVar(&noWait, "no-wait", false, "return at once")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case !cmd.Flags().Changed("drain"):
			drain = -1
		case drain < 0:
			return usage("--drain cannot be negative")
		}
		client, err := flags.dial()
		if err != nil {
			return err
		}
		answer, err := client.Stop(cmd.Context(), drain)
		if err != nil {
			return told(err)
		}
		if !noWait {
			err = await(cmd.Context(), client, answer.PIDs, cmd.ErrOrStderr())
		}
		return errors.Join(err, notAll(answer.Missing))
	}
	return c
}

// await waits for the end of the processes and shows what they wait for.
func await(ctx context.Context, client *admin.Client, pids []int, w io.Writer) error {
	c := countdown{w: w, terminal: isTerminal(w), last: -1}
	err := client.Wait(ctx, pids, c.show)
	c.end()
	if err != nil {
		return fmt.Errorf("stopped waiting, but usher goes on stopping (%w); see: usher status", err)
	}
	return nil
}

// A countdown shows how many sessions are left: on one line of a terminal, or as
// a line now and then elsewhere.
type countdown struct {
	w        io.Writer
	terminal bool
	last     int // what was shown
	next     time.Time
}

func (c *countdown) show(sessions int) {
	if sessions == c.last || time.Now().Before(c.next) {
		return
	}
	c.last = sessions
	text := "stopping: " + count(sessions, "session") + " left"
	if c.terminal {
		fmt.Fprint(c.w, "\r\x1b[K"+text) // ECMA-48 EL: erase to the end of the line
		return
	}
	c.next = time.Now().Add(5 * time.Second)
	fmt.Fprintln(c.w, text)
}

// end removes the line: what follows says how it went.
func (c *countdown) end() {
	if c.terminal && c.last >= 0 {
		fmt.Fprint(c.w, "\r\x1b[K")
	}
}
