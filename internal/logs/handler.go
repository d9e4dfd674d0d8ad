package logs

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// An entry is a record as it leaves the process.
type entry struct {
	time   time.Time
	level  slog.Level
	event  string // the message in one word: login-refused
	line   string // as standard error has it, without the time
	fields []field
}

// A form is how entries are written for a place.
type form interface {
	encode(e *entry) []byte
	frame(line []byte) []byte // what goes over the connection
}

// A handler makes an entry of each record, in the goroutine of whoever logs: values
// may change after that. The rest is the queue's.
type handler struct {
	level  slog.Level
	form   form
	queue  *queue
	text   *text
	logfmt slog.Handler // writes to text
	fields []field      // of WithAttrs
	prefix string       // of WithGroup
}

func newHandler(level slog.Level, f form, q *queue) *handler {
	t := new(text)
	return &handler{level: level, form: f, queue: q, text: t, logfmt: slog.NewTextHandler(t, &slog.HandlerOptions{Level: level})}
}

// Enabled implements slog.Handler.
func (h *handler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }

// Handle implements slog.Handler. It does not wait for anything.
func (h *handler) Handle(_ context.Context, r slog.Record) error {
	if h.queue.hasRoom() { // else the work would be for nothing
		h.queue.put(h.form.encode(h.entry(r)))
	}
	return nil
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	other := *h
	other.logfmt = h.logfmt.WithAttrs(attrs)
	other.fields = h.fields[:len(h.fields):len(h.fields)] // appending copies
	for _, a := range attrs {
		other.fields = appendFields(other.fields, h.prefix, a)
	}
	return &other
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	other := *h
	other.logfmt = h.logfmt.WithGroup(name)
	other.prefix = h.prefix + name + "."
	return &other
}

func (h *handler) entry(r slog.Record) *entry {
	e := &entry{time: r.Time, level: r.Level, event: event(r.Message), line: h.text.of(h.logfmt, r)}
	e.fields = make([]field, len(h.fields), len(h.fields)+r.NumAttrs())
	copy(e.fields, h.fields)
	r.Attrs(func(a slog.Attr) bool {
		e.fields = appendFields(e.fields, h.prefix, a)
		return true
	})
	return e
}

// lost is the entry that says how many lines there was no room for.
func (h *handler) lost(lines uint64) []byte {
	r := slog.NewRecord(time.Now(), slog.LevelError, "log lines were lost: whoever takes them was away or too slow", 0)
	r.Add("lines", lines)
	return h.form.encode(h.entry(r))
}

// event makes one word of a message, to be found by: its first clause, 32 characters
// at most (RFC 5424 §6.2.7).
func event(message string) string {
	message, _, _ = strings.Cut(message, ":")
	message, _, _ = strings.Cut(message, ",")
	return ascii(strings.Join(strings.Fields(strings.ToLower(message)), "-"), 32)
}

// A text catches the line that a handler of the standard library writes, so that
// lines read the same wherever they go.
type text struct {
	mu   sync.Mutex
	line string
}

// Write implements io.Writer; only of calls it.
func (t *text) Write(line []byte) (int, error) {
	t.line = strings.TrimSuffix(string(line), "\n") // the bytes are used again
	return len(line), nil
}

// of is the line of a record, without its time: journal and syslog have their own.
func (t *text) of(h slog.Handler, r slog.Record) string {
	r.Time = time.Time{}
	t.mu.Lock()
	defer t.mu.Unlock()
	_ = h.Handle(context.Background(), r) // writes to us, who never fail
	return t.line
}
