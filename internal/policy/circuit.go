package policy

import (
	"errors"
	"sync"
	"time"
)

const (
	patience = 3                // questions in a row without any answer, after which a service is left alone
	rest     = 10 * time.Second // … for so long; then one asks for all
	quietFor = time.Minute      // after a line in the log
)

var errLeftAlone = errors.New("it has not answered before, and is left alone for a while")

// A circuit keeps an outage from costing each login its time. Only silence counts: else
// whoever finds a name on which the service chokes could switch it off.
type circuit struct {
	mu     sync.Mutex
	faults int       // in a row
	until  time.Time // nobody asks
}

// closed tells whether to ask.
func (c *circuit) closed(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.faults < patience:
		return true
	case now.Before(c.until):
		return false
	}
	c.until = now.Add(rest) // the others wait for what becomes of this one
	return true
}

func (c *circuit) fault(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults++
	c.until = now.Add(rest)
}

func (c *circuit) answered() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = 0
}

// rarely is for what may be said once a minute. The zero value is ready.
type rarely struct {
	mu     sync.Mutex
	silent int
	said   time.Time
}

// now tells whether to say it now, and for how many others that stands.
func (r *rarely) now() (others int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.said.IsZero() && time.Since(r.said) < quietFor {
		r.silent++
		return 0, false
	}
	others, r.silent, r.said = r.silent, 0, time.Now()
	return others, true
}
