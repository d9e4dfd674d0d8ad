package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func checkCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "check",
		Short: "Verify the configuration and print it with all defaults",
		Long: `Verify the configuration and print it with all defaults filled in, secrets
starred. Mistakes are told all at once, each with its place and the remedy, and
the exit status is 1. Nothing is opened but the files that are named.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(file)
			if err != nil {
				return err
			}
			for _, m := range append(cfg.Warnings, cfg.Ignored...) {
				fmt.Fprintln(cmd.ErrOrStderr(), "warning:", m.Error())
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), cfg.Effective())
			return err
		},
	}
	configFlag(c, &file)
	return c
}
