package relay

import (
	"errors"
	"fmt"
	"io"

	"usher/internal/relay/record"
)

// keyed is a side under TLS 1.3 without crypto/tls.
type keyed struct {
	record.Conn
	part []byte // a record that has come in part
	slot int32  // in the loop
	warm bool   // it is known to the loop's warmth
}

// begin takes what has come already.
func (k *keyed) begin(ahead []byte) error {
	if len(ahead) > chunks/2 {
		return fmt.Errorf("%d bytes of TLS are ahead: more than one record", len(ahead))
	}
	k.keep(ahead)
	return nil
}

// read reads what the side says, decrypted, into b; raw is lent, for what comes from the
// socket. It tells whether there may be more now.
func (k *keyed) read(g *leg, b, raw []byte) (n int, more bool, err error) {
	had := copy(raw, k.part)
	come, err := g.readSocket(raw[had:])
	n, rest, bad := k.open(g, b, raw[:had+come])
	k.keep(rest)
	if bad != nil {
		return n, false, bad
	}
	return n, had+come == len(raw), err
}

// open decrypts the whole records that have come, and returns what follows them.
func (k *keyed) open(g *leg, b, raw []byte) (n int, rest []byte, err error) {
	for err == nil {
		var size int
		if size, err = record.Next(raw); err != nil || size == 0 || size > len(raw) {
			break
		}
		b, err = k.Open(b[:n], raw[:size])
		n, raw = len(b), raw[size:]
		if k.Owes() {
			if _, broken := g.writeSocket(k.Due(nil)); broken != nil {
				return n, nil, broken
			}
		}
	}
	switch {
	case err == nil:
		return n, raw, nil
	case errors.Is(err, io.EOF):
		return n, nil, err // what follows TLS's goodbye is nobody's
	}
	_, _ = g.writeSocket(k.Complain(nil, err))
	return n, nil, err
}

// keep keeps the beginning of a record until the rest has come.
func (k *keyed) keep(rest []byte) {
	k.part = nil
	if len(rest) > 0 {
		k.part = append(make([]byte, 0, len(rest)), rest...)
	}
}

// moves tells whether another process could go on with the side now.
func (k *keyed) moves() bool { return k == nil || k.Rests() }

// end wipes what is left of a side that has ended.
func (k *keyed) end(l *loop) {
	if k != nil {
		l.warmth.forget(k)
		k.Wipe()
	}
}

// warmth keeps the ciphers of the sides that have said or heard something last: they are
// a kilobyte each, and made of the secrets in some microseconds.
type warmth struct {
	sides [64]*keyed
	next  int
}

// note keeps the ciphers of one side, and drops those of another for it.
func (w *warmth) note(k *keyed) {
	if k == nil || k.warm {
		return
	}
	if old := w.sides[w.next]; old != nil {
		old.Cool()
		old.warm = false
	}
	k.warm, w.sides[w.next] = true, k
	w.next = (w.next + 1) % len(w.sides)
}

// forget takes one side out.
func (w *warmth) forget(k *keyed) {
	if !k.warm {
		return
	}
	for i, other := range w.sides {
		if other == k {
			w.sides[i] = nil
		}
	}
	k.warm = false
}
