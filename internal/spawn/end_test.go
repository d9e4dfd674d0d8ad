//go:build linux

package spawn

import (
	"io"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// stubborn neither hears that its session is over nor SIGTERM.
const stubborn = "trap '' TERM HUP PIPE; echo here; while :; do sleep 1; done"

// begin starts a script that says that it is there.
func (s *stage) begin(id, script string) (net.Conn, int) {
	s.t.Helper()
	r := s.request("sh", script)
	r.ID = id
	nc, pid := s.start(r)
	if _, err := io.ReadFull(nc, make([]byte, len("here\n"))); err != nil {
		s.t.Fatal(err)
	}
	return nc, pid
}

// What was started for a session ends when it is told to, by whatever it takes; others
// go on.
func TestWhatHangsIsEnded(t *testing.T) {
	needRoot(t)
	s := open(t, nil)
	_, pid := s.begin("one", stubborn)
	other, otherPID := s.begin("another", "echo here; exec cat")
	if err := s.End(t.Context(), "nobody", 0); err != nil {
		t.Errorf("the end of what is not: %v", err)
	}
	if err := s.End(t.Context(), "one", 0); err != nil {
		t.Fatal(err)
	}
	s.wait("the program is killed", func(e Event) bool { return e.Ended && e.PID == pid && e.Status == "signal: killed" })
	if err := unix.Kill(otherPID, 0); err != nil {
		t.Errorf("another session's program: %v", err)
	}
	_ = other.Close()
	s.wait("another session ends by itself", func(e Event) bool { return e.Ended && e.PID == otherPID && e.Status == "" })
}

// A program has time to end by itself before it is made to.
func TestWhatEndsByItselfIsNotKilled(t *testing.T) {
	needRoot(t)
	s := open(t, nil)
	nc, pid := s.begin("one", "echo here; cat >/dev/null; exit 5")
	if err := s.End(t.Context(), "one", hookTime); err != nil {
		t.Fatal(err)
	}
	_ = nc.Close()
	s.wait("it ends by itself", func(e Event) bool { return e.Ended && e.PID == pid && e.Status == "exit status 5" })
}
