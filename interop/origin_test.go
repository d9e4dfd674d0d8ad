package interop

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os/exec"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"usher/internal/dovecot"
)

// The tests of this file are about who is really there: what load balancers and
// proxies in front of usher tell of the client reaches the log and the server.

// witness makes a Dovecot believe what usher tells of clients, and log it.
const witness = `
login_trusted_networks = 127.0.0.0/8
imap_id_log = *
login_log_format_elements = user=<%u> method=%m rip=%r rport=%b lip=%l %c session=<%{session}>
auth_debug = yes
`

const trustLocal = "trusted = [\"127.0.0.1\"]\n"

// says waits until a log has a line with all of the words.
func says(t *testing.T, who string, log func() string, words ...string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		for line := range strings.Lines(log()) {
			if hasAll(line, words) {
				return
			}
		}
	}
	t.Errorf("%s has no line with all of %q:\n%s", who, words, tail(log(), 30))
}

func hasAll(line string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(line, w) {
			return false
		}
	}
	return true
}

// Through a load balancer that ends TLS, and two ushers behind each other.
func TestDovecotLogsTheClientBehindThreeProxies(t *testing.T) {
	t.Parallel()
	d := newStore(t, "east", dovecot.Options{Extra: witness})
	inner := start(t, setup{
		listen: trustLocal, config: store("east", d, "starttls", "trusted = true"),
		accounts: []account{{"user": ann, "password": "{PLAIN}" + annSecret, "host": "east", "forward_plan": "gold"}},
	})
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			outer := start(t, setup{
				listen: "proxy_protocol = [\"127.0.0.1\"]\ncleartext_login = \"never\"\n",
				config: fmt.Sprintf("[backend.default]\naddr = [%q]\ntrusted = true\n[[accounts]]\ntype = \"any\"\n", inner.addrs[protocol]),
			})
			b := balance(t, front{
				to: outer.addrs[protocol], tls: pem(t, outer.cert, outer.key),
				send: "send-proxy-v2-ssl-cn proxy-v2-options ssl,cert-cn,unique-id,authority",
			})
			c, me := from(t, protocol, b.addr, outer.ca)
			c.greeting()
			c.enter(ann, annSecret)
			c.finds(ann, "east")
			_ = c.Close()

			_, port, _ := net.SplitHostPort(me)
			session := "HA-" + me
			says(t, "dovecot", d.LogText, "Login: user=<"+ann+">", "rip="+far, "rport="+port, "session=<"+session+">")
			says(t, "dovecot's auth", d.LogText, "client in: AUTH", "service="+protocol, "rip="+far, "forward_fields=plan=gold")
			if protocol == "imap" {
				says(t, "dovecot", d.LogText, "ID sent:", "x-originating-ip="+far, "x-proxy-ttl=3", "x-client-transport=TLS", "x-connected-name=localhost", "session=<"+session+">")
			}
			for who, p := range map[string]*proxy{"outer": outer, "inner": inner} {
				says(t, who, p.logText, `msg="session ended"`, "protocol="+protocol, "remote="+me, "tls=TLS", "via=127.0.0.1:", "ext="+session, "user="+ann)
			}
		})
	}
}

// Whatever the load balancer can say, the client's address is known; passwords may
// be shown only if it says that they came under TLS.
func TestLoadBalancersTellWhoTheClientIs(t *testing.T) {
	t.Parallel()
	_, _, config := twoStores(t)
	p := start(t, setup{listen: "proxy_protocol = [\"127.0.0.1/32\"]\ncleartext_login = \"never\"\n", config: config + quick, accounts: usersOfTwo()})
	both := pem(t, p.cert, p.key)
	for _, x := range []struct {
		send, port string // of usher: imap, imaps …
		ends       bool   // HAProxy ends TLS
		refused    bool
		logged     string
	}{
		{"send-proxy", "", true, true, ""},
		{"send-proxy-v2", "", true, true, ""},
		{"send-proxy-v2-ssl", "", true, false, "TLSv1.3"},
		{"send-proxy-v2-ssl", "", false, true, ""},
		{"send-proxy", "s", false, false, "TLSv1.3"},
		{"send-proxy-v2", "s", false, false, "TLSv1.3"},
		{"send-proxy-v2-ssl check inter 100ms", "s", false, false, "TLSv1.3"},
	} {
		for _, protocol := range protocols {
			t.Run(fmt.Sprintf("%s %s%s, TLS ends there %v", x.send, protocol, x.port, x.ends), func(t *testing.T) {
				f := front{to: p.addrs[protocol+x.port], send: x.send}
				ca := ""
				if x.ends {
					f.tls = both
				}
				if x.ends || x.port == "s" {
					ca = p.ca
				}
				c, me := from(t, protocol, balance(t, f).addr, ca)
				c.line()
				if answer := authPlainInitial(c, bob, bobSecret); isOK(answer) == x.refused {
					t.Errorf("the login is answered %s", answer)
				}
				_ = c.Close()
				if x.refused {
					says(t, "usher", p.logText, `msg="login refused"`, "remote="+me, `why="cleartext not allowed"`, "via=127.0.0.1:")
				} else {
					says(t, "usher", p.logText, `msg="session ended"`, "remote="+me, "tls="+x.logged, "via=127.0.0.1:")
				}
			})
		}
	}
	if log := p.logText(); strings.Contains(log, "connection refused") || strings.Contains(log, "level=ERROR") {
		t.Errorf("health checks, or something else, are told as trouble:\n%s", tail(log, 20))
	}
	c := dial(t, "imap", p.addrs["imap"]) // without a header
	if !c.ended() {
		t.Error("who does not send the header is heard")
	}
	says(t, "usher", p.logText, `msg="connection refused"`, "no PROXY header")
}

