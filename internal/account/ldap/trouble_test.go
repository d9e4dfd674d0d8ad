package ldap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"usher/internal/account"
	"usher/internal/slapd"
)

func typeName(v any) string { return fmt.Sprintf("%T", v) }

func TestARestartOfTheServerFailsNoLogin(t *testing.T) {
	t.Parallel()
	d := start(t, everybody)
	s := source(t, "url = 'ldap://%s'\nbase = '%s'\nbind = true", d.Addr, people)
	for range 5 {
		var all sync.WaitGroup
		for range 20 { // all connections are in use once
			all.Go(func() {
				a, err := lookup(t, s, "ann@example.org")
				if err == nil {
					err = a.Proof.Check(t.Context(), "secret")
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		d.Restart()
	}
	if h := s.Health(); h[0].Err != nil {
		t.Error(h[0].Err)
	}
}

// two are servers with the same people, who live elsewhere.
func two(t *testing.T) (first, second *slapd.Server) {
	return start(t, organisation+person("ann", "mailhost: first", "userPassword: 1")), start(t, organisation+person("ann", "mailhost: second", "userPassword: 1"))
}

func TestFailoverAndFailback(t *testing.T) {
	t.Parallel()
	for _, trouble := range []string{"frozen", "stopped"} {
		t.Run(trouble, func(t *testing.T) {
			t.Parallel()
			one, other := two(t)
			s := source(t, "url = 'ldap://%s ldap://%s'\nbase = '%s'\nbind = true\ntimeout = '1s'", one.Addr, other.Addr, people)
			is := func(want string) bool {
				t.Helper()
				a, err := lookup(t, s, "ann@example.org")
				if err != nil {
					t.Fatal(err)
				}
				return a.Place.Hosts[0] == want && a.Proof.Check(t.Context(), "1") == nil
			}
			if !is("first") {
				t.Error("the first server is not asked first")
			}
			end := one.Restart
			if trouble == "frozen" {
				one.Freeze()
				end = one.Thaw
			} else {
				one.Stop()
			}
			began := time.Now()
			for range 20 {
				if !is("second") {
					t.Error("the second server is not asked")
				}
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("20 logins took %v: each has waited for the server that is down", took)
			}
			end()
			for began := time.Now(); !is("first"); time.Sleep(50 * time.Millisecond) {
				if time.Since(began) > 10*time.Second {
					t.Fatal("the first server is not asked again")
				}
			}
		})
	}
}

func TestALoginThatIsGivenUpEndsAtOnceAndBlamesNobody(t *testing.T) {
	t.Parallel()
	d := start(t, everybody)
	s := source(t, "url = 'ldap://%s'\nbase = '%s'\ntimeout = '60s'", d.Addr, people)
	if _, err := lookup(t, s, "ann@example.org"); err != nil {
		t.Fatal(err)
	}
	d.Freeze()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	began := time.Now()
	_, err := s.Ask(ctx, account.Query{Name: "ann@example.org"})
	if took := time.Since(began); !errors.Is(err, context.Canceled) || took > 10*time.Second {
		t.Errorf("%v after %v", err, took)
	}
	if h := s.Health(); h[0].Err != nil {
		t.Errorf("the server is blamed: %v", h[0].Err)
	}
	d.Thaw()
	if _, err := lookup(t, s, "ann@example.org"); err != nil {
		t.Error(err)
	}
}

// Many logins while a server says nothing cost it no more connections at once than the
// pool has.
func TestNoStormWhileTheServerIsSilent(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	open, most := 0, 0
	addr := serve(t, func(c net.Conn) {
		count := func(n int) {
			mu.Lock()
			open += n
			most = max(most, open)
			mu.Unlock()
		}
		count(1)
		_, _ = io.Copy(io.Discard, c)
		count(-1)
	})
	s := source(t, "url = 'ldap://%s'\nbase = 'o=x'\ntimeout = '300ms'\npool = 3", addr)
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if _, err := lookup(t, s, "ann@example.org"); err == nil || errors.Is(err, account.ErrUnknown) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	mu.Lock()
	defer mu.Unlock()
	if most > 3+3 { // an end may be seen later than the next beginning
		t.Errorf("%d connections at once", most)
	}
}

func TestIdleConnectionsAreLookedAfter(t *testing.T) {
	t.Parallel()
	d := start(t, everybody)
	s := source(t, "url = 'ldap://%s'\nbase = '%s'", d.Addr, people)
	if _, err := lookup(t, s, "ann@example.org"); err != nil {
		t.Fatal(err)
	}
	s.servers.Each(func(_ string, one *server) {
		before := accepted(d)
		one.search.tend(t.Context(), time.Now().Add(time.Second))
		if strings.Contains(d.LogText(), "attr=1.1") {
			t.Error("a connection that was used a second ago is asked")
		}
		one.search.tend(t.Context(), time.Now().Add(tendEvery+time.Second))
		if !strings.Contains(d.LogText(), "attr=1.1") || len(one.search.idle) != 1 {
			t.Error("an idle connection is not asked, or not kept")
		}
		if _, err := lookup(t, s, "ann@example.org"); err != nil || accepted(d) != before {
			t.Errorf("an idle connection is not used again: %v", err)
		}
		one.search.tend(t.Context(), time.Now().Add(keepIdle+time.Second))
		if len(one.search.idle) != 0 {
			t.Error("a connection that nobody needs is kept")
		}
		if _, err := lookup(t, s, "ann@example.org"); err != nil {
			t.Error(err)
		}
		d.Freeze()
		one.search.tend(t.Context(), time.Now().Add(tendEvery+time.Second))
		if len(one.search.idle) != 0 {
			t.Error("a connection to a frozen server is kept")
		}
	})
}

// serve is a server of which the test says what it does with a connection.
func serve(t *testing.T, do func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); all.Wait() })
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				do(c)
			})
		}
	})
	return l.Addr().String()
}

