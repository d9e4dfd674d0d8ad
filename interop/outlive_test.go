package interop

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"flag"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"usher/internal/need"
)

var full = flag.Bool("full", false, "1,000 sessions, 20 kills, 5 and more upgrades")

// A mirror is a mail server that says back whatever it hears after the login: a byte that
// is lost, doubled or out of order on its way there or back is seen.
type mirror struct{ imap, imaps string }

func newMirror(t *testing.T, cert, key string) mirror {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	secured, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = plain.Close(), secured.Close() })
	go mirrors(plain)
	go mirrors(tls.NewListener(secured, &tls.Config{Certificates: []tls.Certificate{pair}}))
	return mirror{plain.Addr().String(), secured.Addr().String()}
}

func mirrors(ln net.Listener) {
	for {
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		go reflect(nc)
	}
}

func reflect(nc net.Conn) {
	defer func() { _ = nc.Close() }()
	r := bufio.NewReader(nc)
	_, _ = io.WriteString(nc, "* OK [CAPABILITY IMAP4rev1 LITERAL+] mirror\r\n")
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		tag, command, _ := strings.Cut(strings.TrimSpace(line), " ")
		_, _ = io.WriteString(nc, tag+" OK [CAPABILITY IMAP4rev1] done\r\n")
		if strings.HasPrefix(strings.ToUpper(command), "LOGIN") {
			_, _ = io.Copy(nc, r)
			return
		}
	}
}

// backends are both ways to it.
func (m mirror) backends(ca string) string {
	byName := strings.NewReplacer("127.0.0.1", "localhost")
	return fmt.Sprintf("[backend.plain]\nimap = [%q]\n\n[backend.secured]\nimap = [%q]\ntls = \"implicit\"\nca = %q\n\n",
		m.imap, byName.Replace(m.imaps), ca)
}

// A speaker talks to a mirror, and listens whether all comes back.
type speaker struct {
	out  io.Writer
	in   io.Reader
	sent atomic.Int64
	said hash.Hash
	over atomic.Bool
	err  chan error
}

func newSpeaker(out io.Writer, in io.Reader) *speaker {
	return &speaker{out: out, in: in, said: sha256.New(), err: make(chan error, 2)}
}

// run talks until it is told to stop: mostly little, now and then much.
func (s *speaker) run() {
	said := make(chan int64, 1)
	go func() { s.err <- s.listen(said) }()
	random := rand.NewChaCha8([32]byte{1})
	r := rand.New(random)
	var err error
	for !s.over.Load() && err == nil {
		b := make([]byte, 1+r.IntN(1<<r.IntN(15)))
		_, _ = random.Read(b)
		b[len(b)-1] = '\n'
		s.said.Write(b)
		_, err = s.out.Write(b)
		s.sent.Add(int64(len(b)))
		time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
	}
	if err == nil { // the last word, behind which the listener knows that it has heard all
		s.said.Write([]byte("over\n"))
		_, err = io.WriteString(s.out, "over\n")
		s.sent.Add(5)
	}
	said <- s.sent.Load()
	s.err <- err
}

// listen reads what comes back, and compares when it is known how much that must be.
func (s *speaker) listen(said <-chan int64) error {
	heard, n, total := sha256.New(), int64(0), int64(-1)
	b := make([]byte, 64<<10)
	for total < 0 || n < total {
		m, err := s.in.Read(b)
		heard.Write(b[:m])
		n += int64(m)
		if err != nil {
			return fmt.Errorf("after %d bytes: %w", n, err)
		}
		select {
		case total = <-said:
		default:
		}
		if total < 0 && s.over.Load() {
			total = <-said
		}
	}
	if got, want := fmt.Sprintf("%x", heard.Sum(nil)), fmt.Sprintf("%x", s.said.Sum(nil)); got != want || n != total {
		return fmt.Errorf("of %d bytes that were said %d came back, others than these", total, n)
	}
	return nil
}

// stop waits for the last byte.
func (s *speaker) stop(t *testing.T) {
	t.Helper()
	if s.sent.Load() == 0 {
		t.Error("a session in which nothing was said proves nothing")
	}
	s.over.Store(true)
	for range 2 {
		select {
		case err := <-s.err:
			if err != nil {
				t.Errorf("a session was hurt: %v", err)
			}
		case <-time.After(time.Minute):
			t.Fatal("a session hangs")
		}
	}
}

// A lasting usher has a relay process, and many lives.
type lasting struct {
	*proxy
	lives int
	logs  []string
	pid   int // of serve
}

const lastingUser = "user@example.org"

