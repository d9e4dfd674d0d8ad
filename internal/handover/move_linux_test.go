package handover

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"usher/internal/relay"
	"usher/internal/session"
)

// line is one side of a session.
func line(t *testing.T) net.Conn {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	near, far := relay.FromDescriptor(fds[0]), relay.FromDescriptor(fds[1])
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	return near
}

// Two processes with one session would seal two records with one key and number: what the
// successor may have is not ours any more.
func TestWhatTheSuccessorMayHaveHasMoved(t *testing.T) {
	for name, c := range map[string]struct {
		does  func(h *Heritage)
		moved bool
	}{
		"it answers":                       {func(h *Heritage) { _ = h.send(message{Kind: adopted}) }, true},
		"it answers, and dies":             {func(h *Heritage) { _ = h.send(message{Kind: adopted}); h.Close() }, true},
		"it dies":                          {func(h *Heritage) { h.Close() }, false},
		"it says something else":           {func(h *Heritage) { _ = h.send(message{Kind: ready}) }, true},
		"it says something unintelligible": {func(h *Heritage) { _, _ = h.nc.Write([]byte("{")) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			old, h := ends(t)
			done := make(chan struct{})
			go func() {
				defer close(done)
				m, _ := h.receive()
				m.drop()
				c.does(h)
			}()
			s := &Successor{conn: old}
			moved, err := s.Move(Session{Session: session.Session{ID: 1}, Pair: relay.Pair{Client: relay.Leg{Conn: line(t)}, Server: relay.Leg{Conn: line(t)}}})
			<-done
			if moved != c.moved {
				t.Errorf("moved: %v, %v", moved, err)
			}
		})
	}
}
