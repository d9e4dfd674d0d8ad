package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// api is what can be asked over HTTP:
//
//	GET  /v1/status
//	GET  /v1/sessions?user=&session=&backend=
//	POST /v1/kick      a Selector, not empty
//	GET  /v1/penalties
//	POST /v1/forgive   a Pardon
//	POST /v1/trace     a Watch
//	GET  /v1/traces
//	POST /v1/untrace   an Untrace
//	POST /v1/explain   a Riddle
//	POST /v1/flush     {"user": "ann@example.org"}; without user, everybody
//	POST /v1/reload
//	POST /v1/upgrade
//	POST /v1/stop      {"drain": "10m"}; without drain, the configured grace
//
// With own=1 in the query only the process that is asked answers and acts. An
// answer other than 200 is {"error": "..."}.
type api struct{ *Server }

// problem is the answer no.
type problem struct {
	Error string `json:"error"`
}

func (a api) endpoint(path string) (method string, do func(question) (any, error)) {
	switch path {
	case "/v1/status":
		return http.MethodGet, a.status
	case "/v1/sessions":
		return http.MethodGet, a.sessions
	case "/v1/kick":
		return http.MethodPost, a.kick
	case "/v1/penalties":
		return http.MethodGet, a.penalties
	case "/v1/forgive":
		return http.MethodPost, a.forgive
	case "/v1/trace":
		return http.MethodPost, a.trace
	case "/v1/traces":
		return http.MethodGet, a.traces
	case "/v1/untrace":
		return http.MethodPost, a.untrace
	case explainPath:
		return http.MethodPost, a.explain
	case "/v1/flush":
		return http.MethodPost, a.flush
	case "/v1/reload":
		return http.MethodPost, a.reload
	case "/v1/upgrade":
		return http.MethodPost, a.upgrade
	case "/v1/stop":
		return http.MethodPost, a.stop
	}
	return "", nil
}

// ServeHTTP implements http.Handler.
func (a api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer, err := a.answer(w, r)
	status := http.StatusOK
	if err != nil {
		status = http.StatusInternalServerError
		if f, ok := errors.AsType[failure](err); ok {
			status = f.status
		}
		answer = problem{err.Error()}
	}
	text, err := json.Marshal(answer)
	if err != nil {
		panic(fmt.Sprintf("admin: cannot write %T as JSON: %v", answer, err))
	}
	w.Header().Set("Content-Type", "application/json")
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTime))
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // who does not listen is gone
}

func (a api) answer(w http.ResponseWriter, r *http.Request) (any, error) {
	method, do := a.endpoint(r.URL.Path)
	switch {
	case do == nil:
		return nil, failure{http.StatusNotFound, fmt.Errorf("there is no %.80q", r.URL.Path)}
	case r.Method != method:
		w.Header().Set("Allow", method)
		return nil, failure{http.StatusMethodNotAllowed, fmt.Errorf("%s is asked by %s", r.URL.Path, method)}
	}
	q, err := read(w, r)
	if err != nil {
		return nil, err
	}
	if method == http.MethodPost && r.URL.Path != explainPath { // that changes nothing, and may hold a password
		a.Log.Info("an administrator asks", "for", strings.TrimPrefix(r.URL.Path, "/v1/"), "with", string(q.body))
	}
	return do(q)
}

// A failure is an error with its status in HTTP. Other errors are the server's.
type failure struct {
	status int
	error
}

func malformed(err error) error { return failure{http.StatusBadRequest, err} }

// A question is a request that was read to its end.
type question struct {
	ctx   context.Context
	query url.Values // without own
	own   bool       // do not ask the siblings
	body  []byte
}

// read takes the whole request, which may be neither long nor slow.
func read(w http.ResponseWriter, r *http.Request) (question, error) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, long := errors.AsType[*http.MaxBytesError](err); long {
		return question{}, failure{http.StatusRequestEntityTooLarge, fmt.Errorf("the request has more than %d bytes", maxBody)}
	}
	if err != nil {
		return question{}, malformed(fmt.Errorf("the request ended early: %w", err))
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return question{}, malformed(err)
	}
	own := q.Get("own") == "1"
	q.Del("own")
	return question{r.Context(), q, own, body}, nil
}

func withOwn(q url.Values) url.Values {
	if q == nil {
		q = url.Values{}
	}
	q.Set("own", "1")
	return q
}

// into reads the body. What it does not know it refuses: half a question
// understood is another question.
func (q question) into(v any) error {
	if len(bytes.TrimSpace(q.body)) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(q.body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return malformed(fmt.Errorf("cannot read the request: %w", err))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return malformed(errors.New("cannot read the request: there is something behind the JSON"))
	}
	return nil
}
