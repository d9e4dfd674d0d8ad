package interop

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"usher/internal/dovecot"
	"usher/internal/need"
)

// A tunnel is a client that has started usher itself, as by ssh.
type tunnel struct {
	*client
	process *exec.Cmd
	stderr  *strings.Builder
}

// pipes are the two ends as one connection.
type pipes struct {
	net.Conn // nil: nothing else is called
	io.Reader
	io.WriteCloser
}

func (p pipes) Read(b []byte) (int, error)  { return p.Reader.Read(b) }
func (p pipes) Write(b []byte) (int, error) { return p.WriteCloser.Write(b) }
func (p pipes) Close() error                { return p.WriteCloser.Close() }

// tunnel starts usher serve --stdio with two pipes, as the user with this number.
func (p *proxy) tunnel(t testing.TB, uid int, protocol string, args ...string) *tunnel {
	t.Helper()
	c := usher(t, append([]string{"serve", "--stdio", protocol}, args...)...)
	if uid != 0 {
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	}
	in, inErr := c.StdinPipe()
	out, outErr := c.StdoutPipe()
	said := &strings.Builder{}
	c.Stderr = said
	if inErr != nil || outErr != nil {
		t.Fatal(inErr, outErr)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	tn := &tunnel{newClient(t, protocol, pipes{Reader: out, WriteCloser: in}), c, said}
	t.Cleanup(func() { _ = in.Close(); _ = c.Process.Kill(); _ = c.Wait() })
	return tn
}

// leaves closes the pipe to usher, which must then end.
func (tn *tunnel) leaves() {
	tn.t.Helper()
	_ = tn.Close()
	for { // what is said at the end
		if _, err := tn.r.ReadString('\n'); err != nil {
			break
		}
	}
	if err := tn.process.Wait(); err != nil {
		tn.t.Errorf("usher ends with %v", err)
	}
	checkLog(tn.t, tn.stderr.String())
}

func TestSomebodyWhoComesBySSHReadsMail(t *testing.T) {
	withAndWithout(t, quick, func(t *testing.T, p *proxy) {
		for _, protocol := range protocols {
			for _, u := range users {
				tn := p.tunnel(t, 0, protocol, "-c", p.file)
				tn.greeting()
				if u.name == bob {
					tn.secureThroughPipes(p.ca)
				}
				tn.enter(u.name, u.password)
				tn.finds(u.name, "east")
				tn.leaves()
			}
		}
	})
}

// secureThroughPipes is STARTTLS, for which a connection needs deadlines.
func (tn *tunnel) secureThroughPipes(ca string) {
	tn.t.Helper()
	near, far := net.Pipe()
	old := tn.Conn
	go func() { _, _ = io.Copy(old, far); _ = old.Close() }()
	go func() { _, _ = io.Copy(far, tn.r); _ = far.Close() }()
	secured := newClient(tn.t, tn.protocol, near)
	secured.startTLS(ca)
	tn.client = secured
}

func TestWhoIsKnownNeedsNoPassword(t *testing.T) {
	withAndWithout(t, quick, func(t *testing.T, p *proxy) {
		tn := p.tunnel(t, 0, "imap", "-c", p.file, "--user", ann)
		if greeting := tn.expect("* PREAUTH [CAPABILITY "); !strings.Contains(greeting, " IDLE") || strings.Contains(greeting, "AUTH=") {
			t.Errorf("the capabilities are not those of the store: %s", greeting)
		}
		tn.finds(ann, "east")
		if p.runs() && !strings.Contains(p.who(), ann) {
			t.Error("usher who does not know of the session")
		}
		tn.leaves()

		tn = p.tunnel(t, 0, "pop3", "-c", p.file, "--user", ann)
		tn.expect("+OK ")
		tn.finds(ann, "east")
		tn.leaves()

		tn = p.tunnel(t, 0, "imap", "-c", p.file, "--user", "nobody@example.org")
		tn.expect("* BYE [AUTHENTICATIONFAILED]")
		tn.leaves()
	})
}

// nobody is a user that every system has, and that is nobody's in these tests.
const nobody = 65534

// reveal lets everybody go through a folder of this test.
func reveal(t testing.TB, dir string) {
	t.Helper()
	for ; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o711); err != nil {
			t.Fatal(err)
		}
	}
}

