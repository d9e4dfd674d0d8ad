package imap

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"usher/internal/login"
	"usher/internal/sasl"
	"usher/internal/wire"
)

// server is the conversation with one client.
type server struct {
	client *login.Client
	desk   *login.Desk
	conn   *wire.Conn
	asked  bool // the client has used CAPABILITY, so it reads the untagged answer
}

// Serve implements login.Protocol.
func (Protocol) Serve(ctx context.Context, c *login.Client, d *login.Desk) error {
	s := &server{client: c, desk: d, conn: c.Conn}
	if c.Known != nil {
		return s.preauth(ctx)
	}
	_ = s.conn.WriteLine("* OK [CAPABILITY ", before(c, d), "] ", c.Terms.Greeting())
	return c.Converse(goodbyes, func() error { return s.command(ctx) })
}

var goodbyes = map[login.Goodbye]string{
	login.GoingDown:   "* BYE [UNAVAILABLE] The server is going down, please connect again.",
	login.Inactive:    "* BYE Disconnected for inactivity.",
	login.TooMuch:     "* BYE Too much before login.",
	login.EarlyBytes:  "* BYE Nothing may follow STARTTLS in clear.",
	login.BadCommands: "* BYE Too many bad commands.",
	login.Unwelcome:   "* BYE Too many failed logins.",
}

// command reads one command and does it.
func (s *server) command(ctx context.Context) error {
	line, err := s.client.Command()
	if err != nil && !errors.Is(err, wire.ErrUnclean) {
		return err
	}
	in := newScanner(s.conn, line)
	tag := "*"
	if err == nil {
		tag, err = in.tag()
	}
	if err == nil {
		err = s.do(ctx, tag, in)
	}
	if errors.Is(err, errSyntax) || errors.Is(err, wire.ErrUnclean) {
		if skipped := in.skip(); skipped != nil {
			return skipped
		}
		return s.reject(tag, err)
	}
	return err
}

// reject answers a command in bad form.
func (s *server) reject(tag string, err error) error {
	if enough := s.client.Bad(); enough != nil {
		return enough
	}
	words := "BAD Unknown command or wrong syntax before login"
	if errors.Is(err, wire.ErrUnclean) {
		words = "BAD CR and NUL are not allowed"
	}
	return s.conn.WriteAs("… "+words, tag, " ", words) // a tag may be a password in the wrong place
}

func (s *server) answer(tag, words string) error { return s.conn.WriteLine(tag, " ", words) }

// verbs are the commands that we know.
var verbs = []string{"LOGIN", "AUTHENTICATE", "ID", "CAPABILITY", "NOOP", "LOGOUT", "STARTTLS"}

// do does one command: RFC 9051 §6.1 and §6.2.
func (s *server) do(ctx context.Context, tag string, in *scanner) error {
	verb, err := in.take(isAtomChar)
	if err != nil {
		return err
	}
	verb = strings.ToUpper(verb)
	if slices.Contains(verbs, verb) {
		in.show()
	}
	switch verb {
	case "LOGIN":
		return s.login(ctx, tag, in)
	case "AUTHENTICATE":
		return s.authenticate(ctx, tag, in)
	case "ID":
		return s.id(tag, in)
	}
	if err := in.end(); err != nil {
		return err
	}
	switch verb {
	case "CAPABILITY":
		s.asked = true
		_ = s.conn.WriteLine("* CAPABILITY ", before(s.client, s.desk))
		return s.answer(tag, "OK Capability completed")
	case "NOOP":
		return s.answer(tag, "OK Nothing to do")
	case "LOGOUT":
		_ = s.conn.WriteLine("* BYE Logging out")
		_ = s.answer(tag, "OK Logout completed")
		_ = s.conn.Flush()
		return login.ErrDone
	case "STARTTLS":
		return s.startTLS(ctx, tag)
	}
	return errSyntax
}

// id answers RFC 2971 with our name only: a version helps nobody but attackers.
func (s *server) id(tag string, in *scanner) error {
	err := in.space()
	if err != nil {
		return err
	}
	var pairs []login.Pair
	if !strings.EqualFold(in.rest, "NIL") {
		if pairs, err = in.pairs(); err != nil {
			return err
		}
	}
	if !s.client.Trusted { // a front end may tell what is for the backend only
		in.show()
	}
	if s.hear(pairs) != nil {
		_ = s.conn.WriteLine(Protocol{}.Info().Full)
		_ = s.conn.Flush()
		return login.ErrDone
	}
	_ = s.conn.WriteLine(`* ID ("name" "usher")`)
	if s.client.Trusted {
		return s.answer(tag, "OK Trusted ID completed.") // Dovecot's words
	}
	return s.answer(tag, "OK ID completed")
}

// pairs reads what the client tells: ( string SP nstring … ). A value that is NIL
// says nothing.
func (s *scanner) pairs() (pairs []login.Pair, err error) {
	if !strings.HasPrefix(s.rest, "(") {
		return nil, errSyntax
	}
	s.rest = s.rest[1:]
	for !strings.HasPrefix(s.rest, ")") {
		var p login.Pair
		if p.Name, err = s.element(); err != nil {
			return nil, err
		}
		isString := strings.HasPrefix(s.rest, `"`)
		if p.Value, err = s.element(); err != nil {
			return nil, err
		}
		if isString || !strings.EqualFold(p.Value, "NIL") {
			pairs = append(pairs, p)
		}
	}
	s.rest = s.rest[1:]
	return pairs, s.end()
}

// element is one of a list, with the blank behind it. NIL is an astring too.
func (s *scanner) element() (string, error) {
	word, err := s.astring()
	if err == nil && s.space() != nil && !strings.HasPrefix(s.rest, ")") {
		err = errSyntax
	}
	return word, err
}

