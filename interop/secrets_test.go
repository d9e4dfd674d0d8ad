package interop

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// secretsOf are the traffic secrets that a key log tells.
func secretsOf(t *testing.T, keyLog string) (all [][]byte) {
	t.Helper()
	for _, m := range regexp.MustCompile(`(?m)^(?:CLIENT|SERVER)_TRAFFIC_SECRET_0 \w+ (\w+)$`).FindAllStringSubmatch(keyLog, -1) {
		b, err := hex.DecodeString(m[1])
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	if len(all) != 2 {
		t.Fatalf("the key log has %d secrets", len(all))
	}
	return all
}

// shapes are how bytes may stand in a log: as they are, in hex, in base64 at each of three
// offsets, quoted and as numbers.
func shapes(secret []byte) (all []string) {
	numbers := strings.Trim(fmt.Sprint(secret), "[]")
	all = append(all, string(secret), hex.EncodeToString(secret), strings.ToUpper(hex.EncodeToString(secret)),
		strings.Trim(strconv.Quote(string(secret)), `"`), numbers, strings.ReplaceAll(numbers, " ", ", "))
	for offset := range 3 {
		for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			text := e.EncodeToString(append(make([]byte, offset), secret...))
			all = append(all, text[4:len(text)-4]) // but for what its neighbours change
		}
	}
	return all
}

func tells(text string, secret []byte) bool {
	for _, shape := range shapes(secret) {
		if strings.Contains(text, shape) {
			return true
		}
	}
	return false
}

func TestALogThatToldASecretWouldBeSeen(t *testing.T) {
	secret := make([]byte, 32)
	for i := range secret {
		secret[i] = byte(i*7 + 3)
	}
	for _, text := range []string{
		fmt.Sprintf("keys=%x", secret), fmt.Sprintf("keys=%X", secret), fmt.Sprintf("keys=%v", secret), fmt.Sprintf("keys=%q", secret), "keys=" + string(secret),
		base64.StdEncoding.EncodeToString(append([]byte("a"), secret...)), base64.URLEncoding.EncodeToString(append([]byte("ab"), secret...)),
	} {
		if !tells(text, secret) {
			t.Errorf("%q is taken for harmless", text)
		}
	}
}

// The secrets of a connection are in no log, also where all is logged, nor in anything that
// usher says of a session; and the relay process has them for as long as it has the session,
// in all of its memory.
func TestSecretsAreNeverLoggedAndAreWipedBehindTheSession(t *testing.T) {
	t.Parallel()
	l := newLasting(t, "")
	l.die()
	l.debug = true
	l.begin()
	_ = l.client(t, "imap", "none").Close() // which is said at the lowest level
	var keyLog bytes.Buffer
	c := dial(t, "imap", l.addrs["imaps"])
	secured := tls.Client(c.Conn, &tls.Config{RootCAs: roots(t, l.ca), ServerName: "localhost", MinVersion: tls.VersionTLS13, KeyLogWriter: &keyLog})
	c.Conn, c.r = secured, bufio.NewReader(secured)
	c.greeting()
	c.enter("s"+lastingUser, "secret")
	for range 2 { // in the first relay process, and in the one to which it moves
		c.send("something")
		c.expect("something")
		l.sessionsAre(1)
		l.upgrade()
		l.eventually("the old relay process has ended", func() bool { return len(l.relays()) == 1 })
	}
	c.send("something")
	c.expect("something")
	relay := l.relays()[0]
	secrets := secretsOf(t, keyLog.String())
	said := l.command("who", "--json") + l.command("status")
	if os.Geteuid() == 0 { // others may not look
		for i, secret := range secrets {
			if inMemory(t, relay, secret) == 0 {
				t.Errorf("secret %d is not in memory: this test would see nothing", i)
			}
		}
	}
	_ = c.Close()
	l.sessionsAre(0)
	if os.Geteuid() == 0 {
		for i, secret := range secrets {
			if n := inMemory(t, relay, secret); n > 0 {
				t.Errorf("secret %d is %d times in the relay process's memory when its session has ended", i, n)
			}
		}
	}
	for i, secret := range secrets {
		if tells(l.all()+said, secret) {
			t.Errorf("secret %d stands in the log, or in what commands say", i)
		}
	}
	if !strings.Contains(l.all(), "level=DEBUG") {
		t.Error("the log is not the one in which all stands")
	}
}

var writable = regexp.MustCompile(`(?m)^(\w+)-(\w+) rw`)

// inMemory tells how often something stands in what a process can write to.
func inMemory(t *testing.T, pid int, what []byte) (n int) {
	t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = mem.Close() }()
	for _, m := range writable.FindAllStringSubmatch(string(maps), -1) {
		var from, to int64
		_, _ = fmt.Sscanf(m[1]+" "+m[2], "%x %x", &from, &to)
		n += inRange(mem, from, to, what)
	}
	return n
}

// inRange reads in pieces: the race detector keeps terabytes that are not there.
func inRange(mem io.ReaderAt, from, to int64, what []byte) (n int) {
	const piece = 1 << 20
	b := make([]byte, piece+int64(len(what)))
	for end := time.Now().Add(10 * time.Second); from < to && time.Now().Before(end); from += piece {
		got, err := mem.ReadAt(b[:min(int64(len(b)), to-from)], from)
		n += bytes.Count(b[:got], what)
		if err != nil && !errors.Is(err, io.EOF) && got == 0 {
			return n
		}
	}
	return n
}
