//go:build linux

package doorway_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"usher/internal/doorway"
)

// A house is an usher that greets its visitors with what it knows of them.
type house struct {
	*doorway.Door
	dir string
}

func newHouse(t *testing.T) *house {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "dw") // t.TempDir has a longer name than a socket may have
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	h := &house{dir: dir}
	h.Door = &doorway.Door{
		Path: doorway.Path(filepath.Join(dir, "admin")), Log: slog.New(slog.DiscardHandler),
		Welcome: func(r doorway.Request) error {
			if r.Protocol != "imap" {
				return fmt.Errorf("no %s here", r.Protocol)
			}
			return nil
		},
		Receive: func(v doorway.Visitor) {
			go func() {
				_, _ = fmt.Fprintf(v.Conn, "%s %s %s given=%v own=%v by=%s\n", v.Protocol, v.TLS, v.User, v.Given, v.Own, v.Conn.LocalAddr().Network())
				_ = v.Conn.Close()
			}()
		},
	}
	if err := h.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

func (h *house) knock(t *testing.T) *doorway.Visit {
	t.Helper()
	v, err := doorway.Knock(t.Context(), h.Path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// sockets are two ends of a TCP connection.
func sockets(t *testing.T) (client, accepted net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err = net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if accepted, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = client.Close(), accepted.Close() })
	return client, accepted
}

func line(t *testing.T, r io.Reader) string {
	t.Helper()
	s, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatalf("read: %v after %q", err, s)
	}
	return strings.TrimSpace(s)
}

func TestClientsAreHandedOverOneAfterTheOther(t *testing.T) {
	v := newHouse(t).knock(t)
	for range 3 {
		client, accepted := sockets(t)
		if err := v.Give(doorway.Request{Protocol: "imap", TLS: "none"}, accepted); err != nil {
			t.Fatal(err)
		}
		_ = accepted.Close()
		if got := line(t, client); got != "imap none  given=true own=true by=tcp" {
			t.Errorf("the client hears %q", got)
		}
	}
}

func TestAConnectionToTheDoorBecomesTheClients(t *testing.T) {
	nc, err := newHouse(t).knock(t).Enter(doorway.Request{Protocol: "imap", User: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	if got := line(t, nc); got != "imap  ann given=false own=true by=unix" {
		t.Errorf("the client hears %q", got)
	}
}

func TestWhoIsRefusedIsStillTheVisitors(t *testing.T) {
	v := newHouse(t).knock(t)
	client, accepted := sockets(t)
	var refused *doorway.Refusal
	if err := v.Give(doorway.Request{Protocol: "smtp"}, accepted); !errors.As(err, &refused) || !strings.Contains(err.Error(), "no smtp here") {
		t.Fatalf("the answer is %v", err)
	}
	_, _ = fmt.Fprintln(accepted, "we are sorry")
	if got := line(t, client); got != "we are sorry" {
		t.Errorf("the client hears %q", got)
	}
	if err := v.Give(doorway.Request{Protocol: "imap"}, accepted); err != nil { // the next one is let in
		t.Error(err)
	}
}

// An answer that comes too late must not be taken for that to the next client.
func TestAfterAnAnswerThatIsNoneNoMoreIsAsked(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "dw")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "door")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		_, _ = nc.Write(append([]byte{9, 0, 0}, message("{}")...)) // nonsense, and yes to whatever is asked next
	}()
	v, err := doorway.Knock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	for _, client := range []string{"first", "second"} {
		_, accepted := sockets(t)
		if err := v.Give(doorway.Request{Protocol: "imap"}, accepted); err == nil {
			t.Errorf("the %s client is given away to nobody", client)
		}
	}
	v.Gone() // else nobody would look for another usher
}

// What a stranger sends may take as long to be closed as he likes.
func TestNobodyAtTheDoorKeepsUsherFromClosingIt(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	_, accepted := sockets(t)
	lingers, err := accepted.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	fd := int(lingers.Fd())
	if err := errors.Join(accepted.(*net.TCPConn).SetLinger(3600), unix.SetNonblock(fd, true)); err != nil {
		t.Fatal(err)
	}
	for err = nil; err == nil; { // the other end reads nothing
		_, err = unix.Write(fd, make([]byte, 1<<16))
	}
	nc := h.raw(t)
	says := message(`{"protocol":"imap"}`)
	_, _, err = nc.WriteMsgUnix(says[:1], unix.UnixRights(fd, fd), nil)
	err = errors.Join(err, lingers.Close(), accepted.Close()) // before usher does: the last one waits
	if _, restErr := nc.Write(says[1:]); err != nil || restErr != nil {
		t.Fatal(err, restErr)
	}
	if answer, _ := io.ReadAll(io.LimitReader(nc, 3)); len(answer) == 0 {
		t.Fatal("there is no answer")
	}
	h.Close()
}

