package authhttp

import (
	"bufio"
	"crypto/hmac"
	"crypto/md5"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"usher/internal/account"
	"usher/internal/dovecot"
	"usher/internal/need"
)

const mailModule = "/usr/lib/nginx/modules/ngx_mail_module.so"

// An nginx is a mail proxy that asks the same service as usher.
type nginx struct{ imap, imaps, pop3 string }

func startNginx(t *testing.T, service, header string) *nginx {
	t.Helper()
	program := need.Program(t, "nginx")
	if _, err := os.Stat(mailModule); err != nil && os.Getenv("CI") == "true" {
		t.Fatalf("CI must have libnginx-mod-mail: %v", err)
	} else if err != nil {
		t.Skip(err)
	}
	cert, key, _ := dovecot.Certificate(t, "localhost")
	n := &nginx{imap: freeAddr(t), imaps: freeAddr(t), pop3: freeAddr(t)}
	dir := t.TempDir()
	conf := filepath.Join(dir, "conf")
	text := fmt.Sprintf(`load_module %s; daemon off; master_process off; pid %s/pid; error_log stderr;
events {}
mail {
	auth_http %s; auth_http_header %s;
	imap_auth plain login cram-md5; pop3_auth plain apop cram-md5;
	server { listen %s; protocol imap; }
	server { listen %s ssl; protocol imap; ssl_certificate %s; ssl_certificate_key %s; }
	server { listen %s; protocol pop3; }
}`, mailModule, dir, service, header, n.imap, n.imaps, cert, key, n.pop3)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	c := exec.Command(program, "-e", "stderr", "-p", dir, "-c", conf)
	c.Stderr = &said
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		if t.Failed() {
			t.Logf("nginx said:\n%s", said.String())
		}
	})
	for range 500 {
		if nc, err := net.Dial("tcp", n.pop3); err == nil {
			nc.Close()
			return n
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("nginx does not listen")
	return nil
}

// A talk is a client's side of a login at nginx.
type talk struct {
	t *testing.T
	net.Conn
	r     *bufio.Reader
	salts string // what the server said with < and > around it
}

func newTalk(t *testing.T, addr string, secure bool) *talk {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if secure {
		c = tls.Client(c, &tls.Config{InsecureSkipVerify: true}) // another test is for certificates
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	t.Cleanup(func() { c.Close() })
	k := &talk{t: t, Conn: c, r: bufio.NewReader(c)}
	k.hear()
	return k
}

func (k *talk) hear() string {
	k.t.Helper()
	line, err := k.r.ReadString('\n')
	if err != nil {
		k.t.Fatal(err)
	}
	if i := strings.IndexByte(line, '<'); i >= 0 {
		k.salts = strings.TrimSpace(line[i:])
	}
	return line
}

func (k *talk) say(format string, args ...any) string {
	k.t.Helper()
	fmt.Fprintf(k, format+"\r\n", args...)
	return k.hear()
}

func (k *talk) plain(user, password string) string {
	k.t.Helper()
	k.say("a AUTHENTICATE PLAIN")
	return k.say("%s", base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password)))
}

// headersOf are the lines of a request but for the first, by their names as they were
// written.
func headersOf(head string) map[string]string {
	h := map[string]string{}
	for line := range strings.Lines(head) {
		if name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ": "); ok {
			h[name] = value
		}
	}
	return h
}

