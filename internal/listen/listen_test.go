package listen_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"usher/internal/imap"
	"usher/internal/limit"
	"usher/internal/listen"
	"usher/internal/login"
	"usher/internal/pop3"
	"usher/internal/route"
	"usher/internal/wire"
)

var protocols = []login.Protocol{imap.Protocol{}, pop3.Protocol{}}

// each plays at a house of each protocol.
func each(t *testing.T, change func(*house), play func(*testing.T, *house)) {
	for _, p := range protocols {
		t.Run(p.Info().Name, func(t *testing.T) { open(t, p, change, play) })
	}
}

func TestAnErrorOfListeningSaysWhatToDo(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for _, c := range []struct {
		addr   string
		is     error
		remedy string
	}{
		{taken.Addr().String(), syscall.EADDRINUSE, "another program has this port"},
		{"192.0.2.1:0", syscall.EADDRNOTAVAIL, "this machine does not have that address"},
		{"127.0.0.1:99999", nil, "check addr in [[listen]]"},
	} {
		ln, err := listen.Own(t.Context(), c.addr)
		if err == nil {
			_ = ln.Close()
			t.Errorf("%s is open", c.addr)
			continue
		}
		if c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.remedy) || !strings.HasPrefix(err.Error(), "cannot listen on "+c.addr+": ") {
			t.Errorf("%s: %v", c.addr, err)
		}
	}
}

func TestWithoutRightsTheErrorSaysWhoMayListen(t *testing.T) {
	low, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	if err != nil || os.Geteuid() == 0 || strings.TrimSpace(string(low)) < "2" {
		t.Skip("here every port may be used")
	}
	if _, err := listen.Own(t.Context(), "127.0.0.1:1"); !strings.Contains(fmt.Sprint(err), "CAP_NET_BIND_SERVICE") {
		t.Errorf("%v", err)
	}
}

func TestOwnListens(t *testing.T) {
	ln, err := listen.Own(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = nc.Close()
}

func TestALoginGoesThrough(t *testing.T) {
	each(t, nil, func(_ *testing.T, h *house) { h.visit() })
}

func TestAPassingErrorOfAcceptPasses(t *testing.T) {
	each(t, nil, func(t *testing.T, h *house) {
		began := time.Now()
		for range 10 {
			h.door.errs <- &net.OpError{Op: "accept", Err: os.NewSyscallError("accept", syscall.EMFILE)}
		}
		h.visitAfter()
		took := time.Since(began)
		if took < 100*time.Millisecond || took > 10*time.Second {
			t.Errorf("after 10 errors it accepts again in %v: too eager, or too late", took)
		}
		if n := strings.Count(h.log.String(), "cannot accept"); n != 3 {
			t.Errorf("10 errors in 2.3 seconds are %d lines, want 3", n)
		}
	})
}

// visitAfter comes when the listener accepts again.
func (h *house) visitAfter() {
	v := h.enter("192.0.2.98:1")
	_ = v.nc.Close()
}

func TestAStopNeedNotWaitForAnErrorToPass(t *testing.T) {
	open(t, imap.Protocol{}, nil, func(t *testing.T, h *house) {
		for range 20 {
			h.door.errs <- &net.OpError{Op: "accept", Err: syscall.EMFILE}
		}
		began := time.Now()
		h.stop()
		synctest.Wait()
		if len(h.served) != 1 || time.Since(began) != 0 {
			t.Errorf("it takes longer than %v to stop", time.Since(began))
		}
	})
}

// A listener that fails for good ends, and does not leave its clients waiting.
func TestAListenerThatFailsTellsItsClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, imap.Protocol{})
		go func() { h.served <- h.listener.Serve(t.Context(), t.Context()) }()
		v := h.enter("192.0.2.7:1")
		v.hear("* OK ")
		broken := errors.New("broken")
		began := time.Now()
		h.door.errs <- broken
		v.hear("* BYE [UNAVAILABLE]")
		if err := <-h.served; !errors.Is(err, broken) || time.Since(began) != 0 {
			t.Errorf("ended with %v after %v", err, time.Since(began))
		}
		_ = v.nc.Close()
	})
}

func TestConnectionsBeforeLoginAreLimitedByAddress(t *testing.T) {
	each(t, func(h *house) { h.desk.Limits.Set(limit.Bounds{LoginsPerAddress: 2}) }, func(t *testing.T, h *house) {
		a, b := h.enter("192.0.2.7:1"), h.enter("192.0.2.7:2")
		_, _ = a.in.ReadString('\n')
		_, _ = b.in.ReadString('\n')
		if got := h.enter("192.0.2.7:3").rest(); got != h.service.Protocol.Info().Full+"\r\n" {
			t.Errorf("the third heard %q", got)
		}
		if !strings.Contains(h.log.String(), `msg="connection refused"`) || !strings.Contains(h.log.String(), "remote=192.0.2.7:3") {
			t.Errorf("the log says %s", h.log.String())
		}
		h.visit() // from elsewhere
		_ = a.nc.Close()
		synctest.Wait()
		again := h.enter("192.0.2.7:4")
		if line, err := again.in.ReadString('\n'); err != nil {
			t.Errorf("after one has left, the next heard %q %v", line, err)
		}
		_, _ = b.nc.Close(), again.nc.Close()
	})
}

