package relay

import (
	"io"
	"testing"
	"time"
)

// The backend has said more, which has come and is not yet passed on, when the pair is
// kicked: a goodbye would stand between lines for us and within an answer for the client.
func TestNoGoodbyeIsSaidWhileTheBackendHasMoreToSay(t *testing.T) {
	e, err := NewEpoll()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	cl, craw, _ := newLeg(t, 0, true, nil)
	sl, sraw, _ := newLeg(t, 0, false, nil)
	ended := make(chan Stats, 1)
	e.Start(Pair{ID: 1, Client: cl, Server: sl, Farewell: "* BYE\r\n"}, func(s Stats) { ended <- s })
	sraw.Write([]byte("* 1 EXISTS\r\n"))
	if _, err := io.ReadFull(craw, make([]byte, 12)); err != nil {
		t.Fatal(err)
	}
	l := e.loop(1)
	l.tell(func() { // the loop hears nothing while it does this
		pr := l.pair(1)
		sraw.Write([]byte("* 1 FETCH (BODY[] {9}\r\n"))
		for end := time.Now().Add(time.Second); !pr.legs[server].waiting() && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		pr.dismiss(Kicked)
	})
	<-ended
	if heard, _ := io.ReadAll(craw); len(heard) > 0 {
		t.Errorf("the client heard %q", heard)
	}
}
