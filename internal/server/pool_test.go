package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"usher/internal/admin"
	"usher/internal/backend"
	"usher/internal/config"
	"usher/internal/limit"
	"usher/internal/pool"
	"usher/internal/proxyheader"
	"usher/internal/route"
)

// A nodes is a pool on this machine. Each node has its own accounts, so that it can be
// seen who is asked.
type nodes struct {
	t     *testing.T
	dir   string
	addrs map[string]string // of the doors for other nodes
	ca    pool.Authority
}

// A member is one node that runs.
type member struct {
	*Server
	t    *testing.T
	name string
	imap string // address
	pop3 string
	log  *lines
	stop func()
}

// lines are a log that is read while it is written.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// count is how many lines have all these words.
func (l *lines) count(words ...string) (n int) {
	for line := range strings.Lines(l.String()) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			n++
		}
	}
	return n
}

func newPool(t *testing.T, names ...string) *nodes {
	t.Helper()
	p := &nodes{t: t, dir: t.TempDir(), addrs: map[string]string{}}
	p.ca = pool.Authority{Dir: filepath.Join(p.dir, "ca"), Now: time.Now, Force: true}
	if err := p.ca.Init(); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		p.addrs[name] = ln.Addr().String()
		_ = ln.Close()
		p.certify(name)
	}
	return p
}

func (p *nodes) certify(name string) {
	if _, _, err := p.ca.Add(name, 30); err != nil {
		p.t.Fatal(err)
	}
}

// text is the configuration of a node, with lines for [pool] and for the end.
func (p *nodes) text(name, users, inPool, more string) string {
	p.t.Helper()
	file := filepath.Join(p.dir, name+".users")
	if err := os.WriteFile(file, []byte(users), 0o600); err != nil {
		p.t.Fatal(err)
	}
	var list []string
	for n, addr := range p.addrs {
		list = append(list, fmt.Sprintf("%s = %q", n, addr))
	}
	return fmt.Sprintf(`
[server]
user = ""
state = %q
admin = ""
grace = "0s"
[[listen]]
protocol = "imap"
tls = "none"
addr = ["127.0.0.1:0"]
[[listen]]
protocol = "pop3"
tls = "none"
addr = ["127.0.0.1:0"]
[[accounts]]
type = "passwd"
path = %q
[limit]
failure_delay = "0s"
sessions_per_user = 3
[pool]
nodes = { %s }
cert = %q
key = %q
ca = %q
%s
%s
`, filepath.Join(p.dir, name+".state"), file, strings.Join(list, ", "),
		filepath.Join(p.ca.Dir, name+".pem"), filepath.Join(p.ca.Dir, name+".key"), filepath.Join(p.ca.Dir, pool.AuthorityCert), inPool, more)
}

// start runs a node until the test ends.
func (p *nodes) start(name, text string) *member {
	t := p.t
	t.Helper()
	m := &member{t: t, name: name, log: &lines{}}
	s, err := New(parse(t, p.dir, text), slog.New(slog.NewTextHandler(m.log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	m.Server, s.Build = s, "test"
	m.programs(s.house.Load())
	ready, ended := make(chan []net.Addr, 1), make(chan error, 1)
	s.Ready = func(addrs []net.Addr) { ready <- addrs }
	ctx, cancel := context.WithCancel(context.Background())
	go func() { ended <- s.Run(ctx) }()
	m.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	})
	t.Cleanup(m.stop)
	select {
	case addrs := <-ready:
		m.imap, m.pop3 = addrs[0].String(), addrs[1].String()
	case err := <-ended:
		ended <- err
		t.Fatal(err)
	}
	return m
}

// programs gives a house programs that repeat what they hear, without a helper.
func (m *member) programs(h *house) {
	h.desk.Routes.Local = &route.Local{
		Programs: map[string]route.Program{"mail": {Name: "mail", Speaks: route.Preauth, Mail: map[string]string{"imap": "mail/imap", "pop3": "mail/pop3"}}},
		Default:  "mail", Timeout: 10 * time.Second,
	}
	h.desk.Backends.(*backend.Opener).Start = func(_ context.Context, s route.Stop) (net.Conn, error) {
		x := s.Exec
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = ln.Close() }()
		near, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			return nil, err
		}
		far, err := ln.Accept()
		if err != nil {
			return nil, err
		}
		words := fmt.Sprintf("%s has %s as %d:%d in %s for %s, TLS %t, UTF8 %t, quota %s", m.name, x.User, x.UID, x.GID, x.Home, x.Client.Remote, x.Client.TLS, x.Client.UTF8, x.Attrs["quota"])
		go func() {
			defer func() { _ = far.Close() }()
			greeting := "* PREAUTH [CAPABILITY IMAP4rev1 IDLE] " + words
			if s.Addr == "mail/pop3" {
				greeting = "+OK " + words
			}
			_, _ = io.WriteString(far, greeting+"\r\n")
			_, _ = io.Copy(far, far)
		}()
		return near, nil
	}
}

