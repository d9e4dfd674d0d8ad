//go:build linux

// Package contender starts the proxies that are compared, each as its manual
// advises for many sessions, all before the same store and with the same
// certificate, and each with a log that has a line for every session.
package contender

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"usher/bench/internal/load"
	"usher/bench/internal/proc"
)

// A Kind is a proxy that may be installed.
type Kind struct {
	Name    string
	Most    int                    // sessions at a time that can be asked of it; 0: any number
	Version func() (string, error) // the error says what to install
	Start   func(*Site) (*Contender, error)
}

// Doors are where each way of coming in is; every contender has them all, except
// the bare store, which has no TLS.
type Doors struct{ IMAP, IMAPS, POP3 load.Door }

// A Contender is a running proxy.
type Contender struct {
	Doors
	masters []*exec.Cmd
	orphan  int       // has replaced one of them; 0: none
	stop    *exec.Cmd // ends what SIGTERM leaves; nil: nothing is left
}

// A Site is what a contender is given.
type Site struct {
	Dir        string // its own, readable for everybody
	Cert, Key  string
	IMAP, POP3 string // the store
	Auth       string // an HTTP server that knows where the store is
}

func (s *Site) path(name string) string { return filepath.Join(s.Dir, name) }

func (s *Site) write(name, text string) (string, error) {
	file := s.path(name)
	return file, os.WriteFile(file, []byte(text), 0o644)
}

// doors chooses ports. They are below the kernel's own range, so that no outgoing
// connection takes them.
func doors() (d Doors, err error) {
	var addrs []string
	for port := 12000; port < 32000 && len(addrs) < 3; port++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			defer l.Close() // until all are found
			addrs = append(addrs, l.Addr().String())
		}
	}
	if len(addrs) < 3 {
		return d, errors.New("no free ports on 127.0.0.1")
	}
	return Doors{
		IMAP:  load.Door{Protocol: "imap", Addr: addrs[0]},
		IMAPS: load.Door{Protocol: "imap", Addr: addrs[1], TLS: true},
		POP3:  load.Door{Protocol: "pop3", Addr: addrs[2]},
	}, nil
}

func port(addr string) string {
	_, p, _ := net.SplitHostPort(addr)
	return p
}

// run starts a program of the contender. It ends at the latest with us.
func (c *Contender) run(s *Site, cmd *exec.Cmd) error {
	log, err := os.OpenFile(s.path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own descriptor
	cmd.Dir = s.Dir
	cmd.Stdout, cmd.Stderr = log, log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Setpgid = true // ^C is for us, and we stop it in order
	cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
	if err := cmd.Start(); err != nil {
		return err
	}
	c.masters = append(c.masters, cmd)
	return nil
}

// ready waits until every door is answered.
func (c *Contender) ready(s *Site) error {
	for _, d := range []load.Door{c.IMAP, c.IMAPS, c.POP3} {
		err := errors.New("never tried")
		for end := time.Now().Add(20 * time.Second); err != nil && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			err = knock(d)
		}
		if err != nil {
			c.Stop()
			log, _ := os.ReadFile(s.path("log"))
			return fmt.Errorf("it does not answer: %w\n%s", err, log)
		}
	}
	return nil
}

// knock waits for the greeting, where it comes in clear.
func knock(d load.Door) error {
	c, err := net.Dial("tcp", d.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if d.TLS {
		return nil
	}
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	_, err = c.Read(make([]byte, 1))
	return err
}

// CPU returns what all its processes have used so far.
func (c *Contender) CPU() (sum time.Duration, err error) {
	for _, m := range c.masters {
		t, err := proc.CPU(m.Process.Pid)
		if err != nil {
			return 0, err
		}
		sum += t
	}
	return sum, nil
}

// PSS returns the memory of all its processes in bytes.
func (c *Contender) PSS() (sum int, err error) {
	for _, m := range c.masters {
		n, err := proc.PSS(m.Process.Pid)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// Rest waits until it has nothing left to do: sessions end a little later than
// their clients have left.
func (c *Contender) Rest() error {
	const look, idle = 100 * time.Millisecond, time.Millisecond
	last, err := c.CPU()
	for end := time.Now().Add(20 * time.Second); err == nil && time.Now().Before(end); {
		time.Sleep(look)
		var now time.Duration
		if now, err = c.CPU(); now-last < idle {
			break
		}
		last = now
	}
	return err
}

// Stop ends it: in order, and after a while by force.
func (c *Contender) Stop() {
	if c.stop != nil {
		_ = c.stop.Run()
	}
	for _, m := range c.masters {
		_ = m.Process.Signal(syscall.SIGTERM)
		force := time.AfterFunc(5*time.Second, func() { _ = m.Process.Kill() })
		_ = m.Wait()
		force.Stop()
		_ = syscall.Kill(-m.Process.Pid, syscall.SIGKILL) // children that linger, if any
	}
	c.masters = nil
	if c.orphan > 0 {
		_ = syscall.Kill(c.orphan, syscall.SIGKILL)
	}
}

// find looks also where services are that are not for everybody.
func find(program, install string) (string, error) {
	for _, dir := range []string{"", "/usr/sbin/", "/usr/local/sbin/"} {
		if path, err := exec.LookPath(dir + program); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("not installed; on Debian: apt-get install %s", install)
}

// version is a word of what a program says of itself.
func version(program, install string, word int, args ...string) (string, error) {
	path, err := find(program, install)
	if err != nil {
		return "", err
	}
	out, _ := exec.Command(path, args...).CombinedOutput() // perdition's status is 1
	words := strings.Fields(string(out))
	if len(words) <= word {
		return "", fmt.Errorf("%s says %q, which names no version", path, out)
	}
	return strings.TrimPrefix(words[word], program+"/"), nil
}
