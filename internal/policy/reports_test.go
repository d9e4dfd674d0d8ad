package policy

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestTheServiceHearsWhatBecameOfALogin(t *testing.T) {
	t.Parallel()
	l := listen(t, "whatever")
	s, log := client(t, l.URL)
	s.Report(ann, Outcome{Fail: FailCredentials})
	h := l.next(t)
	if h.Command != "report" || h.Said["login"] != "ann" || h.Said["success"] != false || h.Said["policy_reject"] != false || h.Said["fail_type"] != "credentials" || h.Said["tls"] != true {
		t.Errorf("it hears %+v", h)
	}
	s.Close()
	if log.String() != "" {
		t.Error(log)
	}
}

func TestReportsAreSentBeforeTheEnd(t *testing.T) {
	t.Parallel()
	l := listenWith(t, func(w http.ResponseWriter, _ heard) { time.Sleep(time.Millisecond) })
	s, _ := client(t, l.URL)
	for range 200 {
		s.Report(ann, Outcome{Success: true})
	}
	s.Close()
	if n := len(l.all); n != 200 {
		t.Errorf("of 200 reports %d are sent", n)
	}
}

// Nor does the end of usher.
func TestAServiceThatTakesNoReportsHoldsNoLoginUp(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	l := listenWith(t, func(w http.ResponseWriter, _ heard) { <-hold; _, _ = io.WriteString(w, "ok") })
	defer close(hold) // before the service is closed
	s, log := client(t, l.URL, func(s *Settings) { s.Timeout = time.Second })
	began := time.Now()
	for range 3 * mostReports {
		s.Report(ann, Outcome{Success: true})
	}
	reported := time.Since(began)
	s.Close()
	if took := time.Since(began); reported > 5*time.Second || took > 20*time.Second {
		t.Errorf("3000 reports take %v, with the end %v", reported, took)
	}
	if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "too many wait") {
		t.Errorf("the log says %s", text)
	}
}
