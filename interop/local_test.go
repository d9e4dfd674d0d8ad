package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Whose mailbox is on this machine is served by the real program, as its own user, under
// TLS and without, and never hears of a second login.
func TestDovecotServesMailboxesOfThisMachine(t *testing.T) {
	m := newMachine(t)
	p := m.start(m.dovecot(), m.account(1))
	m.home(1)
	everyWay(t, m, p, 1)
	c := p.client(t, "imap", "none")
	c.enter(m.user(1), annSecret)
	list := m.processes(1)
	if len(list) != 1 {
		t.Fatalf("user 1 has %d processes, want 1", len(list))
	}
	m.isUser(list[0], 1)
	if out := p.command("who"); !strings.Contains(out, "local") {
		t.Errorf("usher who says %q", out)
	}
	p.command("kick", m.user(1))
	c.until("* BYE")
	m.gone(p, 1)
	p.says(`why=kicked user=` + m.user(1) + ` target=local/imap`)
}

func TestCourierServesMailboxesOfThisMachine(t *testing.T) {
	m := newMachine(t)
	p := m.start(m.courier(), m.account(1))
	m.home(1)
	everyWay(t, m, p, 1)
	c := p.client(t, "pop3", "none")
	c.enter(m.user(1), annSecret)
	for _, one := range m.processes(1) {
		m.isUser(one, 1)
	}
	_ = c.Close()
	m.gone(p, 1)
	p.says(`local program says`, `LOGIN, user=`+m.user(1)+`, ip=[127.0.0.1]`)
}

// everyWay logs in by each protocol with each protection, and sends more in the same
// breath.
func everyWay(t *testing.T, m *machine, p *proxy, n int) {
	t.Run("ways", func(t *testing.T) {
		for _, security := range securities {
			t.Run(security, func(t *testing.T) {
				t.Parallel()
				byIMAP(p.client(t, "imap", security), m.user(n))
				byPOP3(p.client(t, "pop3", security), m.user(n))
			})
		}
	})
}

func byIMAP(c *client, user string) {
	c.send("a LOGIN %s \"%s\"\r\nb NOOP", user, annSecret)
	answer := c.answer()
	list, _, _ := strings.Cut(strings.TrimPrefix(answer, "a OK [CAPABILITY "), "]")
	if !strings.HasPrefix(list, "IMAP4rev1 ") || strings.Contains(list, "STARTTLS") || strings.Contains(list, "AUTH=") {
		c.t.Errorf("the login is answered %q", answer)
	}
	c.until("b OK")
	c.finds(user, "here")
	const text = "Subject: mine\r\n\r\nhello\r\n"
	c.send("c APPEND INBOX {%d}", len(text))
	c.until("+")
	c.send("%s", text)
	c.until("c OK")
	c.ask("a LOGOUT")
}

func byPOP3(c *client, user string) {
	c.send("USER %s\r\nPASS %s\r\nLIST 1", user, annSecret)
	c.expect("+OK")
	c.expect("+OK")
	c.expect("+OK 1 ")
	c.finds(user, "here")
	c.ask("QUIT")
}

// says holds the log to pieces of text.
func (p *proxy) says(pieces ...string) {
	p.t.Helper()
	for _, piece := range pieces {
		p.eventually(fmt.Sprintf("the log says %q", piece), func() bool { return strings.Contains(p.logText(), piece) })
	}
}

// A client that waits for mail hears of it, also when usher was replaced meanwhile.
func TestALocalSessionOutlivesAnUpgrade(t *testing.T) {
	m := newMachine(t)
	p := m.start(m.dovecot(), m.account(1))
	defer p.stopAll()
	home := m.home(1)
	c := p.client(t, "imap", "none")
	c.enter(m.user(1), annSecret)
	c.ask("a SELECT INBOX")
	p.command("upgrade")
	c.send("a IDLE")
	c.until("+ ")
	m.deliver(home, 1, "another")
	c.until("* 2 EXISTS")
	c.send("DONE")
	c.until("a OK")
	p.eventually("the session has moved", func() bool { return p.moved(m.user(1)) })
	p.visit(t, "pop3", m.user(1), annSecret, "here") // by the helper that came along
	p.command("reload")
	p.visit(t, "imap", m.user(1), annSecret, "here")
	p.command("kick", m.user(1))
	c.until("* BYE")
	m.gone(p, 1)
}

