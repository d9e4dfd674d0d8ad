//go:build linux

package main

import (
	"errors"
	"time"

	"usher/bench/internal/contender"
	"usher/bench/internal/load"
)

// talking is how long a few sessions talk while all move.
const talking = 8 * time.Second

// upgrade has usher replaced by itself while so many sessions are idle, half of them under
// TLS, and measures how long it takes until all have moved, and for how long one that
// talks waits for an answer at most.
func (m *measurement) upgrade(k contender.Kind, sessions int) error {
	c, err := m.stage.start(k)
	if err != nil {
		return err
	}
	defer c.Stop()
	progress("%d sessions move: %s", sessions, k.Name)
	for _, o := range []load.Order{
		{Do: load.Hold, Door: c.IMAP, N: sessions / 2, Flight: flight},
		{Do: load.Hold, Door: c.IMAPS, N: sessions, Flight: flight},
	} {
		if _, err := m.stage.load.Do(o); err != nil {
			return err
		}
	}
	var took time.Duration
	replaced := make(chan error, 1)
	time.AfterFunc(talking/4, func() {
		var err error
		took, err = c.Upgrade()
		replaced <- err
	})
	r, err := m.stage.load.Do(load.Order{Do: load.Talk, Door: c.IMAPS, N: int(talking / time.Millisecond), Flight: flight})
	if err := errors.Join(err, <-replaced); err != nil {
		return err
	}
	m.results.add(moved, k.Name, took.Seconds())
	m.results.add(paused, k.Name, float64(r.Slow)/float64(time.Millisecond))
	_, err = m.stage.load.Do(load.Order{Do: load.Release})
	return err
}
