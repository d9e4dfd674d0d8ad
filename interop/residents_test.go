package interop

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"usher/internal/need"
)

// A resident is a client whose session must notice nothing.
type resident interface {
	// leave ends it, and fails the test if a byte was lost, doubled or out of order.
	leave(t *testing.T)
}

// suites are those of TLS 1.3. Go's own client has no say: with usher it has the first.
var suites = []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}

// longest is how long a test with residents may take.
const longest = 20 * time.Minute

// goClients are sessions of Go's client, every other one resumed. Plain ones are not under
// TLS. They say something each so often, on the average.
func (l *lasting) goClients(n int, plain bool, pause time.Duration) (all []resident) {
	l.t.Helper()
	cache := tls.NewLRUClientSessionCache(1)
	for i := range n {
		var c *client
		if plain {
			c = l.client(l.t, "imap", "none")
		} else {
			c = l.goClient(cache, i%2 == 1)
		}
		_ = c.SetDeadline(time.Now().Add(longest))
		c.enter([]string{lastingUser, "s" + lastingUser}[i/2%2], "secret")
		s := newSpeaker(c, c.r, pause)
		go s.run()
		all = append(all, s)
	}
	return all
}

// goClient is under TLS 1.3, in a session that is resumed if it is to be.
func (l *lasting) goClient(cache tls.ClientSessionCache, resumed bool) *client {
	l.t.Helper()
	cfg := &tls.Config{RootCAs: roots(l.t, l.ca), ServerName: "localhost", MinVersion: tls.VersionTLS13}
	if cfg.ClientSessionCache = cache; !resumed {
		cfg.ClientSessionCache.Put("localhost", nil)
	}
	c := dial(l.t, "imap", l.addrs["imaps"])
	t := tls.Client(c.Conn, cfg)
	if err := t.Handshake(); err != nil {
		l.t.Fatal(err)
	}
	if got := t.ConnectionState().DidResume; got != resumed {
		l.t.Fatalf("resumed: %v, want %v", got, resumed)
	}
	c.Conn, c.r = t, bufio.NewReaderSize(t, 4<<10)
	c.greeting()
	return c
}

// openSSLs are sessions of OpenSSL's client, with each suite, half of them resumed.
func (l *lasting) openSSLs(n int) (all []resident) {
	l.t.Helper()
	for i := range n {
		kept := filepath.Join(l.t.TempDir(), "session")
		all = append(all, l.openSSL(suites[i%3], i, "-sess_out", kept))
		l.eventually("OpenSSL has a ticket", func() bool { info, err := os.Stat(kept); return err == nil && info.Size() > 0 })
		all = append(all, l.openSSL(suites[i%3], i, "-sess_in", kept))
	}
	return all
}

func (l *lasting) openSSL(suite string, i int, more ...string) *speaker {
	l.t.Helper()
	args := append([]string{"s_client", "-quiet", "-nbio", "-tls1_3", "-ciphersuites", suite, "-connect", l.addrs["imaps"]}, more...)
	cmd := exec.Command(need.Program(l.t, "openssl"), args...)
	in, out := l.piped(cmd)
	r := bufio.NewReader(out)
	for _, line := range []string{"", "a LOGIN " + []string{lastingUser, "s" + lastingUser}[i%2] + " secret\r\n"} {
		_, _ = io.WriteString(in, line)
		if said, err := r.ReadString('\n'); err != nil || !strings.Contains(said, " OK ") {
			l.t.Fatalf("openssl hears %q %v", said, err)
		}
	}
	s := newSpeaker(in, r, 20*time.Millisecond)
	go s.run()
	return s
}

// piped starts a client that ends with the test.
func (l *lasting) piped(cmd *exec.Cmd) (in io.WriteCloser, out io.Reader) {
	l.t.Helper()
	in, errIn := cmd.StdinPipe()
	out, errOut := cmd.StdoutPipe()
	if errIn != nil || errOut != nil {
		l.t.Fatal(errIn, errOut)
	}
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return in, out
}

// A pythons is a process with many sessions: see testdata/talker.py.
type pythons struct {
	in  io.Closer
	out *bufio.Reader
	err *strings.Builder
}

