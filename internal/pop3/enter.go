package pop3

import (
	"context"
	"fmt"
	"strings"

	"usher/internal/login"
	"usher/internal/sasl"
	"usher/internal/wire"
)

// maxCapabilities is how many lines of a server's CAPA answer are read.
const maxCapabilities = 100

// maxCommand is how long a command may be, without its end: RFC 2449 §4.
const maxCommand = 253

// entry is the conversation with one server.
type entry struct {
	conn    *wire.Conn
	ticket  login.Ticket
	sasl    map[string]bool // the server's mechanisms; nil: it was not asked
	xclient bool            // the server has announced it: it trusts us
	isUsher bool
	told    bool // XCLIENT was sent, and is not answered yet
}

// Enter implements login.Protocol.
func (Protocol) Enter(ctx context.Context, b *wire.Conn, t login.Ticket) (login.Welcome, error) {
	e := &entry{conn: b, ticket: t}
	if t.Preauth {
		return e.admitted()
	}
	if err := e.greeting(); err != nil {
		return login.Welcome{}, err
	}
	if err := e.startTLS(ctx); err != nil {
		return login.Welcome{}, err
	}
	if err := e.utf8(); err != nil {
		return login.Welcome{}, err
	}
	r, err := e.login()
	if err != nil {
		return login.Welcome{}, fmt.Errorf("login: %w", err)
	}
	if !r.ok {
		return login.Welcome{}, refused(r)
	}
	return login.Welcome{Text: r.text}, nil
}

// reply is a server's answer: RFC 1939 §3.
type reply struct {
	ok   bool
	text string
}

// parseReply reads a status line.
func parseReply(line string) (reply, error) {
	status, text, _ := strings.Cut(line, " ")
	switch strings.ToUpper(status) {
	case "+OK":
		return reply{true, text}, nil
	case "-ERR":
		return reply{false, text}, nil
	}
	return reply{}, fmt.Errorf("unexpected line %.80q", line)
}

// ask sends a command and reads its answer.
func (e *entry) ask(command ...string) (reply, error) {
	if err := e.conn.WriteLine(command...); err != nil {
		return reply{}, err
	}
	return e.read()
}

func (e *entry) read() (reply, error) {
	line, err := e.line()
	if err != nil {
		return reply{}, err
	}
	return parseReply(line)
}

// line reads the next line that counts.
func (e *entry) line() (string, error) {
	if err := e.identified(); err != nil {
		return "", err
	}
	return e.conn.ReadLine()
}

// introduce tells a server who the client is, in the same breath as the next
// command. Another usher is told at least how far the login has come.
func (e *entry) introduce() {
	if t := e.ticket; e.xclient && t.Trusted || e.isUsher {
		t.Trusted = t.Trusted && e.xclient
		_ = e.conn.WriteAs("XCLIENT …", "XCLIENT ", identity(t)) // an account's attributes may be secrets
		e.told = true
	}
}

// identified reads the answer to XCLIENT, if there is one to come.
func (e *entry) identified() error {
	if !e.told {
		return nil
	}
	e.told = false
	r, err := e.read()
	if err == nil && !r.ok && e.xclient {
		err = login.Misconfiguration("the server does not take XCLIENT, which it has announced: %.80q; or leave out trusted of this backend", r.text)
	}
	return err
}

func (e *entry) greeting() error {
	r, err := e.read()
	if err == nil && !r.ok {
		err = fmt.Errorf("the server refuses: %.80q", r.text)
	}
	if err != nil {
		return fmt.Errorf("waiting for the greeting: %w", err)
	}
	text, xclient := strings.CutPrefix(r.text, xclient)
	e.xclient, e.isUsher = xclient, login.IsUsher(text)
	return nil
}

// startTLS is RFC 2595 §4.
func (e *entry) startTLS(ctx context.Context) error {
	cfg := e.ticket.TLS
	if cfg == nil {
		return nil
	}
	r, err := e.ask("STLS")
	if err != nil {
		return fmt.Errorf("STLS: %w", err)
	}
	if !r.ok {
		return login.Misconfiguration("the server refuses STLS (%.80q); choose another tls for this backend", r.text)
	}
	return e.conn.EnterTLS(ctx, cfg)
}

// utf8 passes the client's wish on. A server that does not know it never sends
// what the client would have to be ready for.
func (e *entry) utf8() error {
	if !e.ticket.Client.UTF8 {
		return nil
	}
	_, err := e.ask("UTF8")
	return err
}

// login logs in by what the ticket wants, or what fits.
func (e *entry) login() (reply, error) {
	e.introduce()
	m, err := e.ticket.Choose(e.offers)
	if err != nil {
		return reply{}, err
	}
	must := m != nil || e.ticket.Master != ""
	if m == nil && (must || awkward(e.ticket.User)) {
		m = &sasl.Plain
	}
	switch {
	case m == nil:
	case e.offers(m.Name): // asked first: some servers answer an unknown mechanism like a wrong password
		return e.auth(m)
	case must:
		return reply{}, login.Misconfiguration("the server does not offer SASL %s", m.Name)
	}
	if r, err := e.ask("USER ", e.ticket.User); err != nil || !r.ok {
		return r, err
	}
	if err := e.conn.WriteAs("PASS …", "PASS ", e.ticket.Password); err != nil {
		return reply{}, err
	}
	return e.read()
}

// awkward tells whether a name may be read as two arguments by servers.
func awkward(name string) bool { return strings.ContainsAny(name, " \t") }

// offers tells whether the server has a mechanism: RFC 2449 §5, RFC 5034 §3. One
// that does not know the question has none.
func (e *entry) offers(mechanism string) bool {
	if e.sasl == nil {
		e.sasl = e.mechanisms()
	}
	return e.sasl[mechanism]
}

// mechanisms asks for all that the server has.
func (e *entry) mechanisms() map[string]bool {
	r, err := e.ask("CAPA")
	found := map[string]bool{}
	for range maxCapabilities {
		if err != nil || !r.ok {
			break
		}
		var line string
		if line, err = e.conn.ReadLine(); line == "." {
			break
		}
		words := strings.Fields(strings.ToUpper(line))
		if len(words) > 0 && words[0] == "SASL" {
			for _, name := range words[1:] {
				found[name] = true
			}
		}
	}
	return found
}

func (e *entry) auth(m *sasl.Mechanism) (r reply, err error) {
	x := &login.Entry{Conn: e.conn, Command: "AUTH " + m.Name, IR: maxCommand}
	x.Answer = func() (string, error) {
		line, err := e.line()
		if err != nil {
			return "", err
		}
		if challenge, ok := strings.CutPrefix(line+" ", "+ "); ok { // of an empty one some omit the blank
			return strings.TrimSuffix(challenge, " "), nil
		}
		if r, err = parseReply(line); err != nil {
			return "", err
		}
		return "", sasl.ErrVerdict
	}
	err = x.Enter(m, e.ticket.Credentials(m), func() bool { return r.ok })
	return r, err
}

func refused(r reply) error {
	code, text := cutCode(r.text)
	if where, ok := cutPrefixFold(code, "REFERRAL/"); ok {
		if to, ok := login.ParseReferral(where); ok {
			return to
		}
	}
	return login.Refused("the server", strings.ToUpper(code), text)
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}
