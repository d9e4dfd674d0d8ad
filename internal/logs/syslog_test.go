package logs

import (
	"log/slog"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/slogtest"
	"time"
	"unicode"
	"unicode/utf8"
)

// A message is one of RFC 5424, read back.
type message struct {
	pri                      int
	time, host, app, pid, id string
	data                     [][2]string // name and value
	text                     string
}

var header = regexp.MustCompile(`^<(\d{1,3})>1 (\S+) ([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) `)

// readMessage reads a message by the grammar of RFC 5424 §6.
func readMessage(t testing.TB, text string) (m message) {
	t.Helper()
	h := header.FindStringSubmatch(text)
	if h == nil {
		t.Fatalf("no header: %q", text)
	}
	m.pri, _ = strconv.Atoi(h[1])
	m.time, m.host, m.app, m.pid, m.id = h[2], h[3], h[4], h[5], h[6]
	rest := text[len(h[0]):]
	if after, none := strings.CutPrefix(rest, "-"); none {
		rest = after
	} else {
		m.data, rest = readData(t, rest)
	}
	m.text, _ = strings.CutPrefix(rest, " ")
	return m
}

func readData(t testing.TB, s string) (data [][2]string, rest string) {
	t.Helper()
	s, ok := strings.CutPrefix(s, "["+element)
	for ok && !strings.HasPrefix(s, "]") {
		name, after, found := strings.Cut(s, `="`)
		if !found || name[0] != ' ' || len(name) > 33 || len(name) < 2 || strings.ContainsAny(name[1:], " =\"]") {
			t.Fatalf("no name: %q", s)
		}
		var value strings.Builder
		for s = after; s != "" && s[0] != '"'; s = s[1:] {
			if s[0] == '\\' && strings.ContainsAny(s[1:2], `"\]`) {
				s = s[1:]
			} else if s[0] == ']' {
				t.Fatalf("a ] as it is: %q", s)
			}
			value.WriteByte(s[0])
		}
		s, ok = strings.CutPrefix(s, `"`)
		data = append(data, [2]string{name[1:], value.String()})
	}
	if !ok {
		t.Fatalf("no end: %q", s)
	}
	return data, s[1:]
}

func TestSyslogMessagesSayAll(t *testing.T) {
	t.Parallel()
	r := newReader(t)
	log, _ := open(t, "syslog+unix://"+r.path+"?format=rfc5424&facility=local3", Options{Hostname: "mail.example.org"})
	log.Warn("login refused", "id", "A1", "user", `a"b\c]d`, "err", "one\ntwo", "own key", 1)
	m := readMessage(t, r.next())
	if m.pri != 19*8+4 || m.host != "mail.example.org" || m.app != "usher" || m.pid != strconv.Itoa(os.Getpid()) || m.id != "login-refused" {
		t.Errorf("%+v", m)
	}
	if _, err := time.Parse("2006-01-02T15:04:05.000000Z07:00", m.time); err != nil {
		t.Error(err)
	}
	for i, want := range [][2]string{{"id", "A1"}, {"user", `a"b\c]d`}, {"err", `one\ntwo`}, {"own_key", "1"}} {
		if m.data[i] != want {
			t.Errorf("%q, want %q", m.data[i], want)
		}
	}
	if want := `level=WARN msg="login refused" id=A1 user="a\"b\\c]d" err="one\ntwo" "own key"=1`; m.text != want {
		t.Errorf("%q, want %q", m.text, want)
	}
}

func TestSlogRulesHoldForSyslog(t *testing.T) {
	t.Parallel()
	r := newReader(t)
	log, _ := open(t, "syslog+unix://"+r.path+"?format=rfc5424", Options{})
	if err := slogtest.TestHandler(log.Handler(), func() (all []map[string]any) {
		for _, text := range r.rest() {
			m := readMessage(t, text)
			one := map[string]any{}
			for _, w := range words(t, m.text)[:2] { // level and message
				nest(one, w[0], w[1])
			}
			for _, d := range m.data {
				nest(one, d[0], d[1])
			}
			if m.time != "-" {
				one["time"] = m.time
			}
			all = append(all, one)
		}
		return all
	}); err != nil {
		t.Error(err)
	}
}

