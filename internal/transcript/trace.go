package transcript

import (
	"encoding/base64"
	"encoding/hex"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"usher/internal/trace"
)

// passwords are those of the transcripts, which no trace may show.
var passwords = []string{"secret", "mastersecret", "otherpw", "inside", "other word", "tok123", "hidden", `s"e\cret`, "secret2"}

// trace traces everybody.
func (s *stage) trace(t *testing.T) *trace.Traces {
	s.traces = &trace.Traces{Log: slog.New(slog.DiscardHandler)}
	one, err := s.traces.Begin(trace.Order{Network: loopback[0], For: time.Hour, Dir: filepath.Join(t.TempDir(), "trace")})
	if err != nil {
		t.Fatal(err)
	}
	s.traced = one.Folder
	t.Cleanup(s.traces.Close)
	return s.traces
}

// checkTrace holds what was traced against the transcript.
func (s *stage) checkTrace(t *testing.T, a *txtar.Archive) {
	s.traces.Close()
	files, err := filepath.Glob(filepath.Join(s.traced, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("the trace has %d files, %v", len(files), err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range passwords {
		if form := Leak(string(text), p); form != "" {
			t.Errorf("the trace shows the password %q as %q:\n%s", p, form, text)
		}
	}
	for _, f := range a.Files {
		for _, message := range messages.FindAllString(string(f.Data), -1) {
			if strings.ToUpper(message) != message && strings.Contains(string(text), message) {
				t.Errorf("the trace shows a message of a mechanism, %q:\n%s", message, text)
			}
		}
	}
	for i, f := range a.Files {
		if f.Name != "trace" {
			continue
		}
		got := s.timeless(string(text))
		if *update {
			a.Files[i].Data = []byte(got)
		} else if diff := cmp.Diff(string(f.Data), got); diff != "" {
			t.Errorf("the trace is not (-) what it should be, but (+):\n%s", diff)
		}
	}
}

var (
	times = regexp.MustCompile(`(?m)^ *\d+\.\d{6} `)
	// messages are what looks like base64.
	messages = regexp.MustCompile(`\b[A-Za-z0-9+/]{16,}=*`)
	ports    = regexp.MustCompile(`127\.0\.0\.1:\d+`)
)

// timeless is a trace without what differs each time.
func (s *stage) timeless(text string) string {
	_, text, _ = strings.Cut(text, "\n") // the header
	text = times.ReplaceAllString(text, "")
	for name, b := range s.backends {
		text = strings.ReplaceAll(text, b.ln.Addr().String(), "$"+name)
	}
	return ports.ReplaceAllString(text, "$$PEER")
}

// Leak is the form in which a text holds a secret; "" if it does not: as it is, in
// hex, or in base64 wherever it stands in what was encoded.
func Leak(text, secret string) string {
	forms := []string{secret, hex.EncodeToString([]byte(secret)), strings.ToUpper(hex.EncodeToString([]byte(secret)))}
	for _, before := range []string{"", "x", "xx"} {
		inside := base64.StdEncoding.EncodeToString([]byte(before + secret))
		skip := []int{0, 2, 3}[len(before)]
		most := (len(before) + len(secret)) / 3 * 4
		forms = append(forms, inside[skip:most])
	}
	for _, f := range forms {
		if len(f) > 2 && strings.Contains(text, f) {
			return f
		}
	}
	if strings.Contains(strings.ToLower(text), strings.ToLower(secret)) { // some words are read in any case
		return strings.ToLower(secret)
	}
	return ""
}
