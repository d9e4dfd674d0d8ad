package backend

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"usher/internal/route"
	"usher/internal/wire"
)

// A run is a program that was started, and what became of it.
type run struct {
	net.Conn
	closed bool
}

func (r *run) Close() error {
	r.closed = true
	return r.Conn.Close()
}

// here is a target on this machine, whose program greets after a while, or never.
func here(timeout time.Duration) route.Dial {
	return route.Dial{Stops: []route.Stop{{Backend: route.LocalName, Addr: "imap", Exec: &route.Exec{Program: "imap"}, ConnectTimeout: timeout}}}
}

// unavailable is a refusal that is not final.
type unavailable struct{ error }

func (unavailable) Final() bool { return false }

// One login would be many processes, and at a node many times as many.
func TestAProgramThatRefusesIsNotStartedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		starts := 0
		o := New()
		o.Start = func(context.Context, route.Stop) (net.Conn, error) {
			starts++
			ours, theirs := net.Pipe()
			return ours, theirs.Close()
		}
		_, err := o.Open(t.Context(), here(time.Minute), func(context.Context, *wire.Conn, route.Stop) error {
			return unavailable{errors.New("[SYS/TEMP] the mailbox cannot be opened")}
		})
		if err == nil || starts != 1 {
			t.Errorf("it was started %d times: %v", starts, err)
		}
	})
}

func hear(_ context.Context, c *wire.Conn, _ route.Stop) error {
	_, err := c.ReadLine()
	return err
}

func TestAProgramThatDoesNotServeIsLeft(t *testing.T) {
	for _, c := range []struct {
		name  string
		plays func(net.Conn)
		want  string
	}{
		{"it greets", func(nc net.Conn) { _, _ = io.WriteString(nc, "* PREAUTH\r\n") }, ""},
		{"it ends", func(nc net.Conn) { _ = nc.Close() }, "local/imap: the program ended before it let the client in"},
		{"it hangs", func(net.Conn) {}, "deadline exceeded"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				defer theirs.Close()
				r := &run{Conn: ours}
				o := New()
				o.Start = func(context.Context, route.Stop) (net.Conn, error) {
					go c.plays(theirs)
					return r, nil
				}
				conn, err := o.Open(t.Context(), here(2*time.Second), hear)
				if c.want == "" && (err != nil || r.closed) {
					t.Errorf("%v, left %v", err, r.closed)
				}
				if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) && !strings.Contains(err.Error(), "timeout")) {
					t.Errorf("the error is %v, want %s", err, c.want)
				}
				if c.want != "" && !r.closed {
					t.Error("it is not left")
				}
				if conn != nil {
					_ = conn.Close()
				}
			})
		})
	}
}

// A program that cannot be started is left for the next stop, as a server is.
func TestAProgramThatCannotBeStartedIsLeftForTheNext(t *testing.T) {
	o := New()
	if _, err := o.Open(t.Context(), here(time.Second), welcome); !errors.Is(err, errNoStart) {
		t.Errorf("without anybody who starts: %v", err)
	}
	o.Start = func(context.Context, route.Stop) (net.Conn, error) { return nil, errors.New("no room") }
	far, near := net.Pipe()
	defer far.Close()
	o.Dial = func(context.Context, string, string) (net.Conn, error) { return near, nil }
	go func() { _, _ = io.WriteString(far, "* OK\r\n") }()
	d := here(time.Second)
	d.Stops = append(d.Stops, route.Stop{Backend: "east", Addr: "192.0.2.1:143"})
	c, err := o.Open(t.Context(), d, welcome)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}
