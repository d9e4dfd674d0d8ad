package demo_test

import (
	"net"
	"net/mail"
	"net/textproto"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"usher/internal/demo"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, users ...demo.User) *demo.Store {
	t.Helper()
	s, err := demo.Start("north", users)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func ann(messages ...string) demo.User {
	return demo.User{Name: "ann", Password: "secret", Messages: messages}
}

// talk plays a conversation: a line "C: …" is sent, "S: …" is how the next line must begin,
// "S* …" skips lines up to one that begins so.
func talk(t *testing.T, addr net.Addr, script string) {
	t.Helper()
	nc, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	c := textproto.NewConn(nc)
	defer c.Close()
	for line := range strings.Lines(script) {
		kind, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch kind {
		case "C:":
			err = c.PrintfLine("%s", text)
		case "S:", "S*":
			err = expect(t, c, text, kind == "S*")
		}
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
}

func expect(t *testing.T, c *textproto.Conn, want string, skip bool) error {
	t.Helper()
	for {
		got, err := c.ReadLine()
		if err != nil || strings.HasPrefix(got, want) {
			return err
		}
		if !skip {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
}

func TestIMAP(t *testing.T) {
	s := start(t, ann("Subject: one\r\n\r\nbody\r\n"))
	talk(t, s.IMAP, `
		S: * OK [CAPABILITY IMAP4rev2 IMAP4rev1 SASL-IR LITERAL- AUTH=PLAIN]
		C: a1 LOGIN ann wrong
		S: a1 NO [AUTHENTICATIONFAILED]
		C: a2 LOGIN ann secret
		S: a2 OK [CAPABILITY IMAP4rev2 IMAP4rev1 SASL-IR LITERAL- UNSELECT ENABLE IDLE UTF8=ACCEPT NAMESPACE UIDPLUS
		C: a3 SELECT INBOX
		S: * 1 EXISTS
		S* a3 OK
		C: a4 MOVE 1 Trash
		S* * 1 EXPUNGE
		S: a4 OK
		C: a5 IDLE
		S: + idling
		C: DONE
		S: a5 OK
		C: a6 LOGOUT
		S: * BYE
		S: a6 OK`)
}

func TestAuthenticate(t *testing.T) {
	s := start(t, ann())
	talk(t, s.IMAP, `
		S: * OK
		C: a1 AUTHENTICATE PLAIN AGFubgBzZWNyZXQ=
		S: a1 OK [CAPABILITY`)
	talk(t, s.IMAP, `
		S: * OK
		C: a1 AUTHENTICATE PLAIN
		S: +
		C: AGFubgB3cm9uZw==
		S: a1 NO [AUTHENTICATIONFAILED]`)
}

func TestPOP3(t *testing.T) {
	s := start(t, ann("Subject: one\r\n\r\n.dot\r\n.\r\nend\r\n", "Subject: two\r\n\r\nbody\r\n"))
	talk(t, s.POP3, `
		S: +OK north POP3 ready
		C: CAPA
		S: +OK
		S* UIDL
		S* .
		C: STAT
		S: -ERR
		C: PASS secret
		S: -ERR
		C: USER ann
		S: +OK
		C: PASS wrong
		S: -ERR [AUTH]
		C: USER nosuch
		S: +OK
		C: PASS secret
		S: -ERR [AUTH]
		C: user ann
		S: +OK
		C: pass secret
		S: +OK 2 messages
		C: STAT
		S: +OK 2 52
		C: LIST
		S: +OK
		S: 1 30
		S: 2 22
		S: .
		C: LIST 2
		S: +OK 2 22
		C: UIDL 1
		S: +OK 1 1.1
		C: RETR 1
		S: +OK 30 octets
		S: Subject: one
		S:
		S: ..dot
		S: ..
		S: end
		S: .
		C: TOP 1 1
		S: +OK
		S: Subject: one
		S:
		S: ..dot
		S: .
		C: TOP 1
		S: -ERR
		C: RETR 3
		S: -ERR no such message
		C: DELE 1
		S: +OK
		C: RETR 1
		S: -ERR no such message
		C: STAT
		S: +OK 1 22
		C: RSET
		S: +OK 2
		C: NOOP
		S: +OK
		C: FOO
		S: -ERR
		C: QUIT
		S: +OK`)
}

func TestDeleteIsForBoth(t *testing.T) {
	s := start(t, ann("Subject: one\r\n\r\n", "Subject: two\r\n\r\n"))
	talk(t, s.POP3, `
		C: USER ann
		C: PASS secret
		C: DELE 1
		S* +OK message 1 is marked`) // and hangs up: nothing is removed
	talk(t, s.POP3, `
		C: USER ann
		C: PASS secret
		S* +OK 2 messages
		C: DELE 1
		C: QUIT
		S* +OK bye`)
	talk(t, s.IMAP, `
		C: a LOGIN ann secret
		C: b SELECT INBOX
		S* * 1 EXISTS
		C: c FETCH 1 BODY[HEADER]
		S* Subject: two`)
}

func TestEmptyInbox(t *testing.T) {
	s := start(t, ann())
	talk(t, s.POP3, `
		C: USER ann
		C: PASS secret
		S* +OK 0 messages
		C: LIST
		S: +OK
		S: .`)
}

func TestLongLine(t *testing.T) {
	s := start(t)
	talk(t, s.POP3, "S: +OK\nC: USER "+strings.Repeat("x", 5000)+"\nS: -ERR line too long")
}

func TestCloseEndsSessions(t *testing.T) {
	s, err := demo.Start("north", []demo.User{ann()})
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range []net.Addr{s.IMAP, s.POP3} {
		c, err := net.Dial("tcp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := textproto.NewConn(c).ReadLine(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", s.IMAP.String()); err == nil {
		t.Error("a closed store accepts connections")
	}
}

func TestSamples(t *testing.T) {
	for _, text := range demo.Samples("ann@example.org", "north") {
		if strings.Count(text, "\n") != strings.Count(text, "\r\n") {
			t.Errorf("a bare LF in %q", text)
		}
		m, err := mail.ReadMessage(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Header.Date(); err != nil {
			t.Error(err)
		}
		if _, err := m.Header.AddressList("To"); err != nil || !strings.Contains(text, `"north"`) {
			t.Errorf("%v in %q", err, text)
		}
	}
}

func TestPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	s := start(t, ann(demo.Samples("ann", "north")...))
	_, imap, _ := net.SplitHostPort(s.IMAP.String())
	_, pop3, _ := net.SplitHostPort(s.POP3.String())
	if out, err := exec.Command(python, "testdata/check.py", imap, pop3).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
