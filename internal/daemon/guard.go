package daemon

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
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

// parent is the fourth word of /proc/PID/stat.
func parent(pid int) int {
	n, _ := strconv.Atoi(stat(fmt.Sprintf("/proc/%d/stat", pid), 1))
	return n
}

// stat is the nth word behind the name, which stands in parentheses.
func stat(path string, n int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	words := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(words) <= n {
		return ""
	}
	return words[n]
}

// isStopped tells whether a process and its children have stopped with all their
// threads: a signal takes a moment.
func isStopped(pid int) bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, thread := range threads {
		if state := stat(thread, 0); state != "T" && state != "Z" && state != "" {
			return false
		}
	}
	for _, child := range children(pid) {
		if !isStopped(child) {
			return false
		}
	}
	return true
}
