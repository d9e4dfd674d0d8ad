package relay

import (
	"testing"
	"time"

	"usher/internal/relay/record"
)

// A session that has come from elsewhere, and cannot go on here, has moved bytes there.
func TestASessionThatCannotGoOnKeepsItsNumbers(t *testing.T) {
	e, err := NewEpoll()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	near, _ := unixPair(t)
	back, _ := unixPair(t)
	before := Stats{FromClient: 5, FromServer: 7, Last: time.Now().Add(-time.Hour)}
	ended := make(chan Stats, 1)
	e.Start(Pair{
		ID: 1, Client: Leg{Conn: near, Keys: &record.Keys{}}, Server: Leg{Conn: back}, Before: before,
	}, func(st Stats) { ended <- st })
	st := <-ended
	if st.FromClient != 5 || st.FromServer != 7 || time.Since(st.Last) < 30*time.Minute || st.Ended != ClientFailed {
		t.Errorf("it has ended: %+v", st)
	}
}
