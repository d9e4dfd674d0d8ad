package account

import (
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"time"

	"usher/internal/account/keep"
)

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
	maps.DeleteFunc(c, func(name, _ string) bool { _, _, is := statesOf(name); return is }) // as good as one
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
		if a, ok := c.reader.restore(r); ok && c.adopt(c.store.known, r.Key, a, r.Fields) {
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
