package backend

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"usher/internal/account"
	"usher/internal/login"
	"usher/internal/relay/relaytest"
	"usher/internal/route"
	"usher/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errDown = errors.New("connection refused")

// A network is one of names, addresses and those that are down. It keeps who
// was dialled, in order.
type network struct {
	mu      sync.Mutex
	names   map[string][]string
	down    map[string]bool
	hang    map[string]bool // a dial there never ends by itself
	mute    map[string]bool // it takes connections, and says nothing
	dialled []string
}

func (n *network) opener() *Opener {
	o := New()
	o.Dial, o.Resolve = n.dial, n.resolve
	return o
}

func (n *network) resolve(_ context.Context, host string) ([]string, error) {
	if ips, ok := n.names[host]; ok {
		return ips, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func (n *network) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	n.mu.Lock()
	n.dialled = append(n.dialled, addr)
	down, hang := n.down[addr], n.hang[addr]
	n.mu.Unlock()
	switch {
	case hang:
		<-ctx.Done()
		return nil, ctx.Err()
	case down:
		return nil, errDown
	}
	near, far := net.Pipe()
	go func() {
		if !n.mute[addr] {
			_, _ = io.WriteString(far, "* OK ready\r\n")
		}
		_, _ = io.Copy(io.Discard, far)
	}()
	return &named{near, addr}, nil
}

// named is a connection that knows where it goes.
type named struct {
	net.Conn
	addr string
}

// take returns who was dialled since the last time.
func (n *network) take() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	got := strings.Join(n.dialled, " ")
	n.dialled = nil
	return got
}

func stops(addrs ...string) (d route.Dial) {
	for _, a := range addrs {
		d.Stops = append(d.Stops, route.Stop{Backend: "b", Addr: a, TLS: account.TLSNone})
	}
	return d
}

func welcome(context.Context, *wire.Conn, route.Stop) error { return nil }

// later is a server that cannot serve now.
func later(context.Context, *wire.Conn, route.Stop) error {
	return login.Refused("the server", "UNAVAILABLE", "later")
}

func never(context.Context, *wire.Conn, route.Stop) error {
	return login.Refused("the server", "LIMIT", "never")
}

func broken(context.Context, *wire.Conn, route.Stop) error { return io.ErrUnexpectedEOF }

// bubble plays in synthetic time, and lets what was closed end.
func bubble(t *testing.T, play func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		play(t)
		synctest.Wait()
	})
}

func TestAddressesAreAskedInOrder(t *testing.T) {
	n := &network{
		names: map[string][]string{"mail": {"10.0.0.1", "2001:db8::1"}, "empty": {}},
		down:  map[string]bool{"10.0.0.1:143": true, "[2001:db8::1]:143": true},
	}
	bubble(t, func(t *testing.T) {
		o := n.opener()
		c, err := o.Open(t.Context(), stops("mail:143", "nowhere:1", "10.0.0.2:1143", "10.0.0.3:143"), welcome)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := n.take(), "10.0.0.1:143 [2001:db8::1]:143 10.0.0.2:1143"; got != want {
			t.Errorf("asked %s, want %s", got, want)
		}
		_ = c.Close()
	})
}

func TestTheStopThatServesIsTheOneThatIsEntered(t *testing.T) {
	n := &network{names: map[string][]string{"b": {"10.0.0.2"}}, down: map[string]bool{"10.0.0.1:143": true}}
	bubble(t, func(t *testing.T) {
		var entered []string
		c, err := n.opener().Open(t.Context(), stops("10.0.0.1:143", "b:143"), func(_ context.Context, c *wire.Conn, s route.Stop) error {
			entered = append(entered, s.Addr)
			return nil
		})
		if err != nil || !slices.Equal(entered, []string{"b:143"}) {
			t.Fatalf("entered %q, %v", entered, err)
		}
		if leg := c.Detach(); leg.Conn.(*named).addr != "10.0.0.2:143" {
			t.Errorf("the connection goes to %s", leg.Conn.(*named).addr)
		} else {
			_ = leg.Conn.Close()
		}
	})
}

