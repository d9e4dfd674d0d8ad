package daemon

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// script is a shell that outlives the test's process. Its standard input ends with
// that process, however it dies: then the shell kills the server $1 and removes its
// folder $2. The server's children end with it, if they are not frozen. A line before
// the end means that all is well.
const script = `read -r well; test -n "$well" && exit
pkill -CONT -P "$1"; kill -s CONT "$1"; kill -s KILL "$1"; sleep 1; rm -rf -- "$2"`

type guard struct {
	shell *exec.Cmd
	leash io.WriteCloser // its standard input
}

func watch(pid int, dir string) (g *guard, err error) {
	g = &guard{shell: exec.Command("/bin/sh", "-c", script, "guard", strconv.Itoa(pid), dir)}
	g.shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // ^C in the terminal is not for it
	if g.leash, err = g.shell.StdinPipe(); err != nil {
		return nil, err
	}
	return g, g.shell.Start()
}

func (g *guard) dismiss() error {
	if g == nil {
		return nil
	}
	_, _ = io.WriteString(g.leash, "well\n")
	_ = g.leash.Close()
	return g.shell.Wait()
}

// signalTree reaches a process, then its children and theirs. A server may have made
// each a process group of its own, as PostgreSQL does.
func signalTree(pid int, sig syscall.Signal) {
	_ = syscall.Kill(pid, sig) // first: who is stopped makes no more children
	for _, child := range children(pid) {
		signalTree(child, sig)
	}
}

// children are the processes whose parent is pid.
func children(pid int) (list []int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if parent(n) == pid {
			list = append(list, n)
		}
	}
	return list
}

// parent is the fourth word of /proc/PID/stat; the second is a name in parentheses.
func parent(pid int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	words := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(words) < 2 {
		return 0
	}
	n, _ := strconv.Atoi(words[1])
	return n
}
