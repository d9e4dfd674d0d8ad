package login_test

import (
	"testing"
	"testing/synctest"
	"time"

	"usher/internal/account"
	"usher/internal/login"
	"usher/internal/sasl"
)

// A thinker is a client that thinks before it shows its password.
type thinker struct {
	sasl.Exchange
	thinks time.Duration
}

func (s thinker) Initial(prompt string) ([]byte, error) {
	time.Sleep(s.thinks)
	return s.Exchange.Initial(prompt)
}

// A client that takes its time over AUTHENTICATE neither learns sooner that its
// password is wrong, nor makes others wait longer.
func TestTheClockOfRefusalsStartsWithThePassword(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		s.desk.FailureDelay = 2 * time.Second
		s.verifier(unproven(&account.Account{Name: "ann"}))
		s.refusal = login.Refused("the server", "", "no")
		thinking := thinker{sasl.Given("ann", "x"), 8 * time.Second}
		for _, c := range []struct {
			who  string
			x    sasl.Exchange
			want time.Duration
		}{
			{"the one who thinks", thinking, 10 * time.Second},
			{"the next one", sasl.Given("nobody", "x"), 2 * time.Second},
		} {
			began := time.Now()
			if _, err := s.desk.Admit(t.Context(), s.client, "PLAIN", c.x); login.ReasonOf(err) != login.BadLogin {
				t.Fatalf("%s: %v", c.who, err)
			}
			if took := time.Since(began); !about(took, c.want) {
				t.Errorf("%s is answered after %v, want %v", c.who, took, c.want)
			}
		}
	})
}
