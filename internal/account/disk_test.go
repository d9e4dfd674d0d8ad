package account_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"usher/internal/account"
	"usher/internal/account/keep"
)

// diskIn is a place in a folder.
func diskIn(dir string) *account.Disk {
	return &account.Disk{File: filepath.Join(dir, "cache-test.sealed"), Key: filepath.Join(dir, "cache.key"), MakeKey: true, Block: "a"}
}

// process is a cache as a process has it, from its start on. end is its end.
func process(t *testing.T, s account.Source, o account.CacheOptions) (c *account.Cache, end func()) {
	t.Helper()
	c = account.NewCache(&account.Reader{Name: "test", Source: s, Times: o.Times}, o)
	c.Restore()
	c.Keep()
	end = sync.OnceFunc(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(end)
	return c, end
}

const bcrypt = "$2y$04$nSWXn/hJr/kgIQmY3PoC1.dLjVgZN/IEwKZFJyUhIqZJpJcYWvBui" // of "grüße"

// bound is the proof of an account that is checked elsewhere, such as by LDAP.
type bound struct{ password string }

func (b bound) Identity() string { return "cn=ann" }

func (b bound) Check(_ context.Context, clear string) error {
	if clear != b.password {
		return account.ErrRefused
	}
	return nil
}

// Whatever a source knows of passwords, who was right before the restart gets in after
// it, and nobody else.
func TestARestartWhileTheSourceIsDownLocksNobodyOut(t *testing.T) {
	for name, c := range map[string]struct {
		uses     account.Uses
		record   account.Record
		password string
	}{
		"a clear password":    {0, account.Record{Fields: account.Fields{"password": "{PLAIN}secret", "host": "east", "pass": "behind"}}, "secret"},
		"a slow hash":         {0, account.Record{Fields: account.Fields{"userPassword": bcrypt, "host": "east", "pass": "behind"}}, "grüße"},
		"in options":          {0, account.Record{Fields: account.Fields{"options": "password={PLAIN}secret,host=east,pass=behind"}}, "secret"},
		"a question":          {0, account.Record{Fields: account.Fields{"host": "east", "pass": "behind"}, Proof: bound{"secret"}}, "secret"},
		"with the password":   {account.UsesPassword, account.Record{Fields: account.Fields{"host": "east", "pass": "behind"}, Proven: true}, "secret"},
		"one of two, slow":    {0, account.Record{Fields: account.Fields{"password": "{PLAIN}other\n" + bcrypt, "host": "east", "pass": "behind"}}, "grüße"},
		"one of two, learned": {0, account.Record{Fields: account.Fields{"password": "{PLAIN}secret\n" + bcrypt, "host": "east", "pass": "behind"}}, "secret"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, s := t.TempDir(), &scripted{uses: c.uses}
			s.does(func(context.Context, account.Query) (account.Record, error) { return c.record, nil })
			q := account.Query{Name: "ann", Password: c.password}
			first, end := process(t, s, account.CacheOptions{Times: usual, Disk: diskIn(dir)})
			a, err := first.Lookup(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			if err := a.Proof.Check(t.Context(), c.password); err != nil {
				t.Fatal(err)
			}
			asked := time.Now()
			a.Memory.Keep(a.Proof, c.password)
			if c.password == "secret" && !account.Learned(a) {
				t.Fatal("no hash is learned")
			}
			end()

			list, err := account.KeptIn(*diskIn(dir))
			if err != nil || len(list) != 1 || strings.Contains(fmt.Sprint(list), "secret") || strings.Contains(fmt.Sprint(list), "other") {
				t.Errorf("on the disk is %v, %v", list, err)
			}
			s.says(nil, errDown)
			second, _ := process(t, s, account.CacheOptions{Times: usual, Disk: diskIn(dir)})
			for range 2 { // asked each time
				b, err := second.Lookup(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				if b.Name != "ann" || b.Source != "test" || b.Place.Hosts[0] != "east" || b.Place.Password != "behind" || b.Asked.After(asked) || time.Since(b.Asked) > time.Hour {
					t.Errorf("after the restart: %+v", b)
				}
				if err := b.Proof.Check(t.Context(), c.password); err != nil {
					t.Errorf("the right password: %v", err)
				}
				for _, wrong := range []string{"", "wrong", c.password + "x"} {
					if err := b.Proof.Check(t.Context(), wrong); !errors.Is(err, account.ErrRefused) {
						t.Errorf("the password %q: %v", wrong, err)
					}
				}
			}
			s.does(func(context.Context, account.Query) (account.Record, error) { return c.record, nil })
			if b, err := second.Lookup(t.Context(), q); err != nil || !b.Asked.IsZero() {
				t.Errorf("when the source is back: %+v, %v", b, err)
			}
		})
	}
}

// A proof without a password that is known to be right cannot be told from none.
func TestWhoHasNotLoggedInIsNotKept(t *testing.T) {
	dir, s := t.TempDir(), &scripted{}
	s.does(func(_ context.Context, q account.Query) (account.Record, error) {
		switch q.Name {
		case "slow":
			return account.Record{Fields: account.Fields{"password": bcrypt}}, nil
		case "backend":
			return account.Record{Fields: account.Fields{"nopassword": "Y", "host": "east"}}, nil
		}
		return account.Record{Fields: account.Fields{"host": "east"}, Proof: bound{"secret"}}, nil
	})
	first, end := process(t, s, account.CacheOptions{Times: usual, Disk: diskIn(dir)})
	_, _ = lookup(t, first, "ann")
	_, _ = lookup(t, first, "backend")
	_, _ = lookup(t, first, "slow")
	end()
	s.says(nil, errDown)
	second, _ := process(t, s, account.CacheOptions{Times: usual, Disk: diskIn(dir)})
	if a, err := lookup(t, second, "ann"); !errors.Is(err, errDown) {
		t.Errorf("ann: %+v, %v", a, err)
	}
	if a, err := lookup(t, second, "slow"); !errors.Is(err, errDown) {
		t.Errorf("whose hash could be kept: %+v, %v", a, err)
	}
	if a, err := lookup(t, second, "backend"); err != nil || a.Proof != nil {
		t.Errorf("who is checked by the backend: %+v, %v", a, err)
	}
}

// The hash of a password that is no longer right must not outlive it.
func TestAChangedPasswordIsChangedOnTheDisk(t *testing.T) {
	dir, s := t.TempDir(), &scripted{}
	s.does(func(context.Context, account.Query) (account.Record, error) {
		return account.Record{Proof: bound{"new"}}, nil
	})
	first, end := process(t, s, account.CacheOptions{Times: usual, Disk: diskIn(dir)})
	a, _ := lookup(t, first, "ann")
	a.Memory.Keep(a.Proof, "old")
	if !account.Learned(a) {
		t.Fatal("no hash is learned")
	}
	b, _ := lookup(t, first, "bob")
	b.Memory.Keep(b.Proof, "old")
	if !account.Learned(b) {
		t.Fatal("no hash is learned")
	}
	a.Memory.Refuse(a.Proof, "mistyped") // was never right
	a.Memory.Refuse(a.Proof, "old")
	b.Memory.Refuse(b.Proof, "mistyped")
	end()
	if list, err := account.KeptIn(*diskIn(dir)); err != nil || len(list) != 1 || list[0].Key.Name != "bob" {
		t.Errorf("%v, %v", list, err)
	}
}

func TestAHashIsOfThePasswordThatWasRightLast(t *testing.T) {
	s := &scripted{}
	s.does(func(context.Context, account.Query) (account.Record, error) {
		return account.Record{Proof: bound{"new"}}, nil
	})
	c, _ := process(t, s, account.CacheOptions{Times: usual, Disk: diskIn(t.TempDir())})
	a, _ := login(t, c, "ann", "old")
	if !account.Learned(a) {
		t.Fatal("no hash is learned")
	}
	c.Rest() // and learns no more
	a.Memory.Keep(a.Proof, "new")
	if h := account.LastHash(a); h != "" {
		t.Errorf("with the new password comes the hash of the old one: %s", h)
	}
	account.LearnLate(a, "old")
	if h := account.LastHash(a); h != "" {
		t.Errorf("the hash of the old one comes late, and is taken: %s", h)
	}
	account.LearnLate(a, "new")
	if h := account.LastHash(a); h != "hash of new" {
		t.Errorf("the hash of the new one: %s", h)
	}
}

func TestAFlushReachesTheDiskAtOnce(t *testing.T) {
	dir, s := t.TempDir(), &scripted{}
	s.says(account.Fields{"password": bcrypt}, nil)
	c, _ := process(t, s, account.CacheOptions{Times: usual, Disk: diskIn(dir)})
	_, _ = login(t, c, "ann", "grüße")
	_, _ = login(t, c, "bob", "grüße")
	c.Save()
	if n := c.Flush("ANN"); n != 1 {
		t.Errorf("%d entries", n)
	}
	if list, err := account.KeptIn(*diskIn(dir)); err != nil || len(list) != 1 || list[0].Key.Name != "bob" {
		t.Errorf("after flush ann: %v, %v", list, err)
	}
	if err := os.Remove(filepath.Join(dir, "cache-test.sealed")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "cache-test.sealed"), 0o700); err != nil { // cannot be replaced, but removed
		t.Fatal(err)
	}
	c.FlushAll()
	if _, err := os.Stat(filepath.Join(dir, "cache-test.sealed")); err == nil {
		t.Error("what cannot be written anew is still there")
	}
}

func TestAFileThatCannotBeUsedIsToldAndBegunAnew(t *testing.T) {
	s := &scripted{}
	s.says(account.Fields{"password": bcrypt}, nil)
	for name, spoil := range map[string]func(d *account.Disk) error{
		"damaged": func(d *account.Disk) error {
			return change(d.File, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
		},
		"cut off":         func(d *account.Disk) error { return change(d.File, func(b []byte) []byte { return b[:len(b)-9] }) },
		"empty":           func(d *account.Disk) error { return change(d.File, func([]byte) []byte { return nil }) },
		"another key":     func(d *account.Disk) error { return change(d.Key, bytes.ToUpper) },
		"no key":          func(d *account.Disk) error { return os.Remove(d.Key) },
		"a folder":        func(d *account.Disk) error { return errors.Join(os.Remove(d.File), os.Mkdir(d.File, 0o700)) },
		"other settings":  func(d *account.Disk) error { d.Block = "b"; return nil },
		"another content": func(d *account.Disk) error { return keepText(d, "no accounts") },
		"nothing in it":   func(d *account.Disk) error { return keepText(d, "") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, l := diskIn(t.TempDir()), &logged{}
			first, end := process(t, s, account.CacheOptions{Times: usual, Disk: d})
			_, _ = login(t, first, "ann", "grüße")
			end()
			if err := spoil(d); err != nil {
				t.Fatal(err)
			}
			second, _ := process(t, s, account.CacheOptions{Times: usual, Disk: d, Log: l.log()})
			if list := l.lines(); len(list) != 1 || !strings.Contains(list[0], "begun anew") || !strings.Contains(list[0], "cache-test.sealed") {
				t.Errorf("logged: %q", list)
			}
			if n := second.Stats(); n.Entries != 0 {
				t.Errorf("%d entries are taken over", n.Entries)
			}
			_, _ = login(t, second, "bob", "grüße")
			_ = os.Remove(d.File) // a folder
			second.Save()
			if list, err := account.KeptIn(*d); err != nil || len(list) != 1 || list[0].Key.Name != "bob" {
				t.Errorf("afterwards there is %v, %v", list, err)
			}
		})
	}
}

func change(file string, how func([]byte) []byte) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return os.WriteFile(file, how(b), 0o600)
}

