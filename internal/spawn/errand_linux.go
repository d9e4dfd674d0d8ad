package spawn

import (
	"fmt"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An errand is what a child does between its birth and its program: system calls, one
// after the other, with all that they speak of. It has memory of its own, as the child
// gets no other of ours (see shed).
type errand struct {
	memory []byte
	used   int
	no     *syscall.Errno // where the child writes why a call has failed
	calls  []call
}

// A call is one system call, in the form that fork reads.
type call struct {
	number uintptr
	args   [4]uintptr
}

// errandSize is more than an errand needs. What is not used of it takes nothing.
const errandSize = 8*(maxPolicy+maxRequest) + 64<<10

func newErrand(groups int) (*errand, error) {
	memory, err := unix.Mmap(-1, 0, errandSize+4*groups, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("memory for a child: %w", err)
	}
	e := &errand{memory: memory}
	e.no = lay(e, syscall.Errno(0))
	return e, nil
}

// free may be called once fork has returned: the child has a copy.
func (e *errand) free() { _ = unix.Munmap(e.memory) }

// lay puts values into the errand's memory, and returns where the first is.
func lay[T any](e *errand, values ...T) *T {
	e.used = (e.used + 7) &^ 7
	room := e.memory[e.used:][:len(values)*int(unsafe.Sizeof(values[0]))]
	e.used += len(room)
	copy(unsafe.Slice((*T)(unsafe.Pointer(&room[0])), len(values)), values)
	return (*T)(unsafe.Pointer(&room[0]))
}

// at is an address as an argument: nothing of an errand is ever moved.
func at[T any](p *T) uintptr { return uintptr(unsafe.Pointer(p)) }

// text is a string as the kernel reads it.
func (e *errand) text(s string) uintptr { return at(lay(e, append([]byte(s), 0)...)) }

// texts is a list of them.
func (e *errand) texts(list []string) uintptr {
	all := make([]uintptr, len(list)+1) // the last is nil
	for i, s := range list {
		all[i] = e.text(s)
	}
	return at(lay(e, all...))
}

func (e *errand) then(number uintptr, args ...uintptr) {
	c := call{number: number}
	copy(c.args[:], args)
	e.calls = append(e.calls, c)
}

// errand says what the child of an order has to do. The order is: the user's power first,
// then what needs no more than that.
func (w *worker) errand(o order, write int) (*errand, error) {
	if strings.ContainsRune(o.path+strings.Join(o.args, "")+strings.Join(o.env, ""), 0) {
		return nil, unix.EINVAL
	}
	groups := w.groups.of(o.request.User, o.request.UID, o.request.GID) // the first is gid
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return nil, err
	}
	files.Cur = w.policy.Limits.files(files.Max) // Go has raised ours
	e, err := newErrand(len(groups))
	if err != nil {
		return nil, err
	}
	e.resetSignals()
	e.then(unix.SYS_SETSID)
	if w.actor.able {
		uid, gid := uintptr(o.request.UID), uintptr(o.request.GID)
		e.then(sysSetgroups, uintptr(len(groups)), at(lay(e, groups...)))
		e.then(sysSetresgid, gid, gid, gid)
		e.then(sysSetresuid, uid, uid, uid)
	}
	e.then(unix.SYS_FCHDIR, uintptr(o.home.fd))
	e.then(unix.SYS_DUP3, o.stdio, 0)
	e.then(unix.SYS_DUP3, o.stdio, 1)
	e.then(unix.SYS_DUP3, uintptr(write), 2)
	e.then(unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, uintptr(usualSlack))
	e.then(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, at(lay(e, files)))
	e.then(unix.SYS_EXECVE, e.text(o.path), e.texts(o.args), e.texts(o.env))
	return e, nil
}