// newLasting starts one before a mirror.
func newLasting(t *testing.T, more string) *lasting {
	t.Helper()
	p := prepare(t, setup{server: "relay_process = true\n"})
	m := newMirror(t, p.cert, p.key)
	text, err := os.ReadFile(p.file)
	if err != nil {
		t.Fatal(err)
	}
	write(t, p.file, string(text)+m.backends(p.ca)+noLimits+more)
	p.importAccounts([]account{unchecked(lastingUser, "plain"), unchecked("s"+lastingUser, "secured")})
	l := &lasting{proxy: p}
	t.Cleanup(l.endAll)
	l.begin()
	return l
}

// begin starts serve.
func (l *lasting) begin() {
	l.t.Helper()
	l.lives++
	l.log = filepath.Join(filepath.Dir(l.file), fmt.Sprintf("log.%d", l.lives))
	l.logs = append(l.logs, l.log)
	log, err := os.Create(l.log)
	if err != nil {
		l.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	l.process = usher(l.t, "serve", "-c", l.file)
	l.process.Stdout, l.process.Stderr = log, log
	if err := l.process.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.pid = l.process.Process.Pid
	l.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) { _ = cmd.Wait(); close(ended) }(l.process, l.ended)
	l.waitReady()
}

// die kills serve, wherever it is by now.
func (l *lasting) die() {
	l.t.Helper()
	if err := syscall.Kill(l.pid, syscall.SIGKILL); err != nil {
		l.t.Fatal(err)
	}
	l.eventually("serve is gone", func() bool {
		err := syscall.Kill(l.pid, 0)
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", l.pid))
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
}

// upgrade has another serve and another relay process take over.
func (l *lasting) upgrade() {
	l.t.Helper()
	replaced := strings.Count(l.all(), "relay process replaced")
	pid, err := strconv.Atoi(strings.TrimSpace(l.command("upgrade")))
	if err != nil {
		l.t.Fatal(err)
	}
	l.pid = pid
	l.eventually("the relay process is another one", func() bool { return strings.Count(l.all(), "relay process replaced") > replaced })
	l.eventually("the new usher stands alone", func() bool { return strings.Count(l.command("status"), "serving") > 0 })
}

// all is what all lives have logged.
func (l *lasting) all() string {
	var text strings.Builder
	for _, name := range l.logs {
		b, err := os.ReadFile(name)
		if err != nil {
			l.t.Fatal(err)
		}
		text.Write(b)
	}
	return text.String()
}

// endAll ends what is left, sessions too.
func (l *lasting) endAll() {
	_ = usher(l.t, "stop", "--drain", "0s", "-c", l.file).Run()
	l.eventually("the last process has ended", func() bool { return syscall.Kill(l.pid, 0) != nil || isZombie(l.pid) })
	checkLog(l.t, l.all())
	if l.t.Failed() {
		for _, line := range strings.Split(l.all(), "\n") {
			if line != "" && !strings.Contains(line, "session ended") && !strings.Contains(line, "listening") {
				l.t.Log(line)
			}
		}
	}
	l.eventually("no relay process is left", func() bool { return len(l.relays()) == 0 })
}

func isZombie(pid int) bool {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return strings.Contains(string(stat), ") Z ")
}

// relays are the relay processes that this test has started, by what the log says of them.
func (l *lasting) relays() (pids []int) {
	for _, m := range relayStarted.FindAllStringSubmatch(l.all(), -1) {
		pid, _ := strconv.Atoi(m[1])
		if syscall.Kill(pid, 0) == nil && !isZombie(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

var relayStarted = regexp.MustCompile(`msg="relay process (?:started|found|replaced)" pid=(\d+)`)

func (l *lasting) sessionsAre(want int) {
	l.t.Helper()
	l.eventually(fmt.Sprintf("there are %d sessions", want), func() bool {
		return strings.Count(l.command("who", "--json"), `"id"`) == want
	})
}

// enters logs in, to the server in clear or under TLS.
func (l *lasting) enters(i int) *client {
	l.t.Helper()
	c := l.client(l.t, "imap", []string{"none", "implicit"}[i%2])
	c.enter([]string{lastingUser, "s" + lastingUser}[i/2%2], "secret")
	return c
}

// openSSL is a session of OpenSSL's client.
func (l *lasting) openSSL(suite string) *speaker {
	l.t.Helper()
	need.Program(l.t, "openssl")
	cmd := exec.Command("openssl", "s_client", "-quiet", "-tls1_3", "-ciphersuites", suite, "-connect", l.addrs["imaps"])
	in, errIn := cmd.StdinPipe()
	out, errOut := cmd.StdoutPipe()
	if errIn != nil || errOut != nil {
		l.t.Fatal(errIn, errOut)
	}
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	r := bufio.NewReader(out)
	for _, line := range []string{"", "a LOGIN " + lastingUser + " secret\r\n"} {
		_, _ = io.WriteString(in, line)
		if said, err := r.ReadString('\n'); err != nil || !strings.Contains(said, " OK ") {
			l.t.Fatalf("openssl hears %q %v", said, err)
		}
	}
	return newSpeaker(in, r)
}

// TestSessionsOutliveUsherServe is the worst that can happen to serve, while bytes flow.
func TestSessionsOutliveUsherServe(t *testing.T) {
	idle, busy, kills, upgrades := 100, 16, 5, 5
	if *full {
		idle, busy, kills = 1000, 40, 20
	}
	l := newLasting(t, "")
	var sleepers []*client
	for i := range idle {
		sleepers = append(sleepers, l.enters(i))
	}
	var speakers []*speaker
	for i := range busy {
		c := l.enters(i)
		speakers = append(speakers, newSpeaker(c, c.r))
	}
	for _, suite := range []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"} {
		speakers = append(speakers, l.openSSL(suite))
	}
	for _, s := range speakers {
		go s.run()
	}
	total := idle + len(speakers)
	l.sessionsAre(total)
	for i := range max(kills, upgrades) {
		if i < kills {
			l.die()
			if i == 0 { // one ends while nobody is there to hear it
				_ = sleepers[0].Close()
				sleepers, total = sleepers[1:], total-1
				time.Sleep(50 * time.Millisecond)
			}
			l.begin()
			l.sessionsAre(total)
			l.visits(i, total) // new ones come in again
		}
		if i < upgrades {
			l.upgrade()
			l.sessionsAre(total)
		}
	}
	for _, s := range speakers {
		s.stop(t)
	}
	for i, c := range sleepers {
		c.send("still here %d", i)
		c.expect(fmt.Sprintf("still here %d", i))
	}
	l.command("kick", lastingUser)
	for _, c := range sleepers[:1] {
		c.until("* BYE")
	}
	l.command("kick", "s"+lastingUser)
	l.sessionsAre(0)
	l.endedOnce(idle + len(speakers) + kills)
}

// visits is somebody new who comes and goes.
func (l *lasting) visits(i, others int) {
	l.t.Helper()
	lines := len(sessionEnded.FindAllString(l.all(), -1))
	c := l.enters(i)
	l.sessionsAre(others + 1)
	_ = c.Close()
	l.eventually("the log says that it has gone", func() bool { return len(sessionEnded.FindAllString(l.all(), -1)) > lines })
	time.Sleep(200 * time.Millisecond) // by then the relay process knows that it does: who is killed before has it say so again
}

var sessionEnded = regexp.MustCompile(`msg="session ended" id=(\w+)`)

// endedOnce holds that each session has one last line, in whichever life.
func (l *lasting) endedOnce(want int) {
	l.t.Helper()
	lines := map[string]int{}
	for _, m := range sessionEnded.FindAllStringSubmatch(l.all(), -1) {
		lines[m[1]]++
	}
	if len(lines) != want {
		l.t.Errorf("%d sessions have a last line, want %d", len(lines), want)
	}
	for id, n := range lines {
		if n > 1 {
			l.t.Errorf("session %s has %d last lines", id, n)
		}
	}
}

// When it is the relay process that dies, its sessions are lost, and nothing else.
func TestARelayProcessThatDiesIsReplaced(t *testing.T) {
	t.Parallel()
	l := newLasting(t, "")
	lost := l.enters(0)
	old := l.oldClient(t, "imap")
	old.enter(lastingUser, "secret")
	l.sessionsAre(2)
	relays := l.relays()
	if len(relays) != 1 {
		t.Fatalf("there are %d relay processes", len(relays))
	}
	if err := syscall.Kill(relays[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var b sync.WaitGroup
	b.Go(func() {
		if _, err := lost.r.ReadByte(); err == nil {
			t.Error("a session lives without its process")
		}
	})
	b.Wait()
	l.sessionsAre(1)
	old.send("still here") // under TLS 1.2 it was never there
	old.expect("still here")
	l.eventually("there is another relay process", func() bool { return len(l.relays()) == 1 })
	c := l.enters(1)
	l.sessionsAre(2) // the answer to the login goes out before the session goes over
	l.die()
	l.begin()
	c.send("still here")
	c.expect("still here")
	if n := strings.Count(l.all(), "the relay process has ended"); n != 1 {
		t.Errorf("the log says %d times that the relay process has ended", n)
	}
	if !strings.Contains(l.all(), `why="relay process ended"`) {
		t.Error("the log does not say how the session ended")
	}
}

// systemctl restart sends SIGTERM: sessions go on. usher stop is another matter.
func TestSigtermLeavesSessionsToTheRelayProcess(t *testing.T) {
	t.Parallel()
	l := newLasting(t, "")
	c := l.enters(1)
	l.sessionsAre(1)
	l.terminate()
	if status := l.exits(15 * time.Second); status != 0 {
		t.Errorf("usher ended with status %d", status)
	}
	c.send("still here")
	c.expect("still here")
	l.begin()
	l.sessionsAre(1)
	l.command("stop", "--drain", "0s")
	c.expect("* BYE")
	l.endedOnce(1)
}