func TestAnErrorNamesEveryAddressThatWasAsked(t *testing.T) {
	n := &network{names: map[string][]string{"mail": {"10.0.0.1", "10.0.0.2"}}, down: map[string]bool{"10.0.0.1:143": true, "10.0.0.2:143": true}}
	bubble(t, func(t *testing.T) {
		_, err := n.opener().Open(t.Context(), stops("mail:143", "nowhere:143", "10.0.0.3:143"), broken)
		if err == nil || strings.Contains(err.Error(), "\n") || !errors.Is(err, errDown) || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("%v", err)
		}
		for _, want := range []string{
			"b/mail:143 (10.0.0.1:143): connection refused", "b/mail:143 (10.0.0.2:143): connection refused",
			"b/nowhere:143: lookup nowhere: no such host", "b/10.0.0.3:143: unexpected EOF",
		} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q lacks %q", err, want)
			}
		}
		if login.ReasonOf(err) != login.Unavailable {
			t.Errorf("the reason is %v", login.ReasonOf(err))
		}
	})
}

func TestNoAddressAtAllIsAnError(t *testing.T) {
	n := &network{names: map[string][]string{"empty": nil}}
	for _, d := range []route.Dial{stops("empty:143"), stops(), stops("no port")} {
		if c, err := n.opener().Open(t.Context(), d, welcome); err == nil {
			t.Errorf("%v is open: %v", d, c)
		}
	}
}

func TestAFinalRefusalEndsTheSearch(t *testing.T) {
	n := &network{}
	bubble(t, func(t *testing.T) {
		began := time.Now()
		_, err := n.opener().Open(t.Context(), stops("10.0.0.1:1", "10.0.0.2:1"), never)
		if got := n.take(); got != "10.0.0.1:1" || login.ReasonOf(err) != login.NotPermitted || time.Since(began) != 0 {
			t.Errorf("asked %s, %v", got, err)
		}
		if !strings.Contains(err.Error(), "b/10.0.0.1:1: ") {
			t.Errorf("%q does not say who refused", err)
		}
	})
}

func TestARefusalBehindFailuresIsStillFinal(t *testing.T) {
	n := &network{down: map[string]bool{"10.0.0.1:1": true}}
	bubble(t, func(t *testing.T) {
		_, err := n.opener().Open(t.Context(), stops("10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"), never)
		if got := n.take(); got != "10.0.0.1:1 10.0.0.2:1" || login.ReasonOf(err) != login.NotPermitted {
			t.Errorf("asked %s, %v", got, err)
		}
	})
}

func TestServersThatAreBusyAreAskedAgain(t *testing.T) {
	n := &network{}
	bubble(t, func(t *testing.T) {
		began, tries := time.Now(), 0
		c, err := n.opener().Open(t.Context(), stops("10.0.0.1:1"), func(ctx context.Context, c *wire.Conn, s route.Stop) error {
			if tries++; tries < 3 {
				return later(ctx, c, s)
			}
			return nil
		})
		if err != nil || tries != 3 || time.Since(began) != 2*time.Second {
			t.Fatalf("%v after %d tries and %v", err, tries, time.Since(began))
		}
		_ = c.Close()
	})
}

func TestServersAreNotAskedForEver(t *testing.T) {
	for _, c := range []struct {
		name  string
		enter enterFunc
		want  int // times that both are asked
	}{
		{"busy", later, 1 + maxReconnects},
		{"broken", broken, 1}, // it will not mend within seconds
	} {
		n := &network{}
		bubble(t, func(t *testing.T) {
			_, err := n.opener().Open(t.Context(), stops("10.0.0.1:1", "10.0.0.2:1"), c.enter)
			if got := len(strings.Fields(n.take())); got != 2*c.want || err == nil {
				t.Errorf("%s: %d connections, %v; want %d", c.name, got, err, 2*c.want)
			}
		})
	}
}

