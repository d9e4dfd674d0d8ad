package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"usher/internal/daemon"
)

// A lasting usher has a relay process, and many lives.
type lasting struct {
	*proxy
	mirror *mirror
	lives  int
	logs   []string
	pid    int  // of serve
	debug  bool // it is to log all
}

const lastingUser = "user@example.org"

// newLasting starts one before a mirror. All its lives have the same ports.
func newLasting(t *testing.T, more string) *lasting {
	t.Helper()
	p := prepare(t, setup{server: "relay_process = true\n"})
	m := newMirror(t, p.cert, p.key)
	text, err := os.ReadFile(p.file)
	if err != nil {
		t.Fatal(err)
	}
	conf := string(text)
	for strings.Contains(conf, `"127.0.0.1:0"`) {
		conf = strings.Replace(conf, `"127.0.0.1:0"`, `"127.0.0.1:`+daemon.FreePort(t)+`"`, 1)
	}
	write(t, p.file, conf+m.backends(p.ca)+noLimits+more)
	var accounts []account
	for _, kind := range []string{"", "curl"} {
		accounts = append(accounts, unchecked(kind+lastingUser, "plain"), unchecked("s"+kind+lastingUser, "secured"))
	}
	p.importAccounts(accounts)
	l := &lasting{proxy: p, mirror: m}
	t.Cleanup(l.endAll)
	l.begin()
	return l
}

// begin starts serve. One that was killed may have its ports for a moment yet: then it is
// started again, as systemd would.
func (l *lasting) begin() {
	l.t.Helper()
	l.eventually("serve has its ports", func() bool {
		return l.begun() || !strings.Contains(l.logText(), "address already in use")
	})
	l.waitReady()
}

// begun starts serve, and tells whether it serves now; else it has ended.
func (l *lasting) begun() (serves bool) {
	l.t.Helper()
	l.live()
	l.eventually("serve has begun, or has ended", func() bool {
		serves = len(listening.FindAllString(l.logText(), -1)) == 4
		select {
		case <-l.ended:
			return true
		default:
			return serves
		}
	})
	return serves
}

// live is one life of serve.
func (l *lasting) live() {
	l.t.Helper()
	l.lives++
	l.log = filepath.Join(filepath.Dir(l.file), fmt.Sprintf("log.%d", l.lives))
	l.logs = append(l.logs, l.log)
	log, err := os.Create(l.log)
	if err != nil {
		l.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	l.process = usher(l.t, "serve", "-c", l.file)
	if l.debug {
		l.process.Args = append(l.process.Args, "--debug")
	}
	l.process.Stdout, l.process.Stderr = log, log
	if err := l.process.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.pid = l.process.Process.Pid
	l.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) { _ = cmd.Wait(); close(ended) }(l.process, l.ended)
}

// die kills serve, wherever it is by now.
func (l *lasting) die() {
	l.t.Helper()
	if err := syscall.Kill(l.pid, syscall.SIGKILL); err != nil {
		l.t.Fatal(err)
	}
	l.eventually("serve is gone", func() bool { return syscall.Kill(l.pid, 0) != nil || isZombie(l.pid) })
}

// upgrade has another serve and another relay process take over.
func (l *lasting) upgrade() {
	l.t.Helper()
	replaced := strings.Count(l.all(), "relay process replaced")
	l.hastyUpgrade()
	l.eventually("the relay process is another one", func() bool { return strings.Count(l.all(), "relay process replaced") > replaced })
	l.eventually("the new usher stands alone", func() bool { return strings.Count(l.command("status"), "serving") > 0 })
}

// hastyUpgrade returns when another serve has the ports: sessions, and those of the relay
// process, may move yet.
func (l *lasting) hastyUpgrade() {
	l.t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(l.command("upgrade")))
	if err != nil {
		l.t.Fatal(err)
	}
	l.pid = pid
}

// all is what all lives have logged.
func (l *lasting) all() string {
	var text strings.Builder
	for _, name := range l.logs {
		b, err := os.ReadFile(name)
		if err != nil {
			l.t.Fatal(err)
		}
		text.Write(b)
	}
	return text.String()
}

// endAll ends what is left, sessions too.
func (l *lasting) endAll() {
	_ = usher(l.t, "stop", "--drain", "0s", "-c", l.file).Run()
	l.eventually("the last process has ended", func() bool { return syscall.Kill(l.pid, 0) != nil || isZombie(l.pid) })
	checkLog(l.t, l.all())
	if l.t.Failed() {
		for _, line := range strings.Split(l.all(), "\n") {
			if line != "" && !strings.Contains(line, "session ended") && !strings.Contains(line, "listening") {
				l.t.Log(line)
			}
		}
	}
	l.eventually("no relay process is left", func() bool { return len(l.relays()) == 0 })
}

// isZombie tells whether a process has ended, with all its threads.
func isZombie(pid int) bool {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	return strings.Contains(string(stat), ") Z ") && len(threads) <= 1
}

// relays are the relay processes that this test has started, by what the log says of them.
func (l *lasting) relays() (pids []int) {
	for _, m := range relayStarted.FindAllStringSubmatch(l.all(), -1) {
		pid, _ := strconv.Atoi(m[1])
		if syscall.Kill(pid, 0) == nil && !isZombie(pid) && !slices.Contains(pids, pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

var relayStarted = regexp.MustCompile(`msg="relay process (?:started|found|replaced)" pid=(\d+)`)

func (l *lasting) sessionsAre(want int) {
	l.t.Helper()
	l.eventually(fmt.Sprintf("there are %d sessions", want), func() bool {
		return strings.Count(l.command("who", "--json"), `"id"`) == want
	})
}

// enters logs in, to the server in clear or under TLS.
func (l *lasting) enters(i int) *client {
	l.t.Helper()
	c := l.client(l.t, "imap", []string{"none", "implicit"}[i%2])
	c.enter([]string{lastingUser, "s" + lastingUser}[i/2%2], "secret")
	return c
}
