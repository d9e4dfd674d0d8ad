package imap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"

	"usher/internal/login"
	"usher/internal/sasl"
	"usher/internal/wire"
)

// The tags that we use towards servers, never the client's: it may hold odd
// bytes, or collide.
const (
	tagTLS        = "S"
	tagCapability = "C"
	tagLogin      = "L"
)

// maxUntagged is how many lines of a server before its answer are kept for the
// client.
const maxUntagged = 50

// entry is the conversation with one server.
type entry struct {
	conn     *wire.Conn
	ticket   login.Ticket
	caps     string   // as announced last; "" if not known
	untagged []string // for the client
}

// Enter implements login.Protocol.
func (Protocol) Enter(ctx context.Context, b *wire.Conn, t login.Ticket) (login.Welcome, error) {
	e := &entry{conn: b, ticket: t}
	steps := []func(context.Context) error{e.greeting, e.startTLS, e.learn}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return login.Welcome{}, err
		}
	}
	r, err := e.login()
	if err == nil && e.caps == "" {
		err = e.capability() // the client must know what it has now: RFC 9051 §6.2.3
	}
	if err != nil {
		return login.Welcome{}, err
	}
	return login.Welcome{Text: r.text, Capabilities: e.caps, Untagged: e.untagged}, nil
}

// response is a status response: RFC 9051 §7.1.
type response struct {
	status   string // "OK", "NO", "BAD", "BYE", "PREAUTH"
	code     string // "CAPABILITY", or ""
	argument string // of the code
	text     string
}

// parseResponse reads what stands behind the tag.
func parseResponse(s string) response {
	status, text, _ := strings.Cut(s, " ")
	r := response{status: strings.ToUpper(status), text: text}
	if !strings.HasPrefix(text, "[") {
		return r
	}
	inside, after, closed := strings.Cut(text[1:], "]")
	if !closed {
		return r
	}
	r.code, r.argument, _ = strings.Cut(inside, " ")
	r.code = strings.ToUpper(r.code)
	r.text = strings.TrimPrefix(after, " ")
	return r
}

// greeting waits for the server's first line: RFC 9051 §7.1.
func (e *entry) greeting(context.Context) error {
	line, err := e.conn.ReadLine()
	if err != nil {
		return fmt.Errorf("waiting for the greeting: %w", err)
	}
	rest, ok := strings.CutPrefix(line, "* ")
	r := parseResponse(rest)
	if !ok || r.status != "OK" { // a PREAUTH that nobody ordered is somebody else's session
		return fmt.Errorf("greeting: %.80q", line)
	}
	e.note(r)
	return nil
}

// note keeps the capabilities that a response tells by the way.
func (e *entry) note(r response) {
	if r.code == "CAPABILITY" {
		e.caps = r.argument
	}
}

func (e *entry) startTLS(ctx context.Context) error {
	cfg := e.ticket.TLS
	if cfg == nil {
		return nil
	}
	if e.caps != "" && !has(e.caps, "STARTTLS") {
		return misconfigured("the server does not offer STARTTLS; choose another tls for this backend")
	}
	_ = e.conn.WriteLine(tagTLS, " STARTTLS")
	r, err := e.tagged(tagTLS)
	if err != nil {
		return fmt.Errorf("STARTTLS: %w", err)
	}
	if r.status != "OK" {
		return misconfigured(fmt.Sprintf("the server refuses STARTTLS: %.80q", r.text))
	}
	e.caps, e.untagged = "", nil // told in clear, they count no more: RFC 9051 §6.2.1
	return e.conn.StartTLS(ctx, func(nc net.Conn) *tls.Conn { return tls.Client(nc, cfg) })
}

func misconfigured(what string) error {
	return &login.Refusal{Reason: login.Misconfigured, Err: errors.New(what)}
}

// learn asks for the capabilities if the login depends on them: LOGINDISABLED in
// clear, the form of literals, a mechanism's initial response.
func (e *entry) learn(context.Context) error {
	t := e.ticket
	simple := t.Mechanism == nil && t.Master == "" && quotable(t.User) && quotable(t.Password)
	if e.caps != "" || simple && e.conn.TLS() != nil {
		return nil
	}
	return e.capability()
}

func (e *entry) capability() error {
	_ = e.conn.WriteLine(tagCapability, " CAPABILITY")
	r, err := e.tagged(tagCapability)
	if err == nil && (r.status != "OK" || e.caps == "") {
		err = fmt.Errorf("answer %s %.80q", r.status, r.text)
	}
	if err != nil {
		return fmt.Errorf("CAPABILITY: %w", err)
	}
	return nil
}

// login logs in by what the ticket wants, or what fits.
func (e *entry) login() (response, error) {
	r, err := e.tryLogin()
	if err != nil {
		return r, fmt.Errorf("login: %w", err)
	}
	switch r.status {
	case "OK":
		return r, nil
	case "NO":
		return r, refused(r)
	}
	return r, fmt.Errorf("login: answer %s %.80q", r.status, r.text)
}

