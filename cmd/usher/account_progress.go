package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// A progress shows how much of a file has been read: as a bar on a terminal, as
// a line now and then elsewhere. It is the reader of the file too.
type progress struct {
	io.Reader
	w         io.Writer
	terminal  bool
	size, got int64 // in bytes; size 0: not known
	next      time.Time
	shown     bool
}

func newProgress(w io.Writer, r io.Reader, size int64) *progress {
	p := &progress{Reader: r, w: w, size: size, terminal: isTerminal(w)}
	p.next = time.Now().Add(p.pause())
	return p
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// pause is the time between two signs of life.
func (p *progress) pause() time.Duration {
	if p.terminal {
		return 100 * time.Millisecond
	}
	return 5 * time.Second
}

func (p *progress) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	p.got += int64(n)
	return n, err
}

// show is called for each row.
func (p *progress) show(rows int) {
	now := time.Now()
	if now.Before(p.next) {
		return
	}
	p.next = now.Add(p.pause())
	p.shown = true
	switch {
	case !p.terminal:
		fmt.Fprintf(p.w, "%d accounts read%s\n", rows, p.percent())
	case p.size == 0:
		fmt.Fprintf(p.w, "\r%d accounts", rows)
	default:
		const width = 40
		done := int(width * min(p.got, p.size) / p.size)
		fmt.Fprintf(p.w, "\r[%s%s] %d accounts%s", strings.Repeat("=", done), strings.Repeat(" ", width-done), rows, p.percent())
	}
}

func (p *progress) percent() string {
	if p.size == 0 {
		return ""
	}
	return fmt.Sprintf(", %d%%", 100*min(p.got, p.size)/p.size)
}

// end removes the bar: what follows says how it went.
func (p *progress) end() {
	if p.terminal && p.shown {
		fmt.Fprint(p.w, "\r\x1b[K") // ECMA-48 EL: erase to the end of the line
	}
}
