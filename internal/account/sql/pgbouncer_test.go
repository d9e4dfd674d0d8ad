package sql

import (
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"

	"usher/internal/account"
	"usher/internal/daemon"
	"usher/internal/need"
	"usher/internal/postgres"
)

// Behind a PgBouncer each transaction may go to another connection: nothing of a
// look-up may be left on one.
func behindAPgBouncer(t *testing.T, d *database) {
	if d.dialect != postgreSQL {
		t.Skip("that is for PostgreSQL")
	}
	d.exec(t, mailboxes)
	program, port := need.Program(t, "pgbouncer"), daemon.FreePort(t)
	b := daemon.New(t, daemon.Daemon{Name: "pgbouncer", User: "postgres", Quit: syscall.SIGTERM, Ready: func() error {
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			c.Close()
		}
		return err
	}})
	host, serverPort, _ := net.SplitHostPort(d.server.Addr())
	config := fmt.Sprintf("[databases]\n* = host=%s port=%s user=postgres password='%s'\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %s\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 2\n",
		host, serverPort, postgres.Password, port)
	if err := os.WriteFile(b.Path("ini"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	b.Start(program, b.Path("ini"))
	s := d.open(t, settings{
		DSN:    fmt.Sprintf("host=127.0.0.1 port=%s dbname=%s user=postgres", port, d.name),
		Lookup: mustParse(t, "SELECT concat(mailhost, '') AS host, concat({user}) AS user FROM mailboxes WHERE email = '%u'"),
		Write:  write{Table: "mailboxes", Key: "email"},
	})
	for range 5 {
		together(t, s, 50)
		d.exec(t, "ALTER TABLE mailboxes ALTER mailhost TYPE text, ADD more int; ALTER TABLE mailboxes DROP more")
	}
	if err := s.Set(t.Context(), "ann@example.org", account.Fields{"host": "imap7"}); err != nil {
		t.Fatal(err)
	}
	if got := fields(t, s, "ann@example.org")["host"]; got != "imap7" {
		t.Errorf("ann is at %s", got)
	}
}
