package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	accounts["office"] = officeDriver
	goleak.VerifyTestMain(m)
}

// mailServer is an IMAP server that lets everybody in and repeats what it hears.
func mailServer(t *testing.T) (addr string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go repeat(nc)
		}
	}()
	return ln.Addr().String()
}

func repeat(nc net.Conn) {
	defer func() { _ = nc.Close() }()
	in := bufio.NewReader(nc)
	_, _ = io.WriteString(nc, "* OK [CAPABILITY IMAP4rev1] ready\r\n")
	_, _ = in.ReadString('\n')
	_, _ = io.WriteString(nc, "L OK [CAPABILITY IMAP4rev1] in\r\n")
	_, _ = io.Copy(nc, in)
}

// run starts a server and returns where it listens. stop returns Run's error.
func run(t *testing.T, text string) (addr string, stop func() error) {
	t.Helper()
	s, err := New(parse(t, t.TempDir(), text), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ready, ended := make(chan net.Addr, 1), make(chan error, 1)
	s.Ready = func(addrs []net.Addr) { ready <- addrs[0] }
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- s.Run(ctx) }()
	select {
	case a := <-ready:
		return a.String(), func() error { cancel(); return <-ended }
	case err := <-ended:
		t.Fatal(err)
	}
	panic("not reached")
}

// settings are a server for everybody at one backend.
func settings(backend, grace string) string {
	return fmt.Sprintf(`
[server]
user = ""
state = "state"
admin = ""
grace = %q
[[listen]]
protocol = "imap"
tls = "none"
addr = ["127.0.0.1:0"]
[[accounts]]
type = "any"
[backend.default]
addr = [%q]
`, grace, backend)
}

// loggedIn is a client that has logged in.
func loggedIn(t *testing.T, addr string) (net.Conn, *bufio.Reader) {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
	in := bufio.NewReader(nc)
	for _, say := range []string{"a LOGIN ann secret\r\n", "hello\r\n"} {
		if _, err := in.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(nc, say)
	}
	if line, err := in.ReadString('\n'); line != "hello\r\n" {
		t.Fatalf("heard %q %v", line, err)
	}
	return nc, in
}

func TestAServerRunsAndSaysGoodbye(t *testing.T) {
	addr, stop := run(t, settings(mailServer(t), "0s"))
	_, in := loggedIn(t, addr)
	if err := stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if rest, err := io.ReadAll(in); !strings.HasPrefix(string(rest), "* BYE [UNAVAILABLE]") {
		t.Errorf("the client heard %q %v", rest, err)
	}
	if nc, err := net.Dial("tcp", addr); err == nil {
		_ = nc.Close()
		t.Error("the port is still open")
	}
}

func TestSessionsMayEndByThemselves(t *testing.T) {
	addr, stop := run(t, settings(mailServer(t), "1m"))
	nc, in := loggedIn(t, addr)
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	_, _ = io.WriteString(nc, "still here\r\n")
	if line, err := in.ReadString('\n'); line != "still here\r\n" {
		t.Errorf("heard %q %v", line, err)
	}
	_ = nc.Close()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

// Nobody but SIGKILL could end it else.
func TestASuccessorOfAProcessThatHangsCanBeStopped(t *testing.T) {
	ends, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(ends[0]) }() // says nothing
	t.Setenv("USHER_HANDOVER", strconv.Itoa(ends[1]))
	s := build(t, t.TempDir(), settings("127.0.0.1:1", "1s"))
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it waits for its predecessor")
	}
}

func TestAServerThatCannotListenOpensNothing(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	text := strings.Replace(settings("127.0.0.1:1", "0s"), `"127.0.0.1:0"`, `"127.0.0.1:0", "`+taken.Addr().String()+`"`, 1)
	s, err := New(parse(t, t.TempDir(), text), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "another program has this port") {
		t.Errorf("Run: %v", err)
	}
	if left := s.ports.give(); len(left) > 0 {
		t.Errorf("%v are still open", left)
	}
}

