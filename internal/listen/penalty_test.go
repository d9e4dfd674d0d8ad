package listen_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"usher/internal/imap"
	"usher/internal/limit"
	"usher/internal/penalty"
)

func TestWhoSaysNothingMakesRoomForOthers(t *testing.T) {
	each(t, func(h *house) { h.desk.Limits.Set(limit.Bounds{Connections: 3}) }, func(t *testing.T, h *house) {
		var silent []*visitor
		for i := range 3 {
			v := h.enter(fmt.Sprintf("192.0.2.7:%d", i+1))
			_, _ = v.in.ReadString('\n')
			silent = append(silent, v)
		}
		h.visit() // from elsewhere
		if got := silent[0].rest(); got != h.service.Protocol.Info().Full+"\r\n" {
			t.Errorf("the oldest hears %q", got)
		}
		if log := h.log.String(); !strings.Contains(log, `msg="connection refused"`) || !strings.Contains(log, "remote=192.0.2.7:1 ") || !strings.Contains(log, `why="made room for others"`) {
			t.Errorf("the log says %s", log)
		}
		for _, v := range silent[1:] {
			if err := v.say("a"); err != nil {
				t.Errorf("another had to leave, too: %v", err)
			}
			_ = v.nc.Close()
		}
	})
}

// terms are those of the default configuration.
var terms = penalty.Terms{Step: 2 * time.Second, Most: 50 * time.Second, Waiting: 1000}

// guessing opens a house in which a network is closed for 50 seconds.
func guessing(t *testing.T, play func(t *testing.T, h *house)) {
	each(t, func(h *house) {
		h.desk.Penalties, h.desk.FailureDelay = penalty.New(terms), terms.Step
	}, func(t *testing.T, h *house) {
		for i := range 12 {
			v := h.enter("192.0.2.7:1")
			_, _ = v.in.ReadString('\n')
			h.try(v, fmt.Sprintf("user%d", i), "wrong")
			if got, err := v.in.ReadString('\n'); !strings.Contains(got, "Authentication failed.") {
				t.Fatalf("guess %d is answered with %q %v", i, got, err)
			}
			_ = v.nc.Close()
		}
		play(t, h)
	})
}

// try shows a password, and does not wait for the answer.
func (h *house) try(v *visitor, name, password string) {
	if h.service.Protocol.Info().Name == "imap" {
		_ = v.say(fmt.Sprintf("a LOGIN %s %s\r\n", name, password))
		return
	}
	_ = v.say("USER " + name + "\r\n")
	v.hear("+OK")
	_ = v.say("PASS " + password + "\r\n")
}

func TestWhoGuessesHearsNothingForAWhile(t *testing.T) {
	guessing(t, func(t *testing.T, h *house) {
		h.visit() // others do not notice
		began := time.Now()
		v := h.enter("192.0.2.7:1")
		_, _ = v.in.ReadString('\n')
		h.try(v, "ann", "secret")
		if got, err := v.in.ReadString('\n'); !strings.Contains(got, "OK") {
			t.Errorf("the right password is answered with %q %v", got, err)
		}
		if took := time.Since(began); took < 40*time.Second || took > time.Minute {
			t.Errorf("that took %v", took)
		}
		_ = v.nc.Close()
	})
}

// Who is not even looked at must not hear that the password was wrong: it may be right.
func TestWhoWaitsForTooLongIsSentAway(t *testing.T) {
	guessing(t, func(t *testing.T, h *house) {
		h.desk.Penalties.Set(penalty.Terms{Step: terms.Step, Most: terms.Most})
		v := h.enter("192.0.2.7:1")
		_, _ = v.in.ReadString('\n')
		h.try(v, "ann", "secret")
		want := map[string]string{
			"imap": "a NO [UNAVAILABLE] Too many failed logins, please try again later.\r\n* BYE Too many failed logins.\r\n",
			"pop3": "-ERR [SYS/TEMP] Too many failed logins, please try again later.\r\n-ERR [SYS/TEMP] Too many failed logins.\r\n",
		}[h.service.Protocol.Info().Name]
		if got := v.rest(); got != want {
			t.Errorf("it hears %q", got)
		}
		if log := h.log.String(); !strings.Contains(log, `why="too many failures" user=ann`) || strings.Contains(log, "secret") {
			t.Errorf("the log says %s", log[max(0, len(log)-400):])
		}
	})
}

func TestAStopDoesNotWaitForPenalties(t *testing.T) {
	guessing(t, func(t *testing.T, h *house) {
		v := h.enter("192.0.2.7:1")
		_, _ = v.in.ReadString('\n')
		h.try(v, "ann", "secret")
		synctest.Wait()
		began := time.Now()
		h.stop()
		if got := v.rest(); !strings.Contains(got, "Too many failed logins") || !strings.Contains(got, "going down") || time.Since(began) != 0 {
			t.Errorf("after %v it hears %q", time.Since(began), got)
		}
	})
}

// A connection that waits is one that says nothing.
func TestWhoWaitsForAPenaltyMakesRoomForOthers(t *testing.T) {
	guessing(t, func(t *testing.T, h *house) {
		h.desk.Limits.Set(limit.Bounds{Connections: 2})
		var waiting []*visitor
		for range 2 {
			v := h.enter("192.0.2.7:1")
			_, _ = v.in.ReadString('\n')
			h.try(v, "ann", "secret")
			waiting = append(waiting, v)
		}
		synctest.Wait()
		h.visit()
		if got := waiting[0].rest(); !strings.Contains(got, h.service.Protocol.Info().Full) {
			t.Errorf("it hears %q", got)
		}
		_ = waiting[1].nc.Close()
	})
}

// Nobody pays for a source that is down.
func TestOutagesAreHeldAgainstNobody(t *testing.T) {
	open(t, imap.Protocol{}, func(h *house) {
		h.desk.Penalties, h.desk.FailureDelay = penalty.New(terms), terms.Step
		h.desk.Routes.Backends = nil // a right password, and nowhere to go
	}, func(t *testing.T, h *house) {
		for range 20 {
			v := h.enter("192.0.2.7:1")
			v.hear("* OK")
			began := time.Now()
			h.try(v, "ann", "secret")
			v.hear("a NO [UNAVAILABLE]")
			if time.Since(began) != 0 {
				t.Errorf("that took %v", time.Since(began))
			}
			_ = v.nc.Close()
		}
		if list := h.desk.Penalties.List(); len(list) > 0 {
			t.Errorf("%+v is held", list)
		}
	})
}
