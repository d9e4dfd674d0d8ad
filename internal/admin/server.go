package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"
)

// A Server answers commands for one process of usher.
type Server struct {
	Path   string // of the socket
	Daemon Daemon
	Log    *slog.Logger
	// Successor may take Path from another usher that answers there, for it is
	// the one that replaces it.
	Successor bool

	pid    int         // 0: our own; tests play several processes
	file   os.FileInfo // our socket, wherever it has a name
	http   *http.Server
	guests guests
	done   chan struct{}
}

// ErrInUse is why an usher does not start that would take the socket from
// another.
var ErrInUse = errors.New("another usher is running")

const (
	headerTime = 5 * time.Second  // for a request to begin
	bodyTime   = 5 * time.Second  // for the rest of it
	answerTime = 30 * time.Second // for the client to take the answer
	closeTime  = time.Second      // for answers on their way, when the server closes
	maxBody    = 64 << 10
	maxAnswer  = 256 << 20 // of another process: half a million sessions
	maxPattern = 1 << 10   // longer than any name
)

// Start opens the socket and answers until Close. The folder is made if it is
// missing.
func (s *Server) Start() error {
	if s.pid == 0 {
		s.pid = os.Getpid()
	}
	if err := s.mayTake(); err != nil {
		return err
	}
	ln, err := s.bind()
	if err != nil {
		return fmt.Errorf("cannot open the admin socket: %w", err)
	}
	if err := s.Publish(); err != nil {
		return errors.Join(err, ln.Close(), os.Remove(s.own()))
	}
	s.http = &http.Server{
		Handler: api{s}, ReadHeaderTimeout: headerTime, MaxHeaderBytes: maxBody,
		ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelWarn), ConnState: s.guests.note,
	}
	s.http.SetKeepAlivesEnabled(false) // one connection, one question
	s.done = make(chan struct{})
	go s.serve(ln)
	return nil
}

func (s *Server) serve(ln net.Listener) {
	defer close(s.done)
	if err := s.http.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		s.Log.Error("the admin socket does not answer any more", "err", err)
	}
}

// mayTake tells whether Path is free for us.
func (s *Server) mayTake() error {
	found, err := checkPath(s.Path)
	if err != nil || !found || s.Successor {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), siblingTime)
	defer cancel()
	status, err := client(s.Path).Status(ctx)
	var none *NotReachable
	switch {
	case errors.As(err, &none) && none.Absent():
		return nil
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("cannot tell whether an usher is running: %w", err)
	case err != nil:
		return fmt.Errorf("%w: something holds the admin socket %s (%w); stop it, or choose another admin in [server]", ErrInUse, s.Path, err)
	}
	return fmt.Errorf("%w: process %d answers at %s; stop it (usher stop), or choose another admin in [server]", ErrInUse, status.Processes[0].PID, s.Path)
}

// Close gives up the names of the socket, and waits a moment for answers on
// their way. It leaves Path alone if another process has taken it. A server that
// was not started is closed already.
func (s *Server) Close() error {
	if s.http == nil {
		return nil
	}
	err := s.withdraw()
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	// When we are let in ourselves, so is everybody who found us before. Shutdown
	// of net/http would drop those whose question it has not read yet.
	_, _ = client(s.private()).Status(ctx)
	_ = os.Remove(s.private())
	s.guests.wait(ctx)
	err = errors.Join(err, s.http.Close())
	<-s.done
	return err
}
