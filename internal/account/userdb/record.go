package userdb

import (
	"errors"
	"strings"

	"usher/internal/account"
	"usher/internal/account/file"
)

// format is that of makeuserdb(8): a name, a TAB, and fields.
var format = file.Format{Name: nameOf, Private: 0o044} // makeuserdb refuses files that others may read

// nameOf is the name of a line, which stands alone or before a TAB.
func nameOf(line string) (string, error) {
	if strings.TrimSpace(line) == "" || line[0] == '#' {
		return "", nil
	}
	name, fields, tab := strings.Cut(line, "\t")
	switch {
	case isNumber(name):
		return "", nil
	case !tab && strings.ContainsAny(name, " =|"):
		return "", errors.New("no TAB stands behind the name")
	case strings.ContainsFunc(fields, isControl):
		return "", errors.New("a control character is in the fields, such as a second TAB")
	}
	return name, file.CheckName(name)
}

// isNumber tells whether a line leads from a number to a name ("1000=<TAB>ann"), as
// pw2userdb(8) writes them too. Nobody logs in as that.
func isNumber(name string) bool {
	digits, is := strings.CutSuffix(name, "=")
	return is && digits != "" && strings.Trim(digits, "0123456789") == ""
}

// isControl is for values in old character sets too.
func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// A field is what stands between two bars: NAME=VALUE, or a NAME alone.
type field struct {
	name, value string
	equals      bool
}

func (f field) String() string {
	if !f.equals {
		return f.name
	}
	return f.name + "=" + f.value
}

// A record is a line.
type record struct {
	name   string
	fields []field
}

// parse takes a line apart. There is no way to write a bar or a TAB in a value.
func parse(line string) record {
	name, rest, _ := strings.Cut(line, "\t")
	r := record{name: name}
	if rest == "" {
		return r
	}
	for item := range strings.SplitSeq(rest, "|") {
		f := field{}
		f.name, f.value, f.equals = strings.Cut(item, "=")
		r.fields = append(r.fields, f)
	}
	return r
}

// line is the record as it is written.
func (r record) line() string {
	var items []string
	for _, f := range r.fields {
		items = append(items, f.String())
	}
	return r.name + "\t" + strings.Join(items, "|")
}

// get returns the first field with a name, which is the one that counts. A password
// without "=" makeuserdb takes for no password.
func (r record) get(name string) (value string, ok bool) {
	for _, f := range r.fields {
		if f.name == name && f.equals {
			return f.value, true
		}
	}
	return "", false
}

// answer is what the record says for a protocol.
func (r record) answer(protocol string) account.Record {
	a := account.Record{Fields: account.Fields{}}
	for _, f := range r.fields {
		name := strings.ToLower(f.name)
		if _, twice := a.Fields[name]; twice || name == "" || isPassword(name) && !isChallenge(name) {
			continue
		}
		if a.Fields[name] = f.value; !f.equals {
			a.Fields[name] = "1" // as in options
		}
	}
	switch stored, ok := r.password(protocol); {
	case ok && account.IsLocked(stored):
		a.Proof = account.Locked{Why: "the password in the userdb is locked"}
	case ok:
		a.Fields["password"] = stored
	case r.hasPassword():
		a.Proof = account.Locked{Why: "the userdb has passwords for other protocols only"}
	}
	return a
}

// password is the one for a protocol, else the one for all. An empty one is one too.
func (r record) password(protocol string) (stored string, ok bool) {
	if stored, ok = r.get(protocol + "pw"); ok && protocol != "" {
		return stored, true
	}
	return r.get("systempw")
}

func (r record) hasPassword() bool {
	for _, f := range r.fields {
		if isPassword(f.name) && f.equals {
			return true
		}
	}
	return false
}

// isPassword tells what makeuserdb puts into userdbshadow.dat.
func isPassword(name string) bool { return strings.HasSuffix(name, "pw") }

// isChallenge tells whether a password is one for CRAM, such as hmac-md5pw or
// imap-hmac-sha1pw. Who checks answers to challenges finds it under this name.
func isChallenge(name string) bool { return isPassword(name) && strings.Contains(name, "hmac-") }
