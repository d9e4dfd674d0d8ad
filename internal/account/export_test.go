package account

import (
	"encoding/gob"
	"io"
	"time"

	"usher/internal/account/keep"
)

// Learned waits until a slow hash of the account's last right password is known.
func Learned(a *Account) bool {
	for range 500 {
		if a.Memory.hash(a.Proof) != "" {
			return true
		}
		time.Sleep(20 * time.Millisecond)
	}
	return false
}

// LastHash is the slow hash that is known of the account's password; "": none.
func LastHash(a *Account) string { return a.Memory.hash(a.Proof) }

// LearnLate is what happens when the hash of a password that was right comes late.
func LearnLate(a *Account, password string) {
	m := a.Memory
	m.learned(lesson{m, m.of(a.Proof, password), m.home.secret.digest(a.Proof.Identity()), password}, "hash of "+password)
}

// RememberedName is the name that a memory holds.
func RememberedName(a *Account) string { return a.Memory.name }

// Save writes what is to outlive the process, now.
func (c *Cache) Save() { c.disk.touch(); c.disk.save() }

// Slow tells what may stand in a file.
var Slow = slow

// A Record is one account of a file.
type Kept = record

// KeptIn reads a file of accounts.
func KeptIn(d Disk) (list []Kept, err error) {
	key, err := keep.Key(d.Key)
	if err != nil {
		return nil, err
	}
	err = keep.Read(d.File, key, func(r io.Reader) error {
		from := gob.NewDecoder(r)
		if err := from.Decode(&head{}); err != nil {
			return err
		}
		list, err = records(from)
		return err
	})
	return list, err
}

// RestoreRecord makes an account of a record.
func (r *Reader) RestoreRecord(k Kept) (*Account, bool) { return r.restore(k) }

// Asking is how many questions are on their way.
func (c *Cache) Asking() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.asking)
}
