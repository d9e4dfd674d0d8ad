package authdaemon

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"usher/internal/account"
	"usher/internal/account/accounttest"
	"usher/internal/config"
	"usher/internal/courier"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open opens a source of these keys, written as in usher.toml.
func open(t *testing.T, socket string, keys ...string) *source {
	t.Helper()
	text := fmt.Sprintf("[[accounts]]\ntype = \"authdaemon\"\nsocket = %q\n%s", socket, strings.Join(keys, "\n"))
	c, err := config.Parse("/etc/usher/usher.toml", []byte(text), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	opener, err := Driver(c.Accounts[0].Decode)
	if err != nil {
		t.Fatal(err)
	}
	src, err := opener(t.Context(), account.Site{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	s := src.(*source)
	t.Cleanup(func() { s.Close() })
	return s
}

// readerOf shows a source as the rest of usher sees it.
func readerOf(s *source) *account.Reader { return &account.Reader{Name: "courier", Source: s} }

func imap(name string) account.Query {
	return account.Query{Name: name, Protocol: "imap", Remote: netip.MustParseAddrPort("192.0.2.7:5000")}
}

const home = "uid=1000|gid=1000|home=/home/ann"

// sha is a password "secret" that everybody can read: {SHA}.
const sha = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="

func startUserdb(t *testing.T) *courier.Server {
	return courier.Start(t, courier.Options{
		Modules: []string{"authuserdb"},
		Userdb:  map[string]string{"ann@example.org": home + "|options=mailhost=servera.example.org|systempw=" + sha, "bob": home},
	})
}

func TestAuthdaemondIsASource(t *testing.T) {
	t.Parallel()
	d := startUserdb(t)
	accounttest.RunSource(t, open(t, d.Socket), accounttest.World{
		User: "ann@example.org", Password: "secret", Unknown: "eve@example.org",
		Freeze: func(*testing.T) func() { d.Pause(); return d.Resume },
		Stop:   func(*testing.T) func() { d.Stop(); return d.Restart },
	})
}

// P000-5: userdb user@example.com set options=mailhost=servera.example.com, then
// makeuserdb, and the account is proxied to servera.example.com.
func TestP000_5OptionMailhostOfUserdbLeadsToTheServer(t *testing.T) {
	t.Parallel()
	d := courier.Start(t, courier.Options{Modules: []string{"authuserdb"}})
	r := readerOf(open(t, d.Socket))
	command := func(args ...string) {
		d.Run("usr/sbin/userdb", args...)
		d.Run("usr/sbin/makeuserdb")
	}
	command("user@example.com", "set", "uid=1000", "gid=1000", "home=/home/user", "systempw="+sha)
	command("user@example.com", "set", "options=mailhost=servera.example.com")
	for _, host := range []string{"servera.example.com", "serverb.example.com"} {
		command("user@example.com", "set", "options=mailhost="+host)
		a, err := r.Lookup(t.Context(), imap("user@example.com"))
		if err != nil {
			t.Fatal(err)
		}
		if a.Place.Hosts[0] != host || a.Name != "user@example.com" || a.Proof.Check(t.Context(), "secret") != nil {
			t.Errorf("%+v", a)
		}
	}
	command("user@example.com", "del")
	if _, err := r.Lookup(t.Context(), imap("user@example.com")); !errors.Is(err, account.ErrUnknown) {
		t.Errorf("an account that was deleted: %v", err)
	}
}

// P000-9: several options, in any order. An account without a password of its own is
// nobody's.
func TestOptionsAreFields(t *testing.T) {
	t.Parallel()
	d := courier.Start(t, courier.Options{
		Modules: []string{"authuserdb"},
		Env:     []string{"DEFAULTOPTIONS=disablepop3=1,mailhost=default"},
		Userdb: map[string]string{
			"a": home + "|options=disableimap=0,mailhost=one:1143,destuser=x,group=staff",
			"b": home + "|options=mailhost=one,nopassword",
			"c": home,
		},
	})
	r := readerOf(open(t, d.Socket))
	for name, want := range map[string]account.Place{
		"a": {Hosts: []string{"one:1143"}, User: "x"}, "b": {Hosts: []string{"one"}}, "c": {Hosts: []string{"default"}},
	} {
		a, err := r.Lookup(t.Context(), imap(name))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, a.Place, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if len(a.Access.Disabled) != 1 || a.Access.Disabled[0] != "pop3" || a.Attrs["group"] == "staff" != (name == "a") {
			t.Errorf("%s: %+v %+v", name, a.Access, a.Attrs)
		}
		if (a.Proof == nil) != (name == "b") {
			t.Errorf("%s: the proof is %v", name, a.Proof)
		}
		if name == "c" && !errors.Is(a.Proof.Check(t.Context(), "secret"), account.ErrRefused) {
			t.Error("a password fits an account without one")
		}
	}
}

func TestEachServiceMayHaveAPassword(t *testing.T) {
	t.Parallel()
	d := courier.Start(t, courier.Options{
		Modules: []string{"authuserdb"},
		Userdb:  map[string]string{"ann": home + "|systempw={PLAIN}no|imappw=" + sha + "|pop3pw={SHA}xjbo4jj9evl+LlAPjG8PTAvtr7A="}, // secret2
	})
	r := readerOf(open(t, d.Socket))
	var proofs []account.Proof
	for protocol, password := range map[string]string{"imap": "secret", "pop3": "secret2"} {
		a, err := r.Lookup(t.Context(), account.Query{Name: "ann", Protocol: protocol})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range []string{"secret", "secret2", "no"} {
			if err := a.Proof.Check(t.Context(), p); (err == nil) != (p == password) {
				t.Errorf("%s with %q: %v", protocol, p, err)
			}
		}
		proofs = append(proofs, a.Proof)
	}
	if proofs[0].Identity() == proofs[1].Identity() {
		t.Error("what is remembered of one service would hold for the other")
	}
}

// A program of the organisation, as authpipe starts it.
const pipe = `#!/bin/sh
record="UID=1001
GID=1002
HOME=/home/ann
ADDRESS=ann@example.org
NAME=Ann Example
USERNAME=vmail
MAILDIR=/mail/ann
QUOTA=1G
SHADOW=ignored
OPTIONS=mailhost=servera"
while read -r line; do
	case $line in
	"PRE . imap clear") printf '%s\nPASSWD={SHA}wrong\nPASSWD2=secret\n.\n' "$record" ;;
	"PRE . imap hashed") printf '%s\nPASSWD=%s\n.\n' "$record" '$6$usher$KG4AkPasKhLR/unKASOjjSyPiENpNrtvFQVehFdv2ePRtuQQw3W7o7E3ELtmiIib9E3pJJ3Io8WMw5n/BLHck/' ;;
	"PRE . imap odd") printf '%s\nPASSWD={COURIER9}x\n.\n' "$record" ;;
	"PRE . imap two") printf '%s\n.\n' "$record" ;;
	"PRE . imap broken") exit 1 ;;
	"AUTH "*)
		case $(head -c "${line#AUTH }" | tr '\n' ' ') in
		"imap login odd secret ") printf '%s\n.\n' "$record" ;;
		"imap login two secret ") printf 'ADDRESS=other@example.org\n.\n' ;;
		# RFC 2195 §2, with another name
		"imap cram-md5 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+ Y2xlYXIgYjkxM2E2MDJjN2VkYTdhNDk1YjRlNmU3MzM0ZDM4OTA= ")
			printf '%s\nPASSWD2=tanstaaftanstaaf\n.\n' "$record" ;;
		*) echo FAIL ;;
		esac ;;
	*) echo FAIL ;;
	esac
done
`

func startPipe(t *testing.T) *courier.Server {
	return courier.Start(t, courier.Options{Modules: []string{"authpipe"}, Files: map[string]string{"authProg": pipe}})
}

// The name of a person is not the account's, and that of the system is neither.
func TestEveryLineOfAReplyIsRead(t *testing.T) {
	t.Parallel()
	d := startPipe(t)
	rec, err := open(t, d.Socket).Ask(t.Context(), imap("clear"))
	if err != nil {
		t.Fatal(err)
	}
	want := account.Record{Fields: account.Fields{
		"user": "ann@example.org", "full_name": "Ann Example", "system_user": "vmail", "uid": "1001", "gid": "1002", "home": "/home/ann",
		"mail": "/mail/ann", "quota": "1G", "options": "mailhost=servera", "password": "{PLAIN}secret",
	}}
	if diff := cmp.Diff(want, rec); diff != "" {
		t.Error(diff)
	}
	if said := d.Run("usr/sbin/authtest", "-s", "imap", "clear"); !strings.Contains(said, "Authenticated: ann@example.org") {
		t.Errorf("Courier's own client says %s", said)
	}
}

func TestPasswordsThatCanBeReadAreCheckedHere(t *testing.T) {
	t.Parallel()
	d := startPipe(t)
	r := readerOf(open(t, d.Socket))
	for name, here := range map[string]bool{"clear": true, "hashed": true, "odd": false} {
		a, err := r.Lookup(t.Context(), imap(name))
		if err != nil {
			t.Fatal(err)
		}
		if _, is := a.Proof.(account.Hashed); is != here {
			t.Errorf("%s: the proof is a %T", name, a.Proof)
		}
		if err := a.Proof.Check(t.Context(), "secret"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := a.Proof.Check(t.Context(), "wrong"); !errors.Is(err, account.ErrRefused) {
			t.Errorf("%s with a wrong password: %v", name, err)
		}
	}
	a, err := r.Lookup(t.Context(), imap("two"))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Proof.Check(t.Context(), "secret"); err == nil || !strings.Contains(err.Error(), "order of authmodulelist") {
		t.Errorf("one account, but the password of another: %v", err)
	}
}

// RFC 2195 §2, and the same for Courier's further hashes.
func TestACramAnswerIsCheckedByAuthdaemond(t *testing.T) {
	t.Parallel()
	d := courier.Start(t, courier.Options{Modules: []string{"authuserdb"}})
	record := home
	for _, h := range []string{"md5", "sha1", "sha256"} {
		record += "|hmac-" + h + "pw=" + strings.TrimSpace(d.Run("/bin/sh", "-c", "echo tanstaaftanstaaf | usr/sbin/userdbpw -hmac-"+h))
	}
	d.Userdb(map[string]string{"tim@example.org": record})
	r := readerOf(open(t, d.Socket))
	const challenge = "<1896.697170952@postoffice.reston.mci.net>"
	for method, h := range map[string]func() hash.Hash{"cram-md5": md5.New, "cram-sha1": sha1.New, "cram-sha256": sha256.New} {
		mac := hmac.New(h, []byte("tanstaaftanstaaf"))
		mac.Write([]byte(challenge))
		digest := hex.EncodeToString(mac.Sum(nil))
		if method == "cram-md5" && digest != "b913a602c7eda7a495b4e6e7334d3890" {
			t.Fatal(digest)
		}
		q := imap("tim@example.org") // who said tim only, has the listener's domain
		q.Answer = &account.Answer{Method: method, Challenge: challenge, Response: "tim " + digest}
		a, err := r.Lookup(t.Context(), q)
		if err != nil || a.Name != "tim@example.org" || a.Proof == nil {
			t.Errorf("%s: %+v, %v", method, a, err)
		}
		q.Answer = &account.Answer{Method: method, Challenge: "<another@x>", Response: "tim " + digest}
		if _, err := r.Lookup(t.Context(), q); !errors.Is(err, account.ErrRefused) {
			t.Errorf("%s, a wrong answer: %v", method, err)
		}
		q.Name = "eve@example.org"
		if _, err := r.Lookup(t.Context(), q); !errors.Is(err, account.ErrUnknown) {
			t.Errorf("%s of somebody unknown: %v", method, err)
		}
	}
	q := imap("tim@example.org")
	q.Answer = &account.Answer{Method: "apop", Challenge: challenge, Response: "00"}
	if _, err := r.Lookup(t.Context(), q); err == nil || errors.Is(err, account.ErrRefused) {
		t.Errorf("a mechanism that Courier does not have: %v", err)
	}
}

// P000-19: CRAM works when the source gives the clear password.
func TestTheClearPasswordOfACramLoginIsForTheBackend(t *testing.T) {
	t.Parallel()
	d := startPipe(t)
	q := imap("clear")
	q.Answer = &account.Answer{Method: "cram-md5", Challenge: "<1896.697170952@postoffice.reston.mci.net>", Response: "tim b913a602c7eda7a495b4e6e7334d3890"}
	a, err := readerOf(open(t, d.Socket)).Lookup(t.Context(), q)
	if err != nil || a.Place.Password != "tanstaaftanstaaf" || a.Place.Hosts[0] != "servera" {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestANameThatAuthdaemondCannotAnswerDoesNotTakeItAway(t *testing.T) {
	t.Parallel()
	d := startPipe(t)
	s := open(t, d.Socket)
	for range 3 {
		if _, err := s.Ask(t.Context(), imap("broken")); err == nil || errors.Is(err, account.ErrUnknown) || !strings.Contains(err.Error(), "without a reply") {
			t.Errorf("a name that ends its program: %v", err)
		}
		if _, err := s.Ask(t.Context(), imap("clear")); err != nil {
			t.Error(err)
		}
	}
	if err := s.Health()[0].Err; err != nil {
		t.Errorf("authdaemond is left out: %v", err)
	}
}

func TestTheClientsAddressIsToldIfWanted(t *testing.T) {
	t.Parallel()
	d := startUserdb(t)
	s := open(t, d.Socket, "send_remote = true")
	a, err := readerOf(s).Lookup(t.Context(), imap("ann@example.org"))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Proof.Check(t.Context(), "secret"); err != nil {
		t.Errorf("a real authdaemond: %v", err)
	}
	if s.Uses()&account.UsesRemote == 0 || !strings.Contains((login{s, imap("ann@example.org"), "ann@example.org"}).Identity(), "192.0.2.7") {
		t.Error("what holds for one address would be remembered for all")
	}
	heard := make(chan string, 1)
	socket := rawDaemon(t, func(text string, c net.Conn) { heard <- text; io.WriteString(c, "FAIL\n") })
	s = open(t, socket, "send_remote = true")
	if _, err := s.auth(t.Context(), imap("ann"), "login", "ann", "secret"); !errors.Is(err, account.ErrRefused) {
		t.Error(err)
	}
	if got, want := <-heard, "TCPREMOTEIP=192.0.2.7\nAUTH 22\nimap\nlogin\nann\nsecret\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// rawDaemon answers as no real one would.
func rawDaemon(t *testing.T, answer func(text string, c net.Conn)) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				b := make([]byte, 8<<10)
				n, _ := c.Read(b)
				answer(string(b[:n]), c)
			}()
		}
	}()
	return socket
}

// Where lines are commands, nobody's name or password may be two.
func TestNothingWithALineEndIsSent(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	socket := rawDaemon(t, func(_ string, c net.Conn) { asked.Add(1); io.WriteString(c, "ADDRESS=ann\n.\n") })
	s := open(t, socket)
	for _, name := range []string{"", "ann\n", "ann\nENUMERATE", "ann\r", "ann\x00", " ann", "ann "} {
		if _, err := s.Ask(t.Context(), imap(name)); !errors.Is(err, account.ErrUnknown) {
			t.Errorf("name %q: %v", name, err)
		}
	}
	for _, password := range []string{"", "secret\n", "secret\x00", "a\nb", strings.Repeat("x", 8<<10)} {
		if err := (login{s, imap("ann"), "ann"}).Check(t.Context(), password); !errors.Is(err, account.ErrRefused) {
			t.Errorf("password %.80q: %v", password, err)
		}
	}
	if asked.Load() != 0 {
		t.Errorf("%d questions were sent", asked.Load())
	}
}

func TestWhatIsNoReplyIsNoAnswer(t *testing.T) {
	t.Parallel()
	for reply, want := range map[string]string{
		"":                          "without a reply",
		"ADDRESS=ann\n":             "without a reply",
		"ADDRESS=ann\n.":            "without a reply",
		"FAIL":                      "without a reply",
		"SSH-2.0-x\x1b[2J\n":        "without a reply",
		strings.Repeat("x", 70<<10): "longer than 64 KB",
		strings.Repeat("ADDRESS=ann\n", 70<<10) + ".\n": "longer than 64 KB",
		"ADDRESS=ann\nOPTIONS=port=x\n.\n":              `"x" is not a port number`,
	} {
		r := readerOf(open(t, rawDaemon(t, func(_ string, c net.Conn) { io.WriteString(c, reply) })))
		_, err := r.Lookup(t.Context(), imap("ann"))
		if err == nil || errors.Is(err, account.ErrUnknown) || errors.Is(err, account.ErrRefused) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", reply, err, want)
		}
	}
}

func TestAReplyThatNeverEndsIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	socket := rawDaemon(t, func(_ string, c net.Conn) {
		for err := error(nil); err == nil; time.Sleep(10 * time.Millisecond) {
			_, err = io.WriteString(c, "X")
		}
	})
	s := open(t, socket, "timeout = '300ms'")
	began := time.Now()
	for range 3 {
		if _, err := s.Ask(t.Context(), imap("ann")); err == nil || errors.Is(err, account.ErrUnknown) {
			t.Error(err)
		}
	}
	if time.Since(began) > 10*time.Second {
		t.Errorf("three questions took %v", time.Since(began))
	}
}

func TestNoMoreQuestionsAtOnceThanAllowed(t *testing.T) {
	t.Parallel()
	var now, most atomic.Int32
	socket := rawDaemon(t, func(_ string, c net.Conn) {
		most.Store(max(most.Load(), now.Add(1)))
		time.Sleep(5 * time.Millisecond)
		now.Add(-1)
		io.WriteString(c, "ADDRESS=ann\n.\n")
	})
	s := open(t, socket, "pool = 3")
	var all sync.WaitGroup
	for range 30 {
		all.Go(func() {
			if _, err := s.Ask(t.Context(), imap("ann")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if most.Load() > 3 {
		t.Errorf("%d questions at once", most.Load())
	}
}

func TestALookSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	d := startUserdb(t)
	look := func(socket string) (err error) {
		open(t, socket).Examine(context.WithoutCancel(t.Context()), func(_ string, e error) { err = e })
		return err
	}
	if err := look(d.Socket); err != nil {
		t.Errorf("all is well, but: %v", err)
	}
	if err := look(d.Socket + "x"); err == nil || !strings.Contains(err.Error(), "start authdaemond, or say with the key socket") {
		t.Errorf("no socket: %v", err)
	}
	d.Stop()
	if err := look(d.Socket); err == nil || !strings.Contains(err.Error(), "refused; start authdaemond") {
		t.Errorf("nobody listens: %v", err)
	}
	if err := look(rawDaemon(t, func(string, net.Conn) {})); err == nil || !strings.Contains(err.Error(), "look at its log") {
		t.Errorf("no answer: %v", err)
	}
	if advice(&os.PathError{Err: os.ErrPermission}) == "" {
		t.Error("nothing is said of a folder that usher may not enter")
	}
}

func TestExplainShowsTheQuestion(t *testing.T) {
	t.Parallel()
	d := startPipe(t)
	q := imap("clear")
	q.Trace = &account.Trace{}
	if _, err := readerOf(open(t, d.Socket)).Lookup(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]account.Question{{Server: d.Socket, Text: "PRE . imap clear"}}, q.Trace.Steps[0].Asked); diff != "" {
		t.Error(diff)
	}
}

// Whatever comes back, it is an account, a no, or neither.
func FuzzReply(f *testing.F) {
	for _, seed := range []string{
		"USERNAME=vmail\nUID=1\nGID=2\nHOME=/h\nADDRESS=ann\nNAME=Ann\nMAILDIR=/m\nQUOTA=1\nPASSWD=x\nPASSWD2=y\nOPTIONS=mailhost=a,b=c\n.\n",
		"FAIL\n", ".\n", "", "=\n\n.\n", "PASSWD2=\nPASSWD={SHA}x\n.\n", "OPTIONS=nopassword\n.\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		fields, err := read(strings.NewReader(text), account.ErrUnknown)
		switch {
		case (fields == nil) == (err == nil):
			t.Fatalf("%v, %v", fields, err)
		case errors.Is(err, account.ErrUnknown) && !strings.Contains(text, "FAIL\n"):
			t.Fatalf("%q says no", text)
		case err == nil && !strings.Contains("\n"+text, "\n.\n"):
			t.Fatalf("%q says yes", text)
		}
		_, _ = fields.Account("ann")
		_ = readable(fields["password"])
	})
}
