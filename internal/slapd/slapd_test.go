package slapd_test

import (
	"errors"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"usher/internal/need"
	"usher/internal/slapd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ann = `dn: uid=ann,dc=example,dc=org
objectClass: inetOrgPerson
objectClass: mailUser
uid: ann
cn: Ann
sn: Ann
mail: ann@example.org
mailhost: imap1
userPassword: secret
`

// search asks with OpenLDAP's own client.
func search(t *testing.T, args ...string) (string, error) {
	t.Helper()
	c := exec.Command(need.Program(t, "ldapsearch"), append([]string{"-LLL", "-o", "nettimeout=5", "-b", "dc=example,dc=org"}, args...)...)
	out, err := c.CombinedOutput()
	return string(out), err
}

func TestEveryWayIn(t *testing.T) {
	s := slapd.Start(t, slapd.Options{LDIF: ann})
	t.Setenv("LDAPTLS_CACERT", s.CA)
	for _, way := range [][]string{
		{"-x", "-H", "ldap://" + s.Addr},
		{"-x", "-H", "ldap://" + s.Addr, "-D", "uid=ann,dc=example,dc=org", "-w", "secret"},
		{"-x", "-ZZ", "-H", "ldap://" + s.Addr},
		{"-x", "-H", "ldaps://" + s.TLSAddr},
		{"-Q", "-Y", "EXTERNAL", "-H", s.SocketURL()},
	} {
		if out, err := search(t, append(way, "(uid=ann)", "mailhost")...); err != nil || !strings.Contains(out, "mailhost: imap1") {
			t.Errorf("%v: %v\n%s", way, err, out)
		}
	}
	s.Modify("dn: uid=ann,dc=example,dc=org\nchangetype: modify\nreplace: mailhost\nmailhost: imap2\n")
	if out, _ := search(t, "-x", "-H", "ldap://"+s.Addr, "(uid=ann)"); !strings.Contains(out, "mailhost: imap2") {
		t.Errorf("after a change: %s", out)
	}
}

func TestStopRestartFreezeThaw(t *testing.T) {
	t.Parallel()
	s := slapd.Start(t, slapd.Options{LDIF: ann})
	s.Stop()
	s.Stop()
	if c, err := net.Dial("tcp", s.Addr); err == nil {
		c.Close()
		t.Error("a stopped server accepts connections")
	}
	s.Restart()
	if out, err := search(t, "-x", "-H", "ldap://"+s.Addr, "(uid=ann)"); err != nil || !strings.Contains(out, "imap1") {
		t.Errorf("after a restart: %v\n%s", err, out)
	}
	s.Freeze()
	c, err := net.Dial("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	bind := "\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00" // an anonymous bind
	if _, err := c.Write([]byte(bind)); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if n, err := c.Read(make([]byte, 100)); !errors.As(err, new(net.Error)) {
		t.Errorf("a frozen server said %d bytes, %v", n, err)
	}
	s.Thaw()
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := c.Read(make([]byte, 100)); err != nil {
		t.Errorf("after it was thawed: %v", err)
	}
	s.Freeze() // the end of the test must cope with it
}
