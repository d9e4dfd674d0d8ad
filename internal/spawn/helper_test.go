//go:build linux

package spawn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// perform runs another process of this test, as a user, with the helper's descriptor.
func (s *stage) perform(role string, uid uint32, env ...string) string {
	s.t.Helper()
	f, err := s.File()
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.CommandContext(s.t.Context(), "/proc/self/exe")
	cmd.Env = append(env, "SPAWN_TEST_ROLE="+role, "SPAWN_TEST_HOMES="+s.homes)
	cmd.ExtraFiles = []*os.File{f}
	if uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s: %v: %s", role, err, out)
	}
	return string(out)
}

// inherited is the helper of the process that plays a role.
func inherited() (*Client, Request, error) {
	c, err := FromFile(os.NewFile(3, "helper"))
	return c, Request{Program: "cat", UID: ann, GID: ann, Home: os.Getenv("SPAWN_TEST_HOMES") + "/ann", ID: "s2"}, err
}

// forge asks as somebody who may not, and prints what it hears.
func forge() error {
	c, r, err := inherited()
	if err != nil {
		return err
	}
	_, _, err = c.Start(context.Background(), r)
	fmt.Println(err)
	return nil
}

// succeed is a process that goes on with a helper, and leaves it.
func succeed() error {
	c, r, err := inherited()
	if err != nil {
		return err
	}
	for range 20 {
		nc, _, err := c.Start(context.Background(), r)
		if err != nil {
			return err
		}
		if _, err := io.WriteString(nc, "hello\n"); err != nil {
			return err
		}
		if _, err := io.ReadFull(nc, make([]byte, 6)); err != nil {
			return err
		}
		nc.Close()
	}
	return c.Close()
}

// Who has the descriptor, but is not usher, starts nothing.
func TestForgedRequestsAreRefused(t *testing.T) {
	needRoot(t)
	s := open(t, nil)
	r := s.request("cat")
	contains(t, s.perform("forger", bob), "only uid 0 may ask")
	s.wait("the forgery", func(e Event) bool { return e.Program == "" && strings.Contains(e.Line, "uid 61002") })
	echoes(t, first(s.start(r)))
}

// Several processes ask the same helper, and each hears its own answers.
func TestTwoProcessesUseOneHelper(t *testing.T) {
	needRoot(t)
	s := open(t, nil)
	r := s.request("cat")
	done := make(chan string)
	go func() { done <- s.perform("successor", 0) }()
	for range 20 {
		nc, _ := s.start(r)
		echoes(t, nc)
		nc.Close()
	}
	if out := <-done; out != "" {
		t.Errorf("the other says %q", out)
	}
	echoes(t, first(s.start(r)))
}

// The helper keeps three of root's powers, and can gain no other.
func TestHelperKeepsThreeCapabilities(t *testing.T) {
	needRoot(t)
	s := open(t, nil)
	keeper, worker := s.processes()
	for _, pid := range []int{keeper, worker} {
		for name, want := range map[string]string{
			"CapInh": "0000000000000000", "CapPrm": "00000000000000c1", "CapEff": "00000000000000c1", "CapBnd": "00000000000000c1", "CapAmb": "0000000000000000",
			"NoNewPrivs": "1", "Groups": "",
		} {
			if got := status(t, pid, name); got != want {
				t.Errorf("process %d: %s is %q, want %q", pid, name, got, want)
			}
		}
	}
	if got := status(t, os.Getpid(), "NoNewPrivs"); got != "0" {
		t.Error("the process that opened the helper lost something")
	}
}

// Where programs need other programs that are setuid, they may gain what is not
// root's: that is up to the policy.
func TestSetuidProgramsAreThePolicysChoice(t *testing.T) {
	needRoot(t)
	s := open(t, func(p *Policy) { p.Setuid = true })
	_, pid := s.start(s.request("cat"))
	if got := status(t, pid, "NoNewPrivs") + " " + status(t, pid, "CapBnd"); got != "0 00000000000000c1" {
		t.Errorf("NoNewPrivs and CapBnd are %s", got)
	}
}