// Another user of this machine cannot read the configuration, and finds the running usher.
func TestOthersMayBeOnlyWhoseUIDTheAccountHas(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be somebody else")
	}
	d := newStore(t, "east", dovecot.Options{})
	mine := checked(ann, annSecret, "east")
	mine["uid"] = strconv.Itoa(nobody)
	p := start(t, setup{config: store("east", d, "none") + quick, accounts: []account{mine, checked(bob, bobSecret, "east")}})
	reveal(t, filepath.Dir(p.admin()))
	reveal(t, filepath.Dir(binary(t)))

	tn := p.tunnel(t, nobody, "imap", "--admin", p.admin(), "--user", ann)
	tn.expect("* PREAUTH ")
	tn.finds(ann, "east")
	if who := p.who(); !strings.Contains(who, `"remote": "127.0.0.1:0"`) {
		t.Errorf("usher who says %s", who)
	}
	p.command("kick", ann)
	tn.until("* BYE")
	tn.leaves()
	if log := p.logText(); !strings.Contains(log, `msg="login without a password"`) || !strings.Contains(log, `by="uid 65534" user=`+ann) {
		t.Errorf("the log does not say by whom: %s", tail(log, 5))
	}

	for _, other := range []string{bob, "nobody@example.org"} {
		tn = p.tunnel(t, nobody, "imap", "--admin", p.admin(), "--user", other)
		tn.expect("* BYE [AUTHENTICATIONFAILED] Authentication failed.")
		tn.leaves()
	}
	tn = p.tunnel(t, nobody, "imap", "--admin", p.admin())
	tn.greeting()
	tn.enter(bob, bobSecret) // with the password, as anybody
	tn.finds(bob, "east")
	tn.leaves()
}

// A session that came by the door is one of usher's own: it lives through an upgrade.
func TestASessionByTheDoorMovesWithAnUpgrade(t *testing.T) {
	d := newStore(t, "east", dovecot.Options{})
	p := start(t, setup{config: store("east", d, "none") + quick, accounts: []account{checked(ann, annSecret, "east")}})
	defer p.stopAll()
	tn := p.tunnel(t, 0, "imap", "-c", p.file)
	tn.greeting()
	tn.enter(ann, annSecret)
	p.command("upgrade")
	p.eventually("the session has moved", func() bool { return p.moved(ann) })
	tn.finds(ann, "east")
	again := p.tunnel(t, 0, "imap", "-c", p.file) // to the new process's door
	again.greeting()
	again.enter(ann, annSecret)
	p.counts(2)
	again.leaves()
	tn.leaves()
}

func TestWithoutAnybodyWhoCanServeTheClientHearsSo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "usher.toml")
	write(t, file, "[[listen]]\nprotocol = \"imap\"\ntls = \"sometimes\"\n")
	p := &proxy{t: t}
	tn := p.tunnel(t, 0, "imap", "-c", file)
	tn.expect("* BYE [UNAVAILABLE] ")
	if !tn.ended() {
		t.Error("the connection stays open")
	}
	if err := tn.process.Wait(); err == nil || !strings.Contains(tn.stderr.String(), "sometimes") {
		t.Errorf("%v: %s", err, tn.stderr)
	}
}

