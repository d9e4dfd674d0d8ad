package imap

import (
	"strings"
	"testing"

	"usher/internal/login"
	"usher/internal/transcript"
)

func TestStatusResponses(t *testing.T) {
	for in, want := range map[string]response{
		"OK done":                         {"OK", "", "", "done"},
		"ok done":                         {"OK", "", "", "done"},
		"OK":                              {"OK", "", "", ""},
		"":                                {},
		"NO [AUTHENTICATIONFAILED] wrong": {"NO", "AUTHENTICATIONFAILED", "", "wrong"},
		"NO [limit] x":                    {"NO", "LIMIT", "", "x"},
		"OK [CAPABILITY A B] hello":       {"OK", "CAPABILITY", "A B", "hello"},
		"OK [CAPABILITY A B]hello":        {"OK", "CAPABILITY", "A B", "hello"}, // the blank is missing
		"OK [CAPABILITY A B]":             {"OK", "CAPABILITY", "A B", ""},
		"OK [CAPABILITY A":                {"OK", "", "", "[CAPABILITY A"},
		"OK [] x":                         {"OK", "", "", "x"},
		"OK text [not a code]":            {"OK", "", "", "text [not a code]"},
	} {
		if got := parseResponse(in); got != want {
			t.Errorf("parseResponse(%q) = %+v, want %+v", in, got, want)
		}
	}
}

func TestCapabilitiesAfterLoginAreThoseThatStillHold(t *testing.T) {
	for in, want := range map[string]string{
		"": "",
		"IMAP4rev1 STARTTLS LOGINDISABLED AUTH=PLAIN auth=x SASL-IR IDLE": "IMAP4rev1 IDLE",
		"IMAP4rev1 unauthenticate LOGIN-REFERRALS MOVE":                   "IMAP4rev1 MOVE",
		"  IMAP4rev1   AUTHX  ":                                           "IMAP4rev1 AUTHX",
	} {
		if got := after(in); got != want {
			t.Errorf("after(%q) = %q, want %q", in, got, want)
		}
	}
}

// An empty answer would leave a client waiting.
func TestEveryReasonHasAnAnswer(t *testing.T) {
	for r := login.Unavailable; r <= login.Aborted; r++ {
		words := refusals[r]
		if !strings.HasPrefix(words, "NO ") && !strings.HasPrefix(words, "BAD ") {
			t.Errorf("%v is answered with %q", r, words)
		}
	}
	if want := int(login.Aborted) + 1; len(refusals) != want {
		t.Errorf("%d answers for %d reasons", len(refusals), want)
	}
}

func TestEveryGoodbyeHasWords(t *testing.T) {
	for g := login.GoingDown; g <= login.BadCommands; g++ {
		if !strings.HasPrefix(goodbyes[g], "* BYE ") {
			t.Errorf("goodbye %d has the words %q", g, goodbyes[g])
		}
	}
}

func TestAServerThatNeverStopsIsLeft(t *testing.T) {
	for name, says := range map[string]string{
		"greeting without end":  strings.Repeat("x", 1<<20),
		"untagged lines":        "* OK hello\r\n" + strings.Repeat("* OK [ALERT] still here\r\n", 1<<16),
		"continuations":         "* OK hello\r\n" + strings.Repeat("+ go on\r\n", 1<<16),
		"capabilities":          "* OK hello\r\n" + strings.Repeat("* CAPABILITY IMAP4rev1\r\n", 1<<16),
		"literals":              "* OK hello\r\n* NO " + strings.Repeat("{4096}\r\n"+strings.Repeat("x", 4096), 300),
		"empty literals":        "* OK hello\r\n* NO " + strings.Repeat("{0}\r\n", 1<<17),
		"a literal of 4 GB":     "* OK hello\r\n* NO {4294967296}\r\n" + strings.Repeat("x", 1<<20),
		"challenges of a login": "* OK [CAPABILITY AUTH=LOGIN] hello\r\n" + strings.Repeat("+ \r\n", 1<<17),
	} {
		for how := range byte(6) {
			if _, _, err := transcript.Enter(t, Protocol{}, says, transcript.Ticket("ann", "secret", how)); err == nil {
				t.Errorf("%s: the login succeeded", name)
			}
		}
	}
}

func TestALiteralOfFourGigabytesTakesNoMemory(t *testing.T) {
	most := 200.0 // allocations: none of them is large, or the next line is wrong
	got := testing.AllocsPerRun(5, func() {
		heard, _ := transcript.Serve(t, Protocol{}, "a LOGIN {4294967295}\r\nb LOGIN ann {4294967295}\r\nc LOGIN {4294967295+}\r\n")
		if !strings.HasPrefix(heard[len(heard)-1], "* BYE") {
			t.Errorf("heard %q", heard)
		}
	})
	if got > most {
		t.Errorf("%v allocations", got)
	}
}

func TestAServersAlertsReachTheClientButNotWithoutEnd(t *testing.T) {
	says := "* OK [CAPABILITY IMAP4rev1] hello\r\n* NO [ALERT] first\r\n* 5 EXISTS\r\n" +
		strings.Repeat("* NO [ALERT] more\r\n", 100) + "L OK [CAPABILITY IMAP4rev1 IDLE] in\r\n"
	w, _, err := transcript.Enter(t, Protocol{}, says, transcript.Ticket("ann", "secret", 0))
	if err != nil || len(w.Untagged) != maxUntagged || w.Untagged[0] != "* NO [ALERT] first" {
		t.Errorf("%d lines are kept, at first %.1q: %v", len(w.Untagged), w.Untagged, err)
	}
	if w.Text != "in" || w.Capabilities != "IMAP4rev1 IDLE" {
		t.Errorf("the welcome is %q with %q", w.Text, w.Capabilities)
	}
}
