//go:build linux

package steward_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"usher/internal/relay"
	"usher/internal/relay/relaytest"
	"usher/internal/steward"
)

// A book is what a usher knows of sessions.
type book struct {
	mu    sync.Mutex
	notes map[uint64]string
	ended map[uint64][]relay.Stats
}

func newBook() *book { return &book{notes: map[uint64]string{}, ended: map[uint64][]relay.Stats{}} }

func (b *book) adopt(id uint64, note steward.Note) func(relay.Stats) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.notes[id] = string(note)
	return b.done(id)
}

func (b *book) done(id uint64) func(relay.Stats) {
	return func(st relay.Stats) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.ended[id] = append(b.ended[id], st)
	}
}

// ends are how a session has ended, as far as this usher was told.
func (b *book) ends(id uint64) []relay.Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]relay.Stats(nil), b.ended[id]...)
}

func (b *book) known() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.notes)
}

// session starts a pair, and returns its far ends.
func session(t *testing.T, e *steward.Engine, b *book, id uint64) (client, server net.Conn) {
	t.Helper()
	near, client := relaytest.Sockets(t)
	back, server := relaytest.Sockets(t)
	e.Start(relay.Pair{
		ID: id, Client: relay.Leg{Conn: near}, Server: relay.Leg{Conn: back}, Farewell: "* BYE\r\n", Note: fmt.Appendf(nil, "session %d", id),
	}, b.done(id))
	return client, server
}

func passes(t *testing.T, from, to net.Conn) {
	t.Helper()
	if _, err := io.WriteString(from, "hello\r\n"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 7)
	if _, err := io.ReadFull(to, got); err != nil || string(got) != "hello\r\n" {
		t.Fatalf("heard %q %v", got, err)
	}
}

func TestTheNextUsherLearnsWhatThereIsAndWhatHasEnded(t *testing.T) {
	p, first := newPlace(t), newBook()
	e := p.usher(first.adopt)
	e.Lead()
	ca, sa := session(t, e, first, 1)
	cb, sb := session(t, e, first, 2)
	passes(t, ca, sa)
	e.Close() // as a crash: nobody says goodbye
	_, _ = cb.Close(), sb.Close()
	passes(t, sa, ca)
	time.Sleep(20 * time.Millisecond)

	next := newBook()
	e = p.usher(next.adopt)
	e.Lead()
	eventually(t, "the end of the second session is told", func() bool { return len(next.ends(2)) == 1 })
	eventually(t, "the first session is known", func() bool { return e.Has(1) })
	if next.notes[1] != "session 1" || next.notes[2] != "session 2" {
		t.Errorf("the notes are %v", next.notes)
	}
	if !e.Kick(1, relay.Kicked) {
		t.Error("Kick does not know the session")
	}
	if said, _ := io.ReadAll(ca); string(said) != "* BYE\r\n" {
		t.Errorf("the client hears %q", said)
	}
	eventually(t, "the first session has ended", func() bool { return len(next.ends(1)) == 1 })
	if st := next.ends(1)[0]; st.Ended != relay.Kicked || st.FromClient != 7 || st.FromServer != 7 {
		t.Errorf("it ended %+v", st)
	}
	if len(first.ends(1))+len(first.ends(2)) != 0 {
		t.Error("the first usher was told of an end after its own")
	}
}

// Whoever leads is told; the one before hears that its sessions have moved.
func TestOneUsherLeads(t *testing.T) {
	p, old, young := newPlace(t), newBook(), newBook()
	a, b := p.usher(old.adopt), p.usher(young.adopt)
	a.Lead()
	session(t, a, old, 1)
	eventually(t, "the old usher has it", func() bool { return a.Has(1) })
	b.Lead()
	eventually(t, "the young one has it", func() bool { return b.Has(1) })
	eventually(t, "the old one has not", func() bool { return len(old.ends(1)) == 1 })
	session(t, a, old, 2) // a login that was on its way
	eventually(t, "the young usher has that one, too", func() bool { return b.Has(2) && len(old.ends(2)) == 1 })
	if st := old.ends(2)[0]; st.Ended != relay.Moved {
		t.Errorf("for the old usher it ended %q", st.Ended)
	}
}