func TestAnAccountSourceThatDoesNotOpenEndsTheStart(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "state"), nil, 0o600); err != nil { // no folder
		t.Fatal(err)
	}
	text := strings.Replace(settings("127.0.0.1:1", "0s"), `type = "any"`, "type = \"sql\"\ndriver = \"sqlite\"", 1)
	s, err := New(parse(t, dir, text), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.Ready = func([]net.Addr) { t.Error("it serves without accounts") }
	if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "state")) {
		t.Errorf("Run: %v", err)
	}
}

// A host that is usher itself is a slip that must not cost every socket.
func TestAServerNeverDialsItself(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	own := free.Addr().String()
	_ = free.Close()
	addr, stop := run(t, strings.Replace(settings(own, "0s"), "127.0.0.1:0", own, 1))
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = nc.Close() }()
	_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(nc, "a LOGIN ann secret\r\n")
	in := bufio.NewReader(nc)
	_, _ = in.ReadString('\n')
	if line, err := in.ReadString('\n'); !strings.HasPrefix(line, "a NO [UNAVAILABLE]") {
		t.Errorf("heard %q %v", line, err)
	}
	if err := stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestOwnAddresses(t *testing.T) {
	for _, c := range []struct {
		listens, dials string
		own            bool
	}{
		{"127.0.0.1:0", "127.0.0.1", true},
		{"127.0.0.1:0", "127.0.0.2", false},
		{"0.0.0.0:0", "127.0.0.2", true},
		{"0.0.0.0:0", "192.0.2.1", false},
		{"[::]:0", "127.0.0.1", true},
	} {
		ln, err := net.Listen("tcp", c.listens)
		if err != nil {
			t.Fatal(err)
		}
		s := &Server{}
		s.ports.add(listeners{"here": {{Net: ln}}})
		port := uint16(ln.Addr().(*net.TCPAddr).Port)
		if got := s.listensOn(netip.AddrPortFrom(netip.MustParseAddr(c.dials), port)); got != c.own {
			t.Errorf("listening on %s, %s is own: %v", c.listens, c.dials, got)
		}
		if s.listensOn(netip.AddrPortFrom(netip.MustParseAddr(c.dials), port+1)) {
			t.Errorf("another port of %s is own", c.dials)
		}
		_ = ln.Close()
	}
}

// Whoever names a shared folder as state does not see its other files change
// hands.
func TestTheStateFolderIsGivenAwayOnlyIfItIsUshersOwn(t *testing.T) {
	dir := t.TempDir()
	write := func(name string) {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := build(t, dir, fmt.Sprintf("server.state = %q\n[[listen]]\nprotocol = \"imap\"\ntls = \"none\"\n", dir))
	write("accounts.db")
	write("accounts.db-wal")
	write("cache.key")
	write("cache-ldap.sealed")
	write("cache-ldap.sealed.new")
	if err := s.giveState(os.Getuid(), os.Getgid()); err != nil {
		t.Errorf("usher's own files: %v", err)
	}
	elsewhere := filepath.Join(t.TempDir(), "shadow")
	if err := errors.Join(os.WriteFile(elsewhere, nil, 0o600), os.Link(elsewhere, filepath.Join(dir, "tickets.new"))); err != nil {
		t.Fatal(err)
	}
	if err := s.giveState(os.Getuid()+1, os.Getgid()); err == nil || !strings.Contains(err.Error(), "tickets.new") {
		t.Errorf("a file that has another name elsewhere: %v", err)
	}
	_ = os.Remove(filepath.Join(dir, "tickets.new"))
	write("cached passwords")
	if err := s.giveState(os.Getuid()+1, os.Getgid()); err == nil || !strings.Contains(err.Error(), "cached passwords") {
		t.Errorf("a file that is called like usher's: %v", err)
	}
	_ = os.Remove(filepath.Join(dir, "cached passwords"))
	write("passwd")
	if err := s.giveState(os.Getuid()+1, os.Getgid()); err == nil || !strings.Contains(err.Error(), "passwd") {
		t.Errorf("somebody else's file: %v", err)
	}
	if err := s.giveState(os.Getuid(), os.Getgid()); err != nil {
		t.Errorf("a folder that is the user's already: %v", err)
	}
}
