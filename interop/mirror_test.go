package interop

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A mirror is a mail server that says back whatever it hears after the login: a byte that
// is lost, doubled or out of order on its way there or back is seen. To users whose names
// begin with curl it is a server of which curl can make use: see serveCurl.
type mirror struct {
	imap, imaps string
	over        atomic.Bool // what takes long is to come to its end

	mu    sync.Mutex
	boxes map[string]*passage // by the mailbox
}

// A passage is what has gone through a mailbox.
type passage struct {
	hash.Hash
	bytes int
}

func (p *passage) Write(b []byte) (int, error) {
	p.bytes += len(b)
	return p.Hash.Write(b)
}

func newMirror(t *testing.T, cert, key string) *mirror {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	secured, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &mirror{imap: plain.Addr().String(), imaps: secured.Addr().String(), boxes: map[string]*passage{}}
	t.Cleanup(func() { m.over.Store(true); _, _ = plain.Close(), secured.Close() })
	go m.serve(plain)
	go m.serve(tls.NewListener(secured, &tls.Config{Certificates: []tls.Certificate{pair}}))
	return m
}

func (m *mirror) serve(ln net.Listener) {
	for {
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		go m.reflect(nc)
	}
}

func (m *mirror) reflect(nc net.Conn) {
	defer func() { _ = nc.Close() }()
	r := bufio.NewReader(nc)
	_, _ = io.WriteString(nc, "* OK [CAPABILITY IMAP4rev1 LITERAL+] mirror\r\n")
	for {
		tag, verb, rest, err := command(r)
		if err != nil {
			return
		}
		_, _ = io.WriteString(nc, tag+" OK [CAPABILITY IMAP4rev1] done\r\n")
		switch {
		case verb == "LOGIN" && strings.Contains(rest, "curl"):
			m.serveCurl(nc, r)
			return
		case verb == "LOGIN":
			_, _ = io.Copy(nc, r)
			return
		}
	}
}

// command reads one.
func command(r *bufio.Reader) (tag, verb, rest string, err error) {
	line, err := r.ReadString('\n')
	tag, rest, _ = strings.Cut(strings.TrimSpace(line), " ")
	verb, rest, _ = strings.Cut(rest, " ")
	return tag, strings.ToUpper(verb), rest, err
}

// backends are both ways to it.
func (m *mirror) backends(ca string) string {
	byName := strings.NewReplacer("127.0.0.1", "localhost")
	return fmt.Sprintf("[backend.plain]\nimap = [%q]\n\n[backend.secured]\nimap = [%q]\ntls = \"implicit\"\nca = %q\n\n",
		m.imap, byName.Replace(m.imaps), ca)
}

// longMessage is how long the message is that is fetched, in pieces.
const (
	longMessage = 512 << 10
	piece       = 4 << 10
)

// serveCurl is a server with one message, long or without end.
func (m *mirror) serveCurl(nc net.Conn, r *bufio.Reader) {
	var box *passage
	for {
		tag, verb, rest, err := command(r)
		if err != nil {
			return
		}
		switch verb {
		case "SELECT":
			box = m.box(rest)
			_, err = io.WriteString(nc, "* 1 EXISTS\r\n* OK [UIDVALIDITY 1] it\r\n")
		case "IDLE":
			err = m.idle(nc, box)
		case "UID":
			_, err = fmt.Fprintf(nc, "* 1 FETCH (UID 1 BODY[] {%d}\r\n", longMessage)
			m.fetch(nc, box)
			_, _ = io.WriteString(nc, ")\r\n")
		case "APPEND":
			if m.over.Load() {
				_, _ = io.WriteString(nc, tag+" NO that was the last one\r\n")
				continue
			}
			name, size, _ := strings.Cut(rest, " ")
			err = m.append(nc, r, m.box(name), size)
		case "LOGOUT":
			_, err = io.WriteString(nc, "* BYE see you\r\n")
		}
		if err != nil {
			return
		}
		_, _ = io.WriteString(nc, tag+" OK done\r\n")
	}
}

// oneIdle is how long a server stays in IDLE: curl waits for the end of a command for two minutes at most.
const oneIdle = 30 * time.Second

// idle says lines for as long as there is time.
func (m *mirror) idle(nc net.Conn, box *passage) error {
	_, err := io.WriteString(nc, "+ idling\r\n")
	for began := time.Now(); err == nil && !m.over.Load() && time.Since(began) < oneIdle; {
		line := fmt.Sprintf("* IDLE %x\r\n", rand.Uint64())
		m.note(box, []byte(line))
		_, err = io.WriteString(nc, line)
		time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
	}
	return err
}

// fetch says a message, slowly while there is time, then in one breath.
func (m *mirror) fetch(nc net.Conn, box *passage) {
	b := make([]byte, piece)
	var seed [32]byte
	seed[0] = byte(rand.Uint32())
	random := rand.NewChaCha8(seed)
	for range longMessage / piece {
		_, _ = random.Read(b)
		m.note(box, b)
		if _, err := nc.Write(b); err != nil {
			return
		}
		if !m.over.Load() {
			time.Sleep(oneIdle / (longMessage / piece))
		}
	}
}

// append takes a message, as slowly as it comes.
func (m *mirror) append(nc net.Conn, r *bufio.Reader, box *passage, size string) error {
	n := 0
	if _, err := fmt.Sscanf(size[strings.Index(size, "{")+1:], "%d}", &n); err != nil {
		return err
	}
	_, err := io.WriteString(nc, "+ go on\r\n")
	b := make([]byte, piece)
	for err == nil && n > 0 {
		var got int
		got, err = r.Read(b[:min(n, len(b))])
		m.note(box, b[:got])
		n -= got
	}
	_, _ = r.ReadString('\n')
	return err
}

func (m *mirror) box(name string) *passage {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = strings.Trim(name, `"`)
	if m.boxes[name] == nil {
		m.boxes[name] = &passage{Hash: sha256.New()}
	}
	return m.boxes[name]
}

func (m *mirror) note(p *passage, b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, _ = p.Write(b)
}

// passed is what has gone through a mailbox.
func (m *mirror) passed(name string) (sum string, bytes int) {
	p := m.box(name)
	m.mu.Lock()
	defer m.mu.Unlock()
	return fmt.Sprintf("%x", p.Sum(nil)), p.bytes
}