func keepText(d *account.Disk, text string) error {
	key, err := keep.Key(d.Key)
	if err != nil {
		return err
	}
	return keep.Write(d.File, key, func(w io.Writer) error { _, err := w.Write([]byte(text)); return err })
}

func TestADiskThatFailsIsToldOnce(t *testing.T) {
	dir, l := t.TempDir(), &logged{}
	s := &scripted{}
	s.says(account.Fields{"password": bcrypt}, nil)
	d := diskIn(filepath.Join(dir, "missing"))
	c, end := process(t, s, account.CacheOptions{Times: usual, Disk: d, Log: l.log()})
	for _, name := range []string{"ann", "bob"} {
		if _, err := login(t, c, name, "grüße"); err != nil {
			t.Error(err)
		}
		c.Save()
	}
	if list := l.lines(); len(list) != 1 || !strings.Contains(list[0], "cannot be kept") || !strings.Contains(list[0], "no such file") {
		t.Errorf("logged: %q", list)
	}
	if err := os.Mkdir(filepath.Join(dir, "missing"), 0o700); err != nil {
		t.Fatal(err)
	}
	end()
	if list := l.lines(); len(list) != 2 || !strings.Contains(list[1], "again") {
		t.Errorf("logged: %q", list)
	}
	if list, err := account.KeptIn(*d); err != nil || len(list) != 2 {
		t.Errorf("%v, %v", list, err)
	}
}