// raw sends a message as it is, with descriptors.
func (s *stage) raw(text []byte, fds ...int) error {
	f, err := s.File()
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	return unix.Sendmsg(int(f.Fd()), text, rights, nil, 0)
}

// asks sends a message with the sockets that belong to it, and returns the answer.
func (s *stage) asks(text []byte, more ...int) string {
	s.t.Helper()
	session, theirs, err := pair(unix.SOCK_STREAM)
	must(s.t, err)
	reply, answer, err := pair(unix.SOCK_SEQPACKET)
	must(s.t, err)
	defer session.Close()
	defer reply.Close()
	must(s.t, s.raw(text, append([]int{theirs, answer}, more...)...))
	unix.Close(theirs)
	unix.Close(answer)
	b := make([]byte, maxReply)
	n, _ := reply.Read(b)
	return string(b[:n])
}

// Whatever a message is, the helper goes on, and starts nothing by it.
func TestGarbageIsRefused(t *testing.T) {
	needRoot(t)
	s := open(t, nil)
	r := s.request("cat")
	good, err := encode(r, maxRequest)
	must(t, err)
	for name, c := range map[string]struct {
		text []byte
		want string
	}{
		"garbage":       {[]byte("\x00\xff{"), "not understood"},
		"empty":         {nil, "not understood"},
		"truncated":     {good[:len(good)/2], "not understood"},
		"two":           {append(good[:len(good):len(good)], good...), "more behind its end"},
		"unknown field": {[]byte(`{"Program":"cat","Shell":"x"}`), "unknown field"},
		"a policy":      {[]byte(`{"Caller":0,"Programs":{"cat":{"Path":"/bin/rm"}}}`), "unknown field"},
		"oversize":      {append(good[:len(good):len(good)], make([]byte, maxRequest)...), "more than 32768 bytes"},
	} {
		if got := s.asks(c.text); !strings.Contains(got, c.want) {
			t.Errorf("%s: the answer is %q", name, got)
		}
	}
	null, err := os.Open("/dev/null")
	must(t, err)
	defer null.Close()
	fd := int(null.Fd())
	must(t, s.raw(good), s.raw(good, fd), s.raw(good, fd, fd), s.raw(good, fd, fd, fd, fd), s.raw(nil))
	if got := s.asks(good, fd, fd); got != "" && !strings.Contains(got, "more than two") {
		t.Errorf("with four descriptors the answer is %q", got)
	}
	_, worker := s.processes()
	echoes(t, first(s.start(r)))
	for _, e := range s.soFar() {
		if strings.Contains(e.Line, "started again") {
			t.Error("a worker died of it")
		}
	}
	for _, name := range descriptors(t, worker) {
		if to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", worker, name)); to == "/dev/null" && name > "2" {
			t.Errorf("the helper still has descriptor %s", name)
		}
	}
}

