package slapd

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"usher/internal/need"
)

const example = `dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
dc: example
o: Example

`

// Schema has what mail systems add to an entry: the objectClass mailUser, beside
// inetOrgPerson, with the host of the mailbox under the names that are in use, and
// some of usher's account fields.
const Schema = `
attributetype ( 1.3.6.1.4.1.99999.1.1 NAME 'mailhost' DESC 'as in Courier' EQUALITY caseIgnoreIA5Match SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 )
attributetype ( 1.3.6.1.4.1.99999.1.2 NAME 'status' EQUALITY caseIgnoreIA5Match SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 SINGLE-VALUE )
attributetype ( 1.3.6.1.4.1.99999.1.3 NAME 'port' EQUALITY integerMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 )
attributetype ( 1.3.6.1.4.1.99999.1.4 NAME 'destuser' EQUALITY caseExactMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.3.6.1.4.1.99999.1.5 NAME 'nologin' EQUALITY caseIgnoreIA5Match SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 )
attributetype ( 1.3.6.1.4.1.99999.1.6 NAME 'secretNote' EQUALITY octetStringMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 )
objectclass ( 1.3.6.1.4.1.99999.2.1 NAME 'mailUser' SUP top AUXILIARY MAY ( mailhost $ status $ host $ port $ destuser $ nologin $ secretNote ) )
`

// prepare writes what stays the same whatever the ports are, and the entries.
func (s *Server) prepare() error {
	db := filepath.Join(s.Dir, "db")
	if err := os.Mkdir(db, 0o700); err != nil {
		return err
	}
	for name, from := range map[string]string{"cert.pem": s.cert, "key.pem": s.key, "ca.pem": s.CA, "clients.pem": s.options.ClientCA} {
		if err := s.copyFile(name, from); err != nil {
			return err
		}
	}
	s.CA = filepath.Join(s.Dir, "ca.pem")
	files := map[string]string{"schema": Schema + s.options.Schema, "slapd.conf": s.conf(), "entries.ldif": s.options.LDIF}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(s.Dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	// A proxy under test that drops its privileges still has to read ca.pem.
	if err := os.Chmod(s.Dir, 0o755); err != nil {
		return err
	}
	if err := s.giveAll(); err != nil {
		return err
	}
	return s.load()
}

func (s *Server) copyFile(name, from string) error {
	if from == "" {
		return nil
	}
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.Dir, name), text, 0o600)
}

// load fills the database.
func (s *Server) load() error {
	c := exec.Command(need.Program(s.t, "slapd"), "-T", "add", "-q", "-f", filepath.Join(s.Dir, "slapd.conf"), "-l", filepath.Join(s.Dir, "entries.ldif"))
	c.SysProcAttr = s.user.attributes()
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("slapadd: %w\n%s", err, bytes.TrimSpace(out))
	}
	return nil
}

// conf is slapd.conf(5). Nothing is synced to the disk: it all goes at the end.
func (s *Server) conf() string {
	var b strings.Builder
	for _, name := range []string{"core", "cosine", "inetorgperson", "nis"} {
		fmt.Fprintf(&b, "include /etc/ldap/schema/%s.schema\n", name)
	}
	fmt.Fprintf(&b, "include %[1]s/schema\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\n"+
		"TLSCertificateFile %[1]s/cert.pem\nTLSCertificateKeyFile %[1]s/key.pem\n", s.Dir)
	if s.options.ClientCA != "" {
		fmt.Fprintf(&b, "TLSCACertificateFile %s/clients.pem\nTLSVerifyClient try\n", s.Dir)
	}
	fmt.Fprintf(&b, "threads 8\n%s\ndatabase mdb\nsuffix %q\nrootdn %q\nrootpw %q\ndirectory %s/db\nenvflags nosync\nmaxsize 268435456\nindex mail,uid eq\n%s\n",
		s.options.Extra, s.Suffix, s.RootDN, s.RootPassword, s.Dir, s.options.Access)
	return b.String()
}
