package doorway

import (
	"bytes"
	"io"
	"testing"
)

// Whatever comes, no more is read than a message has, and no more than may come.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{"\x01\x00\x13{\"protocol\":\"imap\"}* OK", "\x01\xff\xff", "\x02\x00\x00", "\x01\x00\x02{}", "\x01\x00\x05null!"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, says []byte) {
		r := bytes.NewReader(says)
		var h [head]byte
		if _, err := io.ReadFull(r, h[:]); err != nil {
			return
		}
		var q Request
		err := decode(r, h, &q)
		read := len(says) - r.Len()
		if n, bad := length(h); read > head+maxMessage || bad == nil && read > head+n || bad != nil && read > head {
			t.Errorf("%d bytes are read of %q", read, says)
		}
		if err != nil {
			return
		}
		if _, err := encode(q); err != nil && len(q.Protocol)+len(q.TLS)+len(q.User) < maxMessage/6 {
			t.Errorf("%+v cannot be said again: %v", q, err)
		}
	})
}

func TestALongNameIsNotSent(t *testing.T) {
	if _, err := encode(Request{User: string(make([]byte, maxMessage))}); err == nil {
		t.Error("it is")
	}
}
