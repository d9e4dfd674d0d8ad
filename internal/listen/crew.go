package listen

import (
	"sync"
	"sync/atomic"
)

// resting is how many goroutines wait for the next client at most.
const resting = 32

// A crew runs functions, each on a goroutine of its own. A few that are done stay
// for the next: their stacks have grown already, which costs a tenth of a login.
type crew struct {
	jobs chan func()
	over chan struct{} // closed when no more come
	idle atomic.Int32
	all  sync.WaitGroup
}

func newCrew() *crew { return &crew{jobs: make(chan func()), over: make(chan struct{})} }

// do has somebody run a function, and does not wait for it.
func (c *crew) do(job func()) {
	select {
	case c.jobs <- job:
	default:
		c.all.Go(func() { c.work(job) })
	}
}

// work is the goroutine of one.
func (c *crew) work(job func()) {
	for {
		job()
		if c.idle.Add(1) > resting {
			c.idle.Add(-1)
			return
		}
		select {
		case job = <-c.jobs:
			c.idle.Add(-1)
		case <-c.over:
			return
		}
	}
}

// wait returns when all have done what they were given. Nothing more is given.
func (c *crew) wait() {
	close(c.over)
	c.all.Wait()
}
