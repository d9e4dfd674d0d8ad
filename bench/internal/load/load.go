// Package load is what makes proxies work: it logs in, holds sessions, fetches
// and waits for answers, as it is ordered.
package load

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// A Door is where clients come in.
type Door struct {
	Protocol string // "imap" or "pop3"
	Addr     string
	TLS      bool
}

// What can be ordered.
const (
	Login     = "login"     // N clients log in and out, Flight of them at a time
	Hold      = "hold"      // until N sessions are idle
	Release   = "release"   // all idle sessions end, after a last word
	Fetch     = "fetch"     // N bytes come through one session
	RoundTrip = "roundtrip" // N questions and answers in one session, one after the other
	Talk      = "talk"      // for N milliseconds in Flight sessions; Slow is the longest round trip
)

// An Order is a line that the load reads.
type Order struct {
	Do     string
	Door   Door
	N      int
	Flight int
}

// A Result is the line that answers an Order.
type Result struct {
	Took   time.Duration // all of it
	Middle time.Duration // of single logins or round trips
	Slow   time.Duration // the 99th of a hundred
	TLS    string        // what was negotiated
	Error  string
}

// Serve obeys orders until there are no more.
func Serve(in io.Reader, out io.Writer) error {
	l := new(load)
	orders, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var o Order
		if err := orders.Decode(&o); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := answers.Encode(l.obey(o)); err != nil {
			return err
		}
	}
}

// A Process is a load in a process of its own: what it uses is not counted.
type Process struct {
	cmd     *exec.Cmd
	orders  io.WriteCloser
	answers *json.Decoder
}

// Start starts cmd, which runs Serve.
func Start(cmd *exec.Cmd) (*Process, error) {
	orders, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	answers, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the load: %w", err)
	}
	return &Process{cmd, orders, json.NewDecoder(bufio.NewReader(answers))}, nil
}

// Do has an order obeyed.
func (p *Process) Do(o Order) (Result, error) {
	var r Result
	err := json.NewEncoder(p.orders).Encode(o)
	if err == nil {
		err = p.answers.Decode(&r)
	}
	if err == nil && r.Error != "" {
		err = errors.New(r.Error)
	}
	if err != nil {
		return r, fmt.Errorf("%s %d at %s %s: %w", o.Do, o.N, o.Door.Protocol, o.Door.Addr, err)
	}
	return r, nil
}

// Close ends the process.
func (p *Process) Close() error {
	_ = p.orders.Close()
	return p.cmd.Wait()
}
