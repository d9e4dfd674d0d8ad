//go:build linux

package systemd_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"usher/internal/need"
	"usher/internal/systemd"
)

// child is set in the environment of the test binary when it is to be the
// service.
const child = "USHER_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(child) != "" {
		serve()
		return
	}
	os.Exit(m.Run())
}

// A found is what the service says first of all.
type found struct {
	Names []string
	Err   string
	Again int    // sockets of a second call
	Held  int    // sockets that are open: a second copy would keep a port after Close
	Left  string // what children of the service have of it
}

// serve is the service: it says what it found, and greets one client on each
// socket with the name of the socket.
func serve() {
	sockets, err := systemd.Sockets()
	again, _ := systemd.Sockets()
	f := found{Again: len(again), Held: held()}
	if err != nil {
		f.Err = err.Error()
	}
	for _, s := range sockets {
		f.Names = append(f.Names, s.Name)
	}
	left, _ := exec.Command("sh", "-c", "ls -l /proc/$$/fd | grep socket: ; env | grep ^LISTEN_").Output()
	f.Left = string(left)
	_ = json.NewEncoder(os.Stdout).Encode(f)
	for _, s := range sockets {
		c, err := s.Listener.Accept()
		if err != nil {
			return
		}
		_, _ = fmt.Fprintln(c, s.Name)
		_ = c.Close()
	}
}

func held() (n int) {
	fds, _ := os.ReadDir("/proc/self/fd")
	for _, fd := range fds {
		if to, _ := os.Readlink("/proc/self/fd/" + fd.Name()); strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}

// start starts the service with these files, as systemd would, and returns what
// it says. pid is a shell's expression.
func start(t *testing.T, pid, names string, files ...*os.File) found {
	t.Helper()
	c := exec.CommandContext(t.Context(), "sh", "-c", `LISTEN_PID=`+pid+` exec "$0"`, self(t))
	c.Env = append(os.Environ(), child+"=1", fmt.Sprint("LISTEN_FDS=", len(files)), "LISTEN_FDNAMES="+names)
	c.ExtraFiles = files
	return said(t, c)
}

func self(t *testing.T) string {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return program
}

func said(t *testing.T, c *exec.Cmd) (f found) {
	t.Helper()
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	if err := json.NewDecoder(out).Decode(&f); err != nil {
		t.Fatalf("the service says nothing: %v", err)
	}
	return f
}

// open listens and returns the socket as a file, and its address.
func open(t *testing.T, addr string) (*os.File, string) {
	t.Helper()
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return file(t, ln.(*net.TCPListener)), ln.Addr().String()
}

func file(t *testing.T, s interface{ File() (*os.File, error) }) *os.File {
	t.Helper()
	f, err := s.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// greeting is the first line that a server says.
func greeting(t *testing.T, addr string) string {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

func TestClientsAreServedOnTheSocketsOfSystemd(t *testing.T) {
	imaps, imapsAt := open(t, "127.0.0.1:0")
	pop3, pop3At := open(t, "[::1]:0")
	got := start(t, "$$", "imaps:pop3", imaps, pop3)
	if diff := cmp.Diff(found{Names: []string{"imaps", "pop3"}, Held: 2}, got); diff != "" {
		t.Fatalf("the service found (+), want (-):\n%s", diff)
	}
	if a, b := greeting(t, imapsAt), greeting(t, pop3At); a != "imaps" || b != "pop3" {
		t.Errorf("on the first socket %q greets, on the second %q", a, b)
	}
}

func TestSocketsForAnotherProcessAreNotTaken(t *testing.T) {
	f, _ := open(t, "127.0.0.1:0")
	got := start(t, "1", "imap", f)
	if got.Names != nil || got.Err != "" {
		t.Errorf("it took %q, error %q", got.Names, got.Err)
	}
}

// The log says which line of the socket unit is wrong.
func TestASocketThatUsherCannotUseIsNamed(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	good, _ := open(t, "127.0.0.1:0")
	for _, c := range []struct {
		what string
		file *os.File
		why  string
	}{
		{"a datagram socket", socket(t, unix.AF_INET, unix.SOCK_DGRAM), "it is not a TCP socket, its protocol has the number 17"},
		{"a Unix socket", socket(t, unix.AF_UNIX, unix.SOCK_STREAM), "it is not a TCP socket, its protocol has the number 0"},
		{"a TCP socket that does not listen", socket(t, unix.AF_INET6, unix.SOCK_STREAM), "it does not listen"},
		{"a file", null, "it is not a socket"},
	} {
		t.Run(c.what, func(t *testing.T) {
			got := start(t, "$$", "imap:admin", good, c.file)
			if want := "systemd passed descriptor 4 (admin): " + c.why + ": "; !strings.HasPrefix(got.Err, want) || got.Names != nil || got.Held != 0 {
				t.Errorf("%d sockets %q, error %q, want none and %q…", got.Held, got.Names, got.Err, want)
			}
		})
	}
}

func TestAMultipathSocketIsNamed(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_MPTCP)
	if err != nil {
		t.Skipf("this kernel has no Multipath TCP: %v", err)
	}
	got := start(t, "$$", "imap", os.NewFile(uintptr(fd), "mptcp"))
	if want := "its protocol has the number 262"; !strings.Contains(got.Err, want) {
		t.Errorf("error %q, want …%s…", got.Err, want)
	}
}

func socket(t *testing.T, family, kind int) *os.File {
	t.Helper()
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "socket")
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// systemd's own program speaks the protocol as systemd does.
func TestSystemdSocketActivateStartsUs(t *testing.T) {
	need.Program(t, "systemd-socket-activate")
	f, addr := open(t, "127.0.0.1:0")
	_ = f.Close() // the port is free again
	c := exec.CommandContext(t.Context(), "systemd-socket-activate", "--listen="+addr, "--fdname=imaps", "--setenv="+child+"=1", self(t))
	words, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	listening := bufio.NewReader(words)
	if line, err := listening.ReadString('\n'); err != nil || !strings.HasPrefix(line, "Listening on "+addr) {
		t.Fatalf("it says %q: %v", line, err)
	}
	go func() { _, _ = io.Copy(io.Discard, listening) }()
	if got := greeting(t, addr); got != "imaps" { // it starts the service for the first client
		t.Errorf("%q greets", got)
	}
	var got found
	if err := json.NewDecoder(out).Decode(&got); err != nil || got.Err != "" || got.Left != "" {
		t.Errorf("the service found %+v, %v", got, err)
	}
}

func TestTheNextProcessIsToldWhatIsMeantForIt(t *testing.T) {
	env := []string{
		"NOTIFY_SOCKET=/run/systemd/notify", "LISTEN_FDS=2", "WATCHDOG_PID=7", "PATH=/bin", "LISTEN_PID=7", "LISTEN_FDNAMES=a:b",
		"WATCHDOG_USEC=30000000", "LISTEN_ADDR=192.0.2.1", "LISTEN_PIDFDID=9", "odd",
	}
	before := slices.Clone(env)
	want := []string{"NOTIFY_SOCKET=/run/systemd/notify", "PATH=/bin", "WATCHDOG_USEC=30000000", "LISTEN_ADDR=192.0.2.1", "odd"}
	if got := systemd.ChildEnv(env); !slices.Equal(got, want) {
		t.Errorf("it has %q, want %q", got, want)
	}
	if !slices.Equal(env, before) {
		t.Error("our own environment was changed")
	}
}
