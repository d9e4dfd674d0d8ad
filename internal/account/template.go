package account

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// A Template is a text with variables, such as a query or a filter. They are
// written as {user}, or in Dovecot's way as %u, %Lu (in small letters) or %{user}.
// {{, }} and %% are the characters themselves.
type Template []Part

// A Part of a template is text, or the place of a variable.
type Part struct {
	Text     string   // as it is, if there is no variable
	Variable Variable // "": none
	Fold     byte     // 'L', 'U': in small or in capital letters
}

// A Variable is one of Variables, or, in the templates of [accounts.set], the name
// of a field.
type Variable string

// What a query says of itself.
const (
	VarUser       Variable = "user"
	VarName       Variable = "name" // what stands before the @ of user
	VarDomain     Variable = "domain"
	VarProtocol   Variable = "protocol"
	VarRemote     Variable = "remote"
	VarLocal      Variable = "local"
	VarServerName Variable = "server_name"
	VarSecured    Variable = "secured" // "secured", or nothing
)

// Variables are all that queries have.
var Variables = []Variable{VarUser, VarName, VarDomain, VarProtocol, VarRemote, VarLocal, VarServerName, VarSecured}

// dovecots are its letters and its long names.
var dovecots = map[string]Variable{
	"u": VarUser, "n": VarName, "d": VarDomain, "s": VarProtocol, "r": VarRemote, "l": VarLocal, "c": VarSecured,
	"username": VarName, "service": VarProtocol, "rip": VarRemote, "remote_ip": VarRemote, "lip": VarLocal, "local_ip": VarLocal, "local_name": VarServerName,
}

// ParseTemplate reads a template that knows the variables of a query.
func ParseTemplate(text string) (Template, error) { return parse(text, false) }

// ParseFieldTemplate reads a template that knows every field of an answer too.
func ParseFieldTemplate(text string) (Template, error) { return parse(text, true) }

func parse(text string, fields bool) (t Template, err error) {
	p := templateParser{rest: text, fields: fields}
	for p.rest != "" && err == nil {
		err = p.part()
	}
	if err != nil {
		return nil, fmt.Errorf("template %.200q: %w", text, err)
	}
	return p.parts, nil
}

type templateParser struct {
	rest   string
	fields bool
	parts  Template
}

// part takes the next part off.
func (p *templateParser) part() error {
	i := strings.IndexAny(p.rest, "{}%")
	if i < 0 {
		i = len(p.rest)
	}
	p.text(p.rest[:i])
	p.rest = p.rest[i:]
	switch {
	case p.rest == "":
		return nil
	case len(p.rest) > 1 && p.rest[1] == p.rest[0]: // {{, }}, %%
		p.text(p.rest[:1])
		p.rest = p.rest[2:]
		return nil
	case p.rest[0] == '{':
		return p.braced(1, 0)
	case p.rest[0] == '%':
		return p.percent()
	}
	p.text("}")
	p.rest = p.rest[1:]
	return nil
}

// text adds to the text before.
func (p *templateParser) text(s string) {
	if n := len(p.parts); n > 0 && p.parts[n-1].Variable == "" {
		p.parts[n-1].Text += s
	} else if s != "" {
		p.parts = append(p.parts, Part{Text: s})
	}
}

// percent reads %u, %Lu, %{user} and %L{user}.
func (p *templateParser) percent() error {
	at, fold := 1, byte(0)
	if at < len(p.rest) && (p.rest[at] == 'L' || p.rest[at] == 'U') {
		fold = p.rest[at]
		at++
	}
	switch {
	case at == len(p.rest):
		return fmt.Errorf("nothing stands behind %q; write %%%% for a plain %%", p.rest)
	case p.rest[at] == '{':
		return p.braced(at+1, fold)
	}
	v, ok := dovecots[p.rest[at:at+1]]
	if !ok {
		return fmt.Errorf("%q is no variable (there are %%u %%n %%d %%s %%r %%l %%c, and %%L before a letter for small letters); write %%%% for a plain %%", p.rest[:at+1])
	}
	p.variable(v, fold, at+1)
	return nil
}

// braced reads what stands from at to the closing brace.
func (p *templateParser) braced(at int, fold byte) error {
	name, _, closed := strings.Cut(p.rest[at:], "}")
	if !closed {
		return fmt.Errorf("no } closes %.40q; write {{ for a plain {", p.rest)
	}
	v := Variable(strings.TrimSpace(strings.ToLower(name)))
	if to, ok := dovecots[string(v)]; ok && len(v) > 1 {
		v = to
	}
	if !slices.Contains(Variables, v) && (!p.fields || !isFieldName(string(v))) {
		return fmt.Errorf("{%.40s} is no variable; there are %v; write {{ for a plain {", name, Variables)
	}
	p.variable(v, fold, at+len(name)+1)
	return nil
}

func (p *templateParser) variable(v Variable, fold byte, length int) {
	p.parts = append(p.parts, Part{Variable: v, Fold: fold})
	p.rest = p.rest[length:]
}

// isFieldName tells whether it can be the name of a field.
func isFieldName(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_-.") == ""
}

// Value is what the part says for a query.
func (p Part) Value(q Query) string {
	if p.Variable == "" {
		return p.Text
	}
	return p.fold(q.value(p.Variable))
}

func (p Part) fold(s string) string {
	switch p.Fold {
	case 'L':
		return strings.ToLower(s)
	case 'U':
		return strings.ToUpper(s)
	}
	return s
}

func (q Query) value(v Variable) string {
	name, domain, _ := strings.Cut(q.Name, "@")
	switch v {
	case VarUser:
		return q.Name
	case VarName:
		return name
	case VarDomain:
		return domain
	case VarProtocol:
		return q.Protocol
	case VarRemote:
		return address(q.Remote)
	case VarLocal:
		return address(q.Local)
	case VarServerName:
		return q.ServerName
	case VarSecured:
		if q.Secured() {
			return "secured"
		}
	}
	return ""
}

// Expand writes the template for a query. escape, if it is not nil, makes each
// value harmless where it will stand.
func (t Template) Expand(q Query, escape func(string) string) string {
	var b strings.Builder
	for _, p := range t {
		v := p.Value(q)
		if p.Variable != "" && escape != nil {
			v = escape(v)
		}
		b.WriteString(v)
	}
	return b.String()
}

// Uses is what of a query the template depends on.
func (t Template) Uses() (u Uses) {
	for _, p := range t {
		switch p.Variable {
		case VarProtocol:
			u |= UsesProtocol
		case VarRemote:
			u |= UsesRemote
		case VarLocal:
			u |= UsesLocal
		case VarServerName:
			u |= UsesServerName
		case VarSecured:
			u |= UsesTLS | UsesRemote
		}
	}
	return u
}

// address is an address without its port.
func address(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.Addr().Unmap().String()
}

// UnmarshalText reads a template with the variables of a query, from a configuration.
func (t *Template) UnmarshalText(text []byte) (err error) {
	*t, err = ParseTemplate(string(text))
	return err
}
