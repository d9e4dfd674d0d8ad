package main

import (
	"fmt"
	"io"

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
are connections that are not logged in yet. If no usher is running, the exit
status is 3.`,
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
	return t.end()
}