// A Dovecot that reads PROXY headers knows all from these.
func TestDovecotReadsOurPROXYHeader(t *testing.T) {
	t.Parallel()
	ports := map[string]string{"imap": freeAddr(t), "pop3": freeAddr(t)}
	extra := witness + "haproxy_trusted_networks = 127.0.0.0/8\n"
	for protocol, addr := range ports {
		_, port, _ := net.SplitHostPort(addr)
		extra += fmt.Sprintf("service %s-login {\n  inet_listener %s_haproxy {\n    port = %s\n    haproxy = yes\n  }\n}\n", protocol, protocol, port)
	}
	d := newStore(t, "east", dovecot.Options{Extra: extra})
	for _, version := range []string{"1", "2"} {
		p := start(t, setup{
			config: fmt.Sprintf("[backend.east]\nimap = [%q]\npop3 = [%q]\nproxy_protocol = %s\n", ports["imap"], ports["pop3"], version),
			listen: "", accounts: []account{checked(ann, annSecret, "east")},
		})
		for _, protocol := range protocols {
			c, me := from(t, protocol, p.addrs[protocol+"s"], p.ca)
			c.greeting()
			c.enter(ann, annSecret)
			c.finds(ann, "east")
			_ = c.Close()
			_, port, _ := net.SplitHostPort(me)
			says(t, "dovecot", d.LogText, protocol+"-login: Info: Login:", "rip="+far, "rport="+port)
			if version == "2" {
				says(t, "dovecot's auth", d.LogText, "client in: AUTH", "service="+protocol, "secured=tls", "rip="+far, "rport="+port)
			}
		}
		if out := p.command("check", "--live"); !strings.Contains(out, "east") {
			t.Errorf("usher check --live says %s", out)
		}
	}
}

// A Dovecot in front tells usher in its own way.
func TestDovecotInFrontTellsWhoTheClientIs(t *testing.T) {
	t.Parallel()
	_, _, config := twoStores(t)
	p := start(t, setup{listen: trustLocal + "cleartext_login = \"never\"\n", config: config, accounts: usersOfTwo()})
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			_, port, _ := net.SplitHostPort(p.addrs[protocol])
			d := dovecot.Start(t, dovecot.Options{Name: "front", Users: map[string]string{}, Extra: fmt.Sprintf(`
passdb {
  driver = static
  args = proxy=y host=127.0.0.1 port=%s nopassword=y forward_rack=7
}
`, port)})
			c, me := from(t, protocol, map[string]string{"imap": d.IMAPS, "pop3": d.POP3S}[protocol], d.CA)
			c.line()
			c.enter(ann, annSecret)
			c.finds(ann, "east")
			_ = c.Close()
			says(t, "usher", p.logText, `msg="session ended"`, "protocol="+protocol, "remote="+me, "via=127.0.0.1:", "ext=", "user="+ann)
		})
	}
}

// A counter is in the middle of a line and counts who passes.
type counter struct {
	addr string
	n    atomic.Int64
	to   chan string // where connections go, once it is known
}

// leadsTo says where connections go.
func (c *counter) leadsTo(addr string) { c.to <- addr }

// count listens, and passes on to where leadsTo says.
func count(t *testing.T) *counter {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	c := &counter{addr: ln.Addr().String(), to: make(chan string, 1)}
	go func() {
		to := ""
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			c.n.Add(1)
			if to == "" {
				to = <-c.to
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				continue
			}
			go func() { _, _ = io.Copy(far, near); _ = far.Close() }()
			go func() { _, _ = io.Copy(near, far); _ = near.Close() }()
		}
	}()
	return c
}

// Two ushers, each of which believes that the other has the mailbox.
func TestTwoUshersThatPointAtEachOtherEndIt(t *testing.T) {
	for _, trusted := range []bool{true, false} {
		for _, accounts := range []string{"any", "own"} {
			for _, protocol := range protocols {
				t.Run(fmt.Sprintf("%s, trusted %v, accounts %s", protocol, trusted, accounts), func(t *testing.T) {
					t.Parallel()
					circle(t, protocol, trusted, accounts == "any")
				})
			}
		}
	}
}

