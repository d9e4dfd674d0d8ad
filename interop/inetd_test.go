package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"usher/internal/need"
)

// inetd runs openbsd-inetd with a line for each port.
func inetd(t *testing.T, p *proxy, wait string) starter {
	t.Helper()
	program := need.Program(t, "inetd")
	if os.Geteuid() != 0 {
		t.Skip("inetd must be root")
	}
	s := starter{p, map[string]string{}}
	conf := &strings.Builder{}
	for _, l := range recommended(t, "../contrib/inetd/inetd.conf") {
		s.addrs[l[0]] = freePort(t)
		l[0], l[3], l[5] = s.addrs[l[0]], strings.Replace(l[3], "nowait.1000", wait, 1), binary(t)
		fmt.Fprintln(conf, strings.Join(append(l, "--idle", "300ms", "-c", p.file), " "))
	}
	file := filepath.Join(t.TempDir(), "inetd.conf")
	write(t, file, conf.String())
	c := exec.Command(program, "-d", "-E", file)
	c.Env = p.env()
	runUntilEnd(t, c)
	return s
}

func TestInetdStartsUsherForEachClient(t *testing.T) {
	withAndWithout(t, quick, func(t *testing.T, p *proxy) { inetd(t, p, "nowait").serves(t) })
}

func TestInetdLeavesAPortToUsher(t *testing.T) {
	withAndWithout(t, quick, func(t *testing.T, p *proxy) {
		s := inetd(t, p, "wait")
		s.serves(t)
		s.serves(t) // some of them have ended in between, when nobody came
	})
}
