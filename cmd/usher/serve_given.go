package main

import (
	"errors"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"usher/internal/config"
	"usher/internal/listen"
	"usher/internal/postfix"
	"usher/internal/server"
)

// starterFlags say which other program has started usher, and for whom.
type starterFlags struct {
	protocol         [server.Postfix + 1]string // by the way
	tls, user, admin string
	idle             time.Duration
	master           []string
}

// ways are the flags by which they are called.
var ways = map[server.Way]string{server.Inetd: "inetd", server.Stdio: "stdio", server.Postfix: "postfix"}

func (f *starterFlags) flags(c *cobra.Command) {
	c.Flags().StringVar(&f.protocol[server.Inetd], "inetd", "", "serve `PROTOCOL`, imap or pop3, as inetd (nowait or wait) or systemd (Accept=yes) has started it")
	c.Flags().StringVar(&f.protocol[server.Stdio], "stdio", "", "serve one client of `PROTOCOL` on standard input and output, as by ssh")
	c.Flags().StringVar(&f.protocol[server.Postfix], "postfix", "", "serve `PROTOCOL` as a service of Postfix; as usher-postfix, usher does so by itself")
	c.Flags().StringVar(&f.tls, "tls", "", "with these: `MODE` none, starttls or implicit; else as the protocol's first [[listen]] says that has not tls = \"implicit\"")
	c.Flags().StringVar(&f.user, "user", "", "with --stdio: the client is `NAME`, and need not log in; for root, usher's user, and the user whose uid the account has")
	c.Flags().DurationVar(&f.idle, "idle", time.Minute, "with --inetd, as wait: end when no client has been there for so long")
	c.Flags().StringVar(&f.admin, "admin", "", "with these: `socket` of the running usher; overrides the configuration")
	c.Flags().StringArrayVar(&f.master, "master", nil, "an option of Postfix's master")
	_ = c.Flags().MarkHidden("master")
	c.MarkFlagsMutuallyExclusive("inetd", "stdio", "postfix")
}

// given tells whether another program has started usher.
func (f *starterFlags) given(c *cobra.Command) bool { return f.way(c) != 0 }

func (f *starterFlags) way(c *cobra.Command) server.Way {
	for way, name := range ways {
		if c.Flags().Changed(name) {
			return way
		}
	}
	return 0
}

func (f *starterFlags) serve(c *cobra.Command, file string, debug bool) error {
	way := f.way(c)
	s := &server.Start{
		Way: way, Wanted: listen.Wanted{Protocol: f.protocol[way], TLS: f.tls}, User: f.user, Idle: f.idle, Admin: f.admin, Master: f.master,
		Debug: debug, Stderr: c.ErrOrStderr(),
		Peek: func() (*config.Config, error) {
			if name := findConfig(file); name != "" {
				return config.Load(name)
			}
			return nil, errors.New("there is no configuration")
		},
		Load: func() (*config.Config, error) { return loadConfig(file) },
	}
	return s.Serve(c.Context())
}

// arguments are those of the command line. Postfix's master puts options of its own before
// those that stand in master.cf, of usher-postfix or of usher.
func arguments(line []string) []string {
	own := line[1:]
	as := filepath.Base(line[0]) == "usher-postfix"
	if !as && !slices.Contains(own, "--postfix") {
		return own
	}
	_, rest, err := postfix.Parse(own)
	if err != nil { // it is told where the log goes
		rest = nil
	}
	var masters []string
	for _, word := range own[:len(own)-len(rest)] {
		masters = append(masters, "--master="+word)
	}
	if as {
		protocol := ""
		if len(rest) > 0 {
			protocol, rest = rest[0], rest[1:]
		}
		rest = append([]string{"serve", "--postfix=" + protocol}, rest...)
	}
	return append(rest, masters...)
}
