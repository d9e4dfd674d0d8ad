package interop

import (
	"fmt"
	"path/filepath"
	"testing"
)

// Accounts of a userdb and of a passwd-file for each domain, on one usher. What usher
// userdb changes holds for a running one, and what is locked is locked.
func TestAccountsInFiles(t *testing.T) {
	t.Parallel()
	_, _, config := twoStores(t)
	dir := t.TempDir()
	userdb := filepath.Join(dir, "userdb")
	set := func(args ...string) {
		output(t, usher(t, append([]string{"userdb", "-f", userdb, ann, "set"}, args...)...))
	}
	set("options=mailhost=east", "systempw={PLAIN}"+annSecret)
	write(t, filepath.Join(dir, "example.org.passwd"), bob+":{PLAIN}"+bobSecret+"::::::host=west\nlocked@example.org:!{PLAIN}x::::::host=west\n")
	p := start(t, setup{config: quick + config + fmt.Sprintf(`
[[accounts]]
type = "userdb"
path = %q

[[accounts]]
type = "passwd"
path = %q
username_format = "{user}"
`, userdb, filepath.Join(dir, "{domain}.passwd"))})
	for _, protocol := range protocols {
		p.visit(t, protocol, ann, annSecret, "east")
		p.visit(t, protocol, bob, bobSecret, "west")
		for _, x := range [][2]string{{ann, bobSecret}, {bob, annSecret}, {"locked@example.org", "x"}, {"nobody@example.org", "x"}, {"bob@..", "x"}} {
			if answer := p.client(t, protocol, "implicit").login(x[0], x[1]); answer != denied[protocol] {
				t.Errorf("%s: %s", x[0], answer)
			}
		}
	}
	set("options=mailhost=west")
	p.eventually("ann is sent to west", func() bool {
		c := p.client(t, "imap", "implicit")
		defer c.Close()
		c.enter(ann, annSecret)
		return c.subject() == subject(ann, "west")
	})
	set("imappw=")
	p.eventually("ann has no password for IMAP", func() bool {
		c := p.client(t, "imap", "implicit")
		defer c.Close()
		return c.login(ann, annSecret) == denied["imap"]
	})
	p.visit(t, "pop3", ann, annSecret, "west")
}
