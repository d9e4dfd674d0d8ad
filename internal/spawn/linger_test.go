//go:build linux

package spawn

import (
	"io"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// When usher ends, and its sessions with it, the helper stays until the programs that do
// not end by themselves have been ended.
func TestHelperOutlastsProgramsWhoseClientsHaveLeft(t *testing.T) {
	needRoot(t)
	s := launch(t, func(p *Policy) { p.Limits.Linger = 50 * time.Millisecond })
	keeper, worker := s.processes()
	nc, pid := s.start(s.request("sh", "trap '' TERM HUP PIPE; echo ready; while :; do sleep 0.02; done"))
	if _, err := io.ReadFull(nc, make([]byte, len("ready\n"))); err != nil {
		t.Fatal(err)
	}
	must(t, nc.Close())
	must(t, s.Close())
	gone(t, pid, keeper, worker)
	for over := time.Now().Add(20 * time.Second); unix.Kill(-pid, 0) == nil; time.Sleep(5 * time.Millisecond) { // the first process buries it
		if time.Now().After(over) {
			t.Fatal("something of the program is left")
		}
	}
}
