package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"time"
)

// A Watch says whose conversations before login are to be traced: those of a user or
// of a network.
type Watch struct {
	User     string `json:"user,omitempty"`     // a name, or a pattern with * and ?
	Network  string `json:"network,omitempty"`  // or an address
	Protocol string `json:"protocol,omitempty"` // "": all
	For      string `json:"for"`                // as time.ParseDuration reads it
}

// A Trace is one that is on. The names in JSON are a contract.
type Trace struct {
	ID            string    `json:"id"`
	User          string    `json:"user,omitempty"`
	Network       string    `json:"network,omitempty"`
	Protocol      string    `json:"protocol,omitempty"`
	Until         time.Time `json:"until"`
	Folder        string    `json:"folder"` // has a file for each conversation
	Conversations int       `json:"conversations"`
	Bytes         int       `json:"bytes"`
	PID           int       `json:"pid"`
}

// A Watching is the answer to GET /v1/traces.
type Watching struct {
	Traces []Trace `json:"traces"` // those that end first come first
	Missing
}

// An Untrace says which traces end: one of its fields is set.
type Untrace struct {
	ID  string `json:"id,omitempty"`
	All bool   `json:"all,omitempty"`
}

// An Untraced is the answer to POST /v1/untrace.
type Untraced struct {
	Ended int `json:"ended"`
	Missing
}

func (w Watch) check() error {
	switch {
	case (w.User == "") == (w.Network == ""):
		return errors.New("a trace needs a user or a network, and only one of them")
	case len(w.User) > maxPattern || len(w.Network) > maxPattern:
		return fmt.Errorf("what is to be traced has more than %d characters; no name has", maxPattern)
	case w.Network == "":
		return nil
	}
	_, addrErr := netip.ParseAddr(w.Network)
	if _, err := netip.ParsePrefix(w.Network); err != nil && addrErr != nil {
		return fmt.Errorf("%.80q is neither an address nor a network", w.Network)
	}
	return nil
}

// Trace begins a trace, in the process that takes new clients.
func (c *Client) Trace(ctx context.Context, w Watch) (t Trace, err error) {
	err = c.ask(ctx, http.MethodPost, "trace", nil, w, &t)
	return t, err
}

// Traces asks which traces are on, in all processes.
func (c *Client) Traces(ctx context.Context) (a Watching, err error) {
	err = c.ask(ctx, http.MethodGet, "traces", nil, nil, &a)
	return a, err
}

// Untrace ends traces, in all processes.
func (c *Client) Untrace(ctx context.Context, which Untrace) (a Untraced, err error) {
	err = c.ask(ctx, http.MethodPost, "untrace", nil, which, &a)
	return a, err
}

func (a api) trace(q question) (any, error) {
	var w Watch
	if err := q.into(&w); err != nil {
		return nil, err
	}
	if err := w.check(); err != nil {
		return nil, malformed(err)
	}
	length, err := time.ParseDuration(w.For)
	if err != nil {
		return nil, malformed(fmt.Errorf("for %.40q is not a duration such as 10m", w.For))
	}
	return a.Daemon.Trace(w, length)
}

func (a api) traces(q question) (any, error) {
	answer := Watching{Traces: append([]Trace{}, a.Daemon.Traces()...)}
	answers, missing := others(a, q, (*Client).Traces)
	for _, other := range answers {
		answer.Traces = append(answer.Traces, other.Traces...)
	}
	slices.SortStableFunc(answer.Traces, func(a, b Trace) int { return cmp.Or(a.Until.Compare(b.Until), cmp.Compare(a.ID, b.ID)) })
	answer.Missing = missing
	return answer, nil
}

func (a api) untrace(q question) (any, error) {
	var which Untrace
	if err := q.into(&which); err != nil {
		return nil, err
	}
	if (which.ID != "") == which.All {
		return nil, malformed(errors.New("which trace ends? id of one, or all, and only one of them"))
	}
	answer := Untraced{Ended: a.Daemon.Untrace(which)}
	answers, missing := others(a, q, func(c *Client, ctx context.Context) (Untraced, error) { return c.Untrace(ctx, which) })
	for _, other := range answers {
		answer.Ended += other.Ended
	}
	answer.Missing = missing
	return answer, nil
}
