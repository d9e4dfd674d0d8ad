//go:build linux

package main

import (
	"time"

	"usher/bench/internal/contender"
	"usher/bench/internal/load"
)

// calm is how long a contender has after the last login to tidy its memory up.
const calm = 5 * time.Second

// hold starts a contender afresh and gives it more and more idle sessions.
func (m *measurement) hold(k contender.Kind, tls bool) (err error) {
	c, err := m.stage.start(k)
	if err != nil {
		return err
	}
	p := player{c, k.Name}
	defer c.Stop()
	door := p.IMAP
	if tls {
		door = p.IMAPS
	}
	if err := m.touch(door); err != nil {
		return err
	}
	empty, err := m.memory(p, logins(door, m.plan.logins))
	if err != nil {
		return err
	}
	for _, n := range m.plan.idle {
		if k.Most > 0 && n > k.Most {
			progress("%s is spared %d sessions", k.Name, n)
			continue
		}
		progress("%d idle sessions, TLS %v: %s", n, tls, k.Name)
		full, err := m.memory(p, load.Order{Do: load.Hold, Door: door, N: n, Flight: flight})
		if err != nil {
			return err
		}
		m.results.add(idle(tls, n), k.Name, float64(full-empty)/1024/float64(n))
		if err := m.loginsMeanwhile(p, tls, n); err != nil {
			return err
		}
	}
	_, err = m.stage.load.Do(load.Order{Do: load.Release})
	return err
}

// touch has a few sessions held, so that what is made once is made, such as the pages of
// the program that only they need.
func (m *measurement) touch(door load.Door) error {
	if _, err := m.stage.load.Do(load.Order{Do: load.Hold, Door: door, N: 2 * flight, Flight: flight}); err != nil {
		return err
	}
	_, err := m.stage.load.Do(load.Order{Do: load.Release})
	return err
}

// memory is that of a contender some time after an order is obeyed.
func (m *measurement) memory(p player, o load.Order) (int, error) {
	if _, _, err := m.cost(p, o); err != nil {
		return 0, err
	}
	select {
	case <-time.After(calm):
	case <-m.ctx.Done():
		return 0, m.ctx.Err()
	}
	return p.PSS()
}

// loginsMeanwhile measures logins while others are idle.
func (m *measurement) loginsMeanwhile(p player, tls bool, sessions int) error {
	if tls {
		return nil
	}
	for range m.plan.rounds {
		used, _, err := m.cost(p, logins(p.IMAP, m.plan.logins))
		if err != nil {
			return err
		}
		m.note(held(sessions), p, micros(used)/float64(m.plan.logins))
	}
	return nil
}