// What listens on /dev/log of any system understands a message as syslog(3) makes it.
func TestThisMachinesSyslogGetsWhatItKnows(t *testing.T) {
	t.Parallel()
	r := newReader(t)
	log, _ := open(t, "syslog+unix://"+r.path, Options{Hostname: "mail.example.org"})
	log.Warn("login refused", "id", "A1")
	want := regexp.MustCompile(`^<20>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d usher\[\d+\]: level=WARN msg="login refused" id=A1$`)
	if got := r.next(); !want.MatchString(got) {
		t.Errorf("%q", got)
	}
}

// A datagram is one that arrives: what does not fit is left out from its end, the
// beginning of the line stays.
func TestDatagramsFit(t *testing.T) {
	t.Parallel()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	log, _ := open(t, "syslog+udp://"+conn.LocalAddr().String(), Options{})
	log.Warn("login refused", "id", "A1", "err", strings.Repeat("é", 500), "last", "x")
	log.Warn("login refused", "id", "A1", "err", strings.Repeat("é", 5000))
	for i, fields := range []int{2, 0} {
		b := make([]byte, 1<<16)
		conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		n, _, err := conn.ReadFrom(b)
		if err != nil {
			t.Fatal(err)
		}
		m := readMessage(t, string(b[:n]))
		if n > datagramMost || n < datagramMost-150 && i > 0 || len(m.data) != fields || !utf8.ValidString(m.text) ||
			!strings.HasPrefix(m.text, `level=WARN msg="login refused" id=A1 err=é`) {
			t.Errorf("%d bytes, %d fields: %q", n, len(m.data), m.text)
		}
	}
}

func TestEventsAreShortNames(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]string{
		"login refused":                         "login-refused",
		"no admin socket: usher who, kick":      "no-admin-socket",
		"":                                      "-",
		"Größe = 1":                             "gr__e-_-1",
		"a message of more words than there is": "a-message-of-more-words-than-the",
	} {
		if got := event(message); got != want {
			t.Errorf("%q: %q, want %q", message, got, want)
		}
	}
}

func FuzzSyslogMessagesReadBack(f *testing.F) {
	f.Add("login refused", "user", `ann" x="1`, false)
	f.Add("a: b", "k=]\"é", "]\n\\", true)
	f.Fuzz(func(t *testing.T, message, key, value string, counted bool) {
		p := Place{facility: mail, network: "unixgram"}
		if counted {
			p.network = "tcp"
		}
		form := p.form("mail.example.org", "usher")
		h := newHandler(slog.LevelInfo, form, nil)
		r := slog.NewRecord(time.Now(), slog.LevelInfo, message, 0)
		r.AddAttrs(slog.String(key, value))
		line := form.encode(h.entry(r))
		raw := strings.ReplaceAll(string(line), "\x7f", "") // slog leaves it in the line
		if strings.ContainsFunc(raw, unicode.IsControl) || !utf8.Valid(line) || len(line) > syslogMost {
			t.Errorf("%d bytes, %q", len(line), line)
		}
		if framed, n := string(form.frame(line)), strconv.Itoa(len(line))+" "; counted && framed != n+string(line) {
			t.Errorf("%q", framed)
		}
		m := readMessage(t, string(line))
		if len(value) > 500 || len(message) > 500 || len(key) > 100 || key == "" && value == "" {
			return
		}
		if want := seen(value); len(m.data) != 1 || m.data[0][0] != ascii(key, 32) || m.data[0][1] != want {
			t.Errorf("%q, want %q", m.data, want)
		}
	})
}

// seen is a value as people see it.
func seen(value string) string {
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(value, "\uFFFD") {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