// odd is a server that answers each request with the same bytes. What it hears goes to
// heard, if there is one.
func odd(t *testing.T, answer []byte, then func(net.Conn), heard chan<- []byte) string {
	return serve(t, func(c net.Conn) {
		for buf := make([]byte, 64<<10); ; {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			if heard != nil {
				heard <- bytes.Clone(buf[:n])
			}
			if _, err := c.Write(answer); err != nil {
				return
			}
			if then != nil {
				then(c)
			}
		}
	})
}

// sequence is an element that holds others.
func sequence(tag byte, of ...[]byte) []byte {
	body := bytes.Join(of, nil)
	n := len(body)
	return append([]byte{tag, 0x84, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, body...)
}

func TestHostileServers(t *testing.T) {
	t.Parallel()
	flood := func(c net.Conn) {
		for chunk := bytes.Repeat([]byte{0x30, 0x05, 0x02, 0x01, 0x07, 0x42, 0x00}, 1000); ; {
			if _, err := c.Write(chunk); err != nil {
				return
			}
		}
	}
	id := []byte{0x02, 0x01, 0x01}
	entry := sequence(0x30, id, sequence(0x64, []byte{0x04, 0x01, 'x'}, sequence(0x30)))
	deep := []byte{0x04, 0x00}
	for range 2000 {
		deep = sequence(0x30, deep)
	}
	for name, c := range map[string]struct {
		answer []byte
		then   func(net.Conn)
		want   string
	}{
		"endless":         {nil, flood, "the answer is too large"},
		"huge":            {[]byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff}, nil, "the answer is too large"},
		"deep":            {deep, nil, "what it sends is not LDAP"},
		"crumbs":          {sequence(0x30, id, bytes.Repeat([]byte{0x04, 0x00}, 2*maxElements)), nil, "the answer is too large"},
		"garbage":         {[]byte("HTTP/1.1 400 Bad Request\r\n\r\n"), nil, "what it sends is not LDAP"},
		"indefinite":      {[]byte{0x30, 0x80, 0x02, 0x01, 0x01, 0x00, 0x00}, nil, "what it sends is not LDAP"},
		"too many":        {bytes.Repeat(entry, 100), nil, "two entries are found"},
		"hangs up":        {nil, func(c net.Conn) { c.Close() }, "the connection is lost"},
		"entry of no one": {sequence(0x30, id, sequence(0x64)), nil, "the connection is lost"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := source(t, "url = 'ldap://%s'\nbase = 'o=x'\ntimeout = '20s'", odd(t, c.answer, c.then, nil))
			_, err := ask(t, s, "ann")
			wantError(t, err, c.want)
		})
	}
}

func FuzzGate(f *testing.F) {
	f.Add([]byte("\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00"))
	f.Add(sequence(0x30, []byte{0x02, 0x01, 0x01}, sequence(0x64, []byte{0x04, 0x01, 'x'}, sequence(0x30))))
	f.Fuzz(func(t *testing.T, sent []byte) {
		n, ok := count(sent, maxDepth)
		if n > maxElements+len(sent) {
			t.Errorf("%d elements in %d bytes", n, len(sent))
		}
		near, far := net.Pipe()
		go func() {
			_, _ = far.Write(sent)
			far.Close()
		}()
		g := newGate(near)
		defer near.Close()
		var got []byte
		for buf := make([]byte, 7); ; {
			n, err := g.Read(buf)
			got = append(got, buf[:n]...)
			if err != nil {
				break
			}
		}
		if !bytes.HasPrefix(sent, got) {
			t.Errorf("of %x came %x", sent, got)
		}
		if ok && len(sent) > 0 && sent[0] == 0x30 && n <= maxElements && len(got) == 0 && len(sent) <= smallAnswer {
			t.Errorf("nothing came of %x", sent)
		}
	})
}
