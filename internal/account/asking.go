package account

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"
)

const (
	// mostTime is how long a question may take. Sources have shorter times of their
	// own; this one is for those that forget them.
	mostTime = 30 * time.Second
	// mostQuestions is how many may be on their way. They outlive clients that leave,
	// of which there may be any number.
	mostQuestions = 10_000
)

// A subject is what questions must have in common to be asked as one.
type subject struct {
	key
	shows digest // of the password or answer, if the source looks at it
}

func (c *Cache) subject(k key, q Query) subject {
	switch {
	case c.uses&UsesPassword == 0:
		return subject{key: k}
	case q.Answer != nil:
		return subject{k, c.secret.digest(q.Answer.Method, q.Answer.Challenge, q.Answer.Response)}
	}
	return subject{k, c.secret.digest(q.Password)}
}

// A question is asked once for all who want to know the same. It goes on when the
// one that was first leaves.
type question struct {
	query Query
	next  *question // for those to whom this one was asked too early

	began time.Time     // before that it waits for the one whose next it is
	done  chan struct{} // closed when there is an answer: the rest is not changed any more
	found *Account      // as the source said it now
	then  *Account      // the same, for who asked later: it says when that was
	err   error
}

func newQuestion(q Query) *question { return &question{query: q, done: make(chan struct{})} }

// ask asks the source, or waits for somebody else's question.
func (c *Cache) ask(ctx context.Context, k key, q Query, now time.Time) (*Account, error) {
	q.Name = strings.Clone(q.Name) // else all that it came with would be remembered, such as the password
	k.Name, k.ServerName = q.Name, strings.Clone(k.ServerName)
	if c.uses&UsesPassword == 0 {
		q.Password, q.Answer = "", nil // the answer is for others, too
	}
	if q.Trace != nil {
		return c.askAlone(ctx, k, q, now)
	}
	it, err := c.join(c.subject(k, q), q, now)
	if err != nil {
		return nil, err
	}
	select {
	case <-it.done:
	case <-ctx.Done():
		return nil, fmt.Errorf("accounts %q: user %.80q: waiting for an answer: %w", c.reader.Name, q.Name, ctx.Err())
	}
	if it.began.Before(now) {
		return it.then, it.err
	}
	return it.found, it.err
}

// askAlone asks in the caller's own time: a trace is of one login.
func (c *Cache) askAlone(ctx context.Context, k key, q Query, now time.Time) (*Account, error) {
	c.mu.Lock()
	flushes := c.flushes
	c.mu.Unlock()
	f, err := c.reader.find(ctx, q)
	if isAnswer(err) {
		c.outage.over()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if flushes == c.flushes {
		c.learn(k, q, f.at(now), err, now)
	}
	return f.account, err
}

// join gives the question to wait for. One that forbids an answer from memory is not
// content with one that began before it, and waits for the next; more than these two
// there are not.
func (c *Cache) join(s subject, q Query, now time.Time) (*question, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	it := c.asking[s]
	switch {
	case c.ctx.Err() != nil:
		return nil, fmt.Errorf("accounts %q: user %.80q: nobody is asked any more: %w", c.reader.Name, q.Name, c.ctx.Err())
	case it == nil && len(c.asking) >= mostQuestions:
		return nil, fmt.Errorf("accounts %q: user %.80q: %d questions wait for an answer: the source is too slow", c.reader.Name, q.Name, len(c.asking))
	case it == nil:
		it = newQuestion(q)
		it.began = time.Now()
		c.asking[s] = it
		c.questions.Go(func() { c.answer(s, it) })
		return it, nil
	case q.Fresh && it.began.Before(now):
		if it.next == nil {
			it.next = newQuestion(q)
		}
		it = it.next
	}
	c.counts.joined.Add(1)
	return it, nil
}

// answer asks the source, and after that what has come up meanwhile.
func (c *Cache) answer(s subject, it *question) {
	for it != nil {
		f, err := c.put(it.query)
		it = c.end(s, it, f, err)
	}
}

// put asks the source. A panic is the end of this question only.
func (c *Cache) put(q Query) (f found, err error) {
	ctx, cancel := context.WithTimeoutCause(c.ctx, mostTime, errTimeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("bug: an account source panicked, please report this", "err", fmt.Sprint(p), "stack", string(debug.Stack()))
			f, err = found{}, errors.New("a bug in the account source: see the log")
		}
	}()
	return c.reader.find(ctx, q)
}

// end gives the answer to all who wait, remembers it, and gives the next question to
// ask.
func (c *Cache) end(s subject, it *question, f found, err error) *question {
	if isAnswer(err) {
		c.outage.over()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	then := f.at(it.began)
	it.found, it.then, it.err = f.account, then.account, err
	flushed := c.asking[s] != it
	if !flushed {
		c.learn(s.key, it.query, then, err, it.began)
		delete(c.asking, s)
	}
	it.query = Query{} // its password is needed no longer
	close(it.done)
	if it.next == nil {
		return nil
	}
	it.next.began = time.Now()
	if !flushed {
		c.asking[s] = it.next
	}
	return it.next
}

// at is the same, for those who ask later: it says since when it is known.
func (f found) at(when time.Time) found {
	if f.account != nil {
		a := *f.account
		a.Asked = when
		f.account = &a
	}
	return f
}