func TestTheTimeoutIsForAllTogether(t *testing.T) {
	n := &network{hang: map[string]bool{"10.0.0.1:1": true, "10.0.0.2:1": true}}
	bubble(t, func(t *testing.T) {
		d := stops("10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1", "10.0.0.4:1")
		d.Stops[0].ConnectTimeout, d.Stops[1].ConnectTimeout = time.Second, time.Minute
		d.Timeout = 10 * time.Second
		began := time.Now()
		_, err := n.opener().Open(t.Context(), d, func(context.Context, *wire.Conn, route.Stop) error {
			time.Sleep(time.Minute) // of what is left; see below
			return io.EOF
		})
		if got := n.take(); got != "10.0.0.1:1 10.0.0.2:1 10.0.0.3:1" || !strings.Contains(err.Error(), "b/10.0.0.4:1: no time left") {
			t.Errorf("asked %s, %v", got, err)
		}
		// One second as written, then a third of the nine that were left.
		if took := time.Since(began); took != (1+3+60)*time.Second || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// A server that hangs leaves time for the next, though nobody set a time for it.
func TestASilentServerTakesOnlyItsShareOfTheTime(t *testing.T) {
	n := &network{mute: map[string]bool{"10.0.0.1:1": true}}
	bubble(t, func(t *testing.T) {
		d := stops("10.0.0.1:1", "10.0.0.2:1")
		d.Timeout = 10 * time.Second
		began := time.Now()
		c, err := n.opener().Open(t.Context(), d, welcome)
		if took := time.Since(began); err != nil || took != 5*time.Second {
			t.Fatalf("%v after %v", err, took)
		}
		_ = c.Close()
	})
}

func TestWhoGoesAwayEndsTheSearch(t *testing.T) {
	n := &network{}
	bubble(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		time.AfterFunc(time.Second, cancel)
		_, err := n.opener().Open(ctx, stops("10.0.0.1:1", "10.0.0.2:1"), func(_ context.Context, c *wire.Conn, _ route.Stop) error {
			_, _ = c.ReadLine() // the greeting
			_, err := c.ReadLine()
			return err
		})
		if took := time.Since(began); took != time.Second || !errors.Is(err, wire.ErrInterrupted) || n.take() != "10.0.0.1:1" {
			t.Errorf("%v after %v", err, took)
		}
	})
}

func TestAnAddressThatDoesNotAnswerIsLeftForTheNext(t *testing.T) {
	n := &network{hang: map[string]bool{"10.0.0.1:1": true}}
	bubble(t, func(t *testing.T) {
		d := stops("10.0.0.1:1", "10.0.0.2:1")
		d.Stops[0].ConnectTimeout = 5 * time.Second
		began := time.Now()
		c, err := n.opener().Open(t.Context(), d, welcome)
		if err != nil || time.Since(began) != 5*time.Second {
			t.Fatalf("%v after %v", err, time.Since(began))
		}
		_ = c.Close()
	})
}

func TestBusyServersAreNotWaitedForBeyondTheTimeout(t *testing.T) {
	n := &network{}
	bubble(t, func(t *testing.T) {
		d := stops("10.0.0.1:1")
		d.Timeout = 1500 * time.Millisecond
		began := time.Now()
		_, err := n.opener().Open(t.Context(), d, later)
		if took := time.Since(began); took != d.Timeout || login.ReasonOf(err) != login.Unavailable {
			t.Errorf("%v after %v", err, took)
		}
	})
}

func TestASilentServerIsLeftWhenTheTimeIsUp(t *testing.T) {
	n := &network{}
	bubble(t, func(t *testing.T) {
		d := stops("10.0.0.1:1")
		d.Timeout = 3 * time.Second
		began := time.Now()
		_, err := n.opener().Open(t.Context(), d, func(_ context.Context, c *wire.Conn, _ route.Stop) error {
			_, _ = c.ReadLine() // the greeting
			_, err := c.ReadLine()
			return err
		})
		if took := time.Since(began); took != 3*time.Second || err == nil {
			t.Errorf("%v after %v", err, took)
		}
	})
}

func TestAddressesThatFailedAreAskedLastForAWhile(t *testing.T) {
	n := &network{down: map[string]bool{"10.0.0.1:1": true}}
	bubble(t, func(t *testing.T) {
		o := n.opener()
		open := func() string {
			t.Helper()
			c, err := o.Open(t.Context(), stops("10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"), welcome)
			if err != nil {
				t.Fatal(err)
			}
			_ = c.Close()
			return n.take()
		}
		for _, c := range []struct {
			wait time.Duration
			up   bool
			want string
		}{
			{0, false, "10.0.0.1:1 10.0.0.2:1"},
			{0, false, "10.0.0.2:1"}, // it is sick
			{sickFor, false, "10.0.0.1:1 10.0.0.2:1"},
			{sickFor - time.Nanosecond, true, "10.0.0.2:1"},
			{time.Nanosecond, true, "10.0.0.1:1"}, // well again
			{0, true, "10.0.0.1:1"},
		} {
			time.Sleep(c.wait)
			n.mu.Lock()
			n.down["10.0.0.1:1"] = !c.up
			n.mu.Unlock()
			if got := open(); got != c.want {
				t.Errorf("after %v asked %s, want %s", c.wait, got, c.want)
			}
		}
	})
}

// Whom a server refuses for good is no reason to call the server sick.
func TestARefusalDoesNotMakeAServerSick(t *testing.T) {
	n := &network{}
	bubble(t, func(t *testing.T) {
		o := n.opener()
		_, _ = o.Open(t.Context(), stops("10.0.0.1:1", "10.0.0.2:1"), never)
		n.take()
		c, err := o.Open(t.Context(), stops("10.0.0.1:1", "10.0.0.2:1"), welcome)
		if got := n.take(); err != nil || got != "10.0.0.1:1" {
			t.Fatalf("asked %s, %v", got, err)
		}
		_ = c.Close()
	})
}

func TestWhenAllAreSickAllAreAsked(t *testing.T) {
	n := &network{down: map[string]bool{"10.0.0.1:1": true, "10.0.0.2:1": true}}
	bubble(t, func(t *testing.T) {
		o := n.opener()
		for range 2 {
			_, err := o.Open(t.Context(), stops("10.0.0.1:1", "10.0.0.2:1"), welcome)
			if got := n.take(); err == nil || got != "10.0.0.1:1 10.0.0.2:1" {
				t.Errorf("asked %s, %v", got, err)
			}
		}
	})
}

func TestManyOpenAtOnce(t *testing.T) {
	n := &network{down: map[string]bool{"10.0.0.1:1": true}}
	bubble(t, func(t *testing.T) {
		o := n.opener()
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				c, err := o.Open(t.Context(), stops("10.0.0.1:1", "10.0.0.2:1"), welcome)
				if err != nil {
					t.Error(err)
					return
				}
				_ = c.Close()
			})
		}
		wg.Wait()
	})
}

