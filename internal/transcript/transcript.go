// Package transcript plays golden conversations against a protocol. Only tests
// import it.
//
// A transcript is a txtar archive. Its comment says what the user gains. Its
// sections are
//
//	-- setup --         settings and accounts, see setup.go
//	-- client --        what a client says (C:) and hears (S:)
//	-- backend NAME --  what a backend hears (C:) and says (S:) on one connection;
//	                    the next section of that name is its next connection
//	-- log --           pieces that must stand in the log, one a line
//	-- trace --         what a trace writes, without times
//
// A trace is on in all of them, so that none ever shows a password.
//
// Lines of a conversation:
//
//	C: text       a line from client to server
//	S: text       a line from server to client
//	C~ "raw"      bytes, as a Go string, without an end of line; so too S~
//	TLS           the TLS handshake
//	EOF           the other side closes
//	CLOSE         this side closes
//	HANG          this side says nothing until the other closes
//	STOP          (client) usher is told to stop
package transcript

import (
	"bufio"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"usher/internal/login"
)

var update = flag.Bool("update", false, "rewrite what the client hears in the transcripts; then read the diff")

// patience is how long a line may take to come.
const patience = 10 * time.Second

// Run plays every transcript in testdata/*.txt against p.
func Run(t *testing.T, p login.Protocol) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts in testdata")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			play(t, p, file)
		})
	}
}

func play(t *testing.T, p login.Protocol, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	archive := txtar.Parse(text)
	if len(archive.Comment) == 0 {
		t.Error("the transcript does not say what the user gains")
	}
	s := setUp(t, p, archive)
	for i, f := range archive.Files {
		if f.Name == "client" {
			changed := s.client(t, string(f.Data))
			if *update {
				archive.Files[i].Data = []byte(changed)
			}
		}
	}
	s.finish(t, archive)
	if *update {
		if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// client plays the client's side and returns it with what was really heard.
func (s *stage) client(t *testing.T, script string) string {
	nc, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	p := &party{conn: nc, in: bufio.NewReader(nc), says: "C", tls: func(nc net.Conn) *tls.Conn {
		return tls.Client(nc, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{certificate()}})
	}}
	defer p.close()
	lines := strings.Split(script, "\n")
	for i, line := range lines {
		if line == "STOP" {
			go s.stop()
			continue
		}
		heard, err := p.play(line)
		if err != nil && (!*update || !errors.Is(err, errOther)) {
			t.Fatalf("client, line %d: %v\n%s", i+1, err, s.log.String())
		}
		lines[i] = heard
	}
	return strings.Join(lines, "\n")
}

// party is one side of a conversation.
type party struct {
	conn net.Conn
	in   *bufio.Reader
	says string // "C" or "S": whose lines it sends
	tls  func(net.Conn) *tls.Conn
}

func (p *party) close() { _ = p.conn.Close() }

// errOther says that something else came than the transcript has.
var errOther = errors.New("heard something else")

// play does one line. It returns the line as it really was.
func (p *party) play(line string) (string, error) {
	_ = p.conn.SetDeadline(time.Now().Add(patience))
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "":
		return line, nil
	case p.says + ":":
		return line, p.send(rest + "\r\n")
	case p.says + "~":
		raw, err := strconv.Unquote(rest)
		if err == nil {
			err = p.send(raw)
		}
		return line, err
	case "C:", "S:":
		return p.hear(line, rest)
	case "C~", "S~":
		return line, p.hearRaw(rest)
	case "TLS":
		t := p.tls(p.conn)
		p.conn, p.in = t, bufio.NewReader(t)
		return line, t.Handshake()
	case "EOF", "HANG":
		return line, p.awaitEnd(word == "HANG")
	case "CLOSE":
		return line, p.conn.Close()
	}
	return line, fmt.Errorf("%q is no line of a transcript", line)
}

func (p *party) send(s string) error {
	_, err := io.WriteString(p.conn, s)
	return err
}

func (p *party) hear(line, want string) (string, error) {
	got, err := p.in.ReadString('\n')
	if err != nil {
		return line, fmt.Errorf("want %q, got %q and %w", want, got, err)
	}
	got = strings.TrimSuffix(got, "\r\n")
	if got != want {
		return line[:2] + " " + got, fmt.Errorf("%w:\nwant %q\n got %q", errOther, want, got)
	}
	return line, nil
}

func (p *party) hearRaw(quoted string) error {
	want, err := strconv.Unquote(quoted)
	if err != nil {
		return err
	}
	got := make([]byte, len(want))
	if n, err := io.ReadFull(p.in, got); err != nil {
		return fmt.Errorf("want %s, got %q and %w", quoted, got[:n], err)
	}
	if string(got) != want {
		return fmt.Errorf("want %s, got %q", quoted, got)
	}
	return nil
}

// awaitEnd waits for the other side's close; hanging, it hears all until then.
func (p *party) awaitEnd(hang bool) error {
	rest, err := io.ReadAll(p.in)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return errors.New("the other side does not close")
	}
	if len(rest) > 0 && !hang {
		return fmt.Errorf("want the end, got %q", rest)
	}
	return nil // a reset is an end too
}
