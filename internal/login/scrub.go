package login

import (
	"strconv"
	"strings"
)

// secrets are the forms in which a login has shown its passwords to a server:
// some servers repeat in their complaint what they did not understand.
func (a *Admission) secrets() (all []string) {
	l := a.stop.Login
	for _, p := range []string{a.who.Password, l.Password} {
		if p == "" {
			continue
		}
		for _, form := range []string{p, "\x00" + l.User + "\x00" + p, l.User + "\x00" + l.Master + "\x00" + p} {
			all = append(all, base64Std.EncodeToString([]byte(form)))
		}
		quoted := strconv.Quote(p) // as %q has it, where we quote a server
		all = append(all, p, quoted[1:len(quoted)-1])
	}
	return all
}

// scrub stars secrets, also one that is cut at the end of a quotation. Shorter
// ones than these would star half the text, and show themselves by it.
func scrub(text string, secrets []string) string {
	const shortest = 4
	for _, s := range secrets {
		if len(s) < shortest {
			continue
		}
		text = strings.ReplaceAll(text, s, "***")
		for n := len(s) - 1; n >= shortest; n-- {
			text = strings.ReplaceAll(text, s[:n]+`"`, `***"`)
		}
	}
	return text
}
