package spawn

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A worker hears requests and does them.
type worker struct {
	policy *Policy
	actor  actor
	groups *groups
	events *events

	birth    sync.Mutex   // held from the making of an errand to fork: shed would keep it from the child
	mapped   uint64       // when shed was called last
	bury     sync.RWMutex // held while a process is started, and, to write, while dead ones are buried
	mu       sync.Mutex
	children map[int]*child
	running  map[uint32]int           // by uid: that run or are about to
	all      int                      // the sum of running
	making   map[string]chan struct{} // homes; closed when done
	lobby    *lobby
}

// work is the worker. It ends when nobody is left who could ask.
func work(first bool) error {
	w, shared, err := newWorker()
	if first && report(err) && err != nil {
		return nil //nolint:nilerr // it is told, and the keeper need not try again
	}
	if err != nil {
		return err
	}
	if !first {
		w.events.tell(Event{Line: "the helper was started again: its process had died; sessions go on"})
	}
	dead := make(chan os.Signal, 1)
	signal.Notify(dead, unix.SIGCHLD)
	go w.buryAll(dead)
	go w.attend()
	return w.serve(shared)
}

// report tells whoever opened the helper that it is ready, or why not.
func report(err error) (told bool) {
	b, _ := encode(answerFor(os.Getpid(), err), maxReply)
	return unix.Sendmsg(sharedFD, b, nil, nil, unix.MSG_NOSIGNAL) == nil
}

func newWorker() (*worker, *net.UnixConn, error) {
	quiet()
	if err := errors.Join(inherit(sharedFD), inherit(policyFD)); err != nil {
		return nil, nil, err
	}
	policy, err := unsealed()
	if err != nil {
		return nil, nil, err
	}
	able, err := power()
	if err != nil {
		return nil, nil, err
	}
	calm()
	again, err := unix.FcntlInt(sharedFD, unix.F_DUPFD_CLOEXEC, 0) // answers go out by the other
	if err != nil {
		return nil, nil, err
	}
	shared, err := connOf(os.NewFile(uintptr(again), "conversation"))
	if err != nil {
		return nil, nil, err
	}
	lobby, err := newLobby()
	if err != nil {
		return nil, nil, err
	}
	return &worker{
		lobby: lobby, policy: policy, actor: actor{able}, events: &events{},
		groups:   &groups{passwd: "/etc/passwd", group: "/etc/group", least: policy.MinGID},
		children: map[int]*child{}, running: map[uint32]int{}, making: map[string]chan struct{}{},
	}, shared, nil
}

// power tells whether this process can become others. It must not have more.
func power() (able bool, err error) {
	has, err := capabilities()
	switch {
	case err != nil:
		return false, err
	case has&^kept != 0:
		return false, fmt.Errorf("it has capabilities %#x, more than it needs (%#x): usher serve starts the helper, it is no command", has, uint64(kept))
	case has != 0 && has != kept, (has == kept) != (os.Getuid() == 0):
		return false, fmt.Errorf("it has capabilities %#x as uid %d: it must be root with %#x (chown, setgid, setuid), or not root and have none", has, os.Getuid(), uint64(kept))
	}
	return has == kept, nil
}

// calm has programs be no less likely than others to be ended when memory is short,
// however dear usher itself is.
func calm() {
	const file = "/proc/self/oom_score_adj"
	text, err := os.ReadFile(file)
	if n, convErr := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && convErr == nil && n < 0 {
		_ = os.WriteFile(file, []byte("0"), 0)
	}
}

// serve hears one request after the other. So many are worked on at a time; others
// wait in the socket.
func (w *worker) serve(shared *net.UnixConn) error {
	most := w.policy.Limits.Starting
	if most <= 0 {
		most = 64
	}
	slots := make(chan struct{}, most)
	b := make([]byte, maxRequest+1)
	for {
		m, err := receive(shared, b)
		if errors.Is(err, errLeft) {
			for range most {
				slots <- struct{}{} // what is being worked on is finished: it may have a child yet
			}
			w.outlast()
			return nil
		}
		if err != nil {
			return err
		}
		slots <- struct{}{}
		go func() {
			defer func() { <-slots }()
			defer m.close()
			w.handle(m)
		}()
	}
}

