//go:build linux

package contender

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"syscall"
	"time"
)

var replaced = regexp.MustCompile(`time=(\S+) level=INFO msg="replaced by a new process" pid=(\d+)`)

// Upgrade has usher replaced, and waits until the old process has ended: then all sessions
// have moved. It returns how long that took once the new one was ready.
func (c *Contender) Upgrade() (time.Duration, error) {
	old := c.masters[0]
	if err := old.Process.Signal(syscall.SIGUSR2); err != nil {
		return 0, err
	}
	_ = old.Wait()
	ended := time.Now()
	log, err := os.ReadFile(old.Dir + "/log")
	if err != nil {
		return 0, err
	}
	line := replaced.FindSubmatch(log)
	if line == nil {
		return 0, fmt.Errorf("no new process:\n%s", log)
	}
	c.orphan, _ = strconv.Atoi(string(line[2]))
	began, err := time.Parse(time.RFC3339, string(line[1]))
	return ended.Sub(began), err
}
