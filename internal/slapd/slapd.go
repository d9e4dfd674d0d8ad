// Package slapd runs a real OpenLDAP for the length of a test. Only tests import it.
//
// The server is standalone and unprivileged: its configuration, entries, socket and
// log live in one folder under /tmp, its ports are on 127.0.0.1. Run by root (as in
// CI) it becomes "openldap", run by anybody else it stays that user. Read Start
// first, then config.go for what the server is told and process.go for how it lives
// and dies.
package slapd

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"usher/internal/daemon"
	"usher/internal/dovecot"
	"usher/internal/need"
)

// Options say what kind of server a test wants; the zero value is one with the entry
// dc=example,dc=org and nothing below it, which everybody may read.
type Options struct {
	LDIF     string   // entries below dc=example,dc=org; with Suffix, from the suffix down
	Suffix   string   // what the server holds
	Schema   string   // lines of schema, behind those of Schema
	Access   string   // "access to …" lines of slapd.access(5)
	Extra    string   // lines of slapd.conf(5) before the database
	TLSNames []string // names in the certificate instead of localhost and 127.0.0.1
	ClientCA string   // a PEM file: clients may show certificates that it verifies
	Silent   bool     // logs no connections and requests, for benchmarks
}

// A Server is a running slapd. Its methods are for the test's own goroutine, since
// they end the test when they fail.
type Server struct {
	Addr    string // host:port of ldap://, also for StartTLS
	TLSAddr string // host:port of ldaps://
	Socket  string // path of the socket of ldapi://

	Suffix       string
	RootDN       string // who may do everything
	RootPassword string

	Host string // a name in the certificate
	CA   string // a PEM file that verifies the certificate
	Dir  string // everything the server has, removed at the end of the test
	Log  string // its log file

	t         testing.TB
	options   Options
	cert, key string
	user      runner
	running   *process // nil while stopped
}

// Start runs a slapd until the test ends. It skips the test where slapd is not
// installed; in CI, where nobody would notice the skip, it fails.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	need.Program(t, "slapd")
	s := newServer(t, o)
	if err := s.startSomewhere(); err != nil {
		t.Fatalf("start slapd: %v\n%s", err, s.LogText())
	}
	return s
}

func newServer(t testing.TB, o Options) *Server {
	t.Helper()
	if o.Suffix == "" {
		o.Suffix, o.LDIF = "dc=example,dc=org", example+o.LDIF
	}
	if len(o.TLSNames) == 0 {
		o.TLSNames = []string{"localhost", "127.0.0.1"}
	}
	// Not t.TempDir: a unix socket's path has at most 107 bytes, and nobody else could enter.
	dir, err := os.MkdirTemp("/tmp", "ld")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{
		Socket: filepath.Join(dir, "ldapi"), Suffix: o.Suffix, RootDN: "cn=root," + o.Suffix, RootPassword: "root's secret",
		Host: o.TLSNames[0], Dir: dir, Log: filepath.Join(dir, "log"), t: t, options: o, user: chooseRunner(),
	}
	t.Cleanup(s.end)
	s.cert, s.key, s.CA = dovecot.Certificate(t, o.TLSNames...)
	if err := s.prepare(); err != nil {
		t.Fatalf("prepare slapd: %v", err)
	}
	return s
}

// startSomewhere looks for other ports when somebody else was faster.
func (s *Server) startSomewhere() (err error) {
	for range 5 {
		for _, addr := range []*string{&s.Addr, &s.TLSAddr} {
			*addr = net.JoinHostPort("127.0.0.1", daemon.FreePort(s.t))
		}
		if err = s.start(); err == nil || !strings.Contains(s.LogText(), "Address already in use") {
			return err
		}
		s.running.kill()
		s.running = nil
		if err := os.Remove(s.Log); err != nil {
			return err
		}
	}
	return err
}

// SocketURL is the URL of the socket: RFC 4516 has no other place for its path than
// the host.
func (s *Server) SocketURL() string { return "ldapi://" + url.PathEscape(s.Socket) }

// Modify makes changes, written as ldapmodify(1) wants them.
func (s *Server) Modify(ldif string) {
	s.t.Helper()
	c := exec.Command(need.Program(s.t, "ldapmodify"), "-x", "-H", "ldap://"+s.Addr, "-D", s.RootDN, "-w", s.RootPassword)
	c.Stdin = strings.NewReader(ldif)
	if out, err := c.CombinedOutput(); err != nil {
		s.t.Fatalf("ldapmodify: %v\n%s", err, out)
	}
}

// LogText returns all that the server has logged, of all its lives.
func (s *Server) LogText() string {
	text, err := os.ReadFile(s.Log)
	if err != nil {
		return fmt.Sprintf("(no log: %v)", err)
	}
	return string(text)
}

func (s *Server) end() {
	if s.running != nil {
		s.running.kill()
	}
	if s.t.Failed() {
		lines := strings.SplitAfter(s.LogText(), "\n")
		s.t.Logf("slapd %s said at last:\n%s", s.Addr, strings.Join(lines[max(0, len(lines)-50):], ""))
	}
	if err := s.remove(); err != nil {
		s.t.Errorf("remove slapd's folder: %v", err)
	}
}

// remove tries again, because a killed process may be finishing its last system call in there.
func (s *Server) remove() (err error) {
	for range 50 {
		if err = os.RemoveAll(s.Dir); err == nil || errors.Is(err, os.ErrNotExist) {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}
