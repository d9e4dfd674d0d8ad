package session

import (
	"net/netip"
	"reflect"
	"testing"
	"time"
)

func noted() *Session {
	return &Session{
		ID: 7, Account: "ann@example.org", Protocol: "imap", Remote: netip.MustParseAddrPort("[2001:db8::1]:4711"),
		Target: "east/192.0.2.7:143", TLS: "TLSv1.3", Since: time.Unix(1_790_000_000, 5), Until: time.Unix(1_790_003_600, 0),
		Front: &Front{Addr: netip.MustParseAddrPort("10.0.0.1:5"), Node: "north", Ext: "abc"},
		Near:  netip.MustParseAddrPort("192.0.2.1:50000"), Far: netip.MustParseAddrPort("192.0.2.7:143"),
	}
}

func TestANoteHoldsTheWholeSession(t *testing.T) {
	plain := noted()
	plain.Front, plain.Until, plain.Near = nil, time.Time{}, netip.AddrPort{}
	for _, s := range []*Session{noted(), plain} {
		got, err := FromNote(s.ID, s.Note())
		if err != nil || !reflect.DeepEqual(got, s) {
			t.Errorf("read %+v %v\nwant %+v", got, err, s)
		}
	}
}

// An older version has written fewer fields.
func TestAShorterNoteIsRead(t *testing.T) {
	s := noted()
	whole := s.Note()
	s.Front, s.Until, s.Near, s.Far = nil, time.Time{}, netip.AddrPort{}, netip.AddrPort{}
	short := s.Note()
	if got, err := FromNote(s.ID, short[:len(short)-3]); err != nil || got.Account != s.Account || !got.Since.Equal(s.Since) {
		t.Errorf("read %+v %v", got, err)
	}
	if _, err := FromNote(s.ID, whole[:3]); err == nil {
		t.Error("a note that was cut within the name was read")
	}
}

func FuzzFromNote(f *testing.F) {
	f.Add(noted().Note())
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := FromNote(1, b)
		if err == nil && s.Account == "" {
			t.Error("a session of nobody")
		}
	})
}
