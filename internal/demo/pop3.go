package demo

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"time"
)

const (
	maxLine   = 1024             // RFC 2449 §4 asks for 255; some passwords are longer
	loginTime = time.Minute      // for each command before login
	idleTime  = 10 * time.Minute // and after it: RFC 1939 §3
)

// servePOP3 accepts until the door is closed.
func servePOP3(d *door, name string, mail net.Addr) {
	for {
		c, err := d.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // no descriptors left: others will leave
			continue
		}
		p := &pop3{conn: c, r: bufio.NewReaderSize(c, maxLine), w: bufio.NewWriter(c), mail: mail}
		go p.serve(d, name)
	}
}

// A pop3 is one POP3 session.
type pop3 struct {
	conn net.Conn
	r    *bufio.Reader
	w    *bufio.Writer
	mail net.Addr // of the IMAP server
	user string   // as USER has said
	box  *inbox   // nil before login
}

func (p *pop3) serve(d *door, name string) {
	defer d.leave(p.conn)
	p.ok("%s POP3 ready", name)
	for open := true; open; {
		verb, rest, err := p.read()
		if err != nil {
			break
		}
		open = p.do(verb, rest)
	}
	p.w.Flush()
	if p.box != nil {
		p.box.close()
	}
}

// read flushes the answer to the last command and waits for the next. One
// deadline is for both, so a client that does not read cannot hold us either.
func (p *pop3) read() (verb, rest string, err error) {
	wait := loginTime
	if p.box != nil {
		wait = idleTime
	}
	if err := p.conn.SetDeadline(time.Now().Add(wait)); err != nil {
		return "", "", err
	}
	if err := p.w.Flush(); err != nil {
		return "", "", err
	}
	line, err := p.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		p.fail("line too long")
		p.skipLine()
	}
	if err != nil {
		return "", "", err
	}
	verb, rest, _ = strings.Cut(strings.TrimRight(string(line), "\r\n"), " ")
	return strings.ToUpper(verb), rest, nil
}

// skipLine reads on, because a socket closed with unread bytes may lose the answer before them.
func (p *pop3) skipLine() {
	for {
		if _, err := p.r.ReadSlice('\n'); !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

// do obeys one command and says whether the session goes on.
func (p *pop3) do(verb, rest string) bool {
	switch {
	case verb == "QUIT":
		p.quit()
		return false
	case verb == "CAPA": // RFC 2449 §5
		p.ok("capabilities")
		p.list("USER", "TOP", "UIDL", "PIPELINING", "RESP-CODES", "AUTH-RESP-CODE")
	case p.box == nil:
		p.authorize(verb, rest)
	default:
		p.transact(verb, rest)
	}
	return true
}

// authorize obeys in the AUTHORIZATION state: RFC 1939 §4.
func (p *pop3) authorize(verb, rest string) {
	switch verb {
	case "USER":
		p.user = rest // RFC 1939 §7: whether it exists is nobody's business
		p.ok("password?")
	case "PASS":
		p.login(rest) // with its blanks: it has no other argument
	default:
		p.fail("log in first")
	}
}

func (p *pop3) login(password string) {
	if p.user == "" {
		p.fail("USER first")
		return
	}
	box, err := openInbox(p.mail, p.user, password)
	p.user = ""
	switch {
	case errors.Is(err, errRefused):
		p.fail("[AUTH] %v", err) // RFC 3206 §4
	case err != nil:
		p.fail("[SYS/TEMP] the mail store does not answer")
	default:
		p.box = box
		p.ok("%d messages", len(box.messages))
	}
}

// quit is the UPDATE state after a login: RFC 1939 §6.
func (p *pop3) quit() {
	if p.box != nil {
		if err := p.box.expunge(); err != nil {
			p.fail("some deleted messages are not removed")
			return
		}
	}
	p.ok("bye")
}

func (p *pop3) ok(format string, a ...any) { fmt.Fprintf(p.w, "+OK "+format+"\r\n", a...) }

func (p *pop3) fail(format string, a ...any) { fmt.Fprintf(p.w, "-ERR "+format+"\r\n", a...) }

// list writes the lines of a multi-line answer.
func (p *pop3) list(lines ...string) {
	for _, line := range lines {
		fmt.Fprintf(p.w, "%s\r\n", line)
	}
	fmt.Fprint(p.w, ".\r\n")
}

// text writes a message as a multi-line answer, with its dots stuffed: RFC 1939 §3.
func (p *pop3) text(text []byte) {
	dots := textproto.NewWriter(p.w).DotWriter()
	_, _ = dots.Write(text) // an error stays in p.w and is seen by the next Flush
	_ = dots.Close()
}
