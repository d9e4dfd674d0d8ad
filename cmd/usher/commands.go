package main

import "github.com/spf13/cobra"

// commands are all subcommands, each in a file of its own; cobra adds
// "completion".
func commands() []*cobra.Command {
	return []*cobra.Command{
		serveCommand(), checkCommand(), explainCommand(), accountCommand(), userdbCommand(), poolCommand(), hashCommand(), tokenCommand(), demoCommand(), manCommand(), versionCommand(),
		whoCommand(), kickCommand(), statusCommand(), flushCommand(), penaltyCommand(), traceCommand(), reloadCommand(), upgradeCommand(), stopCommand(),
	}
}
