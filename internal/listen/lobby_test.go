package listen_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"usher/internal/listen"
)

// lobby is one with the service of a house, as imap.
func (h *house) lobby() *listen.Lobby {
	l := &listen.Lobby{}
	l.Use(map[listen.Wanted]*listen.Service{{Protocol: "imap"}: h.service})
	return l
}

// Whoever comes from this machine by a way without addresses is no load balancer and no
// trusted proxy, also where those of 127.0.0.1 are: he cannot say that he is somebody else.
func TestANeighbourIsNotBelieved(t *testing.T) {
	each(t, func(h *house) {
		all := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("0.0.0.0/0")}
		h.service.Fronts, h.service.Trusted = all, all
	}, func(t *testing.T, h *house) {
		near, far := net.Pipe()
		if !h.lobby().Take(t.Context(), t.Context(), listen.Wanted{Protocol: "imap"}, listen.Guest{Conn: far, Neighbour: true}) {
			t.Fatal("he is not taken")
		}
		in := bufio.NewReader(near)
		greeting, err := in.ReadString('\n')
		if err != nil || strings.Contains(greeting, "XCLIENT") {
			t.Errorf("he hears %q %v, as if he were a front end", greeting, err)
		}
		_ = near.Close()
		h.service.Wait()
	})
}

func TestAClosedLobbyTakesNobody(t *testing.T) {
	each(t, nil, func(t *testing.T, h *house) {
		l := h.lobby()
		l.Close()
		near, far := net.Pipe()
		if l.Take(t.Context(), t.Context(), listen.Wanted{Protocol: "imap"}, listen.Guest{Conn: far}) {
			t.Error("a client is taken")
		}
		l.Reopen()
		if l.Take(t.Context(), t.Context(), listen.Wanted{Protocol: "gopher"}, listen.Guest{Conn: far}) {
			t.Error("a client of another protocol is taken")
		}
		go func() { _, _ = io.WriteString(far, "still ours\n") }()
		if line, err := bufio.NewReader(near).ReadString('\n'); line != "still ours\n" {
			t.Errorf("the connection was touched: %q %v", line, err)
		}
		_, _ = near.Close(), far.Close()
	})
}

// Who is in hears that usher goes down, and is waited for.
func TestALobbyWaitsForThoseWhoAreIn(t *testing.T) {
	each(t, nil, func(t *testing.T, h *house) {
		l := h.lobby()
		ctx, stop := context.WithCancel(t.Context())
		near, far := net.Pipe()
		l.Take(ctx, t.Context(), listen.Wanted{Protocol: "imap"}, listen.Guest{Conn: far})
		in := bufio.NewReader(near)
		_, _ = in.ReadString('\n')
		l.Close()
		stop()
		rest, _ := io.ReadAll(in)
		l.Wait()
		if !strings.Contains(string(rest), "going down") {
			t.Errorf("he hears %q", rest)
		}
	})
}
