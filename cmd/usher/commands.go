package main

import "github.com/spf13/cobra"

// commands are all subcommands, each in a file of its own; cobra adds
// "completion".
func commands() []*cobra.Command {
	return []*cobra.Command{
		serveCommand(), checkCommand(), accountCommand(), hashCommand(), demoCommand(), manCommand(), versionCommand(),
		explainCommand(), whoCommand(), kickCommand(), penaltyCommand(), statusCommand(), reloadCommand(), upgradeCommand(), stopCommand(),
	}
}
