package load_test

import (
	"bytes"
	"encoding/json"
	"net"
	"strings"
	"testing"

	"usher/bench/internal/load"
	"usher/bench/internal/store"
)

// start runs a store and returns where it is.
func start(t *testing.T, talk func(*store.Client)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go store.Serve(ln, talk)
	return ln.Addr().String()
}

// obey gives orders to a load, one after the other.
func obey(t *testing.T, orders ...load.Order) (results []load.Result) {
	t.Helper()
	var in, out bytes.Buffer
	for _, o := range orders {
		if err := json.NewEncoder(&in).Encode(o); err != nil {
			t.Fatal(err)
		}
	}
	if err := load.Serve(&in, &out); err != nil {
		t.Fatal(err)
	}
	for d := json.NewDecoder(&out); d.More(); {
		var r load.Result
		if err := d.Decode(&r); err != nil {
			t.Fatal(err)
		}
		results = append(results, r)
	}
	return results
}

func TestEveryOrderIsObeyedByTheBareStore(t *testing.T) {
	imap := load.Door{Protocol: "imap", Addr: start(t, store.IMAP)}
	pop3 := load.Door{Protocol: "pop3", Addr: start(t, store.POP3)}
	orders := []load.Order{
		{Do: load.Login, Door: imap, N: 20, Flight: 3},
		{Do: load.Login, Door: pop3, N: 20, Flight: 3},
		{Do: load.RoundTrip, Door: imap, N: 20},
		{Do: load.Hold, Door: imap, N: 5, Flight: 2},
		{Do: load.Hold, Door: imap, N: 9, Flight: 2},
		{Do: load.Release},
		{Do: load.Fetch, Door: imap, N: 70 << 20}, // more than one message
	}
	results := obey(t, orders...)
	if len(results) != len(orders) {
		t.Fatalf("%d results of %d orders", len(results), len(orders))
	}
	for i, r := range results {
		if r.Error != "" || r.Took == 0 {
			t.Errorf("%+v: %+v", orders[i], r)
		}
	}
}

// A proxy that refuses must not look fast.
func TestWhatFailsIsNoResult(t *testing.T) {
	rude := load.Door{Protocol: "imap", Addr: start(t, func(*store.Client) {})}
	for _, do := range []string{load.Login, load.Hold, load.Fetch, load.RoundTrip, "dance"} {
		if r := obey(t, load.Order{Do: do, Door: rude, N: 2, Flight: 1}); r[0].Error == "" {
			t.Errorf("%s at a store that hangs up: %+v", do, r[0])
		}
	}
}

// A session that was lost while it was idle is no session that cost little.
func TestLostIdleSessionsAreNoticed(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go hangUpAfterIdle(ln)
	door := load.Door{Protocol: "imap", Addr: ln.Addr().String()}
	r := obey(t, load.Order{Do: load.Hold, Door: door, N: 1, Flight: 1}, load.Order{Do: load.Release})
	if r[0].Error != "" || !strings.Contains(r[1].Error, "a held session") {
		t.Errorf("%+v", r)
	}
}

func hangUpAfterIdle(ln net.Listener) {
	nc, err := ln.Accept()
	if err != nil {
		return
	}
	defer nc.Close()
	buf := make([]byte, 100)
	for _, say := range []string{"* OK ready\r\n", "a OK in\r\n"} {
		nc.Write([]byte(say))
		nc.Read(buf)
	}
	nc.Write([]byte("* 1 FETCH\r\n" + strings.Repeat("x", 16<<10) + "f OK\r\n"))
	for heard := 0; heard < 16<<10; {
		n, err := nc.Read(buf)
		if heard += n; err != nil {
			return
		}
	}
	nc.Write([]byte("g OK\r\n"))
	nc.Read(buf)
	nc.Write([]byte("+ idling\r\n"))
	nc.Read(buf)
}
