package account_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"usher/internal/account"
)

func TestAPassportHoldsNoSecret(t *testing.T) {
	a, err := account.Fields{
		"user": "ann@example.org", "password": "{PLAIN}the secret", "pass": "the secret", "master": "m", "host": "mx2", "destuser": "ann",
		"uid": "1000", "gid": "1000", "home": "/home/ann", "mail": "maildir:~/Maildir", "quota": "1G", "allow_nets": "local,192.0.2.0/24",
		"imappw": "the secret", "api_secret": "the secret", "access_token": "the secret",
		"copy": "{SSHA512}the secret", "crypt": "$6$salt$the secret", "old": "{BLF-CRYPT}$2y$the secret", "note": "{home} is where the heart is", "price": "$5",
		"ldap": "{ssha}the secret", "old_crypt": "{crypt}the secret", "clear": "{Plain.b64}the secret", "nthash": "the secret", "krbPrincipalKey": "the secret",
		"credentials": "the secret", "totp_seed": "the secret",
		"options": "sharedgroup=x,shadowpw=the secret,wbnodsn=1", "nodelay": "Y",
	}.Account("ann")
	if err != nil {
		t.Fatal(err)
	}
	got := a.Passport()
	want := account.Fields{
		"destuser": "ann", "uid": "1000", "gid": "1000", "home": "/home/ann", "mail": "maildir:~/Maildir", "quota": "1G",
		"allow_nets": "local,192.0.2.0/24", "note": "{home} is where the heart is", "price": "$5", "sharedgroup": "x", "wbnodsn": "1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for name, value := range got {
		if strings.Contains(value, "secret") {
			t.Errorf("%s: %s", name, value)
		}
	}
	b, err := account.FromPassport(a.Name, "mx1", got)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, b.Passport()); diff != "" || b.Name != "ann@example.org" || b.Source != "node mx1" {
		t.Errorf("%+v: %s", b, diff)
	}
}

// Whatever a node says, it is of the user that it names, who has no password here and
// no host.
func TestAPassportIsNoMoreThanAPassport(t *testing.T) {
	a, err := account.FromPassport("ann@example.org", "mx1", account.Fields{
		"user": "root", "NAME": "root", "password": "{PLAIN}x", "passwd": "{PLAIN}x", "pass": "x", "master": "m", "host": "elsewhere", "mailhost": "elsewhere", "proxy": "N",
		"port": "99", "options": "home=/root,nologin=1", "nologin": "1", "home": "/home/ann",
	})
	if err != nil {
		t.Fatal(err)
	}
	if a.Name != "ann@example.org" || a.Proof != nil || len(a.Place.Hosts) > 0 || a.Place.Password != "" || a.Place.Master != "" || a.Place.Port != 0 || a.Denied != nil {
		t.Errorf("%+v", a)
	}
	if a.Attrs["home"] != "/home/ann" || len(a.Attrs) != 1 {
		t.Errorf("attributes %v", a.Attrs)
	}
	if _, err := account.FromPassport("ann", "mx1", account.Fields{"allow_nets": "everywhere"}); err == nil {
		t.Error("nonsense was taken")
	}
}
