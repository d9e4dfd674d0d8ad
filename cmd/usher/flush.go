package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func flushCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "flush [USER]",
		Short: "Forget what is remembered of a user, or of everybody",
		Long: `Let the running usher forget what account sources have said of USER, by whatever
name of that account it was asked, in any case of letters; without USER, of
everybody. The next login asks the source. Nothing is kept, neither in memory nor
on disk: while the source is down, nobody gets in who was flushed. Sessions that
are open stay; see usher kick.`,
		Args: cobra.MaximumNArgs(1),
	}
	flags := newAdminFlags(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		user := ""
		if len(args) == 1 {
			if user = args[0]; user == "" {
				return usage("a user cannot be empty; without one everybody is flushed; see: %s --help", cmd.CommandPath())
			}
		}
		client, err := flags.dial()
		if err != nil {
			return err
		}
		answer, err := client.Flush(cmd.Context(), user)
		if err != nil {
			return told(err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "flushed %s\n", entries(answer.Flushed))
		return notAll(answer.Missing)
	}
	return c
}

func entries(n int) string {
	if n == 1 {
		return "1 entry"
	}
	return fmt.Sprintf("%d entries", n)
}