func TestAccountsAreSavedNowAndThenAndNotForEver(t *testing.T) {
	dir, s := t.TempDir(), &scripted{}
	s.says(account.Fields{"password": bcrypt}, nil)
	synctest.Test(t, func(t *testing.T) {
		c, end := process(t, s, account.CacheOptions{Times: usual, Disk: diskIn(dir)})
		_, _ = login(t, c, "ann", "grüße")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		info, err := os.Stat(diskIn(dir).File)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if again, err := os.Stat(diskIn(dir).File); err != nil || !os.SameFile(info, again) {
			t.Error("it is saved again, but there is nothing new")
		}
		_, _ = login(t, c, "bob", "grüße")
		end()
		s.says(nil, errDown)
		time.Sleep(usual.Stale - time.Hour - time.Minute)
		c, end = process(t, s, account.CacheOptions{Times: usual, Disk: diskIn(dir)})
		_, ann := lookup(t, c, "ann")
		_, bob := lookup(t, c, "bob")
		if !errors.Is(ann, errDown) || bob != nil {
			t.Errorf("a day later: ann %v, bob %v", ann, bob)
		}
		end()
	})
}

// After an upgrade two processes have the same file for a while.
func TestWhoRestsLeavesTheFileAlone(t *testing.T) {
	d, s := diskIn(t.TempDir()), &scripted{}
	s.says(account.Fields{"password": bcrypt}, nil)
	old, endOld := process(t, s, account.CacheOptions{Times: usual, Disk: d})
	_, _ = login(t, old, "ann", "grüße")
	old.Save()
	next, _ := process(t, s, account.CacheOptions{Times: usual, Disk: d})
	old.Rest()
	old.Rest()
	_, _ = login(t, old, "carl", "grüße")
	next.Flush("ann")
	is, err := os.Stat(d.File)
	if err != nil {
		t.Fatal(err)
	}
	old.Flush("bob")
	if now, err := os.Stat(d.File); err != nil || !os.SameFile(is, now) {
		t.Error("who rests has written")
	}
	endOld()
	_, _ = login(t, next, "bob", "grüße")
	next.Save()
	if list, err := account.KeptIn(*d); err != nil || len(list) != 1 || list[0].Key.Name != "bob" {
		t.Errorf("%v, %v", list, err)
	}
	next.Rest()
	if err := os.Remove(d.File); err != nil {
		t.Fatal(err)
	}
	next.Keep() // the successor has failed
	next.Keep()
	_, _ = login(t, next, "carl", "grüße")
	next.Save()
	if list, err := account.KeptIn(*d); err != nil || len(list) != 2 {
		t.Errorf("%v, %v", list, err)
	}
}

