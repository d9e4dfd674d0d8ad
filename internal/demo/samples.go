package demo

import (
	"fmt"
	"strings"
	"time"
)

// Samples are three messages that say whom they are for and on which store they live.
func Samples(user, store string) []string {
	first := time.Date(2026, time.January, 5, 9, 0, 0, 0, time.UTC)
	return []string{
		sample(1, user, store, first, "Welcome to "+store,
			"Hello "+user+",\n\nthis message lives on the store \""+store+"\".\nYou reached it through usher, which asked you nothing but your password.\n"),
		sample(2, user, store, first.Add(26*time.Hour), "Where am I?",
			"Your mail client talks to usher. Usher looked up where "+user+" lives,\nfound \""+store+"\", logged in there, and passes bytes ever since.\n"),
		sample(3, user, store, first.Add(51*time.Hour), "Lines that begin with a dot",
			".A dot here, and one alone on the next line:\n.\nPOP3 must bring both to "+user+" from \""+store+"\" unharmed.\n"),
	}
}

func sample(n int, user, store string, date time.Time, subject, body string) string {
	to := user
	if !strings.Contains(to, "@") {
		to += "@example.org"
	}
	text := fmt.Sprintf("Date: %s\nFrom: Usher <usher@example.org>\nTo: %s\nSubject: %s\nMessage-ID: <%d.%s.%s@usher.example>\n"+
		"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n%s",
		date.Format(time.RFC1123Z), to, subject, n, strings.ReplaceAll(user, "@", "."), store, body)
	return strings.ReplaceAll(text, "\n", "\r\n")
}
