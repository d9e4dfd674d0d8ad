// Command usher is an IMAP and POP3 proxy: it finds out who is logging in, looks
// up on which server that mailbox lives, logs in there, and then passes bytes.
//
// Each subcommand stands in a file of its own and is thin: what it does is done
// by a package under internal.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"usher/internal/spawn"
	"usher/internal/steward"
)

// Exit statuses, as doc/config.md lists them.
const (
	statusNo         = 1 // the answer is no: a check failed, there is no such user
	statusUsage      = 2 // the command was called wrongly
	statusCannotTell = 3 // a source, a file or the daemon could not be reached
)

// A failure is an error with an exit status. Any other error that a command
// returns ends usher with statusCannotTell.
type failure struct {
	status int
	error
}

func (f failure) Unwrap() error { return f.error }

// no says that the question was answered, and the answer is no.
func no(format string, args ...any) error {
	return failure{statusNo, fmt.Errorf(format, args...)}
}

// usage says that the command was called wrongly.
func usage(format string, args ...any) error {
	return failure{statusUsage, fmt.Errorf(format, args...)}
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "helper" { // no command: serve starts it, to start local programs
		os.Exit(spawn.Main(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == "relay" { // no command: serve starts it, to hold sessions
		os.Exit(steward.Main(os.Args[2:], buildID()))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second signal ends us at once
	os.Exit(run(ctx, arguments(os.Args)))
}

// run executes one command line and returns the exit status.
func run(ctx context.Context, args []string) int {
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(root.ErrOrStderr(), "usher:", err)
	var f failure
	if errors.As(err, &f) {
		return f.status
	}
	return statusCannotTell
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "usher",
		Short:         "An IMAP and POP3 proxy: one host name in front of many mail servers",
		Version:       version + " (build " + buildID() + ")",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage("%w; see: %s --help", err, cmd.CommandPath())
	})
	root.AddCommand(commands()...)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	wrapArgs(root)
	return root
}

// wrapArgs makes a wrong number of arguments a usage error.
func wrapArgs(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usage("%w; see: %s --help", err, cmd.CommandPath())
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		wrapArgs(sub)
	}
}
