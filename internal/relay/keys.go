package relay

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net"

	"usher/internal/relay/record"
)

// How a connection of TLS 1.3 is taken out of crypto/tls, which tells its secrets
// (KeyLogWriter) but not how many records it has sealed and opened. The last record of
// each direction tells: it opens with the right number only. See doc/adr/0036.

// Server is tls.Server over a connection, so that an engine can take it over. ahead was
// read already, and belongs to the handshake.
func Server(nc net.Conn, cfg *tls.Config, ahead ...byte) *tls.Conn {
	s := &Socket{Conn: nc, ahead: ahead, server: true}
	return tls.Server(s, s.confided(cfg))
}

// Client is tls.Client over a connection, as Server is tls.Server.
func Client(nc net.Conn, cfg *tls.Config, ahead ...byte) *tls.Conn {
	s := &Socket{Conn: nc, ahead: ahead}
	return tls.Client(s, s.confided(cfg))
}

// confided is a configuration for this one connection, of which it tells the secrets.
func (s *Socket) confided(cfg *tls.Config) *tls.Config {
	c := cfg.Clone()
	s.secrets.also = c.KeyLogWriter
	c.KeyLogWriter = &s.secrets
	return c
}

// secrets are what crypto/tls tells of a connection. They leave memory only with the
// connection itself.
type secrets struct {
	client, server []byte    // client_application_traffic_secret_0 and the server's
	also           io.Writer // whom the configuration names; nil: nobody
}

// Write takes a line of NSS's key log format.
func (k *secrets) Write(line []byte) (int, error) {
	if f := bytes.Fields(line); len(f) == 3 {
		switch string(f[0]) {
		case "CLIENT_TRAFFIC_SECRET_0":
			k.client = unhex(f[2])
		case "SERVER_TRAFFIC_SECRET_0":
			k.server = unhex(f[2])
		}
	}
	if k.also != nil {
		return k.also.Write(line)
	}
	clear(line) // nobody reads it again
	return len(line), nil
}

func unhex(digits []byte) []byte {
	b := make([]byte, hex.DecodedLen(len(digits)))
	if _, err := hex.Decode(b, digits); err != nil {
		return nil
	}
	return b
}

func (k *secrets) wipe() {
	clear(k.client)
	clear(k.server)
	k.client, k.server = nil, nil
}

// A lastRecord is the last protected record of one direction, and how many there were.
// Before login that is little.
type lastRecord struct {
	bytes []byte
	count uint64
}

// protected is the type of all protected records: RFC 8446 §5.2.
const protected = 23

// note takes one whole record.
func (l *lastRecord) note(rec []byte) {
	if rec[0] != protected {
		return
	}
	l.count++
	l.bytes = append(l.bytes[:0], rec...)
}

// noteAll takes what crypto/tls writes: whole records.
func (l *lastRecord) noteAll(b []byte) {
	for len(b) >= headerSize {
		n := headerSize + int(binary.BigEndian.Uint16(b[3:]))
		if n > len(b) {
			break
		}
		l.note(b[:n])
		b = b[n:]
	}
}

// keys takes a connection out of crypto/tls, with what that has decrypted and nobody has
// read. ok is false where it must stay there: TLS 1.2, a peer that has changed its keys
// already, or one of whom nothing was heard.
func (s *Socket) keys(t *tls.Conn) (k record.Keys, decrypted []byte, ok bool) {
	state := t.ConnectionState()
	if state.Version != tls.VersionTLS13 || !state.HandshakeComplete || s.left > 0 {
		return k, nil, false
	}
	k = record.Keys{Suite: state.CipherSuite, Server: s.server, In: record.Half{Secret: s.secrets.client}, Out: record.Half{Secret: s.secrets.server}}
	if !s.server {
		k.In, k.Out = k.Out, k.In
	}
	var in, out bool
	k.In.Number, in = s.in.next(k.Suite, k.In.Secret)
	k.Out.Number, out = s.out.next(k.Suite, k.Out.Secret)
	if !in || !out {
		return k, nil, false
	}
	s.stopped = true
	decrypted, err := io.ReadAll(t)
	return k, decrypted, errors.Is(err, errAgain)
}

// next is the number of the next record.
func (l *lastRecord) next(suite uint16, secret []byte) (uint64, bool) {
	if l.count == 0 {
		return 0, false
	}
	return record.Find(suite, secret, l.bytes, l.count-1)
}

// forget wipes what was kept for keys.
func (s *Socket) forget() {
	s.secrets.wipe()
	s.in, s.out = lastRecord{}, lastRecord{}
}
