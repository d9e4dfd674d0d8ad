package interop

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"usher/internal/dovecot"
	"usher/internal/need"
	"usher/internal/pool"
)

// A house is three machines that run one identical file: three ushers, each in a folder
// of its own, with Dovecot's programs. Between them are links, which hear all that the
// nodes say to each other, decrypted.
type house struct {
	t     *testing.T
	dir   string
	nodes map[string]*proxy
	links map[string]*link
	desk  *accountDesk
}

var nodeNames = []string{"mx1", "mx2", "mx3"}

// firstMate is the uid of the user of mx1, and those of the others follow. They are in no
// passwd.
const firstMate = 62300

// mate is the user whose mailbox is on a node.
func mate(node string) (user string, uid int) {
	n := slices.Index(nodeNames, node)
	return fmt.Sprintf("mate%d@example.org", n+1), firstMate + n
}

// An accountDesk is the account source of all nodes: nginx's auth_http. It counts which
// node asks.
type accountDesk struct {
	homes string

	mu    sync.Mutex
	asked map[string]int
}

func (d *accountDesk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked[r.Header.Get("X-Node")]++
	w.Header().Set("Auth-Status", "Invalid login")
	for _, node := range nodeNames {
		user, uid := mate(node)
		if said(r, "Auth-User") != user || said(r, "Auth-Pass") != annSecret {
			continue
		}
		for name, value := range map[string]string{
			"Auth-Status": "OK", "Usher-Host": node, "Usher-Uid": strconv.Itoa(uid), "Usher-Gid": strconv.Itoa(uid),
			"Usher-Home": filepath.Join(d.homes, user), "Usher-Quota": "1G", "Usher-Api-Token": "the token is secret",
			"Usher-Copy": "{SSHA}thehashissecret", "Usher-Crypt": "$6$salt$thehashissecret",
		} {
			w.Header().Set(name, value)
		}
	}
}

// said is a header, which nginx escapes.
func said(r *http.Request, header string) string {
	text, err := url.PathUnescape(r.Header.Get(header))
	if err != nil {
		return ""
	}
	return text
}

// take gives what was asked since the last time, by node.
func (d *accountDesk) take() map[string]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	asked := d.asked
	d.asked = map[string]int{}
	return asked
}

// A link stands between nodes: towards those who call it is the node that it leads to,
// and towards that node it is who calls. Only who has the authority of the pool can make
// one.
type link struct {
	addr  string
	to    string // where the node really listens
	certs map[string]tls.Certificate
	name  string

	mu    sync.Mutex
	heard bytes.Buffer
}

func (l *link) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.heard.Write(b)
}

func (l *link) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.heard.String()
}

func newLink(t *testing.T, name string, certs map[string]tls.Certificate) *link {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{addr: ln.Addr().String(), to: free(t), name: name, certs: certs}
	var all sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	all.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, nc)
			mu.Unlock()
			all.Go(func() { l.join(nc) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		mu.Lock()
		for _, nc := range open {
			_ = nc.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return l
}

// free is an address where nobody listens.
func free(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().String()
}

// join leads one connection through.
func (l *link) join(nc net.Conn) {
	defer func() { _ = nc.Close() }()
	caller := tls.Server(nc, &tls.Config{
		Certificates: []tls.Certificate{l.certs[l.name]}, ClientAuth: tls.RequireAnyClientCert, NextProtos: []string{pool.Protocol},
	})
	if caller.Handshake() != nil {
		return
	}
	who := caller.ConnectionState().PeerCertificates[0].DNSNames[0]
	node, err := tls.Dial("tcp", l.to, &tls.Config{
		Certificates: []tls.Certificate{l.certs[who]}, InsecureSkipVerify: true, NextProtos: []string{pool.Protocol},
	})
	if err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(io.MultiWriter(node, l), caller)
		_ = node.CloseWrite()
	}()
	_, _ = io.Copy(io.MultiWriter(caller, l), node)
	_ = node.Close()
}

func startHouse(t *testing.T) *house {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can start programs as others")
	}
	need.Program(t, "dovecot")
	dir, err := os.MkdirTemp("", "usher-house-") // where everybody may enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	h := &house{t: t, dir: dir, nodes: map[string]*proxy{}, links: map[string]*link{}}
	h.must(os.Chmod(dir, 0o755), os.Mkdir(filepath.Join(dir, "homes"), 0o755))
	write(t, filepath.Join(dir, "dovecot.conf"), "protocols = imap pop3\nmail_location = maildir:~/Maildir\nssl = no\nlog_path = /dev/stderr\n")
	h.must(os.Chmod(filepath.Join(dir, "dovecot.conf"), 0o644))
	h.desk = &accountDesk{homes: filepath.Join(dir, "homes"), asked: map[string]int{}}
	source := httptest.NewServer(h.desk)
	t.Cleanup(source.Close)
	h.certify()
	text := h.file(source.URL)
	for _, node := range nodeNames {
		h.start(node, text)
	}
	return h
}

func (h *house) must(errs ...error) {
	h.t.Helper()
	for _, err := range errs {
		if err != nil {
			h.t.Fatal(err)
		}
	}
}

