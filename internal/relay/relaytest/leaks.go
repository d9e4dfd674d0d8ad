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
		scenes := make([]*scene, batch)
		for i := range scenes {
			scenes[i] = newScene(t, e, w, ending(0))
		}
		for i, s := range scenes {
			s.endSomehow(i)
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

func (s *scene) endSomehow(how int) {
	s.greet()
	var want relay.Ending
	switch how % 5 {
	case 0:
		_, want = s.client.Close(), relay.ClientLeft
	case 1:
		_, want = s.server.Close(), relay.BackendClosed
	case 2:
		s.client.reset()
		want = relay.ClientFailed
	case 3:
		s.server.reset()
		want = relay.BackendFailed
	case 4:
		s.engine.Kick(s.pair.ID, relay.Kicked)
		want = relay.Kicked
	}
	s.client.drain(s.t)
	s.server.drain(s.t)
	_, _ = s.client.Close(), s.server.Close()
	s.end(want)
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
