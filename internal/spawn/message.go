package spawn

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"
)

// The bounds of messages. A message is one packet: the kernel keeps them apart.
const (
	maxPolicy  = 128 << 10
	maxRequest = 32 << 10
	maxEvent   = 8 << 10
	maxReply   = 4 << 10 // a text that is longer is cut
)

// An answer is what a request gets. The first that is set counts.
type answer struct {
	Refusal string `json:",omitempty"`
	Full    string `json:",omitempty"`
	Error   string `json:",omitempty"`
	PID     int    `json:",omitempty"`
}

// answerFor puts an outcome into words that travel.
func answerFor(pid int, err error) answer {
	var no *Refusal
	switch {
	case err == nil:
		return answer{PID: pid}
	case errors.As(err, &no):
		return answer{Refusal: cut(err.Error(), maxReply/2)}
	case errors.Is(err, ErrFull):
		return answer{Full: cut(err.Error(), maxReply/2)}
	default:
		return answer{Error: cut(err.Error(), maxReply/2)}
	}
}

// outcome is the reverse of answerFor.
func (a answer) outcome() (pid int, err error) {
	switch {
	case a.Refusal != "":
		return 0, &Refusal{a.Refusal}
	case a.Full != "":
		return 0, full{a.Full}
	case a.Error != "":
		return 0, errors.New(a.Error)
	case a.PID <= 0:
		return 0, errors.New("the helper answered with nothing")
	}
	return a.PID, nil
}

// full is an ErrFull with a text of its own.
type full struct{ text string }

func (f full) Error() string        { return f.text }
func (f full) Is(target error) bool { return target == ErrFull }

// clean refuses what JSON would not carry as it is.
func (r *Request) clean() error {
	for _, s := range slices.Concat([]string{r.Program, r.User, r.Home, r.ID}, r.Args, r.Env) {
		if !utf8.ValidString(s) {
			return &Refusal{fmt.Sprintf("%.80q is not UTF-8, which the helper understands", s)}
		}
	}
	return nil
}

// encode is the bytes of a message, if they are not too many.
func encode(m any, most int) ([]byte, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	if len(b) > most {
		return nil, &Refusal{fmt.Sprintf("a message for the helper may have %d bytes, this one has %d: shorten the arguments and the environment", most, len(b))}
	}
	return b, nil
}

// decode reads a message, which must be known through and through.
func decode(b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("not understood: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("not understood: there is more behind its end")
	}
	return nil
}

// cut shortens a text to so many bytes, at the end of a letter.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most] + "…"
}
