package imap

import (
	"context"
	"fmt"
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
	tagID         = "I"
)

// maxUntagged is how many lines of a server before its answer are kept for the
// client.
const maxUntagged = 50

// maxCommand is how long a command may be that servers of all kinds take.
const maxCommand = 4 << 10

// entry is the conversation with one server.
type entry struct {
	conn     *wire.Conn
	ticket   login.Ticket
	caps     string   // as announced last; "" if not known
	untagged []string // for the client
	bye      string   // the server's last words, if it has said any
	takesID  bool     // it has once announced ID, and may be told by it
	isUsher  bool
	asked    bool  // ID was sent, and is not answered yet
	mistrust error // the answer to ID, if it is one that ends the login
}

// Enter implements login.Protocol.
func (Protocol) Enter(ctx context.Context, b *wire.Conn, t login.Ticket) (login.Welcome, error) {
	e := &entry{conn: b, ticket: t}
	if t.Preauth {
		return e.admitted()
	}
	steps := []func(context.Context) error{e.greeting, e.startTLS, e.learn}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return login.Welcome{}, err
		}
	}
	r, err := e.login()
	if err == nil && e.asked { // else the client would hear the answer
		_, err = e.tagged(tagID)
	}
	if err == nil && e.caps == "" {
		err = e.capability() // the client must know what it has now: RFC 9051 §6.2.3
	}
	if err != nil {
		return login.Welcome{}, err
	}
	return login.Welcome{Text: r.text, Capabilities: e.caps, Untagged: e.untagged}, nil
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
	e.isUsher = login.IsUsher(r.text)
	e.note(r)
	return nil
}

func (e *entry) startTLS(ctx context.Context) error {
	cfg := e.ticket.TLS
	if cfg == nil {
		return nil
	}
	if e.caps != "" && !has(e.caps, "STARTTLS") {
		return login.Misconfiguration("the server does not offer STARTTLS; choose another tls for this backend")
	}
	_ = e.conn.WriteLine(tagTLS, " STARTTLS")
	r, err := e.tagged(tagTLS)
	if err != nil {
		return fmt.Errorf("STARTTLS: %w", err)
	}
	if r.status != "OK" {
		return login.Misconfiguration("the server refuses STARTTLS: %.80q", r.text)
	}
	e.caps, e.untagged = "", nil // told in clear, they count no more: RFC 9051 §6.2.1
	return e.conn.EnterTLS(ctx, cfg)
}

// learn asks for the capabilities if the login depends on them: LOGINDISABLED in
// clear, the form of literals, a mechanism's initial response; or ID, if it was not
// announced already: in clear will do for what is no secret.
func (e *entry) learn(context.Context) error {
	t := e.ticket
	simple := t.Mechanism == nil && t.Master == "" && t.Token == "" && quotable(t.User) && quotable(t.Password)
	if e.caps != "" || simple && e.conn.TLS() != nil && (e.takesID || !t.Trusted) {
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

// introduce tells a server who the client is, in the same breath as the login: RFC
// 9051 §5.5 lets commands follow each other that do not depend on each other.
// Another usher is told at least how far the login has come.
func (e *entry) introduce() {
	if !e.takesID {
		return
	}
	_ = e.conn.WriteAs(tagID+" ID (…)", tagID, " ID (", identity(e.ticket), ")") // an account's attributes may be secrets
	e.asked = true
}

// identified takes the answer to ID. That it does not like what it was told is the
// server's own affair, unless it says that something is broken.
func (e *entry) identified(r response) {
	e.asked = false
	if r.status == "NO" && r.code == "SERVERBUG" {
		e.mistrust = login.Misconfiguration("the server does not take ID: %.80q; or leave out trusted of this backend", r.text)
	}
}

// login logs in by what the ticket wants, or what fits.
func (e *entry) login() (response, error) {
	r, err := e.tryLogin()
	if e.mistrust != nil {
		return r, e.mistrust
	}
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
	m, err := e.ticket.Choose(func(name string) bool { return has(e.caps, "AUTH="+name) })
	if err != nil {
		return response{}, err
	}
	disabled := has(e.caps, "LOGINDISABLED")
	if m == nil && (e.ticket.Master != "" || disabled && has(e.caps, "AUTH=PLAIN")) {
		m = &sasl.Plain
	}
	if m != nil && !has(e.caps, "AUTH="+m.Name) {
		return response{}, login.Misconfiguration("the server does not offer AUTH=%s", m.Name)
	}
	if m != nil {
		e.introduce()
		return e.authenticate(m)
	}
	if disabled {
		return response{}, login.Misconfiguration("the server forbids LOGIN here (LOGINDISABLED): encrypt with tls = \"starttls\" or \"implicit\", or allow it at the server")
	}
	e.introduce()
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
	x := &login.Entry{Conn: e.conn, Command: tagLogin + " AUTHENTICATE " + m.Name}
	if has(e.caps, "SASL-IR") {
		x.IR = maxCommand
	}
	e.caps = "" // they change with the login: RFC 9051 §6.2.3
	x.Answer = func() (string, error) {
		var challenge string
		challenge, r, err = e.next(tagLogin)
		if err == nil && r.status != "" {
			err = sasl.ErrVerdict
		}
		return challenge, err
	}
	err = x.Enter(m, e.ticket.Credentials(m), func() bool { return r.status == "OK" }) // before r is read: Answer sets it
	return r, err
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
	line, told := tagLogin+" LOGIN", tagLogin+" LOGIN …"
	for _, s := range []string{e.ticket.User, e.ticket.Password} {
		if quotable(s) {
			line += ` "` + quote.Replace(s) + `"`
			continue
		}
		_ = e.conn.WriteAs(told, line, fmt.Sprintf(" {%d", len(s)), wait)
		line, told = s, "…"
		if wait != "}" {
			continue
		}
		if _, r, err := e.next(tagLogin); err != nil || r.status != "" {
			return r, err
		}
	}
	if err := e.conn.WriteAs(told, line); err != nil {
		return response{}, err
	}
	return e.tagged(tagLogin)
}
