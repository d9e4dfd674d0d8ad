package embedded

import (
	"encoding/binary"
	"os"
	"strings"
	"sync"
	"time"

	"usher/internal/account"
)

const (
	remembered = 10_000          // accounts at most
	settled    = 2 * time.Second // the coarsest time stamps of file systems
)

// A memory keeps rows that were looked up until somebody writes to the
// database, from whatever process: what a command has changed holds for the next
// login. It looks at the files only. Their bytes it must not open: with the close
// of any descriptor the system would drop the locks that SQLite has on them. Unknown
// names are not kept: anybody can ask for many.
type memory struct {
	path string // of the database

	mu   sync.Mutex
	as   state // of the files when all of rows were read
	rows map[string]packed
}

// packed are fields as one string, a sixth of what a map of them takes: names and
// values in turn, each behind its length.
type packed string

func pack(f account.Fields) packed {
	var b []byte
	for name, value := range f {
		for _, s := range []string{name, value} {
			b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
		}
	}
	return packed(b)
}

func (p packed) fields() account.Fields {
	f := make(account.Fields, 4)
	for len(p) > 0 {
		name := p.next()
		f[name] = p.next()
	}
	return f
}

// next takes a string off the front.
func (p *packed) next() string {
	n, size := binary.Uvarint([]byte((*p)[:min(len(*p), binary.MaxVarintLen64)]))
	s := (*p)[size : size+int(n)]
	*p = (*p)[size+int(n):]
	return string(s)
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

// row returns what is known of a name in this state; nil: nothing.
func (m *memory) row(name string, now state) account.Fields {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.as != now {
		return nil
	}
	row, ok := m.rows[name]
	if !ok {
		return nil
	}
	return row.fields()
}

// keep notes a row that was read after the files were in a state.
func (m *memory) keep(name string, f account.Fields, was state) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.rows == nil || m.as != was || len(m.rows) >= remembered {
		m.as, m.rows = was, map[string]packed{}
	}
	m.rows[strings.Clone(name)] = pack(f) // else all that the name came with would stay, such as the password
}