func TestASuccessorTakesOver(t *testing.T) {
	p, all := newPlace(t), newBook()
	e := p.usher(all.adopt)
	e.Lead()
	before := e.PID()
	ca, sa := session(t, e, all, 1)
	busy, slow := session(t, e, all, 2)
	go func() { _, _ = io.Copy(busy, endless{}) }() // to somebody who does not read: never at rest
	passes(t, ca, sa)
	time.Sleep(50 * time.Millisecond)
	if err := e.Replace(); err != nil {
		t.Fatal(err)
	}
	if e.PID() == before {
		t.Fatal("it is the same process")
	}
	passes(t, ca, sa)
	passes(t, sa, ca)
	gone := func() bool { return !runs(before) }
	time.Sleep(100 * time.Millisecond)
	if gone() {
		t.Error("the old process has ended with a session that is not at rest")
	}
	_ = busy.Close()
	go func() { _, _ = io.Copy(io.Discard, slow); _ = slow.Close() }()
	eventually(t, "the busy session has ended", func() bool { return len(all.ends(2)) == 1 })
	eventually(t, "the old process has ended", gone)
	passes(t, ca, sa)
	e.Kick(1, relay.Kicked)
	eventually(t, "the session has ended", func() bool { return len(all.ends(1)) == 1 })
	if all.known() != 0 {
		t.Error("a session was told as a new one")
	}
	if strings.Contains(p.log.String(), "lost") {
		t.Errorf("the log says:\n%s", p.log.String())
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

func runs(pid uint64) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

// Without a successor that lives, the steward goes on.
func TestASuccessorThatDoesNotComeUpChangesNothing(t *testing.T) {
	p, all := newPlace(t), newBook()
	e := p.usher(all.adopt)
	e.Lead()
	before := e.PID()
	c, s := session(t, e, all, 1)
	passes(t, c, s)
	e.Program = "/bin/false"
	if err := e.Replace(); err == nil || e.PID() != before {
		t.Errorf("replaced by %d: %v", e.PID(), err)
	}
	passes(t, c, s)
	session(t, e, all, 2)
	eventually(t, "new sessions come in", func() bool { return e.Has(2) })
}

// stop has the steward hang until goOn, or the end of the test.
func stop(t *testing.T, e *steward.Engine) (goOn func()) {
	t.Helper()
	pid := int(e.PID())
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	goOn = func() { _ = syscall.Kill(pid, syscall.SIGCONT) }
	t.Cleanup(goOn)
	return goOn
}

// A steward that hangs keeps nobody from logging in.
func TestAStewardThatHangsHoldsNobodyUp(t *testing.T) {
	p, all := newPlace(t), newBook()
	e := p.usher(all.adopt)
	e.Lead()
	goOn := stop(t, e)
	began := time.Now()
	for id := range uint64(1500) {
		near, _ := relaytest.Sockets(t)
		back, _ := relaytest.Sockets(t)
		e.Start(relay.Pair{ID: id + 1, Client: relay.Leg{Conn: near}, Server: relay.Leg{Conn: back}, Note: make([]byte, 4096)}, all.done(id+1))
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the logins took %v", took)
	}
	eventually(t, "later ones stay in this process", func() bool {
		c, s := session(t, e, all, 5000)
		stays := !e.Has(5000)
		if stays {
			passes(t, c, s)
		}
		return stays
	})
	goOn()
	eventually(t, "they are brought when it is well again", func() bool { return e.Has(5000) })
}

// A client hears its OK from the steward: if that hangs, only those hang that come before
// it is noticed, the log says what to do, and usher status shows it.
func TestAStewardThatHangsIsNoticedWithTheFirstLogin(t *testing.T) {
	t.Parallel()
	p, all := newPlace(t), newBook()
	e := p.usher(all.adopt)
	e.Lead()
	pid := int(e.PID())
	goOn := stop(t, e)
	session(t, e, all, 1)
	eventually(t, "usher sees that it is slow", func() bool { return e.Relays()[0].State == steward.Slow })
	c, s := session(t, e, all, 2)
	if e.Has(2) {
		t.Error("a session was given to a steward that does not answer")
	}
	passes(t, c, s)
	if text := p.log.String(); strings.Count(text, "the relay process does not answer") != 1 || !strings.Contains(text, "kill -CONT") {
		t.Errorf("the log says\n%s", text)
	}
	goOn()
	eventually(t, "sessions are brought when it is well again", func() bool { return e.Has(2) })
	passes(t, c, s)
	if r := e.Relays(); len(r) != 1 || r[0].State != steward.Relaying || r[0].Sessions != 2 || r[0].PID != pid {
		t.Errorf("usher sees %+v", r)
	}
	if !strings.Contains(p.log.String(), "answers again") {
		t.Error("the log does not say that all is well again")
	}
}

// A steward that has just nothing left to do may take a new usher's call, and hang up.
func TestAnUsherThatComesWhileTheStewardEndsStartsAnother(t *testing.T) {
	p := newPlace(t)
	ln, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: p.socket, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	go func() {
		if nc, err := ln.AcceptUnix(); err == nil {
			_, _ = nc.Close(), ln.Close()
		}
	}()
	if e := p.usher(nil); e.PID() == 0 {
		t.Error("there is none")
	}
}

func TestAStewardWithoutAnybodyEnds(t *testing.T) {
	p := newPlace(t)
	e := p.usher(nil)
	pid := e.PID()
	e.Close()
	eventually(t, "it has ended", func() bool { return !runs(pid) })
}

// built is the relay process as it is shipped, without cgo, and without the rest of usher,
// which takes a minute to build so.
func built(t testing.TB) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "usher")
	cmd := exec.Command("go", "build", "-o", file, "./testdata/relay")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return file
}

