package imap

import (
	"slices"
	"testing"

	"usher/internal/login"
	"usher/internal/transcript"
)

// FuzzPreauth is any program: whatever it says, the client hears nothing unclean, and the
// program nothing but a question.
func FuzzPreauth(f *testing.F) {
	transcript.Seeds(f, "backend", "S", func(s string) { f.Add(s) })
	f.Add("* PREAUTH [CAPABILITY IMAP4rev1] in\r\n")
	f.Add("* OK [ALERT] x\r\nL OK LOGIN Ok.\r\n* CAPABILITY IMAP4rev1\r\nC OK done\r\n")
	f.Add("* BYE [REFERRAL imap://ann@elsewhere/] go\r\n")
	f.Fuzz(func(t *testing.T, says string) {
		w, heard, err := transcript.Enter(t, Protocol{}, says, login.Ticket{User: "ann", Preauth: true})
		if err == nil {
			cleanWelcome(t, w)
		}
		if len(heard) > 0 && !slices.Equal(heard, []string{"C CAPABILITY"}) {
			t.Errorf("the program heard %q", heard)
		}
	})
}
