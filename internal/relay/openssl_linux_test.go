package relay_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"usher/internal/need"
	"usher/internal/relay"
	"usher/internal/relay/relaytest"
)

var suites13 = []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}

// OpenSSL goes on talking when crypto/tls has left, through changes of keys on either
// side's wish, while the session moves from place to place.
func TestOpenSSLNoticesNothing(t *testing.T) {
	program := need.Program(t, "openssl")
	e, err := relay.NewEpoll()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	for _, suite := range suites13 {
		t.Run("s_client, "+suite, func(t *testing.T) {
			nc, far := sClient(t, program, "-ciphersuites", suite)
			witness{t, e, far, ""}.watch(nc, true, suite)
		})
		t.Run("s_server, "+suite, func(t *testing.T) {
			nc, far := sServer(t, program, "-ciphersuites", suite)
			witness{t, e, far, ""}.watch(nc, false, suite)
		})
	}
	t.Run("s_client without tickets", func(t *testing.T) {
		nc, far := sClient(t, program, "-no_ticket")
		witness{t, e, far, ""}.watch(nc, true, "")
	})
	t.Run("s_client, resumed", func(t *testing.T) {
		session := filepath.Join(t.TempDir(), "session")
		nc, far := sClient(t, program, "-sess_out", session)
		witness{t, e, far, ""}.watch(nc, true, "")
		nc, far = sClient(t, program, "-sess_in", session)
		witness{t, e, far, "resumed"}.watch(nc, true, "")
	})
}

// A witness is an OpenSSL at the other end of a leg.
type witness struct {
	*testing.T
	engine  relay.Engine
	program *talker
	how     string
}

// watch talks a while, before the relay begins and afterwards.
func (w witness) watch(nc net.Conn, server bool, suite string) {
	w.Helper()
	cs, cc := relaytest.TLS(tls.VersionTLS13)
	leg := relay.Leg{Conn: nc}
	if server {
		cs.SetSessionTicketKeys([][32]byte{{1}}) // else no other connection could resume
		leg.TLS = relay.Server(nc, cs)
	} else {
		leg.TLS = relay.Client(nc, cc)
	}
	_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
	if err := leg.TLS.Handshake(); err != nil {
		w.Fatal(err)
	}
	if !server {
		w.program.hears("CIPHER is") // before that it would not know what to do with a line
	}
	w.program.say("hello")
	if line, err := bufio.NewReaderSize(leg.TLS, 16).ReadString('\n'); err != nil || line != "hello\n" {
		w.Fatalf("%q, %v", line, err)
	}
	_, _ = io.WriteString(leg.TLS, "welcome\n")
	w.program.hears("welcome")
	_ = nc.SetDeadline(time.Time{})
	state := leg.TLS.ConnectionState()
	if suite != "" && tls.CipherSuiteName(state.CipherSuite) != suite || (w.how == "resumed") != state.DidResume {
		w.Fatalf("%s, resumed: %v", tls.CipherSuiteName(state.CipherSuite), state.DidResume)
	}
	near, far := relaytest.Sockets(w)
	p := relay.Pair{ID: 1, Client: leg, Server: relay.Leg{Conn: near}}
	ended := make(chan relay.Stats, 1)
	w.engine.Start(p, func(st relay.Stats) { ended <- st })
	w.converse(far)
	_ = far.Close()
	if st := <-ended; st.Ended != relay.BackendClosed {
		w.Errorf("the pair ended: %s", st.Ended)
	}
}

// converse has lines go both ways, with changes of keys and moves between them.
func (w witness) converse(far net.Conn) {
	w.Helper()
	in := bufio.NewReader(far)
	_ = far.SetDeadline(time.Now().Add(30 * time.Second))
	for i := range 12 {
		if i%4 == 3 {
			w.program.say([]string{"K", "k", "K"}[i/4]) // KeyUpdate, with a request and without
			w.program.hears(w.program.updated)
		}
		w.program.say(fmt.Sprintf("line %d", i))
		if line, err := in.ReadString('\n'); err != nil || line != fmt.Sprintf("line %d\n", i) {
			w.Fatalf("%q, %v", line, err)
		}
		fmt.Fprintf(far, "answer %d\n", i)
		w.program.hears(fmt.Sprintf("answer %d", i))
		w.move()
	}
}

// move takes the session out of the relay and brings it back.
func (w witness) move() {
	w.Helper()
	for range 100 {
		if p, done, ok := w.engine.Release(1); ok {
			w.engine.Start(p, done)
			return
		}
		time.Sleep(time.Millisecond) // it is not at rest yet
	}
	w.Fatal("the session does not move")
}

// A talker is a program that is talked to in lines.
type talker struct {
	t     testing.TB
	in    io.WriteCloser
	lines chan string
	cmd   *exec.Cmd

	updated string // what it says when it has changed its keys
}

func talk(t testing.TB, updated, program string, args ...string) *talker {
	t.Helper()
	w := &talker{t: t, lines: make(chan string, 1000), cmd: exec.Command(program, args...), updated: updated}
	out, err := w.cmd.StdoutPipe()
	if err == nil {
		w.in, err = w.cmd.StdinPipe()
	}
	w.cmd.Stderr = w.cmd.Stdout
	if err := errors.Join(err, w.cmd.Start()); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for s := bufio.NewScanner(out); s.Scan(); {
			w.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		_ = w.cmd.Process.Kill()
		<-read
		_ = w.cmd.Wait()
	})
	return w
}

func (w *talker) say(line string) {
	w.t.Helper()
	if _, err := io.WriteString(w.in, line+"\n"); err != nil {
		w.t.Fatal(err)
	}
}

// hears waits for a line, among others.
func (w *talker) hears(want string) string {
	w.t.Helper()
	late := time.After(30 * time.Second)
	for {
		select {
		case line := <-w.lines:
			if strings.Contains(line, want) {
				return line
			}
		case <-late:
			w.t.Fatalf("it does not say %q", want)
		}
	}
}

// sClient has OpenSSL call us.
func sClient(t *testing.T, program string, args ...string) (net.Conn, *talker) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	w := talk(t, "KEYUPDATE", program, append([]string{"s_client", "-tls1_3", "-connect", ln.Addr().String()}, args...)...)
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return nc, w
}

// sServer has OpenSSL hear us.
func sServer(t *testing.T, program string, args ...string) (net.Conn, *talker) {
	t.Helper()
	server, _ := relaytest.TLS(tls.VersionTLS13)
	key, err := x509.MarshalPKCS8PrivateKey(server.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "pem")
	text := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificates[0].Certificate[0]})...)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	w := talk(t, "SSL_do_handshake", "stdbuf", append([]string{"-oL", program, "s_server", "-accept", "127.0.0.1:0", "-naccept", "1", "-tls1_3", "-cert", file, "-key", file}, args...)...)
	addr := regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(w.hears("ACCEPT "))
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return nc, w
}
