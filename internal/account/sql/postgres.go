package sql

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// postgresServers reads the dsn as libpq does, with the environment and the files that
// libpq reads. An address of several is a server of its own: which one is asked we
// decide, not the library.
func postgresServers(s settings) ([]server, error) {
	dsn, err := postgresDSN(s)
	if err != nil {
		return nil, err
	}
	cfg, err := pgconn.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("dsn: %s", withoutDSN(err))
	}
	var list []server
	for _, one := range splitPostgres(cfg) {
		one.ConnectTimeout = shorter(one.ConnectTimeout, s.Timeout)
		one.MaxProtocolMessageBodyLen = mostBytes
		for name, value := range map[string]string{"application_name": "usher", "client_encoding": "UTF8"} {
			if one.RuntimeParams[name] == "" {
				one.RuntimeParams[name] = value
			}
		}
		c := &pgConnector{cfg: one, within: s.Timeout}
		list = append(list, server{host{one.Host, strconv.Itoa(int(one.Port))}.addr(), c, c})
	}
	return list, nil
}

// withoutDSN is what the library says of a dsn, without the dsn.
func withoutDSN(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, "`: "); i >= 0 {
		text = text[i+len("`: "):]
	}
	return text
}

// postgresDSN is the dsn with the keys hosts and ca.
func postgresDSN(s settings) (string, error) {
	var list []pair // none, of a URL
	switch {
	case hasPairs(s.DSN):
		var err error
		if list, err = parsePairs(s.DSN); err != nil {
			return "", fmt.Errorf("dsn: %w", err)
		}
	case !strings.HasPrefix(s.DSN, "postgres://") && !strings.HasPrefix(s.DSN, "postgresql://"):
		return "", errors.New(`dsn: write it as "host=… dbname=… user=… password=…" or as postgres://user:password@host/dbname`)
	}
	hosts, err := hostsOf(s.Hosts, list)
	if err != nil {
		return "", err
	}
	more := slices.Concat(hostPairs(hosts), caPairs(s))
	if list == nil {
		return addQuery(s.DSN, more), nil
	}
	list = slices.DeleteFunc(list, func(p pair) bool {
		return p.key == "maxconns" || len(hosts) > 0 && (p.key == "host" || p.key == "port")
	})
	return joinPairs(append(list, more...)), nil
}

// hostPairs names several hosts as libpq does: with commas.
func hostPairs(hosts []host) (list []pair) {
	var names, ports []string
	for _, h := range hosts {
		names, ports = append(names, h.name), append(ports, h.port)
	}
	if len(names) > 0 {
		list = append(list, pair{"host", strings.Join(names, ",")})
	}
	if strings.Join(ports, "") != "" {
		list = append(list, pair{"port", strings.Join(ports, ",")})
	}
	return list
}

// caPairs say that the certificate is verified: who names a CA wants that.
func caPairs(s settings) []pair {
	switch {
	case s.CA == "":
		return nil
	case strings.Contains(s.DSN, "sslmode"):
		return []pair{{"sslrootcert", s.CA}}
	}
	return []pair{{"sslrootcert", s.CA}, {"sslmode", "verify-full"}}
}

// addQuery adds parameters to a URL; the last of the same name counts.
func addQuery(dsn string, more []pair) string {
	for _, p := range more {
		sep := "?"
		if strings.Contains(dsn, "?") {
			sep = "&"
		}
		dsn += sep + p.key + "=" + strings.ReplaceAll(url.QueryEscape(p.value), "+", "%20")
	}
	return dsn
}

// splitPostgres gives each host a configuration of its own. It keeps what belongs
// together: a host, how its certificate is checked, and whether it is asked without
// TLS too (sslmode=prefer).
func splitPostgres(cfg *pgconn.Config) (list []*pgconn.Config) {
	all := append([]*pgconn.FallbackConfig{{Host: cfg.Host, Port: cfg.Port, TLSConfig: cfg.TLSConfig}}, cfg.Fallbacks...)
	for _, f := range all {
		n := len(list)
		if n > 0 && list[n-1].Host == f.Host && list[n-1].Port == f.Port {
			list[n-1].Fallbacks = append(list[n-1].Fallbacks, f)
			continue
		}
		one := cfg.Copy()
		one.Host, one.Port, one.TLSConfig, one.Fallbacks = f.Host, f.Port, f.TLSConfig, nil
		one.RuntimeParams = maps.Clone(cfg.RuntimeParams)
		list = append(list, one)
	}
	return list
}