func TestAServerThatNeverStopsTalkingIsLeft(t *testing.T) {
	o := New()
	near, far := net.Pipe()
	o.Dial = func(context.Context, string, string) (net.Conn, error) { return near, nil }
	go func() {
		for {
			if _, err := io.WriteString(far, "* OK still here\r\n"); err != nil {
				return
			}
		}
	}()
	_, err := o.Open(t.Context(), stops("10.0.0.1:1"), func(_ context.Context, c *wire.Conn, _ route.Stop) error {
		for {
			if _, err := c.ReadLine(); err != nil {
				return err
			}
		}
	})
	if !errors.Is(err, wire.ErrTooMuch) {
		t.Errorf("%v", err)
	}
}

// under is a backend with implicit TLS, whose certificate is for localhost.
func under(t *testing.T, addr string, anyCert bool) error {
	t.Helper()
	near, far := relaytest.Sockets(t)
	server, client := relaytest.TLS(tls.VersionTLS13)
	served := make(chan struct{})
	go func() {
		defer close(served)
		s := tls.Server(far, server)
		_, _ = io.WriteString(s, "* OK ready\r\n")
		_ = far.CloseWrite()
	}()
	o := New()
	o.Dial = func(context.Context, string, string) (net.Conn, error) { return near, nil }
	o.Resolve = func(context.Context, string) ([]string, error) { return []string{"127.0.0.1"}, nil }
	d := route.Dial{Stops: []route.Stop{{Backend: "b", Addr: addr, TLS: account.TLSImplicit, Config: client, AnyCert: anyCert}}}
	c, err := o.Open(t.Context(), d, func(_ context.Context, c *wire.Conn, _ route.Stop) error {
		if c.TLS() == nil {
			return errors.New("not under TLS")
		}
		return nil
	})
	if err == nil {
		_ = c.Close()
	}
	<-served
	return err
}

