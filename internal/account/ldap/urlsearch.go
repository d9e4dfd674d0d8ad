package ldap

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"usher/internal/account"
)

// What a URL says of the search: base?attributes?scope?filter?extensions.

func (l *location) setBase(text string) error {
	if text == "" {
		return nil
	}
	text, err := decode(text)
	if err != nil {
		return err
	}
	var n name
	err = n.UnmarshalText([]byte(text))
	l.base = account.Template(n)
	return err
}

func (l *location) setAttributes(text string) error {
	if text == "" || text == "*" {
		return nil
	}
	l.attributes = strings.Split(text, ",")
	if len(l.attributes) > len(positions) {
		return fmt.Errorf("%d attributes: only three count, as in perdition (the name towards the backend, the host, the port); use [accounts.map] for others", len(l.attributes))
	}
	for i, a := range l.attributes {
		var checked attribute
		if a = strings.TrimSpace(a); a != "" {
			if err := checked.UnmarshalText([]byte(a)); err != nil {
				return err
			}
		}
		l.attributes[i] = string(checked)
	}
	return nil
}

func (l *location) setScope(text string) error {
	l.scope = strings.ToLower(strings.TrimSpace(text))
	if _, ok := scopes[l.scope]; !ok && l.scope != "" {
		return fmt.Errorf("%.80q is no scope: use base, one or sub", text)
	}
	return nil
}

func (l *location) setFilter(text string) error {
	if text == "" {
		return nil
	}
	text, err := decode(text)
	if err != nil {
		return err
	}
	var f filter
	err = f.UnmarshalText([]byte(text))
	l.filter = account.Template(f)
	return err
}

// extensions refuses those without which the URL would mean something else: all that are
// critical (RFC 4516 §2), and the two that perdition knew.
func extensions(text string) error {
	for item := range strings.SplitSeq(text, ",") {
		kind, _, _ := strings.Cut(strings.TrimSpace(item), "=")
		kind, critical := strings.CutPrefix(kind, "!")
		switch {
		case slices.Contains([]string{"bindname", "x-bindpw"}, strings.ToLower(kind)):
			return errors.New("bindname and X-BINDPW: use bind_dn and password_file")
		case kind != "" && !descriptions.MatchString(kind):
			return errors.New("what stands behind the fourth question mark is no extension: write %3F for a question mark that belongs to a value")
		case critical:
			return fmt.Errorf("the extension !%.80s is critical, and usher knows none: leave it out", kind)
		}
	}
	return nil
}

// decode takes percent-encoding away, and makes of perdition's %s a variable. "%s" is
// no percent-encoding, so that it may stand as it is, or as %25s.
func decode(text string) (string, error) {
	var b strings.Builder
	for text != "" {
		head, tail, _ := strings.Cut(text, "%")
		b.WriteString(head)
		if len(head) == len(text) {
			break
		}
		if c, err := hex.DecodeString(tail[:min(2, len(tail))]); err == nil && len(c) == 1 {
			b.Write(c)
			text = tail[2:]
			continue
		}
		b.WriteByte('%')
		text = tail
	}
	if !utf8.ValidString(b.String()) || strings.ContainsRune(b.String(), 0) {
		return "", errors.New("its percent-encoding makes no text (RFC 4516 wants UTF-8)")
	}
	return strings.NewReplacer("%%", "%%", "%s", "{user}").Replace(b.String()), nil
}
