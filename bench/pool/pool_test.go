//go:build linux

// Package pool measures what a login costs that another node of the pool takes, beside
// one that is proxied under TLS on both sides: go test -v ./bench/pool -full.
package pool

import (
	"bufio"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"usher/bench/internal/store"
	"usher/internal/demo"
)

var (
	full  = flag.Bool("full", false, "measure, and not only see that it works")
	built = flag.String("usher", "", "the program to measure; else one is built")
)

const (
	atOnce = 4
	ratio  = 1.3 // to be reached
)

// A site is two nodes and a store under TLS.
type site struct {
	t     *testing.T
	dir   string
	front *os.Process
	home  *os.Process
	imaps string // of the front
}

func TestPeerLogin(t *testing.T) {
	s := start(t)
	rounds, logins := 1, 20
	if *full {
		rounds, logins = 3, 600
	}
	cost := map[string][]float64{}
	for range rounds + 1 {
		for _, user := range []string{"proxied", "peer", "plain", "local"} {
			cost[user] = append(cost[user], s.measure(user, logins))
		}
	}
	median := func(user string) float64 {
		list := slices.Sorted(slices.Values(cost[user][1:])) // the first warms up
		return list[len(list)/2]
	}
	program := median("local") - median("plain") // to have it started, instead of dialling a server
	peer := median("peer") - program
	t.Logf("proxied with TLS on both sides %.0f µs of CPU, by a peer (both nodes together) %.0f µs without the %.0f for its program: %.2f, %.2f was to be reached",
		median("proxied"), peer, program, peer/median("proxied"), ratio)
	t.Logf("all rounds: %v", cost)
}

// measure is the CPU of both nodes for a login, in microseconds.
func (s *site) measure(user string, logins int) float64 {
	before, away := s.cpu(), s.cpuOf(s.home)
	var all sync.WaitGroup
	for range atOnce {
		all.Go(func() {
			for range logins / atOnce {
				if err := s.login(user); err != nil {
					s.t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(logins) }
	s.t.Logf("%s: %.0f µs, of which the other node %.0f", user, each(s.cpu()-before), each(s.cpuOf(s.home)-away))
	return each(s.cpu() - before)
}

// cpu is what both nodes have taken, without the helper and its programs.
func (s *site) cpu() time.Duration { return s.cpuOf(s.front) + s.cpuOf(s.home) }

func (s *site) cpuOf(p *os.Process) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^p.Pid<<3|2), &ts); err != nil { // the clock of all threads of a process: clock_getcpuclockid(3)
		s.t.Fatal(err)
	}
	return time.Duration(ts.Nano())
}

func (s *site) login(user string) error {
	c, err := tls.Dial("tcp", s.imaps, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	in := bufio.NewReader(c)
	if _, err := in.ReadString('\n'); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(c, "a LOGIN %s secret\r\n", user)
	line, err := in.ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "a OK") {
		err = errors.New(line)
	}
	return err
}

func start(t *testing.T) *site {
	t.Helper()
	dir, err := os.MkdirTemp("", "usher-bench-pool-")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &site{t: t, dir: dir}
	uid := os.Getuid()
	if uid == 0 {
		uid = 62400
	}
	must(t, os.Chmod(dir, 0o755), os.Mkdir(filepath.Join(dir, "home"), 0o700), os.Chown(filepath.Join(dir, "home"), uid, -1))
	binary := *built
	if binary == "" {
		binary = filepath.Join(dir, "usher")
		build := exec.Command("go", "build", "-o", binary, "usher/cmd/usher")
		build.Env = append(os.Environ(), "CGO_ENABLED=0") // as make does
		s.run(build)
	}
	s.run(exec.Command(binary, "pool", "init", dir))
	for _, node := range []string{"front", "away"} {
		s.run(exec.Command(binary, "pool", "add", node, dir))
	}
	must(t, demo.WriteCertificate(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")))
	must(t, os.WriteFile(filepath.Join(dir, "users"), fmt.Appendf(nil,
		"peer:{PLAIN}secret:%d:%d::%s::host=away\nproxied:{PLAIN}secret::::::host=store\nplain:{PLAIN}secret::::::host=plain\nlocal:{PLAIN}secret:%d:%d::%s::host=front\n",
		uid, uid, filepath.Join(dir, "home"), uid, uid, filepath.Join(dir, "home")), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "none"), nil, 0o600), os.WriteFile(filepath.Join(dir, "mail"),
		[]byte("#!/bin/sh\necho '* PREAUTH [CAPABILITY IMAP4rev1] in'\nread nothing\n"), 0o755))
	backends, nodes := s.stores(), [2]string{free(t), free(t)}
	s.home, _ = s.node(binary, "away", "none", backends, nodes)
	s.front, s.imaps = s.node(binary, "front", "users", backends, nodes)
	return s
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func (s *site) run(c *exec.Cmd) {
	s.t.Helper()
	if out, err := c.CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v\n%s", c, err, out)
	}
}

// stores are a cheap IMAP server under TLS, and one in clear, in this process: their cost
// is not counted.
func (s *site) stores() (addrs [2]string) {
	cert, err := tls.LoadX509KeyPair(filepath.Join(s.dir, "cert.pem"), filepath.Join(s.dir, "key.pem"))
	must(s.t, err)
	for i := range addrs {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		must(s.t, err)
		s.t.Cleanup(func() { _ = ln.Close() })
		addrs[i] = ln.Addr().String()
		if i == 0 {
			ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{cert}})
		}
		go func() { _ = store.Serve(ln, store.IMAP) }()
	}
	return addrs
}

