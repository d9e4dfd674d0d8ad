package steward

import (
	"crypto/tls"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"usher/internal/relay"
	"usher/internal/relay/record"
)

// ends are the two ends of a socket that keeps messages apart.
func ends(t *testing.T) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fds[0], fds[1]
}

func connFor(t *testing.T, fd int) *net.UnixConn {
	t.Helper()
	nc, err := connOf(fd, "end")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	return nc
}

// line is one side of a session, and its far end.
func line(t *testing.T) (near net.Conn, far net.Conn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	far = relay.FromDescriptor(fds[1])
	t.Cleanup(func() { _ = far.Close() })
	_ = far.SetDeadline(time.Now().Add(time.Minute))
	return relay.FromDescriptor(fds[0]), far
}

func secret(c byte) []byte {
	b := make([]byte, 32)
	b[0] = c
	return b
}

// newKeys are those of the near side of a client.
func newKeys() *record.Keys {
	return &record.Keys{Suite: tls.TLS_AES_128_GCM_SHA256, Server: true, In: record.Half{Secret: secret(1)}, Out: record.Half{Secret: secret(2)}}
}

// house is a steward in this process, without its sandbox.
func house(t *testing.T) *Steward {
	t.Helper()
	ln, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(ln, "")
	if err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { s.Run(stop); close(stopped) }()
	t.Cleanup(func() { close(stop); <-stopped })
	visitor(t, s) // it has begun
	return s
}

// An heirloom is a session that a steward is about to pass on.
type heirloom struct{ client, server net.Conn }

// guestOf has a steward hold a session under TLS.
func guestOf(t *testing.T, s *Steward, id uint64) heirloom {
	t.Helper()
	near, client := line(t)
	back, server := line(t)
	s.take(relay.Pair{ID: id, Client: relay.Leg{Conn: near, Keys: newKeys()}, Server: relay.Leg{Conn: back}}, nil)
	return heirloom{client, server}
}

// An odd heir is the far end of a retirement.
type oddHeir struct {
	nc  *net.UnixConn
	in  *inbox
	out *outbox
}

// retired has a steward be replaced by the test.
func retired(t *testing.T, s *Steward) *oddHeir {
	t.Helper()
	h := silent(t, s)
	h.out.post(&word{kind: passed})
	return h
}

// silent is retired by a successor that says nothing.
func silent(t *testing.T, s *Steward) *oddHeir {
	t.Helper()
	a, b := ends(t)
	h := &oddHeir{nc: connFor(t, b)}
	h.in = newInbox(h.nc)
	var err error
	if h.out, err = newOutbox(h.nc, func(*word) {}); err != nil {
		t.Fatal(err)
	}
	if !s.retire(a) {
		t.Fatal("it does not retire")
	}
	return h
}

// hasNoRoom refuses all that comes, until there is nobody who could send more.
func (h *oddHeir) hasNoRoom() {
	for {
		words, err := h.in.next()
		if err != nil {
			return
		}
		for _, w := range words {
			for _, fd := range w.fds {
				_ = unix.Close(fd)
			}
			h.out.post(&word{kind: kept, id: w.id})
		}
	}
}

// hears waits for a word of one kind, and closes what comes with others.
func (h *oddHeir) hears(t *testing.T, want kind) word {
	t.Helper()
	for {
		words, err := h.in.next()
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range words {
			if w.kind == want {
				return w
			}
			w.drop()
		}
	}
}

func soon(t *testing.T, what string, isTrue func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !isTrue(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it never became true that %s", what)
		}
	}
}

func (s *Steward) endings() []ending {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]ending(nil), s.ends.list...)
}

// says has the server speak, and tells under which number of its key that reaches the
// client, which must be the one that is next.
func (h heirloom) says(t *testing.T, c *record.Conn) {
	t.Helper()
	if _, err := io.WriteString(h.server, "hello\r\n"); err != nil {
		t.Fatal(err)
	}
	sealed := make([]byte, 7+record.Overhead)
	if _, err := io.ReadFull(h.client, sealed); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Open(nil, sealed); err != nil || string(got) != "hello\r\n" {
		t.Errorf("the client hears %q %v", got, err)
	}
}

// closed holds that the client hears nothing more.
func (h heirloom) closed(t *testing.T) {
	t.Helper()
	if n, err := h.client.Read(make([]byte, 1)); n > 0 || err != io.EOF {
		t.Errorf("the client hears %d bytes, %v", n, err)
	}
}