// What the first message says stays: a later one changes nothing, nor does whoever
// gets hold of the file.
func TestPolicyCannotBeReplaced(t *testing.T) {
	needRoot(t)
	s := open(t, nil)
	contains(t, s.asks([]byte(`{"Caller":0,"MinUID":0,"Programs":{"sh":{"Path":"/bin/sh","Args":["sh"]}}}`)), "not understood")
	_, worker := s.processes()
	f, err := os.OpenFile(fmt.Sprintf("/proc/%d/fd/%d", worker, policyFD), os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	if _, err := f.WriteAt([]byte("x"), 0); !errors.Is(err, unix.EPERM) {
		t.Errorf("the policy could be written: %v", err)
	}
	r := s.request("cat")
	r.UID = 999
	contains(t, s.refused(r), "below the least")
	must(t, unix.Kill(worker, unix.SIGKILL))
	contains(t, s.refused(r), "below the least")
}

// A helper that is killed in the middle of a request is there again: the request
// is done by another, and sessions go on, even if they speak on standard error.
func TestHelperKilledInMidRequest(t *testing.T) {
	needRoot(t)
	s := open(t, creating(Create{Hook: []string{"/bin/sh", "-c", "test -e ../go && exit 0; echo waiting >&2; exec sleep 1000"}}))
	old, _ := s.start(s.request("sh", "while read line; do echo $line; echo $line >&2; done"))
	echoes(t, old)
	type result struct {
		out io.ReadWriteCloser
		err error
	}
	done := make(chan result)
	go func() {
		nc, _, err := s.Start(t.Context(), Request{Program: "cat", UID: bob, GID: bob, Home: s.homes + "/bob", ID: "s3"})
		done <- result{nc, err}
	}()
	hook := s.wait("the hook", func(e Event) bool { return e.Line == "waiting" })
	defer unix.Kill(hook.PID, unix.SIGKILL)
	must(t, os.WriteFile(s.homes+"/go", nil, 0o644))
	_, worker := s.processes()
	must(t, unix.Kill(worker, unix.SIGKILL))
	again := <-done
	must(t, again.err)
	again.out.Close()
	s.wait("the new helper", func(e Event) bool { return strings.Contains(e.Line, "started again") })
	for range 3000 { // more than a pipe holds that nobody reads
		if _, err := io.WriteString(old, "a line of fifty bytes, with nobody to read of it.\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(old, make([]byte, 50)); err != nil {
			t.Fatal(err)
		}
	}
	echoes(t, old)
	if _, now := s.processes(); now == worker {
		t.Error("it is the same process")
	}
}

// A worker that is killed again and again comes again and again.
func TestHelperKilledOftenComesBack(t *testing.T) {
	needRoot(t)
	s := open(t, nil)
	r := s.request("cat")
	for range 5 {
		_, worker := s.processes()
		must(t, unix.Kill(worker, unix.SIGKILL))
		echoes(t, first(s.start(r)))
	}
}

// When nobody is left who could ask the helper ends; programs go on.
func TestHelperEndsWithTheLastWhoCouldAsk(t *testing.T) {
	needRoot(t)
	s := launch(t, nil)
	keeper, worker := s.processes()
	nc, _ := s.start(s.request("cat"))
	must(t, s.Close())
	gone(t, keeper, worker)
	echoes(t, nc)
	if _, _, err := s.Start(t.Context(), s.request("cat")); err == nil || !strings.Contains(err.Error(), "left") {
		t.Errorf("afterwards: %v", err)
	}
}

// gone waits until processes have ended, and are buried.
func gone(t testing.TB, pids ...int) {
	t.Helper()
	for _, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		if errors.Is(err, unix.ESRCH) {
			continue
		}
		must(t, err)
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 20_000)
		for errors.Is(err, unix.EINTR) {
			n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 20_000)
		}
		unix.Close(fd)
		if n != 1 || err != nil {
			t.Fatalf("process %d has not ended: %v", pid, err)
		}
	}
}

// A helper that dies for good is an outage, and the error says what to do.
func TestDeadHelperIsAnOutage(t *testing.T) {
	needRoot(t)
	s := launch(t, nil)
	r := s.request("cat")
	keeper, worker := s.processes()
	must(t, unix.Kill(keeper, unix.SIGKILL))
	gone(t, keeper)
	echoes(t, first(s.start(r)))
	must(t, unix.Kill(worker, unix.SIGKILL))
	gone(t, worker)
	if text, no := s.failed(r); no || !strings.Contains(text, "restart usher") {
		t.Errorf("it is %q", text)
	}
	if err := s.Events(t.Context(), nil); !errors.Is(err, io.EOF) {
		t.Errorf("who listens hears %v", err)
	}
}