// certify makes the pool's certificates by the commands that administrators use.
func (h *house) certify() {
	ca, certs := filepath.Join(h.dir, "ca"), map[string]tls.Certificate{}
	output(h.t, usher(h.t, "pool", "init", ca))
	for _, node := range nodeNames {
		output(h.t, usher(h.t, "pool", "add", node, ca))
		pair, err := tls.LoadX509KeyPair(filepath.Join(ca, node+".pem"), filepath.Join(ca, node+".key"))
		h.must(err)
		certs[node] = pair
	}
	for _, node := range nodeNames {
		h.links[node] = newLink(h.t, node, certs)
	}
}

// file is the one that all nodes run.
func (h *house) file(source string) string {
	cert, key, ca := dovecot.Certificate(h.t, "localhost", "127.0.0.1")
	h.nodes["ca"] = &proxy{ca: ca}
	for _, f := range []string{cert, key} { // every machine has its own copy
		h.copy(f, filepath.Join(h.dir, filepath.Base(f)))
	}
	program := func(name string) string {
		return fmt.Sprintf("%s = [\"/usr/lib/dovecot/%s\", \"-c\", %q]\n", name, name, filepath.Join(h.dir, "dovecot.conf"))
	}
	text := fmt.Sprintf(conf, "nobody", "0s", filepath.Join(h.dir, filepath.Base(cert)), filepath.Join(h.dir, filepath.Base(key)), "")
	return text + fmt.Sprintf(`
[[accounts]]
type   = "http"
url    = %q
header = { X-Node = "${NODE}" }
cache  = { good = "0s", unknown = "0s", stale = "0s" }

[local]
%s%shomes       = [%q]
create_home = true
min_uid     = 60000

[pool]
nodes  = { mx1 = %q, mx2 = %q, mx3 = %q }
cert   = "node.pem"
key    = "node.key"
ca     = "pool-ca.pem"
listen = "${POOL_LISTEN}"
`, source, program("imap"), program("pop3"), h.desk.homes, h.links["mx1"].addr, h.links["mx2"].addr, h.links["mx3"].addr)
}

func (h *house) copy(from, to string) {
	text, err := os.ReadFile(from)
	h.must(err, os.WriteFile(to, text, 0o600), os.Chown(to, nobody, nobody))
}

// start runs one node, until the test ends.
func (h *house) start(node, text string) {
	dir := filepath.Join(h.dir, node)
	h.must(os.Mkdir(dir, 0o755), os.Chown(dir, nobody, nobody))
	for from, to := range map[string]string{node + ".pem": "node.pem", node + ".key": "node.key", pool.AuthorityCert: "pool-ca.pem"} {
		h.copy(filepath.Join(h.dir, "ca", from), filepath.Join(dir, to))
	}
	p := &proxy{t: h.t, addrs: map[string]string{}, file: filepath.Join(dir, "usher.toml"), log: filepath.Join(dir, "log"), ca: h.nodes["ca"].ca}
	write(h.t, p.file, text)
	h.must(os.Chown(p.file, nobody, nobody))
	h.t.Setenv("NODE", node)
	h.t.Setenv("POOL_LISTEN", h.links[node].to)
	p.run()
	h.nodes[node] = p
}

// seen is a session as usher who tells of it.
type seen struct{ User, Remote, Target, Via, Ext, ID, TLS string }

func (h *house) who(t *testing.T, node string) (list []seen) {
	t.Helper()
	out, err := usher(t, "who", "--json", "--admin", h.nodes[node].admin()).Output()
	if err == nil {
		err = json.Unmarshal(out, &list)
	}
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// runsAs are the programs that run as a user.
func runsAs(uid int) (ids []string) {
	files, _ := filepath.Glob("/proc/[0-9]*/status")
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue // it has ended
		}
		for line := range strings.Lines(string(text)) {
			if list, ok := strings.CutPrefix(line, "Uid:"); ok && slices.Contains(strings.Fields(list), strconv.Itoa(uid)) {
				ids = append(ids, strings.Join(strings.Fields(list), " "))
			}
		}
	}
	return ids
}

func TestOneFileOnThreeMachinesServesAllMailboxes(t *testing.T) {
	h := startHouse(t)
	for _, home := range nodeNames {
		user, uid := mate(home)
		for _, through := range nodeNames {
			for _, security := range []string{"none", "starttls", "implicit"} {
				t.Run(fmt.Sprintf("%s through %s, %s", user, through, security), func(t *testing.T) {
					h.reads(t, home, through, security, user, uid)
				})
			}
		}
		if n := h.messages(user); n != 9 {
			t.Errorf("%s has %d messages, and has written 9", user, n)
		}
	}
	// Nobody has told anybody's password, nor what looks like a hash or is called a token.
	for name, l := range h.links {
		text := l.text()
		if !strings.Contains(text, "PREAUTH") || !strings.Contains(text, `"quota":"1G"`) {
			t.Errorf("the link to %s has heard nothing of the kind:\n%.500q", name, text)
		}
		for _, never := range []string{annSecret, "secret", "token", "{SSHA}", "$6$", encode("\x00" + user(name) + "\x00" + annSecret)} {
			if strings.Contains(text, never) {
				t.Errorf("the link to %s has heard %q", name, never)
			}
		}
	}
}

