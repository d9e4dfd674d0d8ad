// Package logs decides where the log goes and what a line looks like there: text
// or JSON on standard error, entries of systemd's journal, syslog messages.
//
// What is not standard error may be slow, frozen or gone. So lines for it wait in a
// bounded queue, and whoever logs never waits: lines that find no room are counted
// and lost. Read Open next, then handler.go, queue.go.
package logs

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
	"github.com/lmittmann/tint"
	"golang.org/x/term"
)

// Options are what a log needs besides its place.
type Options struct {
	Stderr   io.Writer // for places that are there, and to say that another one is in trouble
	Hostname string    // this machine's name in syslog; "": as it calls itself
	Name     string    // our own name in syslog; "": usher
	Connect  bool      // to the other program at once: later we may not be able to
	Debug    bool      // lines of the lowest level, too
	Journal  string    // path of the journal's socket; "": where systemd has it

	most bounds // of what waits; tests have less
}

func (o Options) level() slog.Level {
	if o.Debug {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// Settle waits until what was logged before has been brought to its place, or is lost. While
// nobody takes lines there it waits for that.
func Settle(log *slog.Logger) {
	if h, ok := log.Handler().(*handler); ok {
		h.queue.settle()
	}
}

// Open returns a logger that writes to a place. To be called at the end, close
// waits for lines that are on their way, for two seconds at most; what is logged
// after it is lost.
func Open(p Place, o Options) (log *slog.Logger, close func()) {
	switch p.kind {
	case kindJSON:
		return slog.New(slog.NewJSONHandler(o.Stderr, &slog.HandlerOptions{Level: o.level()})), func() {}
	case kindJournal:
		return openJournal(o)
	case kindSyslog:
		return opened(o, p.form(o.Hostname, cmp.Or(o.Name, "usher")), p.dial())
	case kindAuto:
		if is, _ := journal.StderrIsJournalStream(); is && o.Stderr == os.Stderr {
			return openJournal(o)
		}
		if file, ok := o.Stderr.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
			return slog.New(tint.NewTextHandler(file, &tint.Options{Level: o.level(), NoColor: os.Getenv("NO_COLOR") != ""})), func() {}
		}
	}
	return slog.New(logfmt(o)), func() {}
}

func logfmt(o Options) slog.Handler {
	return slog.NewTextHandler(o.Stderr, &slog.HandlerOptions{Level: o.level()})
}

// openJournal falls back to standard error where there is no journal.
func openJournal(o Options) (log *slog.Logger, close func()) {
	dial := journalDial(o.Journal)
	conn, err := dial(context.Background())
	if err != nil {
		log := slog.New(logfmt(o))
		log.Warn("there is no journal: the log goes to standard error", "err", err)
		return log, func() {}
	}
	_ = conn.Close()
	return opened(o, journalForm{}, dial)
}

// opened is a log whose lines go through a queue.
func opened(o Options, f form, d dial) (log *slog.Logger, close func()) {
	most := o.most
	if most == (bounds{}) {
		most = bounds{lines: 8192, bytes: 8 << 20}
	}
	c := &carrier{dial: d, frame: f.frame}
	if o.Connect {
		_ = c.connect(context.Background()) // if it fails, the first line tries again, and tells
	}
	q := newQueue(most, c, slog.New(logfmt(o)))
	h := newHandler(o.level(), f, q)
	q.start(h.lost)
	return slog.New(h), func() { q.close(2 * time.Second) }
}