// handle does what a message asks, and answers.
func (w *worker) handle(m *message) {
	pid, err := w.obey(m)
	if m.reply < 0 {
		w.events.tell(Event{Line: cut(fmt.Sprintf("a message was refused: %v", err), maxLine)})
		return
	}
	if m.forged {
		w.events.tell(Event{Line: cut(err.Error(), maxLine)})
	}
	b, _ := encode(answerFor(pid, err), maxReply)
	_ = unix.Sendmsg(m.reply, b, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
}

// obey starts what a message asks for, if it may.
func (w *worker) obey(m *message) (pid int, err error) {
	if m.sender == nil || m.sender.Uid != w.policy.Caller {
		m.forged = true
		return 0, refuse("a request of %s was refused: only uid %d may ask", whose(m.sender), w.policy.Caller)
	}
	if m.wrong != nil {
		return 0, &Refusal{m.wrong.Error()}
	}
	if m.reply < 0 {
		return 0, refuse("there was no socket for the answer")
	}
	r := new(Request)
	if err := decode(m.text, r); err != nil {
		return 0, &Refusal{err.Error()}
	}
	if err := w.permits(r); err != nil {
		return 0, err
	}
	if err := w.reserve(r.UID); err != nil {
		return 0, err
	}
	c, err := w.start(r, m.session)
	if c == nil {
		w.leave(r.UID) // else when it is buried
	}
	if err != nil {
		return 0, err
	}
	return c.pid, nil
}

// permits is the policy's word, and what this process can do at all.
func (w *worker) permits(r *Request) error {
	if err := w.policy.permits(r); err != nil {
		return err
	}
	uid, gid := uint32(os.Getuid()), uint32(os.Getgid())
	switch {
	case !w.actor.able && (r.UID != uid || r.GID != gid):
		return refuse("usher was started as uid %d, gid %d, not as root: it cannot start a program as uid %d, gid %d", uid, gid, r.UID, r.GID)
	case w.actor.able && r.UID == w.policy.Caller:
		return refuse("uid %d is usher's own: a program that runs as it could take usher over", r.UID)
	case w.actor.able && r.GID == w.policy.Group:
		return refuse("gid %d is usher's own: a program that has it could read usher's keys", r.GID)
	}
	return nil
}

// start opens the home and starts the program in it.
func (w *worker) start(r *Request, session int) (*child, error) {
	home, err := w.openHome(r, session)
	if err != nil {
		return nil, err
	}
	defer home.close()
	p := w.policy.Programs[r.Program]
	return w.begin(order{
		request: r, name: r.Program, path: p.Path, args: append(p.Args[:len(p.Args):len(p.Args)], r.Args...),
		env: p.environment(r.Env), home: home, stdio: uintptr(session), counts: true,
	})
}

// reserve makes room for a program, or says that there is none.
func (w *worker) reserve(uid uint32) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.policy.Limits
	switch {
	case l.Total > 0 && w.all >= l.Total:
		return full{fmt.Sprintf("%d programs run, as many as may: see [local]", w.all)}
	case l.PerUser > 0 && w.running[uid] >= l.PerUser:
		return full{fmt.Sprintf("%d programs run as uid %d, as many as may: see [local]", w.running[uid], uid)}
	}
	w.running[uid]++
	w.all++
	return nil
}

// leave is the reverse of reserve.
func (w *worker) leave(uid uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all--
	if w.running[uid]--; w.running[uid] <= 0 {
		delete(w.running, uid)
	}
}

func (w *worker) add(c *child) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.children[c.pid] = c
}

// buryAll waits for those that have ended, without a thread for each that has not.
func (w *worker) buryAll(dead <-chan os.Signal) {
	for range dead {
		for w.buryOne() {
		}
	}
}

func (w *worker) buryOne() bool {
	w.bury.Lock()
	defer w.bury.Unlock()
	var status syscall.WaitStatus
	pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
	if errors.Is(err, syscall.EINTR) {
		return true
	}
	if err != nil || pid <= 0 {
		return false
	}
	w.mu.Lock()
	c := w.children[pid]
	delete(w.children, pid)
	w.mu.Unlock()
	if c == nil {
		return true
	}
	if c.counts {
		w.leave(c.uid)
	}
	w.lobby.leave(c.end)
	c.status = status
	close(c.ended)
	_ = c.voice.read.SetReadDeadline(time.Unix(1, 0)) // nobody need wait for more
	return true
}