func TestACertificateIsForTheNameThatWasConfigured(t *testing.T) {
	for _, c := range []struct {
		addr    string
		anyCert bool
		want    bool
	}{
		{"localhost:993", false, true},
		{"127.0.0.1:993", false, true},
		{"other.example.org:993", false, false},
		{"other.example.org:993", true, true},
	} {
		err := under(t, c.addr, c.anyCert)
		if (err == nil) != c.want {
			t.Errorf("%s, any-cert %v: %v", c.addr, c.anyCert, err)
		}
		if err != nil && !strings.Contains(err.Error(), "TLS handshake") {
			t.Errorf("the error does not say where it failed: %v", err)
		}
	}
}

func TestAnUnknownTargetIsABug(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	_, _ = New().Open(t.Context(), other{}, welcome)
}

type other struct{}

func (other) Name() string { return "other" }

// The header comes first, before TLS too, and only where it is wanted.
func TestAPrefaceIsSaidBeforeAllElse(t *testing.T) {
	server, client := relaytest.TLS(tls.VersionTLS13)
	for _, mode := range []account.TLSMode{account.TLSNone, account.TLSImplicit} {
		near, far := relaytest.Sockets(t)
		o := New()
		o.Dial = func(context.Context, string, string) (net.Conn, error) { return near, nil }
		said := make(chan string, 1)
		go func() {
			b := make([]byte, len("preface"))
			_, _ = io.ReadFull(far, b)
			said <- string(b)
			c := net.Conn(far)
			if mode == account.TLSImplicit {
				c = tls.Server(far, server)
			}
			_, _ = io.WriteString(c, "* OK ready\r\n")
		}()
		d := stops("localhost:143")
		d.Stops[0].TLS, d.Stops[0].Config, d.Stops[0].Preface, d.Stops[0].AnyCert = mode, client, []byte("preface"), true
		o.Resolve = func(context.Context, string) ([]string, error) { return []string{"127.0.0.1"}, nil }
		c, err := o.Open(t.Context(), d, welcome)
		if err != nil || <-said != "preface" {
			t.Fatalf("%v: %v", mode, err)
		}
		_, _ = c.Close(), far.Close()
	}
}

func TestAServerThatDoesNotTakeThePrefaceIsLeft(t *testing.T) {
	near, far := net.Pipe()
	_ = far.Close()
	o := New()
	o.Dial = func(context.Context, string, string) (net.Conn, error) { return near, nil }
	d := stops("10.0.0.1:143")
	d.Stops[0].Preface = []byte("preface")
	if _, err := o.Open(t.Context(), d, welcome); err == nil || !strings.Contains(err.Error(), "PROXY header") {
		t.Errorf("%v", err)
	}
}
