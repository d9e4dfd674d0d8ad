package wire

import (
	"crypto/tls"
	"errors"
	"strings"
)

// A Witness hears what passes over a Conn, called by its one goroutine. What may be
// told of a line only the code that reads and writes it knows: see Show and WriteAs.
type Witness interface {
	// Heard is a line of the peer, without its end.
	Heard(line string)
	// Shown says that no more than the first n bytes of the line heard last may be told.
	Shown(n int)
	// Said is a line to the peer, as it may be told.
	Said(line string)
	// Noted is anything else.
	Noted(format string, args ...any)
}

// nobody is the witness where there is none.
type nobody struct{}

func (nobody) Heard(string)         {}
func (nobody) Shown(int)            {}
func (nobody) Said(string)          {}
func (nobody) Noted(string, ...any) {}

// SetWitness has somebody hear what passes from now on.
func (c *Conn) SetWitness(w Witness) { c.witness = w }

// Show lets the witness tell the first n bytes of the line that was read last, and no
// more.
func (c *Conn) Show(n int) { c.witness.Shown(n) }

// WriteAs is WriteLine of what a witness must not hear: it hears told instead.
func (c *Conn) WriteAs(told string, parts ...string) error {
	if c.witnessed() {
		c.witness.Said(told)
	}
	return c.queue(parts)
}

// witnessed is asked before anything is made ready for a witness.
func (c *Conn) witnessed() bool { return c.witness != Witness(nobody{}) }

func (c *Conn) saying(parts []string) {
	if c.witnessed() {
		c.witness.Said(strings.Join(parts, ""))
	}
}

// hearing tells of a line, or of a literal, about which nobody learns more than how
// long it is.
func (c *Conn) hearing(text string, err error, literal bool) {
	switch {
	case !c.witnessed():
	case err != nil && !errors.Is(err, ErrUnclean):
		c.witness.Noted("read: %v", err)
	case literal:
		c.witness.Heard(text)
		c.witness.Shown(0)
	default:
		c.witness.Heard(text)
	}
}

func (c *Conn) shaken(err error) {
	switch {
	case !c.witnessed():
	case err != nil:
		c.witness.Noted("TLS: %v", err)
	default:
		state := c.tls.ConnectionState()
		c.witness.Noted("%s, %s, for %q", tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite), state.ServerName)
	}
}
