//go:build linux

package contender

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"usher/bench/internal/load"
)

// This is the high-performance mode of Dovecot's manual: as many login processes
// as processors, each for many sessions.
const dovecotConf = `
base_dir = DIR/run
state_dir = DIR/run
log_path = DIR/dovecot.log
protocols = imap pop3
listen = 127.0.0.1
default_internal_user = USER
default_internal_group = GROUP
default_login_user = USER
first_valid_uid = 1
ssl = yes
ssl_cert = <CERT
ssl_key = <KEY
disable_plaintext_auth = no
default_client_limit = 20000
default_vsz_limit = 4G

passdb {
  driver = passwd-file
  args = username_format=%u DIR/users
  override_fields = proxy=y host=HOST port=%{if;%s;eq;imap;IMAP;POP3}
}

service anvil {
  chroot =
}
service stats {
  chroot =
}
service imap-login {
  chroot =
  service_count = 0
  process_min_avail = CORES
  process_limit = CORES
  client_limit = 9000
  inet_listener imap {
    port = LISTEN
  }
  inet_listener imaps {
    port = SECURE
    ssl = yes
  }
}
service pop3-login {
  chroot =
  service_count = 0
  process_min_avail = CORES
  process_limit = CORES
  client_limit = 9000
  inet_listener pop3 {
    port = THIRD
  }
  inet_listener pop3s {
    port = 0
  }
}
`

const dovecotInstall = "dovecot-imapd dovecot-pop3d"

// Dovecot is its proxy, with the accounts in a file that it holds in memory.
func Dovecot() Kind {
	return Kind{
		Name:    "Dovecot",
		Version: func() (string, error) { return version("dovecot", dovecotInstall, 0, "--version") },
		Start:   startDovecot,
	}
}

func startDovecot(s *Site) (*Contender, error) {
	path, err := find("dovecot", dovecotInstall)
	if err != nil {
		return nil, err
	}
	d, err := doors()
	if err != nil {
		return nil, err
	}
	conf, cred, err := prepareDovecot(s, d)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, "-F", "-c", conf)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	c := &Contender{Doors: d}
	if err := c.run(s, cmd); err != nil {
		return nil, err
	}
	return c, c.ready(s)
}

// prepareDovecot writes its files and says whom it runs as: all of it as one
// user, who must not be root.
func prepareDovecot(s *Site, d Doors) (conf string, cred *syscall.Credential, err error) {
	who, err := user.Current()
	if os.Geteuid() == 0 {
		who, err = user.Lookup("nobody")
	}
	if err != nil {
		return "", nil, err
	}
	group, err := user.LookupGroupId(who.Gid)
	if err != nil {
		return "", nil, err
	}
	host, _, _ := strings.Cut(s.IMAP, ":")
	conf, err = s.write("dovecot.conf", strings.NewReplacer(
		"DIR", s.Dir, "USER", who.Username, "GROUP", group.Name, "CERT", s.Cert, "KEY", s.Key, "HOST", host,
		";IMAP;", ";"+port(s.IMAP)+";", "POP3}", port(s.POP3)+"}", "CORES", strconv.Itoa(runtime.NumCPU()),
		"LISTEN", port(d.IMAP.Addr), "SECURE", port(d.IMAPS.Addr), "THIRD", port(d.POP3.Addr),
	).Replace(dovecotConf))
	if err != nil {
		return "", nil, err
	}
	var users strings.Builder
	for i := range load.Accounts {
		fmt.Fprintf(&users, "%s:::::::nopassword=y\n", load.User(i))
	}
	if _, err := s.write("users", users.String()); err != nil || os.Geteuid() != 0 {
		return conf, nil, err
	}
	uid, _ := strconv.Atoi(who.Uid)
	gid, _ := strconv.Atoi(who.Gid)
	cred = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return conf, cred, give(s, uid, gid)
}

// give makes the folder its own.
func give(s *Site, uid, gid int) error {
	files, err := filepath.Glob(s.path("*"))
	for _, f := range append(files, s.Dir) {
		if err == nil {
			err = os.Chown(f, uid, gid)
		}
	}
	return err
}
