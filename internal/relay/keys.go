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

// protected is the type of all protected records: RFC 8446 §5.2.
const protected = 23

// note keeps the last protected record of what goes in one direction, whole records, and
// counts them. Before login that is little.
func note(l *record.Last, b []byte) {
	var last []byte
	for len(b) >= headerSize {
		n := headerSize + int(binary.BigEndian.Uint16(b[3:]))
		if n > len(b) {
			break
		}
		if b[0] == protected {
			last = b[:n]
			l.Count++
		}
		b = b[n:]
	}
	if last != nil {
		l.Record = append(l.Record[:0], last...)
	}
}

// takeOver takes a connection out of crypto/tls, and returns what that has decrypted and
// nobody has read. ok is false where it must stay there: TLS 1.2, a peer that has changed
// its keys already, or one of whom nothing was heard.
func (s *Socket) takeOver(t *tls.Conn, to *record.Conn) (decrypted []byte, ok bool) {
	state := t.ConnectionState()
	if state.Version != tls.VersionTLS13 || !state.HandshakeComplete || s.left > 0 {
		return nil, false
	}
	k := record.Keys{Suite: state.CipherSuite, Server: s.server, In: record.Half{Secret: s.secrets.client}, Out: record.Half{Secret: s.secrets.server}}
	if !s.server {
		k.In, k.Out = k.Out, k.In
	}
	if !to.Resume(k, s.in, s.out) {
		return nil, false
	}
	s.stopped = true
	decrypted, err := io.ReadAll(t)
	return decrypted, errors.Is(err, errAgain)
}

// Free takes a leg out of crypto/tls where that can be, so that it can go to another
// process, and tells whether crypto/tls has nothing to do with it any more.
func (l *Leg) Free() bool {
	if l.TLS == nil {
		return true
	}
	s, ok := l.TLS.NetConn().(*Socket)
	if !ok {
		return false
	}
	defer s.forget()
	var c record.Conn
	decrypted, ok := s.takeOver(l.TLS, &c)
	l.Pending = append(l.Pending, decrypted...)
	if !ok {
		s.stopped = false
		return false
	}
	keys, _ := c.Keys() // it has just begun
	l.TLS, l.Keys, l.Ahead = nil, &keys, bytes.Clone(s.ahead)
	return true
}

// forget wipes what was kept for takeOver.
func (s *Socket) forget() {
	s.secrets.wipe()
	s.in, s.out = record.Last{}, record.Last{}
}
