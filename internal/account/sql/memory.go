package sql

import (
	"os"
	"sync"
	"time"

	"usher/internal/account"
)

const (
	remembered = 10_000          // accounts at most
	settled    = 2 * time.Second // the coarsest time stamps of file systems
)

// A memory keeps accounts that were looked up until somebody writes to the
// database, from whatever process: what a command has changed holds for the next
// login. It looks at the files only. Their bytes it must not open: with the close
// of any descriptor the system would drop the locks that SQLite has on them. Unknown
// names are not kept: anybody can ask for many.
type memory struct {
	path string // of the database

	mu       sync.Mutex
	as       state // of the files when all of accounts were read
	accounts map[string]*account.Account
}

// A state of the database's files. Every commit writes to the second one, its
// journal.
type state [2]struct{ size, written int64 }

// now returns the state of the files. It is not known when they were written so
// lately that another write might leave the same time stamp.
func (m *memory) now() (s state, known bool) {
	for i, path := range []string{m.path, m.path + "-wal"} {
		info, err := os.Stat(path)
		if err != nil || time.Since(info.ModTime()) < settled {
			return s, false
		}
		s[i].size, s[i].written = info.Size(), info.ModTime().UnixNano()
	}
	return s, true
}

// account returns what is known of a name in this state; nil: nothing.
func (m *memory) account(name string, now state) *account.Account {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.as != now {
		return nil
	}
	return m.accounts[name]
}

// keep notes an account that was read after the files were in a state.
func (m *memory) keep(name string, a *account.Account, was state) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.accounts == nil || m.as != was || len(m.accounts) >= remembered {
		m.as, m.accounts = was, map[string]*account.Account{}
	}
	m.accounts[name] = a
}
