package logs

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// How long messages may be. All receivers of syslog over TLS should take 8192 bytes
// (RFC 5425 §4.3.1), and those over TCP do; datagrams should fit the smallest MTU (RFC
// 5426 §3.2), which of IPv6 is 1280, with headers of 48.
const (
	syslogMost   = 8192
	datagramMost = 1232
)

// element is the name of our structured data. 32473 is the number for who has none of
// his own (RFC 5612).
const element = "usher@32473"

// syslogForm writes entries as syslog takes them.
type syslogForm struct {
	facility int
	host     string // "": messages are for this machine, and do not say it
	name     string // of the program
	pid      string
	old      bool // RFC 3164, as syslog(3) writes it; else RFC 5424
	counted  bool // over a stream
	most     int  // bytes of a message
}

func (p Place) form(hostname, name string) syslogForm {
	if hostname == "" {
		hostname, _ = os.Hostname()
	}
	f := syslogForm{
		facility: p.facility, host: ascii(hostname, 255), name: ascii(name, 48), pid: strconv.Itoa(os.Getpid()),
		old: p.old, counted: p.network == "tcp", most: syslogMost,
	}
	if p.old && p.network == "unixgram" {
		f.host = ""
	}
	if p.network == "udp" {
		f.most = datagramMost
	}
	return f
}

// frame counts octets: RFC 6587 §3.4.1, RFC 5425 §4.3.
func (f syslogForm) frame(line []byte) []byte {
	if !f.counted {
		return line
	}
	framed := make([]byte, 0, len(line)+8)
	framed = append(strconv.AppendInt(framed, int64(len(line)), 10), ' ')
	return append(framed, line...)
}

func (f syslogForm) encode(e *entry) []byte {
	b := make([]byte, 0, 256+3*len(e.line))
	b = append(b, '<')
	b = strconv.AppendInt(b, int64(f.facility*8+severity(e.level)), 10) // RFC 5424 §6.2.1
	b = append(b, '>')
	if f.old {
		b = f.appendOldHeader(b, e)
	} else {
		b = f.appendHeader(b, e)
		b = appendData(b, e.fields, f.most-len(b)-1-len(e.line))
	}
	b = append(b, ' ')
	return append(b, cut(e.line, f.most-len(b))...) // without a BOM: programs look for its beginning
}

// appendHeader writes the header of RFC 5424 §6.2, from VERSION on.
func (f syslogForm) appendHeader(b []byte, e *entry) []byte {
	at := timeOf(e.time, precise)
	if at == "" {
		at = "-"
	}
	for _, part := range []string{"1", at, f.host, f.name, f.pid, e.event} {
		b = append(append(b, part...), ' ')
	}
	return b
}

// appendOldHeader writes what everything that listens on /dev/log understands: RFC 3164
// §4.1.2, without HOSTNAME there.
func (f syslogForm) appendOldHeader(b []byte, e *entry) []byte {
	at := e.time
	if at.IsZero() {
		at = time.Now() // it cannot be left out
	}
	b = at.AppendFormat(b, time.Stamp)
	if f.host != "" {
		b = append(append(b, ' '), f.host...)
	}
	return append(append(append(append(append(b, ' '), f.name...), '['), f.pid...), "]:"...)
}

// appendData writes the fields that there is room for; what stands in the line, too,
// and ends it, goes first of all.
func appendData(b []byte, fields []field, room int) []byte {
	begin := len(b)
	b = append(append(b, '['), element...)
	none := len(b)
	for _, f := range fields {
		before := len(b)
		b = append(append(append(b, ' '), ascii(f.key, 32)...), `="`...) // RFC 5424 §6.3.3
		b = appendValue(b, f.value)
		b = append(b, '"')
		if len(b)+1-begin > room {
			b = b[:before]
		}
	}
	if len(b) == none {
		return append(b[:begin], '-')
	}
	return append(b, ']')
}

// appendValue writes a PARAM-VALUE (RFC 5424 §6.3.3). Control characters, which could
// make lines of their own in somebody's file, are written as in the line: \n.
func appendValue(b []byte, value string) []byte {
	if !strings.ContainsFunc(value, isSpecial) {
		return append(b, value...) // most are so
	}
	for _, r := range strings.ToValidUTF8(value, "\uFFFD") {
		switch {
		case r == '"' || r == '\\' || r == ']':
			b = append(b, '\\', byte(r))
		case unicode.IsControl(r) || r == '\u2028' || r == '\u2029':
			quoted := strconv.QuoteRune(r) // '\n'
			b = append(append(b, '\\'), quoted[1:len(quoted)-1]...)
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return b
}

// isSpecial tells of characters that may have to be written otherwise.
func isSpecial(r rune) bool {
	return r < ' ' || r > '~' || r == '"' || r == '\\' || r == ']'
}

// facilities are the names of syslog.conf for the numbers of RFC 5424 §6.2.1.
const facilities = "kern user mail daemon auth syslog lpr news uucp cron authpriv ftp ntp audit alert clock " +
	"local0 local1 local2 local3 local4 local5 local6 local7"

// mail is the facility that we are of, if nobody says another one.
const mail = 2

func facility(name string) (int, error) {
	n := slices.Index(strings.Fields(facilities), name)
	if n < 0 {
		return 0, fmt.Errorf("there is no facility %.20q: choose from %s", name, facilities)
	}
	return n, nil
}