// What a program does instead of serving is told to the client by the table, to the log
// in one line, and no process is left.
func TestProgramsThatDoNotServe(t *testing.T) {
	m := newMachine(t)
	programs := []struct{ name, script, imap, log string }{
		{"dies", "exit 7", "a NO [UNAVAILABLE]", "the program ended before it let the client in"},
		{"speaks", "echo cannot open it >&2; exit 1", "a NO [UNAVAILABLE]", "line=\"cannot open it\""},
		{"bye", "printf '* BYE Out of order.\\r\\n'; sleep 600", "a NO [UNAVAILABLE]", "Out of order"},
		{"limit", "printf '* BYE [LIMIT] Come back later.\\r\\n'", "a NO [LIMIT] Come back later.", "Come back later"},
		{"garbage", "echo Segmentation fault; sleep 600", "a NO [UNAVAILABLE]", "Segmentation fault"},
		{"flood", "exec yes '* OK [ALERT] x'", "a NO [UNAVAILABLE]", "more than 50 lines"},
		{"endless", "exec yes | tr -d '\\n'", "a NO [UNAVAILABLE]", "line or literal too long"},
		{"hangs", "trap '' TERM HUP; sleep 600 & while :; do sleep 1; done", "a NO [UNAVAILABLE]", "waiting for the greeting"},
		{"asks", "printf '* OK [CAPABILITY IMAP4rev1] log in\\r\\n'; sleep 600", "a NO [SERVERBUG]", "does not know that somebody has logged in"},
	}
	config, accounts := "timeout = \"1s\"\n", []account{}
	for n, one := range programs {
		config += fmt.Sprintf("[local.program.%s]\nimap = [%q]\n", one.name, m.program(one.name, one.script+"\n"))
		accounts = append(accounts, m.account(n, "program", one.name))
		m.home(n)
	}
	config = strings.Replace(config, "timeout = \"1s\"\n", "", 1)
	p := m.start(config, accounts...)
	var wg sync.WaitGroup
	for n, one := range programs {
		c := p.client(t, "imap", "none")
		wg.Go(func() {
			if answer := c.login(m.user(n), annSecret); !strings.HasPrefix(answer, one.imap) {
				t.Errorf("%s: the client hears %q", one.name, answer)
			}
		})
	}
	wg.Wait()
	for n, one := range programs {
		m.gone(p, n)
		p.says(one.log)
		if got := strings.Count(p.logText(), "target=local/"+one.name+"/imap"); got != 1 {
			t.Errorf("%s: %d lines of refusals, want 1", one.name, got)
		}
	}
}

// Whoever has no business here is refused before anything runs.
func TestOwnersWhoAreNotServed(t *testing.T) {
	m := newMachine(t)
	for _, n := range []int{1, 2, 3, 4} {
		m.home(n)
	}
	m.give(filepath.Join(m.homes, "user3"), m.base+4)
	if err := os.Rename(filepath.Join(m.homes, "user4"), filepath.Join(m.homes, "moved")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("moved", filepath.Join(m.homes, "user4")); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		account account
		want    string
		log     string
	}{
		{m.account(1, "uid", "0"), "a NO [SERVERBUG]", "nothing is started as root"},
		{m.account(2, "uid", "33"), "a NO [SERVERBUG]", "below the least that is served"},
		{m.account(3), "a NO [SERVERBUG]", "user3"},
		{m.account(4), "a NO [SERVERBUG]", "is a link"},
		{m.account(5), "a NO [SERVERBUG]", "user5"},
		{m.account(6, "home", "/etc"), "a NO [SERVERBUG]", "is not beneath"},
		{m.account(7, "home", ""), "a NO [UNAVAILABLE]", "no absolute path"},
		{m.account(8, "uid", "ann"), "a NO [UNAVAILABLE]", "no number of a user"},
		{m.account(9, "nopassword", "Y", "password", ""), "a NO [SERVERBUG]", "nobody checks the password"},
		{m.account(10, "program", "none"), "a NO [UNAVAILABLE]", "[local] has no program"},
	}
	var accounts []account
	for _, c := range cases {
		accounts = append(accounts, c.account)
	}
	p := m.start(m.dovecot(), accounts...)
	for _, one := range cases {
		before := len(p.logText())
		if answer := p.client(t, "imap", "none").login(one.account["user"], annSecret); !strings.HasPrefix(answer, one.want) {
			t.Errorf("%v: the client hears %q, want %q", one.account, answer, one.want)
		}
		if said := p.logText()[before:]; !strings.Contains(said, one.log) {
			t.Errorf("%v: the log says %q, want %q", one.account, said, one.log)
		}
	}
	p.eventually("no program runs", func() bool { return len(m.processes(3)) == 0 && len(m.processes(4)) == 0 })
}

