package soak

import (
	"context"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestSessionsMoveAtAnUpgrade has usher replaced while many sessions are idle, half of
// them under TLS, and a few talk all the time. What is measured is how long it takes until
// all have moved, and for how long one waits for an answer at most.
func TestSessionsMoveAtAnUpgrade(t *testing.T) {
	sessions := 200
	if *full {
		sessions = 8000
	}
	needFiles(t, 2*sessions+1000)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	u := startUsher(ctx, t, "", inClear)
	idle := openIdle(ctx, t, u, sessions)
	const talkers = 8
	before := talk(idle[:talkers], func() { time.Sleep(time.Second) })
	var moved time.Duration
	during := talk(idle[:talkers], func() { moved = u.upgrade(t) })
	askIdle(t, idle)
	u.checkLog(t)
	t.Logf("%d sessions, half of them under TLS, moved in %v; of %d and %d round trips the longest took %v before and %v meanwhile (half of it: %v and %v)",
		sessions, moved.Round(time.Millisecond), len(before), len(during), slices.Max(before), slices.Max(during), median(before), median(during))
}

// talk has clients ask while something is done, and returns how long the answers took. An
// error is for askIdle to find.
func talk(clients []*client, do func()) (took []time.Duration) {
	var over atomic.Bool
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, c := range clients {
		all.Go(func() {
			for !over.Load() {
				began := time.Now()
				if c.ask() != nil {
					return
				}
				mu.Lock()
				took = append(took, time.Since(began))
				mu.Unlock()
				time.Sleep(time.Millisecond)
			}
		})
	}
	do()
	over.Store(true)
	all.Wait()
	return took
}

var replaced = regexp.MustCompile(`time=(\S+) level=INFO msg="replaced by a new process" pid=(\d+)`)

// upgrade has the process replaced, and waits until the old one has ended: then all
// sessions have moved. It returns how long that took once the new one was ready.
func (u *usher) upgrade(t *testing.T) time.Duration {
	t.Helper()
	old := u.cmd
	if err := old.Process.Signal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	_ = old.Wait()
	ended := time.Now()
	line := replaced.FindSubmatch(read(t, u.log))
	if line == nil {
		t.Fatalf("no new process:\n%s", read(t, u.log))
	}
	pid, _ := strconv.Atoi(string(line[2]))
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	began, err := time.Parse(time.RFC3339, string(line[1]))
	if err != nil {
		t.Fatal(err)
	}
	return ended.Sub(began)
}
