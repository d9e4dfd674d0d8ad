package policy

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// A heard request is one that the test's service has had.
type heard struct {
	Command string // of the URL, as it stands there
	Header  http.Header
	Said    map[string]any
}

// A listener is a policy service that answers what it is told to, and remembers.
type listener struct {
	*httptest.Server
	all chan heard // in the order in which they came
}

// listen starts a service that answers all with these words.
func listen(t *testing.T, answer string) *listener {
	return listenWith(t, func(w http.ResponseWriter, _ heard) { _, _ = io.WriteString(w, answer) })
}

func listenWith(t *testing.T, answer func(http.ResponseWriter, heard)) *listener {
	l := &listener{all: make(chan heard, 10_000)}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, command, _ := strings.Cut(r.URL.RawQuery, "command=")
		h := heard{Command: command, Header: r.Header}
		if err := json.NewDecoder(r.Body).Decode(&h.Said); err != nil || r.Method != http.MethodPost {
			t.Errorf("%s %s: %v", r.Method, r.URL, err)
		}
		l.all <- h
		answer(w, h)
	}))
	t.Cleanup(l.Close)
	return l
}

// next is the next request.
func (l *listener) next(t *testing.T) heard {
	t.Helper()
	select {
	case h := <-l.all:
		return h
	case <-time.After(20 * time.Second):
		t.Fatal("nothing comes")
		return heard{}
	}
}

// A logbook is a log that may be read while it is written.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logbook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logbook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// client is usher's side of a service, which ends with the test.
func client(t *testing.T, where string, change ...func(*Settings)) (*Service, *logbook) {
	t.Helper()
	u, err := ParseURL(where)
	if err != nil {
		t.Fatal(err)
	}
	log := &logbook{}
	set := Settings{
		URL: u, Hash: Hash{Mech: "sha256", Nonce: "some nonce", Bits: 12}, Timeout: 10 * time.Second, Before: true, After: true, Report: true,
		Log: slog.New(slog.NewTextHandler(log, nil)),
	}
	for _, f := range change {
		f(&set)
	}
	s := Open(set)
	t.Cleanup(s.Close)
	return s, log
}

func strict(s *Settings)  { s.RejectOnFail = true }
func hasty(s *Settings)   { s.Timeout = 100 * time.Millisecond }
func logOnly(s *Settings) { s.LogOnly = true }

// frozen is the address of a service that takes connections and says nothing, as one
// that was stopped does.
func frozen(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return "http://" + l.Addr().String()
}

// nobody is the address of a service that is not there.
func nobody(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	return "http://" + l.Addr().String()
}

var ann = Login{Login: "ann", Protocol: "imap", PWHash: "0abc", Remote: "192.0.2.7", SessionID: "s1", TLS: true}
