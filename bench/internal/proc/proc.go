//go:build linux

// Package proc asks the kernel what processes have used. It needs no rights
// beyond those of their owner.
package proc

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tick is the unit of times in /proc: USER_HZ, 100 on every system that Go runs on.
const tick = 10 * time.Millisecond

// A process is what its line in /proc says.
type process struct {
	pid, parent int
	reaped      time.Duration // used by children that have ended
}

// tree returns a process and all its living descendants.
func tree(root int) ([]process, error) {
	all, err := every()
	if err != nil {
		return nil, err
	}
	var family []process
	in := map[int]bool{root: true}
	for grew := true; grew; { // a child may stand before its parent
		grew = false
		for pid, p := range all {
			if in[pid] || in[p.parent] {
				in[pid] = true
				family, grew = append(family, p), true
				delete(all, pid)
			}
		}
	}
	if len(family) == 0 {
		return nil, fmt.Errorf("process %d has ended", root)
	}
	return family, nil
}

func every() (map[int]process, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	all := make(map[int]process, len(files))
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue // it has ended meanwhile
		}
		if p, ok := parse(text); ok {
			all[p.pid] = p
		}
	}
	return all, nil
}

// parse reads a line of proc_pid_stat(5). The program's name may hold anything.
func parse(stat []byte) (p process, ok bool) {
	open, end := bytes.IndexByte(stat, ' '), bytes.LastIndexByte(stat, ')')
	if open < 0 || end < 0 {
		return p, false
	}
	pid, err := strconv.Atoi(string(stat[:open]))
	const state, parent, childUser, childSystem = 0, 1, 13, 14 // counted from the field behind the name
	f := bytes.Fields(stat[end+1:])
	if err != nil || len(f) <= childSystem || f[state][0] == 'Z' {
		return p, false
	}
	at := func(i int) int { n, _ := strconv.Atoi(string(f[i])); return n }
	return process{pid, at(parent), time.Duration(at(childUser)+at(childSystem)) * tick}, true
}

// CPU returns what a process and its descendants have used, user and system
// time. Of the living it is exact to the nanosecond, of those that have ended to
// a tick.
func CPU(root int) (sum time.Duration, err error) {
	family, err := tree(root)
	if err != nil {
		return 0, err
	}
	for _, p := range family {
		sum += p.reaped + clock(p.pid)
	}
	return sum, nil
}

// clock reads the CPU clock of a process: clock_getcpuclockid(3), whose number
// the kernel makes of the process's.
func clock(pid int) time.Duration {
	const sched = 2
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|sched), &t); err != nil {
		return 0 // it has ended meanwhile
	}
	return time.Duration(t.Nano())
}

// PSS returns the memory of a process and its descendants in bytes. What they
// share with each other or with others counts in proportion.
func PSS(root int) (sum int, err error) {
	family, err := tree(root)
	if err != nil {
		return 0, err
	}
	for _, p := range family {
		n, err := pss(p.pid)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

func pss(pid int) (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			kb, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("/proc/%d/smaps_rollup names no Pss", pid)
}
