package store

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
)

// Proxies log in each in its own way; what they hear in between matters as much
// as the end.
func TestEveryWayToLogInWorks(t *testing.T) {
	for name, c := range map[string]struct {
		talk      func(*Client)
		say, hear string
	}{
		"quoted":             {IMAP, "a LOGIN \"ann\" \"secret\"\r\n", "a OK ["},
		"literals that wait": {IMAP, "a LOGIN {3}\r\nann {6}\r\nsecret\r\n", "+ OK\r\n+ OK\r\na OK ["},
		"literals at once":   {IMAP, "a LOGIN {3+}\r\nann {6+}\r\nsecret\r\n", "a OK ["},
		"initial response":   {IMAP, "a AUTHENTICATE PLAIN AGFubgBzZWNyZXQ=\r\n", "a OK ["},
		"response":           {IMAP, "a AUTHENTICATE PLAIN\r\nAGFubgBzZWNyZXQ=\r\n", "+ \r\na OK ["},
		"USER and PASS":      {POP3, "USER ann\r\nPASS secret\r\n", "+OK\r\n+OK\r\n"},
		"AUTH":               {POP3, "AUTH PLAIN\r\nAGFubgBzZWNyZXQ=\r\n", "+ \r\n+OK Logged in.\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if heard := converse(t, c.talk, c.say+"x LOGOUT\r\nQUIT\r\n"); !strings.HasPrefix(heard, c.hear) {
				t.Errorf("heard %q, want %q", heard, c.hear)
			}
		})
	}
}

func TestAMessageHasTheLengthThatIsAskedFor(t *testing.T) {
	for _, n := range []string{"1", "300000"} {
		heard := converse(t, IMAP, "f FETCH 1 BODY.PEEK[]<0."+n+">\r\nx LOGOUT\r\n")
		head, rest, _ := strings.Cut(heard, "\r\n")
		body, found := strings.CutSuffix(rest, ")\r\nf OK Fetch completed.\r\n* BYE Logging out\r\nx OK Logout completed.\r\n")
		if head != "* 1 FETCH (BODY[]<0> {"+n+"}" || !found || number("<"+n+">", "<", ">") != len(body) {
			t.Errorf("%s: head %q, %d bytes, end found %v", n, head, len(body), found)
		}
	}
}

// converse says something after the greeting, with which the store must end the
// conversation, and returns what is heard.
func converse(t *testing.T, talk func(*Client), say string) string {
	t.Helper()
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		talk(&Client{conn: theirs, in: bufio.NewReaderSize(theirs, 512)})
	}()
	in := bufio.NewReader(ours)
	if _, err := in.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.WriteString(ours, say) }()
	heard, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	return string(heard)
}
