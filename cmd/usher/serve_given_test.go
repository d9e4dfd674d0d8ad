package main

import (
	"strings"
	"testing"
)

// Postfix's master puts its options before those of master.cf.
func TestMastersOptionsAreToldFromOurs(t *testing.T) {
	for line, want := range map[string]string{
		"/x/usher-postfix -t inet -u -c imap --tls implicit":   "serve --postfix=imap --tls implicit --master=-t --master=inet --master=-u --master=-c",
		"/usr/bin/usher -n imaps -t inet serve --postfix imap": "serve --postfix imap --master=-n --master=imaps --master=-t --master=inet",
		"usher-postfix":                      "serve --postfix=",
		"usher serve -c usher.toml":          "serve -c usher.toml",
		"usher who ann@example.org --json":   "who ann@example.org --json",
		"usher-postfix -x imap":              "serve --postfix= --master=-x --master=imap",
		"usher-postfix -t inet pop3 -c file": "serve --postfix=pop3 -c file --master=-t --master=inet",
	} {
		if got := strings.Join(arguments(strings.Fields(line)), " "); got != want {
			t.Errorf("%s is\n%s, want\n%s", line, got, want)
		}
	}
}
