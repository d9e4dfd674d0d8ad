package file

import (
	"context"
	"time"
)

// When files are looked at again. Nobody looks while nobody asks.
const (
	lookEvery = time.Second     // at the earliest after the last look
	oldAfter  = 4 * time.Second // then who asks waits for the look …
	patience  = time.Second     // … until it has taken so long
	frozen    = 5 * time.Second // a look that takes so long is worth a line in the log

	quiet    = time.Second     // a file is read anew once nobody has written to it for so long …
	waitMost = 3 * time.Second // … or that has been waited for so long
)

// A look at the files, which becomes a reading of them if they have changed.
type look struct {
	began time.Time
	done  chan struct{}
	told  bool // that it takes long
}

// wait waits for the end of the look, but not for a disk that has stopped.
func (k *look) wait(ctx context.Context) {
	t := time.NewTimer(time.Until(k.began.Add(patience)))
	defer t.Stop()
	select {
	case <-k.done:
	case <-t.C:
	case <-ctx.Done():
	}
}

// refresh begins a look if it is time for one. Who asks is answered from what is
// known, and waits only if that is too old.
func (l *Lines) refresh(ctx context.Context) {
	l.mu.Lock()
	now := time.Now()
	if l.under == nil && now.Sub(l.looked) >= lookEvery {
		l.under = &look{began: now, done: make(chan struct{})}
		go l.look(l.under)
	}
	under, old := l.under, now.Sub(l.looked) >= oldAfter
	if under != nil && !under.told && now.Sub(under.began) > frozen {
		under.told = true
		l.log.Warn("account file: its disk takes long; what was read before still holds", "file", l.path)
	}
	l.mu.Unlock()
	if under != nil && old {
		under.wait(ctx)
	}
}

// look is the goroutine of one look.
func (l *Lines) look(k *look) {
	trouble := l.seen.trouble
	if err := l.update(&l.seen); err != nil {
		if l.seen.trouble = err.Error(); l.seen.trouble != trouble { // once for each
			l.log.Warn("account file: cannot be read; what was read before still holds", "file", l.path, "err", err)
		}
	} else if l.seen.trouble = ""; trouble != "" {
		l.log.Info("account file: can be read again", "file", l.path)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.under, l.looked = nil, time.Now()
	close(k.done)
}

// watched is what looks know of the files.
type watched struct {
	state   *state    // that is served
	changed time.Time // since when another one is on the disk; zero: it is the same
	trouble string    // why that could not be read
}

// update reads the files if they have changed and can be relied on. An error leaves
// the last good state.
func (l *Lines) update(w *watched) error {
	files, err := l.list()
	if err != nil {
		return err
	}
	if w.state.settled && same(files, w.state.files) {
		w.changed = time.Time{}
		return nil
	}
	now := time.Now()
	if w.changed.IsZero() {
		w.changed = now
	}
	if restless(files, w.state.files, now, now.Sub(w.changed)) {
		return nil
	}
	s, err := l.read()
	if err != nil {
		return err
	}
	w.state, w.changed = s, time.Time{}
	l.serve(s.table, time.Since(now))
	return nil
}

// serve puts what was read in the place of what was known. Until here both were in
// memory.
func (l *Lines) serve(t *table, took time.Duration) {
	if t == l.table.Load() {
		return
	}
	l.table.Store(t)
	l.log.Info("account file: read anew", "file", l.path, "names", t.names, "took", took)
	for _, note := range t.notes.texts() {
		l.log.Warn("account source", "note", note)
	}
}
