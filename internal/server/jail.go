package server

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// In a jail, Postfix's chroot, nothing can be opened that was not open before: no file of
// accounts, no socket of a database. What is looked for by the network goes on.

// fitsJail tells whether the configuration can be served from within a folder.
func (h *house) fitsJail(dir string) error {
	var errs []error
	for i, s := range h.sources {
		if why := s.needs(); why != "" {
			errs = append(errs, fmt.Errorf("accounts[%d], %q, %s", i, s.name, why))
		}
	}
	if h.needsDNS() && exists("/etc/resolv.conf") && !exists(filepath.Join(dir, "etc/resolv.conf")) {
		errs = append(errs, fmt.Errorf("names of servers cannot be looked up: %s is missing", filepath.Join(dir, "etc/resolv.conf")))
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("this configuration does not work in the chroot %s: %w; write n in the chroot column of master.cf, or run usher serve beside Postfix, "+
		"to which clients are then brought from within it", dir, errors.Join(errs...))
}

// needs says what of a source is not to be had in a jail; "" if it comes by the network.
func (s source) needs() string {
	const local = "is asked by a socket of this machine"
	block := s.cfg.Block()
	switch s.cfg.Type {
	case "any":
		return ""
	case "authdaemon":
		return local
	case "ldap":
		if strings.Contains(block, "ldapi:") {
			return local
		}
		return ""
	case "http":
		if strings.Contains(block, "unix:") {
			return local
		}
		return ""
	case "sql":
		if strings.Contains(block, "unix(") || strings.Contains(block, "host=/") {
			return local
		}
		if strings.Contains(block, "postgres") || strings.Contains(block, "mysql") {
			return ""
		}
	}
	return "reads files as it is asked"
}

// needsDNS tells whether names of servers may have to be looked up.
func (h *house) needsDNS() bool {
	for _, b := range h.desk.Routes.Backends {
		for _, addrs := range b.Addrs {
			for _, addr := range addrs {
				host, _, err := net.SplitHostPort(addr)
				if err != nil {
					host = addr
				}
				if net.ParseIP(strings.Trim(host, "[]")) == nil {
					return true
				}
			}
		}
	}
	for _, s := range h.sources {
		if s.cfg.Type != "any" {
			return true // it may name hosts
		}
	}
	return false
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// lockUp goes into the jail, as somebody else. What is loaded when it is first needed is
// loaded before.
func (s *Server) lockUp(h *house, next identity, dir string) error {
	if h.certs != nil {
		h.certs.freeze()
	}
	if next.name != "" {
		if err := s.giveState(next.uid, next.gid); err != nil { // what was made just now
			return err
		}
	}
	_, _ = x509.SystemCertPool()
	_ = time.Now().Local().String() // the zone
	return enter(dir, next)
}

// enter goes into a folder for good.
func enter(dir string, next identity) error {
	if err := errors.Join(syscall.Chroot(dir), os.Chdir("/")); err != nil {
		return fmt.Errorf("chroot to %s: %w: the chroot column of master.cf needs Postfix's master to run as root", dir, err)
	}
	return next.become()
}
