package ldap

import (
	"strings"
	"testing"

	"usher/internal/slapd"
)

func TestExamine(t *testing.T) {
	t.Parallel()
	d := slapd.Start(t, slapd.Options{LDIF: everybody, Access: guarded, TLSNames: []string{"127.0.0.1"}})
	const good = "base = '" + people + "'\n"
	const service = "bind_dn = 'cn=usher,dc=example,dc=org'\npassword = \"the service's\"\n"
	at := "url = 'ldap://" + d.Addr + "'\n"
	for name, c := range map[string]struct {
		keys string
		want []string // said, in this order; those that begin with ! are faults
	}{
		"all is well": {at + good + service + "map = { host = 'mailHost', team = 'title', user = 'mail' }", []string{
			"it listens, without TLS", `we are "cn=usher,dc=example,dc=org"`, `base "ou=people,dc=example,dc=org" is there`, "finds nobody",
			"field host is the attribute mailHost", "field password is the attribute userPassword", "field team is the attribute title", "field user is the attribute mail",
			"passwords (userPassword) can be read",
		}},
		"TLS":              {"url = 'ldaps://" + d.TLSAddr + "'\nca = '" + d.CA + "'\nbind = true\n" + good, []string{"its certificate is for 127.0.0.1", "we are nobody", "is there", "finds nobody"}},
		"another name":     {"url = 'ldaps://" + strings.Replace(d.TLSAddr, "127.0.0.1", "localhost", 1) + "'\nca = '" + d.CA + "'\n" + good, []string{"!write into url a name that its certificate has"}},
		"nobody listens":   {"url = 'ldap://127.0.0.1:1'\n" + good, []string{"!connection refused"}},
		"socket":           {"url = '" + d.SocketURL() + "'\nbind = true\n" + good, []string{"it listens on its socket", "we are nobody", "is there", "finds nobody"}},
		"wrong password":   {at + good + "bind_dn = 'cn=usher,dc=example,dc=org'\npassword = 'hunter2'", []string{"it listens", "!correct bind_dn or its password"}},
		"wrong base":       {at + "base = 'ou=poeple,dc=example,dc=org'", []string{"it listens", "we are", "!correct base"}},
		"base varies":      {at + "base = 'ou={domain},dc=example,dc=org'\nbind = true", []string{"it listens", "we are", "finds nobody"}},
		"no such DN":       {at + "bind_template = 'uid={user},ou=people,dc=example,dc=org'", []string{"it listens", "we are", "finds nobody"}},
		"fits everybody":   {at + good + "bind = true\nfilter = '(objectClass=organizationalUnit)'", []string{"it listens", "we are", "is there", "!the filter (objectClass=organizationalUnit) fits too many"}},
		"no attribute":     {at + good + "bind = true\nmap = { host = 'mailServer' }", []string{"it listens", "we are", "is there", "finds nobody", "!the schema has no such attribute"}},
		"another name of":  {at + good + "bind = true\nmap = { host = 'rfc822Mailbox' }", []string{"it listens", "we are", "is there", "finds nobody", `!it is sent as "mail": write that name`}},
		"hidden passwords": {at + good + "map = { host = 'mailhost' }", []string{"it listens", "we are", "is there", "finds nobody", "field host", "field password", "!name in bind_dn somebody who may read it, or let the directory check with bind = true"}},
		"perdition":        {"url = 'ldap://" + d.Addr + "/" + people + "?mail,mailhost?sub?(mail=%s)'", []string{"it listens", "we are", "is there", "finds nobody", "field destuser", "field host", "field password"}},
	} {
		var said []string
		source(t, "%s", c.keys).Examine(t.Context(), func(what string, err error) {
			if err != nil {
				what += "! " + err.Error()
			}
			said = append(said, what)
		})
		ok := len(said) == len(c.want)
		for i := 0; ok && i < len(said); i++ {
			want, fault := strings.CutPrefix(c.want[i], "!")
			_, words, failed := strings.Cut(said[i], "! ")
			if !fault {
				words = said[i]
			}
			ok = strings.HasPrefix(said[i], "ldap") && failed == fault && strings.Contains(words, want)
		}
		if !ok || strings.Contains(strings.Join(said, ""), "hunter2") {
			t.Errorf("%s: said\n%s\nwant\n%s", name, strings.Join(said, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

func TestExamineNamesReferrals(t *testing.T) {
	t.Parallel()
	d := start(t, everybody+"dn: ou=abroad,"+people+"\nobjectClass: referral\nobjectClass: extensibleObject\nou: abroad\nref: ldap://192.0.2.1/\n\n")
	var said []string
	source(t, "url = 'ldap://%s'\nbase = '%s'", d.Addr, people).Examine(t.Context(), func(what string, err error) {
		said = append(said, what)
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	})
	if !strings.Contains(strings.Join(said, "\n"), `referrals to other servers are not followed, such as "ldap://192.0.2.1/`) {
		t.Errorf("said %q", said)
	}
}
