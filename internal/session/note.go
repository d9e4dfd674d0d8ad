package session

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"
)

// A note is a session in few bytes, without its ID. It may be read by a later version, or
// an earlier one: fields are added at the end, and what is missing is zero.

// Note writes a session down.
func (s *Session) Note() []byte {
	b := make([]byte, 0, 96+len(s.Account)+len(s.Target))
	b = appendText(b, s.Account)
	b = appendText(b, s.Protocol)
	b = appendPort(b, s.Remote)
	b = appendText(b, s.Target)
	b = appendText(b, s.TLS)
	b = appendTime(b, s.Since)
	b = appendTime(b, s.Until)
	b = appendPort(b, s.Near)
	b = appendPort(b, s.Far)
	if f := s.Front; f != nil {
		b = appendPort(b, f.Addr)
		b = appendText(b, f.Node)
		b = appendText(b, f.Ext)
	}
	return b
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

func appendPort(b []byte, p netip.AddrPort) []byte {
	text, _ := p.MarshalBinary() // it cannot fail
	return appendText(b, string(text))
}

func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return binary.AppendVarint(b, 0)
	}
	return binary.AppendVarint(b, t.UnixNano())
}

// errNote is when a note cannot be read.
var errNote = errors.New("a session's note makes no sense")

// FromNote reads what Note has written.
func FromNote(id ID, note []byte) (*Session, error) {
	r := reader{b: note}
	s := &Session{ID: id, Account: r.text(), Protocol: r.text(), Remote: r.port(), Target: r.text(), TLS: r.text(), Since: r.time()}
	if r.err == nil && s.Account == "" {
		r.err = errNote
	}
	s.Until, s.Near, s.Far = r.time(), r.port(), r.port()
	if len(r.b) > 0 {
		s.Front = &Front{Addr: r.port(), Node: r.text(), Ext: r.text()}
	}
	return s, r.err
}

// reader takes a note apart.
type reader struct {
	b   []byte
	err error
}

func (r *reader) text() string {
	if len(r.b) == 0 {
		return ""
	}
	n, size := binary.Uvarint(r.b)
	if size <= 0 || n > uint64(len(r.b)-size) {
		r.b, r.err = nil, errNote
		return ""
	}
	text := string(r.b[size : size+int(n)])
	r.b = r.b[size+int(n):]
	return text
}

func (r *reader) port() (p netip.AddrPort) {
	if err := p.UnmarshalBinary([]byte(r.text())); err != nil {
		return netip.AddrPort{}
	}
	return p
}

func (r *reader) time() time.Time {
	if len(r.b) == 0 {
		return time.Time{}
	}
	n, size := binary.Varint(r.b)
	if size <= 0 {
		r.b, r.err = nil, errNote
		return time.Time{}
	}
	if r.b = r.b[size:]; n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}