// Those who are refused must not fill the disk, nor the room that is left.
func TestAFloodOfRefusedClientsIsToldInBrief(t *testing.T) {
	each(t, func(h *house) { h.desk.Limits.Set(limit.Bounds{Connections: 1}) }, func(t *testing.T, h *house) {
		leave := h.desk.Limits.Adopt("bob", netip.Addr{}) // takes all the room, and is known
		var deaf []*visitor
		for range 100 { // who do not even read the answer
			deaf = append(deaf, h.enter("192.0.2.8:1"))
		}
		synctest.Wait()
		if got := h.enter("192.0.2.9:1").rest(); got != "" {
			t.Errorf("one more heard %q: how many are told at once has no bound", got)
		}
		if n := strings.Count(h.log.String(), "connection refused"); n != 1 {
			t.Errorf("101 refusals in no time are %d lines", n)
		}
		time.Sleep(10 * time.Second)
		if got := h.enter("192.0.2.9:2").rest(); got != h.service.Protocol.Info().Full+"\r\n" {
			t.Errorf("when the deaf have gone, one more heard %q", got)
		}
		if !strings.Contains(h.log.String(), "others=100") {
			t.Errorf("the log says %s", h.log.String())
		}
		leave.Release()
		for _, v := range deaf {
			_ = v.nc.Close()
		}
		synctest.Wait()
		h.visit()
	})
}

// rush is a door before which so many clients wait at once.
type rush struct {
	*door
	clients    int
	open, most atomic.Int32
}

func (r *rush) Accept() (net.Conn, error) {
	if r.clients == 0 {
		return r.door.Accept()
	}
	r.clients--
	near, far := net.Pipe()
	r.most.Store(max(r.most.Load(), r.open.Add(1)))
	return &counted{guest{near, netip.MustParseAddrPort("192.0.2.8:1")}, far, &r.open}, nil
}

// counted is a client that says nothing; far keeps its end.
type counted struct {
	guest
	far  net.Conn
	open *atomic.Int32
}

func (c *counted) Close() error {
	c.open.Add(-1)
	return c.guest.Close()
}

// Descriptors of those who are refused come out of a small reserve.
func TestARushOfRefusedClientsHoldsFewDescriptors(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // goroutines wait for their turn
	r := &rush{clients: 1000}
	change := func(h *house) {
		h.desk.Limits.Set(limit.Bounds{Connections: 1})
		h.desk.Limits.Adopt("bob", netip.Addr{})
		r.door, h.listener.Net = h.door, r
	}
	open(t, imap.Protocol{}, change, func(t *testing.T, _ *house) {
		synctest.Wait()
		if most := r.most.Load(); most > 20 {
			t.Errorf("%d clients have a descriptor at once, where there is room for one", most)
		}
	})
}

// As at a reload: what has begun goes on by the old rules.
func TestANewServiceIsForThoseWhoComeNext(t *testing.T) {
	each(t, nil, func(t *testing.T, h *house) {
		before := h.enter("192.0.2.7:1")
		_, _ = before.in.ReadString('\n')
		h.listener.Use(&listen.Service{
			Protocol: h.service.Protocol, Desk: h.desk, Limits: limit.New(limit.Bounds{Connections: 1}), Refusals: &listen.Refusals{}, Log: h.service.Log,
			Terms: login.Terms{Hostname: "usher", Cleartext: login.CleartextAlways},
		})
		ended := make(chan struct{})
		go func() { h.service.Wait(); close(ended) }()
		h.visit()
		synctest.Wait()
		select {
		case <-ended:
			t.Error("the old service does not wait for its client")
		default:
		}
		_ = before.nc.Close()
		<-ended
	})
}

func TestAClosedListenerLeavesItsClientsInPeace(t *testing.T) {
	each(t, nil, func(t *testing.T, h *house) {
		v := h.enter("192.0.2.7:1")
		_, _ = v.in.ReadString('\n')
		h.listener.Close()
		synctest.Wait()
		if len(h.served) > 0 {
			t.Error("Serve does not wait for the client")
		}
		verb := map[string]string{"imap": "a NOOP\r\n", "pop3": "CAPA\r\n"}[h.service.Protocol.Info().Name]
		_ = v.say(verb)
		if line, err := v.in.ReadString('\n'); err != nil || strings.Contains(line, "going down") {
			t.Errorf("heard %q %v", line, err)
		}
		_ = v.nc.Close()
	})
}

