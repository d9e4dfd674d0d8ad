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

func (a api) status(q question) (any, error) {
	answer := Status{Processes: []Process{a.Daemon.Process()}}
	answers, missing := others(a, q, (*Client).Status)
	for _, other := range answers {
		answer.Processes = append(answer.Processes, other.Processes...)
	}
	answer.Missing = missing
	return answer, nil
}

func (a api) sessions(q question) (any, error) {
	who, err := selector(q.query)
	if err != nil {
		return nil, malformed(err)
	}
	answer := Listing{Sessions: append([]Session{}, a.Daemon.Sessions(who)...)}
	answers, missing := others(a, q, func(c *Client, ctx context.Context) (Listing, error) { return c.Sessions(ctx, who) })
	for _, other := range answers {
		answer.Sessions = append(answer.Sessions, other.Sessions...)
	}
	slices.SortFunc(answer.Sessions, func(a, b Session) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID))
	})
	// One that moves to another process right now may be seen in both.
	answer.Sessions = slices.CompactFunc(answer.Sessions, func(a, b Session) bool { return a.ID == b.ID })
	answer.Missing = missing
	return answer, nil
}

func (a api) kick(q question) (any, error) {
	var who Selector
	if err := q.into(&who); err != nil {
		return nil, err
	}
	if who == (Selector{}) {
		return nil, malformed(errEverybody)
	}
	answer := Kicked{Kicked: a.Daemon.Kick(who)}
	answers, missing := others(a, q, func(c *Client, ctx context.Context) (Kicked, error) { return c.Kick(ctx, who) })
	for _, other := range answers {
		answer.Kicked += other.Kicked
	}
	answer.Missing = missing
	return answer, nil
}

// flush is the body of POST /v1/flush.
type flush struct {
	User *string `json:"user,omitempty"` // nil: everybody
}

func newFlush(user string) flush {
	if user == "" {
		return flush{}
	}
	return flush{&user}
}

// user is "" for everybody. That nobody gets by an empty variable.
func (f flush) user() (string, error) {
	switch {
	case f.User == nil:
		return "", nil
	case *f.User == "":
		return "", malformed(errors.New("user cannot be empty; leave it out to flush everybody"))
	case len(*f.User) > maxPattern:
		return "", malformed(fmt.Errorf("user has %d bytes, more than any name", len(*f.User)))
	}
	return *f.User, nil
}

func (a api) flush(q question) (any, error) {
	if len(q.query) > 0 { // else ?user=ann would mean everybody
		return nil, malformed(errors.New("the user of a flush stands in the body, as JSON"))
	}
	var f flush
	if err := q.into(&f); err != nil {
		return nil, err
	}
	user, err := f.user()
	if err != nil {
		return nil, err
	}
	answer := Flushed{Flushed: a.Daemon.Flush(user)}
	answers, missing := others(a, q, func(c *Client, ctx context.Context) (Flushed, error) { return c.Flush(ctx, user) })
	for _, other := range answers {
		answer.Flushed += other.Flushed
	}
	answer.Missing = missing
	return answer, nil
}

func (a api) reload(q question) (any, error) {
	if err := a.Daemon.Reload(context.WithoutCancel(q.ctx)); err != nil {
		return nil, failure{http.StatusUnprocessableEntity, err}
	}
	return struct{}{}, nil
}

func (a api) upgrade(q question) (any, error) {
	pid, err := a.Daemon.Upgrade(context.WithoutCancel(q.ctx))
	return Upgraded{pid}, err
}

// stop is the body of POST /v1/stop.
type stop struct {
	Drain *string `json:"drain,omitempty"` // as time.ParseDuration reads it
}

func newStop(drain time.Duration) stop {
	if drain < 0 {
		return stop{}
	}
	text := drain.String()
	return stop{&text}
}

// duration is negative for the configured grace.
func (s stop) duration() (time.Duration, error) {
	if s.Drain == nil {
		return -1, nil
	}
	d, err := time.ParseDuration(*s.Drain)
	if err != nil {
		return 0, malformed(fmt.Errorf("drain %.40q is not a duration such as 10m", *s.Drain))
	}
	if d < 0 {
		return 0, malformed(errors.New("drain cannot be negative"))
	}
	return d, nil
}

// stop asks the others first: we may be gone soon.
func (a api) stop(q question) (any, error) {
	var s stop
	if err := q.into(&s); err != nil {
		return nil, err
	}
	drain, err := s.duration()
	if err != nil {
		return nil, err
	}
	answers, missing := others(a, q, func(c *Client, ctx context.Context) (Stopped, error) { return c.Stop(ctx, drain) })
	answer := Stopped{PIDs: []int{a.pid}, Missing: missing}
	for _, other := range answers {
		answer.PIDs = append(answer.PIDs, other.PIDs...)
	}
	a.Daemon.Stop(drain)
	return answer, nil
}
