package policy

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"usher/internal/dovecot"
)

// A Dovecot is the witness: what it sends is what services know.
func TestTheServiceHearsTheSameFromUsherAndDovecot(t *testing.T) {
	t.Parallel()
	for _, h := range []Hash{{Mech: "sha256", Bits: 12}, {Mech: "sha256"}, {Mech: "sha512", Bits: 13}, {Mech: "sha1", Bits: 7}, {Mech: "md5", Bits: 64}} {
		h.Nonce = "a nonce of the cluster"
		t.Run(fmt.Sprintf("%s of %d bits", h.Mech, h.Bits), func(t *testing.T) {
			t.Parallel()
			l := listen(t, `{"status":0,"msg":""}`)
			d := dovecot.Start(t, dovecot.Options{Users: users, Extra: fmt.Sprintf(askedBy, l.URL, h.Nonce, h.Mech, h.Bits)})
			s, _ := client(t, l.URL, func(s *Settings) { s.Hash = h })
			for name, password := range users {
				compare(t, l, s, d.IMAP, name, password, true)
				compare(t, l, s, d.IMAP, name, "wrong "+password, false)
			}
		})
	}
}

var users = map[string]string{"ann": "secret", "bob@example.org": "pässwörd \"€", "carl": strings.Repeat("x", 300)}

const askedBy = `
auth_policy_server_url = %s/
auth_policy_hash_nonce = %s
auth_policy_hash_mech = %s
auth_policy_hash_truncate = %d
auth_mechanisms = plain cram-md5
`

// compare logs in to a Dovecot, and has usher say the same.
func compare(t *testing.T, l *listener, s *Service, addr, name, password string, right bool) {
	t.Helper()
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + name + "\x00" + password))
	if answer := talk(t, addr, "a AUTHENTICATE PLAIN "+plain); strings.HasPrefix(answer, "a OK") != right {
		t.Fatalf("dovecot says %s", answer)
	}
	one := Login{Login: name, Protocol: "imap", PWHash: s.Hash(name, password), Remote: "127.0.0.1"}
	questions := []func(){func() { _, _ = s.Before(t.Context(), one) }}
	if right {
		questions = append(questions, func() { _, _ = s.After(t.Context(), one) })
	}
	questions = append(questions, func() { s.Report(one, Outcome{Success: right, Fail: FailCredentials}) })
	var theirs []heard
	for range questions {
		theirs = append(theirs, l.next(t))
	}
	for i, ask := range questions {
		ask()
		alike(t, l.next(t), theirs[i])
	}
}

// alike tells whether usher and Dovecot have said the same.
func alike(t *testing.T, ours, theirs heard) {
	t.Helper()
	delete(ours.Said, "session_id")
	delete(theirs.Said, "session_id")
	delete(ours.Said, "fail_type") // of Dovecot 2.4
	if a, b := fmt.Sprint(ours.Command, ours.Said), fmt.Sprint(theirs.Command, theirs.Said); a != b {
		t.Errorf("usher says\n%s, Dovecot\n%s", a, b)
	}
}

// talk says lines to an IMAP server, each after the answer to the one before.
func talk(t *testing.T, addr string, lines ...string) (answer string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	r := bufio.NewReader(c)
	for _, line := range append([]string{""}, lines...) {
		if line != "" {
			fmt.Fprint(c, line+"\r\n")
		}
		for answer = "* "; strings.HasPrefix(answer, "* ") && (line != "" || answer == "* "); {
			if answer, err = r.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
	}
	return answer
}

// Where no password is shown, Dovecot hashes none.
func TestWithoutAPasswordTheHashIsThatOfNone(t *testing.T) {
	t.Parallel()
	l := listen(t, `{"status":-1,"msg":""}`) // words it would show to the client
	d := dovecot.Start(t, dovecot.Options{Users: users, Extra: fmt.Sprintf(askedBy, l.URL, "some nonce", "sha256", 12)})
	answer := talk(t, d.IMAP, "a AUTHENTICATE CRAM-MD5", base64.StdEncoding.EncodeToString([]byte("ann 00112233445566778899aabbccddeeff")))
	s, _ := client(t, l.URL)
	if h := l.next(t); h.Said["pwhash"] != s.Hash("ann", "") {
		t.Errorf("%+v: the hash of nothing is %s", h, s.Hash("ann", ""))
	}
	if !strings.HasPrefix(answer, "a NO [AUTHENTICATIONFAILED]") { // as from usher
		t.Errorf("who is refused hears %s", answer)
	}
}
