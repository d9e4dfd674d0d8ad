package policy

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	mostReports = 1000 // that wait to be sent
	reporters   = 8
)

// An Outcome is what became of a login.
type Outcome struct {
	Success bool `json:"success"`
	Refused bool `json:"policy_reject"` // by the service itself
	Fail    Fail `json:"fail_type"`
}

// A Fail says why somebody did not get in, in Dovecot's words.
type Fail string

// The words of Dovecot (auth-policy.c) that usher uses: an outage is not reported at
// all, as services that do not know the word for it would take it for a guess.
const (
	FailNone        Fail = ""
	FailCredentials Fail = "credentials"
	FailAccount     Fail = "account"
	FailExpired     Fail = "expired"
	FailDisabled    Fail = "disabled"
	FailPolicy      Fail = "policy"
)

// A report is a login and what became of it.
type report struct {
	Login
	Outcome
}

// reports are sent beside the logins, which do not wait for them.
type reports struct {
	queue  chan report
	ending chan struct{}
	once   sync.Once
	all    sync.WaitGroup // reporters
	lost   rarely
	ctx    context.Context // of the requests; Close ends it
	cancel context.CancelFunc
}

// Report tells the service what became of a login, later. It never waits: when too many
// reports do, this one is lost.
func (s *Service) Report(l Login, o Outcome) {
	if s == nil || !s.set.Report {
		return
	}
	select {
	case s.reports.queue <- report{l, o}:
	default:
		s.miss("too many wait to be sent")
	}
}

// miss says that a report is lost, once a minute.
func (s *Service) miss(why string) {
	if others, ok := s.reports.lost.now(); ok {
		s.set.Log.Warn("the policy service does not hear what became of logins", "url", place(s.set.URL), "err", why, "others", others)
	}
}

func (r *reports) begin(s *Service) {
	if !s.set.Report {
		return
	}
	r.queue, r.ending = make(chan report, mostReports), make(chan struct{})
	r.ctx, r.cancel = context.WithCancel(context.Background())
	for range reporters {
		r.all.Go(func() { r.send(s) })
	}
}

// end has what waits sent, for some time.
func (r *reports) end(most time.Duration) {
	if r.queue == nil {
		return
	}
	r.once.Do(func() { close(r.ending) })
	defer time.AfterFunc(most, r.cancel).Stop()
	r.all.Wait()
	r.cancel()
}

// send is a reporter.
func (r *reports) send(s *Service) {
	for {
		select {
		case one := <-r.queue:
			s.tell(r.ctx, one)
		case <-r.ending:
			r.empty(s)
			return
		}
	}
}

// empty sends what is left.
func (r *reports) empty(s *Service) {
	for {
		select {
		case one := <-r.queue:
			s.tell(r.ctx, one)
		default:
			return
		}
	}
}

// tell sends one. What the service answers has no meaning.
func (s *Service) tell(ctx context.Context, one report) {
	err := s.ask(ctx, "report", one, func(res *http.Response) error {
		_, err := io.Copy(io.Discard, io.LimitReader(res.Body, mostBody)) // so that the connection can be used again
		return err
	})
	if err != nil {
		s.miss(err.Error())
	}
}
