package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"usher/internal/config"
	"usher/internal/server"
)

func checkCommand() *cobra.Command {
	var file string
	var live bool
	c := &cobra.Command{
		Use:   "check",
		Short: "Verify the configuration and print it with all defaults",
		Long: `Verify the configuration and print it with all defaults filled in, secrets
starred. Mistakes are told all at once, each with its place and the remedy, and
the exit status is 1. Nothing is opened but the files that are named.

With --live each account source and each server that the configuration names is
asked whether it is there and does what is wanted of it: a line for each, instead of
the configuration. If one is not well, the exit status is 1.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(file)
			if err != nil {
				return err
			}
			for _, m := range append(cfg.Warnings, cfg.Ignored...) {
				fmt.Fprintln(cmd.ErrOrStderr(), "warning:", m.Error())
			}
			if live {
				return checkLive(cmd, cfg)
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), cfg.Effective())
			return err
		},
	}
	configFlag(c, &file)
	c.Flags().BoolVar(&live, "live", false, "ask the account sources and the servers too")
	return c
}

// checkLive writes a line for each thing that was looked at.
func checkLive(cmd *cobra.Command, cfg *config.Config) error {
	ill := 0
	err := server.Examine(cmd.Context(), cfg, func(what string, err error) {
		if err == nil {
			fmt.Fprintf(cmd.OutOrStdout(), "ok    %s\n", harmless(what))
			return
		}
		ill++
		fmt.Fprintf(cmd.OutOrStdout(), "FAIL  %s: %s\n", harmless(what), harmless(err.Error()))
	})
	if err == nil && ill > 0 {
		return no("not well: %d of what was asked", ill)
	}
	return err
}