func free(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = ln.Close() }()
	return ln.Addr().String()
}

const conf = `
[server]
state = %[1]q
admin = ""
user  = ""
log   = "logfmt"
grace = "0s"
[tls]
cert = "cert.pem"
key  = "key.pem"
[[listen]]
protocol = "imap"
tls      = "implicit"
addr     = ["127.0.0.1:0"]
[[accounts]]
type = "passwd"
path = %[2]q
[backend.store]
addr = [%[3]q]
tls  = "implicit"
ca   = "cert.pem"
[backend.plain]
addr = [%[9]q]
[local]
imap    = [%[4]q]
speaks  = "preauth"
min_uid = 1
min_gid = 0
[limit]
sessions_per_user         = 0
sessions_per_user_address = 0
logins_per_minute         = 0
[pool]
nodes = { front = %[5]q, away = %[6]q }
cert  = %[7]q
key   = %[8]q
ca    = "ca.pem"
`

var listening = regexp.MustCompile(`msg=listening protocol=imap addr=(\S+)`)

// node starts one, until the test ends.
func (s *site) node(binary, name, users string, backends, nodes [2]string) (p *os.Process, imaps string) {
	s.t.Helper()
	file := filepath.Join(s.dir, name+".toml")
	must(s.t, os.WriteFile(file, fmt.Appendf(nil, conf, name+".state", users, backends[0], filepath.Join(s.dir, "mail"), nodes[0], nodes[1], name+".pem", name+".key", backends[1]), 0o600))
	c := exec.Command(binary, "serve", "-c", file)
	log, err := c.StderrPipe()
	must(s.t, err, c.Start())
	s.t.Cleanup(func() { _ = c.Process.Signal(os.Interrupt); _ = c.Wait() })
	in := bufio.NewReader(log)
	for said := ""; ; {
		line, err := in.ReadString('\n')
		said += line
		if err != nil {
			s.t.Fatalf("%s: %v\n%s", name, err, said)
		}
		if m := listening.FindStringSubmatch(line); m != nil {
			imaps = m[1]
		}
		if strings.Contains(line, "protocol=pool") {
			break
		}
	}
	said := io.Discard
	if !*full {
		said = os.Stderr
	}
	go func() { _, _ = io.Copy(said, in) }()
	return c.Process, imaps
}