func clientOf(t *testing.T) *record.Conn {
	t.Helper()
	k := newKeys()
	k.Server, k.In, k.Out = false, k.Out, k.In
	c, err := record.New(*k)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Two processes with one session would seal two records with one key and number. Whatever an
// heir does: what it may have, the one before it has not.
func TestNoTwoProcessesHaveOneSession(t *testing.T) {
	for _, c := range []struct {
		name string
		does func(t *testing.T, h *oddHeir, w word)
		back bool // the session goes on with the steward
	}{
		{"an heir that dies before it answers", func(_ *testing.T, h *oddHeir, _ word) { _ = h.nc.Close() }, true},
		{"an heir that has no room", func(_ *testing.T, h *oddHeir, w word) {
			h.out.post(&word{kind: kept, id: w.id})
			go h.hasNoRoom() // it is asked again and again
		}, true},
		{"an heir that answers and dies", func(_ *testing.T, h *oddHeir, w word) {
			h.out.post(&word{kind: adopted, id: w.id})
			_ = h.nc.Close()
		}, false},
		{"an heir that answers, and dies with something unread", func(t *testing.T, h *oddHeir, w word) {
			soon(t, "something more is sent to it", func() bool {
				n, _, err := unix.Recvfrom(descriptorOf(h.nc), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
				return n > 0 && err == nil
			})
			h.out.post(&word{kind: adopted, id: w.id})
			_ = h.nc.Close()
		}, false},
		{"an heir that cannot be understood", func(_ *testing.T, h *oddHeir, w word) {
			_, _ = h.nc.Write([]byte{0, 0, 0, 9, 1})
			h.out.post(&word{kind: adopted, id: w.id})
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, client := house(t), clientOf(t)
			one := guestOf(t, s, 1)
			one.says(t, client)
			h := retired(t, s)
			w := h.hears(t, moving)
			if n := w.pair.Client.Keys.Out.Number; n != 1 {
				t.Errorf("the next record is number %d", n)
			}
			guestOf(t, s, 2)
			c.does(t, h, w)
			if c.back {
				one.says(t, client)
			} else {
				for _, fd := range w.fds { // as if the heir had died with them
					_ = unix.Close(fd)
				}
				one.closed(t)
			}
		})
	}
}

// Who may have moved is not lost in silence.
func TestWhatAnHeirMayHaveIsEndedAloud(t *testing.T) {
	s := house(t)
	one := guestOf(t, s, 1)
	h := retired(t, s)
	w := h.hears(t, moving)
	_, _ = h.nc.Write([]byte{0, 0, 0, 9, 1})
	for _, fd := range w.fds {
		_ = unix.Close(fd)
	}
	one.closed(t)
	soon(t, "its end is known", func() bool {
		all := s.endings()
		return len(all) == 1 && all[0].id == 1 && all[0].stats.Ended == relay.Lost
	})
}

// An heir that cannot say that it has a session does not begin with it: the one before may
// have it still.
// A successor that hangs when it begins gets nothing that would hang with it.
func TestASilentSuccessorGetsNoSession(t *testing.T) {
	s, client := house(t), clientOf(t)
	one := guestOf(t, s, 1)
	h := silent(t, s)
	h.hears(t, heritage)
	_ = h.nc.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if words, err := h.in.next(); err == nil {
		t.Errorf("it hears %v", words)
	}
	one.says(t, client)
	_ = h.nc.Close()
}

func TestNoByteMovesBeforeTheAnswer(t *testing.T) {
	a, b := ends(t)
	if err := unix.SetsockoptInt(b, unix.SOL_SOCKET, unix.SO_SNDBUF, 1); err != nil { // as little as can be: a few answers
		t.Fatal(err)
	}
	old := connFor(t, a)
	out, err := newOutbox(old, func(*word) {})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	f, err := ln.File()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Dup(int(f.Fd()))
	_, _ = f.Close(), ln.Close()
	if err != nil {
		t.Fatal(err)
	}
	out.post(&word{kind: heritage, n: format, fds: []int{fd}})
	s, err := Succeed(connFor(t, b), "")
	if err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { s.Run(stop); close(stopped) }()
	defer func() { close(stop); <-stopped }()

	const many = 40
	var moved [many]chan struct{}
	for i := range moved {
		near, client := line(t)
		back, server := line(t)
		_, _ = io.WriteString(client, "hello\r\n")
		moved[i] = make(chan struct{})
		go func() {
			if _, err := io.ReadFull(server, make([]byte, 7)); err == nil {
				close(moved[i])
			}
		}()
		w := &word{kind: moving, id: uint64(i + 1), pair: relay.Pair{ID: uint64(i + 1), Client: relay.Leg{Conn: near}, Server: relay.Leg{Conn: back}}}
		out.post(w)
		t.Cleanup(func() { _, _ = near.Close(), back.Close() })
	}
	<-moved[0]
	select {
	case <-moved[many-1]:
		t.Error("the last one moves, and nobody has heard that it has come")
	case <-time.After(100 * time.Millisecond):
	}
	in := newInbox(old)
	for heard := 0; heard < many; {
		words, err := in.next()
		if err != nil {
			t.Fatal(err)
		}
		heard += len(words)
	}
	<-moved[many-1]
}
