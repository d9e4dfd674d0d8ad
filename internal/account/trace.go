package account

import "time"

// A Trace gathers how an answer was found, for "usher explain". A nil Trace
// gathers nothing, so that callers need not ask. It is used by one goroutine.
type Trace struct {
	Steps []Step
}

// A Step is one question to a source, or to what is remembered of it.
type Step struct {
	Source  string        // its name
	Key     string        // the name that was looked for, if it is not the client's
	Asked   []Question    // as they were sent
	Took    time.Duration // all together
	Cached  bool          // nothing was sent: the answer is remembered …
	Age     time.Duration // … for so long
	Fields  Fields        // as the source returned them, with their secrets
	Set     Fields        // what templates made of them
	Err     error         // nil: found
	Skipped string        // why the source was not asked at all
}

// A Question is a query, a filter or a request as it was sent, without secrets.
type Question struct {
	Server string // "" if there is one only
	Text   string
}

// Asks notes a question before it is sent. Sources call it.
func (t *Trace) Asks(server, text string) {
	if t == nil || len(t.Steps) == 0 {
		return
	}
	last := &t.Steps[len(t.Steps)-1]
	last.Asked = append(last.Asked, Question{server, text})
}

// step begins a step.
func (t *Trace) step(s Step) {
	if t != nil {
		t.Steps = append(t.Steps, s)
	}
}

// change changes the last step.
func (t *Trace) change(f func(*Step)) {
	if t != nil && len(t.Steps) > 0 {
		f(&t.Steps[len(t.Steps)-1])
	}
}
