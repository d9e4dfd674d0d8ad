package interop

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"usher/internal/slapd"
)

// couriers are people as Courier's LDAP module wants them. The attribute mailhost is one
// that the schema was given for its proxy.
func couriers() string {
	var ldif strings.Builder
	for user, host := range map[string]string{"user": "servera.example.com", "other": "serverb.example.com"} {
		fmt.Fprintf(&ldif, `dn: uid=%[1]s,dc=example,dc=org
objectClass: inetOrgPerson
objectClass: posixAccount
objectClass: mailUser
uid: %[1]s
cn: %[1]s
sn: %[1]s
mail: %[1]s@example.com
uidNumber: 1000
gidNumber: 1000
homeDirectory: /home/%[1]s
userPassword: %[2]s
mailhost: %[3]s

`, user, theirSecret, host)
	}
	return ldif.String()
}

// hidden keeps passwords from everybody: they are for binds.
const hidden = "access to attrs=userPassword by * auth\naccess to * by * read\n"

const authldaprc = `LDAP_URI		ldap://%s
LDAP_PROTOCOL_VERSION	3
LDAP_BASEDN		dc=example,dc=org
LDAP_TIMEOUT		5
LDAP_AUTHBIND		1
LDAP_INITBIND		0
LDAP_MAIL		mail
LDAP_HOMEDIR		homeDirectory
LDAP_FULLNAME		cn
LDAP_UID		uidNumber
LDAP_GID		gidNumber
LDAP_DEREF		never
LDAP_TLS		0
LDAP_AUXOPTIONS	mailhost=mailhost
`

func TestOriginalLDAP(t *testing.T) {
	t.Parallel()
	servers := twoServers(t)
	people := slapd.Start(t, slapd.Options{LDIF: couriers(), Access: hidden})
	password := filepath.Join(t.TempDir(), "password")
	write(t, password, people.RootPassword)
	for name, source := range map[string]func(*testing.T) string{
		"P000-6 natively": func(t *testing.T) string {
			return example(t, "ldap.toml", `["ldaps://ldap1.internal.example.org", "ldaps://ldap2.internal.example.org"]`, `"ldap://`+people.Addr+`"`,
				"cn=usher,dc=example,dc=org", people.RootDN, "ldap.secret", password, "ou=people,dc=example,dc=org", people.Suffix)
		},
		"P000-6 natively, by the attribute's own name": func(*testing.T) string {
			return fmt.Sprintf("[[accounts]]\ntype = \"ldap\"\nurl = \"ldap://%s\"\nbase = %q\nbind = true\n", people.Addr, people.Suffix)
		},
		"P000-6 by authdaemond": func(t *testing.T) string {
			return byAuthdaemond(t, "authldap", "authldaprc", fmt.Sprintf(authldaprc, people.Addr))
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, setup{config: called(servers, "servera.example.com", "serverb.example.com") + source(t)})
			p.leads(t, map[string]string{"user@example.com": "user@example.com on first", "other@example.com": "other@example.com on second", "nobody@example.com": "", "*": ""})
			p.denies(t, "user@example.com", "other@example.com")
		})
	}
}
