package account

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestFieldsMakeAnAccount(t *testing.T) {
	hashed := Hashed{[]string{"{PLAIN}secret"}}
	for _, c := range []struct {
		name   string
		fields Fields
		want   Account
	}{
		{"nothing", Fields{}, Account{Name: "asked"}},
		{"the source's name", Fields{"user": "ann"}, Account{Name: "ann"}},
		{"aliases", Fields{"address": "ann", "pass_hash": "{PLAIN}secret", "mailhost": "a"}, Account{Name: "ann", Proof: hashed, Place: Place{Hosts: []string{"a"}}}},
		{"any case", Fields{"userPassword": "{PLAIN}secret", "HOST": "a", "Team": "x"}, Account{Name: "asked", Proof: hashed, Place: Place{Hosts: []string{"a"}}, Attrs: map[string]string{"team": "x"}}},
		{"own name before alias", Fields{"host": "a", "mailhost": "b", "place": "c"}, Account{Name: "asked", Place: Place{Hosts: []string{"a"}}}},
		{"aliases in order", Fields{"place": "c", "mailhost": "b"}, Account{Name: "asked", Place: Place{Hosts: []string{"b"}}}},
		{"an empty field is none", Fields{"host": "", "mailhost": "b", "port": "", "password": ""}, Account{Name: "asked", Place: Place{Hosts: []string{"b"}}}},
		{"SQL's inet as text", Fields{"options": "mailhost=192.0.2.1/32"}, Account{Name: "asked", Place: Place{Hosts: []string{"192.0.2.1"}}}},
		{"several of them", Fields{"host": "192.0.2.1/32, 2001:DB8::1/64,a/b"}, Account{Name: "asked", Place: Place{Hosts: []string{"192.0.2.1", "2001:db8::1", "a/b"}}}},
		{"nopassword", Fields{"password": "whatever", "nopassword": "y"}, Account{Name: "asked"}},
		{"place", Fields{"host": "a, b:143,", "port": "993", "ssl": "any-cert", "destuser": "u", "proxy_mech": "PLAIN", "proxy_timeout": "30"}, Account{
			Name:  "asked",
			Place: Place{Hosts: []string{"a", "b:143"}, Port: 993, TLS: TLSImplicit, AnyCert: true, User: "u", Mechanism: "PLAIN", Timeout: 30 * time.Second},
		}},
		{"starttls", Fields{"starttls": "yes", "ssl": "no", "proxy_timeout": "1500ms"}, Account{Name: "asked", Place: Place{TLS: TLSStart, Timeout: 1500 * time.Millisecond}}},
		{"master", Fields{"password": "{PLAIN}secret", "master": "m", "pass": "p"}, Account{Name: "asked", Proof: hashed, Place: Place{Master: "m", Password: "p"}}},
		{"denied", Fields{"nologin": "Y", "reason": "moved", "code": "user_disabled"}, Account{Name: "asked", Denied: &Denied{Text: "moved", Code: "user_disabled"}}},
		{"nologin of a proxy", Fields{"nologin": "Y", "proxy": "Y"}, Account{Name: "asked"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.fields.Account("asked")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&c.want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFieldsName(t *testing.T) {
	for _, c := range []struct {
		field, value string
	}{
		{"port", "0"},
		{"port", "65536"},
		{"port", "imap"},
		{"host", " , "},
		{"nopassword", "perhaps"},
		{"nologin", "2"},
		{"ssl", "tls"},
		{"starttls", "x"},
		{"proxy_timeout", "-1"},
		{"proxy_timeout", "soon"},
		{"code", "gone"},
		{"proxy", "perhaps"},
		{"allow_nets", "10.0.0.0/8, somewhere"},
		{"disableimap", "perhaps"},
		{"delay_until", "tomorrow"},
		{"source_ip", "here"},
		{"pass", "p"},
		{"password", "no hash"},
		{"password", "{SSHA}x"},
	} {
		_, err := Fields{c.field: c.value}.Account("ann")
		if want := `field "` + c.field + `": `; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s = %q: error %v; want one with %s", c.field, c.value, err, want)
		}
	}
}

func TestAllFaultsAreNamedAtOnce(t *testing.T) {
	_, err := Fields{"port": "x", "ssl": "x"}.Account("ann")
	if err == nil || !strings.Contains(err.Error(), "port") || !strings.Contains(err.Error(), "ssl") {
		t.Errorf("error %v; want both fields", err)
	}
}
