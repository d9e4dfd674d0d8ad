package sql

import (
	"io"
	"net"
	"testing"
	"time"

	"usher/internal/account"
)

// Of two servers the first is asked while it is well. One that is stopped costs
// nobody any time, one that is frozen costs somebody half the timeout, once; and when
// it is back, it is asked again.
func theNextServerAnswers(t *testing.T, d *database) {
	if d.server == nil {
		t.Skip("a file is alone")
	}
	second := d.another(t)
	admin := map[string]string{"postgres": "postgres", "mysql": ""}[d.driver]
	second.Exec(t, admin, "CREATE DATABASE "+d.name)
	for i, s := range []runs{d.server, second} {
		s.Exec(t, d.name, "CREATE TABLE t (name varchar(99), host varchar(9)); INSERT INTO t VALUES ('ann@example.org', '"+[]string{"first", "second"}[i]+"')")
	}
	const limit = 2 * time.Second
	s := d.open(t, settings{Lookup: mustParse(t, "SELECT host FROM t WHERE name = '%u'"), Hosts: []string{d.server.Addr(), second.Addr()}, Timeout: limit})
	expect := func(host string, within time.Duration) {
		t.Helper()
		began := time.Now()
		if got := fields(t, s, "ann@example.org")["host"]; got != host {
			t.Errorf("%q answers, not %q", got, host)
		}
		if took := time.Since(began); took > within {
			t.Errorf("%q has answered after %v", host, took)
		}
	}
	failback := func() {
		t.Helper()
		for began := time.Now(); fields(t, s, "ann@example.org")["host"] != "first"; time.Sleep(20 * time.Millisecond) {
			if time.Since(began) > 10*time.Second {
				t.Fatal("the first server is not asked again")
			}
		}
	}
	soon, half := limit/2-100*time.Millisecond, limit/2+limit/4
	expect("first", soon)

	d.server.Stop()
	for range 10 {
		expect("second", soon)
	}
	d.server.Start()
	failback()

	d.server.Freeze()
	expect("second", half)
	for range 10 {
		expect("second", soon)
	}
	d.server.Thaw()
	failback()

	second.Freeze() // which nobody asks
	expect("first", soon)
	d.server.Freeze()
	if _, err := s.Ask(t.Context(), account.Query{Name: "ann@example.org"}); err == nil {
		t.Error("two frozen servers answer")
	}
	began := time.Now()
	_, err := s.Ask(t.Context(), account.Query{Name: "ann@example.org"})
	wantError(t, err, "down since")
	if took := time.Since(began); took > soon {
		t.Errorf("when all are down the second waits too: %v", took)
	}
	second.Thaw()
	wellAgain(t, s)
	d.server.Thaw()
	failback()
}

// relay passes connections on, so that a server is found at another address too.
func relay(t *testing.T, from, to string) {
	t.Helper()
	ln, err := net.Listen("tcp", from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go accept(ln, to)
}

// accept is the goroutine of a relay; it ends with the listener.
func accept(ln net.Listener, to string) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		s, err := net.Dial("tcp", to)
		if err != nil {
			c.Close()
			continue
		}
		go pass(c, s)
		go pass(s, c)
	}
}

// pass ends with either connection.
func pass(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	to.Close()
	from.Close()
}
