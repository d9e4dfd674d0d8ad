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
	raw = raw[:had+g.most(len(raw)-had)]
	come, err := g.readSocket(raw[had:])
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // TLS has a goodbye of its own: RFC 8446 §6.1
	}
	n, rest, bad := k.open(b, raw[:had+come])
	k.keep(rest)
	g.dear = k.Turned()
	if broken := k.answer(g, bad); broken != nil {
		return n, false, broken
	}
	return n, had+come == len(raw) && !g.dear, err
}

// open decrypts the whole records that have come, and returns what follows them.
func (k *keyed) open(b, raw []byte) (n int, rest []byte, err error) {
	for err == nil {
		var size int
		if size, err = record.Next(raw); err != nil || size == 0 || size > len(raw) {
			break
		}
		b, err = k.Open(b[:n], raw[:size])
		n, raw = len(b), raw[size:]
	}
	if err != nil { // what follows TLS's goodbye is nobody's
		return n, nil, err
	}
	return n, raw, nil
}

// answer tells the side what it is owed: one new key, however many it has asked for since
// we spoke (RFC 8446 §4.6.3), or what is wrong with what it has said.
func (k *keyed) answer(g *leg, bad error) error {
	var say []byte
	switch {
	case bad != nil && !errors.Is(bad, io.EOF):
		say = k.Complain(nil, bad)
	case k.Owes() && !g.shut:
		say = k.Due(nil)
	}
	if len(say) > 0 {
		if _, err := g.writeSocket(say); err != nil && bad == nil {
			return err
		}
	}
	return bad
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
