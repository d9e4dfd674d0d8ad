// Package trace writes down what is said before login, by those whom an
// administrator wants to watch for a while. It decides who that is, what is never
// written (secret.go), how much is, and when it ends.
//
// Read Traces first, then Record, which is one conversation, and Leg, which is the
// witness of one of its connections.
package trace

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of what is written.
const (
	Longest = 24 * time.Hour // that a trace may last

	mostTraces = 16        // at a time
	mostBytes  = 64 << 20  // of a trace
	mostEach   = 256 << 10 // of one conversation
	mostKept   = 16 << 10  // of one of which nobody knows yet whose it is
	mostText   = 1000      // bytes of one line that are shown
	waiting    = 4 << 10   // pieces on their way to the disk: who talks does not wait for it
)

// Traces are those that are on. Without any, a conversation costs one look.
type Traces struct {
	Log *slog.Logger

	on      atomic.Pointer[[]*trace] // never changed in place
	mu      sync.Mutex               // of changes
	writers sync.WaitGroup
}

// An Order says what is to be traced.
type Order struct {
	User     string                 // as it was asked for; "": those of Network
	Means    func(name string) bool // whether a name is User; nil: none is
	Network  netip.Prefix
	Protocol string // "": all
	For      time.Duration
	Most     int    // bytes that it may write; 0: 64 MB
	Dir      string // gets a folder for this trace; made if it is missing
}

// A Status is a trace that is on.
type Status struct {
	Order
	ID            string
	Folder        string
	Until         time.Time
	Conversations int
	Bytes         int
}

// ErrTooMany is why a trace does not begin while there are many.
var ErrTooMany = errors.New("as many traces are on as may be at a time; end one first: see usher trace --list")

// Begin begins a trace, which ends by itself.
func (t *Traces) Begin(o Order) (Status, error) {
	if o.For <= 0 || o.For > Longest {
		return Status{}, fmt.Errorf("a trace cannot last %v: more than nothing, at most %v", o.For, Longest)
	}
	o.Most = cmp.Or(o.Most, mostBytes)
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.list()) >= mostTraces {
		return Status{}, ErrTooMany
	}
	one, err := open(o)
	if err != nil {
		return Status{}, fmt.Errorf("cannot begin the trace: %w", err)
	}
	t.set(append(slices.Clone(t.list()), one))
	t.Log.Info("trace begins", "trace", one.id, "of", o.what(), "protocol", o.Protocol, "for", o.For.String(), "folder", one.folder)
	t.writers.Go(func() {
		why := one.run()
		t.drop(one)
		one.close()
		t.Log.Info("trace ended", "trace", one.id, "of", o.what(), "why", why,
			"conversations", one.conversations.Load(), "bytes", one.bytes.Load(), "lost", one.lost.Load())
	})
	return one.status(), nil
}

// open makes the folder of a trace. Only its owner and root may read there.
func open(o Order) (*trace, error) {
	id := rand.Text()[:8]
	now := time.Now()
	folder := filepath.Join(o.Dir, now.UTC().Format("20060102T150405")+"-"+id)
	if err := errors.Join(os.MkdirAll(o.Dir, 0o700), os.Mkdir(folder, 0o700)); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	return &trace{Order: o, id: id, folder: folder, root: root, until: now.Add(o.For), pieces: make(chan piece, waiting), told: make(chan string, 1)}, nil
}

func (o Order) what() string {
	if o.User != "" {
		return o.User
	}
	return o.Network.String()
}

// List returns the traces that are on, the oldest first.
func (t *Traces) List() (list []Status) {
	for _, one := range t.list() {
		list = append(list, one.status())
	}
	return list
}

// End ends the trace with this ID, or all if that is "", and returns how many.
func (t *Traces) End(id, why string) (n int) {
	for _, one := range t.list() {
		if id == "" || id == one.id {
			one.end(why)
			n++
		}
	}
	return n
}

// Close ends all, and waits until what is on its way is written; not for ever, a
// disk may hang.
func (t *Traces) Close() {
	t.End("", "usher stops")
	done := make(chan struct{})
	go func() { t.writers.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(2 * time.Second):
	}
}

func (t *Traces) list() []*trace {
	if all := t.on.Load(); all != nil {
		return *all
	}
	return nil
}

func (t *Traces) set(all []*trace) {
	if len(all) == 0 {
		t.on.Store(nil)
		return
	}
	t.on.Store(&all)
}

func (t *Traces) drop(one *trace) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.set(slices.DeleteFunc(slices.Clone(t.list()), func(x *trace) bool { return x == one }))
}