func (s *server) startTLS(ctx context.Context, tag string) error {
	if !s.client.CanStartTLS() {
		return s.answer(tag, "BAD TLS is active already or not available here")
	}
	if s.conn.Ahead() {
		return wire.ErrEarly
	}
	_ = s.answer(tag, "OK Begin TLS negotiation now")
	s.asked = false // it must ask anew: RFC 9051 §6.2.1
	return s.client.StartTLS(ctx)
}

func (s *server) login(ctx context.Context, tag string, in *scanner) error {
	if err := in.space(); err != nil {
		return err
	}
	if s.desk.Offers(s.client, plain) { // else a waiting literal is refused before it is sent
		return s.loginNow(ctx, tag, in)
	}
	if err := in.skip(); err != nil {
		return err
	}
	return s.admit(ctx, tag, plain, sasl.Given("", ""))
}

func (s *server) loginNow(ctx context.Context, tag string, in *scanner) error {
	name, err := in.astring()
	if err == nil {
		err = in.space()
	}
	if err != nil {
		return err
	}
	in.show()
	password, err := in.astring()
	if err == nil {
		err = in.end()
	}
	if err != nil {
		return err
	}
	return s.admit(ctx, tag, plain, sasl.Given(name, password))
}

func (s *server) authenticate(ctx context.Context, tag string, in *scanner) error {
	if err := in.space(); err != nil {
		return err
	}
	mechanism, err := in.take(isAtomChar)
	if err != nil {
		return err
	}
	if s.desk.Offers(s.client, strings.ToUpper(mechanism)) {
		in.show()
	}
	var initial *string
	if in.space() == nil { // RFC 4959
		initial = &in.rest
	} else if err := in.end(); err != nil {
		return err
	}
	return s.admit(ctx, tag, strings.ToUpper(mechanism), login.NewExchange(s.conn, initial))
}

// admit takes the login to the desk and answers it.
func (s *server) admit(ctx context.Context, tag, mechanism string, x sasl.Exchange) error {
	a, err := s.desk.Admit(ctx, s.client, mechanism, x)
	if err != nil {
		return s.refuse(tag, err)
	}
	for _, line := range a.Welcome.Untagged {
		_ = s.conn.WriteLine(line)
	}
	caps := after(a.Welcome.Capabilities)
	if s.asked { // it will look for the list where it found it before
		_ = s.conn.WriteLine("* CAPABILITY ", caps)
		_ = s.answer(tag, "OK "+a.Welcome.Text)
	} else {
		_ = s.answer(tag, "OK [CAPABILITY "+caps+"] "+a.Welcome.Text)
	}
	if err := a.Join(); err != nil {
		return err
	}
	return login.ErrDone
}

// preauth greets somebody who is known already with the word that he is logged in:
// RFC 9051 §7.1.4.
func (s *server) preauth(ctx context.Context) error {
	a, err := s.desk.AdmitKnown(ctx, s.client)
	if err != nil {
		_, words, _ := strings.Cut(refusal(s.client, err), " ") // behind NO
		_ = s.conn.WriteLine("* BYE ", words)
		_ = s.conn.Flush()
		return nil
	}
	_ = s.conn.WriteLine("* PREAUTH [CAPABILITY ", after(a.Welcome.Capabilities), "] ", cmp.Or(a.Welcome.Text, "Logged in"))
	for _, line := range a.Welcome.Untagged {
		_ = s.conn.WriteLine(line)
	}
	return a.Join()
}

// refusals are the answers of RFC 5530.
var refusals = map[login.Reason]string{
	login.Unavailable:   "NO [UNAVAILABLE] Account is temporarily unavailable.",
	login.CannotTell:    "NO [UNAVAILABLE] Temporary authentication failure.",
	login.Misconfigured: "NO [SERVERBUG] This account cannot be served, please tell the administrator.",
	login.Looping:       "NO [UNAVAILABLE] Account is temporarily unavailable.",
	login.BadLogin:      "NO [AUTHENTICATIONFAILED] Authentication failed.",
	login.ByPolicy:      "NO [AUTHENTICATIONFAILED] Authentication failed.",
	login.Unsupported:   "NO Unsupported authentication mechanism.",
	login.NeedsTLS:      "NO [PRIVACYREQUIRED] Passwords are not allowed here without TLS.",
	login.NotPermitted:  "NO [AUTHORIZATIONFAILED] Not permitted.",
	login.Disabled:      "NO [CONTACTADMIN] This account is disabled.",
	login.Expired:       "NO [EXPIRED] The password has expired.",
	login.TooMany:       "NO [LIMIT] Too many sessions, please close one.",
	login.Malformed:     "BAD Invalid authentication data.",
	login.Aborted:       "BAD Authentication aborted.",
	// The password may be right, so it must not sound as if it were not.
	login.TooManyFailures: "NO [UNAVAILABLE] Too many failed logins, please try again later.",
}

func (s *server) refuse(tag string, err error) error { return s.answer(tag, refusal(s.client, err)) }

// refusal is what a client hears of an error of Admit.
func refusal(c *login.Client, err error) string {
	r := login.RefusalOf(err)
	words := refusals[r.Reason]
	switch {
	case r.Reason == login.Looping && c.Proxied(): // who shall not try again
		words = "NO [SERVERBUG] " + login.Loops
	case r.Code != "": // the server's own
		words = "NO [" + r.Code + "] " + cmp.Or(r.Text, "The mail server refused the login.")
	case r.Text != "": // the account's own: it is meant to be seen
		words = "NO [ALERT] " + r.Text
	}
	return words
}
