package dovecot

import (
	_ "embed"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"usher/internal/daemon"
)

//go:embed dovecot.conf.tmpl
var conf string

// prepare writes what stays the same whatever the ports are.
func (s *Server) prepare() error {
	for _, dir := range []string{"run", "mail", "keys"} {
		if err := os.Mkdir(filepath.Join(s.Dir, dir), 0o755); err != nil {
			return err
		}
	}
	names := s.options.TLSNames
	if len(names) == 0 {
		names = []string{"localhost", "127.0.0.1"}
	}
	s.Host = names[0]
	if err := writeCertificate(s.Dir, names); err != nil {
		return err
	}
	if err := s.writePasswords("users", s.options.Users); err != nil {
		return err
	}
	if err := s.writePasswords("masters", s.options.Master); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "tokens"), []byte(s.tokenSettings()), 0o600); err != nil {
		return err
	}
	// A proxy under test that drops its privileges still has to read ca.pem.
	if err := os.Chmod(s.Dir, 0o755); err != nil {
		return err
	}
	return s.giveAll()
}

// Keys is the folder of the public keys of tokens, below which they lie as Dovecot has
// it: azp, algorithm, kid.
func (s *Server) Keys() string { return filepath.Join(s.Dir, "keys") }

// AddKey gives the server a public key, PEM; path is below Keys.
func (s *Server) AddKey(path string, text []byte) {
	s.t.Helper()
	file := filepath.Join(s.Keys(), path)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func (s *Server) tokenSettings() string {
	return "introspection_mode = local\nlocal_validation_key_dict = fs:posix:prefix=" + s.Keys() + "/\n" + s.options.TokenSet
}

// escape is what Dovecot does to a name before it looks for it in a passwd-file.
var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, `'`, `\'`)

// writePasswords writes a passwd-file. Base64 carries every password: no colon, brace or blank can be misread.
func (s *Server) writePasswords(name string, passwords map[string]string) error {
	var b strings.Builder
	for user, password := range passwords {
		if user == "" || user[0] == '#' || strings.ContainsAny(user, ":\r\n") {
			return fmt.Errorf("a passwd-file cannot hold the name %q", user)
		}
		hidden := base64.StdEncoding.EncodeToString([]byte(password))
		fmt.Fprintf(&b, "%s:{PLAIN.b64}%s:%d:%d::::\n", escape.Replace(user), hidden, s.user.uid, s.user.gid)
	}
	return os.WriteFile(filepath.Join(s.Dir, name), []byte(b.String()), 0o600)
}

// configure chooses ports and writes dovecot.conf.
func (s *Server) configure() error {
	for _, addr := range []*string{&s.IMAP, &s.IMAPS, &s.POP3, &s.POP3S} {
		*addr = net.JoinHostPort("127.0.0.1", daemon.FreePort(s.t))
	}
	t := template.Must(template.New("dovecot.conf").Funcs(template.FuncMap{"port": port}).Parse(conf))
	var b strings.Builder
	err := t.Execute(&b, struct {
		*Server
		User, Group, Greeting, Extra string
		Masters, Tokens              bool
	}{
		Server: s, User: s.user.name, Group: s.user.group,
		Greeting: strings.TrimSpace("Dovecot (Debian) "+s.options.Name) + " ready.",
		Extra:    s.options.Extra, Masters: len(s.options.Master) > 0, Tokens: s.options.Tokens,
	})
	if err != nil {
		return err
	}
	path := s.configFile()
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		return err
	}
	return s.give(path)
}

func (s *Server) configFile() string { return filepath.Join(s.Dir, "dovecot.conf") }

func port(addr string) string {
	_, p, _ := net.SplitHostPort(addr)
	return p
}
