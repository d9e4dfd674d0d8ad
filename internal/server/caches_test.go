package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"usher/internal/account"
	"usher/internal/password"
)

// An office is an account source whose answers the test changes. It is far away, and
// there is one for each test.
type office struct {
	mu     sync.Mutex
	fields account.Fields
	down   error
	asked  int
}

var offices sync.Map // by the key id of their blocks

// officeDriver is the driver of type "office".
func officeDriver(decode func(into any) error) (account.Open, error) {
	var keys struct {
		ID    string `toml:"id"`
		Other string `toml:"other"`
	}
	if err := decode(&keys); err != nil {
		return nil, err
	}
	return func(context.Context, account.Site) (account.Source, error) {
		o, ok := offices.Load(keys.ID)
		if !ok {
			return nil, errors.New("no such office")
		}
		return o.(*office), nil
	}, nil
}

func (o *office) Ask(_ context.Context, q account.Query) (account.Record, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked++
	switch {
	case o.down != nil:
		return account.Record{}, o.down
	case q.Name != "ann":
		return account.Record{}, account.ErrUnknown
	}
	return account.Record{Fields: o.fields}, nil
}

func (o *office) Health() []account.Health {
	o.mu.Lock()
	defer o.mu.Unlock()
	return []account.Health{{Server: "east", Since: time.Unix(1, 0)}, {Server: "west", Since: time.Unix(2, 0), Err: o.down}}
}

func (o *office) goes(down error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.down = down
}

// newOffice is an office that knows ann, and the configuration of a server that asks it.
func newOffice(t *testing.T, addr string) (*office, string) {
	o := &office{fields: account.Fields{"password": "{PLAIN}secret", "host": mailServer(t)}}
	offices.Store(t.Name(), o)
	t.Cleanup(func() { offices.Delete(t.Name()) })
	text := strings.Replace(at("", addr), `type = "any"`, fmt.Sprintf("type = \"office\"\nid = %q", t.Name()), 1)
	text, _, _ = strings.Cut(text, "[backend.default]")
	return o, "limit.failure_delay = \"0s\"\n" + text
}

// hears is what ann hears who logs in.
func hears(t *testing.T, addr, password string) string {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = nc.Close() }()
	in := bufio.NewReader(nc)
	_, _ = in.ReadString('\n')
	return says(t, nc, in, password)
}

func says(t *testing.T, nc net.Conn, in *bufio.Reader, password string) string {
	t.Helper()
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = io.WriteString(nc, "a LOGIN ann "+password+"\r\n")
	line, err := in.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	line = strings.TrimPrefix(line, "a ")
	word, _, _ := strings.Cut(line, " ")
	if strings.HasPrefix(line, "NO [") {
		word, _, _ = strings.Cut(line, "] ")
	}
	return word
}

const (
	in          = "OK"
	wrong       = "NO [AUTHENTICATIONFAILED"
	unavailable = "NO [UNAVAILABLE"
)

func is(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
}

var errClosed = errors.New("the office is closed")

func TestAReloadInAnOutageLocksNobodyOut(t *testing.T) {
	addr := free(t)
	o, text := newOffice(t, addr)
	r := runWith(t, text)
	is(t, "before", hears(t, addr, "secret"), in)
	o.goes(errClosed)
	for range 2 {
		if err := r.reads(text); err != nil {
			t.Fatal(err)
		}
		is(t, "the right password", hears(t, addr, "secret"), in)
		is(t, "a wrong one", hears(t, addr, "wrong"), unavailable)
	}
	o.goes(nil)
	asked := o.asked
	is(t, "a wrong one, afterwards", hears(t, addr, "wrong"), wrong)
	is(t, "the right one, afterwards", hears(t, addr, "secret"), in)
	if o.asked != asked+1 {
		t.Errorf("after the reload it was asked %d times", o.asked-asked)
	}
	if err := r.reads(text + "other = \"settings\"\n"); err != nil {
		t.Fatal(err)
	}
	o.goes(errClosed)
	is(t, "what other settings of the source may say otherwise", hears(t, addr, "secret"), unavailable)
}

func TestAReloadAsksAgain(t *testing.T) {
	addr := free(t)
	o, text := newOffice(t, addr)
	r := runWith(t, text)
	is(t, "before", hears(t, addr, "secret"), in)
	o.fields = account.Fields{"password": "{PLAIN}secret", "nologin": "Y"}
	is(t, "from memory", hears(t, addr, "secret"), in)
	if err := r.reads(text); err != nil {
		t.Fatal(err)
	}
	if got := hears(t, addr, "secret"); got == in {
		t.Errorf("after the reload ann still hears %s", got)
	}
}