// A caller is a client of a node.
type caller struct {
	net.Conn
	in *bufio.Reader
}

func call(t *testing.T, addr string) *caller {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	c := &caller{nc, bufio.NewReader(nc)}
	c.line()
	return c
}

func (c *caller) line() string {
	line, err := c.in.ReadString('\n')
	if err != nil {
		return err.Error()
	}
	return strings.TrimRight(line, "\r\n")
}

func (c *caller) say(text string) string {
	_, _ = io.WriteString(c, text+"\r\n")
	return c.line()
}

const annAt2 = "ann@example.org:{PLAIN}secret:1000:1000::/home/ann::host=mx2 userdb_quota=1G hmac_token=x api_secret=y crypt_copy={SHA256}abcdef allow_nets=127.0.0.0/8\n"

func (m *member) eventually(what string, isTrue func() bool) {
	m.t.Helper()
	for end := time.Now().Add(20 * time.Second); !isTrue(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			m.t.Fatalf("%s: it never became true that %s; its log:\n%s", m.name, what, m.log)
		}
	}
}

func TestTheNodeThatHasTheMailboxAsksNobodyAgain(t *testing.T) {
	p := newPool(t, "mx1", "mx2")
	front, home := p.start("mx1", p.text("mx1", annAt2, "", "")), p.start("mx2", p.text("mx2", "", "", "")) // mx2 knows nobody
	c := call(t, front.imap)
	want := fmt.Sprintf("a OK [CAPABILITY IMAP4rev1 IDLE] mx2 has ann@example.org as 1000:1000 in /home/ann for %s, TLS false, UTF8 false, quota ", c.LocalAddr())
	if got := c.say("a LOGIN ann@example.org secret\r\nhello"); !strings.HasPrefix(got, want) {
		t.Fatalf("heard %q, want %q", got, want)
	}
	if got := c.line(); got != "hello" {
		t.Errorf("what was said in one breath with the login: %q", got)
	}
	at1, at2 := front.Sessions(admin.Selector{}), home.Sessions(admin.Selector{})
	if len(at1) != 1 || len(at2) != 1 {
		t.Fatalf("sessions %v, %v", at1, at2)
	}
	if s := at2[0]; s.Remote != c.LocalAddr().String() || s.Via != "mx1" || s.Ext != at1[0].ID || s.User != "ann@example.org" || s.Protocol != "imap" || s.TLS != "no" {
		t.Errorf("the session at home is %+v", s)
	}
	if s := at1[0]; s.Target != "pool/"+p.addrs["mx2"] {
		t.Errorf("the session at the front is %+v", s)
	}
	d := call(t, front.pop3)
	if got := d.say("UTF8"); !strings.HasPrefix(got, "+OK") {
		t.Fatal(got)
	}
	d.say("USER ann@example.org")
	if got := d.say("PASS secret"); !strings.HasPrefix(got, "+OK mx2 has ann@example.org") || !strings.Contains(got, "UTF8 true") {
		t.Errorf("heard %q", got)
	}
	// An end at one node is one at both.
	home.eventually("both sessions are there", func() bool { return len(home.Sessions(admin.Selector{})) == 2 })
	if n := home.Kick(admin.Selector{User: "ann@example.org"}); n != 2 {
		t.Errorf("%d were kicked", n)
	}
	if got := c.line(); got != "* BYE [UNAVAILABLE] Please connect again." {
		t.Errorf("the client heard %q", got)
	}
	if got := c.line(); got != io.EOF.Error() {
		t.Errorf("then it heard %q", got)
	}
	if got := d.line(); got != io.EOF.Error() {
		t.Errorf("by POP3 the client heard %q", got)
	}
	_, _ = c.Close(), d.Close()
	front.eventually("both sessions have ended", func() bool { return front.log.count("session ended", "backend closed") == 2 })
	home.eventually("both sessions have ended", func() bool {
		return home.log.count("session ended", "why=kicked", "via=mx1", "ext="+at1[0].ID, "remote="+at1[0].Remote) == 1
	})
	for _, m := range []*member{front, home} {
		if n := m.log.count("secret"); n > 0 || m.log.count("another build") > 0 {
			t.Errorf("the log of %s:\n%s", m.name, m.log)
		}
	}
}

