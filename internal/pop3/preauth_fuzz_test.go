package pop3

import (
	"slices"
	"strings"
	"testing"

	"usher/internal/login"
	"usher/internal/transcript"
)

// FuzzPreauth is any program: whatever it says, the client hears nothing unclean, and the
// program nothing but a NOOP.
func FuzzPreauth(f *testing.F) {
	transcript.Seeds(f, "backend", "S", func(s string) { f.Add(s, true); f.Add(s, false) })
	f.Add("-ERR [REFERRAL/ann@elsewhere] go\r\n", false)
	f.Fuzz(func(t *testing.T, says string, silent bool) {
		w, heard, err := transcript.Enter(t, Protocol{}, says, login.Ticket{User: "ann", Preauth: true, Silent: silent})
		if err == nil && strings.ContainsAny(w.Text, "\r\n\x00") {
			t.Errorf("the client would hear %q", w.Text)
		}
		if len(heard) > 0 && !slices.Equal(heard, []string{"NOOP"}) {
			t.Errorf("the program heard %q", heard)
		}
	})
}
