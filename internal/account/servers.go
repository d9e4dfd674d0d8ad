package account

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	probeEvery = time.Second     // how often a server that failed is tried again
	probeTime  = 2 * time.Second // how long that may take
)

// Servers are several servers with the same accounts, or one. They are asked in
// their order; one that fails is left for the next, and not asked again until a
// probe finds it well. Nobody waits twice for a server that is down.
type Servers[S any] struct {
	timeout time.Duration // for a question, over all servers
	probe   func(ctx context.Context, s S) error
	log     *slog.Logger
	list    []*server[S]

	ctx    context.Context
	cancel context.CancelFunc
	probes sync.WaitGroup
}

type server[S any] struct {
	name string
	it   S

	mu    sync.Mutex
	ill   error // nil: it is well
	since time.Time
}

// NewServers returns Servers over list, whose names are for logs and errors. probe
// asks a server whether it is there and can do its work; it must observe ctx, as must
// whatever is given to Do. timeout bounds a question over all servers; a server that
// has not answered in half of it is left for the next.
func NewServers[S any](log *slog.Logger, timeout time.Duration, probe func(context.Context, S) error, names []string, list []S) *Servers[S] {
	s := &Servers[S]{timeout: timeout, probe: probe, log: log}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	for i, it := range list {
		s.list = append(s.list, &server[S]{name: names[i], it: it, since: time.Now()})
	}
	return s
}

// Close ends the probes. What was given to NewServers is the caller's to close.
func (s *Servers[S]) Close() {
	s.cancel()
	s.probes.Wait()
}

// final is an error with which a server has answered.
type final struct{ error }

func (f final) Unwrap() error { return f.error }

// Final marks an error that is a server's answer, and that the next one would give
// too: the question is wrong, or what stands in the place of the answer. The server
// is well.
func Final(err error) error { return final{err} }

// isAnswer tells whether a server is well that gave this.
func isAnswer(err error) bool {
	var f final
	return err == nil || errors.Is(err, ErrUnknown) || errors.Is(err, ErrRefused) || errors.As(err, &f)
}

// Do asks one server after the other until one has answered. If all have failed it
// says so at once, until one is well again.
func (s *Servers[S]) Do(ctx context.Context, ask func(ctx context.Context, name string, it S) error) error {
	ctx, cancel := withTimeout(ctx, s.timeout)
	defer cancel()
	well := s.well()
	if len(well) == 0 {
		if err := s.whyAll(); err != nil {
			return err
		}
		well = s.list // one has just become well
	}
	var errs []error
	for i, one := range well {
		err := s.try(ctx, one, i == len(s.list)-1, ask)
		switch {
		case isAnswer(err):
			return err
		case ctx.Err() != nil && !errors.Is(context.Cause(ctx), errTimeout): // who asked has gone: it is nobody's fault
			return fmt.Errorf("%s: %w", one.name, err)
		}
		errs = append(errs, fmt.Errorf("%s: %w", one.name, err))
		s.failed(one, err)
	}
	return errors.Join(errs...)
}

var errTimeout = errors.New("no answer in time")

func withTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, d, errTimeout)
}

// try asks one server; only the last one may take all the time there is.
func (s *Servers[S]) try(ctx context.Context, one *server[S], last bool, ask func(context.Context, string, S) error) error {
	if !last {
		var cancel context.CancelFunc
		ctx, cancel = withTimeout(ctx, s.timeout/2)
		defer cancel()
	}
	err := ask(ctx, one.name, one.it)
	if err != nil && errors.Is(context.Cause(ctx), errTimeout) && !isAnswer(err) {
		return fmt.Errorf("%w: %w", errTimeout, err)
	}
	return err
}

// well are the servers to ask, in order.
func (s *Servers[S]) well() (list []*server[S]) {
	for _, one := range s.list {
		if one.error() == nil {
			list = append(list, one)
		}
	}
	return list
}

func (one *server[S]) error() error {
	one.mu.Lock()
	defer one.mu.Unlock()
	return one.ill
}

// set notes how a server is, and tells whether that is news.
func (one *server[S]) set(ill error) (news bool) {
	one.mu.Lock()
	defer one.mu.Unlock()
	news = (ill == nil) != (one.ill == nil)
	if news {
		one.since = time.Now()
	}
	one.ill = ill
	return news
}

// whyAll says why nobody can be asked.
func (s *Servers[S]) whyAll() error {
	var errs []error
	for _, one := range s.list {
		one.mu.Lock()
		if one.ill != nil {
			errs = append(errs, fmt.Errorf("%s: down since %s: %w", one.name, one.since.Format(time.TimeOnly), one.ill))
		}
		one.mu.Unlock()
	}
	return errors.Join(errs...)
}

// failed leaves a server out until a probe finds it well.
func (s *Servers[S]) failed(one *server[S], err error) {
	if !one.set(err) || s.ctx.Err() != nil {
		return
	}
	s.log.Error("an account server has failed", "server", one.name, "err", err)
	s.probes.Go(func() { s.nurse(one) })
}

// nurse probes a server until it is well.
func (s *Servers[S]) nurse(one *server[S]) {
	for {
		ctx, cancel := context.WithTimeout(s.ctx, probeTime)
		err := s.probe(ctx, one.it)
		cancel()
		if s.ctx.Err() != nil {
			return
		}
		if one.set(err); err == nil {
			s.log.Info("an account server is well again", "server", one.name)
			return
		}
		select {
		case <-time.After(probeEvery):
		case <-s.ctx.Done():
			return
		}
	}
}

// Each calls f for every server, well or not, one after the other.
func (s *Servers[S]) Each(f func(name string, it S)) {
	for _, one := range s.list {
		f(one.name, one.it)
	}
}

// Health is how a server is.
type Health struct {
	Server string
	Since  time.Time // it is so
	Err    error     // nil: it is well
}

// Health is how each server is.
func (s *Servers[S]) Health() (list []Health) {
	for _, one := range s.list {
		one.mu.Lock()
		list = append(list, Health{one.name, one.since, one.ill})
		one.mu.Unlock()
	}
	return list
}
