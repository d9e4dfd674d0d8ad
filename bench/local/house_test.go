//go:build linux

package local

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A house is a running usher with one program.
type house struct {
	addr string
	cmd  *exec.Cmd
	log  string
}

const conf = `
[server]
state = "state"
admin = ""
user  = "nobody"
log   = "logfmt"
grace = "0s"
[[listen]]
protocol = "imap"
tls      = "none"
addr     = ["127.0.0.1:0"]
[[accounts]]
type = "passwd"
path = "users"
[local]
imap = [%s]
[limit]
sessions_per_user = 0
sessions_per_user_address = 0
`

var listening = regexp.MustCompile(`msg=listening protocol=imap addr=(\S+)`)

// house starts usher.
func (s *site) house(t *testing.T, words []string) *house {
	t.Helper()
	dir, err := os.MkdirTemp(s.dir, "house-")
	must(t, err)
	must(t, os.Chmod(dir, 0o755))
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = strconv.Quote(w)
	}
	must(t, os.WriteFile(filepath.Join(dir, "users"), fmt.Appendf(nil, "ann:{PLAIN}secret:%d:%d::%s::\n", owner, owner, s.home), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "usher.toml"), fmt.Appendf(nil, conf, strings.Join(quoted, ", ")), 0o644))
	h := &house{log: filepath.Join(dir, "log"), cmd: exec.Command(s.program, "serve", "-c", filepath.Join(dir, "usher.toml"))}
	log, err := os.Create(h.log)
	must(t, err)
	defer log.Close()
	h.cmd.Stderr = log
	must(t, h.cmd.Start())
	t.Cleanup(h.stop)
	for range 1000 {
		text, _ := os.ReadFile(h.log)
		if m := listening.FindSubmatch(text); m != nil {
			h.addr = string(m[1])
			return h
		}
		time.Sleep(10 * time.Millisecond)
	}
	text, _ := os.ReadFile(h.log)
	t.Fatalf("usher does not listen: %s", text)
	return nil
}

// stop may be called twice.
func (h *house) stop() {
	if h.cmd.ProcessState == nil {
		_ = h.cmd.Process.Signal(syscall.SIGTERM)
		_ = h.cmd.Wait()
	}
}

// measure logs in n times, one after the other.
func (h *house) measure(t *testing.T, n int) cost {
	t.Helper()
	all := append([]int{h.cmd.Process.Pid}, below(h.cmd.Process.Pid)...)
	before := spent(t, all)
	var took time.Duration
	for range n {
		took += h.login(t)
		rest(all[len(all)-1])
	}
	return cost{micros(spent(t, all)-before) / float64(n), micros(took) / float64(n)}
}

// rest waits until the helper's worker has no program any more: it counts, and is in
// nobody's way, as where it is started by hand.
func rest(worker int) {
	for range 200 {
		time.Sleep(5 * time.Millisecond)
		if files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", worker)); !slices.ContainsFunc(files, hasText) {
			return
		}
	}
}

func hasText(file string) bool {
	text, _ := os.ReadFile(file)
	return len(text) > 0
}

// login returns how long it took from LOGIN to its answer.
func (h *house) login(t *testing.T) time.Duration {
	t.Helper()
	nc, err := net.Dial("tcp", h.addr)
	must(t, err)
	in := bufio.NewReader(nc)
	_, err = in.ReadString('\n')
	must(t, err)
	began := time.Now()
	_, err = nc.Write([]byte("a LOGIN ann secret\r\n"))
	must(t, err)
	line, err := in.ReadString('\n')
	took := time.Since(began)
	if err != nil || !strings.HasPrefix(line, "a OK") {
		text, _ := os.ReadFile(h.log)
		t.Fatalf("%q %v\n%s", line, err, text)
	}
	_ = nc.Close()
	return took
}

// below are the processes that a process has started, and theirs.
func below(parent int) (list []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	children := map[int][]int{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		head, rest, _ := strings.Cut(string(text), ") ")
		pid, _ := strconv.Atoi(strings.Fields(head)[0])
		ppid, _ := strconv.Atoi(strings.Fields(rest)[1])
		children[ppid] = append(children[ppid], pid)
	}
	for _, pid := range children[parent] {
		list = append(list, pid)
		list = append(list, below(pid)...)
	}
	return list
}

// spent is processor time of processes, and of their children that have ended. A
// program's own is in its parent's once that has waited for it.
func spent(t *testing.T, pids []int) (all time.Duration) {
	t.Helper()
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		for _, word := range strings.Fields(rest)[11:15] { // utime, stime, cutime, cstime
			n, _ := strconv.Atoi(word)
			all += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return all
}