func TestAFlushForgetsInEveryHouse(t *testing.T) {
	addr := free(t)
	o, text := newOffice(t, addr)
	r := runWith(t, text)
	is(t, "before", hears(t, addr, "secret"), in)
	old, err := net.Dial("tcp", addr) // stays in the old house
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = old.Close() }()
	conversation := bufio.NewReader(old)
	_, _ = conversation.ReadString('\n')
	if err := r.reads(text); err != nil {
		t.Fatal(err)
	}
	o.goes(errClosed)
	is(t, "in the outage", hears(t, addr, "secret"), in)
	if n := r.Flush("ANN"); n != 1 {
		t.Errorf("%d entries", n)
	}
	is(t, "after the flush", hears(t, addr, "secret"), unavailable)
	is(t, "in the old house", says(t, old, conversation, "secret"), unavailable)
	if n := r.Flush(""); n != 0 {
		t.Errorf("%d entries are left", n)
	}
}

func TestTheStatusShowsWhatIsRemembered(t *testing.T) {
	addr := free(t)
	o, text := newOffice(t, addr)
	r := runWith(t, text)
	for range 3 {
		is(t, "ann", hears(t, addr, "secret"), in)
	}
	o.goes(errClosed)
	list := r.Process().Sources
	if len(list) != 1 || list[0].Name != "office" || list[0].Entries != 1 || list[0].Hits != 2 || list[0].Misses != 1 {
		t.Fatalf("%+v", list)
	}
	if s := list[0].Servers; len(s) != 2 || !s[0].Well || s[0].Server != "east" || s[1].Well || s[1].Error != "the office is closed" || s[1].Since.Unix() != 2 {
		t.Errorf("%+v", s)
	}
}

func TestWhatIsNearIsNotRemembered(t *testing.T) {
	addr := free(t)
	r := runWith(t, at(mailServer(t), addr))
	loggedIn(t, addr)
	if list := r.Process().Sources; len(list) != 1 || list[0].Name != "any" || list[0].Hits+list[0].Misses != 0 || list[0].Servers == nil {
		t.Errorf("%+v", list)
	}
}

func TestARestartInAnOutageLocksNobodyOut(t *testing.T) {
	addr, state := free(t), t.TempDir()
	o, text := newOffice(t, addr)
	o.fields["password"] = hashed(t, "secret")
	text = strings.Replace(text, `state = "state"`, fmt.Sprintf("state = %q", state), 1)
	disk := text + "cache = { disk = true }\n"
	file := filepath.Join(state, "cache-office.sealed")
	serve := func(text string, during func(r *running)) {
		t.Run("process", func(t *testing.T) { during(runWith(t, text)) })
	}
	serve(disk, func(*running) { is(t, "before", hears(t, addr, "secret"), in) })
	for _, name := range []string{file, filepath.Join(state, "cache.key")} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("%s: %v, %v", name, info, err)
		}
	}
	o.goes(errClosed)
	serve(disk, func(*running) {
		is(t, "the right password", hears(t, addr, "secret"), in)
		is(t, "a wrong one", hears(t, addr, "wrong"), unavailable)
	})
	serve(disk, func(r *running) {
		if err := r.reads(disk); err != nil {
			t.Fatal(err)
		}
		is(t, "after a reload", hears(t, addr, "secret"), in)
		if n := r.Flush("ann"); n != 1 {
			t.Errorf("%d entries", n)
		}
	})
	serve(disk, func(*running) { is(t, "after a flush", hears(t, addr, "secret"), unavailable) })
	if err := os.WriteFile(filepath.Join(state, "cache-gone.sealed"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	serve(text, func(*running) {})
	if list, _ := filepath.Glob(filepath.Join(state, "cache*")); len(list) != 1 || filepath.Base(list[0]) != "cache.key" {
		t.Errorf("when nothing is to be kept there is %q", list)
	}
}

func TestADiskForNothingIsWarnedOf(t *testing.T) {
	_, text := newOffice(t, free(t))
	cfg := parse(t, t.TempDir(), text+"cache = { disk = true, stale = \"0s\" }\n")
	if err := Check(cfg); err != nil || len(cfg.Warnings) != 1 || !strings.Contains(cfg.Warnings.Error(), "accounts[0].cache.disk: with stale") {
		t.Errorf("%v, %v", cfg.Warnings, err)
	}
}

// A key from elsewhere must be there: usher makes none in its place.
func TestAKeyFromElsewhereIsNotMade(t *testing.T) {
	addr, state := free(t), t.TempDir()
	_, text := newOffice(t, addr)
	text = strings.Replace(text, `state = "state"`, fmt.Sprintf("state = %q", state), 1)
	runWith(t, text+fmt.Sprintf("cache = { disk = true, key_file = %q }\n", filepath.Join(state, "own")))
	is(t, "without the key", hears(t, addr, "secret"), in)
	if list, _ := filepath.Glob(filepath.Join(state, "*")); len(list) != 0 {
		t.Errorf("there is %q", list)
	}
}

func hashed(t *testing.T, clear string) string {
	t.Helper()
	hash, err := password.Make("BLF-CRYPT", clear)
	if err != nil {
		t.Fatal(err)
	}
	return hash
}