func circle(t *testing.T, protocol string, trusted, anybody bool) {
	toFirst, toSecond := count(t), count(t)
	usher := func(next *counter) *proxy {
		s := setup{config: fmt.Sprintf("[backend.default]\naddr = [%q, %q]\ntrusted = %v\n", next.addr, next.addr, trusted)}
		if trusted {
			s.listen = trustLocal
		}
		if anybody {
			s.config += "[[accounts]]\ntype = \"any\"\n"
		} else {
			s.accounts = []account{{"user": ann, "password": "{PLAIN}" + annSecret}}
		}
		return start(t, s)
	}
	first, second := usher(toSecond), usher(toFirst)
	toFirst.leadsTo(first.addrs[protocol])
	toSecond.leadsTo(second.addrs[protocol])
	c := first.client(t, protocol, "none")
	began := time.Now()
	if answer := c.login(ann, annSecret); answer != unavailable[protocol] {
		t.Errorf("the client hears %q", answer)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the answer took %v", took)
	}
	if n := toFirst.n.Load() + toSecond.n.Load(); n > 4 { // and the client's: with both ends of each, 10 sockets
		t.Errorf("%d connections between the two", n)
	}
	for who, p := range map[string]*proxy{"the first": first, "the second": second} {
		if n := strings.Count(p.logText(), `msg="login refused"`); n != 1 || !strings.Contains(p.logText(), "ppear to be looping") {
			t.Errorf("%s has %d lines:\n%s", who, n, tail(p.logText(), 10))
		}
	}
}

// A Dovecot and an usher that do so.
func TestADovecotAndAnUsherThatPointAtEachOtherEndIt(t *testing.T) {
	t.Parallel()
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			back := count(t)
			_, port, _ := net.SplitHostPort(back.addr)
			d := dovecot.Start(t, dovecot.Options{Users: map[string]string{}, Extra: fmt.Sprintf(`
login_trusted_networks = 127.0.0.0/8
passdb {
  driver = static
  args = proxy=y host=127.0.0.1 port=%s nopassword=y
}
`, port)})
			forth := count(t)
			forth.leadsTo(map[string]string{"imap": d.IMAP, "pop3": d.POP3}[protocol])
			p := start(t, setup{
				listen: trustLocal,
				config: fmt.Sprintf("[backend.default]\naddr = [%q]\ntrusted = true\n[[accounts]]\ntype = \"any\"\n", forth.addr),
			})
			back.leadsTo(p.addrs[protocol])
			c := p.client(t, protocol, "none")
			if answer := c.login(ann, annSecret); isOK(answer) {
				t.Errorf("the client hears %q", answer)
			}
			if n := back.n.Load() + forth.n.Load(); n > 4 {
				t.Errorf("%d connections between the two", n)
			}
			says(t, "usher", p.logText, `msg="login refused"`, "ppear to be looping")
		})
	}
}

func TestAServerMayAskWhoStandsBehindAConnection(t *testing.T) {
	t.Parallel()
	d := newStore(t, "east", dovecot.Options{})
	p := start(t, setup{
		server: "ident = \"127.0.0.1:0\"\n", config: store("east", d, "none"), accounts: []account{checked(ann, annSecret, "east")},
	})
	defer p.stopAll()
	m := regexp.MustCompile(`msg=listening protocol=ident addr=(\S+)`).FindStringSubmatch(p.logText())
	if m == nil {
		t.Fatalf("nobody answers ident:\n%s", p.logText())
	}
	c, me := from(t, "imap", p.addrs["imap"], "")
	c.greeting()
	c.enter(ann, annSecret)
	var list []struct{ User, Remote, From string }
	if err := json.Unmarshal([]byte(p.command("who", "--json")), &list); err != nil || len(list) != 1 || list[0].Remote != me {
		t.Fatalf("%+v, %v", list, err)
	}
	_, near, _ := net.SplitHostPort(list[0].From)
	_, far, _ := net.SplitHostPort(d.IMAP)
	question, want := near+" , "+far, near+" , "+far+" : USERID : OTHER : "+ann+"/"+me
	for _, when := range []string{"before an upgrade", "after it"} {
		if got := ask(t, m[1], question); got != want {
			t.Errorf("%s a server hears %q, want %q", when, got, want)
		}
		if got := ask(t, m[1], near+" , "+"110"); !strings.HasSuffix(got, ": ERROR : NO-USER") {
			t.Errorf("%s another hears %q", when, got)
		}
		if out := p.command("who", "--from", list[0].From); !strings.Contains(out, ann) || !strings.Contains(out, me) {
			t.Errorf("%s usher who --from says %s", when, out)
		}
		if when == "before an upgrade" {
			p.command("upgrade")
			p.eventually("the session has moved", func() bool { return p.moved(ann) })
			p.forced = true
		}
	}
	if err := usher(t, "who", "--from", "127.0.0.1:1", "-c", p.file).Run(); exitStatus(err) != 1 {
		t.Errorf("who --from of nobody: %v", err)
	}
	c.finds(ann, "east")
}

func exitStatus(err error) int {
	if exit, ok := err.(*exec.ExitError); ok {
		return exit.ExitCode()
	}
	return 0
}

// ask is one question of RFC 1413.
func ask(t *testing.T, addr, question string) string {
	t.Helper()
	c := dial(t, "ident", addr)
	c.send("%s", question)
	return c.line()
}
