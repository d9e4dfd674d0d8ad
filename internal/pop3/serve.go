package pop3

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
	user   *string // given by USER, for the next PASS
	stamp  string  // of the greeting, for APOP; "": not offered
}

// Serve implements login.Protocol.
func (Protocol) Serve(ctx context.Context, c *login.Client, d *login.Desk) error {
	s := &server{client: c, desk: d, conn: c.Conn}
	if c.Known != nil {
		return s.preauth(ctx)
	}
	words := c.Terms.Greeting()
	if c.Trusted {
		words = xclient + " " + words
	}
	_ = s.ok(words + s.makeStamp())
	return c.Converse(goodbyes, func() error { return s.command(ctx) })
}

var goodbyes = map[login.Goodbye]string{
	login.GoingDown:   "-ERR [SYS/TEMP] The server is going down, please connect again.",
	login.Inactive:    "-ERR Disconnected for inactivity.",
	login.TooMuch:     "-ERR Too much before login.",
	login.EarlyBytes:  "-ERR Nothing may follow STLS in clear.",
	login.BadCommands: "-ERR Too many bad commands.",
	login.Unwelcome:   "-ERR [SYS/TEMP] Too many failed logins.",
}

func (s *server) ok(words string) error { return s.conn.WriteLine("+OK ", words) }
func (s *server) no(words string) error { return s.conn.WriteLine("-ERR ", words) }

// list answers with several lines.
func (s *server) list(words string, lines []string) error {
	_ = s.ok(words)
	for _, l := range lines {
		_ = s.conn.WriteLine(l)
	}
	return s.conn.WriteLine(".")
}

// reject answers a command in bad form.
func (s *server) reject(words string) error {
	if enough := s.client.Bad(); enough != nil {
		return enough
	}
	return s.no(words)
}

// verbs are the commands that we know.
var verbs = []string{"USER", "PASS", "APOP", "AUTH", "LANG", "XCLIENT", "XOIP", "CAPA", "STLS", "UTF8", "NOOP", "QUIT"}

// command reads one command and does it: RFC 1939 §4 and §7.
func (s *server) command(ctx context.Context) error {
	line, err := s.client.Command()
	if errors.Is(err, wire.ErrUnclean) {
		return s.reject("CR and NUL are not allowed.")
	}
	if err != nil {
		return err
	}
	verb, arg, hasArg := strings.Cut(line, " ")
	if slices.Contains(verbs, strings.ToUpper(verb)) {
		s.conn.Show(len(verb))
	}
	switch strings.ToUpper(verb) {
	case "USER":
		return s.userCommand(ctx, arg)
	case "PASS":
		return s.pass(ctx, arg)
	case "APOP":
		return s.apop(ctx, arg)
	case "AUTH":
		return s.auth(ctx, arg)
	case "LANG":
		return s.lang(arg, hasArg)
	case "XCLIENT":
		return s.xclient(arg)
	case "XOIP":
		return s.xoip(arg)
	}
	if hasArg {
		return s.reject("Unknown command or wrong arguments before login.")
	}
	return s.simple(ctx, strings.ToUpper(verb))
}

// simple does the commands without arguments.
func (s *server) simple(ctx context.Context, verb string) error {
	switch verb {
	case "CAPA": // RFC 2449 §5
		return s.list("Capability list follows", capabilities(s.client, s.desk))
	case "STLS": // RFC 2595 §4
		return s.startTLS(ctx)
	case "UTF8": // RFC 6856 §2
		s.client.UTF8 = true
		return s.ok("UTF8 is on")
	case "NOOP": // only after login by RFC 1939, but peers take it
		return s.ok("Nothing to do")
	case "QUIT":
		_ = s.ok("Goodbye")
		_ = s.conn.Flush()
		return login.ErrDone
	}
	return s.reject("Unknown command or wrong arguments before login.")
}

// lang answers RFC 6856 §3: our words are English.
func (s *server) lang(tag string, given bool) error {
	switch {
	case !given:
		return s.list("Language list follows", []string{"i-default English"})
	case tag == "*", strings.EqualFold(tag, "i-default"), strings.EqualFold(tag, "en"):
		return s.ok("i-default English it is")
	}
	return s.no("No such language.")
}

func (s *server) startTLS(ctx context.Context) error {
	if !s.client.CanStartTLS() {
		return s.no("TLS is active already or not available here.")
	}
	if s.conn.Ahead() {
		return wire.ErrEarly
	}
	_ = s.ok("Begin TLS negotiation now")
	s.user, s.client.UTF8 = nil, false // told in clear: RFC 2595 §4
	return s.client.StartTLS(ctx)
}

