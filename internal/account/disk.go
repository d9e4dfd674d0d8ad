package account

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"usher/internal/account/keep"
)

// A Disk says where the accounts of a Cache outlive the process, so that a restart
// while the source is down locks nobody out. The file is sealed: who has it and the
// key has all that is in it, such as the password towards a backend. The users' own
// passwords are in it as slow hashes only.
type Disk struct {
	File    string // the whole of it is written anew, now and then
	Key     string // the file of the key
	MakeKey bool   // Key is made if it is missing
	Block   string // what the accounts depend on besides the source: those of another are not used
}

const (
	saveEvery = time.Minute
	saveShare = 20 // of the time goes to saving at most: one part of so many
	mostLearn = 32 // passwords that wait for their hash
)

// A disk keeps the accounts of one Cache. A nil disk keeps nothing.
type disk struct {
	Disk
	cache   *Cache
	log     *slog.Logger
	changed atomic.Bool // since it was saved
	on      atomic.Bool // between Keep and Rest
	lessons chan lesson

	life    sync.Mutex         // held by Keep and Rest
	end     context.CancelFunc // of what runs; nil: nothing does
	running sync.WaitGroup

	mu     sync.Mutex // held while the file is written
	key    []byte     // nil: not read yet
	failed bool       // and has been told
}

func newDisk(d Disk, c *Cache) *disk {
	return &disk{Disk: d, cache: c, log: c.log, lessons: make(chan lesson, mostLearn)}
}

// Keep begins to save accounts: now and then, and at Close. Only one process, and of
// that one Cache, may do so at a time.
func (c *Cache) Keep() {
	if c.disk != nil {
		c.disk.begin()
	}
}

func (d *disk) begin() {
	d.life.Lock()
	defer d.life.Unlock()
	if d.end != nil {
		return
	}
	var ctx context.Context
	ctx, d.end = context.WithCancel(context.Background())
	d.on.Store(true)
	d.touch() // what is there may be another's
	d.running.Go(func() { d.saveAll(ctx) })
	d.running.Go(func() { d.study(ctx) })
}

// Rest ends what Keep has begun, and leaves the file to another.
func (c *Cache) Rest() {
	if c.disk != nil {
		c.disk.rest()
	}
}

func (d *disk) rest() {
	d.life.Lock()
	defer d.life.Unlock()
	if d.end == nil {
		return
	}
	d.mu.Lock() // nobody is saving, and nobody will
	d.on.Store(false)
	d.mu.Unlock()
	d.end()
	d.running.Wait()
	d.end = nil
}

func (d *disk) saveAll(ctx context.Context) {
	for wait := saveEvery; ; {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		began := time.Now()
		d.save()
		wait = max(saveEvery, saveShare*time.Since(began))
	}
}

// touch notes that the file is not up to date.
func (d *disk) touch() {
	if d != nil {
		d.changed.Store(true)
	}
}

// save writes the file if there is anything new.
func (d *disk) save() {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.on.Load() && d.changed.Swap(false) {
		d.tell(d.write())
	}
}

// erase is save after something was to be forgotten: it does not stay on the disk,
// whatever happens.
func (d *disk) erase() {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.on.Load() {
		return // the file is somebody else's, who forgets by himself
	}
	d.changed.Store(false)
	err := d.write()
	if err != nil {
		if bad := os.Remove(d.File); bad != nil && !errors.Is(bad, fs.ErrNotExist) {
			d.log.Error("what was to be forgotten is still on the disk: remove the file", "file", d.File, "err", bad)
		}
	}
	d.tell(err)
}

// tell says once that nothing can be kept, and once that it can again.
func (d *disk) tell(err error) {
	switch {
	case err != nil && !d.failed:
		d.log.Error("accounts cannot be kept on the disk: a restart while their source is down would lock their owners out", "file", d.File, "err", err)
	case err == nil && d.failed:
		d.log.Info("accounts are kept on the disk again", "file", d.File)
	}
	d.failed = err != nil
	if d.failed {
		d.touch() // try again
	}
}

func (d *disk) write() (err error) {
	if d.key == nil {
		read := keep.Key
		if d.MakeKey {
			read = keep.MakeKey
		}
		if d.key, err = read(d.Key); err != nil {
			return err
		}
	}
	return keep.Write(d.File, d.key, d.fill)
}