func (e *entry) tryLogin() (response, error) {
	m := e.ticket.Mechanism
	disabled := has(e.caps, "LOGINDISABLED")
	if m == nil && (e.ticket.Master != "" || disabled && has(e.caps, "AUTH=PLAIN")) {
		m = &sasl.Plain
	}
	if m != nil && !has(e.caps, "AUTH="+m.Name) {
		return response{}, misconfigured("the server does not offer AUTH=" + m.Name)
	}
	if m != nil {
		return e.authenticate(m)
	}
	if disabled {
		return response{}, misconfigured("the server forbids LOGIN here (LOGINDISABLED): encrypt with tls = \"starttls\" or \"implicit\", or allow it at the server")
	}
	return e.loginCommand()
}

func refused(r response) error {
	if r.code == "REFERRAL" { // RFC 2221
		if to, ok := login.ParseReferral(r.argument); ok {
			return to
		}
	}
	return login.Refused("the server", r.code, r.text)
}

func (e *entry) authenticate(m *sasl.Mechanism) (r response, err error) {
	x := &login.Entry{Conn: e.conn, Command: tagLogin + " AUTHENTICATE " + m.Name, IR: has(e.caps, "SASL-IR")}
	e.caps = "" // they change with the login: RFC 9051 §6.2.3
	x.Answer = func() (string, error) {
		var challenge string
		challenge, r, err = e.next(tagLogin)
		if err == nil && r.status != "" {
			err = sasl.ErrVerdict
		}
		return challenge, err
	}
	return r, m.Enter(x, e.ticket.Credentials())
}

// quotable tells whether a string may stand in quotes for every server.
func quotable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

var quote = strings.NewReplacer(`"`, `\"`, `\`, `\\`)

// loginCommand sends LOGIN: quoted strings where they will do, because some
// servers read no literals here; else literals, which wait unless the server
// takes them at once (RFC 7888).
func (e *entry) loginCommand() (response, error) {
	wait := "}"
	if has(e.caps, "LITERAL+") || has(e.caps, "LITERAL-") {
		wait = "+}"
	}
	e.caps = "" // they change with the login: RFC 9051 §6.2.3
	line := tagLogin + " LOGIN"
	for _, s := range []string{e.ticket.User, e.ticket.Password} {
		if quotable(s) {
			line += ` "` + quote.Replace(s) + `"`
			continue
		}
		_ = e.conn.WriteLine(line, fmt.Sprintf(" {%d", len(s)), wait)
		line = s
		if wait != "}" {
			continue
		}
		if _, r, err := e.next(tagLogin); err != nil || r.status != "" {
			return r, err
		}
	}
	if err := e.conn.WriteLine(line); err != nil {
		return response{}, err
	}
	return e.tagged(tagLogin)
}

// tagged reads the answer to a command.
func (e *entry) tagged(tag string) (response, error) {
	for {
		_, r, err := e.next(tag)
		if err != nil || r.status != "" {
			return r, err
		}
	}
}

// next reads on to the answer to a command, or to a challenge; then the
// response has no status.
func (e *entry) next(tag string) (challenge string, r response, err error) {
	for {
		line, err := e.line()
		switch {
		case err != nil:
			return "", response{}, err
		case strings.HasPrefix(line, "+"):
			return strings.TrimPrefix(line[1:], " "), response{}, nil
		case strings.HasPrefix(line, "* "):
			if err := e.hear(line); err != nil {
				return "", response{}, err
			}
		case strings.HasPrefix(line, tag+" "):
			r := parseResponse(line[len(tag)+1:])
			e.note(r)
			return "", r, nil
		default:
			return "", response{}, fmt.Errorf("unexpected line %.80q", line)
		}
	}
}

// line reads a line with its literals, which no line that we look at has.
func (e *entry) line() (string, error) {
	line, err := e.conn.ReadLine()
	for rest := line; err == nil; {
		n, _, ok := announced(rest[max(strings.LastIndexByte(rest, '{'), 0):])
		if !ok {
			return line, nil
		}
		if _, err = e.conn.ReadN(n); err == nil {
			rest, err = e.conn.ReadLine()
		}
	}
	return "", err
}

// hear takes an untagged line. Only status lines are for the client: ID is an
// answer to us, and of BYE it learns by the end of the connection.
func (e *entry) hear(line string) error {
	if verb, list, _ := strings.Cut(line[2:], " "); strings.EqualFold(verb, "CAPABILITY") {
		e.caps = list
		return nil
	}
	r := parseResponse(line[2:])
	switch r.status {
	case "BYE":
		return fmt.Errorf("the server says BYE: %.80q", r.text)
	case "OK", "NO", "BAD":
		e.note(r)
		if len(e.untagged) < maxUntagged && r.code != "CAPABILITY" {
			e.untagged = append(e.untagged, line)
		}
	}
	return nil
}
