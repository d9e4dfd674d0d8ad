package account

import (
	"net/netip"
	"strings"
	"testing"
)

var aQuery = Query{
	Name: "Ann@Example.org", Protocol: "imap", ServerName: "mail.example.org", TLS: true,
	Remote: netip.MustParseAddrPort("[::ffff:192.0.2.7]:5000"), Local: netip.MustParseAddrPort("[2001:db8::1]:993"),
}

func TestQueriesOfDovecotMeanTheSame(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "",
		"plain":                          "plain",
		"%u %n %d %s %r %l %c":           "Ann@Example.org Ann Example.org imap 192.0.2.7 2001:db8::1 secured",
		"%Lu %Ud":                        "ann@example.org EXAMPLE.ORG",
		"%{user} %{username} %L{domain}": "Ann@Example.org Ann example.org",
		"%{rip} %{lip} %{service}":       "192.0.2.7 2001:db8::1 imap",
		"{user} {name} {domain} {protocol} {remote} {local} {server_name} {secured}": "Ann@Example.org Ann Example.org imap 192.0.2.7 2001:db8::1 mail.example.org secured",
		"{USER}":         "Ann@Example.org",
		"100%% {{x}} }":  "100% {x} }",
		"(mail=%u)":      "(mail=Ann@Example.org)",
		"a{user}b%uc{{d": "aAnn@Example.orgbAnn@Example.orgc{d",
	} {
		tmpl, err := ParseTemplate(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if got := tmpl.Expand(aQuery, nil); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

func TestWhatIsNoTemplateSaysWhy(t *testing.T) {
	for text, want := range map[string]string{
		"{user":      "no } closes",
		"{usr}":      "is no variable",
		"{host}":     "is no variable", // a field: not known before the answer
		"%w":         "is no variable",
		"%":          "nothing stands behind",
		"%L":         "nothing stands behind",
		"%{usr}":     "is no variable",
		"%{user":     "no } closes",
		"{}":         "is no variable",
		"LIKE 'a%'":  "is no variable",
		"'{a,b,c}' ": "write {{ for a plain {",
	} {
		if _, err := ParseTemplate(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error with %q", text, err, want)
		}
	}
}

func TestValuesAreEscapedAndTextIsNot(t *testing.T) {
	tmpl, err := ParseTemplate("(mail=%u)")
	if err != nil {
		t.Fatal(err)
	}
	got := tmpl.Expand(Query{Name: "*)(x=*"}, func(s string) string { return strings.NewReplacer("*", `\2a`, "(", `\28`, ")", `\29`).Replace(s) })
	if want := `(mail=\2a\29\28x=\2a)`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestATemplateSaysWhatItDependsOn(t *testing.T) {
	for text, want := range map[string]Uses{
		"%u %d {name}":  UsesName,
		"%s":            UsesProtocol,
		"{remote}%l":    UsesRemote | UsesLocal,
		"{server_name}": UsesServerName,
		"%c":            UsesTLS | UsesRemote,
	} {
		tmpl, err := ParseTemplate(text)
		if got := tmpl.Uses(); got != want || err != nil {
			t.Errorf("%q uses %b, %v; want %b", text, got, err, want)
		}
	}
}

func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"%u", "{user}", "%Lu", "%{user}", "{{", "%%", "}}", "%", "{", "a%nb{domain}c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tmpl, err := ParseFieldTemplate(s)
		if err != nil {
			return
		}
		// What stands in no variable is as it was, but for doubled characters.
		var text strings.Builder
		for _, p := range tmpl {
			text.WriteString(p.Text)
		}
		if strings.Count(text.String(), "{") > strings.Count(s, "{") || len(text.String()) > len(s) {
			t.Errorf("%q became the text %q", s, text.String())
		}
	})
}
