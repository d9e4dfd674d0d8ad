package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"

	"github.com/spf13/cobra"

	"usher/internal/account"
	"usher/internal/account/embedded"
	"usher/internal/config"
	"usher/internal/demo"
	"usher/internal/password"
	"usher/internal/server"
)

// demoAddrs are where the demonstration listens; port 0 is any free one.
type demoAddrs struct{ IMAP, IMAPS, POP3, POP3S string }

func demoCommand() *cobra.Command {
	var a demoAddrs
	c := &cobra.Command{
		Use:   "demo",
		Short: "Try usher at once: two mail stores, two users, one door",
		Long: `Start two mail stores inside this process, with sample mail, and usher in front
of them: ann's mailbox is on the store north, bob's on the store south. Prints
what to try. Everything is forgotten at the end.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.check(); err != nil {
				return err
			}
			return runDemo(cmd, a)
		},
	}
	for _, f := range []struct {
		addr *string
		name string
	}{{&a.IMAP, "imap"}, {&a.IMAPS, "imaps"}, {&a.POP3, "pop3"}, {&a.POP3S, "pop3s"}} {
		c.Flags().StringVar(f.addr, f.name, "127.0.0.1:0", strings.ToUpper(f.name)+" `address`; port 0 is any free one")
	}
	return c
}

func (a demoAddrs) check() error {
	for _, addr := range []string{a.IMAP, a.IMAPS, a.POP3, a.POP3S} {
		_, port, err := net.SplitHostPort(addr)
		if _, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil {
			return usage("%q is no address with a port; write it as 127.0.0.1:1143; see: usher demo --help", addr)
		}
	}
	return nil
}

// demoUser is somebody to log in as.
type demoUser struct{ Name, Password, Store string }

var demoUsers = []demoUser{{"ann@example.org", "ann-secret", "north"}, {"bob@example.org", "bob-secret", "south"}}

func runDemo(cmd *cobra.Command, a demoAddrs) (err error) {
	dir, err := os.MkdirTemp("", "usher-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	stores := map[string]*demo.Store{}
	for _, u := range demoUsers {
		s, err := demo.Start(u.Store, []demo.User{{Name: u.Name, Password: u.Password, Messages: demo.Samples(u.Name, u.Store)}})
		if err != nil {
			return err
		}
		defer func() { _ = s.Close() }()
		stores[u.Store] = s
	}
	if err := demoAccounts(cmd.Context(), dir); err != nil {
		return err
	}
	cfg, err := demoConfig(dir, a, stores)
	if err != nil {
		return err
	}
	log, closeLog := server.OpenLog(cfg, cmd.ErrOrStderr(), false)
	defer closeLog()
	s, err := server.New(cfg, log)
	if err != nil {
		return err
	}
	s.Version = version
	s.Ready = func(addrs []net.Addr) {
		err := template.Must(template.New("").Parse(demoText)).Execute(cmd.OutOrStdout(), demoView(dir, addrs))
		if err != nil {
			fmt.Fprintln(cmd.ErrOrStderr(), "usher:", err)
		}
	}
	return s.Run(cmd.Context())
}

// demoAccounts fills the embedded database.
func demoAccounts(ctx context.Context, dir string) error {
	store, err := embedded.MakeStore(ctx, filepath.Join(dir, "state"))
	if err != nil {
		return err
	}
	for _, u := range demoUsers {
		hash, err := password.Make(password.Default, u.Password)
		if err == nil {
			err = store.Add(ctx, account.Fields{"user": u.Name, "password": hash, "host": u.Store})
		}
		if err != nil {
			return errors.Join(err, store.Close())
		}
	}
	return store.Close()
}

// demoConfig writes a configuration as an administrator would, and loads it.
func demoConfig(dir string, a demoAddrs, stores map[string]*demo.Store) (*config.Config, error) {
	if err := demo.WriteCertificate(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")); err != nil {
		return nil, err
	}
	var b strings.Builder
	b.WriteString("[server]\nstate = \"state\"\nadmin = \"admin.sock\"\nuser = \"\"\ngrace = \"0s\"\n[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n")
	for _, l := range []struct{ protocol, addr, tls string }{
		{"imap", a.IMAP, "starttls"}, {"imap", a.IMAPS, "implicit"}, {"pop3", a.POP3, "starttls"}, {"pop3", a.POP3S, "implicit"},
	} {
		fmt.Fprintf(&b, "[[listen]]\nprotocol = %q\naddr = [%q]\ntls = %q\n", l.protocol, l.addr, l.tls)
	}
	for name, s := range stores {
		fmt.Fprintf(&b, "[backend.%s]\nimap = [%q]\npop3 = [%q]\n", name, s.IMAP, s.POP3)
	}
	file := filepath.Join(dir, "usher.toml")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		return nil, err
	}
	return config.Load(file)
}

// demoView is what the text shows.
func demoView(dir string, addrs []net.Addr) any {
	port := func(i int) int { return addrs[i].(*net.TCPAddr).Port }
	return map[string]any{
		"Dir": dir, "Users": demoUsers, "Program": os.Args[0],
		"IMAP": port(0), "IMAPS": port(1), "POP3": port(2), "POP3S": port(3),
	}
}

const demoText = `
Two mail stores, north and south, behind one door. ann's mailbox is on north,
bob's on south; both log in at the same place:

  IMAP  localhost:{{.IMAP}} (STARTTLS)   IMAPS  localhost:{{.IMAPS}}
  POP3  localhost:{{.POP3}} (STLS)       POP3S  localhost:{{.POP3S}}
{{range .Users}}
{{.Name}}, password {{.Password}}. List what is there, then read a message that says
on which store it lives; first by IMAP, then by POP3; or all with mutt:

  curl -sS --cacert {{$.Dir}}/cert.pem -u {{.Name}}:{{.Password}} 'imaps://localhost:{{$.IMAPS}}/'
  curl -sS --cacert {{$.Dir}}/cert.pem -u {{.Name}}:{{.Password}} 'imaps://localhost:{{$.IMAPS}}/INBOX;MAILINDEX=1'
  curl -sS --cacert {{$.Dir}}/cert.pem -u {{.Name}}:{{.Password}} 'pop3s://localhost:{{$.POP3S}}/'
  curl -sS --cacert {{$.Dir}}/cert.pem -u {{.Name}}:{{.Password}} 'pop3s://localhost:{{$.POP3S}}/1'
  mutt -nF /dev/null -e 'set ssl_ca_certificates_file={{$.Dir}}/cert.pem imap_pass={{.Password}} folder={{$.Dir}}' -f 'imaps://{{.Name}}@localhost:{{$.IMAPS}}/INBOX'
{{end}}
The configuration is {{.Dir}}/usher.toml. The accounts, and who is logged in, are shown by

  {{.Program}} account list -c {{.Dir}}/usher.toml
  {{.Program}} who -c {{.Dir}}/usher.toml

Below, usher logs one line for each session. Ctrl-C ends everything.

`