// A home that is missing is made at the first login, once, whoever is first.
func TestHomesAreMadeAtTheFirstLogin(t *testing.T) {
	m := newMachine(t)
	p := m.start("create_home = true\nmaildir = \"Maildir\"\n"+m.dovecot(), m.account(1))
	clients := []*client{p.client(t, "imap", "none"), p.client(t, "imap", "implicit"), p.client(t, "pop3", "none")}
	var wg sync.WaitGroup
	for _, c := range clients {
		wg.Go(func() {
			if answer := c.login(m.user(1), annSecret); !isOK(answer) {
				t.Errorf("the client hears %q", answer)
			}
		})
	}
	wg.Wait()
	info, err := os.Stat(filepath.Join(m.homes, "user1", "Maildir", "cur"))
	if err != nil || !info.IsDir() {
		t.Errorf("there is no maildir: %v", err)
	}
	for _, c := range clients {
		_ = c.Close()
	}
	m.gone(p, 1)
}

// One file has several programs: by what an account says, and by routes.
func TestSeveralProgramsServeSideBySide(t *testing.T) {
	m := newMachine(t)
	config := m.dovecot() + "\n[local.program.courier]\n" + m.courier() + "\n[[route]]\nto = \"local\"\nprogram = \"courier\"\nwhen = { user = \"user3@*\" }\n"
	p := m.start(config, m.account(1), m.account(2, "program", "courier"), m.account(3, "host", "elsewhere.example.org"), m.account(4, "host", "mx1.example.org"), m.account(5, "host", "192.0.2.1"), m.account(6, "host", "nowhere.invalid", "proxy", "N"))
	for n, program := range map[int]string{1: "local/", 2: "local/courier/", 3: "local/courier/", 4: "local/", 5: "local/", 6: "local/"} {
		m.home(n)
		for _, protocol := range protocols {
			p.visit(t, protocol, m.user(n), annSecret, "here")
			p.says("user=" + m.user(n) + " target=" + program + protocol)
		}
	}
	if out := p.command("explain", m.user(3)); !strings.Contains(out, "to local, program courier") || !strings.Contains(out, fmt.Sprintf("uid %d, gid %d", m.base+3, m.base+3)) {
		t.Errorf("usher explain says %s", out)
	}
	if out := p.command("explain", m.user(4)); !strings.Contains(out, "which is this machine") {
		t.Errorf("usher explain says %s", out)
	}
}

// Programs need no password: whatever proves who somebody is opens his mailbox.
func TestEveryMechanismOpensLocalMailboxes(t *testing.T) {
	m := newMachine(t)
	hashes := stored(t, annSecret)
	m.home(1)
	m.home(2)
	_, _, ca, certificate := clientCertificate(t, m.user(1))
	s := setup{
		user: "nobody", tls: fmt.Sprintf("client_ca = %q\nexternal_name = \"cn\"", ca),
		config:   quick + named + fmt.Sprintf("[local]\nhomes = [%q]\n", m.homes) + m.dovecot(),
		accounts: []account{m.account(1), m.account(2, "password", hashes["SCRAM-SHA-256"])},
	}
	open(t, ca)
	p := start(t, s)
	for _, protocol := range protocols {
		for _, w := range mechanismWays {
			if w.name == "APOP" && protocol == "imap" {
				continue
			}
			for n, scheme := range map[int]string{1: "PLAIN", 2: "SCRAM-SHA-256"} {
				if !w.can(scheme) || w.name == "EXTERNAL" && n == 2 {
					continue
				}
				cert := certificate
				if w.name != "EXTERNAL" {
					cert = nil
				}
				c := p.secureClient(t, protocol, cert)
				if answer := c.prove(w, m.user(n), annSecret); !isOK(answer) {
					t.Errorf("%s %s: %q", protocol, w.name, answer)
				}
				_ = c.Close()
			}
		}
	}
}

// Nothing is left of sessions that have come and gone: no process, no zombie, no file.
func TestNothingIsLeftOfLocalSessions(t *testing.T) {
	m := newMachine(t)
	m.home(1)
	stubborn := m.program("stubborn", "trap '' TERM HUP PIPE\nprintf '* PREAUTH [CAPABILITY IMAP4rev1] in\\r\\n'\nwhile :; do sleep 1; done\n")
	m.home(2)
	p := m.start(m.dovecot()+fmt.Sprintf("[local.program.stubborn]\nimap = [%q]\n", stubborn), m.account(1), m.account(2, "program", "stubborn"))
	visits := func() {
		for _, protocol := range protocols {
			for _, security := range securities {
				c := p.client(t, protocol, security)
				c.enter(m.user(1), annSecret)
				_ = c.Close()
			}
		}
	}
	visits()
	m.gone(p, 1)
	before := p.descriptors()
	for range 3 {
		visits()
	}
	c := p.client(t, "imap", "none")
	c.enter(m.user(2), annSecret)
	p.command("kick", m.user(2))
	_ = c.Close()
	m.gone(p, 1)
	m.gone(p, 2) // also one that hears neither its end nor SIGTERM
	p.eventually("all files are closed", func() bool { return p.descriptors() <= before })
}

