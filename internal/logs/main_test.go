package logs

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A paper is a standard error that may be read while it is written.
type paper struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (p *paper) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.Write(b)
}

func (p *paper) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.String()
}

// open opens a log for the length of a test.
func open(t *testing.T, place string, o Options) (*slog.Logger, *paper) {
	t.Helper()
	p, err := Parse(place)
	if err != nil {
		t.Fatal(err)
	}
	stderr := new(paper)
	o.Stderr = stderr
	log, end := Open(p, o)
	t.Cleanup(end)
	return log, stderr
}

// A reader is a socket for datagrams, of the test's own.
type reader struct {
	t    *testing.T
	path string
	conn *net.UnixConn
}

func newReader(t *testing.T) *reader {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "logs") // not t.TempDir: a socket's path has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{t: t, path: filepath.Join(dir, "socket")}
	r.begin()
	t.Cleanup(func() { r.end(); os.RemoveAll(dir) })
	return r
}

func (r *reader) begin() {
	r.t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: r.path, Net: "unixgram"})
	if err != nil {
		r.t.Fatal(err)
	}
	r.conn = conn
}

func (r *reader) end() {
	r.conn.Close()
	os.Remove(r.path)
}

// next is the next datagram.
func (r *reader) next() string {
	r.t.Helper()
	text, err := r.try(20 * time.Second)
	if err != nil {
		r.t.Fatal(err)
	}
	return text
}

func (r *reader) try(d time.Duration) (string, error) {
	b := make([]byte, 1<<20)
	r.conn.SetReadDeadline(time.Now().Add(d))
	n, err := r.conn.Read(b)
	return string(b[:n]), err
}

// rest is all that is there, until nothing more comes.
func (r *reader) rest() (all []string) {
	for {
		text, err := r.try(500 * time.Millisecond)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return all
		}
		all = append(all, text)
	}
}

// eventually waits for something.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 1500 {
		if is() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("it does not come: %s", what)
}

// words reads a line of logfmt: keys and values.
func words(t testing.TB, line string) (pairs [][2]string) {
	t.Helper()
	for line != "" {
		key, rest, ok := strings.Cut(line, "=")
		if !ok {
			t.Fatalf("no logfmt: %q", line)
		}
		value, after, quoted := unquote(rest)
		if !quoted {
			value, after, _ = strings.Cut(rest, " ")
		}
		pairs = append(pairs, [2]string{key, value})
		line = strings.TrimPrefix(after, " ")
	}
	return pairs
}

// nest puts a value into the map that its key names: a.b is b in a.
func nest(m map[string]any, key string, value any) {
	for {
		group, rest, ok := strings.Cut(key, ".")
		if !ok {
			m[key] = value
			return
		}
		if m[group] == nil {
			m[group] = map[string]any{}
		}
		m, key = m[group].(map[string]any), rest
	}
}
