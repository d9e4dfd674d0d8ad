package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"usher/internal/admin"
)

func kickCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "kick [USER|GLOB]",
		Short: "End sessions: of a user, of a backend, or one",
		Long: `End sessions: those of USER or of all whose name matches GLOB (* ?), those on a
backend, or one. All conditions must hold. IMAP clients hear BYE. If there are
none, the exit status is 1. To end all, kick '*'.`,
		Args: cobra.MaximumNArgs(1),
	}
	flags, chosen := newAdminFlags(c), newSelectorFlags(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		who, err := chosen.selector(cmd, args)
		if err != nil {
			return err
		}
		if who == (admin.Selector{}) {
			return usage("whom? name a user, --session or --backend; '*' is everybody; see: %s --help", cmd.CommandPath())
		}
		client, err := flags.dial()
		if err != nil {
			return err
		}
		answer, err := client.Kick(cmd.Context(), who)
		if err != nil {
			return told(err)
		}
		if answer.Kicked > 0 {
			fmt.Fprintf(cmd.OutOrStdout(), "kicked %s\n", count(answer.Kicked, "session"))
		}
		if err := notAll(answer.Missing); err != nil {
			return err
		}
		if answer.Kicked == 0 {
			return no("nobody like that is logged in")
		}
		return nil
	}
	return c
}