// No package of Dovecot 2.4 is at hand. This script takes its place: as 2.4.2 does it greets
// with PREAUTH, whatever the environment says, and is told of the mailbox by an option.
func TestDovecot24IsToldByAnOption(t *testing.T) {
	m := newMachine(t)
	m.home(1)
	imap := m.program("dovecot/imap", `printf '* PREAUTH [CAPABILITY IMAP4rev1 SASL-IR IDLE] Logged in as %s (%s)\r\n' "$USER" "$*"; read line; printf 'b OK %s\r\n' "$MAIL"`)
	p := m.start(fmt.Sprintf("imap = [%q, \"-o\", \"mail_path={home}/{mail}\"]\n", imap), m.account(1, "mail", "Mail dir"))
	c := p.client(t, "imap", "starttls")
	c.send("a LOGIN %s \"%s\"\r\nb NOOP", m.user(1), annSecret)
	c.expect("a OK [CAPABILITY IMAP4rev1 IDLE] Logged in as " + m.user(1) + " (-o mail_path=" + filepath.Join(m.homes, "user1") + "/Mail dir)")
	if got := c.line(); got != "b OK " {
		t.Errorf("beside the option it is told MAIL: %q", got)
	}
}

// A user of the system has all its groups, and the mailbox of such a user is nothing
// special.
func TestAUserOfTheSystemHasItsGroups(t *testing.T) {
	m := newMachine(t)
	name := fmt.Sprintf("ush%d", os.Getpid())
	uid := m.base + 1
	output(t, exec.Command("groupadd", "--gid", fmt.Sprint(uid), name))
	t.Cleanup(func() { _ = exec.Command("groupdel", name).Run() })
	output(t, exec.Command("groupadd", "--gid", fmt.Sprint(uid+10), name+"s"))
	t.Cleanup(func() { _ = exec.Command("groupdel", name+"s").Run() })
	output(t, exec.Command("useradd", "--uid", fmt.Sprint(uid), "--gid", name, "--groups", name+"s", "--no-create-home", name))
	t.Cleanup(func() { _ = exec.Command("userdel", name).Run() })
	home := m.home(1)
	p := m.start(m.dovecot(), m.account(1, "user", name+"@example.org"), m.account(2, "home", home, "user", "other"))
	c := p.client(t, "imap", "none")
	c.enter(name+"@example.org", annSecret)
	list := m.processes(1)
	if len(list) != 1 || list[0].status["Groups"] != fmt.Sprintf("%d %d", uid, uid+10) {
		t.Errorf("the program is %+v", list)
	}
	_ = c.Close()
	m.gone(p, 1)
	if answer := p.client(t, "imap", "none").login("other", annSecret); !strings.HasPrefix(answer, "a NO [SERVERBUG]") {
		t.Errorf("in somebody else's home: %s", answer)
	}
}

// More programs than may run are refused as too many sessions are, and a place that is
// given back is somebody else's.
func TestProgramsHaveALimit(t *testing.T) {
	m := newMachine(t)
	m.home(1)
	p := m.start(m.dovecot()+"limit = { per_user = 1 }\n", m.account(1))
	first, second := p.client(t, "imap", "none"), p.client(t, "imap", "none")
	first.enter(m.user(1), annSecret)
	if answer := second.login(m.user(1), annSecret); !strings.HasPrefix(answer, "a NO [LIMIT]") {
		t.Errorf("the second hears %q", answer)
	}
	_ = first.Close()
	m.gone(p, 1)
	p.eventually("the place is free", func() bool { return isOK(second.login(m.user(1), annSecret)) })
}

// Where usher only leads logins to servers, nothing keeps root's rights.
func TestWithoutLocalProgramsThereIsNoHelper(t *testing.T) {
	for config, want := range map[string]int{"": 0, "[local]\nimap = [\"/bin/cat\"]\n": 1} {
		p := start(t, setup{config: quick + config})
		files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.process.Process.Pid))
		if err != nil || len(files) == 0 {
			t.Fatalf("no threads of usher: %v", err)
		}
		children := 0
		for _, f := range files {
			text, _ := os.ReadFile(f) // a thread may have ended
			children += len(strings.Fields(string(text)))
		}
		if children != want {
			t.Errorf("with %q usher has %d children, want %d", config, children, want)
		}
	}
}
