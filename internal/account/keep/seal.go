package keep

import (
	"bufio"
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
)

// A sealed file is the magic, a salt, and chunks of AES-256-GCM. Each file has a
// key of its own, made of ours and the salt, so that the nonces may be counted:
// a chunk's nonce is its number and whether it is the last. So none can be left out,
// moved or cut off.
const (
	magic    = "usher, sealed 1\n"
	saltSize = 32
	chunk    = 64 << 10 // bytes before they are sealed
)

func newAEAD(key, salt []byte) (cipher.AEAD, error) {
	own, err := hkdf.Key(sha256.New, key, salt, "usher: sealed file", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(own)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// nonce is that of the nth chunk.
func nonce(n uint64, last bool) []byte {
	b := make([]byte, 12)
	binary.BigEndian.PutUint64(b, n)
	if last {
		b[11] = 1
	}
	return b
}

// A sealer seals what is written to it.
type sealer struct {
	to   io.Writer
	aead cipher.AEAD
	buf  []byte // of the chunk to come; never empty once something was written
	n    uint64 // chunks that are written
}

func newSealer(to io.Writer, key []byte) (*sealer, error) {
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // it never fails
	aead, err := newAEAD(key, salt)
	if err != nil {
		return nil, err
	}
	if _, err := to.Write(append([]byte(magic), salt...)); err != nil {
		return nil, err
	}
	return &sealer{to: to, aead: aead, buf: make([]byte, 0, chunk+aead.Overhead())}, nil
}

// Write implements io.Writer.
func (s *sealer) Write(p []byte) (n int, err error) {
	for n < len(p) {
		if len(s.buf) == chunk { // there is more, so it is not the last
			if err := s.put(false); err != nil {
				return n, err
			}
		}
		take := min(len(p)-n, chunk-len(s.buf))
		s.buf = append(s.buf, p[n:n+take]...)
		n += take
	}
	return n, nil
}

// finish writes the last chunk.
func (s *sealer) finish() error { return s.put(true) }

func (s *sealer) put(last bool) error {
	_, err := s.to.Write(s.aead.Seal(s.buf[:0], nonce(s.n, last), s.buf, nil))
	s.buf, s.n = s.buf[:0], s.n+1
	return err
}

// An opener gives what was sealed. It gives io.EOF only behind the last chunk.
type opener struct {
	from *bufio.Reader
	aead cipher.AEAD
	buf  []byte
	rest []byte // of buf
	n    uint64 // chunks that were read
	err  error  // after rest
}

func newOpener(from *bufio.Reader, key []byte) (*opener, error) {
	head := make([]byte, len(magic)+saltSize)
	if _, err := io.ReadFull(from, head); err != nil {
		return nil, unreadable(err)
	}
	salt, ok := bytes.CutPrefix(head, []byte(magic))
	if !ok {
		return nil, ErrUnreadable
	}
	aead, err := newAEAD(key, salt)
	if err != nil {
		return nil, err
	}
	return &opener{from: from, aead: aead, buf: make([]byte, chunk+aead.Overhead())}, nil
}

// unreadable is what a file lacks that ends too early. Other errors are the disk's.
func unreadable(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrUnreadable
	}
	return err
}

// Read implements io.Reader.
func (o *opener) Read(p []byte) (int, error) {
	for len(o.rest) == 0 {
		if o.err != nil {
			return 0, o.err
		}
		o.rest, o.err = o.next()
	}
	n := copy(p, o.rest)
	o.rest = o.rest[n:]
	return n, nil
}

// next opens the next chunk. With the last one comes io.EOF.
func (o *opener) next() ([]byte, error) {
	size, err := io.ReadFull(o.from, o.buf)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, unreadable(err)
	}
	_, end := o.from.Peek(1)
	if end != nil && !errors.Is(end, io.EOF) {
		return nil, end
	}
	last := end != nil
	text, err := o.aead.Open(o.buf[:0], nonce(o.n, last), o.buf[:size], nil)
	if err != nil {
		return nil, ErrUnreadable
	}
	o.n++
	if last {
		return text, io.EOF
	}
	return text, nil
}
