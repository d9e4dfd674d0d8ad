package dovecot_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"usher/internal/dovecot"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPlain(t *testing.T) {
	s := dovecot.Start(t, dovecot.Options{Name: "one", Users: map[string]string{"ann": "secret"}})
	c := dial(t, s.IMAP)
	if greeting := c.expect("* OK [CAPABILITY IMAP4rev1 "); !strings.HasSuffix(greeting, "] Dovecot (Debian) one ready.") {
		t.Errorf("greeting %q", greeting)
	}
	c.send("a1 LOGIN ann wrong")
	c.expect("a1 NO [AUTHENTICATIONFAILED] Authentication failed.")
	c.send("a2 LOGIN ann secret")
	c.expect("a2 OK [CAPABILITY ")

	p := dial(t, s.POP3)
	p.expect("+OK Dovecot (Debian) one ready.")
	p.send("USER ann\r\nPASS wrong")
	p.expect("+OK")
	p.expect("-ERR [AUTH] Authentication failed.")
	p.send("USER ann\r\nPASS secret")
	p.expect("+OK")
	p.expect("+OK Logged in.")
}

func TestRefusalsAreFast(t *testing.T) {
	s := dovecot.Start(t, dovecot.Options{Users: map[string]string{"ann": "secret"}})
	c := dial(t, s.IMAP)
	c.expect("* OK")
	begin := time.Now()
	for range 10 {
		c.send("a LOGIN ann wrong")
		c.expect("a NO")
	}
	if d := time.Since(begin); d > 2*time.Second {
		t.Errorf("ten wrong passwords took %v", d)
	}
}

func TestTLS(t *testing.T) {
	s := dovecot.Start(t, dovecot.Options{Users: map[string]string{"ann": "secret"}})
	c := dial(t, s.IMAP)
	c.expect("* OK")
	c.send("a STARTTLS")
	c.expect("a OK")
	c.startTLS(s)
	c.send("b LOGIN ann secret")
	c.expect("b OK")

	p := dial(t, s.POP3)
	p.expect("+OK")
	p.send("STLS")
	p.expect("+OK")
	p.startTLS(s)
	p.send("AUTH PLAIN %s", plain("", "ann", "secret"))
	p.expect("+OK Logged in.")

	for addr, greeting := range map[string]string{s.IMAPS: "* OK", s.POP3S: "+OK"} {
		c := dial(t, addr)
		c.startTLS(s)
		c.expect(greeting)
	}
}

func TestTLSNames(t *testing.T) {
	s := dovecot.Start(t, dovecot.Options{TLSNames: []string{"mail.example.org"}})
	if s.Host != "mail.example.org" {
		t.Errorf("Host is %q", s.Host)
	}
	dial(t, s.IMAPS).startTLS(s)
}

func TestMaster(t *testing.T) {
	s := dovecot.Start(t, dovecot.Options{
		Users:  map[string]string{"ann": "secret"},
		Master: map[string]string{"boss": "master key"},
	})
	for _, x := range []struct{ login, answer string }{
		{plain("ann", "boss", "master key"), "a OK"},
		{plain("", "boss", "master key"), "a NO"}, // a master is no user
		{plain("ann", "boss", "wrong"), "a NO"},
		{plain("nosuch", "boss", "master key"), "a NO"},
		{plain("boss", "ann", "secret"), "a NO"},
		{plain("ann", "ann", "secret"), "a OK"},
	} {
		c := dial(t, s.IMAP)
		c.expect("* OK")
		c.send("a AUTHENTICATE PLAIN %s", x.login)
		c.expect(x.answer)
	}
}

