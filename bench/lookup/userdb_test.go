//go:build linux

package lookup

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"usher/internal/account"
	"usher/internal/account/userdb"
)

// childsPath names the file, in the environment of the process that reads it. That is
// one of its own: nothing else is in its memory.
const childsPath = "LOOKUP_BENCH_USERDB"

// A reading is what it costs to have a userdb in memory.
type reading struct {
	Seconds float64 // until it was read
	Now     int     // resident when it was, in KB
	Most    int     // and at most on the way
	Anew    int     // at most until it was read a second time
}

// userdb measures a file of a million lines.
func (m *measurement) userdb(t *testing.T) {
	path := filepath.Join(t.TempDir(), "userdb")
	size := writeUserdb(t, path, m.plan.million)
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), childsPath+"="+path)
	c.Stderr = os.Stderr
	said, err := c.Output()
	var r reading
	if err = errors.Join(err, json.Unmarshal(said, &r)); err != nil {
		t.Fatal(err)
	}
	m.page.reach("a userdb of a million lines, resident, MB", float64(r.Most)/1e3, 300)
	m.page.reach("reading it, s", r.Seconds, 5)
	m.page.feel("the userdb, on the disk, MB", float64(size)/1e6)
	m.page.feel("once it is read, resident, MB", float64(r.Now)/1e3)
	m.page.feel("at most while it is read anew, resident, MB", float64(r.Anew)/1e3)
}

func writeUserdb(t *testing.T, path string, n int) (size int64) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(f)
	for i := range n {
		fmt.Fprintf(w, "%s\tuid=5000|gid=5000|home=/home/vmail/example.org/user%07d|mailhost=%s|systempw=$1$abcdefgh$ABCDEFGHIJKLMNOPQRSTU.\n", nameOf(i), i, hostOf(i))
	}
	if err := errors.Join(w.Flush(), f.Close()); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// readUserdb is the other process.
func readUserdb(path string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	began := time.Now()
	s, err := open(ctx, userdb.Driver, "", fmt.Sprintf("type = 'userdb'\npath = %q\n", path))
	if err != nil {
		return err
	}
	r := reading{Seconds: time.Since(began).Seconds()}
	if r.Now, r.Most, err = resident(); err != nil {
		return err
	}
	if err := change(ctx, s, path); err != nil {
		return err
	}
	if _, r.Anew, err = resident(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// change adds a line to the file and waits until it is known.
func change(ctx context.Context, s account.Source, path string) error {
	const name = "somebody-new@example.org"
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(name + "\tuid=1\n")
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	for ctx.Err() == nil {
		if _, err = s.Ask(ctx, account.Query{Name: name, Protocol: "imap"}); err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("a line that was added is not found: %w", err)
}

// resident is the memory of this process in KB, now and at most.
func resident() (now, most int, err error) {
	status, err := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		kb, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
		switch name {
		case "VmRSS":
			now = kb
		case "VmHWM":
			most = kb
		}
	}
	return now, most, err
}
