package main

import (
	"cmp"
	"fmt"
	"io"
	"net/netip"

	"github.com/spf13/cobra"

	"usher/internal/admin"
)

func penaltyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "penalty",
		Short: "Look at who has guessed passwords, and forgive",
		Long: `Look at the networks from which passwords were guessed and at the names that were
guessed about, and forgive them. What is held against them is forgotten by itself,
one guess every ten minutes.`,
	}
	c.AddCommand(penaltyListCommand(), penaltyForgiveCommand())
	return c
}

func penaltyListCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "list",
		Short: "Show what is held against networks and names",
		Long: `Show what is held against networks and names, the most guesses at the top. FRIENDS
are users who have logged in from the network; WAITING are tries from there that
wait; strangers may not try before UNTIL.`,
		Args: cobra.NoArgs,
	}
	flags := newAdminFlags(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		client, err := flags.dial()
		if err != nil {
			return err
		}
		answer, err := client.Penalties(cmd.Context())
		if err != nil {
			return told(err)
		}
		if err := showPenalties(cmd.OutOrStdout(), answer.Penalties, asJSON); err != nil {
			return err
		}
		if len(answer.Penalties) == 0 {
			fmt.Fprintln(cmd.ErrOrStderr(), "nothing is held against anybody")
		}
		return notAll(answer.Missing)
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	return c
}

func showPenalties(w io.Writer, list []admin.Penalty, asJSON bool) error {
	if asJSON {
		return printJSON(w, list)
	}
	if len(list) == 0 {
		return nil
	}
	t := newTable(w, "NETWORK OR NAME", "GUESSES", "FRIENDS", "WAITING", "UNTIL", "PID")
	for _, p := range list {
		t.row(cmp.Or(p.Network, printable(p.User)), p.Guesses, p.Friends, p.Waiting, clock(p.Until), p.PID)
	}
	return t.end()
}

func penaltyForgiveCommand() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:   "forgive NETWORK|USER",
		Short: "Forget the guesses of a network, or about a name",
		Long: `Forget the guesses of a network with all that are in it (192.0.2.0/24, or one address),
or about a name; with --all, all of them. If there are none, the exit status is 1.`,
		Args: cobra.MaximumNArgs(1),
	}
	flags := newAdminFlags(c)
	c.Flags().BoolVar(&all, "all", false, "forgive everybody")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if all == (len(args) == 1) || len(args) == 1 && args[0] == "" {
			return usage("whom? name one network or user, or --all; see: %s --help", cmd.CommandPath())
		}
		client, err := flags.dial()
		if err != nil {
			return err
		}
		answer, err := client.Forgive(cmd.Context(), pardon(args))
		if err != nil {
			return told(err)
		}
		if answer.Forgiven > 0 {
			fmt.Fprintf(cmd.OutOrStdout(), "forgiven: %d\n", answer.Forgiven)
		}
		if err := notAll(answer.Missing); err != nil {
			return err
		}
		if answer.Forgiven == 0 {
			return no("nothing is held against anybody like that")
		}
		return nil
	}
	return c
}

// pardon takes what reads like a network for one: no mailbox is called so.
func pardon(args []string) admin.Pardon {
	if len(args) == 0 {
		return admin.Pardon{All: true}
	}
	_, bad := netip.ParsePrefix(args[0])
	_, none := netip.ParseAddr(args[0])
	if bad == nil || none == nil {
		return admin.Pardon{Network: args[0]}
	}
	return admin.Pardon{User: args[0]}
}
