package trace

import (
	"fmt"
	"strconv"
)

// A Leg is the witness of one connection of a conversation.
type Leg struct {
	record  *Record
	in, out string // how lines are marked
	open    bool   // what the peer says may be told unless it is shown less

	heard string
	most  int // bytes of it that may be told
}

// Client is the witness of the client's connection. Of what a client says nothing is
// told but what is shown: only who has understood a line knows where no password is.
func (r *Record) Client() *Leg { return &Leg{record: r, in: "C:", out: "S:"} }

// Server is the witness of a connection to a server, of whose lines all is told.
func (r *Record) Server() *Leg { return &Leg{record: r, in: "B<", out: "B>", open: true} }

// Heard implements wire.Witness. The line is recorded with what comes next: it may be
// shown in between.
func (l *Leg) Heard(line string) {
	if l.record.over {
		return
	}
	l.record.settle()
	l.heard, l.most, l.record.last = line, 0, l
	if l.open {
		l.most = len(line)
	}
}

// Shown implements wire.Witness.
func (l *Leg) Shown(n int) { l.most = min(n, len(l.heard)) }

// Said implements wire.Witness.
func (l *Leg) Said(line string) {
	if l.record.over {
		return
	}
	l.record.settle()
	l.record.line(l.out + " " + strconv.Quote(l.record.hidden.star(line)))
}

// Noted implements wire.Witness.
func (l *Leg) Noted(format string, args ...any) {
	l.record.Note(l.in[:1]+": "+format, args...)
}

// about is to what lengths are rounded: that of a password is nobody's business.
const about = 16

// shown is what may be told of the line heard last. If it hides something, the rest
// says about how long that is.
func (l *Leg) shown() string {
	text := strconv.Quote(l.record.hidden.star(l.heard[:l.most]))
	hidden := len(l.heard) - l.most
	l.heard = ""
	if hidden == 0 {
		return text
	}
	return text + fmt.Sprintf(" … up to %d bytes not shown", (hidden+about-1)/about*about)
}
