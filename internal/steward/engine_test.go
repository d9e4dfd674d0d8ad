//go:build linux

package steward_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"usher/internal/relay"
	"usher/internal/relay/relaytest"
	"usher/internal/steward"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "relay" {
		os.Exit(steward.Main(os.Args[2:], os.Getenv("GOBUILD")))
	}
	if len(os.Args) > 1 && os.Args[1] == "probe" {
		os.Exit(steward.Probe(os.Args[2]))
	}
	_ = os.Setenv("GORACE", "atexit_sleep_ms=20") // of processes that tests start: the race detector would wait for a second
	status := m.Run()
	endChildren()
	os.Exit(status)
}

// endChildren ends the stewards that no test has ended: go test waits for all who could
// still write, and one that nobody has come to waits for 20 seconds.
func endChildren() {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		var pid, parent int
		var state string
		_, behind, _ := strings.Cut(string(text), ") ")
		_, _ = fmt.Sscan(string(text), &pid)
		_, _ = fmt.Sscan(behind, &state, &parent)
		if parent == os.Getpid() {
			_ = syscall.Kill(pid, syscall.SIGTERM)
		}
	}
}

// A place is where ushers and their steward meet.
type place struct {
	t      testing.TB
	socket string
	log    *syncBuffer
}

func newPlace(t *testing.T) *place { return newPlaceFor(t) }

func newPlaceFor(t testing.TB) *place {
	t.Helper()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return &place{t, filepath.Join(dir, steward.File), &syncBuffer{}}
}

// usher is an engine, as a new process has it.
func (p *place) usher(adopt steward.Adoption) *steward.Engine { return p.usherLogging(adopt, nil) }

// usherLogging has a log that takes time.
func (p *place) usherLogging(adopt steward.Adoption, logged func()) *steward.Engine {
	p.t.Helper()
	program, err := os.Executable()
	if err != nil {
		p.t.Fatal(err)
	}
	local, err := relay.NewEpoll()
	if err != nil {
		p.t.Fatal(err)
	}
	e, err := steward.Open(steward.Terms{
		Socket: p.socket, Program: program, Local: local, Adopt: adopt,
		Log: slog.New(slog.NewTextHandler(p.log, nil)), Logged: logged,
	})
	if err != nil {
		p.t.Fatal(err)
	}
	first := e.PID()
	p.t.Cleanup(func() {
		stewards := []uint64{first, e.PID()}
		e.Close()
		_ = local.Close()
		for _, pid := range stewards { // it would wait for who wants to hear how sessions have ended
			if pid > 0 {
				_ = syscall.Kill(int(pid), syscall.SIGTERM)
			}
		}
	})
	return e
}

type syncBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

func TestAnEngineWithAStewardKeepsItsPromises(t *testing.T) {
	e := newPlace(t).usher(nil)
	e.Lead()
	relaytest.Run(t, tls.VersionTLS13, func() relay.Engine { return e })
}

func eventually(t *testing.T, what string, true_ func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !true_(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it never became true that %s", what)
		}
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