func TestWhatTheHomeRefusesTheClientHears(t *testing.T) {
	p := newPool(t, "mx1", "mx2")
	front, home := p.start("mx1", p.text("mx1", annAt2, "", "")), p.start("mx2", p.text("mx2", "", "[[pool.vouch]]\ndomains = [\"example.org\"]", ""))
	// Of more sessions than one user may have, the home knows.
	front.limits.Set(boundless(front))
	for range 3 {
		c := call(t, front.imap)
		if got := c.say("a LOGIN ann@example.org secret"); !strings.HasPrefix(got, "a OK") {
			t.Fatal(got)
		}
	}
	c := call(t, front.imap)
	if got := c.say("a LOGIN ann@example.org secret"); got != "a NO [LIMIT] Too many sessions, please close one." {
		t.Errorf("heard %q", got)
	}
	if n := home.log.count("login refused", "too many", "via=mx1", "user=ann@example.org"); n != 1 {
		t.Errorf("%d lines:\n%s", n, home.log)
	}
	if n := front.log.count("login refused", "[LIMIT]", "at node mx2, whose log has more with ext="); n != 1 {
		t.Errorf("%d lines:\n%s", n, front.log)
	}
	// A node that serves no mailboxes.
	home.house.Load().desk.Routes.Local = nil
	for _, s := range home.Sessions(admin.Selector{}) {
		home.Kick(admin.Selector{Session: s.ID})
	}
	home.eventually("nobody is there", func() bool { return len(home.Sessions(admin.Selector{})) == 0 })
	if got := c.say("b LOGIN ann@example.org secret"); !strings.HasPrefix(got, "b NO [SERVERBUG]") {
		t.Errorf("heard %q", got)
	}
	if n := home.log.count("login refused", "whom this one does not serve"); n != 1 {
		t.Errorf("%d lines:\n%s", n, home.log)
	}
}

func boundless(m *member) (b limit.Bounds) {
	b = m.house.Load().bounds(0)
	b.SessionsPerUser = 0
	return b
}

