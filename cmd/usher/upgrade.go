package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func upgradeCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "upgrade",
		Short: "Let the program on disk replace the running usher",
		Long: `Let the program on disk replace the running usher, without a refused login or a
lost session. Prints the number of the new process. The old one goes on with the
sessions that cannot move, those with TLS, until they end. If the new one does
not come up, the exit status is 1, and the old one goes on as before.`,
		Args: cobra.NoArgs,
	}
	flags := newAdminFlags(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		client, err := flags.dial()
		if err != nil {
			return err
		}
		pid, err := client.Upgrade(cmd.Context())
		if err != nil {
			return told(err)
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), pid)
		return err
	}
	return c
}