func TestWithoutAnUsherThereIsNoDoor(t *testing.T) {
	h := newHouse(t)
	v := h.knock(t)
	gone := make(chan struct{})
	go func() { v.Gone(); close(gone) }()
	h.Close()
	<-gone
	_, accepted := sockets(t)
	if err := v.Give(doorway.Request{Protocol: "imap"}, accepted); err == nil {
		t.Error("a client was handed to nobody")
	}
	if _, err := doorway.Knock(t.Context(), h.Path); !errors.Is(err, doorway.ErrAbsent) {
		t.Errorf("the error is %v", err)
	}
	if left, _ := os.ReadDir(h.dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// At an upgrade the next process takes the name.
func TestTheDoorLeadsToWhoOpenedItLast(t *testing.T) {
	old := newHouse(t)
	next := &doorway.Door{Path: old.Path, Log: old.Log, Welcome: old.Welcome, Receive: func(v doorway.Visitor) { _, _ = fmt.Fprintln(v.Conn, "next") }}
	if err := next.Open(); err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	old.Close()
	nc, err := old.knock(t).Enter(doorway.Request{Protocol: "imap"})
	if err != nil {
		t.Fatal(err)
	}
	if got := line(t, nc); got != "next" {
		t.Errorf("it is %q", got)
	}
}

// raw is somebody who says what he likes.
func (h *house) raw(t *testing.T) *net.UnixConn {
	t.Helper()
	nc, err := net.Dial("unix", h.Path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	return nc.(*net.UnixConn)
}

func message(text string) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{1}, uint16(len(text))), text...)
}