func TestNobodyUnprovenIsVouchedFor(t *testing.T) {
	p := newPool(t, "mx1", "mx2")
	home := p.start("mx2", p.text("mx2", "", "", ""))
	users := "ann@example.org::1000:1000::/home/ann::host=mx2 nopassword=Y\nbob@example.org::1000:1000::/home/bob::host=mx2\n"
	front := p.start("mx1", p.text("mx1", users, "", ""))
	for _, who := range []string{"ann@example.org", "bob@example.org"} {
		c := call(t, front.imap)
		if got := c.say("a LOGIN " + who + " anything"); strings.HasPrefix(got, "a OK") {
			t.Errorf("%s got in: %q", who, got)
		}
	}
	if n := front.log.count("login refused", "nobody checks the password"); n == 0 {
		t.Errorf("the log:\n%s", front.log)
	}
	if n := len(home.Sessions(admin.Selector{})) + home.log.count("login refused"); n > 0 {
		t.Errorf("mx2 has heard of it:\n%s", home.log)
	}
}

func TestWhileANodeIsDownTheNextHostIsAsked(t *testing.T) {
	p := newPool(t, "mx1", "mx2", "mx3")
	front := p.start("mx1", p.text("mx1", strings.Replace(annAt2, "host=mx2", "host=mx2,mx3", 1), "", ""))
	c := call(t, front.imap)
	if got := c.say("a LOGIN ann@example.org secret"); !strings.HasPrefix(got, "a NO [UNAVAILABLE]") {
		t.Errorf("with both down: %q", got)
	}
	p.start("mx3", p.text("mx3", "", "", ""))
	if got := c.say("b LOGIN ann@example.org secret"); !strings.Contains(got, "mx3 has ann@example.org") {
		t.Errorf("with one of them: %q", got)
	}
}

// A node that was started anew has closed what stood ready: no login fails for that.
func TestANodeMayBeStartedAnew(t *testing.T) {
	p := newPool(t, "mx1", "mx2")
	text := p.text("mx2", "", "", "")
	home, front := p.start("mx2", text), p.start("mx1", p.text("mx1", annAt2, "", ""))
	for range 3 {
		c := call(t, front.imap)
		if got := c.say("a LOGIN ann@example.org secret"); !strings.HasPrefix(got, "a OK") {
			t.Fatal(got)
		}
		_ = c.Close()
		home.stop()
		home = p.start("mx2", text)
	}
}

// A liar is somebody who has a node's certificate, and more to say than it should.
type liar struct {
	t    *testing.T
	conn *tls.Conn
}

func (p *nodes) liar(as, to string) *liar {
	p.t.Helper()
	cert, err := tls.LoadX509KeyPair(filepath.Join(p.ca.Dir, as+".pem"), filepath.Join(p.ca.Dir, as+".key"))
	if err != nil {
		p.t.Fatal(err)
	}
	c, err := tls.Dial("tcp", p.addrs[to], &tls.Config{InsecureSkipVerify: true, NextProtos: []string{pool.Protocol}, Certificates: []tls.Certificate{cert}})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	var head [16]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		p.t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, c, int64(head[14])<<8+int64(head[15])); err != nil {
		p.t.Fatal(err)
	}
	return &liar{p.t, c}
}

func (l *liar) says(b []byte) (heard string) {
	_, _ = l.conn.Write(b)
	all, _ := io.ReadAll(l.conn)
	return string(all)
}

