package local_test

import (
	"slices"
	"strings"
	"testing"

	"usher/internal/local"
)

const courierFile = `##VERSION: $Id$
# imapd.  Generated
ADDRESS=0
TCPDOPTS="-nodnslookup -noidentlookup"
IMAP_CAPABILITY="IMAP4rev1 UIDPLUS"   # what we say

IMAP_CAPABILITY_TLS="$IMAP_CAPABILITY AUTH=PLAIN ${ADDRESS}"
export HEADERFROM='X-IMAP-$Sender'
EMPTY=
ADDRESS=1 # again
`

func TestCouriersFileIsAnEnvironment(t *testing.T) {
	got, err := local.ReadEnv(strings.NewReader(courierFile))
	want := []string{
		"ADDRESS=1", "TCPDOPTS=-nodnslookup -noidentlookup", "IMAP_CAPABILITY=IMAP4rev1 UIDPLUS",
		"IMAP_CAPABILITY_TLS=IMAP4rev1 UIDPLUS AUTH=PLAIN 0", "HEADERFROM=X-IMAP-$Sender", "EMPTY=",
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v\n got %q\nwant %q", err, got, want)
	}
}

func TestWhatOnlyAShellUnderstandsIsAMistake(t *testing.T) {
	for _, text := range []string{"if true; then", ". /etc/other", "A=`id`", "A=\"$(id)\"", "A=b;c", "A=\"open", "A='x' y", "A=b c", "1A=b", "A=\"a\\\"b\""} {
		if got, err := local.ReadEnv(strings.NewReader("OK=1\n" + text + "\n")); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%q gives %q, %v", text, got, err)
		}
	}
}

func FuzzReadEnv(f *testing.F) {
	f.Add(courierFile)
	f.Add("A=$A${A}\nA=\"x\"")
	f.Fuzz(func(t *testing.T, text string) {
		list, _ := local.ReadEnv(strings.NewReader(text))
		seen := map[string]bool{}
		for _, v := range list {
			name, _, ok := strings.Cut(v, "=")
			if !ok || name == "" || seen[name] || strings.ContainsAny(v, "\x00\n") {
				t.Errorf("%q is a variable of %q", v, text)
			}
			seen[name] = true
		}
	})
}
