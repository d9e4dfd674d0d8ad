package interop

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"usher/internal/dovecot"
)

// loggedIn is Dovecot's own list behind its OK.
func loggedIn(t *testing.T, s *dovecot.Server) []string {
	c := dial(t, "imap", s.IMAP)
	c.greeting()
	return relayed(capabilities(t, c.login(ann, annSecret)))
}

// relayed leaves out what does not hold in a relayed session.
func relayed(list []string) []string {
	return slices.DeleteFunc(list, func(c string) bool {
		return strings.HasPrefix(c, "AUTH=") || slices.Contains([]string{"STARTTLS", "SASL-IR", "LOGINDISABLED", "LOGIN-REFERRALS"}, c)
	})
}

// capabilities reads a list in an untagged line or in a code.
func capabilities(t *testing.T, line string) []string {
	t.Helper()
	_, list, ok := strings.Cut(line, "CAPABILITY ")
	if !ok {
		t.Fatalf("no capabilities in %q", line)
	}
	list, _, _ = strings.Cut(list, "]")
	return strings.Fields(list)
}

func TestCapabilities(t *testing.T) {
	t.Parallel()
	east := newStore(t, "east", dovecot.Options{})
	want := loggedIn(t, east)
	if len(want) < 10 || !slices.Contains(want, "IDLE") {
		t.Fatalf("Dovecot tells only %q", want)
	}
	p := start(t, setup{
		config: store("clear", east, "none") + store("starttls", east, "starttls") + store("implicit", east, "implicit") +
			store("sasl", east, "none", `login = { mechanism = "PLAIN" }`),
		accounts: []account{checked(ann, annSecret, "clear")},
	})
	for _, backend := range []string{"clear", "starttls", "implicit", "sasl"} {
		p.command("account", "set", ann, "host="+backend)
		for _, security := range securities {
			t.Run(fmt.Sprintf("client %s, backend %s, in the answer to the login", security, backend), func(t *testing.T) {
				seesInAnswer(t, p.client(t, "imap", security), want)
			})
			t.Run(fmt.Sprintf("client %s, backend %s, in a line of their own", security, backend), func(t *testing.T) {
				seesInLine(t, p.client(t, "imap", security), want)
			})
		}
	}
}

func seesInAnswer(t *testing.T, c *client, want []string) {
	t.Helper()
	c.send(`a LOGIN "%s" "%s"`, ann, annSecret)
	if got := capabilities(t, c.expect("a OK [CAPABILITY ")); !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

// seesInLine has asked before the login. It asks again after it: then Dovecot
// itself answers.
func seesInLine(t *testing.T, c *client, want []string) {
	t.Helper()
	c.ask("a CAPABILITY")
	c.send(`a LOGIN "%s" "%s"`, ann, annSecret)
	if got := capabilities(t, c.expect("* CAPABILITY ")); !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if answer := c.expect("a OK "); strings.Contains(answer, "CAPABILITY") {
		t.Errorf("twice: %q", answer)
	}
	c.send("a CAPABILITY")
	if got := relayed(capabilities(t, c.expect("* CAPABILITY "))); !slices.Equal(got, want) {
		t.Errorf("Dovecot itself says %q\nwant %q", got, want)
	}
}

func TestPipelining(t *testing.T) {
	t.Parallel()
	_, _, config := twoStores(t)
	p := start(t, setup{config: quick + config, accounts: usersOfTwo()})
	for _, security := range securities {
		t.Run("IMAP commands behind the login reach the server in order, "+security, func(t *testing.T) {
			c := p.client(t, "imap", security)
			c.send("1 NOOP\r\n2 LOGIN %s wrong-secret\r\n3 LOGIN %s {%d+}\r\n%s\r\n4 SELECT INBOX\r\n5 NAMESPACE\r\n6 FETCH 1 BODY.PEEK[HEADER]\r\n7 LOGOUT",
				ann, bob, len(bobSecret), bobSecret)
			for _, begin := range []string{"1 OK", "2 NO", "3 OK", "* 1 EXISTS", "4 OK", "5 OK", "Subject: " + subject(bob, "west"), "6 OK", "* BYE", "7 OK"} {
				c.until(begin)
			}
			if !c.ended() {
				t.Error("the connection has not ended")
			}
		})
		t.Run("POP3 commands behind the login reach the server in order, "+security, func(t *testing.T) {
			c := p.client(t, "pop3", security)
			c.send("CAPA\r\nUSER %s\r\nPASS wrong-secret\r\nUSER %s\r\nPASS %s\r\nSTAT\r\nNOOP\r\nTOP 1 0\r\nQUIT", ann, bob, bobSecret)
			for _, begin := range []string{".", "+OK", "-ERR [AUTH]", "+OK", "+OK", "+OK 1 ", "+OK", "Subject: " + subject(bob, "west"), ".", "+OK"} {
				c.until(begin)
			}
			if !c.ended() {
				t.Error("the connection has not ended")
			}
		})
	}
}

// A client that knows LITERAL+ need not wait for its login before it sends all
// that it has.
func TestPipelinedAppend(t *testing.T) {
	t.Parallel()
	_, _, config := twoStores(t)
	p := start(t, setup{config: config, accounts: usersOfTwo()})
	text := message(ann, bytes.Repeat([]byte("one of many lines\r\n"), 500_000))
	for _, security := range securities {
		t.Run(security, func(t *testing.T) {
			c := p.client(t, "imap", security)
			c.send("a LOGIN %s {%d+}\r\n%s\r\nb APPEND INBOX {%d+}\r\n%s\r\nc SELECT INBOX\r\nd FETCH * RFC822.SIZE",
				ann, len(annSecret), annSecret, len(text), text)
			c.until("a OK")
			c.until("b OK")
			c.until("c OK")
			if got := c.until("* "); !strings.Contains(got, fmt.Sprintf("RFC822.SIZE %d)", len(text))) {
				t.Errorf("got %q, want %d bytes", got, len(text))
			}
			c.until("d OK")
		})
	}
}

func TestIdle(t *testing.T) {
	t.Parallel()
	east, _, config := twoStores(t)
	p := start(t, setup{config: config, accounts: usersOfTwo()})
	for _, security := range securities {
		t.Run(security, func(t *testing.T) {
			c := p.client(t, "imap", security)
			c.enter(ann, annSecret)
			c.ask("a SELECT INBOX")
			c.send("a IDLE")
			c.expect("+ ")
			east.Deliver(ann, "Subject: new\r\n\r\nhello\r\n")
			c.until("* ")
			if answer := c.ask("DONE"); !isOK(answer) {
				t.Error(answer)
			}
		})
	}
}
