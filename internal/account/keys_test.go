package account

import (
	"context"
	"slices"
	"strings"
	"testing"
)

// What userdbpw(8) of Courier writes.
const (
	md5States    = "d06d4e1b26fccaa4b0b61801132340a354b21152711fb604ca3e035e7015116b"
	sha1States   = "72724befb173b1ee5f79c09801b9b15e11d805fe02b49c1d1d00921723b52bcb862c04fa52876446"
	sha256States = "0dc4407ecdb637a66615a85f4d5632c459c57a86c2038fdd81a8804bc34a93695325d19c44d48eabed0476bc8078e0987eeaf4fff2267de3e00f539ba83f6225"
)

func TestWhatChallengesAreCheckedBy(t *testing.T) {
	other := strings.Repeat("0", 64)
	for _, c := range []struct {
		name     string
		fields   Fields
		protocol string
		want     []string
	}{
		{"a password", Fields{"password": "{PLAIN}secret"}, "imap", []string{"{PLAIN}secret"}},
		{"several", Fields{"password": "{PLAIN}secret\n{CRAM-MD5}" + md5States}, "imap", []string{"{PLAIN}secret", "{CRAM-MD5}" + md5States}},
		{"nothing", Fields{}, "imap", nil},
		{"only the backend knows", Fields{"password": "{PLAIN}secret", "nopassword": "Y"}, "imap", nil},
		{"userdb", Fields{"hmac-md5pw": md5States, "hmac-sha1pw": sha1States, "hmac-sha256pw": sha256States}, "pop3", []string{"{HMAC-MD5}" + md5States, "{HMAC-SHA1}" + sha1States, "{HMAC-SHA256}" + sha256States}},
		{"the protocol's own", Fields{"hmac-md5pw": other, "imap-hmac-md5pw": md5States}, "imap", []string{"{HMAC-MD5}" + md5States}},
		{"another protocol's own", Fields{"hmac-md5pw": md5States, "imap-hmac-md5pw": other}, "pop3", []string{"{HMAC-MD5}" + md5States}},
		{"another protocol's only", Fields{"imap-hmac-md5pw": md5States}, "pop3", nil},
		{"columns", Fields{"HMAC_MD5PW": md5States, "pop3_hmac_sha1pw": sha1States}, "pop3", []string{"{HMAC-MD5}" + md5States, "{HMAC-SHA1}" + sha1States}},
		{"beside a password", Fields{"password": "{PLAIN}secret", "hmac-md5pw": md5States}, "imap", []string{"{PLAIN}secret", "{HMAC-MD5}" + md5States}},
	} {
		a, err := c.fields.Account("ann")
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := a.Stored(c.protocol); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if len(a.Attrs) > 0 {
			t.Errorf("%s: routes see %q", c.name, a.Attrs)
		}
	}
}

func TestStatesOfHMACThatCannotBeAreNamed(t *testing.T) {
	for _, f := range []Fields{{"hmac-md5pw": "secret"}, {"imap-hmac-md5pw": md5States[2:]}, {"hmac-sha1pw": md5States}} {
		_, err := f.Account("ann")
		for name, value := range f {
			if err == nil || !strings.Contains(err.Error(), `field "`+name+`"`) || strings.Contains(err.Error(), value) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestSourcesWithAProofOfTheirOwnHaveStatesToo(t *testing.T) {
	r := Reader{Source: said{"ann": {Fields: Fields{"hmac-md5pw": md5States}, Proof: bind{}}}}
	a, err := r.Lookup(context.Background(), Query{Name: "ann"})
	if err != nil || len(a.Stored("imap")) != 1 || a.Proof != (bind{}) {
		t.Errorf("%+v, %v", a, err)
	}
}
