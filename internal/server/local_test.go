package server

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"usher/internal/route"
	"usher/internal/spawn"
)

// mistakesOf are what is wrong with a configuration, with its folder as DIR.
func mistakesOf(t *testing.T, dir, text string) string {
	t.Helper()
	cfg := parse(t, dir, text)
	err := Check(cfg)
	said := ""
	if err != nil {
		said = err.Error() + "\n"
	}
	for _, w := range cfg.Warnings {
		said += "warning: " + w.Error() + "\n"
	}
	return strings.ReplaceAll(said, dir, "DIR")
}

// mailPrograms are two files that can be executed, and one that cannot.
func mailPrograms(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, mode := range map[string]os.FileMode{"imap": 0o755, "imapd": 0o755, "text": 0o644} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestMistakesAboutLocalProgramsAreToldWithTheRemedy(t *testing.T) {
	dir := mailPrograms(t)
	const listens = imapOnly
	for _, c := range []struct{ name, text, want string }{
		{"a program that is missing", "[local]\nimap = ['DIR/gone']\n", "local.imap: the program cannot be started: stat DIR/gone: no such file or directory: install it, or correct the name"},
		{"a file that is no program", "[local]\nimap = ['DIR/text']\n", "local.imap: DIR/text cannot be executed: name a program; or chmod a+x DIR/text"},
		{"a name without its folder", "[local]\nimap = ['imap']\n", `local.imap: "imap" is no absolute file name: write its whole name`},
		{"homes", "[local]\nimap = ['DIR/imap']\nhomes = ['home', '/']\n", `local.homes[0]: "home" is no absolute folder for homes: write it as "/home"`},
		{"homes anywhere", "[local]\nimap = ['DIR/imap']\ncreate_home = true\n", "local.create_home: homes must not be made anywhere: name the folders"},
		{"a mode", "[local]\nimap = ['DIR/imap']\ncreate_home = true\nhomes = ['/home']\nhome_mode = '0077'\n", `local.home_mode: "0077" is no mode of a home`},
		{"a maildir elsewhere", "[local]\nimap = ['DIR/imap']\ncreate_home = true\nhomes = ['/home']\nmaildir = '../Maildir'\n", `local.maildir: "../Maildir" is not in a home`},
		{"a route to nothing", "[[route]]\nto = 'local'\n", `route[0].to: "local" needs programs of this machine, of which there are none: set imap or pop3 in [local]`},
		{"a program that is not there", "[local]\nimap = ['DIR/imap']\n[[route]]\nto = 'local'\nprogram = 'courier'\n", `route[0].program: there is no program "courier": add [local.program.courier], or use default`},
		{"a program of a backend", "[local]\nimap = ['DIR/imap']\n[[route]]\nto = 'home'\nprogram = 'default'\n", `route[0].program: a program is chosen for logins that stay here`},
		{"two dialects", "[local]\nimap = ['DIR/imapd']\npop3 = ['DIR/imap']\n", "local.pop3: DIR/imap speaks preauth, but the one for IMAP courier: set speaks"},
		{"no program for a protocol", "[local]\nimap = ['DIR/imap']\n[[listen]]\nprotocol = 'pop3'\ntls = 'none'\n", "warning: usher.toml"},
		{"options behind a variable", "[local]\nimap = ['DIR/imap', '{user}', '-o']\n", `local.imap: argument "{user}": from the first on that has a variable, none may begin with a dash or a variable`},
		{"a name that is taken", "[local.program.default]\nimap = ['DIR/imap']\n", `local.program.default: "default" is no name for a program`},
		{"a backend of that name", "[local]\nimap = ['DIR/imap']\n[backend.local]\naddr = ['a']\n", "backend.local: this name stands for the programs of [local]"},
		{"little memory", "[local]\nimap = ['DIR/imap']\nlimit = { memory = 10 }\n", "local.limit.memory: 10 megabytes are not enough: write 256 or more, or 0"},
		{"a file that is no environment", "[local]\nimap = ['DIR/imap']\nenv_file = 'usher.sh'\n", "local.env_file: "},
		{"nothing that stays", "[local]\nimap = ['DIR/imap']\nstays = ['nntp']\n", `local.stays[0]: there is no protocol "nntp": use imap or pop3`},
		{"nobody who is proven", "[local]\nimap = ['DIR/imap']\n[[accounts]]\ntype = 'any'\n", "nobody could log in to a mailbox of this machine"},
		{"names for nothing", "[server]\nown_names = ['mx1']\n", "warning: DIR/usher.toml:5:1: server.own_names: it has no effect: there are no programs in [local]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			said := mistakesOf(t, dir, listens+strings.ReplaceAll(c.text, "DIR", dir))
			if c.name == "no program for a protocol" {
				c.want = "local: there is no program for pop3, with which clients may come"
			}
			if !strings.Contains(said, c.want) {
				t.Errorf("it is told\n%s\nwant\n%s", said, c.want)
			}
		})
	}
	if said := mistakesOf(t, dir, listens+strings.ReplaceAll("[local]\nimap = ['DIR/imap']\nhomes = ['/home']\ncreate_home = true\n[local.program.courier]\nimap = ['DIR/imapd']\n[[route]]\nto = 'local'\nprogram = 'courier'\n", "DIR", dir)); said != "" {
		t.Errorf("of what is right it says %s", said)
	}
}

