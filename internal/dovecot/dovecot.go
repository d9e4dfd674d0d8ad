// Package dovecot runs a real Dovecot 2.3 for the length of a test. Only tests
// import it.
//
// The server is standalone and unprivileged: its configuration, sockets,
// mail and log live in one folder under /tmp, its ports are on 127.0.0.1. Run
// by root (as in CI) it becomes "nobody", run by anybody else it stays that
// user. Read Start first, then config.go for what the server is told and
// process.go for how it lives and dies.
package dovecot

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"usher/internal/need"
)

// Options say what kind of Dovecot a test wants; the zero value is one without users.
type Options struct {
	Name     string            // part of the greetings, to tell several servers apart
	Users    map[string]string // name → clear password; no ':' or line end in a name
	Master   map[string]string // the same for those who may log in as anybody, by the authzid of SASL PLAIN
	Tokens   bool              // take tokens by OAUTHBEARER and XOAUTH2, if a key of AddKey has signed them
	TokenSet string            // further lines of what is said of tokens
	Extra    string            // lines appended to dovecot.conf; they win over those before
	TLSNames []string          // names in the certificate instead of localhost and 127.0.0.1
}

// A Server is a running Dovecot. Its methods are for the test's own goroutine,
// since they end the test when they fail.
type Server struct {
	IMAP, IMAPS, POP3, POP3S string // host:port

	Host string // a name in the certificate
	CA   string // a PEM file that verifies the certificate
	Dir  string // everything the server has, removed at the end of the test
	Log  string // its log file

	t         testing.TB
	options   Options
	user      runner
	running   *process // nil while stopped
	delivered int
}

// Start runs a Dovecot until the test ends. It skips the test where Dovecot is
// not installed; in CI, where nobody would notice the skip, it fails.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	need.Program(t, "dovecot")
	s := newServer(t, o)
	if err := s.startSomewhere(); err != nil {
		t.Fatalf("start dovecot: %v\n%s", err, s.LogText())
	}
	return s
}

func newServer(t testing.TB, o Options) *Server {
	t.Helper()
	// Not t.TempDir: a unix socket's path has at most 107 bytes, and nobody must be able to enter.
	dir, err := os.MkdirTemp("/tmp", "dv")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, options: o, Dir: dir, Log: filepath.Join(dir, "log"), CA: filepath.Join(dir, "ca.pem")}
	t.Cleanup(s.end)
	if s.user, err = chooseRunner(); err != nil {
		t.Fatalf("whom dovecot runs as: %v", err)
	}
	if err := s.prepare(); err != nil {
		t.Fatalf("prepare dovecot: %v", err)
	}
	return s
}

// startSomewhere looks for other ports when somebody else was faster.
func (s *Server) startSomewhere() (err error) {
	for range 5 {
		if err = s.configure(); err != nil {
			return err
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

func (s *Server) end() {
	if s.running != nil {
		s.running.kill()
	}
	if s.t.Failed() {
		lines := strings.SplitAfter(s.LogText(), "\n")
		s.t.Logf("dovecot %s said at last:\n%s", s.options.Name, strings.Join(lines[max(0, len(lines)-50):], ""))
	}
	if err := s.remove(); err != nil {
		s.t.Errorf("remove dovecot's folder: %v", err)
	}
}

// remove tries again, because a killed process may be finishing its last system call in there.
func (s *Server) remove() (err error) {
	for range 50 {
		if err = os.RemoveAll(s.Dir); err == nil {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}

// LogText returns all that the server has logged.
func (s *Server) LogText() string {
	text, err := os.ReadFile(s.Log)
	if err != nil {
		return fmt.Sprintf("(no log: %v)", err)
	}
	return string(text)
}
