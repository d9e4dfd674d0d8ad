package interop

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"usher/internal/dovecot"
	"usher/internal/sasl"
)

// A master opens the mailboxes of others, whatever it proves itself by, and whatever the
// backend wants its own master to be called.
func TestMastersOpenTheMailboxesOfOthers(t *testing.T) {
	t.Parallel()
	s := newStore(t, "east", dovecot.Options{
		Master: map[string]string{"usher": "usher's secret"}, Extra: "auth_master_user_separator = *\n",
	})
	dir := t.TempDir()
	write(t, filepath.Join(dir, "masters"), "boss:{PLAIN}boss' secret\n")
	for _, separator := range []string{"", "*"} {
		t.Run("backend's separator "+separator, func(t *testing.T) {
			t.Parallel()
			p := start(t, setup{
				config: quick + strings.Replace(strings.TrimSpace(named), `"EXTERNAL", `, "", 1) + "\nmaster_separator = \"*\"\n\n[[accounts]]\ntype = \"sql\"\ndriver = \"sqlite\"\n\n" +
					fmt.Sprintf("[[accounts]]\ntype = \"passwd\"\npath = %q\nmaster = true\n\n", filepath.Join(dir, "masters")) +
					store("east", s, "starttls", fmt.Sprintf(`login = { as = "master", name = "usher", password = "usher's secret", separator = %q }`, separator)),
				accounts: []account{checked(ann, "hers", "east")},
			})
			for _, protocol := range protocols {
				for _, w := range mechanismWays {
					if w.name == "EXTERNAL" || w.name == "APOP" && protocol == "imap" {
						continue
					}
					c := p.secureClient(t, protocol, nil)
					if answer := c.prove(w, ann+"*boss", "boss' secret"); !isOK(answer) {
						t.Errorf("%s %s: %q", protocol, w.name, answer)
						continue
					}
					c.finds(ann, "east")
					_ = c.Close()
					if answer := p.secureClient(t, protocol, nil).prove(w, ann+"*boss", "hers"); answer != denied[protocol] {
						t.Errorf("%s %s with the owner's password: %q", protocol, w.name, answer)
					}
				}
				if answer := p.client(t, protocol, "implicit").login(ann+"*boss", "boss' secret"); !isOK(answer) {
					t.Errorf("%s: %q", protocol, answer)
				}
				c := p.secureClient(t, protocol, nil)
				x := &lines{c: c.client, command: c.auth() + " PLAIN"}
				_ = sasl.Plain.Enter(x, sasl.Credentials{Authz: ann, Authn: "boss", Password: "boss' secret"}, sasl.Channel{})
				if !isOK(x.verdict) {
					t.Errorf("%s, with an authorization identity: %q", protocol, x.verdict)
				}
			}
			if !strings.Contains(p.logText(), `msg="login of a master"`) || !strings.Contains(p.logText(), "user="+ann+" master=boss") {
				t.Errorf("the log does not say who it was")
			}
		})
	}
}
