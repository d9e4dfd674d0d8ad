package passwd

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"usher/internal/account"
	"usher/internal/account/file"
)

// Files with passwords are for their owner and its group: that of usher, or of
// Dovecot. A passwd that has a shadow is for all.
var (
	secret = file.Format{Name: nameOf, Plain: true, Private: 0o004}
	public = file.Format{Name: nameOf, Plain: true}
)

// nameOf is what stands before the first colon, or alone.
func nameOf(line string) (string, error) {
	if strings.TrimSpace(line) == "" || line[0] == '#' {
		return "", nil
	}
	name, _, _ := strings.Cut(line, ":")
	return name, file.CheckName(name)
}

// A record is a line of a passwd: user:password:uid:gid:(gecos):home:(shell):extra.
type record struct {
	user, password, uid, gid, home string
	extra                          []string // NAME=VALUE or NAME
}

// parse takes a line apart. In the extra fields a colon is one like others, blanks
// separate, and nothing can be escaped.
func parse(line string) record {
	parts := strings.SplitN(line, ":", 8)
	part := func(i int) string {
		if i < len(parts) {
			return parts[i]
		}
		return ""
	}
	return record{
		user: part(0), password: part(1), uid: part(2), gid: part(3), home: part(5),
		extra: slices.DeleteFunc(strings.Split(part(7), " "), func(s string) bool { return s == "" }),
	}
}

// answer is what a record says of whom the query asks for.
func (s *Source) answer(ctx context.Context, r record, q account.Query) (account.Record, error) {
	fields, err := r.fields(q)
	if err != nil {
		return account.Record{}, err
	}
	leave := isYes(fields["nopassword"]) // the check to the backend
	stored, locked, err := s.stored(ctx, r)
	if err != nil && !leave {
		return account.Record{}, err
	}
	if locked == "" && account.IsLocked(stored) && (stored != "" || !leave) {
		locked = "its password is locked, or it has none" // which lets nobody in, not everybody
	}
	if locked != "" {
		return account.Record{Fields: fields, Proof: account.Locked{Why: locked}}, nil
	}
	fields["password"] = stored
	return account.Record{Fields: fields}, nil
}

// isYes reads yes and no as account.Fields do.
func isYes(v string) bool {
	return slices.Contains([]string{"y", "yes", "1", "true"}, strings.ToLower(v))
}

// stored is the password of a record, with its scheme. locked says why there is none
// that fits.
func (s *Source) stored(ctx context.Context, r record) (stored, locked string, err error) {
	if s.shadow != nil {
		if line, times := s.shadow.Find(ctx, r.user); times > 0 {
			return shadowed(line, time.Now())
		}
		if r.password == "x" {
			return "", "it is not in the shadow file", nil
		}
	}
	if r.password == "x" && s.Scheme == "" {
		return "", "", errors.New("the password is in a shadow file, but the key shadow names none")
	}
	return s.withScheme(r.password), "", nil
}

// withScheme puts a scheme before a password that has none.
func (s *Source) withScheme(stored string) string {
	if stored == "" || stored[0] == '{' {
		return stored
	}
	if bare, scheme := pamScheme(stored); scheme != "" {
		return scheme + bare
	}
	if s.Scheme == "" {
		return stored
	}
	return "{" + s.Scheme + "}" + stored
}

// pamScheme reads what libpam-pwdfile writes behind a password: [13], [34].
func pamScheme(stored string) (bare, scheme string) {
	at := len(stored) - len("[13]")
	if at <= 0 || stored[0] == '$' || stored[at] != '[' || stored[at+3] != ']' {
		return stored, ""
	}
	switch stored[at+1 : at+3] {
	case "34":
		return stored[:at], "{PLAIN-MD5}"
	case "56":
		return stored[:at], "{DIGEST-MD5}"
	}
	return stored[:at], "{CRYPT}"
}

// shadowed reads a line of shadow(5): user:password:…, of which the eighth is the day
// since 1970 from which on the account may not be used.
func shadowed(line string, now time.Time) (stored, locked string, err error) {
	parts := strings.Split(line, ":")
	if len(parts) < 2 {
		return "", "its line in the shadow file has no password", nil
	}
	if len(parts) > 7 && parts[7] != "" {
		day, err := strconv.Atoi(parts[7])
		if err != nil {
			return "", "", fmt.Errorf("shadow file: %.20q is no day on which an account expires", parts[7])
		}
		if day >= 0 && now.Unix()/(24*60*60) >= int64(day) {
			return "", "it has expired", nil
		}
	}
	if account.IsLocked(parts[1]) {
		return "", "its password in the shadow file is locked", nil
	}
	return parts[1], "", nil
}

// own are fields of Dovecot's userdb that are the account's own here.
var own = []string{"uid", "gid", "home", "mail", "quota"}

// fields are all but the password.
func (r record) fields(q account.Query) (account.Fields, error) {
	f := account.Fields{"uid": r.uid, "gid": r.gid, "home": r.home}
	for _, item := range r.extra {
		name, value, has := strings.Cut(item, "=")
		name = strings.ToLower(name)
		if bare, is := strings.CutPrefix(name, "userdb_"); is && slices.Contains(own, bare) {
			name = bare
		}
		if !has {
			value = "Y" // nologin, proxy, nopassword
		}
		value, err := expand(value, q)
		if err != nil {
			// The value may be a password.
			return nil, fmt.Errorf("extra field %.40q: a variable in its value is not understood; write %%%% for a plain %%", name)
		}
		if name != "password" {
			f[name] = value
		}
	}
	return f, nil
}

// plain finds braces that are no part of a variable: in Dovecot these are %{…} only.
var plain = regexp.MustCompile(`%%|%[LU]?\{[^}]*\}|[{}]`)

// expand puts in the place of Dovecot's variables what they mean for the query.
func expand(value string, q account.Query) (string, error) {
	if !strings.Contains(value, "%") {
		return value, nil
	}
	t, err := account.ParseTemplate(plain.ReplaceAllStringFunc(value, func(s string) string {
		if len(s) == 1 {
			return s + s
		}
		return s
	}))
	return t.Expand(q, nil), err
}
