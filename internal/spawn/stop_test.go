//go:build linux

package spawn

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A child is its user's before it is his program: he can stop it then. Nobody else waits
// for that.
func TestWhoStopsHisOwnStartStopsNobodyElses(t *testing.T) {
	needRoot(t)
	s := open(t, func(p *Policy) { p.Limits.Linger = 50 * time.Millisecond }) // what he has stopped is ended, too
	const eve = 61077                                                         // nobody else's, as what is left of him is counted
	r := Request{Program: "true", UID: eve, GID: eve, Home: s.home("eve", eve)}
	s.home("bob", bob)
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = []string{"SPAWN_TEST_ROLE=stopper"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: eve, Gid: eve}}
	must(t, cmd.Start())
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	for n, stopped := 0, 0; n < 500 && stopped < 3; n++ { // as a rule he succeeds within a few dozen
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if nc, _, err := s.Start(ctx, r); err == nil {
			nc.Close()
		} else {
			stopped++
		}
		cancel()
		ctx, cancel = context.WithTimeout(t.Context(), 20*time.Second)
		nc, _, err := s.Start(ctx, Request{Program: "cat", UID: bob, GID: bob, Home: s.homes + "/bob"})
		cancel()
		if err != nil {
			t.Fatalf("bob is not served any more: %v", err)
		}
		nc.Close()
	}
	keeper, worker := s.processes()
	must(t, s.Close())
	gone(t, keeper, worker)
	if left := of(t, eve); len(left) > 1 { // he himself
		t.Errorf("there is left %v", left)
	}
}

// of are the processes of a user that the helper of this test may have started.
func of(t *testing.T, uid int) (pids []string) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*")
	must(t, err)
	for _, dir := range all {
		text, err := os.ReadFile(dir + "/status")
		if err == nil && strings.Contains(string(text), fmt.Sprintf("\nUid:\t%d\t", uid)) && !strings.Contains(string(text), "State:\tZ") {
			pids = append(pids, filepath.Base(dir))
		}
	}
	return pids
}

// stop stops whatever is born as this user, for a time.
func stop() error {
	for over := time.Now().Add(30 * time.Second); time.Now().Before(over); {
		text, err := os.ReadFile("/proc/loadavg")
		if err != nil {
			return err
		}
		var last int
		fields := strings.Fields(string(text))
		if _, err := fmt.Sscan(fields[len(fields)-1], &last); err != nil {
			return err
		}
		for range 100 {
			for next := last + 1; next < last+4; next++ {
				_ = unix.Kill(next, unix.SIGSTOP)
			}
		}
	}
	return nil
}