// A thousand programs leave nothing: no descriptor, here or there, no zombie.
func TestThousandProgramsLeaveNothing(t *testing.T) {
	needRoot(t)
	s := open(t, nil)
	r := s.request("sh", "sleep 0 & echo x >&2; exit 0")
	s.says(r)
	keeper, worker := s.processes()
	rest(t, worker)
	ours, theirs := len(descriptors(t, os.Getpid())), len(descriptors(t, worker))
	for range 1000 {
		nc, _, err := s.Start(t.Context(), r)
		must(t, err)
		io.Copy(io.Discard, nc)
		nc.Close()
	}
	rest(t, worker)
	rest(t, keeper)
	if got := left(t, worker, theirs); got > theirs {
		t.Errorf("the helper has %d descriptors, had %d", got, theirs)
	}
	if got := left(t, os.Getpid(), ours); got > ours {
		t.Errorf("we have %d descriptors, had %d", got, ours)
	}
}

// left is how many descriptors a process has: what is being closed yet is waited for.
func left(t testing.TB, pid, most int) (n int) {
	t.Helper()
	for over := time.Now().Add(20 * time.Second); time.Now().Before(over); time.Sleep(10 * time.Millisecond) {
		if n = len(descriptors(t, pid)); n <= most {
			break
		}
	}
	return n
}

