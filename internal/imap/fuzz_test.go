package imap

import (
	"encoding/base64"
	"regexp"
	"strings"
	"testing"

	"usher/internal/login"
	"usher/internal/transcript"
)

// answers are all that a client may hear whom nobody lets in.
var answers = regexp.MustCompile(`^(` +
	`\* (OK \[CAPABILITY [^\]]*\] usher ready|CAPABILITY .*|ID \("name" "usher"\)|BYE .+|BAD .+)|` +
	`\+ .*|` +
	`[!-~]+ (OK (Capability completed|Nothing to do|Logout completed|ID completed)|NO .+|BAD .+))$`)

// FuzzServe says anything to the command reader.
func FuzzServe(f *testing.F) {
	transcript.Seeds(f, "client", "C", func(s string) { f.Add(s) })
	for _, s := range []string{
		"a LOGIN {4294967296}\r\n", "a LOGIN {4294967296+}\r\n", "a LOGIN {3+}\r\nann {6+}\r\nsecret\r\n",
		"a ID (\"name\" {3+}\r\nfoo)\r\n", "a AUTHENTICATE PLAIN\r\nAGFubgBzZWNyZXQ=\r\n", "a LOGIN {3+}\r\na\x00n x\r\n",
		"a AUTHENTICATE CRAM-MD5\r\nYW5uIGI5MTM=\r\n", "a AUTHENTICATE APOP YW5u\r\n", "a AUTHENTICATE XOAUTH2 dXNlcj1hbm4BYXV0aD1CZWFyZXIgeAEB\r\n\r\n",
		"a AUTHENTICATE SCRAM-SHA-1 biwsbj1hbm4scj14\r\nYz1iaXdzLHI9eG5vbmNlLHA9QUFBQQ==\r\n\r\n",
		strings.Repeat("a NOOP\r\n", 300), strings.Repeat("a LOGIN {0+}\r\n", 50),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, says string) {
		heard, _ := transcript.Serve(t, Protocol{}, says)
		for _, line := range heard {
			if !answers.MatchString(line) {
				t.Errorf("the client heard %q", line)
			}
		}
		if n := len(strings.Join(heard, "")); n > 100*200 {
			t.Errorf("%d bytes were answered", n)
		}
	})
}

// FuzzEnter is any server.
func FuzzEnter(f *testing.F) {
	transcript.Seeds(f, "backend", "S", func(s string) {
		for how := range byte(64) {
			f.Add(s, "ann", "secret", how)
		}
		f.Add(s, "änn", "sec\"ret", byte(0))
	})
	f.Add("* OK x\r\n* NO {4294967296}\r\n", "ann", "secret", byte(0))
	f.Add("* OK x\r\n"+strings.Repeat("* NO {1}\r\nx\r\n", 50), "ann", "secret", byte(0))
	f.Fuzz(func(t *testing.T, says, user, password string, how byte) {
		w, heard, err := transcript.Enter(t, Protocol{}, says, transcript.Ticket(user, password, how))
		if err == nil {
			cleanWelcome(t, w)
		}
		cleanCommands(t, heard)
	})
}

// cleanWelcome holds what goes on to the client.
func cleanWelcome(t *testing.T, w login.Welcome) {
	for _, s := range append([]string{w.Text, w.Capabilities}, w.Untagged...) {
		if strings.ContainsAny(s, "\r\n\x00") {
			t.Errorf("the client would hear %q", s)
		}
	}
	if len(w.Untagged) > maxUntagged {
		t.Errorf("%d lines were kept", len(w.Untagged))
	}
	if has(after(w.Capabilities), "STARTTLS") {
		t.Errorf("after login the client is offered %q", after(w.Capabilities))
	}
}

// cleanCommands sees that nothing but our commands reached the server: no name
// or password begins a line, but as a literal.
func cleanCommands(t *testing.T, heard []string) {
	literal, exchange := false, false
	for _, line := range heard {
		tagged := regexp.MustCompile(`^(C CAPABILITY|I ID \(("[^"]*" "[^"]*"( |\)$))+|L (LOGIN|AUTHENTICATE) .*)$`).MatchString(line)
		_, err := base64.StdEncoding.DecodeString(line)
		if !tagged && !literal && (!exchange || err != nil) {
			t.Errorf("the server heard %q", heard)
		}
		exchange = exchange || strings.HasPrefix(line, "L AUTHENTICATE")
		literal = strings.HasSuffix(line, "}")
	}
}
