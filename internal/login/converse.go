package login

import (
	"context"
	"errors"
	"os"
	"strings"

	"usher/internal/wire"
)

// maxBad is how many commands in bad form a client may send.
const maxBad = 10

var (
	// ErrDone ends a conversation that needs no more words.
	ErrDone = errors.New("done")
	// ErrCrowded is why a client does not stay which others must have the room of.
	ErrCrowded = errors.New("made room for others")
	// ErrHeader ends that of a load balancer whose PROXY header nobody awaits.
	ErrHeader = errors.New("a PROXY header where a command was expected")
	// errTooManyBad ends that of a client which does not speak the protocol.
	errTooManyBad = errors.New("too many bad commands")
	// errUnwelcome ends that of one whose password is not looked at any more.
	errUnwelcome = errors.New("too many failed logins")
)

// A Goodbye is why usher ends a conversation before login. Every protocol has
// words for each but Crowded, whose are Info.Full.
type Goodbye int

// The goodbyes.
const (
	GoingDown   Goodbye = iota + 1 // usher stops
	Inactive                       // the client took too long
	TooMuch                        // a line, a literal or all together over the bound
	EarlyBytes                     // in clear behind STARTTLS
	Unwelcome                      // too many failed logins
	BadCommands                    // too many
	Crowded                        // others need the room
)

// goodbyeOf returns why usher ends a conversation, or 0 if it was the client.
func (c *Client) goodbyeOf(err error) Goodbye {
	switch {
	case errors.Is(err, wire.ErrInterrupted):
		if c.Stay != nil && errors.Is(context.Cause(c.Stay), ErrCrowded) {
			return Crowded
		}
		return GoingDown
	case errors.Is(err, errUnwelcome):
		return Unwelcome
	case errors.Is(err, os.ErrDeadlineExceeded):
		return Inactive
	case errors.Is(err, wire.ErrTooLong), errors.Is(err, wire.ErrTooMuch):
		return TooMuch
	case errors.Is(err, wire.ErrEarly):
		return EarlyBytes
	case errors.Is(err, errTooManyBad):
		return BadCommands
	}
	return 0
}

// Converse does one command after the other until one fails, and says goodbye if
// it is we who end the conversation. ErrDone is a good end.
func (c *Client) Converse(goodbyes map[Goodbye]string, command func() error) error {
	var err error
	for err == nil {
		if err = command(); err == nil && c.unwelcome {
			err = errUnwelcome
		}
	}
	if errors.Is(err, ErrDone) {
		return nil
	}
	why := c.goodbyeOf(err)
	words := goodbyes[why]
	if why == Crowded {
		words = c.Protocol.Info().Full
	}
	if words != "" {
		_ = c.Conn.WriteLine(words)
		_ = c.Conn.Flush()
	}
	return err
}

// Command reads the client's next line. It may come with wire.ErrUnclean.
func (c *Client) Command() (string, error) {
	line, err := c.Conn.ReadLine()
	c.said++
	if line == "" {
		c.empty++
	}
	v1 := strings.HasPrefix(line, "PROXY TCP") || strings.HasPrefix(line, "PROXY UNKNOWN")
	v2 := line == "\x00" && c.said == 3 && c.empty == 2 // it begins CR LF CR LF NUL CR LF
	if v1 || v2 {
		return "", ErrHeader
	}
	return line, err
}

// Bad counts a command in bad form and returns an error when it is one too many.
func (c *Client) Bad() error {
	if c.bad++; c.bad >= maxBad {
		return errTooManyBad
	}
	return nil
}
