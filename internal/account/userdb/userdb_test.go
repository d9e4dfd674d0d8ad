package userdb

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"usher/internal/account"
	"usher/internal/account/accounttest"
)

// TestMain is also a process that changes one field, for tests of many of them.
func TestMain(m *testing.M) {
	if path := os.Getenv("USERDB_TEST_SET"); path != "" {
		if err := Set(context.Background(), path, os.Args[1], Field{os.Args[2], os.Args[3]}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func openSource(t testing.TB, path string) *Source {
	t.Helper()
	open, err := Driver(func(into any) error {
		into.(*settings).Path = path
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := open(t.Context(), account.Site{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.(*Source).Close() })
	return s.(*Source)
}

func openText(t testing.TB, text string) *Source {
	t.Helper()
	path := filepath.Join(t.TempDir(), "userdb")
	write(t, path, text)
	return openSource(t, path)
}

func TestSource(t *testing.T) {
	t.Parallel()
	s := openText(t, "ann@example.org\tuid=1000|gid=1000|home=/home/ann|systempw={PLAIN}secret|options=mailhost=a.example.org\n1000=\tann@example.org\n")
	accounttest.RunSource(t, s, accounttest.World{User: "ann@example.org", Password: "secret", Unknown: "bob@example.org"})
	if n := s.Notes(); n != nil {
		t.Errorf("notes: %q", n)
	}
	var uses any = s
	if u, ok := uses.(interface{ Nearby() bool }); !ok || !u.Nearby() {
		t.Error("it is not nearby")
	}
}

// lookup asks as usher does.
func lookup(t *testing.T, s account.Source, name, protocol string) (*account.Account, error) {
	t.Helper()
	r := account.Reader{Name: "userdb", Source: s}
	return r.Lookup(t.Context(), account.Query{Name: name, Protocol: protocol})
}

func TestTheFieldsOfARecordReachTheAccount(t *testing.T) {
	t.Parallel()
	s := openText(t, "ann\tuid=1000|gid=100|home=/home/ann|mail=/m/ann|quota=1000000S|gecos=A|options=disablepop3,mailhost=a.example.org,port=1143|nologin|x=1|x=2||hmac-md5pw=d06d4e1b26fccaa4b0b61801132340a354b21152711fb604ca3e035e7015116b|imap-hmac-sha1pw=72724befb173b1ee5f79c09801b9b15e11d805fe02b49c1d1d00921723b52bcb862c04fa52876446|esmtppw=no\n")
	a, err := lookup(t, s, "ann", "imap")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"uid": "1000", "gid": "100", "home": "/home/ann", "mail": "/m/ann", "quota": "1000000S", "gecos": "A", "x": "1",
	}
	if !reflect.DeepEqual(a.Attrs, want) {
		t.Errorf("attributes %v, want %v", a.Attrs, want)
	}
	if len(a.States) != 2 || len(a.Stored("imap")) != 2 {
		t.Errorf("for challenges there is %v", a.States)
	}
	if a.Place.Port != 1143 || a.Place.Hosts[0] != "a.example.org" || a.Denied == nil || a.Access.Disabled[0] != "pop3" {
		t.Errorf("%+v", a)
	}
}

func TestEachProtocolHasItsPassword(t *testing.T) {
	t.Parallel()
	s := openText(t, strings.Join([]string{
		"system\tsystempw={PLAIN}sys",
		"both\tsystempw={PLAIN}sys|imappw={PLAIN}im",
		"poponly\tpop3pw={PLAIN}pop",
		"empty\tsystempw={PLAIN}sys|imappw=",
		"bare\tsystempw={PLAIN}sys|imappw",
		"first\tsystempw={PLAIN}sys|systempw={PLAIN}im",
		"locked\tsystempw=!{PLAIN}sys",
		"star\tsystempw=*",
		"challenge\thmac-md5pw=cd3ba7deaad6e5ca23448ba42e379747a9e0f7f1fbc00c8a81bbaac395731b56",
	}, "\n"))
	for name, want := range map[string]struct{ imap, pop3 string }{
		"system": {"sys", "sys"}, "both": {"im", "sys"}, "poponly": {"", "pop"}, "empty": {"", "sys"}, "bare": {"sys", "sys"},
		"first": {"sys", "sys"}, "locked": {"", ""}, "star": {"", ""}, "challenge": {"", ""},
	} {
		for protocol, right := range map[string]string{"imap": want.imap, "pop3": want.pop3} {
			a, err := lookup(t, s, name, protocol)
			if err != nil {
				t.Fatal(err)
			}
			for _, pw := range []string{"sys", "im", "pop", "", "!", "*"} {
				err := a.Proof.Check(t.Context(), pw)
				if (pw == right && right != "") != (err == nil) || err != nil && !errors.Is(err, account.ErrRefused) {
					t.Errorf("%s of %s with %q: %v", protocol, name, pw, err)
				}
			}
		}
	}
}

// P000-5's record has no password at all: then the server behind checks it.
func TestWithoutAnyPasswordTheBackendChecks(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"ann\toptions=mailhost=a\n", "ann\n", "ann\t\n"} {
		if a, err := lookup(t, openText(t, text), "ann", "imap"); err != nil || a.Proof != nil {
			t.Errorf("%q: %+v, %v", text, a, err)
		}
	}
}

func TestWhoStandsTwiceIsNotAnsweredByChance(t *testing.T) {
	t.Parallel()
	s := openText(t, "ann\toptions=mailhost=a\nbob\toptions=mailhost=b\nann\toptions=mailhost=c\n")
	_, err := lookup(t, s, "ann", "imap")
	if err == nil || errors.Is(err, account.ErrUnknown) || errors.Is(err, account.ErrRefused) || !strings.Contains(err.Error(), "more than one line") {
		t.Errorf("%v", err)
	}
	if _, err := lookup(t, s, "bob", "imap"); err != nil {
		t.Error(err)
	}
	if n := s.Notes(); len(n) != 1 || !strings.HasSuffix(n[0], "userdb:1 already") {
		t.Errorf("notes: %q", n)
	}
}

func TestWrongLinesAreNamed(t *testing.T) {
	t.Parallel()
	s := openText(t, "ann host=a\n\tx=1\nbob\tx=1\ty=2\n bo\tx=1\ngood\tx=1\r\n1000=\tann\n#c\n   \n")
	notes := strings.Join(s.Notes(), "\n")
	for n, want := range map[int]string{
		1: "no TAB stands behind the name", 2: "no name is at its beginning",
		3: "a control character is in the fields, such as a second TAB", 4: "white space stands before or behind the name",
	} {
		if want := fmt.Sprintf("userdb:%d: %s; the line is not used", n, want); !strings.Contains(notes, want) {
			t.Errorf("no %q in\n%s", want, notes)
		}
	}
	if len(s.Notes()) != 4 {
		t.Errorf("notes:\n%s", notes)
	}
	if a, err := lookup(t, s, "good", "imap"); err != nil || a.Attrs["x"] != "1" {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestAUserdbThatOthersMayReadIsNoted(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "userdb")
	write(t, path, "ann\tsystempw=x\n")
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if n := openSource(t, path).Notes(); len(n) != 1 || !strings.Contains(n[0], "chmod 0600 "+path) {
		t.Errorf("%q", n)
	}
}

func TestAMissingUserdbIsAnErrorAtTheStart(t *testing.T) {
	t.Parallel()
	open, _ := Driver(func(into any) error { into.(*settings).Path = "/nowhere/userdb"; return nil })
	if _, err := open(t.Context(), account.Site{Log: slog.Default()}); err == nil || !strings.Contains(err.Error(), "/nowhere/userdb") {
		t.Error(err)
	}
	bad := errors.New("unknown key")
	if _, err := Driver(func(any) error { return bad }); !errors.Is(err, bad) {
		t.Error(err)
	}
}

func TestExamineSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "userdb")
	write(t, path, "ann\tx=1\n")
	s := openSource(t, path)
	examine := func() (found error) {
		s.Examine(t.Context(), func(what string, err error) {
			if what != path {
				t.Errorf("it is about %s", what)
			}
			found = err
		})
		return found
	}
	if err := examine(); err != nil {
		t.Error(err)
	}
	write(t, path, "ann x=1\n")
	if err := examine(); err == nil || !strings.Contains(err.Error(), "userdb:1: no TAB") {
		t.Error(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := examine(); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// writeBig writes a userdb of so many accounts, a hundred bytes each.
func writeBig(t testing.TB, path string, n int) (size int64) {
	t.Helper()
	f, err := os.OpenFile(path+"~", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(f)
	for i := range n {
		fmt.Fprintf(w, "user%07d@example.org\tuid=1000|gid=1000|home=/m|systempw={PLAIN}0123456789012345678901234567|options=mailhost=s%02d\n", i, i%20)
	}
	if err := errors.Join(w.Flush(), f.Close(), os.Rename(path+"~", path)); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// A million accounts are there soon, and take little more memory than the file; while
// they are read anew, twice that.
func TestAMillionAccountsAreReadSoonAndTakeLittleMemory(t *testing.T) {
	const million = 1_000_000
	path := filepath.Join(t.TempDir(), "userdb")
	size := writeBig(t, path, million)
	debug.FreeOSMemory()
	before, began := heap(), time.Now()
	s := openSource(t, path)
	took := time.Since(began)
	debug.FreeOSMemory()
	used := heap() - before
	t.Logf("%d lines, %d MB: read in %v; heap %d MB, resident %d MB, at most %d MB", million, size>>20, took, used>>20, memory(t, "VmRSS:"), memory(t, "VmHWM:"))
	if used > size+40<<20 {
		t.Errorf("the heap grew by %d MB", used>>20)
	}
	if took > 30*time.Second { // five without the race detector and others on the machine
		t.Errorf("reading took %v", took)
	}
	if a, err := lookup(t, s, "user0999999@example.org", "imap"); err != nil || a.Place.Hosts[0] != "s19" {
		t.Errorf("%+v, %v", a, err)
	}
	writeBig(t, path, million+1)
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		_, err := lookup(t, s, "user1000000@example.org", "imap")
		if err == nil {
			break
		}
		if time.Since(began) > 30*time.Second {
			t.Fatal(err)
		}
	}
	t.Logf("read anew: resident %d MB, at most %d MB", memory(t, "VmRSS:"), memory(t, "VmHWM:"))
}

func heap() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// memory is what Linux says of this process, in megabytes. The race detector takes
// several times as much.
func memory(t *testing.T, key string) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), key)
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Error(err)
	}
	return kb >> 10
}

func BenchmarkReadAMillion(b *testing.B) {
	path := filepath.Join(b.TempDir(), "userdb")
	writeBig(b, path, 1_000_000)
	for b.Loop() {
		openSource(b, path)
	}
}

func BenchmarkAskOneOfAMillion(b *testing.B) {
	path := filepath.Join(b.TempDir(), "userdb")
	writeBig(b, path, 1_000_000)
	s := openSource(b, path)
	for b.Loop() {
		if _, err := s.Ask(b.Context(), account.Query{Name: "user0500000@example.org", Protocol: "imap"}); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzRecord(f *testing.F) {
	f.Add("ann\tuid=1|systempw=x|options=mailhost=a,port=1", "imap")
	f.Add("ann\timappw=|hmac-md5pw=1||x", "pop3")
	f.Add("ann", "")
	f.Fuzz(func(t *testing.T, line, protocol string) {
		if name, err := nameOf(line); err != nil || name == "" {
			return
		}
		r := parse(line)
		if strings.Contains(line, "\t") && r.line() != line {
			t.Errorf("%q is written as %q", line, r.line())
		}
		a := r.answer(protocol)
		if _, has := a.Fields["password"]; has && a.Proof != nil {
			t.Error("there are two ways to check a password")
		}
		if r.hasPassword() && a.Proof == nil && a.Fields["password"] == "" {
			t.Errorf("%q has a password, but it is left to the backend", line)
		}
	})
}