// IMAP_PROXY and POP3_PROXY are those of Courier.
func TestProxyingCanBeSwitchedOffByTheEnvironment(t *testing.T) {
	dir := mailPrograms(t)
	text := imapOnly + "[local]\nimap = ['" + dir + "/imap']\nspeaks = 'preauth'\n"
	for _, c := range []struct{ value, stays, said string }{
		{"", "", ""},
		{"1", "", ""},
		{"0", "IMAP_PROXY=0", "IMAP_PROXY=0 in the environment: no imap login leaves this machine"},
		{"yes", "", `IMAP_PROXY is "yes": set it to 0 or 1`},
	} {
		t.Setenv("IMAP_PROXY", c.value)
		cfg := parse(t, dir, text)
		s, _ := New(cfg, slog.New(slog.DiscardHandler))
		if got := s.house.Load().desk.Routes.Local.Stays["imap"]; got != c.stays {
			t.Errorf("IMAP_PROXY=%q: stays is %q", c.value, got)
		}
		if said := mistakesOf(t, dir, text); !strings.Contains(said, c.said) || c.said == "" && said != "" {
			t.Errorf("IMAP_PROXY=%q: it is told %q", c.value, said)
		}
	}
}

// A host is this machine by its names, to the letter, or by its addresses.
func TestThisMachineKnowsItself(t *testing.T) {
	t.Setenv("PROXY_HOSTNAME", "mx1.example.org")
	system, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	cfg := parse(t, t.TempDir(), "[server]\nhostname = 'mail.example.org'\nown_names = ['mx1', '192.0.2.1', '[2001:db8::1]']\n")
	is := (&builder{cfg: cfg}).here()
	for host, want := range map[string]bool{
		"mx1.example.org": true, "MX1.example.org": false, "mail.example.org": true, "mx1": true, system: true, system + ".": false,
		"192.0.2.1": true, "::ffff:192.0.2.1": true, "2001:db8::1": true, "[2001:db8:0::1]": true, "127.0.0.1": true,
		"203.0.113.99": false, "192.0.2.1:143": false, "mx1:143": false, "": false, "mx2": false,
	} {
		if got := is(host); got != want {
			t.Errorf("%q is this machine: %v, want %v", host, got, want)
		}
	}
}

func TestAddressesOfInterfacesAreLookedUpNowAndThen(t *testing.T) {
	asked, now := 0, time.Now()
	fail := error(nil)
	h := &here{now: func() time.Time { return now }, own: func() ([]netip.Addr, error) {
		asked++
		return []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(asked)})}, fail
	}}
	for range 2 {
		if !h.is("192.0.2.1") || asked != 1 {
			t.Errorf("asked %d times", asked)
		}
	}
	now, fail = now.Add(hereTime+1), errors.New("no")
	if !h.is("192.0.2.1") || asked != 2 {
		t.Error("what cannot be looked up is forgotten")
	}
	now, fail = now.Add(hereTime+1), nil
	if h.is("192.0.2.1") || !h.is("192.0.2.3") {
		t.Error("an address that has gone is still this machine's")
	}
}

// What programs say stands in the log, made harmless, and not without end.
func TestWhatProgramsSayDoesNotFloodTheLog(t *testing.T) {
	var log bytes.Buffer
	now := time.Now()
	l := &sayings{log: slog.New(slog.NewTextHandler(&log, nil)), now: func() time.Time { return now }}
	for n := range maxSayings + 50 {
		l.hear(spawn.Event{ID: "S", Program: "imap", PID: 7, Line: fmt.Sprintf("line\x1b %d", n)})
	}
	if n := strings.Count(log.String(), `msg="local program says" id=S program=imap pid=7 line="line\\x1b`); n != maxSayings {
		t.Errorf("%d lines:\n%.300s", n, log.String())
	}
	now = now.Add(time.Second)
	log.Reset()
	l.hear(spawn.Event{ID: "S", Program: "imap", PID: 7, Ended: true, Status: "exit status 1", Lost: 3})
	if s := log.String(); !strings.Contains(s, `level=WARN msg="local program ended" id=S program=imap pid=7 status="exit status 1" others=53`) {
		t.Errorf("afterwards: %s", s)
	}
	log.Reset()
	l.hear(spawn.Event{Line: "a message was refused"})
	if s := log.String(); !strings.Contains(s, `msg="helper says"`) {
		t.Errorf("of the helper: %s", s)
	}
}

// A reload says what of [local] it cannot change.
func TestAReloadSaysWhatOfLocalWaits(t *testing.T) {
	dir := mailPrograms(t)
	var log bytes.Buffer
	s, err := New(parse(t, dir, imapOnly+"[local]\nimap = ['"+dir+"/imap']\nspeaks = 'preauth'\n"), slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	sealed := s.house.Load().cfg.Local
	next, err := s.build(parse(t, dir, imapOnly+"[local]\nimap = ['"+dir+"/imap', '-v']\nspeaks = 'preauth'\nmin_uid = 500\ntimeout = '1s'\nattribute = 'server'\n"))
	if err != nil {
		t.Fatal(err)
	}
	s.notResealed(next)
	if !strings.Contains(log.String(), "nobody is there who could start programs") {
		t.Errorf("without a helper: %s", log.String())
	}
	log.Reset()
	s.helper = &helper{sealed: &sealed}
	s.notResealed(next)
	said := log.String()
	if strings.Count(said, "\n") != 2 || !strings.Contains(said, "key=imap") || !strings.Contains(said, "key=min_uid") {
		t.Errorf("the log says %s", said)
	}
}

// A program that a reload has added, or an owner whom the helper does not serve, is a
// misconfiguration, not an outage.
func TestProgramsWithoutAHelperAreRefused(t *testing.T) {
	dir := mailPrograms(t)
	s, err := New(parse(t, dir, imapOnly+"[local]\nimap = ['"+dir+"/imap']\n"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.starter(s.house.Load())(t.Context(), route.Stop{Exec: &route.Exec{Program: "imap"}})
	if err == nil || !strings.Contains(err.Error(), "restart it") {
		t.Errorf("the error is %v", err)
	}
}
