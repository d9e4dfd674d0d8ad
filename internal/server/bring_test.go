package server

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"

	"usher/internal/config"
	"usher/internal/doorway"
	"usher/internal/listen"
	"usher/internal/stdio"
)

// A client for whom the running usher has no answer is served here, and the log says why.
func TestAnUsherThatDoesNotAnswerIsInTheLog(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "br") // t.TempDir has a longer name than a socket may have
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ln, err := net.Listen("unix", filepath.Join(dir, "door"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		if nc, err := ln.Accept(); err == nil {
			_, _ = nc.Read(make([]byte, 100))
			_ = nc.Close()
		}
	}()
	visit, err := doorway.Knock(t.Context(), ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	log := &lines{}
	s := &Start{Way: Stdio, Wanted: listen.Wanted{Protocol: "imap"}, log: slog.New(slog.NewTextHandler(log, nil)), pipes: &stdio.Pipes{}}
	if brought, err := s.bring(t.Context(), config.Default(), visit); brought || err != nil {
		t.Errorf("brought %v, %v", brought, err)
	}
	if n := log.count("level=WARN", "this process serves them itself", "does not answer"); n != 1 {
		t.Errorf("%d lines:\n%s", n, log)
	}
}