// userCommand keeps the name, whoever it is: the whole rest of the line, blanks
// too.
func (s *server) userCommand(ctx context.Context, name string) error {
	if name == "" {
		return s.reject("A name must follow USER.")
	}
	if !s.desk.Offers(s.client, plain) {
		return s.admit(ctx, plain, sasl.Given("", ""))
	}
	first, _, _ := strings.Cut(name, " ") // what follows may be a name, too, or a password in the wrong place
	s.conn.Show(len("USER ") + len(first))
	s.user = &name
	return s.ok("Password, please")
}

// pass takes the whole rest of the line: RFC 1939 §7 allows blanks in passwords.
func (s *server) pass(ctx context.Context, password string) error {
	if s.user == nil {
		return s.reject("USER must come first.")
	}
	name := *s.user
	s.user = nil
	return s.admit(ctx, plain, sasl.Given(name, password))
}

// makeStamp makes the challenge of APOP, with which a server offers it: RFC 1939 §7.
func (s *server) makeStamp() string {
	if !s.desk.Offers(s.client, apop) {
		return ""
	}
	s.stamp = s.desk.Channel(s.client).Challenge()
	return " " + s.stamp
}

// apop is RFC 1939 §7. There may be blanks in the name.
func (s *server) apop(ctx context.Context, arg string) error {
	i := strings.LastIndexByte(arg, ' ')
	if s.stamp == "" || i <= 0 {
		return s.reject("Unknown command or wrong arguments before login.")
	}
	return s.admit(ctx, apop, sasl.Answered(s.stamp, arg[:i], arg[i+1:]))
}

// auth is RFC 5034 §4; without an argument it lists the mechanisms, as RFC 1734
// clients expect.
func (s *server) auth(ctx context.Context, arg string) error {
	if arg == "" {
		return s.list("Mechanisms follow", mechanisms(s.client, s.desk))
	}
	mechanism, initial, hasInitial := strings.Cut(arg, " ")
	if s.desk.Offers(s.client, strings.ToUpper(mechanism)) {
		s.conn.Show(len("AUTH ") + len(mechanism))
	}
	x := login.NewExchange(s.conn, nil)
	if hasInitial {
		x = login.NewExchange(s.conn, &initial)
	}
	return s.admit(ctx, strings.ToUpper(mechanism), x)
}

// admit takes the login to the desk and answers it.
func (s *server) admit(ctx context.Context, mechanism string, x sasl.Exchange) error {
	a, err := s.desk.Admit(ctx, s.client, mechanism, x)
	if err != nil {
		return s.refuse(err)
	}
	_ = s.ok(a.Welcome.Text)
	if err := a.Join(); err != nil {
		return err
	}
	return login.ErrDone
}

// preauth greets somebody who is known already, who need not say USER and PASS.
func (s *server) preauth(ctx context.Context) error {
	a, err := s.desk.AdmitKnown(ctx, s.client)
	if err != nil {
		_ = s.refuse(err)
		_ = s.conn.Flush()
		return nil
	}
	_ = s.ok(cmp.Or(a.Welcome.Text, "Logged in"))
	return a.Join()
}

// refusals are the answers of RFC 2449 §8 and RFC 3206.
var refusals = map[login.Reason]string{
	login.Unavailable:   "[SYS/TEMP] Account is temporarily unavailable.",
	login.CannotTell:    "[SYS/TEMP] Temporary authentication failure.",
	login.Misconfigured: "[SYS/PERM] This account cannot be served, please tell the administrator.",
	login.Looping:       "[SYS/TEMP] Account is temporarily unavailable.",
	login.BadLogin:      "[AUTH] Authentication failed.",
	login.ByPolicy:      "[AUTH] Authentication failed.",
	login.Unsupported:   "Unsupported authentication mechanism.",
	login.NeedsTLS:      "[AUTH] Passwords are not allowed here without TLS.",
	login.NotPermitted:  "[AUTH] Not permitted.",
	login.Disabled:      "[AUTH] This account is disabled.",
	login.Expired:       "[AUTH] The password has expired.",
	login.TooMany:       "[IN-USE] Too many sessions, please close one.",
	login.Malformed:     "Invalid authentication data.",
	login.Aborted:       "Authentication aborted.",
	// The password may be right, so it must not sound as if it were not.
	login.TooManyFailures: "[SYS/TEMP] Too many failed logins, please try again later.",
}

func (s *server) refuse(err error) error { return s.no(refusal(s.client, err)) }

// refusal is what a client hears of an error of Admit.
func refusal(c *login.Client, err error) string {
	r := login.RefusalOf(err)
	words := refusals[r.Reason]
	switch {
	case r.Reason == login.Looping && c.Proxied(): // who shall not try again
		words = "[SYS/PERM] " + login.Loops
	case r.Code != "": // the server's own
		words = "[" + r.Code + "] " + cmp.Or(r.Text, "The mail server refused the login.")
	case r.Text != "": // the account's own: it is meant to be seen
		words = "[AUTH] " + r.Text
	}
	return words
}
