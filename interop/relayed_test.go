package interop

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// rewrite changes the configuration of the next life.
func (l *lasting) rewrite(was, is string) {
	l.t.Helper()
	text, err := os.ReadFile(l.file)
	if err != nil {
		l.t.Fatal(err)
	}
	if !bytes.Contains(text, []byte(was)) {
		l.t.Fatalf("the configuration has no %q", was)
	}
	write(l.t, l.file, strings.Replace(string(text), was, is, 1))
}

// restart is systemctl restart.
func (l *lasting) restart() {
	l.t.Helper()
	l.terminate()
	l.exits(time.Minute)
	l.begin()
}

// A serve that has known none of the sessions counts them, shows them, ends them and logs
// them as the one before would have.
func TestTheNextServeGoesOnWithWhatItFinds(t *testing.T) {
	t.Parallel()
	l := newLasting(t, "")
	l.rewrite(noLimits, "[limit]\nsessions_per_user = 2\nsessions_per_user_address = 0\n")
	l.restart()
	a, b := l.enters(0), l.enters(1)
	a.send("hello")
	a.expect("hello")
	l.sessionsAre(2)
	l.die()
	l.begin()
	l.sessionsAre(2)
	if who := l.command("who", lastingUser); strings.Count(who, lastingUser) != 2 {
		t.Errorf("usher who says\n%s", who)
	}
	c := l.client(t, "imap", "none")
	if got := c.login(lastingUser, "secret"); !strings.Contains(got, "[LIMIT]") && !strings.Contains(got, "[UNAVAILABLE]") {
		t.Errorf("a third session: %s", got)
	}
	a.send("again")
	a.expect("again")
	l.command("kick", lastingUser)
	a.until("* BYE")
	b.until("* BYE")
	l.sessionsAre(0)
	l.enters(0) // the places are free
	l.eventually("both ends are in the log", func() bool { return strings.Count(l.all(), "why=kicked") == 2 })
	if want := fmt.Sprintf("from_client=%d ", len("hello\r\nagain\r\n")); !strings.Contains(l.all(), want) {
		t.Errorf("the log does not say %s: what was before the kill is not counted", want)
	}
}

// What was at rest for too long ends though the serve that has let it in is gone.
func TestSessionsIdleOutWhileNobodyServes(t *testing.T) {
	t.Parallel()
	l := newLasting(t, "idle_timeout = \"2s\"\n")
	c := l.enters(1)
	l.sessionsAre(1)
	l.die()
	c.expect("* BYE")
	l.begin()
	l.eventually("the log says why it has ended", func() bool { return strings.Contains(l.all(), "why=idle") })
	l.endedOnce(1)
}

// relay_process may be switched off, and on again: what the relay process has stays there,
// and stays in everybody's sight.
func TestTheRelayProcessMayBeSwitchedOffAndOn(t *testing.T) {
	t.Parallel()
	l := newLasting(t, "")
	on := l.enters(1)
	l.sessionsAre(1)
	l.rewrite("relay_process = true", "relay_process = false")
	l.command("reload")
	if !strings.Contains(l.all(), "waits for a restart") {
		t.Error("nobody says that this needs a restart")
	}
	l.restart()
	l.sessionsAre(1)
	off := l.enters(1)
	l.sessionsAre(2)
	on.send("still here")
	on.expect("still here")
	l.rewrite("relay_process = false", "relay_process = true")
	pid := strings.TrimSpace(l.command("upgrade"))
	_, _ = fmt.Sscan(pid, &l.pid)
	l.eventually("the new usher has both", func() bool { return strings.Count(l.command("who", "--json"), `"id"`) == 2 })
	for _, c := range []*client{on, off} {
		c.send("still here")
		c.expect("still here")
	}
	l.command("kick", lastingUser)
	on.expect("* BYE")
	off.expect("* BYE")
	l.sessionsAre(0)
}

// Who served as root, and serves as somebody else from now on, keeps the sessions.
func TestSessionsOutliveAChangeOfTheUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	l := newLasting(t, "")
	dir := filepath.Dir(l.file)
	c := l.enters(1)
	l.sessionsAre(1)
	open(t, l.file, l.cert, l.key)
	if err := os.Chmod(dir, 0o777); err != nil { // for the admin socket
		t.Fatal(err)
	}
	l.rewrite("\nuser     = \"\"", "\nuser     = \"nobody\"")
	if err := os.Chmod(l.file, 0o644); err != nil {
		t.Fatal(err)
	}
	l.restart()
	l.sessionsAre(1)
	c.send("still here")
	c.expect("still here")
	l.command("kick", lastingUser)
	c.expect("* BYE")
	l.sessionsAre(0)
}

// The kernel says what the relay process of the real program may still do.
func TestTheRelayProcessIsAlone(t *testing.T) {
	t.Parallel()
	l := newLasting(t, "")
	l.enters(1)
	l.sessionsAre(1)
	pids := l.relays()
	if len(pids) != 1 {
		t.Fatalf("there are relay processes %v", pids)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pids[0]))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !bytes.Contains(status, []byte(want)) {
			t.Errorf("the kernel does not say %q", want)
		}
	}
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pids[0]))
	if err != nil || !bytes.Contains(env, []byte("GORACE=")) || bytes.Contains(env, []byte("PATH=")) {
		t.Errorf("its environment is %q %v", env, err)
	}
	given := regexp.MustCompile(`^(socket:|pipe:|anon_inode:|/dev/null$|/sys/fs/cgroup/)`) // the last is Go's: how many processors there are
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pids[0]))
	for _, link := range links {
		to, err := os.Readlink(link)
		if err == nil && !given.MatchString(to) && filepath.Base(link) != "2" {
			t.Errorf("it has %s open", to)
		}
	}
	if len(links) == 0 {
		t.Error("it has nothing open")
	}
}
