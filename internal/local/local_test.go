package local_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"usher/internal/local"
	"usher/internal/route"
)

func ann() *route.Exec {
	return &route.Exec{
		Program: "imap", User: "ann@example.org", UID: 1000, GID: 1001, Home: "/home/ann",
		Attrs: map[string]string{"quota": "1000S", "sharedgroup": "staff", "team": "blue", "pw": "secret", "group": "a,b"},
		Client: route.Told{
			ID: "0123456789ABC", Remote: netip.MustParseAddrPort("[::ffff:192.0.2.7]:4711"),
			Local: netip.MustParseAddrPort("[fe80::1%eth0]:143"), TLS: true,
		},
	}
}

// ask is the environment and the arguments of a request, and what of them the policy
// does not permit.
func ask(t *testing.T, c local.Command, x *route.Exec) (env, args string) {
	t.Helper()
	r, err := c.Request(x)
	if err != nil {
		t.Fatal(err)
	}
	if r.Program != "imap" || r.UID != 1000 || r.GID != 1001 || r.Home != "/home/ann" || r.User != "ann" || r.ID != "0123456789ABC" {
		t.Errorf("the request is %+v", r)
	}
	p := c.Program()
	if len(r.Args) > p.More {
		t.Errorf("%d arguments, but the policy permits %d", len(r.Args), p.More)
	}
	for i, begins := range p.Begins {
		if !strings.HasPrefix(r.Args[i], begins) {
			t.Errorf("argument %q does not begin with %q, as the policy has it", r.Args[i], begins)
		}
	}
	for _, v := range r.Env {
		if name, _, _ := strings.Cut(v, "="); !slices.Contains(p.Vars, name) {
			t.Errorf("the policy does not permit %s", name)
		}
	}
	return strings.Join(r.Env, " "), strings.Join(r.Args, " ")
}

func TestEachDialectIsToldInItsOwnWords(t *testing.T) {
	const addrs = "TCPREMOTEIP=192.0.2.7 TCPREMOTEPORT=4711 TCPLOCALIP=fe80::1 TCPLOCALPORT=143"
	for _, c := range []struct {
		name      string
		command   local.Command
		mail      string
		env, args string
	}{
		{"Dovecot", local.Command{Protocol: "imap", Words: []string{"/usr/lib/dovecot/imap", "-c", "x.conf"}, Speaks: route.Dovecot}, "", "USER=ann@example.org HOME=/home/ann IP=192.0.2.7 LOCAL_IP=fe80::1", ""},
		{"Dovecot, a folder", local.Command{Words: []string{"/imap"}, Speaks: route.Dovecot}, "./Mail", "USER=ann@example.org HOME=/home/ann IP=192.0.2.7 LOCAL_IP=fe80::1 MAIL=maildir:~/Mail", ""},
		{"Dovecot, its own form", local.Command{Words: []string{"/imap"}, Speaks: route.Dovecot}, "mdbox:/var/m:INDEX=/i", "USER=ann@example.org HOME=/home/ann IP=192.0.2.7 LOCAL_IP=fe80::1 MAIL=mdbox:/var/m:INDEX=/i", ""},
		{"Dovecot 2.4", local.Command{Words: []string{"/imap", "-o", "mail_path={mail}"}, Speaks: route.Dovecot}, "/m", "USER=ann@example.org HOME=/home/ann IP=192.0.2.7 LOCAL_IP=fe80::1", "mail_path=/m"},
		{
			"Courier's imapd",
			local.Command{Protocol: "imap", Words: []string{"/imapd"}, Speaks: route.Courier},
			"",
			"AUTHENTICATED=ann@example.org USER=ann@example.org HOME=/home/ann " + addrs + " MAILDIRQUOTA=1000S OPTIONS=sharedgroup=staff IMAPLOGINTAG=L PROTOCOL=IMAP IMAP_TLS=1", "Maildir",
		},
		{
			"Courier's pop3d",
			local.Command{Protocol: "pop3", Words: []string{"/pop3d"}, Speaks: route.Courier, Maildir: "Mail"},
			"",
			"AUTHENTICATED=ann@example.org USER=ann@example.org HOME=/home/ann " + addrs + " MAILDIRQUOTA=1000S OPTIONS=sharedgroup=staff PROTOCOL=POP3 POP3_TLS=1 UTF8=0", "Mail",
		},
		{
			"Courier, Dovecot's form",
			local.Command{Protocol: "pop3", Words: []string{"/pop3d"}, Speaks: route.Courier},
			"maildir:~/M:INDEX=/i",
			"AUTHENTICATED=ann@example.org USER=ann@example.org HOME=/home/ann " + addrs + " MAILDIRQUOTA=1000S OPTIONS=sharedgroup=staff PROTOCOL=POP3 POP3_TLS=1 UTF8=0", "M",
		},
		{
			"others",
			local.Command{Protocol: "imap", Words: []string{"/x", "-q", "u={user},n={name},{domain}", "{{ {team}{none}"}, Speaks: route.Preauth},
			"",
			"USER=ann@example.org LOGNAME=ann@example.org HOME=/home/ann IP=192.0.2.7 LOCAL_IP=fe80::1 " + addrs + " PROTOCOL=IMAP SESSION_ID=0123456789ABC SESSION_TLS=1", "u=ann@example.org,n=ann,example.org { blue",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := ann()
			x.Mail = c.mail
			env, args := ask(t, c.command, x)
			if env != c.env || args != c.args {
				t.Errorf("env\n%s\nwant\n%s\nargs %q, want %q", env, c.env, args, c.args)
			}
		})
	}
}

