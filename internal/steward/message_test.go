package steward

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"usher/internal/relay"
	"usher/internal/relay/record"
)

func said() []*word {
	keys := &record.Keys{Suite: 0x1301, Server: true, In: record.Half{Secret: []byte("in"), Number: 7}, Out: record.Half{Secret: []byte("out"), Number: 8}}
	before := relay.Stats{FromClient: 1, FromServer: 2, Last: time.Unix(5, 6), Ended: relay.Kicked}
	return []*word{
		{kind: kick, id: 1, text: []byte("kicked")},
		{kind: ended, id: 2, n: 3, stats: before, text: []byte("note")},
		{kind: moving, id: 4, text: []byte("note"), pair: relay.Pair{
			ID: 4, Idle: time.Minute, Farewell: "* BYE\r\n", Before: before, MidLine: true,
			Client: relay.Leg{Keys: keys, Ahead: []byte("ahead")}, Server: relay.Leg{Pending: []byte("pending")},
		}},
	}
}

func TestWordsArriveAsTheyWereSaid(t *testing.T) {
	var message []byte
	for _, w := range said() {
		message = w.append(message)
	}
	got, err := parse(message, []int{5, 6})
	if err != nil || len(got) != 3 {
		t.Fatal(got, err)
	}
	for i, w := range said() {
		g := got[i]
		g.fds = nil
		if w.kind == moving && !bytes.Equal(g.pair.Client.Keys.In.Secret, w.pair.Client.Keys.In.Secret) {
			t.Error("another key")
		}
		if !reflect.DeepEqual(&g, w) {
			t.Errorf("word %d is %+v, want %+v", i, g, *w)
		}
	}
	if _, err := parse(message, []int{5}); err == nil {
		t.Error("a socket is missing, and nobody says so")
	}
}

// frozen is one word of each kind, as format 1 has them.
func frozen() []*word {
	secret := func(c byte) []byte { return bytes.Repeat([]byte{c}, 32) }
	pair := func(id uint64) relay.Pair {
		return relay.Pair{
			ID: id, Idle: 30 * time.Minute, Farewell: "* BYE\r\n", MidLine: true,
			Before: relay.Stats{FromClient: 300, FromServer: 70000, Last: time.Unix(1_800_000_000, 5)},
			Client: relay.Leg{Ahead: []byte{23, 3}, Keys: &record.Keys{Suite: 0x1301, Server: true, In: record.Half{Secret: secret(1), Number: 9}, Out: record.Half{Secret: secret(2), Number: 1 << 20}}},
			Server: relay.Leg{Pending: []byte("a1 NOOP\r\n")},
		}
	}
	ending := relay.Stats{FromClient: 1, FromServer: 2, Last: time.Unix(1_800_000_000, 0), Ended: relay.Idled}
	note := []byte("note")
	return []*word{
		{kind: hello, n: 1},
		{kind: lead},
		{kind: list, n: 3},
		{kind: start, id: 7, text: note, pair: pair(7)},
		{kind: kick, id: 7, text: []byte("kicked")},
		{kind: release, id: 7},
		{kind: heard, n: 200},
		{kind: retire},
		{kind: welcome, n: 1, id: 4711, text: []byte("1.2.3"), stats: relay.Stats{FromClient: 8000}},
		{kind: have, id: 7, text: note},
		{kind: listed, n: 3},
		{kind: ended, n: 5, id: 7, text: note, stats: ending},
		{kind: forgotten, n: 9},
		{kind: gone, id: 7},
		{kind: superseded},
		{kind: released, id: 7, text: note, pair: pair(7)},
		{kind: kept, id: 7},
		{kind: retiring, n: 1},
		{kind: leaving},
		{kind: heritage, n: 1},
		{kind: moving, id: 7, text: note, pair: pair(7)},
		{kind: adopted, id: 7},
	}
}

// A steward is mostly older than its usher: what one has said the other must understand.
// Lines of the file may be added, never changed.
func TestWordsAreWhatTheyWere(t *testing.T) {
	text, err := os.ReadFile("testdata/format-1.txt")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	for i, want := range frozen() {
		said := fmt.Sprintf("%d %x", want.kind, want.append(nil))
		if i >= len(lines) || lines[i] != said {
			t.Errorf("line %d of the file is not: %s", i+1, said)
			continue
		}
		var b []byte
		_, _ = fmt.Sscanf(lines[i], "%d %x", new(int), &b)
		later := append(b, "what a later version adds"...)
		binary.BigEndian.PutUint32(later, uint32(len(later)-4))
		unknown := append([]byte{0, 0, 0, 11, 99}, make([]byte, 10)...)
		got, err := parse(append(later, unknown...), make([]int, want.kind.sockets()))
		if err != nil || len(got) != 2 {
			t.Errorf("%s: %v", lines[i], err)
			continue
		}
		if got[0].fds = nil; !reflect.DeepEqual(&got[0], want) {
			t.Errorf("%s is read as %+v", lines[i], got[0])
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, w := range said() {
		f.Add(w.append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		words, err := parse(b, []int{3, 4})
		if err != nil && words != nil {
			t.Error("words in spite of an error")
		}
	})
}