func TestNonsenseIsNotLetIn(t *testing.T) {
	h := newHouse(t)
	for name, says := range map[string][]byte{
		"HTTP":               []byte("GET / HTTP/1.1\r\n\r\n"),
		"another version":    append([]byte{2}, message(`{"protocol":"imap"}`)[1:]...),
		"too long":           {1, 0xff, 0xff, '{'},
		"no JSON":            message("imap"),
		"half":               message(`{"protocol":"imap"}`)[:9],
		"nothing":            nil,
		"another protocol":   message(`{"protocol":"gopher"}`),
		"a list of everyone": message(`["imap"]`),
	} {
		nc := h.raw(t)
		_, _ = nc.Write(says)
		_ = nc.CloseWrite()
		answer, _ := io.ReadAll(nc)
		if bytes.Contains(answer, []byte("given")) || bytes.Contains(answer, []byte("{}")) {
			t.Errorf("%s is let in: %q", name, answer)
		}
	}
	if _, err := h.knock(t).Enter(doorway.Request{Protocol: "imap"}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestOnlyAClientsConnectionIsTaken(t *testing.T) {
	h := newHouse(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	port, _ := ln.(*net.TCPListener).File()
	file, _ := os.Open("/dev/null")
	udp, _ := net.ListenPacket("udp", "127.0.0.1:0")
	datagram, _ := udp.(*net.UDPConn).File()
	lonely, _ := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	_, accepted := sockets(t)
	whole, _ := accepted.(*net.TCPConn).File()
	for name, fds := range map[string][]int{
		"a port": {int(port.Fd())}, "a file": {int(file.Fd())}, "datagrams": {int(datagram.Fd())}, "nobody's socket": {lonely},
		"two at once": {int(whole.Fd()), int(whole.Fd())}, "far too many": bytesOf(int(whole.Fd()), 30),
	} {
		before := descriptors(t)
		nc := h.raw(t)
		_, _, _ = nc.WriteMsgUnix(message(`{"protocol":"imap"}`), unix.UnixRights(fds...), nil)
		answer, _ := io.ReadAll(nc)
		if bytes.Contains(answer, []byte("{}")) {
			t.Errorf("%s is taken: %q", name, answer)
		}
		_ = nc.Close()
		if after := descriptors(t); after > before {
			t.Errorf("%s: %d descriptors stay open", name, after-before)
		}
	}
}

func bytesOf(fd, n int) (list []int) {
	for range n {
		list = append(list, fd)
	}
	return list
}

func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// These are set in the environment of the test binary when it is to be one.
const (
	stranger = "USHER_TEST_STRANGER"
	impostor = "USHER_TEST_IMPOSTOR"
	flood    = "USHER_TEST_FLOOD"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(stranger); path != "" {
		visit(path)
		return
	}
	if path := os.Getenv(flood); path != "" {
		stay(path)
		overrun(path)
		return
	}
	if path := os.Getenv(impostor); path != "" {
		impersonate(path)
		return
	}
	os.Exit(m.Run())
}

// visit is what a stranger does: he tries to hand a connection over, and then comes as
// anybody may; last he stands at the door with many who say nothing, and tells how many
// were not turned away.
func visit(path string) {
	say := func(v any) { fmt.Println(strings.ReplaceAll(fmt.Sprint(v), "\n", " ")) }
	v, err := doorway.Knock(context.Background(), path, 0)
	if err != nil {
		say(err)
		return
	}
	say(v.Own())
	fds, _ := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	f := os.NewFile(uintptr(fds[0]), "")
	client, _ := net.FileConn(f)
	say(v.Give(doorway.Request{Protocol: "imap"}, client))
	v, _ = doorway.Knock(context.Background(), path, 0)
	nc, err := v.Enter(doorway.Request{Protocol: "imap", User: "ann"})
	if err != nil {
		say(err)
		return
	}
	greeting, _ := bufio.NewReader(nc).ReadString('\n')
	say(strings.TrimSpace(greeting))
	say(stay(path))
}

// stay counts those who may stay.
func stay(path string) (n int) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	for range 50 {
		nc, err := net.Dial("unix", path)
		if err != nil {
			continue
		}
		wg.Go(func() {
			_ = nc.SetReadDeadline(time.Now().Add(time.Second))
			if _, err := nc.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
				mu.Lock()
				n++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return n
}

// overrun comes as often as it can, without a word.
func overrun(path string) {
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			var all []net.Conn
			for range 1000 {
				if nc, err := net.Dial("unix", path); err == nil {
					all = append(all, nc)
				}
			}
			for _, nc := range all {
				_ = nc.Close()
			}
		})
	}
	wg.Wait()
}

func TestAFloodOfStrangersTakesNoDescriptors(t *testing.T) {
	h := newHouse(t)
	c := somebodyElse(t, h.dir, flood+"="+h.Path)
	ended := make(chan error, 1)
	before, most := descriptors(t), 0
	go func() { ended <- c.Run() }()
	for running := true; running; {
		most = max(most, descriptors(t))
		select {
		case err := <-ended:
			if running = false; err != nil {
				t.Fatal(err)
			}
		default:
		}
	}
	if most > before+40 {
		t.Errorf("usher had %d descriptors open, and before the flood %d", most, before)
	}
	if _, err := h.knock(t).Enter(doorway.Request{Protocol: "imap"}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestStrangersGainNoMoreThanAConnection(t *testing.T) {
	h := newHouse(t)
	c := somebodyElse(t, h.dir, stranger+"="+h.Path)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := []string{"false", "only root and usher's own user may hand over a connection", "imap  ann given=false own=false by=tcp", "8"}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	for i, w := range want {
		if i >= len(lines) || !strings.Contains(lines[i], w) {
			t.Fatalf("the stranger says\n%s\nwant %q", out, want)
		}
	}
	if _, err := h.knock(t).Enter(doorway.Request{Protocol: "imap"}); err != nil { // root comes in all the same
		t.Error(err)
	}
}

// Somebody else's socket at the place of the door hears no passwords.
func TestAnImpostorIsNotVisited(t *testing.T) {
	h := newHouse(t)
	path := filepath.Join(h.dir, "impostor.door")
	c := somebodyElse(t, h.dir, impostor+"="+path)
	if err := os.Chmod(h.dir, 0o777); err != nil {
		t.Fatal(err)
	}
	says, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close(); _ = c.Wait() }()
	if got := line(t, says); got != "here" {
		t.Fatal(got)
	}
	if v, err := doorway.Knock(t.Context(), path); err == nil {
		v.Close()
		t.Error("root tells somebody else whatever he would tell usher")
	}
}

// impersonate opens a door as if there was an usher behind it, until standard input ends.
func impersonate(path string) {
	ln, err := net.Listen("unix", path)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ln.Close()
	fmt.Println("here")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// somebodyElse is this program as another user, who can run it from a folder.
func somebodyElse(t *testing.T, dir, env string) *exec.Cmd {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can be somebody else")
	}
	program := filepath.Join(dir, "somebody")
	text, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, text, 0o755); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(program)
	c.Env = append(os.Environ(), env)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	return c
}
