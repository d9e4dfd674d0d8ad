package relaytest

import (
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"usher/internal/relay"
)

// leavesNothing opens and ends ten thousand pairs in every manner, of encrypted ones
// fewer: handshakes take long.
func leavesNothing(t *testing.T, e relay.Engine, w way) {
	const batch = 50
	batches := 200
	if w != plain {
		batches = 6
	}
	listener() // it stays
	before, goroutines := descriptors(t), goleak.IgnoreCurrent()
	for range batches {
		scenes, wants := make([]*scene, batch), make([]relay.Ending, batch)
		for i := range scenes {
			scenes[i] = newScene(t, e, w, ending(0))
		}
		for _, s := range scenes {
			s.greet()
		}
		for i, s := range scenes {
			wants[i] = s.endSomehow(i)
		}
		for _, s := range scenes {
			s.clear()
		}
		for i, s := range scenes { // all together: an engine in another process tells of ends in a while
			s.end(wants[i])
		}
	}
	for end := time.Now().Add(patience); descriptors(t) > before && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors were open before, %d are now", before, after)
	}
	goleak.VerifyNone(t, goroutines)
}

// endSomehow ends a pair in one of five ways, and returns what must be said of it.
func (s *scene) endSomehow(how int) relay.Ending {
	switch how % 5 {
	case 0:
		_ = s.client.Close()
		return relay.ClientLeft
	case 1:
		_ = s.server.Close()
		return relay.BackendClosed
	case 2:
		s.client.reset()
		return relay.ClientFailed
	case 3:
		s.server.reset()
		return relay.BackendFailed
	}
	s.engine.Kick(s.pair.ID, relay.Kicked)
	return relay.Kicked
}

// clear takes away what is left of it.
func (s *scene) clear() {
	s.client.drain(s.t)
	s.server.drain(s.t)
	_, _ = s.client.Close(), s.server.Close()
}

// descriptors is how many are open.
func descriptors(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc here to count open descriptors")
	}
	return len(list)
}
