package postgres

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestItStopsFreezesAndComesBack(t *testing.T) {
	s := Start(t)
	s.Exec(t, "postgres", "CREATE TABLE t (x int); INSERT INTO t VALUES (7)")
	if !answers(s) {
		t.Error("it does not answer")
	}
	s.Stop()
	if answers(s) {
		t.Error("it answers though it is stopped")
	}
	s.Start()
	s.Freeze()
	if answers(s) {
		t.Error("it answers though it is frozen")
	}
	s.Thaw()
	if got := s.Value(t, "postgres", "SELECT x FROM t"); got != "7" {
		t.Errorf("after all that x is %q", got)
	}
	s.Freeze() // it must end all the same
}

func answers(s *Server) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	c, err := pgconn.Connect(ctx, s.DSN("postgres"))
	if err != nil {
		return false
	}
	return c.Close(ctx) == nil
}

func TestTheCertificateIsRight(t *testing.T) {
	s := Start(t)
	c, err := pgconn.Connect(t.Context(), "host="+s.Host+" port="+s.Port+" user=postgres dbname=postgres password='"+Password+"' sslmode=verify-full sslrootcert="+s.CA)
	if err != nil {
		t.Fatal(err)
	}
	c.Close(t.Context())
}
