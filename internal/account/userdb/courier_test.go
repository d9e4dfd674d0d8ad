package userdb

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"usher/internal/need"
)

func withTimeout(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), 200*time.Millisecond)
}

// A courier runs Courier's own programs in a place of their own.
type courier struct {
	t    *testing.T
	dir  string
	env  []string
	path string // of its userdb
}

func newCourier(t *testing.T) courier {
	dir, env := need.CourierPlace(t)
	return courier{t, dir, env, filepath.Join(dir, "etc/courier/userdb")}
}

func (c courier) try(name string, args ...string) (string, error) {
	cmd := exec.Command("usr/sbin/"+name, args...)
	cmd.Dir, cmd.Env = c.dir, c.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (c courier) run(name string, args ...string) string {
	c.t.Helper()
	out, err := c.try(name, args...)
	if err != nil {
		c.t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return out
}

// P000-5, by Courier's own command and by ours.
func TestP000_5(t *testing.T) {
	t.Parallel()
	c := newCourier(t)
	c.run("userdb", "user@example.com", "set", "options=mailhost=servera.example.com")
	c.run("makeuserdb")
	ours := filepath.Join(t.TempDir(), "userdb")
	if err := Set(t.Context(), ours, "user@example.com", Field{"options", "mailhost=servera.example.com"}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{c.path, ours} {
		a, err := lookup(t, openSource(t, path), "user@example.com", "imap")
		if err != nil || len(a.Place.Hosts) != 1 || a.Place.Hosts[0] != "servera.example.com" {
			t.Errorf("%s: %+v, %v", path, a, err)
		}
	}
	if read(t, c.path) != read(t, ours) {
		t.Errorf("Courier writes %q, usher %q", read(t, c.path), read(t, ours))
	}
}

// Whatever usher writes, Courier's commands read, and makeuserdb accepts; the other
// way round too.
func TestCourierAndUsherReadWhatTheOtherWrites(t *testing.T) {
	t.Parallel()
	c := newCourier(t)
	if err := Set(t.Context(), c.path, "ann@тест.example", Field{"uid", "1000"}, Field{"home", "/home/a n"}, Field{"gecos", "Ann = #1"}); err != nil {
		t.Fatal(err)
	}
	c.run("makeuserdb")
	if got := c.run("userdb", "-show", "ann@тест.example"); got != "uid=1000\nhome=/home/a n\ngecos=Ann = #1\n" {
		t.Errorf("%q", got)
	}
	c.run("userdb", "ann@тест.example", "unset", "home", "uid")
	c.run("userdb", "bob", "set", "imappw={PLAIN}secret")
	c.run("userdb", "cy", "set", "x=1")
	c.run("userdb", "cy", "unset", "x") // leaves the name alone on its line
	s := openSource(t, c.path)
	if a, err := lookup(t, s, "ann@тест.example", "imap"); err != nil || len(a.Attrs) != 1 || a.Attrs["gecos"] != "Ann = #1" {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err := lookup(t, s, "bob", "imap"); err != nil || a.Proof.Check(t.Context(), "secret") != nil {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := lookup(t, s, "cy", "imap"); err != nil {
		t.Error(err)
	}
}

func TestUsherReadsTheFoldersThatMakeuserdbReads(t *testing.T) {
	t.Parallel()
	c := newCourier(t)
	folder := filepath.Join(c.path, "domains")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(c.path, 0o700); err != nil {
		t.Fatal(err)
	}
	c.run("userdb", "domains/example.org/ann", "set", "options=mailhost=a")
	c.run("userdb", "default/bob", "set", "options=mailhost=b")
	c.run("makeuserdb")
	s := openSource(t, c.path)
	for name, host := range map[string]string{"ann": "a", "bob": "b"} {
		if a, err := lookup(t, s, name, "imap"); err != nil || a.Place.Hosts[0] != host {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
}

// makeuserdb refuses what usher does not answer.
func TestMakeuserdbRefusesWhoStandsTwice(t *testing.T) {
	t.Parallel()
	c := newCourier(t)
	write(t, c.path, "ann\tx=1\nann\tx=2\n")
	if out, err := c.try("makeuserdb"); err == nil || !strings.Contains(out, "duplicate") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestUsherReadsWhatPw2userdbWrites(t *testing.T) {
	t.Parallel()
	c := newCourier(t)
	passwd, shadow := filepath.Join(c.dir, "passwd"), filepath.Join(c.dir, "shadow")
	write(t, passwd, "ann:x:1000:1000:Ann | Lee,,,:/home/ann:/bin/sh\nbob:x:1001:1001::/home/bob:\n")
	write(t, shadow, "ann:{PLAIN}secret:19000::::::\nbob:!!:19000::::::\n")
	write(t, c.path, c.run("pw2userdb", "--passwd="+passwd, "--shadow="+shadow))
	c.run("makeuserdb")
	s := openSource(t, c.path)
	if n := s.Notes(); n != nil {
		t.Errorf("notes: %q", n)
	}
	a, err := lookup(t, s, "ann", "imap")
	if err != nil || a.Proof.Check(t.Context(), "secret") != nil || a.Attrs["uid"] != "1000" || a.Attrs["home"] != "/home/ann" {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err := lookup(t, s, "bob", "imap"); err != nil || a.Proof.Check(t.Context(), "!!") == nil {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err := lookup(t, s, "1000=", "imap"); err == nil {
		t.Errorf("a number is an account: %+v", a)
	}
}
