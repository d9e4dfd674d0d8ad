package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"usher/internal/admin"
	"usher/internal/server"
)

func explainCommand() *cobra.Command {
	var r admin.Riddle
	var asJSON, fromStdin bool
	c := &cobra.Command{
		Use:   "explain USER",
		Short: "Show every step of the decision about a login, without logging in",
		Long: `Show every step of the decision about a login, without logging in: what each
account source was asked and what it said, what became of that, where the login
goes, and how the servers there are. A running usher explains, with what it
remembers; where none runs, the sources of the configuration are asked directly.

Exit status: 0 the login has somewhere to go, 1 unknown or refused, 3 cannot tell.`,
		Args: cobra.ExactArgs(1),
	}
	flags := newAdminFlags(c)
	c.RunE = func(cmd *cobra.Command, args []string) (err error) {
		r.User = args[0]
		if fromStdin {
			if r.Password, err = readPassword(cmd); err != nil {
				return err
			}
		}
		e, err := explain(cmd, flags, r)
		if err != nil {
			return err
		}
		if asJSON {
			err = printJSON(cmd.OutOrStdout(), e)
		} else {
			err = showExplanation(cmd.OutOrStdout(), e)
		}
		return errors.Join(err, verdict(e))
	}
	c.Flags().StringVar(&r.Protocol, "protocol", "imap", "the client speaks this: imap or pop3")
	c.Flags().StringVar(&r.Remote, "remote", "", "the client has this `address` (default: this machine)")
	c.Flags().BoolVar(&fromStdin, "password-stdin", false, "read the client's password from standard input, and check it too")
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return c
}

// explain asks the running usher, or else the sources.
func explain(cmd *cobra.Command, flags *adminFlags, r admin.Riddle) (admin.Explanation, error) {
	client, err := flags.dial()
	if err == nil {
		e, err := client.Explain(cmd.Context(), r)
		var none *admin.NotReachable
		if !errors.As(err, &none) || !none.Absent() || flags.socket != "" {
			return e, told(err)
		}
	}
	cfg, err := loadConfig(flags.config)
	if err != nil {
		return admin.Explanation{}, err
	}
	return server.Explain(cmd.Context(), cfg, r)
}

// verdict is the exit status.
func verdict(e admin.Explanation) error {
	switch {
	case e.Verdict == admin.CannotTell:
		return fmt.Errorf("%s: %s", e.Name, e.Verdict)
	case e.Verdict != admin.Found:
		return no("%s: %s", e.Name, e.Verdict)
	}
	return nil
}

func showExplanation(w io.Writer, e admin.Explanation) error {
	p := page{w: w}
	p.line("name", "%s", e.Name)
	p.line("protocol", "%s", e.Protocol)
	if e.Running {
		p.line("asked", "the running usher, process %d", e.PID)
	} else {
		p.line("asked", "no usher is running: the sources themselves")
	}
	for _, s := range e.Steps {
		p.step(s)
	}
	if a := e.Account; a != nil {
		p.head("account %s, known to %s", a.Name, a.Source)
		p.line("password", "%s", a.Proof)
		p.line("access", "%s", a.Access)
		p.fields("attribute", a.Attrs)
	}
	if e.Password != "" {
		p.line("given password", "%s", e.Password)
	}
	if e.Route != "" {
		p.head("way: %s", e.Route)
	}
	for _, s := range e.Stops {
		p.stop(s)
	}
	p.head("%s", strings.TrimSuffix(e.Verdict+": "+e.Why, ": "))
	return p.err
}

// A page is written line by line. What a source said is made fit for a terminal.
type page struct {
	w   io.Writer
	err error
}

func (p *page) head(format string, a ...any) {
	_, err := fmt.Fprintf(p.w, "%s\n", harmless(fmt.Sprintf(format, a...)))
	p.err = errors.Join(p.err, err)
}

func (p *page) line(what, format string, a ...any) {
	p.head("  %-15s %s", what, fmt.Sprintf(format, a...))
}

func (p *page) fields(what string, f map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(f)) {
		p.line(what, "%s = %s", name, f[name])
	}
}

func (p *page) step(s admin.Step) {
	switch {
	case s.Skipped != "":
		p.head("source %s: not asked: %s", s.Source, s.Skipped)
		return
	case s.Cached:
		p.head("source %s: remembered for %.0f s", s.Source, s.AgeSecs)
	default:
		p.head("source %s: asked, %.1f ms", s.Source, s.TookMS)
	}
	if s.Key != "" {
		p.line("key", "%s", s.Key)
	}
	for _, a := range s.Asked {
		p.line("question", "%s", strings.TrimPrefix(a.Server+": "+a.Text, ": "))
	}
	p.fields("returned", s.Fields)
	p.fields("after set", s.Set)
	if s.Error != "" {
		p.line("answer", "%s", s.Error)
	}
}

func (p *page) stop(s admin.StopHost) {
	if run := s.Program; run != nil {
		p.line("program", "%s/%s: %s, which speaks %s, as %s", s.Backend, s.Addr, run.Path, run.Speaks, s.Login)
		p.line("runs as", "uid %d, gid %d, in %s", run.UID, run.GID, run.Home)
		if run.Mail != "" {
			p.line("mailbox", "%s", run.Mail)
		}
		return
	}
	health := "well"
	if s.Sick {
		health = "failed lately, asked last until " + clock(s.Until)
	}
	p.line("server", "%s/%s (%s), TLS %s, as %s: %s", s.Backend, s.Addr, s.IP, s.TLS, s.Login, health)
}
