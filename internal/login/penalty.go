package login

import (
	"context"
	"errors"
	"fmt"
	"time"

	"usher/internal/account"
	"usher/internal/penalty"
)

// begin waits out what is held against the client's network or against the name that
// it claims, whole, before anything is looked at. shown is what it shows to prove itself if
// that is the same each time, else "". Only the first question of a mechanism waits.
func (a *Admission) begin(ctx context.Context, name, shown string) (err error) {
	d, c := a.desk, a.client
	if a.begun {
		a.asked = time.Now() // what the client took in between is its own affair
		return nil
	}
	a.begun, a.shown = true, shown
	if network, exempt := d.Limits.Network(c.Remote.Addr()); !exempt {
		a.try, err = d.Penalties.Begin(c.staying(ctx), network, name, func() { _ = c.Conn.Flush() })
	}
	if err != nil {
		c.unwelcome = errors.Is(err, penalty.ErrTooMany)
		return &Refusal{Reason: TooManyFailures, Err: heldBack{name, err}}
	}
	a.asked = time.Now()
	return a.consult(c.staying(ctx), name)
}

// judge says what became of a try. If the password was wrong, it returns when a
// stranger could have been told so at the earliest.
func (a *Admission) judge(err error) (open time.Time) {
	switch {
	case ReasonOf(err) == BadLogin, a.leaves():
		open = a.try.Wrong(a.shown)
	case err == nil || a.who.Proven:
		a.try.Right()
	default: // nobody could tell
		a.try.Void()
	}
	a.shown = ""
	return open
}

// leaves tells whether the client has once more asked for a challenge that cost us a slow
// hash, and not answered it: else such a hash could be had for nothing, again and again.
// Once is for those who find that they cannot answer, and show the password instead.
func (a *Admission) leaves() bool {
	if !a.awaits {
		return false
	}
	a.client.left++
	return a.client.left > 1
}

// heldBack is the error of a try that was not looked at.
type heldBack struct {
	name string
	error
}

func (h heldBack) Error() string { return fmt.Sprintf("the password was not looked at: %v", h.error) }
func (h heldBack) Unwrap() error { return h.error }

// Login is the name, for the log.
func (h heldBack) Login() string { return h.name[:min(len(h.name), account.MaxName)] }