func TestNothingIsKeptWhereNothingIsUsedWhileTheSourceIsDown(t *testing.T) {
	d, s := diskIn(t.TempDir()), &scripted{}
	s.says(account.Fields{"password": bcrypt}, nil)
	c, end := process(t, s, account.CacheOptions{Times: account.Times{Good: time.Hour}, Disk: d})
	_, _ = lookup(t, c, "ann")
	end()
	if _, err := os.Stat(d.File); err == nil {
		t.Error("there is a file")
	}
}

func TestWhichHashesMayStandInAFile(t *testing.T) {
	for hash, want := range map[string]bool{
		bcrypt: true, "{BLF-CRYPT}" + bcrypt: true, "{crypt}" + bcrypt: true, "$6$salt$x": true, "$5$salt$x": true, "$y$j9T$x": true,
		"{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$a$b": true, "{SHA512-CRYPT}$6$salt$x": true,
		"{PLAIN}$6$salt$x": false, "{PLAIN}secret": false, "$1$salt$x": false, "{SSHA}abc": false, "{MD5-CRYPT}$1$a$b": false,
		"{PLAIN": false, "": false, "secret": false, "{SHA512-CRYPT.b64}JDYk": false, "{CRYPT}ab0123456789.": false,
	} {
		if got := account.Slow(hash); got != want {
			t.Errorf("%s: %v", hash, got)
		}
	}
}