// rest waits until a process has no children, but for the worker.
func rest(t testing.TB, pid int) {
	t.Helper()
	over := time.Now().Add(20 * time.Second)
	for {
		more := 0
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
		for _, task := range tasks {
			text, _ := os.ReadFile(task)
			for _, child := range strings.Fields(string(text)) {
				line, _ := os.ReadFile("/proc/" + child + "/cmdline")
				if !strings.Contains(string(line), "\x00worker\x00") {
					more++
				}
			}
		}
		if more == 0 {
			return
		}
		if time.Now().After(over) {
			t.Fatalf("process %d still has %d children", pid, more)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Limits on how many programs run are told as such, and pass when programs end.
func TestLimitsOnPrograms(t *testing.T) {
	needRoot(t)
	s := open(t, func(p *Policy) { p.Limits = Limits{PerUser: 2, Total: 3} })
	must(t, os.Chown(s.home("bob", bob), bob, bob))
	anns, bobs := s.request("cat"), Request{Program: "cat", UID: bob, GID: bob, Home: s.homes + "/bob"}
	one, _ := s.start(anns)
	s.start(anns)
	for _, r := range []Request{anns, bobs, bobs} {
		nc, _, err := s.Start(t.Context(), r)
		if err == nil {
			nc.SetDeadline(time.Now().Add(20 * time.Second))
			continue
		}
		if !errors.Is(err, ErrFull) {
			t.Errorf("it is %v", err)
		}
	}
	if text, no := s.failed(anns); no || !strings.Contains(text, "as many as may") {
		t.Errorf("it is %q", text)
	}
	one.Close()
	s.wait("the end", func(e Event) bool { return e.Ended })
	s.start(anns)
}

// A caller that waits no longer hears so; the program hears the end of its input.
func TestCallerMayLeave(t *testing.T) {
	needRoot(t)
	s := open(t, creating(Create{Hook: []string{"/bin/sh", "-c", "echo waiting >&2; until test -e ../go; do sleep 0.02; done"}}))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, _, err := s.Start(ctx, Request{Program: "cat", UID: ann, GID: ann, Home: s.homes + "/ann", ID: "s4"})
		done <- err
	}()
	s.wait("the hook", func(e Event) bool { return e.Line == "waiting" })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("it is %v", err)
	}
	must(t, os.WriteFile(s.homes+"/go", nil, 0o644))
	s.wait("the end of cat", func(e Event) bool { return e.Ended && e.Program == "cat" && e.Status == "" })
}

// Without root the helper starts programs as its own user, and nobody else.
func TestWithoutRootOnlyOnesOwnPrograms(t *testing.T) {
	needRoot(t)
	s := launch(t, nil)
	s.request("cat") // makes ann's home
	must(t, os.Chmod(s.homes, 0o777|os.ModeSticky))
	if out := s.perform("nobody special", ann); out != "ok\n" {
		t.Errorf("it says %q", out)
	}
}

// unprivileged opens a helper without being root.
func unprivileged() error {
	homes := os.Getenv("SPAWN_TEST_HOMES")
	self := uint32(os.Getuid())
	c, err := Open(Policy{
		Caller: self, MinUID: 1000, MinGID: 1000, Homes: []string{homes}, Create: &Create{Maildir: "Maildir"},
		Programs: map[string]Program{"sh": {Path: "/bin/sh", Args: []string{"sh", "-c", "cat /proc/self/status; ls"}}},
	}, "/proc/self/exe")
	if err != nil {
		return err
	}
	defer c.Close()
	for _, home := range []string{homes + "/ann", homes + "/new"} {
		nc, _, err := c.Start(context.Background(), Request{Program: "sh", UID: self, GID: self, Home: home, User: "root"})
		if err != nil {
			return err
		}
		out, err := io.ReadAll(nc)
		if id := strconv.Itoa(ann); err != nil || !strings.Contains(string(out), "Uid:\t"+id+"\t"+id) || strings.HasSuffix(home, "new") != strings.HasSuffix(string(out), "Maildir\n") {
			return fmt.Errorf("%v: %s", err, out)
		}
	}
	_, _, err = c.Start(context.Background(), Request{Program: "sh", UID: bob, GID: bob, Home: homes + "/bob"})
	var no *Refusal
	if !errors.As(err, &no) || !strings.Contains(err.Error(), "not as root") {
		return fmt.Errorf("as bob: %v", err)
	}
	fmt.Println("ok")
	return nil
}

// Who runs it by hand hears that it is no command.
func TestHelperIsNoCommand(t *testing.T) {
	for _, args := range [][]string{{"helper"}, {"helper", "worker", "0"}, {"helper", "x"}} {
		out, err := exec.Command("/proc/self/exe", args...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "usher helper: ") {
			t.Errorf("%q: %v, %s", args, err, out)
		}
	}
}

// A program that goes on without its client is asked to end, and then ended.
func TestProgramsThatDoNotEndAreEnded(t *testing.T) {
	needRoot(t)
	s := open(t, func(p *Policy) { p.Limits.Linger = 50 * time.Millisecond })
	for command, status := range map[string]string{
		"while :; do sleep 0.02; done":               "signal: terminated",
		"trap '' TERM; while :; do sleep 0.02; done": "signal: killed",
	} {
		r := s.request("sh", "echo ready; "+command)
		r.ID = command
		nc, _ := s.start(r)
		if _, err := io.ReadFull(nc, make([]byte, 6)); err != nil {
			t.Fatal(err)
		}
		nc.Close()
		e := s.wait("the end", func(e Event) bool { return e.Ended && e.ID == command })
		if e.Status != status {
			t.Errorf("%s: %s, want %s", command, e.Status, status)
		}
	}
	stays, _ := s.start(s.request("cat")) // whose client has not left
	echoes(t, stays)
}

// A program that is no usher, or ends at once, is no helper, and that is seen at once.
func TestOpenSeesThatThereIsNoHelper(t *testing.T) {
	p := Policy{Programs: map[string]Program{"x": {Path: "/bin/cat", Args: []string{"cat"}}}}
	for _, program := range []string{"/bin/true", "/nowhere/usher"} {
		began := time.Now()
		c, err := Open(p, program)
		if err == nil {
			c.Close()
			t.Errorf("%s is a helper", program)
		}
		if time.Since(began) > openTime/2 {
			t.Errorf("%s: that took %s", program, time.Since(began))
		}
	}
}
