package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// A Penalty is what one process holds against a network, or against a name that was
// guessed about. The names in JSON are a contract.
type Penalty struct {
	Network string    `json:"network,omitempty"` // "192.0.2.7/32"; "": it is about a name
	User    string    `json:"user,omitempty"`
	Guesses int       `json:"guesses"` // that are not forgotten yet
	Friends int       `json:"friends"` // users that have logged in from the network
	Waiting int       `json:"waiting"` // tries from there that wait
	Until   time.Time `json:"until"`   // strangers may not try before
	PID     int       `json:"pid"`
}

// A Grudge is the answer to GET /v1/penalties.
type Grudge struct {
	Penalties []Penalty `json:"penalties"` // the most guesses first
	Missing
}

// A Pardon says who is forgiven: one of its fields is set.
type Pardon struct {
	Network string `json:"network,omitempty"` // an address, or a network with all that are in it
	User    string `json:"user,omitempty"`
	All     bool   `json:"all,omitempty"`
}

// A Forgiven is the answer to POST /v1/forgive.
type Forgiven struct {
	Forgiven int `json:"forgiven"` // networks and names
	Missing
}

func (p Pardon) check() error {
	given := 0
	for _, is := range []bool{p.Network != "", p.User != "", p.All} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return errors.New("a pardon needs a network, a user or all, and only one of them")
	case len(p.Network) > maxPattern || len(p.User) > maxPattern:
		return fmt.Errorf("what is forgiven has more than %d characters; no name has", maxPattern)
	}
	return nil
}

// Penalties asks what is held against anybody, by all processes.
func (c *Client) Penalties(ctx context.Context) (a Grudge, err error) {
	err = c.ask(ctx, http.MethodGet, "penalties", nil, nil, &a)
	return a, err
}

// Forgive has all processes forget guesses.
func (c *Client) Forgive(ctx context.Context, whom Pardon) (a Forgiven, err error) {
	err = c.ask(ctx, http.MethodPost, "forgive", nil, whom, &a)
	return a, err
}

func (a api) penalties(q question) (any, error) {
	answer := Grudge{Penalties: append([]Penalty{}, a.Daemon.Penalties()...)}
	answers, missing := others(a, q, (*Client).Penalties)
	for _, other := range answers {
		answer.Penalties = append(answer.Penalties, other.Penalties...)
	}
	slices.SortStableFunc(answer.Penalties, func(a, b Penalty) int { return cmp.Compare(b.Guesses, a.Guesses) })
	answer.Missing = missing
	return answer, nil
}

func (a api) forgive(q question) (any, error) {
	var whom Pardon
	if err := q.into(&whom); err != nil {
		return nil, err
	}
	if err := whom.check(); err != nil {
		return nil, malformed(err)
	}
	n, err := a.Daemon.Forgive(whom)
	if err != nil {
		return nil, malformed(err)
	}
	answer := Forgiven{Forgiven: n}
	answers, missing := others(a, q, func(c *Client, ctx context.Context) (Forgiven, error) { return c.Forgive(ctx, whom) })
	for _, other := range answers {
		answer.Forgiven += other.Forgiven
	}
	answer.Missing = missing
	return answer, nil
}
