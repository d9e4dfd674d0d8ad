package stdio_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"usher/internal/stdio"
)

// child is set in the environment of the test binary when it is to be started as usher is.
const child = "USHER_TEST_CHILD"

func TestMain(m *testing.M) {
	if file := os.Getenv(child); file != "" {
		tell(file)
		return
	}
	os.Exit(m.Run())
}

// found is what there was.
type found struct {
	Port, Client, Pipes, Quiet bool
	Err                        string
}

// tell writes what it finds into a file, speaks to everything that it should not, and
// then says hello to the client.
func tell(file string) {
	g, err := stdio.Take()
	f := found{Port: g.Port != nil, Client: g.Client != nil, Pipes: g.Pipes != nil, Quiet: g.Quiet}
	if err != nil {
		f.Err = err.Error()
	}
	text, _ := json.Marshal(f)
	_ = os.WriteFile(file, text, 0o600)
	fmt.Println("a stray word")
	if g.Quiet {
		fmt.Fprintln(os.Stderr, "another one")
	}
	switch {
	case g.Port != nil:
		g.Client, _ = g.Port.Accept()
		fallthrough
	case g.Client != nil:
		_, _ = io.WriteString(g.Client, "hello\n")
		_ = g.Client.Close()
	case g.Pipes != nil:
		client, pump, err := g.Pipes.Pair()
		if err != nil {
			return
		}
		go func() {
			line, _ := bufio.NewReader(client).ReadString('\n')
			_, _ = io.WriteString(client, line)
			_ = client.Close()
		}()
		pump()
	}
}

func start(t *testing.T, in, out, stderr *os.File) (c *exec.Cmd, result func() found) {
	t.Helper()
	file := t.TempDir() + "/found"
	c = exec.Command(os.Args[0])
	c.Env = append(os.Environ(), child+"="+file)
	c.Stdin, c.Stdout, c.Stderr = in, out, stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c, func() (f found) {
		_ = c.Wait()
		text, _ := os.ReadFile(file)
		_ = json.Unmarshal(text, &f)
		return f
	}
}

// pair is a client and the socket that inetd has for it.
func pair(t *testing.T) (client net.Conn, socket, port *os.File) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if client, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	port, err = ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if socket, err = nc.(*net.TCPConn).File(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _, _ = client.Close(), socket.Close(), port.Close() })
	return client, socket, port
}

// All that the client hears is from us.
func TestInetdsClientIsTaken(t *testing.T) {
	client, socket, _ := pair(t)
	_, result := start(t, socket, socket, socket)
	_ = socket.Close()
	heard, _ := io.ReadAll(client)
	if f := result(); f != (found{Client: true, Quiet: true}) || string(heard) != "hello\n" {
		t.Errorf("found %+v, the client hears %q", f, heard)
	}
}

// systemd leaves standard error to the journal.
func TestAClientOfWhichStandardErrorIsNotPart(t *testing.T) {
	client, socket, _ := pair(t)
	_, result := start(t, socket, socket, os.Stderr)
	_ = socket.Close()
	heard, _ := io.ReadAll(client)
	if f := result(); f != (found{Client: true}) || string(heard) != "hello\n" {
		t.Errorf("found %+v, the client hears %q", f, heard)
	}
}

func TestInetdsPortIsTaken(t *testing.T) {
	_, _, port := pair(t)
	ln, err := net.FileListener(port)
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	_ = ln.Close()
	_, result := start(t, port, port, port)
	client, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	heard, _ := io.ReadAll(client)
	if f := result(); f != (found{Port: true, Quiet: true}) || string(heard) != "hello\n" {
		t.Errorf("found %+v, the client hears %q", f, heard)
	}
}

func TestPipesArePumped(t *testing.T) {
	in, toUs, _ := os.Pipe()
	fromUs, out, _ := os.Pipe()
	_, result := start(t, in, out, os.Stderr)
	_, _ = in.Close(), out.Close()
	long := strings.Repeat("x", 1<<20) + "\n"
	go func() { _, _ = io.WriteString(toUs, long); _ = toUs.Close() }()
	heard, _ := io.ReadAll(fromUs)
	if f := result(); f != (found{Pipes: true}) || string(heard) != long {
		t.Errorf("found %+v, the client hears %d bytes, not %d", f, len(heard), len(long))
	}
}
