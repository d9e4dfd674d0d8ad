package steward

import (
	"errors"
	"fmt"
	"time"
)

// Replace has a new steward take over from the present one. Sessions that are at rest move
// at once, others when they come to rest. If it does not come up, the present one goes on.
func (e *Engine) Replace() error {
	err := e.replace()
	if errors.Is(err, errBusy) { // the usher before us has had it replaced: now we know by whom
		err = e.replace()
	}
	if err != nil {
		return fmt.Errorf("replace the relay process: %w", err)
	}
	return nil
}

func (e *Engine) replace() error {
	e.mu.Lock()
	old := e.link
	e.mu.Unlock()
	if old == nil {
		return e.find(true)
	}
	own, end, err := launchHeir(e.Program)
	if err != nil {
		return err
	}
	e.started(own)
	old.expects()
	old.out.post(&word{kind: retire, fds: []int{end}})
	refused := old.retires()
	if errors.Is(refused, errBusy) {
		old.retired.Store(true)
	} else if refused != nil {
		return refused
	}
	if err := errors.Join(e.find(false), refused); err != nil {
		return fmt.Errorf("%w (the new one is process %d: if it hangs, kill it)", err, own.pid)
	}
	e.mu.Lock()
	now := e.link
	e.mu.Unlock()
	if now == nil || now.pid == old.pid {
		return errors.New("the new one has ended, see its last lines in the log; the old one goes on")
	}
	e.Log.Info("relay process replaced", "pid", now.pid, "before", old.pid)
	return nil
}

// errBusy is when a steward cannot be replaced, mostly because it has been already.
var errBusy = errors.New("it does not let itself be replaced now")

// expects is before a steward is asked to retire. From here on it may have a successor, whatever
// it lives to say. An answer that came too late is forgotten.
func (l *link) expects() {
	l.asks.Store(true)
	select {
	case <-l.yielded:
	default:
	}
}

// retires waits until the steward has left the socket to its successor.
func (l *link) retires() error {
	select {
	case ok := <-l.yielded:
		if !ok {
			return errBusy
		}
		return nil
	case <-l.gone:
		return errors.New("it has ended")
	case <-time.After(answerTime):
		return errors.New("it does not answer")
	}
}

// goOn finds the successor of a steward, to which new sessions go until then: it passes
// them on.
func (e *Engine) goOn(from *link) {
	err := e.find(false)
	e.mu.Lock()
	stays := e.link == from
	if stays {
		e.link = nil
	}
	e.mu.Unlock()
	if stays {
		e.Log.Error("the relay process was replaced, and the new one cannot be found", "err", err)
		go e.again(e.Program != "", err)
	}
}
