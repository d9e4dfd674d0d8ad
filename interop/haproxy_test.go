package interop

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"usher/internal/daemon"
	"usher/internal/need"
)

// A balancer is a running HAProxy in front of one address.
type balancer struct{ addr string }

// A front says how an HAProxy hands clients on.
type front struct {
	to   string // where usher is
	send string // options of the server line: "send-proxy"
	tls  string // a PEM file with certificate and key, if HAProxy ends the clients' TLS
}

// balance runs an HAProxy until the test ends.
func balance(t testing.TB, f front) balancer {
	t.Helper()
	program := need.Program(t, "haproxy")
	b := balancer{freeAddr(t)}
	bind := b.addr
	if f.tls != "" {
		bind += " ssl crt " + f.tls
	}
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	write(t, file, fmt.Sprintf(haproxyConf, bind, f.to, f.send))
	c := exec.Command(program, "-db", "-f", file)
	var said strings.Builder
	c.Stdout, c.Stderr = &said, &said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		if t.Failed() {
			t.Logf("haproxy said:\n%s", said.String())
		}
	})
	for range 500 {
		if nc, err := net.Dial("tcp", b.addr); err == nil {
			_ = nc.Close()
			return b
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("haproxy does not listen on %s", b.addr)
	return b
}

const haproxyConf = `
defaults
  mode tcp
  timeout connect 10s
  timeout client 3m
  timeout server 3m

frontend mail
  bind %s
  unique-id-format HA-%%ci:%%cp
  default_backend ushers

backend ushers
  server usher %s %s
`

// freeAddr is an address of this machine on which nobody listens.
func freeAddr(t testing.TB) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", daemon.FreePort(t))
}

// pem puts a certificate and its key into one file, as HAProxy wants them.
func pem(t testing.TB, cert, key string) string {
	t.Helper()
	var text []byte
	for _, file := range []string{cert, key} {
		part, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, part...)
	}
	file := filepath.Join(t.TempDir(), "both.pem")
	write(t, file, string(text))
	return file
}

// far is an address of this machine that no server or proxy of these tests has: who
// comes from there is a client.
const far = "127.0.0.77"

// from connects from far, under TLS if there is an authority to verify it by.
func from(t testing.TB, protocol, addr, ca string) (c *client, me string) {
	t.Helper()
	d := net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(far)}}
	nc, err := d.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(time.Minute))
	c = newClient(t, protocol, nc)
	if ca != "" {
		c.secure(ca)
	}
	return c, nc.LocalAddr().String()
}
