package server

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"usher/internal/config"
)

// A running server, whose configuration the test may change.
type running struct {
	*Server
	t     *testing.T
	text  string
	addrs []net.Addr
}

// runWith starts a server that reads its configuration again when it is told to.
func runWith(t *testing.T, text string) *running {
	t.Helper()
	dir := t.TempDir()
	r := &running{t: t, text: text}
	var err error
	if r.Server, err = New(parse(t, dir, text), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	r.Load = func() (*config.Config, error) {
		return config.Parse(dir+"/usher.toml", []byte(r.text), func(string) (string, bool) { return "", false })
	}
	ready, ended := make(chan []net.Addr, 1), make(chan error, 1)
	r.Ready = func(addrs []net.Addr) { ready <- addrs }
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- r.Run(ctx) }()
	select {
	case r.addrs = <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return r
}

// reads gives a server a new configuration.
func (r *running) reads(text string) error {
	r.text = text
	return r.Reload(r.t.Context())
}

func free(t *testing.T) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().String()
}

// at is a server for everybody that listens there.
func at(backend string, addrs ...string) string {
	return strings.Replace(settings(backend, "0s"), `["127.0.0.1:0"]`, `["`+strings.Join(addrs, `", "`)+`"]`, 1)
}

func (r *running) repeats(nc net.Conn, in *bufio.Reader) {
	r.t.Helper()
	_, _ = io.WriteString(nc, "still here\r\n")
	if line, err := in.ReadString('\n'); line != "still here\r\n" {
		r.t.Errorf("heard %q %v", line, err)
	}
}

func TestAReloadOpensAndClosesPortsAndLeavesSessionsAlone(t *testing.T) {
	backend, a, b := mailServer(t), free(t), free(t)
	r := runWith(t, at(backend, a))
	nc, in := loggedIn(t, a)
	talking, err := net.Dial("tcp", a) // and not logged in
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = talking.Close() }()
	conversation := bufio.NewReader(talking)
	_, _ = conversation.ReadString('\n')

	if err := r.reads(at(backend, a, b)); err != nil {
		t.Fatal(err)
	}
	for _, addr := range []string{a, b} {
		loggedIn(t, addr)
	}
	if err := r.reads(at(backend, b)); err != nil {
		t.Fatal(err)
	}
	if nc, err := net.Dial("tcp", a); err == nil {
		_ = nc.Close()
		t.Error("a port that is not named any more is open")
	}
	loggedIn(t, b)
	r.repeats(nc, in)
	_, _ = io.WriteString(talking, "a LOGIN ann secret\r\n")
	if line, err := conversation.ReadString('\n'); !strings.HasPrefix(line, "a OK") {
		t.Errorf("who was there before the reload heard %q %v", line, err)
	}
}

func TestAReloadSendsTheNextLoginsElsewhere(t *testing.T) {
	a := free(t)
	r := runWith(t, at("127.0.0.1:1", a))
	if err := r.reads(at(mailServer(t), a)); err != nil {
		t.Fatal(err)
	}
	loggedIn(t, a)
}

func TestAConfigurationThatIsWrongChangesNothing(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	backend, a, b := mailServer(t), free(t), free(t)
	r := runWith(t, at(backend, a))
	nc, in := loggedIn(t, a)
	for _, c := range []struct{ name, text, want string }{
		{"a mistake", at(backend, a) + "[auth]\nmechanisms = [\"NTLM\"]\n", `there is no mechanism "NTLM"`},
		{"no TOML", "[", "1:"},
		{"a port that somebody has", at(backend, b, taken.Addr().String()), "another program has this port"},
		{"an account source that does not open", strings.Replace(strings.Replace(at(backend, a), `"any"`, "\"sql\"\ndriver = \"sqlite\"", 1), `state = "state"`, `state = "/dev/null"`, 1), "/dev/null"},
	} {
		if err := r.reads(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		loggedIn(t, a)
		r.repeats(nc, in)
		if nc, err := net.Dial("tcp", b); err == nil {
			_ = nc.Close()
			t.Errorf("%s: a port of the refused configuration is open", c.name)
		}
	}
	if r.current() != serving {
		t.Errorf("the server is %s", r.current())
	}
}

func TestLimitsOfAReloadCountWhatWasOpenBefore(t *testing.T) {
	backend, a := mailServer(t), free(t)
	r := runWith(t, at(backend, a))
	loggedIn(t, a)
	if err := r.reads(at(backend, a) + "[limit]\nsessions_per_user = 1\n"); err != nil {
		t.Fatal(err)
	}
	nc, err := net.Dial("tcp", a)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = nc.Close() }()
	_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
	in := bufio.NewReader(nc)
	_, _ = in.ReadString('\n')
	_, _ = io.WriteString(nc, "a LOGIN ann secret\r\n")
	if line, err := in.ReadString('\n'); !strings.HasPrefix(line, "a NO [LIMIT]") {
		t.Errorf("heard %q %v", line, err)
	}
}

func TestManyReloadsLeaveNothingBehind(t *testing.T) {
	backend, a, b := mailServer(t), free(t), free(t)
	r := runWith(t, at(backend, a))
	open, _ := descriptors()
	for i := range 50 {
		text := at(backend, a)
		if i%2 == 0 {
			text = at(backend, a, b)
		}
		if err := r.reads(text); err != nil {
			t.Fatal(err)
		}
	}
	if now, _ := descriptors(); now > open+2 {
		t.Errorf("%d descriptors were open before, %d are now", open, now)
	}
}

func TestOnlyAServingProcessReloads(t *testing.T) {
	s := build(t, t.TempDir(), imapOnly)
	s.Load = func() (*config.Config, error) { return nil, fmt.Errorf("not to be called") }
	s.Again = []string{"/nowhere"}
	if err := s.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "it is starting") {
		t.Errorf("%v", err)
	}
	if _, err := s.Upgrade(t.Context()); err == nil || !strings.Contains(err.Error(), "it is starting") {
		t.Errorf("%v", err)
	}
}
