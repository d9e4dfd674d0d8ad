package mariadb

import (
	"context"
	"database/sql"
	"testing"
	"time"
)

func TestItStopsFreezesAndComesBack(t *testing.T) {
	s := Start(t)
	s.Exec(t, "", "CREATE DATABASE mail; CREATE TABLE mail.t (x int); INSERT INTO mail.t VALUES (7)")
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
	if got := s.Value(t, "mail", "SELECT x FROM t"); got != "7" {
		t.Errorf("after all that x is %q", got)
	}
	s.Freeze() // it must end all the same
}

func answers(s *Server) bool {
	return s.with("mail", func(_ context.Context, db *sql.DB) error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		return db.PingContext(ctx)
	}) == nil
}

func TestItSpeaksTLS(t *testing.T) {
	s := Start(t)
	if got := s.Value(t, "", "SELECT @@have_ssl"); got != "YES" {
		t.Errorf("have_ssl is %s", got)
	}
}
