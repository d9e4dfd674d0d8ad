package trace

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// trace is one that is on: a goroutine that writes what it is given.
type trace struct {
	Order
	id, folder string
	root       *os.Root // folder
	until      time.Time

	pieces chan piece
	told   chan string // why to end
	over   atomic.Bool

	conversations, bytes, lost atomic.Int64
}

// piece is something to be added to a file.
type piece struct{ file, text string }

// give takes a piece without ever waiting: what there is no room for is lost.
func (t *trace) give(p piece) {
	if t.over.Load() {
		return
	}
	select {
	case t.pieces <- p:
	default:
		t.lost.Add(1)
	}
}

func (t *trace) end(why string) {
	select {
	case t.told <- why:
	default: // it ends already
	}
}

// run writes until the trace is over, and returns why that is.
func (t *trace) run() (why string) {
	timer := time.NewTimer(time.Until(t.until))
	defer timer.Stop()
	for {
		select {
		case p := <-t.pieces:
			if err := t.write(p); err != nil {
				return err.Error()
			}
		case why := <-t.told:
			return t.rest(why)
		case <-timer.C:
			return t.rest("its time is over")
		}
	}
}

// rest writes what was given before the end.
func (t *trace) rest(why string) string {
	for {
		select {
		case p := <-t.pieces:
			if err := t.write(p); err != nil {
				return err.Error()
			}
		default:
			return why
		}
	}
}

// write adds to a file, which is not kept open: there may be more conversations than
// descriptors.
func (t *trace) write(p piece) error {
	if t.bytes.Add(int64(len(p.text))) > int64(t.Most) {
		return fmt.Errorf("it has written all that it may, %d bytes", t.Most)
	}
	f, err := t.root.OpenFile(p.file, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("cannot write: %w", err)
	}
	_, err = f.WriteString(p.text)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("cannot write: %w", err)
	}
	return nil
}

func (t *trace) close() {
	t.over.Store(true)
	_ = t.root.Close()
}

func (t *trace) status() Status {
	return Status{Order: t.Order, ID: t.id, Folder: t.folder, Until: t.until, Conversations: int(t.conversations.Load()), Bytes: int(t.bytes.Load())}
}

// wants tells whether a conversation is to be traced.
func (t *trace) wants(r *Record) bool {
	if t.over.Load() || t.Protocol != "" && t.Protocol != r.protocol {
		return false
	}
	if t.User == "" {
		return t.Network.Contains(r.remote)
	}
	for _, name := range r.names {
		if t.Means(name) {
			return true
		}
	}
	return false
}
