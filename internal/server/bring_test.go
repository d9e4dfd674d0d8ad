package server

import (
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"usher/internal/config"
	"usher/internal/doorway"
	"usher/internal/listen"
	"usher/internal/stdio"
)

// A client for whom the running usher has no answer is to be served here. The log says why,
// and so does the error if that cannot be.
func TestAnUsherThatDoesNotAnswerIsInTheLog(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "br") // t.TempDir has a longer name than a socket may have
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "admin")
	ln, err := net.Listen("unix", doorway.Path(socket))
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
	log := &lines{}
	s := &Start{Way: Stdio, Admin: socket, Wanted: listen.Wanted{Protocol: "imap"}, log: slog.New(slog.NewTextHandler(log, nil)), pipes: &stdio.Pipes{}}
	err = s.serve(t.Context(), config.Default(), fs.ErrPermission) // which somebody who comes by ssh has
	if err == nil || !strings.HasPrefix(err.Error(), "the running usher does not answer") || !strings.Contains(err.Error(), "the configuration cannot be read") {
		t.Errorf("the error is %v", err)
	}
	if n := log.count("level=WARN", "this process serves them itself", "does not answer"); n != 1 {
		t.Errorf("%d lines:\n%s", n, log)
	}
}

// Who is turned away hears the end, though an usher that hangs was given the connection.
func TestWhoIsTurnedAwayIsNotHeldByAnUsherThatHangs(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	given, err := accepted.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer given.Close()
	(&Start{Wanted: listen.Wanted{Protocol: "imap"}}).away(accepted)
	_ = client.SetReadDeadline(time.Now().Add(20 * time.Second))
	if heard, err := io.ReadAll(client); err != nil || !strings.HasPrefix(string(heard), "* BYE") {
		t.Errorf("heard %q, %v", heard, err)
	}
}
