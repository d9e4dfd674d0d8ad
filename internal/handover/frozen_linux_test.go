package handover

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"usher/internal/relay"
	"usher/internal/relay/record"
	"usher/internal/session"
)

// The two processes of an upgrade are of different versions, and either may be the older.
func TestASessionIsWrittenAsItWas(t *testing.T) {
	secret := func(c byte) []byte { return bytes.Repeat([]byte{c}, 32) }
	keys := record.Keys{Suite: 0x1301, Server: true, In: record.Half{Secret: secret(1), Number: 9}, Out: record.Half{Secret: secret(2), Number: 1 << 60}}
	when := time.Date(2026, 11, 30, 12, 0, 0, 5, time.UTC)
	want := Session{
		Session: session.Session{
			ID: 1<<63 + 7, Account: "ann@example.org", Protocol: "imap", Remote: netip.MustParseAddrPort("192.0.2.1:4711"), Target: "east/192.0.2.7:143",
			TLS: "TLSv1.3", Since: when, Until: when.Add(time.Hour), Front: &session.Front{Addr: netip.MustParseAddrPort("192.0.2.9:1"), Ext: "x"},
			Near: netip.MustParseAddrPort("192.0.2.2:1"), Far: netip.MustParseAddrPort("192.0.2.7:143"),
		},
		Pair: relay.Pair{
			ID: 1<<63 + 7, Idle: 30 * time.Minute, Farewell: "* BYE\r\n", MidLine: true,
			Before: relay.Stats{FromClient: 300, FromServer: 70000, Last: when},
			Client: relay.Leg{Keys: &keys, Ahead: []byte{23, 3}},
		},
	}
	said, err := json.Marshal(sessionMessage(want))
	if err != nil {
		t.Fatal(err)
	}
	frozen, err := os.ReadFile("testdata/format-2.json")
	if err != nil {
		t.Fatal(err)
	}
	if text := strings.TrimSpace(string(frozen)); text != string(said) {
		t.Errorf("the file has\n%s\nnot\n%s", text, said)
	}
	var m message
	if err := json.Unmarshal(bytes.Replace(frozen, []byte(`{"kind"`), []byte(`{"later":1,"kind"`), 1), &m); err != nil {
		t.Fatal(err)
	}
	m.sockets = []int{-1, -1}
	got, err := m.session()
	if err != nil {
		t.Fatal(err)
	}
	got.Pair.Client.Conn, got.Pair.Server.Conn = nil, nil
	if !reflect.DeepEqual(got, want) {
		t.Errorf("it is read as\n%+v\nnot\n%+v", got, want)
	}
}
