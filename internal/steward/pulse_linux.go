package steward

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"time"
)

// A pulse tells whether a steward still does something. A client hears its OK from there:
// were one that hangs not noticed, logins would wait for it without a word in the log.
// Asked is a while after sessions were given to it, so that many share one question.
type pulse struct {
	mu      sync.Mutex
	feeling bool        // it will be asked, or was
	doubts  *time.Timer // until it has answered
	silent  bool        // it has not
	hidden  bool        // its socket is gone
}

const (
	pulseAfter = time.Second     // sessions were given to it
	patience   = 3 * time.Second // for the answer
)

// nobody is the session by whose name a steward is asked: it says that it keeps it, as of
// any that it does not know, in whichever version.
const nobody = 0

// feel has the steward be asked soon whether it is well.
func (l *link) feel() {
	p := &l.pulse
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.feeling {
		return
	}
	p.feeling = true
	time.AfterFunc(pulseAfter, func() {
		p.mu.Lock()
		p.doubts = time.AfterFunc(patience, l.unfelt)
		p.mu.Unlock()
		l.seesSocket()
		l.out.post(&word{kind: release, id: nobody})
	})
}

// seesSocket says so, once, when somebody has removed the socket: nobody would miss it until
// the next usher does not find the sessions.
func (l *link) seesSocket() {
	_, err := os.Lstat(l.e.Socket)
	l.pulse.mu.Lock()
	defer l.pulse.mu.Unlock()
	if gone := errors.Is(err, fs.ErrNotExist); gone && !l.pulse.hidden {
		l.pulse.hidden = true
		l.e.Log.Error("somebody has removed the relay process's socket: this process still has its sessions, the next one will not find them", "pid", l.pid, "socket", l.e.Socket,
			"remedy", "do not restart usher before they have ended; usher stop ends them")
	}
}

// unfelt is when there is no answer.
func (l *link) unfelt() {
	p := &l.pulse
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.feeling || l.parts() {
		return
	}
	p.silent = true
	l.e.Log.Error("the relay process does not answer: new sessions stay in this process until it does", "pid", l.pid,
		"remedy", "see whether it is stopped (kill -CONT), or memory is short; kill -9 ends it and its sessions, and another is started")
}

// felt is when the answer is there.
func (l *link) felt() {
	p := &l.pulse
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.doubts != nil {
		p.doubts.Stop()
	}
	if p.silent {
		l.e.Log.Info("the relay process answers again", "pid", l.pid)
	}
	p.feeling, p.silent = false, false
}

// slow tells whether new sessions had better not go to this steward now.
func (l *link) slow() bool {
	l.pulse.mu.Lock()
	silent := l.pulse.silent
	l.pulse.mu.Unlock()
	return silent || l.out.waiting() > full
}
