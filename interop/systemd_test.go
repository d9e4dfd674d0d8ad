package interop

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"usher/internal/dovecot"
)

// supervised is an usher whose ports systemd has opened, and which tells systemd
// how it is.
const supervised = `
[server]
state = "state"
admin = "admin.sock"
user  = ""
log   = "logfmt"
grace = "0s"
[[listen]]
protocol = "imap"
tls  = "none"
addr = ["systemd:mail", %q]
[[accounts]]
type = "any"
`

func TestSystemdOpensPortsAndHearsHowUsherIs(t *testing.T) {
	t.Parallel()
	d := newStore(t, "east", dovecot.Options{})
	byName, byAddr := inheritable(t), inheritable(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "usher.toml")
	write(t, file, fmt.Sprintf(supervised, byAddr.addr)+fmt.Sprintf("[backend.default]\naddr = [%q]\n", d.IMAP))
	words := listenTo(t, filepath.Join(dir, "notify"))

	c := usher(t, "serve", "-c", file)
	c.Args = append([]string{"sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`}, c.Args...)
	c.Path = "/bin/sh"
	c.ExtraFiles = []*os.File{byName.file, byAddr.file}
	c.Env = append(c.Env, "LISTEN_FDS=2", "LISTEN_FDNAMES=mail:usher.socket", "NOTIFY_SOCKET="+words.path)
	log := &strings.Builder{}
	c.Stderr = log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		if t.Failed() {
			t.Logf("usher said:\n%s", log)
		}
	})
	words.hear("READY=1")

	var sessions []*client
	for _, addr := range []string{byName.addr, byAddr.addr} {
		imap := dial(t, "imap", addr)
		imap.greeting()
		imap.enter(ann, annSecret)
		sessions = append(sessions, imap)
	}
	output(t, usher(t, "reload", "-c", file))
	words.hear("RELOADING=1")
	words.hear("READY=1")
	pid := regexp.MustCompile(`\d+`).FindString(output(t, usher(t, "upgrade", "-c", file)))
	words.hear("MAINPID=" + pid)
	for _, imap := range sessions {
		imap.finds(ann, "east")
	}
	dial(t, "imap", byName.addr).greeting()
	output(t, usher(t, "stop", "-c", file))
	words.hear("STOPPING=1")
	if err := c.Wait(); err != nil {
		t.Errorf("%v", err)
	}
	checkLog(t, log.String())
}

// An inheritableSocket is open before usher is started.
type inheritableSocket struct {
	file *os.File
	addr string
}

func inheritable(t *testing.T) inheritableSocket {
	t.Helper()
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // as systemd does it
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	_ = ln.Close()
	return inheritableSocket{f, ln.Addr().String()}
}

// notified is systemd's end of NOTIFY_SOCKET.
type notified struct {
	*net.UnixConn
	t    *testing.T
	path string
}

func listenTo(t *testing.T, path string) *notified {
	t.Helper()
	nc, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetReadDeadline(time.Now().Add(30 * time.Second))
	return &notified{nc, t, path}
}

// hear waits for a word; others may come before.
func (n *notified) hear(word string) {
	n.t.Helper()
	b := make([]byte, 4096)
	for {
		got, err := n.Read(b)
		if err != nil {
			n.t.Fatalf("systemd does not hear %s: %v", word, err)
		}
		for line := range strings.Lines(string(b[:got])) {
			if strings.TrimSpace(line) == word {
				return
			}
		}
	}
}
