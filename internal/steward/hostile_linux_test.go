package steward

import (
	"io"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"usher/internal/relay"
)

// visitor is somebody of our user who talks to a steward.
func visitor(t *testing.T, s *Steward) *net.UnixConn {
	t.Helper()
	nc, err := net.DialUnix("unixpacket", nil, s.ln.Addr().(*net.UnixAddr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	if words, err := newInbox(nc).next(); err != nil || words[0].kind != welcome {
		t.Fatal(words, err)
	}
	return nc
}

// open is how many descriptors there are.
func openNow(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// Whatever somebody says who may come to the socket: he is hung up on, what came with it is
// closed, and sessions go on.
func TestNonsenseIsHungUpOn(t *testing.T) {
	s, client := house(t), clientOf(t)
	one := guestOf(t, s, 1)
	odd := (&word{kind: start, id: 2}).append(nil)
	for name, c := range map[string]struct {
		says []byte
		fds  int
	}{
		"half a message":                {odd[:len(odd)-3], 2},
		"a length that is a lie":        {[]byte{0xff, 0xff, 0xff, 0xff, 1}, 0},
		"a session without sockets":     {odd, 0},
		"one socket too few":            {odd, 1},
		"one too many":                  {odd, 3},
		"as many as a message can have": {odd, 253},
		"descriptors and no word":       {[]byte{0}, 253},
		"garbage":                       {make([]byte, 60<<10), 7},
	} {
		t.Run(name, func(t *testing.T) {
			before := openNow(t)
			nc := visitor(t, s)
			fds := make([]int, c.fds)
			for i := range fds {
				fds[i] = int(os.Stderr.Fd())
			}
			if _, _, err := nc.WriteMsgUnix(c.says, unix.UnixRights(fds...), nil); err != nil {
				t.Fatal(err)
			}
			if n, err := nc.Read(make([]byte, 100)); n > 0 || err == nil {
				t.Errorf("it answers %d bytes", n)
			}
			_ = nc.Close()
			soon(t, "nothing is left open", func() bool { return openNow(t) <= before })
			one.says(t, client)
		})
	}
}

// Somebody who says nothing, and listens to nothing, keeps nobody from anything.
func TestASilentVisitorIsInNobodysWay(t *testing.T) {
	s, client := house(t), clientOf(t)
	silent := visitor(t, s)
	lead := (&word{kind: lead}).append(nil)
	for range 100 {
		if _, err := silent.Write(lead); err != nil {
			t.Fatal(err)
		}
	}
	for id := range uint64(300) { // of which he is told, as he leads
		guestOf(t, s, id+10)
	}
	guestOf(t, s, 1).says(t, client)
	visitor(t, s)
}

// A descriptor that blocks, or is no socket, ends its own session at most.
func TestOddDescriptorsAreTheirSessionsAffair(t *testing.T) {
	s, client := house(t), clientOf(t)
	one := guestOf(t, s, 1)
	file, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	near, far := line(t)
	if err := unix.SetNonblock(descriptorOf(near), false); err != nil {
		t.Fatal(err)
	}
	nc := visitor(t, s)
	const sameLoop = 1 + 720_720 // however many there are, up to 16
	for id, fds := range map[uint64][]int{2: {int(file.Fd()), int(file.Fd())}, sameLoop: {descriptorOf(near), descriptorOf(near)}} {
		if _, _, err := nc.WriteMsgUnix((&word{kind: start, id: id}).append(nil), unix.UnixRights(fds...), nil); err != nil {
			t.Fatal(err)
		}
	}
	soon(t, "the one of the file has ended", func() bool { all := s.endings(); return len(all) > 0 && all[0].id == 2 })
	_, _ = io.WriteString(far, "hello")
	one.says(t, client)
}

// Without descriptors left a session is lost, which is said, and nothing else is.
func TestASessionForWhichThereIsNoDescriptorIsLostAloud(t *testing.T) {
	s, client := house(t), clientOf(t)
	one := guestOf(t, s, 1)
	nc := visitor(t, s)
	a, b := line(t)
	says := (&word{kind: start, id: 2, text: []byte("note")}).append(nil)
	beside := unix.UnixRights(descriptorOf(a), descriptorOf(b))

	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(openNow(t)) + 20, Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	var full []int
	for fd, err := unix.Dup(1); err == nil; fd, err = unix.Dup(1) {
		full = append(full, fd)
	}
	_, _, err := nc.WriteMsgUnix(says, beside, nil)
	if err == nil {
		soon(t, "its end is known", func() bool {
			all := s.endings()
			return len(all) == 1 && all[0].id == 2 && all[0].note == "note" && all[0].stats.Ended == relay.Lost
		})
	}
	for _, fd := range full {
		_ = unix.Close(fd)
	}
	_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &was)
	if err != nil {
		t.Fatal(err)
	}
	one.says(t, client)
}
