package doorway

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// format is the first byte of every message. It is raised when a message changes its
// meaning; a new field needs no new format.
const format = 1

// maxMessage is how long the JSON of a message may be: names of accounts are bounded.
const maxMessage = 2 << 10

// head is what stands before the JSON: the format, and how long it is.
const head = 3

// An answer is what usher says to a Request.
type answer struct {
	Error string `json:"error,omitempty"` // "": the client is let in
	At    string `json:"at,omitempty"`    // … at this address of TCP; "": where this was said
	Word  string `json:"word,omitempty"`  // by which it is known there
}

var errFormat = errors.New("it speaks another language: usher was replaced by another version; try again, or restart it")

// encode writes a message.
func encode(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if len(text) > maxMessage {
		return nil, fmt.Errorf("a message to usher's door has %d bytes, of which it may have %d", len(text), maxMessage)
	}
	return append(binary.BigEndian.AppendUint16([]byte{format}, uint16(len(text))), text...), nil
}

// length reads the head of a message.
func length(b [head]byte) (int, error) {
	n := int(binary.BigEndian.Uint16(b[1:]))
	switch {
	case b[0] != format:
		return 0, errFormat
	case n > maxMessage:
		return 0, fmt.Errorf("a message of %d bytes: it may have %d", n, maxMessage)
	}
	return n, nil
}

// decode reads the rest of a message whose head was read, and no further.
func decode(r io.Reader, h [head]byte, v any) error {
	n, err := length(h)
	if err != nil {
		return err
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}
