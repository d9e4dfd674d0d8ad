package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"os/user"
	"strconv"
	"syscall"
	"time"

	"usher/internal/config"
	"usher/internal/doorway"
	"usher/internal/listen"
	"usher/internal/login"
	"usher/internal/postfix"
	"usher/internal/stdio"
	"usher/internal/systemd"
)

// A Way is by whom usher was started to serve clients of one protocol.
type Way int

// The ways.
const (
	Inetd   Way = iota + 1 // or systemd with Accept=yes
	Stdio                  // ssh, or a client that has a tunnel
	Postfix                // its master
)

// A Start is how usher was started by another program, which has clients for it.
type Start struct {
	Way Way
	listen.Wanted
	User   string        // who the client is, without having shown it; "": it will
	Idle   time.Duration // how long a port is waited at for the next client
	Admin  string        // socket of the running usher; "": as the configuration says
	Master []string      // the options of Postfix's master
	Debug  bool
	Stderr io.Writer

	Peek func() (*config.Config, error) // the configuration, with mistakes perhaps; an error if it cannot be read
	Load func() (*config.Config, error) // the configuration, checked

	log    *slog.Logger
	uid    uint32
	quiet  bool // standard error leads to the client
	unit   bool // systemd has started us
	given  Given
	pipes  *stdio.Pipes // a client without a socket; nil: none
	master *postfix.Master
	main   postfix.Settings
}

// Serve serves what the other program has for us: by the running usher, if there is one,
// else it does so itself. The error is logged already where the other program's errors go,
// but for standard error.
func (s *Start) Serve(ctx context.Context) error {
	signal.Ignore(syscall.SIGPIPE) // a client that has left is an error of write
	s.uid = uint32(os.Getuid())
	took := s.take(ctx)
	cfg, peeked := s.Peek()
	if cfg == nil {
		cfg = config.Default()
	}
	log, closeLog := s.openLog(cfg)
	defer closeLog()
	s.log = log
	err := errors.Join(took, s.fits())
	if err == nil {
		err = s.serve(ctx, cfg, peeked)
	}
	if err != nil {
		s.turnAway()
		log.Error("clients that another program has accepted cannot be served", "protocol", s.Protocol, "err", err)
	}
	return err
}

// fits tells whether what is wanted makes sense.
func (s *Start) fits() error {
	if protocol(s.Protocol) == nil {
		return fmt.Errorf("there is no protocol %.20q: imap or pop3", s.Protocol)
	}
	if _, ok := map[string]bool{"": true, "none": true, "starttls": true, "implicit": true}[s.TLS]; !ok {
		return fmt.Errorf("--tls %.20q: none, starttls or implicit", s.TLS)
	}
	if s.User != "" && s.Way != Stdio {
		return errors.New("--user goes with --stdio: whoever comes by a port has to log in")
	}
	return nil
}

// take takes what the other program has opened.
func (s *Start) take(ctx context.Context) error {
	s.given = Given{Wanted: s.Wanted, Idle: s.Idle, User: s.User, UID: s.uid}
	if s.Way == Postfix {
		return s.takeMaster(ctx)
	}
	nc, err := systemd.Connection()
	if nc != nil || err != nil {
		s.given.Client, s.unit = nc, true
		return err
	}
	g, err := stdio.Take()
	s.quiet, s.pipes, s.given.Client = g.Quiet, g.Pipes, g.Client
	if g.Port != nil {
		s.given.Ports = []*net.TCPListener{g.Port}
	}
	return err
}

// takeMaster is take with Postfix's master.
func (s *Start) takeMaster(ctx context.Context) error {
	o, rest, err := postfix.Parse(s.Master)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%q is no option of Postfix's master", rest)
	}
	if err != nil {
		return err
	}
	s.Debug = s.Debug || o.Verbose
	if s.master, err = postfix.Open(o); err != nil {
		return err
	}
	if s.main, err = o.Read(postfix.Postconf(ctx)); err != nil {
		return err
	}
	gone := make(chan struct{})
	go func() { s.master.Gone(); close(gone) }()
	s.given.Ports, s.given.Idle, s.given.Most, s.given.Gone = s.master.Ports, s.main.MaxIdle, s.main.MaxUse, gone
	s.given.Taken, s.given.Free = s.master.Taken, func() { _ = s.master.Available() } // a master that is gone need not know
	if o.Chroot {
		s.given.Jail = s.main.Queue
	}
	if o.Owner {
		s.given.Owner = s.main.Owner
	}
	if unknown := o.Unknown(); len(unknown) > 0 {
		return fmt.Errorf("-o %s in master.cf: usher has no such setting: its own stand in usher.toml", unknown[0])
	}
	return nil
}