// mbsync starts usher as its Tunnel, by a socket.
func TestMbsyncFetchesMailThroughATunnel(t *testing.T) {
	program := need.Program(t, "mbsync")
	withAndWithout(t, quick, func(t *testing.T, p *proxy) {
		for name, login := range map[string]string{"password": fmt.Sprintf("User %s\nPass %q\nAuthMechs LOGIN\n", ann, annSecret), "known": ""} {
			dir := t.TempDir()
			serve := fmt.Sprintf("%s serve --stdio imap -c %s", binary(t), p.file)
			if login == "" {
				serve += " --user " + ann
			}
			write(t, filepath.Join(dir, "mbsyncrc"), fmt.Sprintf(`IMAPStore far
Tunnel %q
SSLType None
%s
MaildirStore near
Path %s/mail/
Inbox %s/mail/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns INBOX
Create Near
Sync Pull
SyncState *
`, serve, login, dir, dir))
			if err := os.Mkdir(filepath.Join(dir, "mail"), 0o700); err != nil {
				t.Fatal(err)
			}
			c := exec.Command(program, "-c", filepath.Join(dir, "mbsyncrc"), "-a")
			c.Env = append(p.env(), "HOME="+dir)
			out := output(t, c)
			all, _ := filepath.Glob(filepath.Join(dir, "mail/INBOX/new/*"))
			if len(all) != 1 {
				t.Fatalf("%s: mbsync fetched %v: %s", name, all, out)
			}
			if text, _ := os.ReadFile(all[0]); !strings.Contains(string(text), subject(ann, "east")) {
				t.Errorf("%s: the mail is %s", name, text)
			}
		}
	})
}

// mutt starts usher as its tunnel, by two pipes.
func TestMuttReadsMailThroughATunnel(t *testing.T) {
	withAndWithout(t, quick, func(t *testing.T, p *proxy) {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "Mail"), 0o700); err != nil { // else it asks
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "muttrc"), fmt.Sprintf(`set tunnel="%s serve --stdio imap -c %s --user %s"
set ssl_starttls=no ssl_force_tls=no
set quit=yes wait_key=no message_cachedir="" header_cache=""
push "<quit>"
`, binary(t), p.file, ann))
		c := patiently(t, "script", "-qec", fmt.Sprintf("%s -n -F %s/muttrc -f imap://localhost/INBOX", need.Program(t, "mutt"), dir), "/dev/null")
		c.Env = append(c.Environ(), "TERM=xterm", "HOME="+dir)
		out, err := c.CombinedOutput()
		if !strings.Contains(string(out), subject(ann, "east")) {
			t.Errorf("%v\n%q", err, out)
		}
	})
}

// A guess that comes by inetd, and one by the door, count in the running usher.
func TestGuessesAreCountedTogether(t *testing.T) {
	d := newStore(t, "east", dovecot.Options{})
	p := start(t, setup{config: store("east", d, "none") + "[limit]\nfailure_delay = \"20ms\"\n", accounts: []account{checked(ann, annSecret, "east")}})
	s := inetd(t, p, "nowait")
	s.guesses(t, 2)
	tn := p.tunnel(t, 0, "imap", "-c", p.file)
	tn.greeting()
	if answer := tn.login(ann, "another wrong secret"); isOK(answer) {
		t.Errorf("a wrong password is answered %s", answer)
	}
	tn.leaves()
	if list := p.command("penalty", "list", "--json"); strings.Count(list, `"guesses": 3`) != 2 { // of the network, and of the name
		t.Errorf("usher penalty list says %s", list)
	}
}

// systemd accepts, and starts usher for each client.
func TestSystemdStartsUsherForEachClient(t *testing.T) {
	program := need.Program(t, "systemd-socket-activate")
	withAndWithout(t, quick, func(t *testing.T, p *proxy) {
		for _, passing := range [][]string{nil, {"--inetd"}} {
			s := starter{p, map[string]string{}}
			for port, serve := range map[string][]string{"imap": {"imap"}, "imaps": {"imap", "--tls", "implicit"}, "pop3": {"pop3"}} {
				s.addrs[port] = freePort(t)
				args := append([]string{"--accept", "-l", s.addrs[port], "-E", "GORACE"}, passing...)
				args = append(append(args, binary(t), "serve", "-c", p.file, "--inetd"), serve...)
				c := exec.Command(program, args...)
				c.Env = p.env()
				runUntilEnd(t, c)
			}
			s.serves(t)
		}
	})
}