// pythons are so many sessions with each suite.
func (l *lasting) pythons(n int) (all []resident) {
	l.t.Helper()
	for i, suite := range suites {
		conf := filepath.Join(l.t.TempDir(), "openssl.cnf")
		write(l.t, conf, "openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\nCiphersuites = "+suite+"\n")
		cmd := exec.Command(need.Program(l.t, "python3"), "testdata/talker.py", "localhost", l.port("imaps"), l.ca,
			[]string{lastingUser, "s" + lastingUser}[i%2], "secret", strconv.Itoa(n), suite)
		cmd.Env = append(os.Environ(), "OPENSSL_CONF="+conf)
		p := &pythons{err: new(strings.Builder)}
		cmd.Stderr = p.err
		in, out := l.piped(cmd)
		p.in, p.out = in, bufio.NewReader(out)
		if said, err := p.out.ReadString('\n'); said != "ready\n" {
			_ = cmd.Wait()
			l.t.Fatalf("Python says %q %v %s", said, err, p.err)
		}
		all = append(all, p)
	}
	return all
}

func (p *pythons) leave(t *testing.T) {
	t.Helper()
	_ = p.in.Close()
	if said, err := p.out.ReadString('\n'); !strings.HasPrefix(said, "whole ") {
		t.Errorf("Python says %q %v %s", said, err, p.err)
	}
}

// A curlSession does one thing again and again, for as long as it is let: each command may
// take two minutes, in which nothing but data comes.
type curlSession struct {
	l    *lasting
	box  string
	cmd  *exec.Cmd
	says []byte // each time; nil: it hears
	out  string // where it writes what it hears
	done chan error
}

// curlSessions are so many in IDLE, and so many that fetch a message and as many that append
// one, with each suite.
func (l *lasting) curlSessions(idling, moving int) (all []resident) {
	l.t.Helper()
	for _, suite := range suites {
		for range idling {
			all = append(all, l.curl(len(all), suite, nil, "/%s", "-X", "IDLE"))
		}
		for range moving {
			all = append(all, l.curl(len(all), suite, nil, "/%s;UID=1"))
			const rate = 100 << 10
			b := make([]byte, 6*rate)
			for i := range b {
				b[i] = byte(i * i >> 8)
			}
			all = append(all, l.curl(len(all), suite, b, "/%s", "--fail-early", "--limit-rate", strconv.Itoa(rate)))
		}
	}
	return all
}

func (l *lasting) curl(i int, suite string, says []byte, path string, more ...string) *curlSession {
	l.t.Helper()
	dir := l.t.TempDir()
	c := &curlSession{l: l, box: fmt.Sprintf("box%d", i), says: says, out: filepath.Join(dir, "heard"), done: make(chan error, 1)}
	heard, err := os.Create(c.out)
	if err != nil {
		l.t.Fatal(err)
	}
	defer func() { _ = heard.Close() }()
	do := []string{"imaps://localhost:" + l.port("imaps") + fmt.Sprintf(path, c.box)}
	if says != nil {
		file := filepath.Join(dir, "message")
		write(l.t, file, string(says))
		do = append(do, "-T", file)
	}
	args := append(more, "-sS", "-N", "--tlsv1.3", "--tls13-ciphers", suite, "--cacert", l.ca, "-u", []string{"", "s"}[i%2]+"curl"+lastingUser+":secret")
	c.cmd = exec.Command(need.Program(l.t, "curl"), append(args, slices.Repeat(do, int(longest/oneIdle))...)...)
	var said strings.Builder
	c.cmd.Stdout, c.cmd.Stderr = heard, &said
	if err := c.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = c.cmd.Process.Kill() })
	go func() {
		err := c.cmd.Wait()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, said.String())
		}
		c.done <- err
	}()
	l.eventually("curl is at it", func() bool { _, n := l.mirror.passed(c.box); return n > 0 || len(c.done) > 0 })
	return c
}

func (c *curlSession) leave(t *testing.T) {
	t.Helper()
	c.l.mirror.over.Store(true)
	select {
	case err := <-c.done:
		if refused := c.says != nil && strings.Contains(fmt.Sprint(err), "exit status 25"); err != nil && !refused {
			t.Errorf("curl: %v", err)
		}
	case <-time.After(3 * time.Minute):
		t.Fatal("a session of curl hangs")
	}
	passed, n := c.l.mirror.passed(c.box)
	other := bytes.Repeat(c.says, n/max(1, len(c.says)))
	if c.says == nil {
		var err error
		if other, err = os.ReadFile(c.out); err != nil {
			t.Fatal(err)
		}
	}
	if sum := sha256.Sum256(other); hex.EncodeToString(sum[:]) != passed || len(other) != n || n == 0 {
		t.Errorf("of a session of curl %d bytes are at one end, and %d at the other, or others than these", n, len(other))
	}
}