// A record that says less, or something else, lets nobody in.
func FuzzRestore(f *testing.F) {
	f.Add("ann", "host\x00east", bcrypt, false)
	f.Add("ann", "password\x00{PLAIN}secret", "", false)
	f.Add("ann", "pass\x00x\x00master\x00m", "", true)
	f.Add("ann", "options\x00password={PLAIN}x\x00user\x00bob", "", false)
	f.Fuzz(func(t *testing.T, name, fields, hash string, open bool) {
		r := &account.Reader{Name: "test"}
		k := account.Kept{Fields: account.Fields{}, Open: open}
		k.Key.Name = name
		parts := strings.Split(fields, "\x00")
		for i := 1; i < len(parts); i += 2 {
			k.Fields[parts[i-1]] = parts[i]
		}
		if hash != "" {
			k.Hashes = []string{hash}
		}
		a, ok := r.RestoreRecord(k)
		switch {
		case !ok:
		case !open && hash == "":
			t.Error("an account without any proof")
		case !open && (a.Proof == nil || a.Proof.Identity() != hash):
			t.Errorf("the proof of a record with hash %q is %v", hash, a.Proof)
		case a.Proof == nil && (a.Place.Password != "" || a.Place.Master != ""):
			t.Error("anybody gets in")
		}
	})
}

// resident is how much memory the system has given us.
func resident(b *testing.B) (bytes int) {
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Skip(err)
	}
	var size int
	if _, err := fmt.Sscan(string(text), &size, &bytes); err != nil {
		b.Fatal(err)
	}
	return bytes * os.Getpagesize()
}

// BenchmarkDisk saves and reads 100,000 accounts, and tells what one costs in memory.
func BenchmarkDisk(b *testing.B) {
	for _, disk := range []bool{false, true} {
		b.Run(fmt.Sprintf("disk=%v", disk), func(b *testing.B) { benchmarkDisk(b, disk) })
	}
}

func benchmarkDisk(b *testing.B, disk bool) {
	const many = 100_000
	s := &scripted{}
	s.does(func(_ context.Context, q account.Query) (account.Record, error) {
		f := account.Fields{"user": q.Name + "@example.org", "password": strings.Clone(bcrypt), "host": strings.Clone("imap1.example.org"), "destuser": strings.Clone(q.Name), "quota": strings.Clone("1000")}
		return account.Record{Fields: f}, nil
	})
	o := account.CacheOptions{Times: usual, Size: many}
	if disk {
		o.Disk = diskIn(b.TempDir())
	}
	c := account.NewCache(&account.Reader{Name: "test", Source: s, Times: usual}, o)
	defer func() { _ = c.Close() }()
	before := resident(b)
	for i := range many {
		_, _ = login(b, c, fmt.Sprintf("user%06d", i), "grüße")
	}
	b.ReportMetric(float64(resident(b)-before)/float64(c.Stats().Entries), "B/entry")
	began := time.Now()
	c.Stats()
	b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms/stats")
	if !disk {
		return
	}
	c.Keep()
	began = time.Now()
	c.Save()
	b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms/save")
	info, err := os.Stat(o.Disk.File)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(info.Size())/many, "B/record")
	other := account.NewCache(&account.Reader{Name: "test", Source: s, Times: usual}, o)
	defer func() { _ = other.Close() }()
	began = time.Now()
	other.Restore()
	b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms/restore")
}
