package interop

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"usher/internal/need"
)

// Clients of others are no part of this project: what they speak is what counts.
func TestStockClientsProveThemselves(t *testing.T) {
	t.Parallel()
	_, _, config := twoStores(t)
	cert, key, ca, _ := clientCertificate(t, ann)
	p := start(t, setup{
		tls: fmt.Sprintf("client_ca = %q\nexternal_name = \"cn\"", ca), config: quick + named + config,
		accounts: []account{checked(ann, annSecret, "east")},
	})
	t.Run("gsasl", func(t *testing.T) {
		t.Parallel()
		for _, c := range p.gsasls(cert, key) {
			t.Run(strings.Join(c, " "), func(t *testing.T) { p.gsasl(t, annSecret, true, c...) })
		}
		p.gsasl(t, "wrong secret", false, "-m", "SCRAM-SHA-256")
		p.gsasl(t, "wrong secret", false, "-m", "CRAM-MD5")
	})
	t.Run("Cyrus", func(t *testing.T) {
		t.Parallel()
		for _, protocol := range protocols {
			for _, m := range []string{"PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"} {
				for _, security := range [][]string{{protocol}, {protocol, "-t", ""}, {protocol + "s", "-s"}} {
					t.Run(fmt.Sprint(security, m), func(t *testing.T) {
						p.cyrus(t, security, m, annSecret, true)
						p.cyrus(t, security, m, "wrong secret", false)
					})
				}
			}
		}
	})
	t.Run("curl", func(t *testing.T) {
		t.Parallel()
		for _, c := range p.provingCurls(cert, key) {
			t.Run(strings.Join(c, " "), func(t *testing.T) {
				args := append(c, "-sS", "--cacert", p.ca)
				if text := output(t, patiently(t, "curl", args...)); !strings.Contains(text, "Subject: "+subject(ann, "east")) {
					t.Errorf("got\n%s", text)
				}
			})
		}
	})
	t.Run("Python", func(t *testing.T) {
		t.Parallel()
		output(t, patiently(t, "python3", "testdata/proving.py", p.ca, p.port("imaps"), p.port("pop3s"), ann, annSecret, subject(ann, "east")))
	})
	t.Run("mutt", func(t *testing.T) {
		t.Parallel()
		for _, mechanism := range []string{"cram-md5", "scram-sha-1", "scram-sha-256"} {
			for _, protocol := range protocols {
				t.Run(protocol+" "+mechanism, func(t *testing.T) { p.mutt(t, protocol, mechanism) })
			}
		}
	})
}

// patiently runs a program that may wait for ever if it does not get on.
func patiently(t *testing.T, program string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	c := exec.CommandContext(ctx, need.Program(t, program), args...)
	c.WaitDelay = time.Second
	return c
}

// gsasls are options of gsasl, which speaks IMAP only.
func (p *proxy) gsasls(cert, key string) (all [][]string) {
	for _, m := range []string{"PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"} {
		all = append(all, []string{"-m", m}, []string{"-m", m, "--starttls", "--no-cb"})
	}
	for _, m := range []string{"SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"} {
		all = append(all,
			[]string{"-m", m, "--starttls"},
			[]string{"-m", m, "--starttls", "--priority=NORMAL:-VERS-ALL:+VERS-TLS1.2"})
	}
	return append(all, []string{"-m", "EXTERNAL", "--starttls", "--x509-cert-file=" + cert, "--x509-key-file=" + key})
}

func (p *proxy) gsasl(t *testing.T, password string, letIn bool, args ...string) {
	t.Helper()
	if !slices.Contains(args, "--starttls") {
		args = append(args, "--no-starttls")
	}
	args = append(args, "--imap", "--connect=localhost:"+p.port("imap"), "--x509-ca-file="+p.ca, "-a", ann, "-p", password, "-z", "", "--verbose")
	c := patiently(t, "gsasl", args...)
	c.Stdin = strings.NewReader(". LOGOUT\n")
	out, err := c.CombinedOutput()
	if in := strings.Contains(string(out), "Client authentication finished (server trusted)"); in != letIn {
		t.Errorf("%s: let in %v, %v\n%s", c, in, err, out)
	}
}

