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
	end    int  // of its session, for the lobby; -1: it has none
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
// process: limits, umask, signals, no capabilities. There may be a child also if there
// is an error: then it ends.
func (w *worker) begin(o order) (*child, error) {
	voice, write, err := w.listen(o)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(write) }()
	c := &child{uid: o.request.UID, counts: o.counts, end: -1, voice: voice, ended: make(chan struct{})}
	says, err := w.deliver(o, write, c)
	if err != nil {
		_ = voice.read.Close()
		return nil, whyNot(o, err)
	}
	if err := delivered(says); err != nil {
		w.end(c, unix.SIGKILL)
		_ = voice.read.Close()
		return c, whyNot(o, err)
	}
	if o.counts {
		w.attendTo(c, int(o.stdio))
	}
	go voice.carry(c)
	return c, nil
}

// deliver makes the child, whose end is not seen before it is known.
func (w *worker) deliver(o order, write int, c *child) (says *os.File, err error) {
	w.birth.Lock()
	defer w.birth.Unlock()
	if now := mapped(); now != w.mapped {
		w.mapped = now
		_ = shed() // else it only takes longer
	}
	e, err := w.errand(o, write)
	if err != nil {
		return nil, err
	}
	defer e.free()
	w.bury.RLock()
	defer w.bury.RUnlock()
	if c.pid, says, err = bear(e); err != nil {
		return nil, err
	}
	c.voice.pid = c.pid
	w.add(c)
	return says, nil
}

// whyNot says why a program could not be started: the kernel only says that it could
// not.
func whyNot(o order, err error) error {
	info, statErr := os.Stat(o.path)
	switch {
	case errors.Is(err, errStopped):
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
		w.end(c, unix.SIGKILL)
		<-c.ended
		return fmt.Errorf("hook %s took longer than %s and was ended", command[0], hookTime)
	}
	if how := ending(c.status); how != "" {
		return fmt.Errorf("hook %s failed: %s; what it said stands in the log", command[0], how)
	}
	return nil
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
