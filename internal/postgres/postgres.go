// Package postgres runs a real PostgreSQL for the length of a test. Only tests
// import it.
//
// The server listens on a free port of 127.0.0.1, with and without TLS. What it has is
// thrown away at the end, so nothing is ever synced to disk. Start takes a few seconds:
// let the parts of a test share one.
package postgres

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"usher/internal/daemon"
	"usher/internal/dovecot"
	"usher/internal/need"
)

// Password is that of the user postgres, who may do everything.
const Password = "hush hush"

// A Server is a running PostgreSQL.
type Server struct {
	*daemon.Daemon        // Stop, Start, Freeze and Thaw; the port stays the same
	Host, Port     string // Host is a name in the certificate
	CA             string // a PEM file that verifies the certificate
}

// Start runs a PostgreSQL until the test ends. It skips the test where there is none;
// in CI, where nobody would notice the skip, it fails.
func Start(t testing.TB) *Server {
	t.Helper()
	bin := programs(t)
	cert, key, ca := dovecot.Certificate(t, "localhost", "127.0.0.1")
	s := &Server{Host: "127.0.0.1", Port: daemon.FreePort(t), CA: ca}
	s.Daemon = daemon.New(t, daemon.Daemon{Name: "postgres", User: "postgres", Quit: syscall.SIGQUIT, Ready: s.ready})
	if err := os.WriteFile(s.Path("password"), []byte(Password), 0o644); err != nil {
		t.Fatal(err)
	}
	s.Run(filepath.Join(bin, "initdb"), "-D", s.Path("data"), "--no-sync", "--no-instructions", "-E", "UTF8", "--locale=C.UTF-8",
		"-U", "postgres", "-A", "scram-sha-256", "--pwfile="+s.Path("password"))
	args := []string{filepath.Join(bin, "postgres"), "-D", s.Path("data"), "-p", s.Port}
	for _, setting := range []string{
		"listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "shared_buffers=16MB", "max_connections=60",
		"ssl=on", "ssl_cert_file=" + s.Put("cert.pem", cert), "ssl_key_file=" + s.Put("key.pem", key),
	} {
		args = append(args, "-c", setting)
	}
	s.Start(args...)
	return s
}

// programs is the folder with the programs of the newest version.
func programs(t testing.TB) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) == 0 {
		return filepath.Dir(need.Program(t, "postgres"))
	}
	return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return cmp.Or(len(a)-len(b), strings.Compare(a, b)) }))
}

// Addr is host:port.
func (s *Server) Addr() string { return net.JoinHostPort(s.Host, s.Port) }

// DSN is how to log in to a database as postgres, without TLS.
func (s *Server) DSN(database string) string {
	return fmt.Sprintf("host=%s port=%s dbname=%s user=postgres password='%s' sslmode=disable", s.Host, s.Port, database, Password)
}

func (s *Server) ready() error { return s.exec("postgres", "SELECT 1") }

// Exec runs SQL in a database as postgres: several statements, if there are semicolons.
func (s *Server) Exec(t testing.TB, database, sql string) {
	t.Helper()
	if err := s.exec(database, sql); err != nil {
		t.Fatalf("%.80s: %v", sql, err)
	}
}

func (s *Server) exec(database, sql string) error {
	_, err := s.query(database, sql)
	return err
}

// Value is the first value that a query gives.
func (s *Server) Value(t testing.TB, database, sql string) string {
	t.Helper()
	results, err := s.query(database, sql)
	if err != nil || len(results) == 0 || len(results[0].Rows) == 0 {
		t.Fatalf("%.80s: no value (%v)", sql, err)
	}
	return string(results[0].Rows[0][0])
}

func (s *Server) query(database, sql string) ([]*pgconn.Result, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := pgconn.Connect(ctx, s.DSN(database))
	if err != nil {
		return nil, err
	}
	defer c.Close(ctx)
	return c.Exec(ctx, sql).ReadAll()
}