// serve brings the clients to the running usher, or attends to them.
func (s *Start) serve(ctx context.Context, cfg *config.Config, peeked error) error {
	visit, err := s.knock(ctx, cfg)
	if visit != nil {
		var over bool
		if over, err = s.bring(ctx, cfg, visit); over {
			return err
		}
	}
	if peeked != nil && errors.Is(peeked, fs.ErrPermission) {
		return fmt.Errorf("%w; and the configuration cannot be read: %w", err, peeked)
	}
	cfg, loaded := s.Load()
	if loaded != nil {
		return loaded
	}
	srv, err := New(cfg, s.log)
	if err != nil {
		return err
	}
	if s.pipes != nil {
		client, pump, err := s.pipes.Pair()
		if err != nil {
			return err
		}
		s.given.Client = client
		done := make(chan struct{})
		go func() { pump(); close(done) }()
		defer func() { <-done }() // what was said last shall arrive
	}
	return srv.Attend(ctx, s.given)
}

// knock goes to the door of the running usher. The error says why there is none.
func (s *Start) knock(ctx context.Context, cfg *config.Config) (*doorway.Visit, error) {
	path := s.Admin
	if path == "" {
		path = string(cfg.Server.Admin) // for who may not read the configuration, the usual one
	}
	if path == "" {
		return nil, fmt.Errorf("%w: admin is switched off in [server]", doorway.ErrAbsent)
	}
	var users []uint32
	if uid, ok := uidOf(cfg.Server.User); ok {
		users = append(users, uid)
	}
	visit, err := doorway.Knock(ctx, doorway.Path(path), users...)
	if err != nil && !errors.Is(err, doorway.ErrAbsent) {
		s.log.Warn(notBrought, "err", err)
	}
	return visit, err
}

const notBrought = "no client can be brought to the running usher: this process serves them itself"

// turnAway tells clients that nobody can serve them, if they are here.
func (s *Start) turnAway() {
	switch {
	case s.given.Client != nil:
		s.away(s.given.Client)
	case s.pipes != nil:
		s.awayTo(s.pipes.Out)
		_ = s.pipes.In.Close()
	case s.Way == Inetd && len(s.given.Ports) > 0: // inetd would start us again and again for it
		_ = s.given.Ports[0].SetDeadline(time.Now().Add(awayTime))
		if nc, err := s.given.Ports[0].Accept(); err == nil {
			s.away(nc)
		}
	}
}

// awayTime is for a client to hear that it must go.
const awayTime = 2 * time.Second

func (s *Start) away(nc net.Conn) {
	_ = nc.SetWriteDeadline(time.Now().Add(awayTime))
	s.awayTo(nc)
}

func (s *Start) awayTo(w io.WriteCloser) {
	if p := protocol(s.Protocol); p != nil && s.TLS != "implicit" {
		_, _ = io.WriteString(w, p.Info().Away+"\r\n")
	}
	if half, ok := w.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // an usher that does not answer may have it too, and close it when it does
	}
	_ = w.Close()
}

// known says who the client is, if the one who has started us may say so.
func (g Given) known(cfg *config.Config) *login.Known {
	if g.User == "" {
		return nil
	}
	uid, ok := uidOf(cfg.Server.User)
	return &login.Known{Name: g.User, By: userName(g.UID), UID: g.UID, All: g.UID == 0 || ok && uid == g.UID}
}

func uidOf(name string) (uint32, bool) {
	u, err := user.Lookup(name)
	if err != nil {
		return 0, false
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	return uint32(uid), err == nil
}
