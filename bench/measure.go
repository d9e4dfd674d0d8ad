//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"usher/bench/internal/contender"
	"usher/bench/internal/load"
)

// A figure names something that is measured.
type figure string

// What is measured; those of durations are for people, those of costs count.
const (
	loginIMAP  figure = "login imap"
	loginPOP3  figure = "login pop3"
	loginIMAPS figure = "login imaps"
	trip       figure = "trip"
	bulkPlain  figure = "bulk"
	bulkTLS    figure = "bulk tls"

	rateIMAP  figure = "rate imap"
	slowIMAP  figure = "slow imap"
	moved     figure = "moved"
	paused    figure = "paused"
	rateIMAPS figure = "rate imaps"
	tripTakes figure = "trip takes"
)

// idle is memory for each of n idle sessions, held what a login costs while they
// are there.
func idle(tls bool, n int) figure { return figure(fmt.Sprint("idle ", tls, n)) }
func held(n int) figure           { return figure(fmt.Sprint("held ", n)) }

// results are all values of each figure, by contender.
type results map[figure]map[string][]float64

func (r results) add(f figure, name string, value float64) {
	if r[f] == nil {
		r[f] = map[string][]float64{}
	}
	r[f][name] = append(r[f][name], value)
}

// median is false if there is none.
func (r results) median(f figure, name string) (float64, bool) {
	v := slices.Sorted(slices.Values(r[f][name]))
	switch n := len(v); {
	case n == 0:
		return 0, false
	case n%2 == 0:
		return (v[n/2-1] + v[n/2]) / 2, true
	default:
		return v[n/2], true
	}
}

// A measurement is one run of the program.
type measurement struct {
	ctx     context.Context
	plan    plan
	stage   *stage
	kinds   []contender.Kind
	results results
	tls     string // as negotiated
}

func (m *measurement) all() error {
	if err := m.rounds(); err != nil {
		return err
	}
	for _, k := range m.kinds {
		if k.Name == "bare" {
			continue
		}
		for _, tls := range []bool{false, true} {
			if err := m.hold(k, tls); err != nil {
				return fmt.Errorf("%s: %w", k.Name, err)
			}
		}
		if k.Name != "usher" || len(m.plan.idle) == 0 {
			continue
		}
		if err := m.upgrade(k, m.plan.idle[len(m.plan.idle)-1]); err != nil {
			return fmt.Errorf("an upgrade of %s: %w", k.Name, err)
		}
	}
	return nil
}

// A player is a contender that runs.
type player struct {
	*contender.Contender
	name string
}

// rounds lets all contenders run at a time and loads them in turn: what the
// machine does besides hits all alike.
func (m *measurement) rounds() error {
	var players []player
	defer func() {
		for _, p := range players {
			p.Stop()
		}
	}()
	for _, k := range m.kinds {
		c, err := m.stage.start(k)
		if err != nil {
			return err
		}
		players = append(players, player{c, k.Name})
	}
	for round := range m.plan.rounds + 1 {
		for _, p := range players {
			if err := m.round(p, round); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
	}
	return nil
}

// round is all that is measured of one contender, once. Round 0 warms up.
func (m *measurement) round(p player, round int) error {
	if round == 0 {
		_, _, err := m.cost(p, logins(p.IMAP, 500))
		return err
	}
	progress("round %d of %d: %s", round, m.plan.rounds, p.name)
	steps := []func(player) error{m.logins, m.trips, m.bulk}
	for _, step := range steps {
		if err := step(p); err != nil {
			return err
		}
	}
	return nil
}

// cost is what the contender uses until an order is obeyed and all is at rest.
func (m *measurement) cost(p player, o load.Order) (time.Duration, load.Result, error) {
	if err := m.ctx.Err(); err != nil {
		return 0, load.Result{}, err
	}
	before, err := p.CPU()
	if err != nil {
		return 0, load.Result{}, err
	}
	r, err := m.stage.load.Do(o)
	if err != nil {
		return 0, r, err
	}
	if err := p.Rest(); err != nil {
		return 0, r, err
	}
	after, err := p.CPU()
	return after - before, r, err
}

func (m *measurement) logins(p player) error {
	for _, x := range []struct {
		door       load.Door
		n          int
		cost, rate figure
	}{
		{p.IMAP, m.plan.logins, loginIMAP, rateIMAP},
		{p.POP3, m.plan.logins, loginPOP3, ""},
		{p.IMAPS, m.plan.logins / 4, loginIMAPS, rateIMAPS},
	} {
		if x.door.Addr == "" {
			continue
		}
		used, r, err := m.cost(p, logins(x.door, x.n))
		if err != nil {
			return err
		}
		m.note(x.cost, p, micros(used)/float64(x.n))
		if x.door.TLS && m.tls == "" {
			m.tls = r.TLS
		}
		if x.rate != "" {
			m.results.add(x.rate, p.name, float64(x.n)/r.Took.Seconds())
		}
		if x.cost == loginIMAP {
			m.results.add(slowIMAP, p.name, micros(r.Slow))
		}
	}
	return nil
}

func (m *measurement) trips(p player) error {
	n := m.plan.trips
	used, r, err := m.cost(p, load.Order{Do: load.RoundTrip, Door: p.IMAP, N: n})
	if err != nil {
		return err
	}
	m.note(trip, p, micros(used)/float64(n))
	m.results.add(tripTakes, p.name, micros(r.Middle))
	return nil
}

func (m *measurement) bulk(p player) error {
	for f, door := range map[figure]load.Door{bulkPlain: p.IMAP, bulkTLS: p.IMAPS} {
		if door.Addr == "" {
			continue
		}
		used, _, err := m.cost(p, load.Order{Do: load.Fetch, Door: door, N: m.plan.bulk})
		if err != nil {
			return err
		}
		m.note(f, p, used.Seconds()*1e9/float64(m.plan.bulk))
	}
	return nil
}

// note keeps a cost. Nobody bears those of the bare connection.
func (m *measurement) note(f figure, p player, value float64) {
	if p.name != "bare" {
		m.results.add(f, p.name, value)
	}
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func progress(format string, args ...any) {
	fmt.Println(time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}
