package account

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"usher/internal/account/keep"
	"usher/internal/password"
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

// A head begins the file.
type head struct {
	Format        int
	Source, Block string
}

func (d *disk) head() head { return head{1, d.cache.reader.Name, d.Block} }

// A record is an account in the file.
type record struct {
	Key    key
	Asked  time.Time
	Fields Fields   // without password
	Hashes []string // of its password
	Open   bool     // only the backend can tell; else an account without Hashes is of no use
}

func (d *disk) fill(w io.Writer) error {
	to := gob.NewEncoder(w)
	if err := to.Encode(d.head()); err != nil {
		return err
	}
	for k, e := range d.cache.store.known.All() {
		r, ok := e.record(k)
		if !ok {
			continue
		}
		if err := to.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

// record is what is kept of an entry; nothing if nobody could be checked by it.
func (e *entry) record(k key) (r record, ok bool) {
	a := e.account
	r = record{Key: k, Asked: a.Asked, Fields: e.fields, Open: a.Proof == nil, Hashes: slowHashes(a.Proof)}
	if a.Proof != nil && a.Memory != nil {
		if h := a.Memory.hash(a.Proof); h != "" {
			r.Hashes = append(r.Hashes, h)
		}
	}
	return r, e.fields != nil && (r.Open || len(r.Hashes) > 0)
}

// lasting are the fields that are kept.
func (f Fields) lasting() Fields {
	c := f.canonical()
	delete(c, "password")
	return c
}

// Restore remembers what was kept, for the time in which the source cannot tell. A
// file that is not whole, or not ours, is begun anew.
func (c *Cache) Restore() {
	d := c.disk
	if d == nil {
		return
	}
	list, err := d.read()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case err != nil:
		c.log.Warn("what was kept of accounts cannot be used, and is begun anew", "file", d.File, "err", err)
		return
	}
	n := 0
	for _, r := range list {
		if a, ok := c.reader.restore(r); ok {
			c.adopt(r.Key, a, r.Fields)
			n++
		}
	}
	c.log.Info("accounts were kept on the disk, for the time in which their source is down", "accounts", n)
}

var errOtherBlock = errors.New("it is of other settings of this source")

func (d *disk) read() (list []record, err error) {
	if _, err := os.Lstat(d.File); err != nil {
		return nil, err
	}
	key, err := keep.Key(d.Key)
	if err != nil {
		return nil, fmt.Errorf("its key: %v", err) //nolint:errorlint // a key that is missing is no file that is missing
	}
	err = keep.Read(d.File, key, func(r io.Reader) error {
		from := gob.NewDecoder(r)
		var h head
		if err := from.Decode(&h); err != nil {
			return err
		}
		if h != d.head() {
			return errOtherBlock
		}
		list, err = records(from)
		return err
	})
	return list, err
}

func records(from *gob.Decoder) (list []record, err error) {
	for {
		var r record
		switch err := from.Decode(&r); {
		case errors.Is(err, io.EOF):
			return list, nil
		case err != nil:
			return nil, err
		}
		list = append(list, r)
	}
}

// restore makes an account of what was kept.
func (r *Reader) restore(rec record) (*Account, bool) {
	var p Proof
	if !rec.Open {
		if len(rec.Hashes) == 0 {
			return nil, false
		}
		p = Hashed{rec.Hashes}
	}
	delete(rec.Fields, "password")
	a, err := r.make(rec.Fields, rec.Key.Name, p)
	if err != nil {
		return nil, false
	}
	a.Asked = rec.Asked
	return a, true
}

// A lesson is a password that has been found right, by something of which no slow
// hash is known.
type lesson struct {
	memory       *Memory
	right, proof digest
	password     string
}

// learn has a lesson learned some time. A login does not wait for it: if there are
// too many, the next login of the same account will do.
func (d *disk) learn(l lesson) {
	if !d.on.Load() {
		return
	}
	select {
	case d.lessons <- l:
	default:
	}
}

// study learns one lesson after the other, so that hashing takes one processor at most.
func (d *disk) study(ctx context.Context) {
	for {
		select {
		case l := <-d.lessons:
			if hash, err := password.Make(password.Default, l.password); err == nil {
				l.memory.learned(l, hash)
				d.touch()
			}
		case <-ctx.Done():
			d.drop()
			return
		}
	}
}

// drop forgets the passwords that wait.
func (d *disk) drop() {
	for {
		select {
		case <-d.lessons:
		default:
			return
		}
	}
}