// Header by header, and in the same letters: but for what HTTP/1.1 has of its own, and
// what a Query does not know.
func TestAServiceHearsFromUsherWhatItHearsFromNginx(t *testing.T) {
	t.Parallel()
	heads := make(chan string, 10)
	service := rawService(t, func(head string) string {
		heads <- head
		return reply("200 OK", "Auth-Status: no")
	})
	n := startNginx(t, service+"/auth?site=1", `X-Key "a b"`)
	src := open(t, fmt.Sprintf("url = ['http://%s/auth?site=1']\nheader = {X-Key = 'a b'}", service))

	var odd strings.Builder
	for c := byte(1); c < 0x7f; c++ {
		odd.WriteByte(c)
	}
	same := func(what string, say func() account.Query) {
		t.Helper()
		q := say()
		q.Remote = netip.MustParseAddrPort("127.0.0.1:1")
		theirs := <-heads
		_, _ = src.Ask(t.Context(), q)
		want, got := headersOf(theirs), headersOf(<-heads)
		for _, name := range []string{"Host", "Auth-SSL-Protocol", "Auth-SSL-Cipher"} {
			delete(want, name)
		}
		for _, name := range []string{"Host", "User-Agent"} {
			delete(got, name)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: nginx (-), usher (+):\n%s", what, diff)
		}
	}
	for _, password := range []string{"secret", odd.String(), "pässwörd € 100%", "\xff\xfe", " "} {
		same("a password", func() account.Query {
			newTalk(t, n.imap, false).plain("ann@example.org", password)
			return account.Query{Name: "ann@example.org", Password: password, Protocol: "imap"}
		})
	}
	same("a name", func() account.Query {
		newTalk(t, n.imap, false).plain("änn%41 x", "p")
		return account.Query{Name: "änn%41 x", Password: "p", Protocol: "imap"}
	})
	same("TLS", func() account.Query {
		newTalk(t, n.imaps, true).plain("ann", "p")
		return account.Query{Name: "ann", Password: "p", Protocol: "imap", TLS: true}
	})
	same("POP3", func() account.Query {
		k := newTalk(t, n.pop3, false)
		k.say("USER ann")
		k.say("PASS secret word")
		return account.Query{Name: "ann", Password: "secret word", Protocol: "pop3"}
	})
	same("APOP", func() account.Query {
		k := newTalk(t, n.pop3, false)
		k.say("APOP ann c4c9334bac560ecc979e58001b3e22fb")
		return account.Query{Name: "ann", Protocol: "pop3", Answer: &account.Answer{Method: "apop", Challenge: k.salts, Response: "c4c9334bac560ecc979e58001b3e22fb"}}
	})
	same("CRAM-MD5", func() account.Query {
		k := newTalk(t, n.imap, false)
		salt, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(k.say("a AUTHENTICATE CRAM-MD5")[2:]))
		mac := hmac.New(md5.New, []byte("secret"))
		mac.Write(salt)
		response := "ann " + hex.EncodeToString(mac.Sum(nil))
		k.say("%s", base64.StdEncoding.EncodeToString([]byte(response)))
		return account.Query{Name: "ann", Protocol: "imap", Answer: &account.Answer{Method: "cram-md5", Challenge: string(salt), Response: response}}
	})
}

// One service serves both, with the same answers: where nginx gets in, usher is led to
// the same server, with the same name and password.
func TestTheSameServiceServesNginxAndUsher(t *testing.T) {
	t.Parallel()
	d := dovecot.Start(t, dovecot.Options{Users: map[string]string{"u-ann": "other"}})
	host, port, _ := net.SplitHostPort(d.IMAP)
	service := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Auth-Status", "Invalid login")
		if r.Header.Get("Auth-User") == "ann" && r.Header.Get("Auth-Pass") == "secret%20word" {
			w.Header().Set("Auth-Status", "OK")
		}
		w.Header().Set("Auth-Server", host)
		w.Header().Set("Auth-Port", port)
		w.Header().Set("Auth-User", "u-ann")
		w.Header().Set("Auth-Pass", "other")
	})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go service.Serve(l)
	t.Cleanup(func() { service.Close() })
	n := startNginx(t, l.Addr().String(), "A b")
	r := account.Reader{Source: open(t, fmt.Sprintf("url = ['http://%s']", l.Addr()))}
	for password, right := range map[string]bool{"secret word": true, "wrong": false} {
		said := newTalk(t, n.imap, false).plain("ann", password)
		if strings.HasPrefix(said, "a OK") != right {
			t.Errorf("nginx says %q", said)
		}
		a, err := r.Lookup(t.Context(), account.Query{Name: "ann", Password: password, Protocol: "imap", Remote: netip.MustParseAddrPort("127.0.0.1:1")})
		switch {
		case (err == nil) != right:
			t.Errorf("usher says %v", err)
		case right && (a.Place.Hosts[0] != host || fmt.Sprint(a.Place.Port) != port || a.Place.User != "u-ann" || a.Place.Password != "other"):
			t.Errorf("usher is led to %+v", a.Place)
		}
	}
}
