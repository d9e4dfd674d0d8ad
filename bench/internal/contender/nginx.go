//go:build linux

package contender

import (
	"os"
	"os/exec"
	"strings"
)

// What nginx logs of a session it logs at level info.
const nginxConf = `
LOAD
daemon off;
USER
worker_processes auto;
worker_rlimit_nofile 20000;
pid DIR/nginx.pid;
error_log DIR/nginx.log LEVEL;
events {
	worker_connections 18000;
}
mail {
	auth_http AUTH/;
	imap_capabilities IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+;
	ssl_certificate CERT;
	ssl_certificate_key KEY;
	ssl_protocols TLSv1.2 TLSv1.3;
	server {
		protocol imap;
		listen IMAP;
	}
	server {
		protocol imap;
		listen SECURE ssl;
	}
	server {
		protocol pop3;
		listen POP3;
	}
}
`

const (
	nginxInstall = "nginx-light libnginx-mod-mail"
	nginxModule  = "/usr/lib/nginx/modules/ngx_mail_module.so" // Debian's; others build it in
)

// Nginx is the mail module. Whom it asks for each login runs beside it, and what
// that uses is not counted.
func Nginx(name, level string) Kind {
	return Kind{
		Name:    name,
		Version: func() (string, error) { return version("nginx", nginxInstall, 2, "-v") },
		Start:   func(s *Site) (*Contender, error) { return startNginx(level, s) },
	}
}

func startNginx(level string, s *Site) (*Contender, error) {
	path, err := find("nginx", nginxInstall)
	if err != nil {
		return nil, err
	}
	d, err := doors()
	if err != nil {
		return nil, err
	}
	module, user := "", ""
	if _, err := os.Stat(nginxModule); err == nil {
		module = "load_module " + nginxModule + ";"
	}
	if os.Geteuid() == 0 {
		user = "user root;"
	}
	conf, err := s.write("nginx.conf", strings.NewReplacer(
		"LOAD", module, "USER", user, "DIR", s.Dir, "AUTH", s.Auth, "CERT", s.Cert, "KEY", s.Key, "LEVEL", level,
		"IMAP;", d.IMAP.Addr+";", "SECURE", d.IMAPS.Addr, "POP3;", d.POP3.Addr+";",
	).Replace(nginxConf))
	if err != nil {
		return nil, err
	}
	c := &Contender{Doors: d}
	if err := c.run(s, exec.Command(path, "-p", s.Dir, "-c", conf, "-e", s.path("log"))); err != nil {
		return nil, err
	}
	return c, c.ready(s)
}