func voucher(t *testing.T, change func(*pool.Voucher)) []byte {
	v := pool.Voucher{
		Client:   proxyheader.Header{Remote: netip.MustParseAddrPort("192.0.2.7:1"), Local: netip.MustParseAddrPort("192.0.2.1:143"), ID: "X"},
		Protocol: "imap", Build: "test",
		Account: pool.Account{Name: "ann@example.org", Fields: map[string]string{"uid": "1000", "gid": "1000", "home": "/home/ann"}},
	}
	change(&v)
	b, err := v.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAPeerThatLiesGainsNothing(t *testing.T) {
	p := newPool(t, "mx1", "mx2")
	text := p.text("mx2", "", "[[pool.vouch]]\nnodes = [\"mx1\"]\nusers = [\"ann@*\"]", "")
	none := func(*pool.Voucher) {}
	for _, c := range []struct {
		name  string
		says  []byte
		heard string
		log   []string
	}{
		{"a user that it may not vouch for", voucher(t, func(v *pool.Voucher) { v.Account.Name = "bob@example.org" }), "* BYE [SERVERBUG]", []string{"login refused", "user=bob@example.org", "vouch", "via=mx1", "misconfigured"}},
		{"the same by POP3", voucher(t, func(v *pool.Voucher) { v.Account.Name, v.Protocol = "bob@example.org", "pop3" }), "-ERR [SYS/PERM]", []string{"login refused", "protocol=pop3", "vouch"}},
		{"the name of such a user for the program", voucher(t, func(v *pool.Voucher) { v.Account.Fields["destuser"] = "bob@example.org" }), "* BYE [SERVERBUG]", []string{"login refused", "user=ann@example.org", "destuser", "vouch", "misconfigured"}},
		{"an unknown protocol", voucher(t, func(v *pool.Voucher) { v.Protocol = "pool" }), "", []string{"node refused", "node=mx1", "does not speak"}},
		{"garbage", []byte(strings.Repeat("a1 LOGIN ann secret\r\n", 9)), "", []string{"node refused", "no PROXY header"}},
		{"something behind it", append(voucher(t, none), "x"...), "", []string{"node refused", "stands behind it"}},
		{"an unknown critical value", critical(voucher(t, none)), "", []string{"node refused", "must be understood"}},
		{"a foreign network", voucher(t, func(v *pool.Voucher) { v.Account.Fields["allow_nets"] = "198.51.100.0/24" }), "* BYE [AUTHENTICATIONFAILED]", []string{"login refused", "allow_nets", "remote=192.0.2.7:1"}},
		{"no address where one is demanded", voucher(t, func(v *pool.Voucher) {
			v.Account.Fields["allow_nets"] = "127.0.0.0/8"
			v.Client = proxyheader.Header{}
		}), "* BYE [AUTHENTICATIONFAILED]", []string{"login refused", "allow_nets does not have invalid IP"}},
		{"no home", voucher(t, func(v *pool.Voucher) { delete(v.Account.Fields, "home") }), "* BYE [SERVERBUG]", []string{"login refused", "home"}},
		{"nonsense in a field", voucher(t, func(v *pool.Voucher) { v.Account.Fields["allow_nets"] = "everywhere" }), "* BYE [SERVERBUG]", []string{"login refused", "allow_nets", "what node mx1 says of the account"}},
	} {
		home := p.start("mx2", text) // anew, as the log has a line a second of a kind
		heard := p.liar("mx1", "mx2").says(c.says)
		if c.heard == "" && heard != "" || !strings.HasPrefix(heard, c.heard) {
			t.Errorf("%s: the liar heard %q", c.name, heard)
		}
		if n := home.log.count(c.log...); n != 1 {
			t.Errorf("%s: %d lines have %q:\n%s", c.name, n, c.log, home.log)
		}
		if list := home.Sessions(admin.Selector{}); len(list) > 0 {
			t.Errorf("%s: somebody got in: %+v", c.name, list)
		}
		home.stop()
	}
	p.start("mx2", text)
	l := p.liar("mx1", "mx2")
	_, _ = l.conn.Write(voucher(t, none))
	line, err := bufio.NewReader(l.conn).ReadString('\n')
	if !strings.HasPrefix(line, "* PREAUTH [CAPABILITY IMAP4rev1 IDLE] mx2 has ann@example.org as 1000:1000") {
		t.Errorf("an honest voucher: %q %v", line, err)
	}
}

// critical adds a value that must be understood.
func critical(b []byte) []byte {
	b = append(b, 0xED, 0, 0)
	n := len(b) - 16
	b[14], b[15] = byte(n>>8), byte(n)
	return b
}

func TestWhoIsNoNodeIsToldSoOnceASecond(t *testing.T) {
	p := newPool(t, "mx1", "mx2")
	home := p.start("mx2", p.text("mx2", "", "", ""))
	for range 50 {
		c, err := tls.Dial("tcp", p.addrs["mx2"], &tls.Config{InsecureSkipVerify: true, NextProtos: []string{pool.Protocol}})
		if err == nil {
			_, _ = c.Read(make([]byte, 1))
			_ = c.Close()
		}
	}
	home.eventually("it is told", func() bool { return home.log.count("node refused", "certificate") > 0 })
	if n := home.log.count("node refused"); n > 10 {
		t.Errorf("%d lines", n)
	}
	home.stop()
	home = p.start("mx2", p.text("mx2", "", "", "")) // anew, as the log has a line a second
	nc, err := net.Dial("tcp", p.addrs["mx2"])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = nc.Close() }()
	_, _ = io.WriteString(nc, "a LOGIN ann secret\r\n")
	_, _ = io.Copy(io.Discard, nc)
	home.eventually("a mail client is told from a node", func() bool { return home.log.count("node refused", "does not speak TLS") == 1 })
}

