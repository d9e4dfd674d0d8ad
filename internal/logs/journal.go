package logs

import (
	"context"
	"encoding/binary"
	"net"
	"strconv"
	"strings"
)

const (
	journalSocket = "/run/systemd/journal/socket"
	journalMost   = 64 << 10 // bytes of an entry: less than any kernel takes in a datagram
	journalNames  = 64       // bytes of a field's name; journald leaves out longer ones
	prefix        = "USHER_" // of names that are ours
)

// journalForm writes entries as systemd's journal takes them:
// https://systemd.io/JOURNAL_NATIVE_PROTOCOL/
type journalForm struct{}

func (journalForm) frame(line []byte) []byte { return line }

func (journalForm) encode(e *entry) []byte {
	b := make([]byte, 0, 512+2*len(e.line))
	b = appendVariable(b, "MESSAGE", cut(e.line, journalMost/2))
	b = appendVariable(b, "PRIORITY", strconv.Itoa(severity(e.level)))
	b = appendVariable(b, "SYSLOG_IDENTIFIER", "usher")
	b = appendVariable(b, "SYSLOG_FACILITY", strconv.Itoa(mail)) // else it is "user" where a syslog reads the journal
	b = appendVariable(b, "USHER_EVENT", e.event)
	if at := timeOf(e.time, precise); at != "" {
		b = appendVariable(b, "USHER_TIME", at) // the entry may have waited for the journal
	}
	for _, f := range e.fields {
		if len(b)+journalNames+len(f.value)+16 <= journalMost {
			b = appendPair(appendName(b, f.key), f.value)
		}
	}
	return b
}

// appendVariable writes one field. In the second form a value may have line breaks,
// and cannot become a field of its own.
func appendVariable(b []byte, name, value string) []byte {
	return appendPair(append(b, name...), value)
}

// appendPair writes a value behind its name.
func appendPair(b []byte, value string) []byte {
	if !strings.Contains(value, "\n") {
		b = append(b, '=')
		return append(append(b, value...), '\n')
	}
	b = append(b, '\n')
	b = binary.LittleEndian.AppendUint64(b, uint64(len(value)))
	return append(append(b, value...), '\n')
}

// appendName writes the name of an attribute's field: USHER_USER for user. Only
// capitals, digits and underscores can be in one.
func appendName(b []byte, key string) []byte {
	b = append(b, prefix...)
	for _, c := range []byte(key[:min(len(key), journalNames-len(prefix))]) {
		switch {
		case c >= 'a' && c <= 'z':
			c -= 'a' - 'A'
		case c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		default:
			c = '_'
		}
		b = append(b, c)
	}
	return b
}

func journalDial(path string) dial {
	if path == "" {
		path = journalSocket
	}
	return func(context.Context) (net.Conn, error) { return net.Dial("unixgram", path) }
}
