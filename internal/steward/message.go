package steward

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"usher/internal/relay"
	"usher/internal/relay/record"
)

// format is raised when a word changes its meaning. The steward is mostly the older one:
// usher speaks all formats that there have been, and a steward takes over from those of
// its own format and older ones. Words that are not known are skipped.
const format = 1

// A kind is what a word says.
type kind byte

// From usher to its steward.
const (
	hello   kind = 1 + iota // N: format
	lead                    // the sessions are this usher's now: all are to be told
	list                    // N: all are to be told again
	start                   // Pair, Text: its note; with two sockets
	kick                    // ID, Text: why
	release                 // ID
	heard                   // N: endings up to this one stand in the log
	retire                  // with a socket to the successor
)

// From the steward to an usher.
const (
	welcome    kind = 32 + iota // N: format, ID: of the process, Text: the build, Stats.FromClient: sessions
	have                        // ID, Text: the note
	listed                      // N of the last list: all were told
	ended                       // N, ID, Stats, Text: the note
	forgotten                   // N: so many endings were forgotten, as nobody came to hear them
	gone                        // ID: another usher has it now
	superseded                  // … and all others
	released                    // ID, Pair; with two sockets
	kept                        // ID: it is not released
	retiring                    // N: 1, the successor has the socket now; 0: it has not
	leaving                     // nothing is left here: go to the successor
)

// From a steward to its successor, besides kick and ended, and back, besides kept.
const (
	heritage kind = 64 + iota // N: format; with the socket that ushers come to
	moving                    // Pair, Text: its note; with two sockets, which stay open here until it is adopted
	adopted                   // ID
	passed                    // N: 1, ushers come to another steward by now; 0: they come here
)

// A word is one thing that is said. A message is words one behind the other, each behind
// its length, with the sockets of all of them beside it.
type word struct {
	kind  kind
	id    uint64
	n     uint64
	text  []byte
	stats relay.Stats
	pair  relay.Pair
	fds   []int // that came with it; on the way out those of pair, or these
}

// sockets is how many come with a word.
func (k kind) sockets() int {
	switch k {
	case start, released, moving:
		return 2
	case retire, heritage:
		return 1
	}
	return 0
}

// Sizes of messages.
const (
	maxBatch = 64 << 10 // words are gathered up to this length
	maxWord  = 64 << 10 // a longer one is not sent
	maxFDs   = 240      // of 253 that one message may have
	maxBytes = maxBatch + maxWord
)

func (w *word) append(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0, byte(w.kind))
	dst = binary.BigEndian.AppendUint64(dst, w.id)
	dst = binary.AppendUvarint(dst, w.n)
	dst = appendBytes(dst, w.text)
	switch w.kind {
	case ended, welcome:
		dst = appendStats(dst, w.stats)
	case start, released, moving:
		dst = appendPair(dst, &w.pair)
	}
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	return dst
}

func appendBytes[T ~string | ~[]byte](dst []byte, b T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

func appendStats(dst []byte, st relay.Stats) []byte {
	last := int64(0)
	if !st.Last.IsZero() {
		last = st.Last.UnixNano()
	}
	dst = binary.AppendUvarint(dst, st.FromClient)
	dst = binary.AppendUvarint(dst, st.FromServer)
	dst = binary.AppendVarint(dst, last)
	return appendBytes(dst, st.Ended)
}

func appendPair(dst []byte, p *relay.Pair) []byte {
	dst = binary.AppendVarint(dst, int64(p.Idle))
	dst = appendBytes(dst, p.Farewell)
	dst = appendStats(dst, p.Before)
	dst = appendBool(dst, p.MidLine)
	return appendLeg(appendLeg(dst, p.Client), p.Server)
}

func appendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, 1)
	}
	return append(dst, 0)
}

func appendLeg(dst []byte, l relay.Leg) []byte {
	dst = appendBytes(dst, l.Pending)
	if dst = appendBool(dst, l.Keys != nil); l.Keys == nil {
		return dst
	}
	dst = binary.BigEndian.AppendUint16(dst, l.Keys.Suite)
	dst = appendBool(dst, l.Keys.Server)
	for _, h := range []record.Half{l.Keys.In, l.Keys.Out} {
		dst = binary.AppendUvarint(appendBytes(dst, h.Secret), h.Number)
	}
	return appendBytes(dst, l.Ahead)
}

// errForm is when what has come is no message.
var errForm = errors.New("a message in bad form")

// parse takes a message apart, and gives each word its sockets. After an error they are
// the caller's.
func parse(b []byte, fds []int) (words []word, err error) {
	for len(b) > 0 {
		if len(b) < 4 || uint64(binary.BigEndian.Uint32(b)) > uint64(len(b)-4) {
			return nil, errForm
		}
		n := int(binary.BigEndian.Uint32(b))
		r := reader{b: b[4 : 4+n]}
		b = b[4+n:]
		w := r.word()
		if r.err != nil {
			return nil, r.err
		}
		need := w.kind.sockets()
		if need > len(fds) {
			return nil, fmt.Errorf("%w: a socket is missing", errForm)
		}
		w.fds, fds = fds[:need:need], fds[need:]
		words = append(words, w)
	}
	if len(fds) > 0 {
		return nil, fmt.Errorf("%w: a socket too many", errForm)
	}
	return words, nil
}

// reader takes a word apart.
type reader struct {
	b   []byte
	err error
}

func (r *reader) word() (w word) {
	w.kind = kind(r.byte())
	w.id = r.uint(8)
	w.n = r.uvarint()
	w.text = r.bytes()
	switch w.kind {
	case ended, welcome:
		w.stats = r.stats()
	case start, released, moving:
		w.pair = r.pair()
		w.pair.ID = w.id
	}
	return w // what follows is of a later version
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.b, r.err = nil, errForm
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) byte() byte { return byte(r.uint(1)) }

func (r *reader) uint(size int) (n uint64) {
	for _, c := range r.take(size) {
		n = n<<8 | uint64(c)
	}
	return n
}

func (r *reader) uvarint() uint64 {
	n, size := binary.Uvarint(r.b)
	if size <= 0 {
		r.err = errForm
	}
	r.take(max(size, 0))
	return n
}

func (r *reader) varint() int64 {
	n, size := binary.Varint(r.b)
	if size <= 0 {
		r.err = errForm
	}
	r.take(max(size, 0))
	return n
}

// bytes is a copy: what it is read from is used again.
func (r *reader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.err = errForm
		return nil
	}
	if n == 0 {
		return nil
	}
	return append([]byte(nil), r.take(int(n))...)
}

func (r *reader) stats() (st relay.Stats) {
	st.FromClient, st.FromServer = r.uvarint(), r.uvarint()
	if last := r.varint(); last != 0 {
		st.Last = time.Unix(0, last)
	}
	st.Ended = relay.Ending(r.known())
	return st
}

func (r *reader) pair() (p relay.Pair) {
	p.Idle = time.Duration(r.varint())
	p.Farewell = r.known()
	p.Before = r.stats()
	p.MidLine = r.byte() == 1
	p.Client, p.Server = r.leg(), r.leg()
	return p
}

func (r *reader) leg() (l relay.Leg) {
	l.Pending = r.bytes()
	if r.byte() != 1 {
		return l
	}
	l.Keys = &record.Keys{Suite: uint16(r.uint(2)), Server: r.byte() == 1}
	for _, h := range []*record.Half{&l.Keys.In, &l.Keys.Out} {
		h.Secret, h.Number = r.bytes(), r.uvarint()
	}
	l.Ahead = r.bytes()
	return l
}
