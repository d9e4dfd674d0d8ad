package load

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A load holds the sessions that are idle.
type load struct {
	idle []*client
	next atomic.Int64 // user
}

func (l *load) obey(o Order) (r Result) {
	began := time.Now()
	var err error
	switch o.Do {
	case Login:
		err = l.login(o, &r)
	case Hold:
		err = l.hold(o)
	case Release:
		err = l.release()
	case Fetch:
		err = l.fetch(o)
	case RoundTrip:
		err = l.roundTrip(o, &r)
	case Talk:
		err = l.talk(o, &r)
	default:
		err = fmt.Errorf("no such order")
	}
	r.Took = time.Since(began)
	if err != nil {
		r.Error = err.Error()
	}
	return r
}

// login is a closed loop: who has left makes room for the next.
func (l *load) login(o Order, r *Result) error {
	took := make([]time.Duration, o.N)
	err := l.each(o.N, o.Flight, func(i int) error {
		began := time.Now()
		c, err := enter(o.Door, l.user())
		if err != nil {
			return err
		}
		took[i] = time.Since(began)
		if i == 0 {
			r.TLS = c.negotiated()
		}
		return c.leave()
	})
	r.count(took)
	return err
}

// each does something n times, so many at a time, and returns the first error.
func (l *load) each(n, flight int, do func(i int) error) error {
	errs := make([]error, flight)
	var next atomic.Int64
	var wg sync.WaitGroup
	for f := range flight {
		wg.Go(func() {
			for errs[f] == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				errs[f] = do(i)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// user goes through all accounts again and again, so that none has many sessions.
func (l *load) user() string { return User(int(l.next.Add(1))) }

// breath is as much as fits into a record of TLS. Each side of a session says so much
// at once before it is idle.
const breath = 16 << 10

func (l *load) hold(o Order) error {
	var mu sync.Mutex
	return l.each(o.N-len(l.idle), o.Flight, func(int) error {
		c, err := enter(o.Door, l.user())
		if err != nil {
			return err
		}
		if err := errors.Join(c.fetch(breath), c.append(breath), c.idle()); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		l.idle = append(l.idle, c)
		return nil
	})
}

// release checks that every session was there until the end.
func (l *load) release() (err error) {
	for _, c := range l.idle {
		if e := c.wake(); e != nil && err == nil {
			err = fmt.Errorf("a held session: %w", e)
		}
		_ = c.Close()
	}
	l.idle = nil
	return err
}

// message is how much one FETCH brings.
const message = 64 << 20

func (l *load) fetch(o Order) error {
	c, err := enter(o.Door, l.user())
	if err != nil {
		return err
	}
	for left := o.N; left > 0 && err == nil; left -= message {
		err = c.fetch(min(left, message))
	}
	if err != nil {
		_ = c.Close()
		return err
	}
	return c.leave()
}

func (l *load) roundTrip(o Order, r *Result) error {
	c, err := enter(o.Door, l.user())
	if err != nil {
		return err
	}
	took := make([]time.Duration, o.N)
	for i := range took {
		began := time.Now()
		if err := c.exchange(c.noop); err != nil {
			_ = c.Close()
			return err
		}
		took[i] = time.Since(began)
	}
	r.count(took)
	return c.leave()
}

// talk has a few sessions ask again and again, as people do while something happens.
func (l *load) talk(o Order, r *Result) error {
	took := make([][]time.Duration, o.Flight)
	err := l.each(o.Flight, o.Flight, func(i int) error {
		c, err := enter(o.Door, l.user())
		if err != nil {
			return err
		}
		for end := time.Now().Add(time.Duration(o.N) * time.Millisecond); time.Now().Before(end); time.Sleep(time.Millisecond) {
			began := time.Now()
			if err := c.exchange(c.noop); err != nil {
				_ = c.Close()
				return err
			}
			took[i] = append(took[i], time.Since(began))
		}
		return c.leave()
	})
	all := slices.Concat(took...)
	if err == nil && len(all) > 0 {
		r.count(all)
		r.Slow = all[len(all)-1]
	}
	return err
}

func (r *Result) count(took []time.Duration) {
	slices.Sort(took)
	r.Middle, r.Slow = took[len(took)/2], took[len(took)*99/100]
}
