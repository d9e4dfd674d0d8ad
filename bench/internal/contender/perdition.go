//go:build linux

package contender

import (
	"os/exec"
	"os/user"
	"strings"

	"usher/bench/internal/load"
)

// Perdition is one process for each session, and one master for each way of
// coming in. It asks no source of accounts: every login goes to the one store.
func Perdition() Kind {
	return Kind{
		Name:    "perdition",
		Most:    500, // processes
		Version: func() (string, error) { return version("perdition", "perdition", 2, "--help") },
		Start:   startPerdition,
	}
}

func startPerdition(s *Site) (*Contender, error) {
	path, err := find("perdition", "perdition")
	if err != nil {
		return nil, err
	}
	d, err := doors()
	if err != nil {
		return nil, err
	}
	c := &Contender{Doors: d}
	for _, m := range []struct {
		door            load.Door
		protocol, store string
		more            []string
	}{
		{d.IMAP, "IMAP4", s.IMAP, nil},
		{d.IMAPS, "IMAP4S", s.IMAP, []string{"--ssl_mode", "ssl_listen", "--ssl_cert_file", s.Cert, "--ssl_key_file", s.Key}},
		{d.POP3, "POP3", s.POP3, nil},
	} {
		if err := c.run(s, exec.Command(path, append(perditionArgs(s, m.door, m.protocol, m.store), m.more...)...)); err != nil {
			c.Stop()
			return nil, err
		}
	}
	return c, c.ready(s)
}

func perditionArgs(s *Site, d load.Door, protocol, store string) []string {
	host, _, _ := strings.Cut(d.Addr, ":")
	to, _, _ := strings.Cut(store, ":")
	who, group := "root", "root"
	if u, err := user.Current(); err == nil {
		who = u.Username
		if g, err := user.LookupGroupId(u.Gid); err == nil {
			group = g.Name
		}
	}
	return []string{
		"--no_daemon", "--config_file", "/dev/null", "--protocol", protocol,
		"--bind_address", host, "--listen_port", port(d.Addr),
		"--outgoing_server", to, "--outgoing_port", port(store),
		"--map_library", "", "--no_lookup", "--pid_file", "", "--username", who, "--group", group,
		"--log_facility", s.path("perdition.log"), "--connect_relog", "0",
	}
}