func TestAFloodOfConnectionsOfANodeKeepsNobodyOut(t *testing.T) {
	p := newPool(t, "mx1", "mx2")
	users := "bob@example.org:{PLAIN}secret:1000:1000::/home/bob\n"
	home := p.start("mx2", p.text("mx2", users, "", ""))
	for range 300 {
		p.liarOrNone("mx1", "mx2")
	}
	home.eventually("there are too many", func() bool { return home.log.count("node refused", "node=mx1", "too many connections that wait") > 0 })
	c := call(t, home.imap)
	if got := c.say("a LOGIN bob@example.org secret"); !strings.HasPrefix(got, "a OK") {
		t.Error(got)
	}
}

// liarOrNone is nil if the node does not take one more.
func (p *nodes) liarOrNone(as, to string) *liar {
	cert, err := tls.LoadX509KeyPair(filepath.Join(p.ca.Dir, as+".pem"), filepath.Join(p.ca.Dir, as+".key"))
	if err != nil {
		p.t.Fatal(err)
	}
	c, err := tls.Dial("tcp", p.addrs[to], &tls.Config{InsecureSkipVerify: true, NextProtos: []string{pool.Protocol}, Certificates: []tls.Certificate{cert}})
	if err != nil {
		return nil
	}
	p.t.Cleanup(func() { _ = c.Close() })
	return &liar{p.t, c}
}

// Who is at the address of a node, but is none, keeps nobody out either.
func TestAFloodOfStrangersAtANodesAddressKeepsNobodyOut(t *testing.T) {
	p := newPool(t, "mx1", "mx2")
	home := p.start("mx2", p.text("mx2", "bob@example.org:{PLAIN}secret:1000:1000::/home/bob\n", "", ""))
	for range 600 {
		nc, err := net.Dial("tcp", p.addrs["mx2"])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = nc.Close() })
	}
	home.eventually("there are too many", func() bool { return home.log.count("node refused", "too many handshakes") > 0 })
	c := call(t, home.imap)
	if got := c.say("a LOGIN bob@example.org secret"); !strings.HasPrefix(got, "a OK") {
		t.Error(got)
	}
}

func TestAVoucherThatComesSlowlyIsNotAwaited(t *testing.T) {
	p := newPool(t, "mx1", "mx2")
	home := p.start("mx2", p.text("mx2", "", "", ""))
	l := p.liar("mx1", "mx2")
	b := voucher(t, func(*pool.Voucher) {})
	if heard := l.says(b[:40]); heard != "" {
		t.Errorf("heard %q", heard)
	}
	if n := home.log.count("node refused", "node=mx1", "has not come in time"); n != 1 {
		t.Errorf("%d lines:\n%s", n, home.log)
	}
}

