package sql

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// A pair is a part of a dsn such as "host=db1 dbname=mail", the form of libpq, which
// Dovecot has for MySQL too. Its maxconns is our key pool.
type pair struct{ key, value string }

// hasPairs tells whether a dsn is of that form.
func hasPairs(dsn string) bool {
	key, _, is := strings.Cut(dsn, "=")
	return is && strings.Trim(strings.TrimSpace(strings.ToLower(key)), "abcdefghijklmnopqrstuvwxyz_") == ""
}

var errPairs = errors.New(`it is not of the form "host=… dbname=… user=… password=…"; a value with blanks stands in '…', in which ' and \ have a \ before them`)

// parsePairs takes a dsn apart. Errors do not quote it: there is a password in it.
func parsePairs(dsn string) (list []pair, err error) {
	for rest := strings.TrimSpace(dsn); rest != ""; rest = strings.TrimLeft(rest, " \t\r\n") {
		key, after, is := strings.Cut(rest, "=")
		p := pair{key: strings.ToLower(strings.TrimSpace(key))}
		if !is || p.key == "" || strings.ContainsAny(p.key, " \t\r\n'") {
			return nil, errPairs
		}
		if p.value, rest, err = pairValue(strings.TrimLeft(after, " \t\r\n")); err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// pairValue reads a value, in quotes or not.
func pairValue(s string) (value, rest string, err error) {
	quoted := strings.HasPrefix(s, "'")
	s = strings.TrimPrefix(s, "'")
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case quoted && c == '\'':
			return b.String(), s[i+1:], nil
		case !quoted && strings.IndexByte(" \t\r\n", c) >= 0:
			return b.String(), s[i:], nil
		default:
			b.WriteByte(c)
		}
	}
	if quoted {
		return "", "", errPairs
	}
	return b.String(), "", nil
}

// joinPairs is the opposite of parsePairs.
func joinPairs(list []pair) string {
	var b strings.Builder
	for _, p := range list {
		fmt.Fprintf(&b, "%s='%s' ", p.key, strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(p.value))
	}
	return b.String()
}

// A host is where a server listens. A path is that of a socket.
type host struct{ name, port string }

// parseHost reads "db1", "db1:5433", "2001:db8::1", "[2001:db8::1]:5433" and "/run/postgresql".
func parseHost(s string) (host, error) {
	if s == "" {
		return host{}, errors.New("an empty host")
	}
	if strings.HasPrefix(s, "/") || strings.Count(s, ":") > 1 && s[0] != '[' {
		return host{name: s}, nil
	}
	if s[0] == '[' && strings.HasSuffix(s, "]") {
		return host{name: s[1 : len(s)-1]}, nil
	}
	if !strings.Contains(s, ":") {
		return host{name: s}, nil
	}
	name, port, err := net.SplitHostPort(s)
	if err != nil || name == "" || port == "" {
		return host{}, fmt.Errorf("%.80q is neither a host nor host:port", s)
	}
	return host{name, port}, nil
}

// addr is how logs call it.
func (h host) addr() string {
	if strings.HasPrefix(h.name, "/") {
		return h.name
	}
	return net.JoinHostPort(h.name, h.port)
}

// hostsOf are the hosts to ask, in order: those of the key hosts, else those of the
// dsn. A port of the dsn holds for all that have none; or is their own, if there are
// as many.
func hostsOf(key []string, dsn []pair) (list []host, err error) {
	var names, ports []string
	for _, p := range dsn {
		switch p.key {
		case "host":
			names = append(names, strings.Split(p.value, ",")...)
		case "port":
			ports = append(ports, strings.Split(p.value, ",")...)
		}
	}
	if len(key) > 0 {
		names = key
	}
	for i, name := range names {
		h, err := parseHost(name)
		if err != nil {
			return nil, fmt.Errorf("hosts: %w", err)
		}
		switch {
		case h.port != "":
		case len(ports) == 1:
			h.port = ports[0]
		case len(ports) == len(names):
			h.port = ports[i]
		}
		list = append(list, h)
	}
	return list, nil
}

// shorter is the shorter of two limits; 0 is none.
func shorter(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
