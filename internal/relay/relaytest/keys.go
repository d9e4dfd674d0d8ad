package relaytest

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"usher/internal/relay"
)

// keyUpdates has both peers change their keys while they talk, in pieces of any size.
func keyUpdates(t *testing.T, e relay.Engine, w way) {
	if w.client != 0 {
		s := newScene(t, e, w, nil)
		s.rekeyed(s.client.records(t, "CLIENT_TRAFFIC_SECRET_0"), s.client, s.server)
	}
	if w.server != 0 {
		s := newScene(t, e, w, nil)
		s.rekeyed(s.server.records(t, "SERVER_TRAFFIC_SECRET_0"), s.server, s.client)
	}
}

// rekeyed has one talk under ever new keys, and the other answer under those that were
// asked for.
func (s *scene) rekeyed(r *records, from, to peer) {
	s.t.Helper()
	said, wire := chatter(s.t, r)
	go func() {
		for i := 0; len(wire) > 0; i++ { // in odd pieces
			n := min(len(wire), 1+i*i%97)
			if _, err := from.raw.Write(wire[:n]); err != nil {
				return
			}
			wire = wire[n:]
		}
	}()
	to.hear(s.t, string(said))
	go func() { _, _ = io.WriteString(to, answer) }()
	from.hear(s.t, answer)
	s.engine.Kick(s.pair.ID, relay.Kicked)
	s.end(relay.Kicked)
}

// chatter is letters of which each is a record, with key updates between them.
func chatter(t testing.TB, r *records) (said, wire []byte) {
	for i := range 2000 {
		letter := byte('a' + i%26)
		said = append(said, letter)
		wire = append(wire, r.seal(application, []byte{letter})...)
		switch {
		case i%700 == 10:
			wire = append(wire, r.update(t, true, 5)...) // few: the far end bears 16 answers
		case i%7 == 3:
			wire = append(wire, r.update(t, false, 5)...)
		case i%7 == 5:
			wire = append(wire, r.update(t, false, 2)...) // in fragments
		}
	}
	return said, wire
}

// askNeverListen has a client ask for key updates, which are answered, and read none.
func askNeverListen(t *testing.T, e relay.Engine, w way) {
	s := newScene(t, e, w, func(p *relay.Pair) {
		_ = p.Client.Conn.(*net.TCPConn).SetWriteBuffer(16 << 10)
		_ = p.Client.Conn.(*net.TCPConn).SetReadBuffer(256 << 10) // more than is read of it at once
	})
	_ = s.client.raw.SetReadBuffer(16 << 10)
	_ = s.client.raw.SetWriteBuffer(256 << 10)
	go func() { _, _ = io.Copy(io.Discard, s.server) }()
	r := s.client.records(t, "CLIENT_TRAFFIC_SECRET_0")
	const most = 16 << 20
	for sent := 0; ; {
		questions := bytes.Join([][]byte{r.seal(application, []byte("x")), r.update(t, true, 5)}, nil)
		for range 14 {
			questions = append(questions, r.update(t, true, 5)...)
		}
		_ = s.client.raw.SetWriteDeadline(time.Now().Add(time.Second))
		n, err := s.client.raw.Write(questions)
		if err != nil {
			break // it is slowed down
		}
		if sent += n; sent > most {
			t.Error("a client that never reads may ask for ever")
			break
		}
	}
	s.client.reset()
	_ = s.server.raw.Close()
	<-s.ended
}

// Nag has a client under TLS 1.3 ask for new keys in one breath, so many times, and returns
// how many bytes it hears until its server answers. then is called meanwhile.
func Nag(t *testing.T, e relay.Engine, times int, then func(id uint64)) (heard int) {
	t.Helper()
	s := newScene(t, e, ways[4], nil)
	r := s.client.records(t, "CLIENT_TRAFFIC_SECRET_0")
	breath := r.seal(application, []byte("x"))
	for range times {
		breath = append(breath, r.update(t, true, 5)...)
	}
	if _, err := s.client.raw.Write(breath); err != nil {
		t.Fatal(err)
	}
	s.server.hear(t, "x")
	then(s.pair.ID)
	_, _ = s.client.raw.Write(r.seal(application, []byte("y")))
	s.server.hear(t, "y")
	_, _ = s.server.Close(), s.client.raw.CloseWrite()
	all, err := io.ReadAll(s.client.raw)
	if err != nil {
		t.Fatal(err)
	}
	_ = s.client.raw.Close()
	<-s.ended
	return len(all)
}