func TestOddNamesAndPasswords(t *testing.T) {
	users := map[string]string{
		"Colon":            "a:b::c:",
		"brace":            "{PLAIN}x{",
		"percent@test.org": "100%u%%",
		"quote":            `"\'` + "`$HOME",
		"blank":            " x  ",
		"ütf":              "pässwörd ☃",
		"long":             strings.Repeat("0123456789", 20),
		"two words":        "x",
		"../../etc":        "x",
		"%u":               "x",
		"[x]*&|;":          "x",
		`"o'b\rien\`:       "x",
		strings.Repeat("n", 200) + "@example.org": "x",
	}
	s := dovecot.Start(t, dovecot.Options{Users: users})
	for user, password := range users {
		s.Deliver(user, "Subject: "+fmt.Sprintf("%x", user)+"\r\n\r\nhello\r\n")
		c := dial(t, s.IMAP)
		c.expect("* OK")
		c.send("a LOGIN {%d+}\r\n%s {%d+}\r\n%s", len(user), user, len(password), password)
		c.expect("a OK")
		c.send("b SELECT INBOX\r\nc FETCH 1 BODY[HEADER]")
		c.until("* 1 EXISTS")
		c.until(fmt.Sprintf("Subject: %x", user))

		p := dial(t, s.POP3)
		p.expect("+OK")
		p.send("USER %s\r\nPASS %s", user, password)
		p.expect("+OK")
		p.expect("+OK Logged in.")
	}
}

func TestPause(t *testing.T) {
	s := dovecot.Start(t, dovecot.Options{Users: map[string]string{"ann": "secret"}})
	in := dial(t, s.IMAP)
	in.expect("* OK")
	in.send("a LOGIN ann secret")
	in.expect("a OK")
	s.Pause()
	late := dial(t, s.IMAP)
	in.send("b NOOP")
	for _, c := range []*conn{in, late} {
		_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		if _, err := c.r.Peek(1); err == nil {
			t.Error("a paused server answered")
		}
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	}
	s.Resume()
	in.expect("b OK")
	late.expect("* OK")
	s.Pause() // the end of the test must cope with it
}

func TestStopAndRestart(t *testing.T) {
	s := dovecot.Start(t, dovecot.Options{Users: map[string]string{"ann": "secret"}})
	s.Deliver("ann", "Subject: kept\r\n\r\nhello\r\n")
	in := dial(t, s.IMAP)
	in.expect("* OK")
	s.Stop()
	s.Stop()
	if c, err := net.Dial("tcp", s.IMAP); err == nil {
		c.Close()
		t.Error("a stopped server accepts connections")
	}
	s.Restart()
	p := dial(t, s.POP3)
	p.expect("+OK")
	p.send("USER ann\r\nPASS secret\r\nSTAT")
	p.until("+OK 1 ")
}

// Messages keep their order, however long it takes until the next one comes, or how soon.
func TestMessagesComeInOrder(t *testing.T) {
	s := dovecot.Start(t, dovecot.Options{Users: map[string]string{"ann": "secret"}})
	for i := range 12 {
		if i == 1 {
			time.Sleep(2500 * time.Millisecond) // in nanoseconds more than Dovecot can tell apart
		}
		s.Deliver("ann", fmt.Sprintf("Subject: message %d\r\n\r\nhello\r\n", i+1))
	}
	c := dial(t, s.IMAP)
	c.expect("* OK")
	c.send("a LOGIN ann secret\r\nb SELECT INBOX\r\nc FETCH 1:* BODY[HEADER]")
	for i := range 12 {
		c.until(fmt.Sprintf("* %d FETCH", i+1))
		c.expect(fmt.Sprintf("Subject: message %d", i+1))
	}
}

func TestBigMessage(t *testing.T) {
	s := dovecot.Start(t, dovecot.Options{Users: map[string]string{"ann": "secret"}})
	line := strings.Repeat("x", 76)
	var b strings.Builder
	b.WriteString("Subject: big\r\n\r\n")
	for i := 0; b.Len() < 30<<20; i++ {
		fmt.Fprintf(&b, "%d %s\r\n", i, line)
	}
	s.Deliver("ann", b.String())

	c := dial(t, s.IMAP)
	c.expect("* OK")
	c.send("a LOGIN ann secret\r\nb SELECT INBOX\r\nc FETCH 1 BODY[]")
	_, size, _ := strings.Cut(c.until("* 1 FETCH "), "{")
	n, err := strconv.Atoi(strings.TrimSuffix(size, "}"))
	if err != nil || n != b.Len() {
		t.Fatalf("literal of %q bytes, want %d", size, b.Len())
	}
	h := sha256.New()
	if _, err := io.CopyN(h, c.r, int64(n)); err != nil {
		t.Fatal(err)
	}
	if want := sha256.Sum256([]byte(b.String())); string(h.Sum(nil)) != string(want[:]) {
		t.Error("the message has changed")
	}
	c.until("c OK")
}

func TestManySessions(t *testing.T) {
	if testing.Short() {
		t.Skip("300 processes")
	}
	s := dovecot.Start(t, dovecot.Options{Users: map[string]string{"ann": "secret"}})
	var all []*conn
	for range 300 {
		c := dial(t, s.IMAP)
		c.send("a LOGIN ann secret")
		all = append(all, c)
	}
	for _, c := range all {
		c.until("a OK")
	}
	for _, c := range all {
		c.send("b NOOP")
		c.expect("b OK")
	}
}

func TestPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	s := dovecot.Start(t, dovecot.Options{Users: map[string]string{"ann": "secret"}})
	s.Deliver("ann", "Subject: hello\r\n\r\nhello\r\n")
	args := []string{"testdata/check.py", s.Host}
	for _, addr := range []string{s.IMAP, s.IMAPS, s.POP3, s.POP3S} {
		_, port, _ := net.SplitHostPort(addr)
		args = append(args, port)
	}
	if out, err := exec.Command(python, append(args, s.CA)...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestCertificate(t *testing.T) {
	cert, key, ca := dovecot.Certificate(t, "a.example.org", "127.0.0.1")
	for _, file := range []string{cert, key, ca} {
		if _, err := os.Stat(file); err != nil {
			t.Error(err)
		}
	}
}
