package demo

import (
	"fmt"
	"strconv"
	"strings"
)

// transact obeys in the TRANSACTION state: RFC 1939 §5 and §7.
func (p *pop3) transact(verb, rest string) {
	switch verb {
	case "STAT":
		p.stat()
	case "LIST":
		p.scan(rest, func(m *message) string { return fmt.Sprint(m.size) })
	case "UIDL":
		p.scan(rest, p.box.uidl)
	case "RETR":
		p.retrieve(rest)
	case "TOP":
		p.top(rest)
	case "DELE":
		p.delete(rest)
	case "RSET":
		p.reset()
	case "NOOP":
		p.ok("nothing done")
	default:
		p.fail("unknown command")
	}
}

func (p *pop3) stat() {
	var size int64
	left := p.box.left()
	for _, m := range left {
		size += m.size
	}
	p.ok("%d %d", len(left), size)
}

// scan answers LIST and UIDL: what is said of one message, or of all.
func (p *pop3) scan(number string, say func(*message) string) {
	if number != "" {
		if m := p.message(number); m != nil {
			p.ok("%d %s", m.number, say(m))
		}
		return
	}
	var lines []string
	for _, m := range p.box.left() {
		lines = append(lines, fmt.Sprintf("%d %s", m.number, say(m)))
	}
	p.ok("%d messages", len(lines))
	p.list(lines...)
}

func (p *pop3) retrieve(number string) {
	if text, ok := p.fetch(number); ok {
		p.ok("%d octets", len(text))
		p.text(text)
	}
}

func (p *pop3) top(rest string) {
	number, lines, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(lines)
	if err != nil || n < 0 {
		p.fail("TOP takes a message and a number of lines")
		return
	}
	if text, ok := p.fetch(number); ok {
		p.ok("here it is")
		p.text(top(text, n))
	}
}

func (p *pop3) delete(number string) {
	if m := p.message(number); m != nil {
		m.deleted = true
		p.ok("message %d is marked", m.number)
	}
}

func (p *pop3) reset() {
	for i := range p.box.messages {
		p.box.messages[i].deleted = false
	}
	p.ok("%d messages", len(p.box.messages))
}

// message finds a message, or answers that there is none.
func (p *pop3) message(number string) *message {
	m, err := p.box.find(number)
	if err != nil {
		p.fail("%v", err)
		return nil
	}
	return m
}

// fetch returns the text of a message, or answers why not.
func (p *pop3) fetch(number string) (text []byte, ok bool) {
	m := p.message(number)
	if m == nil {
		return nil, false
	}
	text, err := p.box.text(m)
	if err != nil {
		p.fail("%v", err)
		return nil, false
	}
	return text, true
}
