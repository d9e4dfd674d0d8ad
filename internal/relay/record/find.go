package record

import "bytes"

// Last is the last record of one direction, whole, and how many protected ones there
// were in it, those of the handshake too.
type Last struct {
	Record []byte
	Count  uint64
}

// Resume goes on with a connection of which it is not known which records are the next:
// crypto/tls counts them, but does not tell. The last one of each direction opens under
// its own number only. ok is false, and nothing is begun, if it opens under none, or if
// more than the number is changed by it. The
// numbers in k do not matter; its secrets are wiped.
func (c *Conn) Resume(k Keys, in, out Last) (ok bool) {
	return c.Begin(k) == nil && c.in.find(c.suite, in) && c.out.find(c.suite, out)
}

// find goes to the number behind a record.
func (h *half) find(s *suite, last Last) bool {
	if len(last.Record) < HeaderSize+tagSize {
		return false
	}
	room := make([]byte, 0, len(last.Record))
	for h.number = last.Count; h.number > 0; {
		h.number--
		a, nonce := h.ready(s)
		if inner, err := a.Open(room, nonce, last.Record[HeaderSize:], last.Record[:HeaderSize]); err == nil {
			h.number++
			return endsNothing(inner)
		}
	}
	return false
}

// endsNothing tells whether a record leaves all as it is: behind a KeyUpdate the secret is
// another, behind a handshake message that has begun comes its rest, behind an alert nothing.
func endsNothing(inner []byte) bool {
	inner = bytes.TrimRight(inner, "\x00")
	if len(inner) == 0 {
		return false
	}
	kind, said := inner[len(inner)-1], inner[:len(inner)-1]
	for kind == typeHandshake && len(said) >= 4 && said[0] == msgNewSessionTicket {
		n := 4 + (int(said[1])<<16 | int(said[2])<<8 | int(said[3]))
		if n > len(said) {
			return false
		}
		if said = said[n:]; len(said) == 0 {
			return true
		}
	}
	return kind == typeData
}