// What the kernel says of each of its threads is what it cannot undo.
func TestAStewardHasGivenUpAllThatItDoesNotNeed(t *testing.T) {
	t.Setenv("SECRET", "of usher")
	t.Setenv("GOGC", "100")
	var left [2]int // by whoever has started usher
	if err := unix.Pipe2(left[:], 0); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = unix.Close(left[0]), unix.Close(left[1]) }()
	p := newPlace(t)
	pid := p.shipped().PID()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(tasks) == 0 {
		t.Fatal(tasks, err)
	}
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			continue
		}
		for _, want := range []string{"NoNewPrivs:\t1", "CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "CapAmb:\t0000000000000000", "Seccomp:\t2"} {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s does not say %q", task, want)
			}
		}
	}
	if info, err := os.Stat(p.socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket is %v %v", info.Mode(), err)
	}
	if env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid)); err != nil || strings.Contains(string(env), "SECRET") || !strings.Contains(string(env), "GOGC") {
		t.Errorf("its environment is %q %v", env, err)
	}
	pipe, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", left[0]))
	for _, fd := range descriptorsOf(t, pid) {
		if fd == pipe {
			t.Errorf("it has %s, which whoever started usher has left open", fd)
		}
	}
	if got, want := limitOf(t, pid), limitOf(t, uint64(os.Getpid())); got != want {
		t.Errorf("it may open %s files, we %s", got, want)
	}
}

// shipped is an usher whose relay process is as it is shipped.
func (p *place) shipped() *steward.Engine {
	p.t.Helper()
	local, err := relay.NewEpoll()
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = local.Close() })
	e, err := steward.Open(steward.Terms{Socket: p.socket, Program: built(p.t), Local: local, Log: quiet()})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(e.Close)
	return e
}

// descriptorsOf is what a process has open.
func descriptorsOf(t *testing.T, pid uint64) (all []string) {
	t.Helper()
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil || len(links) == 0 {
		t.Fatal("it has no descriptors", err)
	}
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil {
			all = append(all, to)
		}
	}
	return all
}

// limitOf is how many descriptors a process may raise its limit to.
func limitOf(t *testing.T, pid uint64) string {
	t.Helper()
	var l unix.Rlimit
	if err := unix.Prlimit(int(pid), unix.RLIMIT_NOFILE, nil, &l); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(l.Max)
}

// A message by somebody else's process is not even read.
func TestAStrangerIsNotLetIn(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be somebody else")
	}
	p := newPlace(t)
	_ = os.Chmod(filepath.Dir(p.socket), 0o755)
	p.usher(nil)
	if err := os.Chmod(p.socket, 0o666); err != nil { // as if somebody had opened it
		t.Fatal(err)
	}
	heard := make(chan string, 1)
	go func() { heard <- asStranger(p.socket) }()
	if got := <-heard; got != "nothing" {
		t.Errorf("a stranger hears %s", got)
	}
}

// asStranger connects on a thread of another user.
func asStranger(socket string) string {
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestStrangerHelper$")
	cmd.Env = append(os.Environ(), "STRANGER="+socket)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), "heard nothing") {
		return "nothing"
	}
	return fmt.Sprintf("%s %v", out, err)
}

func TestStrangerHelper(*testing.T) {
	socket := os.Getenv("STRANGER")
	if socket == "" {
		return
	}
	nc, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: socket, Net: "unixpacket"})
	if err != nil {
		fmt.Println("cannot connect", err)
		return
	}
	_ = nc.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, err := nc.Read(make([]byte, 1000))
	if n == 0 && err != nil && !os.IsTimeout(err) {
		fmt.Println("heard nothing")
	}
}
