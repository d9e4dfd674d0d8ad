package steward

import (
	"bytes"
	"reflect"
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
