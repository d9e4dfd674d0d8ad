package relay

import (
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// unixPair are the two ends of a unix socket.
func unixPair(t *testing.T) (near, far *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "end")
		nc, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		ends[i] = nc.(*net.UnixConn)
		t.Cleanup(func() { ends[i].Close() })
	}
	return ends[0], ends[1]
}

// lingering is a socket whose last descriptor takes seconds to close.
func lingering(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = nc.(*net.TCPConn).SetLinger(20)
	_ = nc.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	for {
		if _, err := nc.Write(make([]byte, 64<<10)); err != nil {
			break // nobody reads: what is sent stays
		}
	}
	f, err := nc.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	go nc.Close() // it is in a thread of its own until the peer resets
	return fd
}

// The owner of a mailbox may have his program send descriptors: nobody else notices.
func TestDescriptorsThatAProgramSendsHoldNobodyUp(t *testing.T) {
	e, err := NewEpoll()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for _, kernel := range []string{"as it is", "that cannot refuse"} {
		t.Run(kernel, func(t *testing.T) {
			near, far := unixPair(t)
			client, _ := unixPair(t)
			ended := make(chan Stats, 1)
			p := Pair{ID: uint64(len(e.loops)), Client: Leg{Conn: client}, Server: Leg{Conn: near}}
			e.Start(p, func(s Stats) { ended <- s })
			if kernel != "as it is" {
				e.loop(p.ID).tell(func() {
					pr := e.loop(p.ID).pair(p.ID)
					_ = unix.SetsockoptInt(int(pr.legs[server].fd), unix.SOL_SOCKET, unix.SO_PASSRIGHTS, 1)
					pr.legs[server].rights = true
				})
				e.Release(1 << 40) // its answer comes after what was told
			}
			fd := lingering(t)
			_, _, err := far.WriteMsgUnix([]byte("x"), unix.UnixRights(fd), nil)
			unix.Close(fd)
			if kernel != "as it is" {
				if err != nil {
					t.Fatal(err)
				}
				if s := <-ended; s.Ended != BackendFailed {
					t.Errorf("the pair ended: %s", s.Ended)
				}
			}
			// Another session of the same loop.
			a, aFar := unixPair(t)
			b, bFar := unixPair(t)
			e.Start(Pair{ID: 2 * uint64(len(e.loops)), Client: Leg{Conn: a}, Server: Leg{Conn: b}}, func(Stats) {})
			_ = aFar.SetDeadline(time.Now().Add(10 * time.Second))
			_ = bFar.SetDeadline(time.Now().Add(10 * time.Second))
			if _, err := aFar.Write([]byte("y")); err != nil {
				t.Fatal(err)
			}
			if _, err := bFar.Read(make([]byte, 1)); err != nil {
				t.Errorf("another session waits: %v", err)
			}
		})
	}
}
