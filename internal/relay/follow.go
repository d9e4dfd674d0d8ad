package relay

import "encoding/binary"

// A follower knows where records end in what crypto/tls is brought piece by piece.
type follower struct {
	header [headerSize]byte // of the record that is being read
	have   uint8            // bytes of the header
	left   int32            // bytes of the record behind its header
}

// most is how much may be read at once: the rest of a record, or where one begins
// many short ones or the first of a long one.
func (f *follower) most() int {
	if f.left > 0 {
		return int(f.left)
	}
	return 1 << 10
}

// take notes where records end.
func (f *follower) take(b []byte) {
	for len(b) > 0 {
		if f.left == 0 {
			n := copy(f.header[f.have:], b)
			f.have += uint8(n)
			b = b[n:]
			if int(f.have) < len(f.header) {
				return
			}
			f.have, f.left = 0, int32(binary.BigEndian.Uint16(f.header[3:]))
		}
		n := min(len(b), int(f.left))
		f.left -= int32(n)
		b = b[n:]
	}
}

// within tells whether a record has come in part.
func (f *follower) within() bool { return f.have > 0 || f.left > 0 }
