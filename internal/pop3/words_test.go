package pop3

import (
	"errors"
	"strings"
	"testing"

	"usher/internal/login"
	"usher/internal/sasl"
	"usher/internal/transcript"
	"usher/internal/wire"
)

func TestResponseCodesAreCutOff(t *testing.T) {
	for in, want := range map[string][2]string{
		"[IN-USE] Mailbox locked":     {"IN-USE", "Mailbox locked"},
		"[AUTH]no blank":              {"AUTH", "no blank"},
		"[SYS/TEMP]":                  {"SYS/TEMP", ""},
		"wrong password":              {"", "wrong password"},
		"text [AUTH] in the middle":   {"", "text [AUTH] in the middle"},
		"[not closed":                 {"", "[not closed"},
		"":                            {"", ""},
		"[]":                          {"", ""},
		"[REFERRAL/ann@host:110] see": {"REFERRAL/ann@host:110", "see"},
	} {
		code, text := cutCode(in)
		if code != want[0] || text != want[1] {
			t.Errorf("cutCode(%q) = %q, %q; want %q", in, code, text, want)
		}
	}
}

func TestStatusLines(t *testing.T) {
	for in, want := range map[string]reply{
		"+OK":           {true, ""},
		"+OK ready":     {true, "ready"},
		"+ok ready":     {true, "ready"},
		"-ERR no":       {false, "no"},
		"-err [AUTH] x": {false, "[AUTH] x"},
	} {
		if got, err := parseReply(in); got != want || err != nil {
			t.Errorf("parseReply(%q) = %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "OK", "+OKAY", "-ERROR", "* OK", "+ ", " +OK"} {
		if got, err := parseReply(in); err == nil {
			t.Errorf("parseReply(%q) = %+v", in, got)
		}
	}
}

func TestARefusalTellsWhatItIs(t *testing.T) {
	for text, want := range map[string]login.Reason{
		"[AUTH] wrong":         login.BadLogin,
		"wrong":                login.BadLogin,
		"[in-use] locked":      login.NotPermitted,
		"[SYS/TEMP] later":     login.Unavailable,
		"[SYS/PERM] never":     login.Misconfigured,
		"[LOGIN-DELAY] slower": login.NotPermitted,
	} {
		if got := login.ReasonOf(refused(reply{text: text})); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
	var to *login.Referral
	if err := refused(reply{text: "[referral/bob@other:1110] moved"}); !errors.As(err, &to) || to.User != "bob" || to.Addr != "other:1110" {
		t.Errorf("a referral is %v", err)
	}
}

func TestEveryReasonHasAnAnswer(t *testing.T) {
	for r := login.Unavailable; r <= login.Aborted; r++ {
		if refusals[r] == "" {
			t.Errorf("%v has no answer", r)
		}
	}
	if want := int(login.Aborted) + 1; len(refusals) != want {
		t.Errorf("%d answers for %d reasons", len(refusals), want)
	}
}

func TestEveryGoodbyeHasWords(t *testing.T) {
	for g := login.GoingDown; g <= login.BadCommands; g++ {
		if !strings.HasPrefix(goodbyes[g], "-ERR ") {
			t.Errorf("goodbye %d has the words %q", g, goodbyes[g])
		}
	}
}

func TestBadCommandsAreAnsweredAndCounted(t *testing.T) {
	const bad = "-ERR Unknown command or wrong arguments before login."
	for in, want := range map[string]string{
		"NOOP":           "+OK Nothing to do",
		"noop":           "+OK Nothing to do",
		"NOOP x":         bad,
		"":               bad,
		" NOOP":          bad,
		"LIST":           bad,
		"USER":           "-ERR A name must follow USER.",
		"USER ":          "-ERR A name must follow USER.",
		"PASS secret":    "-ERR USER must come first.",
		"USER a\x00b":    "-ERR CR and NUL are not allowed.",
		"AUTH NTLM":      "-ERR Unsupported authentication mechanism.",
		"AUTH PLAIN ":    "-ERR Invalid authentication data.",
		"AUTH PLAIN =":   "-ERR Invalid authentication data.",
		"AUTH PLAIN !!!": "-ERR Invalid authentication data.",
		"LANG xx":        "-ERR No such language.",
		"LANG en":        "+OK i-default English it is",
		"APOP ann":       bad,
		"APOP  c4c9334b": bad,
	} {
		if heard, _ := transcript.Serve(t, Protocol{}, in+"\r\n"); len(heard) < 2 || heard[1] != want {
			t.Errorf("%q: heard %q, want %q", in, heard, want)
		}
	}
	heard, _ := transcript.Serve(t, Protocol{}, strings.Repeat("HELO\r\n", 50))
	if n := len(heard); n > 11 || heard[n-1] != "-ERR Too many bad commands." {
		t.Errorf("%d lines were heard, at the end %q", n, heard[n-1])
	}
}

func TestANameHoldsForOnePassword(t *testing.T) {
	heard, asked := transcript.Serve(t, Protocol{}, "USER ann\r\nPASS wrong\r\nPASS again\r\nUSER ann\r\nPASS \r\n")
	want := []string{
		"+OK usher ready <nonce@usher>", "+OK Password, please", "-ERR [AUTH] Authentication failed.", "-ERR USER must come first.",
		"+OK Password, please", "-ERR [AUTH] Authentication failed.",
	}
	if strings.Join(heard, "\n") != strings.Join(want, "\n") || asked != 2 {
		t.Errorf("heard %q, %d logins were tried", heard, asked)
	}
}

func TestTheRestOfATooLongAnswerIsNoCommand(t *testing.T) {
	long := strings.Repeat("x", wire.MaxLine)
	heard, asked := transcript.Serve(t, Protocol{}, "AUTH PLAIN\r\n"+long+"USER eve\r\nPASS stolen\r\n")
	if got := heard[len(heard)-1]; got != "-ERR Too much before login." || asked > 0 {
		t.Errorf("the end is %q; %d logins were tried", got, asked)
	}
}

// A challenge is base64, in which + is a letter.
func TestAChallengeMayBeginWithAPlus(t *testing.T) {
	tk := transcript.Ticket("ann", "secret", 4) // LOGIN
	_, heard, err := transcript.Enter(t, Protocol{}, "+OK\r\n+OK\r\nSASL LOGIN\r\n.\r\n+ +vv8\r\n+ +w==\r\n+OK in\r\n", tk)
	want := []string{"CAPA", "AUTH LOGIN", "YW5u", "c2VjcmV0"}
	if err != nil || strings.Join(heard, "\n") != strings.Join(want, "\n") {
		t.Errorf("the server heard %q: %v", heard, err)
	}
}

func TestAServerThatNeverStopsIsLeft(t *testing.T) {
	for name, says := range map[string]string{
		"greeting without end": strings.Repeat("x", 1<<20),
		"capabilities":         "+OK\r\n+OK\r\n" + strings.Repeat("X\r\n", 1<<18),
		"challenges":           "+OK\r\n+OK\r\nSASL PLAIN LOGIN\r\n.\r\n" + strings.Repeat("+ \r\n", 1<<17),
		"garbage":              "+OK\r\n" + strings.Repeat("hello\r\n", 1<<17),
	} {
		for how := range byte(6) {
			if _, _, err := transcript.Enter(t, Protocol{}, says, transcript.Ticket("ann", "secret", how)); err == nil {
				t.Errorf("%s: the login succeeded", name)
			}
		}
	}
}

// UTF8 and mechanisms are asked for as the client and the ticket want it.
func TestTheServerIsToldWhatTheClientSaid(t *testing.T) {
	for _, c := range []struct {
		name, says string
		ticket     login.Ticket
		want       string
	}{
		{"USER", "+OK\r\n+OK\r\n+OK in\r\n", login.Ticket{User: "ann", Password: "a b "}, "USER ann\nPASS a b "},
		{"a blank in the name", "+OK\r\n+OK\r\nSASL PLAIN\r\n.\r\n+OK in\r\n", login.Ticket{User: "a b", Password: "x"}, "CAPA\nAUTH PLAIN AGEgYgB4"},
		{"a master", "+OK\r\n+OK\r\nSASL PLAIN\r\n.\r\n+OK in\r\n", login.Ticket{User: "ann", Password: "x", Master: "m"}, "CAPA\nAUTH PLAIN YW5uAG0AeA=="},
		{"LOGIN", "+OK\r\n+OK\r\nSASL LOGIN\r\n.\r\n+ \r\n+ \r\n+OK in\r\n", login.Ticket{User: "ann", Password: "x", Mechanism: &sasl.Login}, "CAPA\nAUTH LOGIN\nYW5u\neA=="},
	} {
		_, heard, err := transcript.Enter(t, Protocol{}, c.says, c.ticket)
		if got := strings.Join(heard, "\n"); got != c.want || err != nil {
			t.Errorf("%s: the server heard %q %v, want %q", c.name, got, err, c.want)
		}
	}
	_, heard, err := transcript.Enter(t, Protocol{}, "+OK\r\n+OK\r\n", login.Ticket{User: "ann", Password: "x\r\nDELE 1"})
	if !errors.Is(err, wire.ErrUnclean) || strings.Contains(strings.Join(heard, "\n"), "DELE") {
		t.Errorf("the server heard %q (%v)", heard, err)
	}
}