func TestANodeThatIsTakenOutOfThePoolVouchesForNobodyAnyMore(t *testing.T) {
	p := newPool(t, "mx1", "mx2", "mx3")
	home := p.start("mx2", p.text("mx2", "", "", ""))
	l := p.liar("mx1", "mx2") // stands ready
	delete(p.addrs, "mx1")
	text := p.text("mx2", "", "", "")
	home.Load = func() (*config.Config, error) { return parse(t, p.dir, text), nil }
	if err := home.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if heard := l.says(voucher(t, func(*pool.Voucher) {})); heard != "" {
		t.Errorf("what stood ready heard %q", heard)
	}
	p.addrs["mx1"] = "127.0.0.1:1"
	late := p.liarOrNone("mx1", "mx2")
	if late != nil {
		if heard := late.says(voucher(t, func(*pool.Voucher) {})); heard != "" {
			t.Errorf("who comes later heard %q", heard)
		}
	}
	home.eventually("it is told", func() bool { return home.log.count("node refused", "of mx1: none of these is in nodes") > 0 })
	if list := home.Sessions(admin.Selector{}); len(list) > 0 {
		t.Errorf("somebody got in: %+v", list)
	}
}

func TestCheckAsksTheOtherNodes(t *testing.T) {
	p := newPool(t, "mx1", "mx2", "mx3")
	p.start("mx2", p.text("mx2", "", "", ""))
	found := map[string]error{}
	err := Examine(t.Context(), parse(t, p.dir, p.text("mx1", annAt2, "", "")), func(what string, err error) { found[what] = err })
	if err != nil {
		t.Fatal(err)
	}
	if err, asked := found["node mx2 of the pool, "+p.addrs["mx2"]]; !asked || err != nil {
		t.Errorf("mx2: %v %v in %v", asked, err, found)
	}
	if err := found["node mx3 of the pool, "+p.addrs["mx3"]]; err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("mx3: %v", err)
	}
}

func TestWhoIsVouchedForGoesNoFurther(t *testing.T) {
	p := newPool(t, "mx1", "mx2", "mx3")
	third := p.start("mx3", p.text("mx3", "", "", ""))
	home := p.start("mx2", p.text("mx2", "", "", ""))
	// Whatever the home's own routes say of this user.
	home.house.Load().desk.Routes.Rules = []route.Rule{{To: route.ToAccount}}
	l := p.liar("mx1", "mx2")
	_, _ = l.conn.Write(voucher(t, func(v *pool.Voucher) { v.Account.Fields["host"], v.Account.Fields["mailhost"] = "mx3", "mx3" }))
	line, err := bufio.NewReader(l.conn).ReadString('\n')
	if !strings.HasPrefix(line, "* PREAUTH [CAPABILITY IMAP4rev1 IDLE] mx2 has") {
		t.Errorf("%q %v", line, err)
	}
	// A route that refuses refuses here, too.
	home.house.Load().desk.Routes.Rules = []route.Rule{{User: "ann@*", To: route.ToRefuse}}
	if heard := p.liar("mx1", "mx2").says(voucher(t, func(*pool.Voucher) {})); !strings.HasPrefix(heard, "* BYE [SERVERBUG]") {
		t.Errorf("heard %q", heard)
	}
	if n := len(third.Sessions(admin.Selector{})) + third.log.count("login refused"); n > 0 {
		t.Errorf("mx3 has heard of it:\n%s", third.log)
	}
}

// The document about the pool's security names tests that exist.
func TestSecurityOfThePoolIsPinned(t *testing.T) {
	text, err := os.ReadFile("../../doc/security-pool.md")
	if err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	for _, pattern := range []string{"../pool/*_test.go", "../account/*_test.go", "*_test.go", "../../interop/*_test.go"} {
		files, _ := filepath.Glob(pattern)
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			code.Write(b)
		}
	}
	named := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllStringSubmatch(string(text), -1)
	if len(named) < 10 {
		t.Errorf("it names %d tests", len(named))
	}
	for _, m := range named {
		if !strings.Contains(code.String(), "\nfunc "+m[1]+"(") {
			t.Errorf("there is no %s", m[1])
		}
	}
}
