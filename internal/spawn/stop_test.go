//go:build linux

package spawn

import (
	"context"
	"fmt"
	"os"
	"os/exec"
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
	r := s.request("true")
	s.home("bob", bob)
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = []string{"SPAWN_TEST_ROLE=stopper"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: ann, Gid: ann}}
	must(t, cmd.Start())
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	for range 40 {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if nc, _, err := s.Start(ctx, r); err == nil {
			nc.Close()
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
