package relay

import "time"

// brief is a patience with which tests end soon.
var brief = patience{client: time.Second, server: 2 * time.Second, farewell: 300 * time.Millisecond}

// Hurry has the engine wait less long for peers, from before its first pair on.
func (e *Goroutines) Hurry() *Goroutines {
	e.patience = brief
	return e
}
