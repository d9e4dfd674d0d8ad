package main

import (
	"github.com/spf13/cobra"
)

func reloadCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "reload",
		Short: "Let the running usher read its configuration again",
		Long: `Let the running usher read its configuration again. Nobody is disconnected. If
the configuration has mistakes they are told, the exit status is 1, and usher
goes on with the one that it has.`,
		Args: cobra.NoArgs,
	}
	flags := newAdminFlags(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		client, err := flags.dial()
		if err != nil {
			return err
		}
		return told(client.Reload(cmd.Context()))
	}
	return c
}
