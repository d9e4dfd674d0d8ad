package interop

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"

	"usher/internal/dovecot"
)

// size is how much goes each way in each session.
const size = 30 << 20

var securities = []string{"none", "starttls", "implicit"}

// matrixWays are the ways to log in of which every combination has one. The two
// forms of PLAIN take turns.
var matrixWays = []way{
	{"imap", "LOGIN", loginQuoted},
	{"imap", "PLAIN", authPlain},
	{"imap", "mechanism LOGIN", authLogin},
	{"pop3", "USER PASS", userPass},
	{"pop3", "PLAIN", authPlain},
	{"pop3", "mechanism LOGIN", authLogin},
}

// A combination is one session of the matrix, with a mailbox of its own.
type combination struct {
	number          int
	client, backend string // none, starttls, implicit
	way             way
}

func (x combination) String() string {
	return fmt.Sprintf("%s, client %s, backend %s", x.way, x.client, x.backend)
}

func (x combination) user() string     { return fmt.Sprintf("user%d@example.org", x.number) }
func (x combination) password() string { return fmt.Sprintf("secret %d", x.number) }
func (x combination) store() string    { return []string{"east", "west"}[x.number%2] }

// account is for half of the users one whose password the backend checks.
func (x combination) account() account {
	host := x.store() + "-" + x.backend
	if x.number%4 < 2 {
		return unchecked(x.user(), host)
	}
	return checked(x.user(), x.password(), host)
}

func combinations() (all []combination) {
	for _, w := range matrixWays {
		for _, client := range securities {
			for _, backend := range securities {
				x := combination{len(all), client, backend, w}
				if w.name == "PLAIN" && x.number%2 == 0 {
					x.way = way{w.protocol, "PLAIN initial", authPlainInitial}
				}
				all = append(all, x)
			}
		}
	}
	return all
}

// message is for one user, with a body that is the same for all.
func message(user string, body []byte) []byte {
	return append([]byte("Subject: "+user+"\r\n\r\n"), body...)
}

// body is random lines of all lengths and all bytes that a line may have, some
// with a dot in front, some empty.
func body() []byte {
	random := rand.NewChaCha8([32]byte{1})
	lengths := rand.New(random)
	b := make([]byte, 0, size+1000)
	for len(b) < size {
		line := make([]byte, lengths.IntN(300))
		_, _ = random.Read(line)
		for i, c := range line {
			if c == 0 || c == '\r' || c == '\n' {
				line[i] = '.'
			}
		}
		b = append(append(b, line...), '\r', '\n')
	}
	return b
}

func TestMatrix(t *testing.T) {
	all, text := combinations(), body()
	stores := matrixStores(t, all, text)
	s := setup{}
	for name, server := range stores {
		for _, security := range securities {
			s.config += store(name+"-"+security, server, security)
		}
	}
	for _, x := range all {
		s.accounts = append(s.accounts, x.account())
	}
	p := start(t, s)
	t.Run("sessions", func(t *testing.T) {
		for _, x := range all {
			t.Run(x.String(), func(t *testing.T) {
				t.Parallel() // go test -parallel bounds it
				x.try(t, p, text)
			})
		}
	})
}

// matrixStores holds every user on one of two servers, for POP3 with a message.
func matrixStores(t *testing.T, all []combination, text []byte) map[string]*dovecot.Server {
	users := map[string]map[string]string{"east": {}, "west": {}}
	for _, x := range all {
		users[x.store()][x.user()] = x.password()
	}
	stores := map[string]*dovecot.Server{}
	for name := range users {
		stores[name] = dovecot.Start(t, dovecot.Options{Name: name, Users: users[name]})
	}
	for _, x := range all {
		if x.way.protocol == "pop3" {
			stores[x.store()].Deliver(x.user(), string(message(x.user(), text)))
		}
	}
	return stores
}

func (x combination) try(t *testing.T, p *proxy, text []byte) {
	c := p.client(t, x.way.protocol, x.client)
	if answer := x.way.login(c, x.user(), x.password()); !isOK(answer) {
		t.Fatal(answer)
	}
	if x.way.protocol == "imap" {
		c.appendAndFetch(message(x.user(), text))
		return
	}
	c.retrieve(message(x.user(), text))
	c.talkMuch()
	if answer := c.ask("DELE 1"); !isOK(answer) { // the disk need not hold them all
		t.Error(answer)
	}
	if answer := c.ask("QUIT"); !isOK(answer) {
		t.Error(answer)
	}
}

// appendAndFetch takes a message to the server and back.
func (c *client) appendAndFetch(text []byte) {
	c.t.Helper()
	c.send("a APPEND INBOX {%d}", len(text))
	c.expect("+")
	if _, err := c.Write(text); err != nil {
		c.t.Fatal(err)
	}
	if answer := c.ask(""); !isOK(answer) {
		c.t.Fatal(answer)
	}
	c.ask("a SELECT INBOX")
	c.send("a FETCH 1 BODY.PEEK[]")
	_, digits, _ := strings.Cut(c.until("* 1 FETCH "), "{")
	if n, err := strconv.Atoi(strings.TrimSuffix(digits, "}")); err != nil || n != len(text) {
		c.t.Fatalf("a literal of %q bytes, want %d", digits, len(text))
	}
	h := sha256.New()
	if _, err := io.CopyN(h, c.r, int64(len(text))); err != nil {
		c.t.Fatal(err)
	}
	c.same(h.Sum(nil), text)
	c.answer()
	c.send("a STORE 1 +FLAGS.SILENT (\\Deleted)\r\nb EXPUNGE") // the disk need not hold them all
	c.until("b OK")
}

func (c *client) same(got, text []byte) {
	c.t.Helper()
	if want := sha256.Sum256(text); !bytes.Equal(got, want[:]) {
		c.t.Error("the message has changed on its way")
	}
}

// retrieve reads the message without the dots that POP3 puts before dots.
func (c *client) retrieve(text []byte) {
	c.t.Helper()
	if answer := c.ask("RETR 1"); !isOK(answer) {
		c.t.Fatal(answer)
	}
	h := sha256.New()
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			c.t.Fatal(err)
		}
		if string(line) == ".\r\n" {
			break
		}
		h.Write(bytes.TrimPrefix(line, []byte(".")))
	}
	c.same(h.Sum(nil), text)
}

// talkMuch sends commands without waiting for their answers. Every tenth asks
// for a list, so that the answers show their order.
func (c *client) talkMuch() {
	c.t.Helper()
	const length, every = 1000, 10
	count := size / length
	noop := "NOOP " + strings.Repeat("x", length-len("NOOP \r\n")) + "\r\n"
	var sender sync.WaitGroup
	defer sender.Wait()
	sender.Go(func() {
		for i := range count {
			command := noop
			if i%every == 0 {
				command = "LIST 1\r\n"
			}
			if _, err := io.WriteString(c, command); err != nil {
				c.t.Error(err)
				return
			}
		}
	})
	for i := range count {
		prefix := "+OK"
		if i%every == 0 {
			prefix = "+OK 1 "
		}
		c.expect(prefix)
	}
}