// While another process accepts, this one does not; it goes on if that one fails.
func TestASuspendedListenerLeavesClientsToOthers(t *testing.T) {
	ln, err := listen.Own(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, imap.Protocol{})
	h.listener.Net = ln
	ctx, stop := context.WithCancel(t.Context())
	go func() { h.served <- h.listener.Serve(ctx, t.Context()) }()
	greeted := func(within time.Duration) bool {
		nc, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = nc.Close() }()
		_ = nc.SetDeadline(time.Now().Add(within))
		n, _ := nc.Read(make([]byte, 1))
		return n == 1
	}
	if !greeted(10 * time.Second) {
		t.Error("nobody is there before")
	}
	h.listener.Suspend()
	h.listener.Suspend()
	_ = greeted(100 * time.Millisecond) // who came in the same moment is served
	if greeted(100 * time.Millisecond) {
		t.Error("a suspended listener accepts")
	}
	h.listener.Resume()
	if !greeted(10 * time.Second) {
		t.Error("nobody is there afterwards")
	}
	h.listener.Suspend()
	stop()
	if err := <-h.served; err != nil {
		t.Errorf("a suspended listener ended with %v", err)
	}
}

func TestAStopTellsThoseThatWait(t *testing.T) {
	each(t, nil, func(t *testing.T, h *house) {
		v := h.enter("192.0.2.7:1")
		_, _ = v.in.ReadString('\n')
		began := time.Now()
		h.stop()
		if got := v.rest(); !strings.Contains(got, "going down") || time.Since(began) != 0 {
			t.Errorf("heard %q after %v", got, time.Since(began))
		}
	})
}

func TestAStopLetsALoginOnItsWayEnd(t *testing.T) {
	slow := func(h *house) {
		h.desk.FailureDelay = 5 * time.Second
	}
	open(t, imap.Protocol{}, slow, func(t *testing.T, h *house) {
		v := h.enter("192.0.2.7:1")
		v.hear("* OK ")
		_ = v.say("a LOGIN ann wrong\r\n")
		synctest.Wait()
		h.stop()
		v.hear("a NO [AUTHENTICATIONFAILED]")
		v.hear("* BYE [UNAVAILABLE]")
	})
}

// A stop that has waited long enough ends them.
func TestAnAbortEndsALoginOnItsWay(t *testing.T) {
	hanging := func(h *house) { h.desk.Backends = nobody{} }
	open(t, imap.Protocol{}, hanging, func(t *testing.T, h *house) {
		v := h.enter("192.0.2.7:1")
		v.hear("* OK ")
		_ = v.say("a LOGIN ann secret\r\n")
		synctest.Wait()
		h.stop()
		time.Sleep(time.Hour)
		began := time.Now()
		h.abort()
		v.hear("a NO [UNAVAILABLE]")
		v.hear("* BYE [UNAVAILABLE]")
		if took := time.Since(began); took != 0 {
			t.Errorf("it takes %v", took)
		}
	})
}

// nobody is a backend that never answers.
type nobody struct{}

func (nobody) Open(ctx context.Context, _ route.Target, _ func(context.Context, *wire.Conn, route.Stop) error) (*wire.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// A conversation that panics is a bug, which the others must not feel.
func TestABugEndsOneConversationOnly(t *testing.T) {
	bug := func(h *house) {
		h.desk.Verifier = nil // the first login calls it
	}
	open(t, imap.Protocol{}, bug, func(t *testing.T, h *house) {
		v := h.enter("192.0.2.7:1")
		v.hear("* OK ")
		_ = v.say("a LOGIN ann secret\r\n")
		if got := v.rest(); got != "" {
			t.Errorf("heard %q", got)
		}
		if !strings.Contains(h.log.String(), "bug: ") || strings.Contains(h.log.String(), "secret") {
			t.Errorf("the log says %s", h.log.String())
		}
		other := h.enter("192.0.2.8:1")
		other.hear("* OK ")
		_ = other.nc.Close()
	})
}

func TestOnlyTheProtocolsOwnNameIsNegotiated(t *testing.T) {
	base := &tls.Config{MinVersion: tls.VersionTLS13}
	for _, p := range protocols {
		c := listen.ServerConfig(base, p)
		if len(c.NextProtos) != 1 || c.NextProtos[0] != p.Info().ALPN || c.MinVersion != tls.VersionTLS13 || base.NextProtos != nil {
			t.Errorf("%s: %q; the common one has %q", p.Info().Name, c.NextProtos, base.NextProtos)
		}
	}
}
