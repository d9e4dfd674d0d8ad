package handover_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"usher/internal/handover"
	"usher/internal/relay"
	"usher/internal/session"
)

// part tells a process started by a test which successor it plays.
const part = "HANDOVER_TEST_PART"

func TestMain(m *testing.M) {
	if p := os.Getenv(part); p != "" {
		if err := play(p); err != nil {
			fmt.Fprintln(os.Stderr, p, "successor:", err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// play is the life of a successor.
func play(part string) error {
	h, err := handover.Predecessor()
	if err != nil || h == nil {
		return fmt.Errorf("no predecessor: %w", err)
	}
	if again, _ := handover.Predecessor(); again != nil {
		return errors.New("its own children would think that they replace somebody")
	}
	if part == "sleepy" {
		time.Sleep(time.Hour)
	}
	all, err := h.Take()
	if err != nil {
		return err
	}
	if part == "helped" {
		if _, err := fmt.Fprintln(all.Helper.File, all.Helper.Seal); err != nil {
			return err
		}
		all.Helper.Close()
	} else if all.Helper != nil {
		return errors.New("there is a helper that nobody has given")
	}
	if part == "failing" {
		return errors.New("no")
	}
	go greet(all.Ports[0])
	if err := h.Ready(); err != nil {
		return err
	}
	if part == "crashing" {
		time.Sleep(50 * time.Millisecond) // it takes nothing
		return errors.New("crash")
	}
	return adopt(h)
}

// greet serves a port: whoever comes hears its name.
func greet(p handover.Port) {
	for {
		nc, err := p.Listener.Accept()
		if err != nil {
			return
		}
		_, _ = io.WriteString(nc, "successor at "+p.Name+"\n")
		_ = nc.Close()
	}
}

// adopt relays what it gets and tells each client at the end what it knew.
func adopt(h *handover.Heritage) error {
	engine := relay.NewGoroutines()
	open := 0
	ended := make(chan bool, 10)
	stood := false
	err := h.Adopt(handover.Adoption{
		Session: func(s handover.Session) {
			open++
			s.Pair.Farewell = fmt.Sprintf("%s %s by %s %s, %s to %s, %s idle %s, %d and %d bytes, mid-line %v, alone %v\n",
				s.Account, s.Remote, s.Front.Addr, s.Front.Ext, s.Near, s.Far, s.ID, s.Pair.Idle, s.Pair.Before.FromClient, s.Pair.Before.FromServer, s.Pair.MidLine, stood)
			s.Pair.MidLine = false
			engine.Start(s.Pair, func(relay.Stats) { ended <- true })
		},
		Kick:   func(id session.ID) { engine.Kick(uint64(id), relay.Kicked) },
		Stands: func() { stood = true },
	})
	for range open {
		<-ended
	}
	return err
}

func start(t *testing.T, p string) *handover.Successor {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s, err := handover.Start(self, nil, append(os.Environ(), part+"="+p))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func listener(t *testing.T) *net.TCPListener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln.(*net.TCPListener)
}

// sockets returns two ends of a connection.
func sockets(t *testing.T) (near, far net.Conn) {
	t.Helper()
	ln := listener(t)
	far, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	near, err = ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = far.SetDeadline(time.Now().Add(10 * time.Second))
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	return near, far
}

// someone is a session with its two peers.
func someone(t *testing.T) (s handover.Session, client, server net.Conn) {
	s.Session = session.Session{
		ID: 7, Account: "ann", Remote: netip.MustParseAddrPort("192.0.2.1:5"), Front: &session.Front{Addr: netip.MustParseAddrPort("10.0.0.9:6"), Ext: "front/1"},
		Near: netip.MustParseAddrPort("10.0.0.1:43211"), Far: netip.MustParseAddrPort("[2001:db8::2]:143"),
	}
	s.Pair = relay.Pair{ID: 7, Idle: time.Minute, Farewell: "* BYE\r\n", MidLine: true, Before: relay.Stats{FromClient: 3, FromServer: 4}}
	s.Pair.Client.Conn, client = sockets(t)
	s.Pair.Server.Conn, server = sockets(t)
	return s, client, server
}

func TestPortsAndSessionsGoOnInTheNextProcess(t *testing.T) {
	ln := listener(t)
	next := start(t, "good")
	defer next.Abandon()
	if err := next.Give(t.Context(), handover.Inventory{Ports: []handover.Port{{Name: ":143", Listener: ln}}, Sessions: 1}, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	s, client, server := someone(t)
	if moved, err := next.Move(s); !moved || err != nil {
		t.Fatal(moved, err)
	}
	if err := next.Alone(); err != nil {
		t.Fatal(err)
	}
	_, _, _ = s.Pair.Client.Conn.Close(), s.Pair.Server.Conn.Close(), ln.Close()
	_, _ = io.WriteString(client, "hello\n")
	if line, err := bufio.NewReader(server).ReadString('\n'); line != "hello\n" {
		t.Errorf("the server hears %q %v", line, err)
	}
	if err := next.Kick(s.ID); err != nil {
		t.Error(err)
	}
	heard, _ := io.ReadAll(client)
	if want := "ann 192.0.2.1:5 by 10.0.0.9:6 front/1, 10.0.0.1:43211 to [2001:db8::2]:143, " + session.ID(7).String() + " idle 1m0s, 3 and 4 bytes, mid-line true, alone false\n"; string(heard) != want {
		t.Errorf("the client hears %q, want %q", heard, want)
	}
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = nc.Close() }()
	if heard, _ := io.ReadAll(nc); string(heard) != "successor at :143\n" {
		t.Errorf("who comes hears %q", heard)
	}
	next.Finish()
}

func TestASuccessorThatDoesNotComeUpChangesNothing(t *testing.T) {
	for _, c := range []struct{ part, want string }{
		{"failing", "the new process ended (exit status 1)"},
		{"sleepy", "not ready within 100ms"},
	} {
		ln := listener(t)
		within := 10 * time.Second
		if c.part == "sleepy" {
			within = 100 * time.Millisecond
		}
		next := start(t, c.part)
		err := next.Give(t.Context(), handover.Inventory{Ports: []handover.Port{{Name: ":143", Listener: ln}}, Sessions: 1}, within)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.part, err)
		}
		go func() {
			if nc, err := net.Dial("tcp", ln.Addr().String()); err == nil {
				_ = nc.Close()
			}
		}()
		nc, err := ln.Accept()
		if err != nil {
			t.Fatalf("%s: the port is gone: %v", c.part, err)
		}
		_ = nc.Close()
	}
	if _, err := handover.Start("/nowhere/usher", nil, nil); err == nil || !strings.Contains(err.Error(), "/nowhere/usher") {
		t.Errorf("a program that is not there: %v", err)
	}
}

func TestASessionStaysWhereTheSuccessorDies(t *testing.T) {
	next := start(t, "crashing")
	if err := next.Give(t.Context(), handover.Inventory{Ports: []handover.Port{{Name: "a", Listener: listener(t)}}, Sessions: 1}, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	s, client, server := someone(t)
	if moved, err := next.Move(s); moved || err == nil {
		t.Fatalf("moved %v, %v", moved, err)
	}
	next.Abandon()
	engine, ended := relay.NewGoroutines(), make(chan relay.Stats, 1)
	engine.Start(s.Pair, func(st relay.Stats) { ended <- st })
	_, _ = io.WriteString(client, "hello\n")
	if line, err := bufio.NewReader(server).ReadString('\n'); line != "hello\n" {
		t.Errorf("the server hears %q %v", line, err)
	}
	_, _ = client.Close(), server.Close()
	if st := <-ended; st.FromClient != 3+6 {
		t.Errorf("%d bytes are counted", st.FromClient)
	}
}

func TestWhoIsStartedOrdinarilyReplacesNobody(t *testing.T) {
	if h, err := handover.Predecessor(); h != nil || err != nil {
		t.Error(h, err)
	}
	for _, word := range []string{"three", "", "-1", "0", "2"} {
		t.Setenv("USHER_HANDOVER", word)
		if _, err := handover.Predecessor(); err == nil || !strings.Contains(err.Error(), "unset it") {
			t.Errorf("%q: %v", word, err)
		}
	}
	if _, err := os.Stderr.Stat(); err != nil {
		t.Errorf("standard error: %v", err)
	}
}

// The helper that starts programs is the successor's, too, and it learns what it was
// made of.
func TestTheHelperComesAlong(t *testing.T) {
	ours, theirs := sockets(t)
	defer ours.Close()
	f, err := theirs.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	helper := &handover.Helper{File: f, Seal: "as it was"}
	defer helper.Close()
	next := start(t, "helped")
	all := handover.Inventory{Ports: []handover.Port{{Name: "a", Listener: listener(t)}}, Helper: helper}
	if err := next.Give(t.Context(), all, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	_ = theirs.Close()
	if line, err := bufio.NewReader(ours).ReadString('\n'); line != "as it was\n" {
		t.Errorf("the successor says %q, %v", line, err)
	}
	next.Abandon()
	(*handover.Helper)(nil).Close() // there need not be one
}