// cyrus is imtest or pop3test.
func (p *proxy) cyrus(t *testing.T, security []string, mechanism, password string, letIn bool) {
	t.Helper()
	port, protocol := p.port(security[0]), strings.TrimSuffix(security[0], "s")
	args := append(security[1:], "-m", mechanism, "-a", ann, "-u", ann, "-w", password, "-p", port, "localhost")
	c := need.Cyrus(t, map[string]string{"imap": "imtest", "pop3": "pop3test"}[protocol], args...)
	c.Stdin = strings.NewReader(map[string]string{"imap": ". LOGOUT\r\n", "pop3": "QUIT\r\n"}[protocol])
	out, err := c.CombinedOutput()
	if in := strings.Contains(string(out), "\nAuthenticated.\n"); in != letIn {
		t.Errorf("%s: let in %v, %v\n%s", c, in, err, out)
	}
}

// provingCurls fetch the message.
func (p *proxy) provingCurls(cert, key string) [][]string {
	who := ann + ":" + annSecret
	imaps, pop3s := "imaps://localhost:"+p.port("imaps")+"/INBOX;MAILINDEX=1", "pop3s://localhost:"+p.port("pop3s")+"/1"
	imap, pop3 := "imap://localhost:"+p.port("imap")+"/INBOX;MAILINDEX=1", "pop3://localhost:"+p.port("pop3")+"/1"
	return [][]string{
		{imaps, "-u", who, "--login-options", "AUTH=CRAM-MD5"},
		{imap, "-u", who, "--login-options", "AUTH=CRAM-MD5"},
		{imaps, "-u", ann + ":", "--login-options", "AUTH=EXTERNAL", "-E", cert, "--key", key},
		{imap, "--ssl-reqd", "--sasl-ir", "-u", ann + ":", "--login-options", "AUTH=EXTERNAL", "-E", cert, "--key", key},
		{pop3s, "-u", who, "--login-options", "AUTH=CRAM-MD5"},
		{pop3, "-u", who, "--login-options", "AUTH=+APOP"},
		{pop3s, "-u", who, "--login-options", "AUTH=+APOP"},
		{pop3s, "-u", ann + ":", "--login-options", "AUTH=EXTERNAL", "-E", cert, "--key", key},
	}
}

// mutt reads the mailbox, as somebody who looks at its index once.
func (p *proxy) mutt(t *testing.T, protocol, mechanism string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "Mail"), 0o700); err != nil { // else it asks
		t.Fatal(err)
	}
	url := map[string]string{"imap": "imap://localhost:" + p.port("imap") + "/INBOX", "pop3": "pop://localhost:" + p.port("pop3")}[protocol]
	write(t, filepath.Join(dir, "muttrc"), fmt.Sprintf(`set imap_user=%q pop_user=%q
set imap_pass=%q pop_pass=%q
set imap_authenticators=%q pop_authenticators=%q
set ssl_starttls=no ssl_force_tls=no
set quit=yes pop_checkinterval=0 pop_delete=no wait_key=no message_cachedir="" header_cache=""
push "<quit>"
`, ann, ann, annSecret, annSecret, mechanism, mechanism))
	c := patiently(t, "script", "-qec", fmt.Sprintf("%s -n -F %s/muttrc -f %s", need.Program(t, "mutt"), dir, url), "/dev/null")
	c.Env = append(c.Environ(), "TERM=xterm", "HOME="+dir)
	out, err := c.CombinedOutput()
	if !strings.Contains(string(out), subject(ann, "east")) {
		t.Errorf("%v\n%q", err, out)
	}
}
