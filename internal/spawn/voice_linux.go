package spawn

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// How much a program may say: so many lines at once, then one for each pause. Nothing
// is read meanwhile, so that who shouts costs nobody anything but himself.
const (
	maxLine   = 1000
	burst     = 200
	linePause = 20 * time.Millisecond
)

// A voice is the standard error of one program.
type voice struct {
	events *events
	read   *os.File
	id     string
	name   string
	pid    int
	line   []byte // what is not whole yet
	long   bool   // the rest of the line is left out
}

// listen makes the pipe for a program's standard error. The program's end is open for
// reading too, and does not block: if this process dies, it gets neither SIGPIPE nor
// stuck. The pipe belongs to the user, so that /dev/stderr can be opened.
func (w *worker) listen(o order) (*voice, int, error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, 0, fmt.Errorf("pipe: %w", err)
	}
	_ = unix.Close(p[1])
	write, err := unix.Open("/proc/self/fd/"+strconv.Itoa(p[0]), unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		_ = unix.Close(p[0])
		return nil, 0, fmt.Errorf("pipe: %w", err)
	}
	if w.actor.able {
		_ = unix.Fchown(write, int(o.request.UID), int(o.request.GID))
	}
	return &voice{events: w.events, read: os.NewFile(uintptr(p[0]), "stderr"), id: o.request.ID, name: o.name}, write, nil
}

// buffers are lent while something is read: who is silent has none.
var buffers = sync.Pool{New: func() any { return new([4096]byte) }}

// carry tells what the program says, and how it ended.
func (v *voice) carry(c *child) {
	left, last := burst, time.Now()
	for v.hear(&left) {
		if now := time.Now(); now.Sub(last) > linePause {
			left, last = min(burst, left+int(now.Sub(last)/linePause)), now
		}
		if left <= 0 {
			select {
			case <-c.ended:
			case <-time.After(linePause):
			}
		}
	}
	<-c.ended
	v.drain()
	v.flush()
	_ = v.read.Close()
	v.events.tell(Event{ID: v.id, Program: v.name, PID: v.pid, Ended: true, Status: ending(c.status)})
}

// hear reads once, waiting for it if need be, and tells whether there may be more.
func (v *voice) hear(left *int) (more bool) {
	raw, err := v.read.SyscallConn()
	if err != nil {
		return false
	}
	err = raw.Read(func(fd uintptr) bool {
		b := buffers.Get().(*[4096]byte)
		defer buffers.Put(b)
		n, err := unix.Read(int(fd), b[:])
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			return false
		}
		if more = n > 0; more {
			*left -= v.take(b[:n])
		}
		return true
	})
	return err == nil && more
}

// drain reads what a program has said last, but waits for nothing: what it has
// started, and left behind, may hold the pipe.
func (v *voice) drain() {
	raw, err := v.read.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		var b [4096]byte
		for range 1<<16/len(b) + 1 {
			n, err := unix.Read(int(fd), b[:])
			if n <= 0 || err != nil {
				return
			}
			v.take(b[:n])
		}
	})
}

// take makes lines of what was read, and tells how many.
func (v *voice) take(b []byte) (lines int) {
	for len(b) > 0 {
		part, rest, whole := bytes.Cut(b, []byte("\n"))
		if room := maxLine - len(v.line); len(part) > room {
			part, v.long = part[:max(room, 0)], true
		}
		v.line = append(v.line, part...)
		if b = rest; whole {
			v.flush()
			lines++
		}
	}
	return lines
}

// flush tells a line.
func (v *voice) flush() {
	line := strings.ToValidUTF8(string(v.line), "?")
	if v.long {
		line += "…"
	}
	v.line, v.long = nil, false
	if line = strings.TrimRight(line, "\r"); line != "" {
		v.events.tell(Event{ID: v.id, Program: v.name, PID: v.pid, Line: line})
	}
}

// events go to whoever listens. If nobody does they are counted, and left out.
type events struct {
	mu   sync.Mutex
	lost int
}

func (e *events) tell(one Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	one.Lost = e.lost
	b, err := encode(one, maxEvent)
	if err == nil {
		err = unix.Sendmsg(sharedFD, b, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	}
	if err != nil {
		e.lost++
	} else {
		e.lost = 0
	}
}
