package local

import (
	"slices"
	"strings"

	"usher/internal/route"
)

// Words of a command may hold variables: {user}, {home} and the like, and every
// attribute of the account. What they stand for is one word with what is around it,
// whatever is in it: no shell reads it. "{{" is a brace.

func varies(word string) bool { return strings.Contains(strings.ReplaceAll(word, "{{", ""), "{") }

// tellsMail tells whether the command itself says where the mailbox is.
func (c Command) tellsMail() bool {
	return slices.ContainsFunc(c.Words, func(w string) bool { return strings.Contains(strings.ReplaceAll(w, "{{", ""), "{mail}") })
}

func literal(words []string) (list []string) {
	for _, w := range words {
		list = append(list, strings.ReplaceAll(w, "{{", "{"))
	}
	return list
}

// beginning is what of a word stands before its first variable.
func beginning(word string) string {
	const brace = "\x00" // which no word has
	before, _, _ := strings.Cut(strings.ReplaceAll(word, "{{", brace), "{")
	return strings.ReplaceAll(before, brace, "{")
}

// varying are the words from the first on that depends on whom the command serves.
func (c Command) varying(x *route.Exec) (list []string) {
	i := slices.IndexFunc(c.Words[1:], varies)
	if i < 0 {
		return nil
	}
	for _, w := range c.Words[1+i:] {
		list = append(list, expand(w, x))
	}
	return list
}

func expand(word string, x *route.Exec) string {
	var out strings.Builder
	for {
		before, after, found := strings.Cut(word, "{")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		if rest, ok := strings.CutPrefix(after, "{"); ok {
			out.WriteByte('{')
			word = rest
			continue
		}
		name, rest, closed := strings.Cut(after, "}")
		if !closed {
			out.WriteString("{" + after)
			return out.String()
		}
		out.WriteString(value(name, x))
		word = rest
	}
}

// value is what a variable stands for; nothing if there is no such.
func value(name string, x *route.Exec) string {
	local, domain, _ := strings.Cut(x.User, "@")
	switch name {
	case "user":
		return x.User
	case "name":
		return local
	case "domain":
		return domain
	case "home":
		return x.Home
	case "mail":
		return x.Mail
	case "remote":
		return ip(x.Client.Remote)
	case "local":
		return ip(x.Client.Local)
	case "id":
		return x.Client.ID
	}
	return x.Attrs[name]
}
