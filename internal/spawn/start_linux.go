package spawn

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A child is a process that was started and has not ended.
type child struct {
	pid    int
	uid    uint32
	counts bool // as one of those that the policy limits
	voice  *voice
	ended  chan struct{} // closed when it has
	status syscall.WaitStatus
}

// order is what is to be started, as whom.
type order struct {
	request *Request
	name    string // of the program, for events
	path    string
	args    []string
	env     []string
	home    *folder
	stdio   uintptr // its input and its output
	counts  bool
}

// begin starts a process: with the user's uid, gid and groups, in a session of its
// own, in the home, with three descriptors. What else it has it inherits from this
// process: limits, umask, signals, no capabilities.
func (w *worker) begin(o order) (*child, error) {
	voice, write, err := w.listen(o)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(write) }()
	attr := &syscall.ProcAttr{
		Dir:   "/proc/self/fd/" + strconv.Itoa(o.home.fd), // entered as the user; nobody can exchange it
		Env:   o.env,
		Files: []uintptr{o.stdio, o.stdio, uintptr(write)},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	}
	if w.actor.able {
		attr.Sys.Credential = &syscall.Credential{Uid: o.request.UID, Gid: o.request.GID, Groups: w.groups.of(o.request.User, o.request.UID, o.request.GID)}
	}
	w.bury.RLock() // its end is not seen before it is known
	pid, err := syscall.ForkExec(o.path, o.args, attr)
	if err != nil {
		w.bury.RUnlock()
		_ = voice.read.Close()
		return nil, whyNot(o, err)
	}
	c := &child{pid: pid, uid: o.request.UID, counts: o.counts, voice: voice, ended: make(chan struct{})}
	voice.pid = pid
	w.add(c)
	w.bury.RUnlock()
	go voice.carry(c)
	return c, nil
}

// whyNot says why a program could not be started: the kernel only says that it could
// not.
func whyNot(o order, err error) error {
	info, statErr := os.Stat(o.path)
	switch {
	case statErr != nil:
		return fmt.Errorf("program %s: %w: is its package installed?", o.path, statErr)
	case !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
		return fmt.Errorf("program %s cannot be executed: it has mode %s", o.path, info.Mode())
	case errors.Is(err, unix.ENOEXEC):
		return fmt.Errorf("program %s is of no form that this machine can run: %w", o.path, err)
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("as uid %d neither program %s may be executed nor home %s entered: %w", o.request.UID, o.path, o.home.path, err)
	}
	return fmt.Errorf("program %s: %w", o.path, err)
}

// hook runs the policy's command in a new home.
func (w *worker) hook(site *folder, r *Request) error {
	command := w.policy.Create.Hook
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("hook: %w", err)
	}
	defer func() { _ = unix.Close(null) }()
	c, err := w.begin(order{
		request: r, name: "hook", path: command[0], args: command, home: site, stdio: uintptr(null),
		env: []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + r.Home, "USER=" + r.User},
	})
	if err != nil {
		return fmt.Errorf("hook: %w", err)
	}
	select {
	case <-c.ended:
	case <-time.After(hookTime):
		_ = w.actor.kill(c.pid, r.UID, unix.SIGKILL)
		<-c.ended
		return fmt.Errorf("hook %s took longer than %s and was ended", command[0], hookTime)
	}
	if how := ending(c.status); how != "" {
		return fmt.Errorf("hook %s failed: %s; what it said stands in the log", command[0], how)
	}
	return nil
}

// endTime is how long a program has from SIGTERM to SIGKILL.
const endTime = 2 * time.Second

// end sees to the end of what was started for a session, which it need not wait for.
func (w *worker) end(r *Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.children {
		if c.counts && c.voice.id == r.ID {
			w.ending.Go(func() { w.finish(c, r.End.Grace) })
		}
	}
}

// finish ends a process group by ever stronger means.
func (w *worker) finish(c *child, grace time.Duration) {
	for _, how := range []struct {
		within time.Duration
		signal syscall.Signal
	}{{grace, unix.SIGTERM}, {endTime, unix.SIGKILL}} {
		select {
		case <-c.ended:
			return
		case <-time.After(how.within):
			w.strike(c, how.signal)
		}
	}
}

// strike sends a signal to the group of a process that is not buried: its number is
// nobody else's.
func (w *worker) strike(c *child, s syscall.Signal) {
	w.bury.RLock()
	defer w.bury.RUnlock()
	w.mu.Lock()
	is := w.children[c.pid] == c
	w.mu.Unlock()
	if is {
		_ = w.actor.kill(c.pid, c.uid, s)
	}
}

// ending says how a process ended, "" if as it should.
func ending(s syscall.WaitStatus) string {
	switch {
	case s.Signaled():
		return "signal: " + s.Signal().String()
	case s.ExitStatus() != 0:
		return "exit status " + strconv.Itoa(s.ExitStatus())
	}
	return ""
}
