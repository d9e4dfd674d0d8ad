package logs

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"syscall"
	"time"
)

// How long the queue waits before it tries again, from the first time to the longest.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 10 * time.Second
	lastPause    = 100 * time.Millisecond // while usher ends
	confessions  = 10 * time.Second       // between two lines about lost ones, unless none waits
)

// bounds are how much may wait.
type bounds struct{ lines, bytes int }

// A queue holds lines until its goroutine has brought them away. When it is full the
// newest are lost: the first ones tell how it began.
type queue struct {
	carrier *carrier
	stderr  *slog.Logger // says that the place is in trouble

	waiting chan []byte
	most    int64
	bytes   atomic.Int64
	missed  atomic.Uint64 // lines that were lost, and of which nobody was told
	came    atomic.Uint64 // lines that were put
	went    atomic.Uint64 // … and brought away, or lost

	ctx       context.Context // ends when nothing is waited for any more
	cancel    context.CancelFunc
	stop      chan struct{} // closed when no more lines come
	done      chan struct{}
	lost      func(lines uint64) []byte
	confessed time.Time
	ill       bool
}

func newQueue(b bounds, c *carrier, stderr *slog.Logger) *queue {
	q := &queue{carrier: c, stderr: stderr, waiting: make(chan []byte, b.lines), most: int64(b.bytes), stop: make(chan struct{}), done: make(chan struct{})}
	q.ctx, q.cancel = context.WithCancel(context.Background())
	return q
}

// hasRoom tells whether a line could be put; if not, it counts as lost.
func (q *queue) hasRoom() bool {
	room := len(q.waiting) < cap(q.waiting) && q.bytes.Load() < q.most
	if !room {
		q.missed.Add(1)
	}
	return room
}

// put leaves a line, or loses it. It does not wait.
func (q *queue) put(line []byte) {
	select {
	case q.waiting <- line:
		q.bytes.Add(int64(len(line)))
		q.came.Add(1)
	default:
		q.missed.Add(1)
	}
}

// settle waits until what was put before is gone from here.
func (q *queue) settle() {
	const look = 5 * time.Millisecond
	for want := q.came.Load(); q.went.Load() < want; {
		select {
		case <-q.done:
			return
		case <-time.After(look):
		}
	}
}

// start begins to bring lines away. lost is the line that tells how many were lost.
func (q *queue) start(lost func(lines uint64) []byte) {
	q.lost = lost
	go q.run()
}

// close waits until the queue is empty, for so long at most.
func (q *queue) close(most time.Duration) {
	over := time.AfterFunc(most, q.cancel)
	defer over.Stop()
	close(q.stop)
	<-q.done
	q.cancel()
}

// run is the goroutine of a queue; close ends it.
func (q *queue) run() {
	defer close(q.done)
	defer q.carrier.close()
	for {
		select {
		case line := <-q.waiting:
			q.take(line)
		case <-q.stop:
			q.rest()
			return
		}
	}
}

// rest brings away what is left at the end.
func (q *queue) rest() {
	for {
		select {
		case line := <-q.waiting:
			q.take(line)
		default:
			q.confess()
			if n := q.missed.Load(); n > 0 {
				q.stderr.Error("log lines were lost: whoever takes them is away or too slow", "lines", n)
			}
			return
		}
	}
}

func (q *queue) take(line []byte) {
	defer q.went.Add(1)
	q.bytes.Add(-int64(len(line)))
	if !q.deliver(line) {
		q.missed.Add(1)
		return
	}
	if len(q.waiting) == 0 || time.Since(q.confessed) > confessions {
		q.confess()
	}
}

// confess tells how many lines were lost, if any were.
func (q *queue) confess() {
	n := q.missed.Swap(0)
	if n == 0 {
		return
	}
	q.confessed = time.Now()
	if !q.deliver(q.lost(n)) {
		q.missed.Add(n)
	}
}

// deliver tries until the line is brought away, or until nothing is waited for.
func (q *queue) deliver(line []byte) bool {
	for pause := firstPause; q.ctx.Err() == nil; pause = min(2*pause, longestPause) {
		err := q.carrier.carry(q.ctx, line)
		if errors.Is(err, syscall.EMSGSIZE) {
			return false // it never fits
		}
		q.note(err)
		if err == nil {
			return true
		}
		q.wait(pause)
	}
	return false
}

// wait ends early when usher ends.
func (q *queue) wait(pause time.Duration) {
	select {
	case <-time.After(pause):
		return
	case <-q.stop:
	}
	select {
	case <-time.After(lastPause):
	case <-q.ctx.Done():
	}
}

// note says, once each, that the place is in trouble and that it is well again.
func (q *queue) note(err error) {
	switch {
	case q.ctx.Err() != nil:
	case err != nil && !q.ill:
		q.stderr.Error("the log cannot be written: lines wait, and are lost when too many do; check log in [server]", "err", err)
	case err == nil && q.ill:
		q.stderr.Info("the log can be written again")
	}
	q.ill = err != nil
}
