package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"
)

// A Client asks a running usher.
type Client struct {
	path string
	own  bool // one process is meant, not all of usher
}

// Dial returns a client of the usher whose socket is at path. Each question
// opens a connection of its own.
func Dial(path string) *Client { return &Client{path: path} }

// client asks only the process that answers at a path.
func client(path string) *Client { return &Client{path: path, own: true} }

// askTime bounds questions that are answered at once. The answer of a process
// that waits for another comes within siblingTime.
const askTime = 10 * time.Second

// Status asks how all processes are.
func (c *Client) Status(ctx context.Context) (a Status, err error) {
	err = c.ask(ctx, http.MethodGet, "status", nil, nil, &a)
	if err == nil && len(a.Processes) == 0 {
		err = &NotReachable{c.path, errors.New("the answer names no process")}
	}
	return a, err
}

// Sessions asks for the sessions that are selected, of all processes.
func (c *Client) Sessions(ctx context.Context, who Selector) (a Listing, err error) {
	err = c.ask(ctx, http.MethodGet, "sessions", who.query(), nil, &a)
	return a, err
}

// Kick ends the sessions that are selected, of all processes.
func (c *Client) Kick(ctx context.Context, who Selector) (a Kicked, err error) {
	err = c.ask(ctx, http.MethodPost, "kick", nil, who, &a)
	return a, err
}

// Flush has all processes forget what they remember of a user, or of everybody if
// that is "".
func (c *Client) Flush(ctx context.Context, user string) (a Flushed, err error) {
	err = c.ask(ctx, http.MethodPost, "flush", nil, newFlush(user), &a)
	return a, err
}

// Stop begins to end all processes. A negative drain means the configured grace.
func (c *Client) Stop(ctx context.Context, drain time.Duration) (a Stopped, err error) {
	err = c.ask(ctx, http.MethodPost, "stop", nil, newStop(drain), &a)
	return a, err
}

// Reload asks the process at the path to read its configuration again. It may
// take as long as ctx lasts.
func (c *Client) Reload(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "reload", nil, nil, &struct{}{})
}

// Upgrade asks the process at the path to let a new one take over, and returns
// the number of that. It may take as long as ctx lasts.
func (c *Client) Upgrade(ctx context.Context) (pid int, err error) {
	var a Upgraded
	err = c.call(ctx, http.MethodPost, "upgrade", nil, nil, &a)
	return a.PID, err
}

// ask is call for what is answered at once.
func (c *Client) ask(ctx context.Context, method, what string, q url.Values, question, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	return c.call(ctx, method, what, q, question, answer)
}

// call asks one question. The error is a *NotReachable if there was no answer, a
// *Refusal if it is no.
func (c *Client) call(ctx context.Context, method, what string, q url.Values, question, answer any) error {
	r, err := c.request(ctx, method, what, q, question)
	if err != nil {
		return err
	}
	t := &http.Transport{DisableKeepAlives: true, DialContext: c.dial}
	w, err := (&http.Client{Transport: t}).Do(r)
	if err != nil {
		return &NotReachable{c.path, withoutAddress(err)}
	}
	defer func() { _ = w.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(w.Body, maxAnswer))
	if err != nil {
		return &NotReachable{c.path, err}
	}
	if w.StatusCode != http.StatusOK {
		return c.refusal(w.StatusCode, text)
	}
	if err := json.Unmarshal(text, answer); err != nil { // what it does not know is ignored: the other may be newer
		return &NotReachable{c.path, fmt.Errorf("the answer is not that of an usher: %w", err)}
	}
	return nil
}

func (c *Client) request(ctx context.Context, method, what string, q url.Values, question any) (*http.Request, error) {
	if c.own {
		q = withOwn(q)
	}
	body := []byte{}
	if question != nil {
		var err error
		if body, err = json.Marshal(question); err != nil {
			return nil, err
		}
	}
	u := url.URL{Scheme: "http", Host: "usher", Path: "/v1/" + what, RawQuery: q.Encode()}
	return http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
}

// dial finds a process. If the one that took the path died, those that it
// replaced still have their own sockets, and sessions.
func (c *Client) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "unix", c.path)
	if err == nil || c.own || !isNobody(err) {
		return nc, err
	}
	for _, pid := range siblings(c.path) {
		if nc, err := d.DialContext(ctx, "unix", sibling(c.path, pid)); err == nil {
			return nc, nil
		}
	}
	return nil, err
}

// A NotReachable says that no usher answered.
type NotReachable struct {
	Path string
	Err  error
}

func (e *NotReachable) Error() string {
	return fmt.Sprintf("no usher answers at %s: %v", e.Path, e.Err)
}

func (e *NotReachable) Unwrap() error { return e.Err }

// Absent tells whether there is no process at all.
func (e *NotReachable) Absent() bool { return isNobody(e.Err) }

func isNobody(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}

// withoutAddress drops the made-up address that net/http puts before what
// happened, and the path, which NotReachable has.
func withoutAddress(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		err = op.Err
	}
	return err
}

// A Refusal is the word of an usher that does not do what it was asked.
type Refusal struct {
	Status int // of HTTP
	Text   string
}

func (e *Refusal) Error() string { return e.Text }

func (c *Client) refusal(status int, text []byte) error {
	var a problem
	if json.Unmarshal(text, &a) != nil || a.Error == "" {
		return &NotReachable{c.path, fmt.Errorf("the answer is not that of an usher: %d %.80q", status, text)}
	}
	return &Refusal{status, a.Error}
}
