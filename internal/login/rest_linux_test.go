package login_test

import (
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"time"

	"usher/internal/limit"
	"usher/internal/login"
	"usher/internal/penalty"
	"usher/internal/relay"
	"usher/internal/session"
)

// BenchmarkAtRest is what a session holds in all parts of the program when nobody talks:
// who it is, its room, that its network is its user's friend, and the pair in the relay.
// Its objects are those that would keep pages of garbage.
func BenchmarkAtRest(b *testing.B) {
	const sessions = 2000
	var before, after runtime.MemStats
	for b.Loop() {
		e, err := relay.NewEpoll()
		if err != nil {
			b.Fatal(err)
		}
		d := &login.Desk{
			Limits: &limit.Limits{}, Penalties: penalty.New(penalty.Terms{Step: time.Second, Most: time.Minute, Waiting: 10}),
			Sessions: &session.Registry{}, Relay: e, Log: slog.New(slog.DiscardHandler),
		}
		far := make([]int, 0, 2*sessions)
		settle(&before)
		for i := range sessions {
			p := relay.Pair{ID: uint64(session.NewID()), Farewell: "* BYE\r\n"}
			for _, l := range []*relay.Leg{&p.Client, &p.Server} {
				ends, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
				if err != nil {
					b.Fatal(err)
				}
				l.Conn = relay.FromDescriptor(ends[0])
				far = append(far, ends[1])
			}
			d.Adopt(somebody(i, session.ID(p.ID)), p)
		}
		settle(&after)
		b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/sessions, "B/session")
		b.ReportMetric(float64(int64(after.HeapObjects)-int64(before.HeapObjects))/sessions, "objects/session")
		for _, fd := range far {
			_ = syscall.Close(fd)
		}
		_ = e.Close()
	}
}

func somebody(i int, id session.ID) *session.Session {
	return &session.Session{
		ID: id, Account: fmt.Sprintf("user%d@example.org", i), Protocol: "imap", TLS: "TLSv1.3",
		Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 4711),
		Target: "store/192.0.2.7:143", Since: time.Now(),
		Near: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), uint16(30000+i)), Far: netip.MustParseAddrPort("192.0.2.7:143"),
	}
}

func settle(m *runtime.MemStats) {
	time.Sleep(50 * time.Millisecond)
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(m)
}
