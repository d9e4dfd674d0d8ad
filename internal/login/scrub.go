package login

import (
	"errors"
	"strconv"
	"strings"
)

// scrubbed is a server's error whose words hold no secret any more.
type scrubbed struct {
	error
	text string
}

func (s scrubbed) Error() string { return s.text }
func (s scrubbed) Unwrap() error { return s.error }

// scrub stars the passwords that a login has shown to a server in what the
// server said: some repeat in their complaint what they did not understand. If
// the password is ours, the client gets none of the words at all.
func (t Ticket) scrub(err error, ours bool) error {
	if err == nil {
		return nil
	}
	if r, ok := errors.AsType[*Refusal](err); ok && ours {
		r.Text = ""
	}
	return scrubbed{err, t.star(err.Error())}
}

// shortest is the least length of what can be starred. Shorter passwords would
// star half the text and show themselves by it: then nothing is left of it.
const shortest = 4

func (t Ticket) star(text string) string {
	if t.Token != "" {
		shown := t
		shown.Password, shown.Token = t.Token, ""
		text = shown.star(text)
	}
	if len(t.Password) < shortest {
		if t.Password != "" && strings.Contains(text, t.Password) {
			return "(not shown: it may hold a password)"
		}
		return text
	}
	secrets := t.secrets()
	for _, s := range secrets {
		text = strings.ReplaceAll(text, s, "***")
	}
	for _, s := range secrets {
		text = starCut(text, s)
	}
	return text
}

// starCut stars a secret that was cut at the end of a quotation.
func starCut(text, secret string) string {
	for n := len(secret) - 1; n >= shortest; n-- {
		if secret[n-1] != '\\' { // else the quote behind it is no end
			text = strings.ReplaceAll(text, secret[:n]+`"`, `***"`)
		}
	}
	return text
}

// secrets are the forms in which a password goes to servers, and in which we
// quote these.
func (t Ticket) secrets() (all []string) {
	for _, form := range []string{
		t.Password, "\x00" + t.User + "\x00" + t.Password, t.User + "\x00" + t.Master + "\x00" + t.Password,
		"user=" + t.User + "\x01auth=Bearer " + t.Password + "\x01\x01", "n,a=" + t.User + ",\x01auth=Bearer " + t.Password + "\x01\x01",
	} {
		all = append(all, base64Std.EncodeToString([]byte(form)))
	}
	escaped := strings.NewReplacer(`"`, `\"`, `\`, `\\`).Replace(t.Password) // RFC 9051's quoted
	for _, p := range []string{escaped, t.Password} {
		quoted := strconv.Quote(p)
		all = append(all, quoted[1:len(quoted)-1], p)
	}
	return all
}
