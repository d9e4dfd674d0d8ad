package sql

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// mysqlServers reads the dsn in the driver's own form, user:password@tcp(host:3306)/dbname,
// or in Dovecot's.
func mysqlServers(s settings) ([]server, error) {
	cfg, where, err := mysqlDSN(s.DSN)
	if err != nil {
		return nil, fmt.Errorf("dsn: %w", err)
	}
	hosts, err := hostsOf(s.Hosts, where)
	if err != nil {
		return nil, err
	}
	if err := settle(cfg, s); err != nil {
		return nil, err
	}
	var list []server
	for _, h := range hosts {
		one, err := mysqlServer(cfg.Clone(), h)
		if err != nil {
			return nil, fmt.Errorf("dsn: %w", err)
		}
		list = append(list, one)
	}
	return list, nil
}

// mysqlDSN reads a dsn; where has its host and port. Errors do not quote it.
func mysqlDSN(dsn string) (cfg *mysql.Config, where []pair, err error) {
	if hasPairs(dsn) {
		return mysqlPairs(dsn)
	}
	cfg, err = mysql.ParseDSN(dsn)
	switch {
	case err != nil && strings.HasPrefix(err.Error(), "invalid DSN: "): // these quote nothing
		return nil, nil, fmt.Errorf("%w; write it as user:password@tcp(host:3306)/dbname", err)
	case err != nil:
		return nil, nil, errors.New("a parameter in it cannot be read; write it as user:password@tcp(host:3306)/dbname?tls=true")
	case cfg.Net == "unix":
		return cfg, []pair{{"host", cfg.Addr}}, nil
	}
	name, port, err := net.SplitHostPort(cfg.Addr)
	return cfg, []pair{{"host", name}, {"port", port}}, err
}

// mysqlPairs reads Dovecot's form.
func mysqlPairs(dsn string) (*mysql.Config, []pair, error) {
	list, err := parsePairs(dsn)
	cfg := mysql.NewConfig()
	for _, p := range list {
		switch p.key {
		case "dbname":
			cfg.DBName = p.value
		case "user":
			cfg.User = p.value
		case "password":
			cfg.Passwd = p.value
		case "host", "port", "maxconns":
		default:
			return nil, nil, fmt.Errorf("%.40q is none of host, port, dbname, user, password; the file of an authority is the key ca", p.key)
		}
	}
	return cfg, list, err
}

// settle sets what we rely on.
func settle(cfg *mysql.Config, s settings) (err error) {
	cfg.InterpolateParams = false // a value is never a part of the text
	cfg.MultiStatements = false
	cfg.ParseTime = false
	cfg.ClientFoundRows = true // an UPDATE that changes nothing has found its row
	cfg.Logger = &mysql.NopLogger{}
	cfg.Timeout = shorter(cfg.Timeout, s.Timeout)
	cfg.ReadTimeout = shorter(cfg.ReadTimeout, s.Timeout)
	cfg.WriteTimeout = shorter(cfg.WriteTimeout, s.Timeout)
	switch {
	case s.CA != "":
		cfg.TLSConfig, cfg.AllowFallbackToPlaintext = "", false
		cfg.TLS, err = trusting(s.CA)
	case cfg.TLSConfig != "":
		cfg.TLS = nil // it is for the host of the dsn; the driver makes another for each
	}
	return err
}

// trusting verifies certificates by those of a file.
func trusting(file string) (*tls.Config, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("ca: %w", err)
	}
	t := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	if !t.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca: %s holds no certificate in PEM", file)
	}
	return t, nil
}

// mysqlServer is the server of one host.
func mysqlServer(cfg *mysql.Config, h host) (s server, err error) {
	h.port = cmp.Or(h.port, "3306")
	cfg.Net, cfg.Addr, s.name = "tcp", h.addr(), h.addr()
	if strings.HasPrefix(h.name, "/") {
		cfg.Net = "unix"
	}
	patient := cfg.Clone()
	patient.ReadTimeout, patient.WriteTimeout = 0, 0
	if s.patient, err = mysql.NewConnector(patient); err != nil {
		return s, err
	}
	cfg.DialFunc = dialBounded
	s.connect, err = mysql.NewConnector(cfg)
	return s, err
}
