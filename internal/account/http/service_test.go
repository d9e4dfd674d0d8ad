package authhttp

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"usher/internal/account"
	"usher/internal/config"
)

// users are whom the test's service knows.
var users = map[string]string{"ann@example.org": "secret", "bob": "pässwörd %20 €"}

// mailAuth is a service as organisations have them, written to the documentation of
// nginx.
func mailAuth(w http.ResponseWriter, r *http.Request) {
	name, err := url.PathUnescape(r.Header.Get("Auth-User"))
	pass, err2 := url.PathUnescape(r.Header.Get("Auth-Pass"))
	if err != nil || err2 != nil || r.Header.Get("Client-IP") == "" {
		http.Error(w, "that is not nginx", http.StatusBadRequest)
		return
	}
	right, known := users[name]
	switch r.Header.Get("Auth-Method") {
	case "cram-md5":
		mac := hmac.New(md5.New, []byte(right))
		mac.Write([]byte(r.Header.Get("Auth-Salt")))
		right = hex.EncodeToString(mac.Sum(nil))
	case "apop":
		sum := md5.Sum([]byte(r.Header.Get("Auth-Salt") + right))
		right = hex.EncodeToString(sum[:])
	}
	if !known || pass != right {
		w.Header().Set("Auth-Status", "Invalid login or password")
		w.Header().Set("Auth-Wait", "3")
		return
	}
	w.Header().Set("Auth-Status", "OK")
	w.Header().Set("Auth-Server", "10.0.0.7")
	w.Header().Set("Auth-Port", map[string]string{"imap": "143", "pop3": "110"}[r.Header.Get("Auth-Protocol")])
	w.Header().Set("Auth-User", "u-"+name)
	w.Header().Set("Auth-Pass", users[name])
}

// serveForever is the service's process. With USHER_TEST_CERT it speaks TLS, and with
// USHER_TEST_CLIENT_CA it wants to see a certificate.
func serveForever(addr string) {
	s := &http.Server{Addr: addr, Handler: http.HandlerFunc(mailAuth), ReadHeaderTimeout: time.Minute, ErrorLog: log.New(os.NewFile(3, "none"), "", 0)}
	cert := os.Getenv("USHER_TEST_CERT")
	if cert == "" {
		log.Fatal(s.ListenAndServe())
	}
	if ca := os.Getenv("USHER_TEST_CLIENT_CA"); ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			log.Fatal(err)
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem)
		s.TLSConfig = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	}
	log.Fatal(s.ListenAndServeTLS(cert, os.Getenv("USHER_TEST_KEY")))
}

// A process is the service in a process of its own.
type process struct {
	t    *testing.T
	addr string
	env  []string
	cmd  *exec.Cmd
}

// startService starts one that ends with the test; env is for serveForever.
func startService(t *testing.T, env ...string) *process {
	t.Helper()
	p := &process{t: t, addr: freeAddr(t), env: env}
	p.start()
	t.Cleanup(p.stop)
	return p
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (p *process) start() {
	p.t.Helper()
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = append(append(os.Environ(), "USHER_TEST_SERVICE="+p.addr), p.env...)
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	for range 500 {
		if c, err := net.Dial("tcp", p.addr); err == nil {
			c.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	p.t.Fatal("the service does not listen")
}

func (p *process) stop() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// freeze returns once the process stands still; thaw wakes it up.
func (p *process) freeze(t *testing.T) (thaw func()) {
	pid := p.cmd.Process.Pid
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if _, err := syscall.Wait4(pid, nil, syscall.WUNTRACED, nil); err != nil {
		t.Fatal(err)
	}
	return func() { _ = syscall.Kill(pid, syscall.SIGCONT) }
}

// outage kills the process; start starts it again at the same place.
func (p *process) outage(*testing.T) (start func()) {
	p.stop()
	return p.start
}

// rawService is a service that answers each request with what answer makes of its
// head, and then closes the connection: for answers that no real one gives.
func rawService(t *testing.T, answer func(head string) string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go answerRaw(c, answer)
		}
	}()
	return l.Addr().String()
}

func answerRaw(c net.Conn, answer func(head string) string) {
	defer c.Close()
	var head strings.Builder
	for r := bufio.NewReader(c); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		if line == "\r\n" {
			break
		}
		head.WriteString(line)
	}
	fmt.Fprint(c, answer(head.String()))
}

// reply is an answer with these headers.
func reply(status string, headers ...string) string {
	return "HTTP/1.0 " + status + "\r\n" + strings.Join(append(headers, "", ""), "\r\n")
}

// open opens a source of these keys, written as in usher.toml.
func open(t *testing.T, keys string) *source {
	t.Helper()
	src, err := tryOpen(keys)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	return src
}

func tryOpen(keys string) (*source, error) {
	c, err := config.Parse("/etc/usher/usher.toml", []byte("[[accounts]]\ntype = \"http\"\n"+keys), func(string) (string, bool) { return "", false })
	if err != nil {
		return nil, err
	}
	opener, err := Driver(c.Accounts[0].Decode)
	if err != nil {
		return nil, err
	}
	src, err := opener(context.Background(), account.Site{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	return src.(*source), nil
}