// What never changes stands in the policy: no account can change it.
func TestWhatNeverChangesIsSealed(t *testing.T) {
	p := local.Command{Words: []string{"/usr/lib/dovecot/imap", "-o", "a={{", "b={{={home}", "c"}, Env: []string{"PATH=/bin", "X=1"}, Speaks: route.Dovecot}.Program()
	if p.Path != "/usr/lib/dovecot/imap" || !slices.Equal(p.Args, []string{"/usr/lib/dovecot/imap", "-o", "a={"}) || p.More != 2 || !slices.Equal(p.Begins, []string{"b={=", "c"}) {
		t.Errorf("the program is %+v", p)
	}
	if !slices.Contains(p.Env, "DOVECOT_PRESERVE_ENVS=PATH USER HOME IP LOCAL_IP MAIL PATH X") {
		t.Errorf("the environment is %q", p.Env)
	}
}

func TestANULIsRefused(t *testing.T) {
	x := ann()
	x.Mail = "a\x00b"
	if _, err := (local.Command{Words: []string{"/x"}}).Request(x); err == nil || !strings.Contains(err.Error(), "NUL") {
		t.Errorf("the error is %v", err)
	}
}

// Else one user's mailbox could be had by another's name.
func TestANameDoesNotLeadElsewhere(t *testing.T) {
	for name, ok := range map[string]bool{
		"../bob": false, "ann/../../bob@example.org": false, "..": false, "ann@..": false, "./ann": false, "x@example.org/..": false,
		"ann": true, "a..b@example.org": true, ".ann@example.org": true, "ann/admin": true,
	} {
		x := ann()
		x.User = name
		if _, err := (local.Command{Words: []string{"/x", "path=/mail/{user}"}}).Request(x); (err == nil) != ok {
			t.Errorf("%q: the error is %v", name, err)
		}
	}
}

// Who comes over no network still has an address: without one Courier's imapd ends.
func TestWhoHasNoAddressComesFromHere(t *testing.T) {
	x := ann()
	x.Client.Remote, x.Client.Local = netip.AddrPort{}, netip.AddrPort{}
	if env, _ := ask(t, local.Command{Words: []string{"/imapd"}, Speaks: route.Courier}, x); !strings.Contains(env, "TCPREMOTEIP=127.0.0.1 TCPREMOTEPORT=0 ") {
		t.Errorf("it is told %q", env)
	}
}

func TestProgramsAreKnownByTheirPlaces(t *testing.T) {
	for path, want := range map[string]route.Dialect{
		"/usr/lib/dovecot/imap": route.Dovecot, "/usr/libexec/dovecot/pop3": route.Dovecot, "/usr/bin/imapd": route.Courier,
		"/usr/lib/courier/courier/courierpop3d": route.Courier, "/usr/local/sbin/uw-imapd": route.Preauth, "/opt/mail/imap": route.Preauth,
	} {
		if got := local.Speaks(path); got != want {
			t.Errorf("%s speaks %s, want %s", path, got, want)
		}
	}
}

func TestOptionsStandFirst(t *testing.T) {
	for word, ok := range map[string]bool{"-o": false, "{user}": false, "x={user}": true, "plain": true} {
		if err := (local.Command{Words: []string{"/x", "-a", "h={home}", word}}).Check(); (err == nil) != ok {
			t.Errorf("%q behind a variable: %v", word, err)
		}
	}
	if err := (local.Command{Words: []string{"/x", "-a", "-b"}}).Check(); err != nil {
		t.Error(err)
	}
}
