package trace

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// A Record is one conversation while some trace is on, used by the goroutine of that
// conversation. A nil Record records nothing, so that callers need not ask.
type Record struct {
	traces   *Traces
	file     string
	protocol string
	start    time.Time
	remote   netip.Addr
	names    []string // that it has claimed

	kept    []string // its first lines, for traces that may turn out to want it
	size    int      // of these
	missing int      // lines that were not kept
	copies  []*written
	hidden  secrets
	last    *Leg // whose last line is not recorded yet
	over    bool
}

// written is what one trace has of a record.
type written struct {
	trace *trace
	size  int
}

// Record begins the record of a conversation; nil if no trace is on. id names the
// session and is fit for the name of a file.
func (t *Traces) Record(id, protocol string, remote, local netip.AddrPort) *Record {
	if t == nil || t.on.Load() == nil {
		return nil
	}
	now := time.Now()
	r := &Record{traces: t, protocol: protocol, start: now, file: now.UTC().Format("20060102T150405.000000") + "-" + id}
	r.add(fmt.Sprintf("# %s id %s protocol %s remote %s local %s", now.UTC().Format("2006-01-02T15:04:05.000000Z"), id, protocol, remote, local))
	r.From(remote.Addr())
	return r
}

// From says where the client really comes from.
func (r *Record) From(a netip.Addr) {
	if r == nil || a == r.remote {
		return
	}
	if r.remote.IsValid() {
		r.Note("the client is %s", a)
	}
	r.remote = a.Unmap().WithZone("")
	r.match()
}

// Claims says who the client says that it is: as it was written, and what that means.
// If it is already known, nothing is noted.
func (r *Record) Claims(what string, names ...string) {
	if r == nil {
		return
	}
	for _, name := range names {
		if name != "" && !slices.Contains(r.names, name) {
			r.names = append(r.names, name)
			r.Note("%s %.200q", what, name)
		}
	}
	r.match()
}

// Hide keeps a secret out of all that is recorded, before it was told or after.
func (r *Record) Hide(secret string) {
	if r != nil {
		r.hidden.add(secret)
	}
}

// Note records something that nobody has said.
func (r *Record) Note(format string, args ...any) {
	if r == nil || r.over {
		return
	}
	r.settle()
	r.line("-- " + fmt.Sprintf(format, args...))
}

// End is the last line.
func (r *Record) End(format string, args ...any) {
	if r == nil || r.over {
		return
	}
	r.Note(format, args...)
	r.over = true
}

// settle records the line whose Shown is not awaited any more.
func (r *Record) settle() {
	if l := r.last; l != nil {
		r.last = nil
		r.line(l.in + " " + l.shown())
	}
}

func (r *Record) line(text string) {
	r.add(fmt.Sprintf("%11.6f %s", time.Since(r.start).Seconds(), cut(r.hidden.star(text))))
}

// add keeps a line as long as there is room, and gives it to those who want it.
func (r *Record) add(line string) {
	if r.size+len(line) <= mostKept {
		r.kept = append(r.kept, line)
		r.size += len(line)
	} else {
		r.missing++
	}
	for _, w := range r.copies {
		w.give(r.file, line)
	}
}

// match gives what was kept to traces that want it since a moment.
func (r *Record) match() {
	for _, t := range r.traces.list() {
		has := slices.ContainsFunc(r.copies, func(w *written) bool { return w.trace == t })
		if has || !t.wants(r) {
			continue
		}
		w := &written{trace: t}
		r.copies = append(r.copies, w)
		t.conversations.Add(1)
		for i, line := range r.kept {
			if i > 0 { // the first is our own
				line = r.hidden.star(line) // once more: more is known by now
			}
			w.give(r.file, line)
		}
		if r.missing > 0 {
			w.give(r.file, fmt.Sprintf("            -- %d lines were not kept", r.missing))
		}
	}
}

// give adds a line to the trace's file, up to the bound.
func (w *written) give(file, line string) {
	if w.size > mostEach {
		return
	}
	if w.size += len(line); w.size > mostEach {
		line = fmt.Sprintf("            -- more than %d KB of one conversation are not written", mostEach>>10)
	}
	w.trace.give(piece{file, line + "\n"})
}
