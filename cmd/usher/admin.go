package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"

	"github.com/spf13/cobra"

	"usher/internal/admin"
	"usher/internal/config"
)

// adminFlags say which running usher is meant.
type adminFlags struct{ config, socket string }

func newAdminFlags(c *cobra.Command) *adminFlags {
	a := new(adminFlags)
	c.Flags().StringVarP(&a.config, "config", "c", "", "configuration `file` that names the socket; else ./usher.toml or /etc/usher/usher.toml")
	c.Flags().StringVar(&a.socket, "admin", "", "`socket` of the running usher; overrides the configuration, which is not read then")
	return a
}

func (a *adminFlags) dial() (*admin.Client, error) {
	path, err := a.path()
	if err != nil {
		return nil, err
	}
	return admin.Dial(path), nil
}

// path is where the socket is: as the flags say, else as the configuration in
// the usual places says, else the default. Mistakes elsewhere in the
// configuration do not matter: they may be why an administrator asks.
func (a *adminFlags) path() (string, error) {
	if a.socket != "" {
		return a.socket, nil
	}
	file := findConfig(a.config)
	if file == "" {
		return string(config.Default().Server.Admin), nil
	}
	cfg, err := config.Load(file)
	if cfg == nil || wrongSocket(err) {
		return "", fmt.Errorf("cannot tell where the socket of the running usher is; name it with --admin:\n%w", err)
	}
	if cfg.Server.Admin == "" {
		return "", fmt.Errorf(`%s switches the socket for commands off (admin = "" in [server]); name one there and restart usher`, file)
	}
	return string(cfg.Server.Admin), nil
}

// wrongSocket tells whether the mistakes are about the path of the socket.
func wrongSocket(err error) bool {
	mistakes, _ := errors.AsType[config.Mistakes](err)
	return slices.ContainsFunc(mistakes, func(m config.Mistake) bool { return m.Key == "server" || m.Key == "server.admin" })
}

// told makes an answer of the running usher an exit status, and says what to do
// if there is none.
func told(err error) error {
	var none *admin.NotReachable
	var refusal *admin.Refusal
	switch {
	case errors.As(err, &refusal):
		return failure{statusNo, err}
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; try as root, or as the user that usher runs as", err)
	case errors.As(err, &none) && none.Absent():
		return fmt.Errorf("%w; is usher running? see: systemctl status usher; or name its socket with --admin", err)
	case errors.As(err, &none):
		return fmt.Errorf("%w; see usher's log", err)
	}
	return err
}

// notAll is the error of an answer in which processes are missing.
func notAll(m admin.Missing) error {
	var errs []error
	for _, u := range m.Unreachable {
		errs = append(errs, fmt.Errorf("process %d of usher does not answer: %s; the answer is without it", u.PID, u.Error))
	}
	return errors.Join(errs...)
}

// selectorFlags choose sessions.
type selectorFlags struct{ session, backend, from string }

func newSelectorFlags(c *cobra.Command) *selectorFlags {
	s := new(selectorFlags)
	c.Flags().StringVar(&s.session, "session", "", "only the session with this `ID`, as in the log")
	c.Flags().StringVar(&s.backend, "backend", "", "only sessions on this `backend`: its name in the configuration, or a host")
	return s
}

// selector is what the command line chooses. An empty word is most likely an
// empty variable in a script, and would mean everybody.
func (s *selectorFlags) selector(c *cobra.Command, args []string) (admin.Selector, error) {
	who := admin.Selector{Session: s.session, Backend: s.backend, From: s.from}
	if len(args) == 1 {
		who.User = args[0]
	}
	empty := len(args) == 1 && who.User == ""
	for _, name := range []string{"session", "backend", "from"} {
		empty = empty || c.Flags().Changed(name) && c.Flag(name).Value.String() == ""
	}
	if empty {
		return who, usage("a user, session, backend or address cannot be empty; see: %s --help", c.CommandPath())
	}
	if _, err := netip.ParseAddrPort(who.From); err != nil && who.From != "" {
		return who, usage("--from wants an address and a port, such as 10.0.0.5:43211 or [2001:db8::5]:43211, not %.80q", who.From)
	}
	return who, nil
}

// printJSON writes nothing that a terminal obeys. JSON may hold such characters,
// and names of users do.
func printJSON(w io.Writer, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	var out strings.Builder
	for _, r := range string(text) {
		switch {
		case unicode.IsPrint(r) || r == '\n':
			out.WriteRune(r)
		default:
			for _, u := range utf16.Encode([]rune{r}) {
				fmt.Fprintf(&out, `\u%04x`, u)
			}
		}
	}
	_, err = fmt.Fprintln(w, out.String())
	return err
}

func count(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
