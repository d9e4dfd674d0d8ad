package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// version is set by the linker: make build.
var version = "0.1.0-dev"

// buildID names what this program was made of. All nodes of a pool should have the same.
func buildID() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return version
	}
	said := map[string]string{}
	for _, s := range info.Settings {
		said[s.Key] = s.Value
	}
	id := version
	if r := said["vcs.revision"]; r != "" {
		id += "+" + r[:min(len(r), 12)]
	}
	if said["vcs.modified"] == "true" {
		id += "-modified"
	}
	return id
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "usher %s (%s %s/%s)\nbuild %s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH, buildID())
			return err
		},
	}
}

func manCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "Write the manual pages of all commands into a folder",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			root.DisableAutoGenTag = true
			err := doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "usher " + version, Manual: "usher"}, args[0])
			if err != nil {
				return fmt.Errorf("cannot write the manual pages: %w; does the folder exist?", err)
			}
			return nil
		},
	}
}
