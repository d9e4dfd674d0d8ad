package login

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"usher/internal/limit"
	"usher/internal/relay"
	"usher/internal/session"
)

// An absent relay has a session only some time after it is asked about it.
type absent struct {
	relay.Engine
	mu   sync.Mutex
	from time.Time
	why  []relay.Ending
}

// tried are the reasons for which sessions were to be ended so far.
func (a *absent) tried() []relay.Ending {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.why
}

func (a *absent) Kick(_ uint64, why relay.Ending) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.why = append(a.why, why)
	return time.Now().After(a.from)
}

func TestASessionEndsWhenItsTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &absent{}
		var e expiries
		e.add(1, time.Now().Add(time.Hour), a)
		e.add(2, time.Time{}, a)
		defer e.remove(1)
		defer e.remove(2)
		time.Sleep(59 * time.Minute)
		if len(a.tried()) > 0 {
			t.Error("it ends too early")
		}
		time.Sleep(2 * time.Hour)
		if len(a.tried()) != 1 || a.tried()[0] != relay.Expired {
			t.Errorf("it was ended for %q", a.tried())
		}
	})
}

// It may be on its way to another process, and come back.
func TestASessionThatIsInNoRelayIsEndedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &absent{from: time.Now().Add(5500 * time.Millisecond)}
		var e expiries
		e.add(1, time.Now().Add(-time.Second), a)
		time.Sleep(time.Hour)
		if len(a.tried()) != 7 {
			t.Errorf("it was tried %d times", len(a.tried()))
		}
		e.remove(1)
		never := &absent{from: time.Now().Add(24 * time.Hour)}
		e.add(1, time.Now(), never)
		time.Sleep(time.Millisecond)
		e.remove(1)
		time.Sleep(time.Hour)
		if len(never.tried()) != 1 {
			t.Errorf("after its end it was tried %d times", len(never.tried()))
		}
	})
}

// Another process that has only the note of a session knows how long its token holds.
func TestASessionEndsWhenItsTimeIsOverWhoeverServesThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := session.Session{ID: 7, Account: "ann", Protocol: "imap", Until: time.Now().Add(time.Hour)}
		found, err := session.FromNote(7, one.Note())
		if err != nil {
			t.Fatal(err)
		}
		a := &absent{}
		d := &Desk{Relay: a, Limits: &limit.Limits{}, Sessions: &session.Registry{}}
		ended := d.Resume(found)
		defer func() { ended(relay.Stats{ID: 7, Ended: relay.Moved}) }()
		time.Sleep(59 * time.Minute)
		if len(a.tried()) > 0 {
			t.Error("it ends too early")
		}
		time.Sleep(2 * time.Minute)
		if len(a.tried()) != 1 || a.tried()[0] != relay.Expired {
			t.Errorf("it was ended for %q", a.tried())
		}
	})
}
