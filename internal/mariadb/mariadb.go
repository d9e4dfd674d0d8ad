// Package mariadb runs a real MariaDB for the length of a test. Only tests import it.
//
// The server listens on a free port of 127.0.0.1, with and without TLS. What it has is
// thrown away at the end, so nothing is ever synced to disk. Start takes a few seconds:
// let the parts of a test share one.
package mariadb

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"usher/internal/daemon"
	"usher/internal/dovecot"
	"usher/internal/need"
)

// Password is that of the user admin, who may do everything.
const Password = "hush hush"

// A Server is a running MariaDB.
type Server struct {
	*daemon.Daemon        // Stop, Start, Freeze and Thaw; the port stays the same
	Host, Port     string // Host is a name in the certificate
	CA             string // a PEM file that verifies the certificate
}

// Start runs a MariaDB until the test ends. It skips the test where there is none; in
// CI, where nobody would notice the skip, it fails.
func Start(t testing.TB) *Server {
	t.Helper()
	program, install := need.Program(t, "mariadbd"), need.Program(t, "mariadb-install-db")
	cert, key, ca := dovecot.Certificate(t, "localhost", "127.0.0.1")
	s := &Server{Host: "127.0.0.1", Port: daemon.FreePort(t), CA: ca}
	s.Daemon = daemon.New(t, daemon.Daemon{Name: "mariadb", User: "mysql", Quit: syscall.SIGKILL, Ready: s.ready})
	// A server that starts removes the temporary tables of all in the same folder.
	small := []string{"--tmpdir=" + s.Dir, "--innodb-log-file-size=4M", "--innodb-flush-log-at-trx-commit=2", "--innodb-flush-method=nosync", "--innodb-use-native-aio=0"}
	s.Run(install, append([]string{"--no-defaults", "--datadir=" + s.Path("data"), "--auth-root-authentication-method=normal", "--skip-test-db"}, small...)...)
	admin := fmt.Sprintf("CREATE USER IF NOT EXISTS admin@'%%' IDENTIFIED BY '%s';\nGRANT ALL ON *.* TO admin@'%%' WITH GRANT OPTION;\n", Password)
	if err := os.WriteFile(s.Path("init.sql"), []byte(admin), 0o644); err != nil {
		t.Fatal(err)
	}
	s.Start(append([]string{
		program, "--no-defaults", "--datadir=" + s.Path("data"), "--bind-address=127.0.0.1", "--port=" + s.Port, "--socket=" + s.Path("socket"),
		"--skip-name-resolve", "--init-file=" + s.Path("init.sql"), "--innodb-buffer-pool-size=16M",
		"--ssl-cert=" + s.Put("cert.pem", cert), "--ssl-key=" + s.Put("key.pem", key),
	}, small...)...)
	return s
}

// Addr is host:port.
func (s *Server) Addr() string { return net.JoinHostPort(s.Host, s.Port) }

// DSN is how to log in to a database as admin, without TLS. "" is no database.
func (s *Server) DSN(database string) string {
	return fmt.Sprintf("admin:%s@tcp(%s)/%s", Password, s.Addr(), database)
}

func (s *Server) ready() error { return s.exec("", "SELECT 1") }

// Exec runs SQL in a database as admin: several statements, if there are semicolons.
func (s *Server) Exec(t testing.TB, database, text string) {
	t.Helper()
	if err := s.exec(database, text); err != nil {
		t.Fatalf("%.80s: %v", text, err)
	}
}

func (s *Server) exec(database, text string) error {
	return s.with(database, func(ctx context.Context, db *sql.DB) error {
		_, err := db.ExecContext(ctx, text)
		return err
	})
}

// Value is the first value that a query gives.
func (s *Server) Value(t testing.TB, database, text string) (value string) {
	t.Helper()
	err := s.with(database, func(ctx context.Context, db *sql.DB) error {
		return db.QueryRowContext(ctx, text).Scan(&value)
	})
	if err != nil {
		t.Fatalf("%.80s: %v", text, err)
	}
	return value
}

func (s *Server) with(database string, f func(context.Context, *sql.DB) error) error {
	cfg, err := mysql.ParseDSN(s.DSN(database))
	if err != nil {
		return err
	}
	cfg.MultiStatements, cfg.Logger = true, &mysql.NopLogger{}
	c, err := mysql.NewConnector(cfg)
	if err != nil {
		return err
	}
	db := sql.OpenDB(c)
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return f(ctx, db)
}