func user(node string) string { name, _ := mate(node); return name }

// reads logs in by both protocols, writes a message, reads it, and looks who has done
// what for it.
func (h *house) reads(t *testing.T, home, through, security, user string, uid int) {
	p := h.nodes[through]
	h.desk.take()
	c := p.client(t, "imap", security)
	c.enter(user, annSecret)
	if asked := h.desk.take(); len(asked) != 1 || asked[through] != 1 {
		t.Errorf("for one login the source was asked %v", asked)
	}
	text := []byte("Subject: mine\r\n\r\nhello from " + through + "\r\n")
	c.send("a APPEND INBOX {%d}", len(text))
	c.expect("+")
	if answer := c.ask("%s", text); !isOK(answer) {
		t.Fatal(answer)
	}
	if got := c.subject(); got != "mine" {
		t.Errorf("the subject is %q", got)
	}
	h.isServed(t, c, home, through, user, uid)
	c.ask("a LOGOUT")
	_ = c.Close()

	d := p.client(t, "pop3", security)
	d.enter(user, annSecret)
	if asked := h.desk.take(); len(asked) != 1 || asked[through] != 1 {
		t.Errorf("for one login the source was asked %v", asked)
	}
	if got := d.subject(); got != "mine" {
		t.Errorf("by POP3 the subject is %q", got)
	}
	if answer := d.ask("QUIT"); !isOK(answer) {
		t.Error(answer)
	}
	_ = d.Close()
	p.eventually("nobody is there any more", func() bool {
		left := len(runsAs(uid))
		for _, node := range nodeNames {
			left += len(h.who(t, node))
		}
		return left == 0
	})
}

// isServed looks at the session that there is: at the node that the client has reached,
// at its home, and in /proc.
func (h *house) isServed(t *testing.T, c *client, home, through, user string, uid int) {
	client := c.LocalAddr().String()
	id := ""
	for _, node := range nodeNames {
		list := h.who(t, node)
		switch {
		case node != home && node != through:
			if len(list) != 0 {
				t.Errorf("%s has to do with it: %+v", node, list)
			}
			continue
		case len(list) != 1 || list[0].User != user || list[0].Remote != client:
			t.Fatalf("at %s: %+v", node, list)
		}
		s := list[0]
		switch {
		case node == home && s.Target != "local/imap":
			t.Errorf("at home it is served by %s", s.Target)
		case node != home && s.Target != "pool/"+h.links[home].addr:
			t.Errorf("%s has sent it to %s", node, s.Target)
		case node == home && home != through && s.Via != through:
			t.Errorf("at home it comes by %q", s.Via)
		}
		if node == through {
			id = s.ID
		}
	}
	if home != through {
		if s := h.who(t, home)[0]; s.Ext != id {
			t.Errorf("at home the session is %q, at %s it is %q", s.Ext, through, id)
		}
	}
	all := strings.TrimSpace(strings.Repeat(strconv.Itoa(uid)+" ", 4))
	if ids := runsAs(uid); len(ids) != 1 || ids[0] != all {
		t.Errorf("as %d run %q", uid, ids)
	}
}

// messages is how many a user has on the disk.
func (h *house) messages(user string) (n int) {
	for _, sub := range []string{"cur", "new"} {
		files, _ := os.ReadDir(filepath.Join(h.desk.homes, user, "Maildir", sub))
		n += len(files)
	}
	return n
}

// What an administrator does to the node that has the mailbox disturbs nobody who comes
// by another one: a reload, a new certificate, an upgrade.
func TestANodeIsReloadedRenewedAndUpgraded(t *testing.T) {
	h := startHouse(t)
	user, _ := mate("mx2")
	home := h.nodes["mx2"]
	defer home.stopAll()
	stays := h.nodes["mx1"].client(t, "imap", "implicit")
	stays.enter(user, annSecret)
	comes := func(what string) {
		t.Helper()
		for _, through := range nodeNames {
			c := h.nodes[through].client(t, "pop3", "none")
			c.enter(user, annSecret)
			if answer := c.ask("QUIT"); !isOK(answer) {
				t.Errorf("after %s, through %s: %s", what, through, answer)
			}
			_ = c.Close()
		}
		if answer := stays.ask("a NOOP"); !isOK(answer) {
			t.Errorf("after %s the session that was there hears %s", what, answer)
		}
	}
	comes("nothing")
	output(t, usher(t, "reload", "--admin", home.admin()))
	comes("a reload")
	output(t, usher(t, "pool", "add", "--force", "mx2", filepath.Join(h.dir, "ca")))
	for _, file := range []string{"key", "pem"} {
		h.copy(filepath.Join(h.dir, "ca", "mx2."+file), filepath.Join(h.dir, "mx2", "node."+file))
	}
	comes("a new certificate")
	output(t, usher(t, "upgrade", "--admin", home.admin()))
	comes("an upgrade")
	home.eventually("the new process has mailboxes to serve", func() bool { return strings.Contains(home.logText(), "took over") })
	comes("the old process left")
}
