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
		if name := variable(f.key); len(b)+len(name)+len(f.value)+16 <= journalMost {
			b = appendVariable(b, name, f.value)
		}
	}
	return b
}

// appendVariable writes one field. In the second form a value may have line breaks,
// and cannot become a field of its own.
func appendVariable(b []byte, name, value string) []byte {
	b = append(b, name...)
	if !strings.Contains(value, "\n") {
		b = append(b, '=')
		return append(append(b, value...), '\n')
	}
	b = append(b, '\n')
	b = binary.LittleEndian.AppendUint64(b, uint64(len(value)))
	return append(append(b, value...), '\n')
}

// variable is the name of an attribute's field: USHER_USER for user. Only capitals,
// digits and underscores can be in one.
func variable(key string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, key)
	return cut("USHER_"+name, journalNames)
}

func journalDial(path string) dial {
	if path == "" {
		path = journalSocket
	}
	return func(context.Context) (net.Conn, error) { return net.Dial("unixgram", path) }
}
