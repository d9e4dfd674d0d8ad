package pop3

import (
	"encoding/base64"
	"regexp"
	"slices"
	"strings"
	"testing"

	"usher/internal/transcript"
)

// answers are all that a client may hear whom nobody lets in: none of them is
// the +OK of a login.
var answers = regexp.MustCompile(`^(` +
	`\+OK (usher ready <nonce@usher>|Capability list follows|Mechanisms follow|UTF8 is on|Nothing to do|Goodbye|` +
	`Language list follows|i-default English it is|Password, please|Updated)|` +
	`-ERR .+|\+ .*|TOP|UIDL|RESP-CODES|AUTH-RESP-CODE|PIPELINING|UTF8 USER|USER|SASL [A-Z0-9 -]+|[A-Z0-9-]+|i-default English|\.)$`)

// FuzzServe says anything to the command reader.
func FuzzServe(f *testing.F) {
	transcript.Seeds(f, "client", "C", func(s string) { f.Add(s) })
	for _, s := range []string{
		"USER ann\r\nPASS secret\r\n", "USER ann\r\nUSER bob\r\nPASS\r\nPASS x\r\n", "AUTH PLAIN\r\n*\r\n", "AUTH\r\nLANG *\r\nLANG x\r\n",
		"AUTH PLAIN AGFubgBzZWNyZXQ=\r\n", "AUTH LOGIN =\r\n\r\n", "APOP ann c4c9334bac560ecc979e58001b3e22fb\r\n", "AUTH CRAM-MD5\r\nYW5uIGI5MTM=\r\n", "AUTH APOP\r\nYW5u\r\n",
		"AUTH SCRAM-SHA-1 biwsbj1hbm4scj14\r\nYz1iaXdzLHI9eG5vbmNlLHA9QUFBQQ==\r\n\r\n", "AUTH XOAUTH2 dXNlcj1hbm4BYXV0aD1CZWFyZXIgeAEB\r\n\r\n", strings.Repeat("NOOP\r\n", 300), strings.Repeat("\x00\r\n", 20),
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
		f.Add(s, "ann b", "sec ret", byte(0))
	})
	f.Add("+OK\r\n+OK\r\nSASL PLAIN\r\n.\r\n+ \r\n+OK\r\n", "ann", "secret", byte(1))
	f.Fuzz(func(t *testing.T, says, user, password string, how byte) {
		w, heard, err := transcript.Enter(t, Protocol{}, says, transcript.Ticket(user, password, how))
		if err == nil && (strings.ContainsAny(w.Text, "\r\n\x00") || w.Capabilities != "" || len(w.Untagged) > 0) {
			t.Errorf("the client would hear %+v", w)
		}
		heard = slices.DeleteFunc(heard, func(line string) bool { return regexp.MustCompile(`^XCLIENT( [A-Z-]+=[^ ]+)+$`).MatchString(line) })
		for i, line := range heard {
			command := regexp.MustCompile(`^(USER |PASS |CAPA$|AUTH )`).MatchString(line)
			_, err := base64.StdEncoding.DecodeString(line)
			if !command && (err != nil || !strings.HasPrefix(strings.Join(heard[:i], "\n"), "CAPA\nAUTH")) {
				t.Errorf("the server heard %q", heard)
			}
		}
	})
}
