package embedded

import (
	"encoding/binary"
	"hash/maphash"
	"os"
	"slices"
	"sync"
	"time"

	"usher/internal/account"
)

const (
	remembered = 10_000          // accounts at most
	most       = 64 << 20        // bytes of them
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
	seed maphash.Seed
	at   map[uint64]int // where in rows somebody's begins, by the hash of the name
	rows []byte         // side by side, each behind its length: maps would take six times as much
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
	if m.as != now || m.at == nil {
		return nil
	}
	at, ok := m.at[maphash.String(m.seed, name)]
	if !ok {
		return nil
	}
	n, size := binary.Uvarint(m.rows[at:])
	return unpack(string(m.rows[at+size:at+size+int(n)]), name)
}

// keep notes a row that was read after the files were in a state.
func (m *memory) keep(name string, f account.Fields, was state) {
	row := pack(name, f)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.at == nil || m.as != was || len(m.at) >= remembered || len(m.rows)+len(row) > most {
		m.as, m.seed, m.at, m.rows = was, maphash.MakeSeed(), map[uint64]int{}, nil
	}
	m.at[maphash.String(m.seed, name)] = len(m.rows)
	m.rows = append(binary.AppendUvarint(m.rows, uint64(len(row))), row...)
}

// pack makes one row of a name and its fields: names and values in turn, each behind its
// length. The name of a column is its number, and a value that is the name is nothing.
func pack(name string, f account.Fields) (b []byte) {
	b = appendText(b, name)
	for field, value := range f {
		if value == "" {
			continue // the same as none
		}
		if i := slices.Index(columns, field); i >= 0 {
			b = append(b, byte(i+1))
		} else {
			b = appendText(append(b, 0), field)
		}
		if value == name {
			value = ""
		}
		b = appendText(b, value)
	}
	return b
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// unpack returns the fields of a row, if it is that of a name.
func unpack(row, name string) account.Fields {
	number := func() int {
		n, size := binary.Uvarint([]byte(row[:min(len(row), binary.MaxVarintLen64)]))
		row = row[size:]
		return int(n)
	}
	text := func() (text string) {
		n := number()
		text, row = row[:n], row[n:]
		return text
	}
	if text() != name {
		return nil
	}
	f := account.Fields{}
	for len(row) > 0 {
		var field string
		if column := number(); column > 0 {
			field = columns[column-1]
		} else {
			field = text()
		}
		if f[field] = text(); f[field] == "" {
			f[field] = name
		}
	}
	return f
}
