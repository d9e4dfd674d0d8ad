package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"reflect"
	"strings"
	"time"

	"usher/internal/config"
	"usher/internal/handover"
	"usher/internal/login"
	"usher/internal/route"
	"usher/internal/spawn"
)

// A helper is who starts programs for us: a process of its own, which keeps the rights
// that we give up. Its policy is sealed when it is opened, and outlives us.
type helper struct {
	client *spawn.Client
	seal   string        // a hash of its policy
	sealed *config.Local // what its policy was made of; nil: another process has made it
	over   context.CancelFunc
	heard  chan struct{} // closed when nobody listens to its events any more
}

// openHelper finds the helper: that of the process before us, or a new one. It is
// called while we are still who we were started as. Without programs there is none.
func (s *Server) openHelper(past *handover.Helper) error {
	h := s.house.Load()
	if h.programs == nil {
		if past != nil {
			_ = past.File.Close() // with the last of its clients it ends
		}
		return nil
	}
	p := h.programs.policy
	p.Caller, p.Group = s.caller()
	one := &helper{seal: sealOf(p), heard: make(chan struct{})}
	var err error
	if past != nil {
		one.client, err = spawn.FromFile(past.File)
		if past.Seal != one.seal {
			s.log.Warn("changes in [local] wait for a restart: what programs are started, and as whom, was sealed when usher started", "remedy", "restart")
		}
		one.seal = past.Seal
	} else {
		local := h.cfg.Local
		one.sealed = &local
		one.client, err = open(p)
	}
	if err != nil {
		return fmt.Errorf("cannot start programs of this machine: %w", err)
	}
	s.helper = one
	if os.Geteuid() != 0 && past == nil {
		s.log.Info("programs of this machine run as usher's own user only, since usher was not started as root", "uid", os.Geteuid())
	}
	s.listenTo(one)
	return nil
}

func open(p spawn.Policy) (*spawn.Client, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return spawn.Open(p, program)
}

// caller is the uid, and the gid, that we will have.
func (s *Server) caller() (uid, gid uint32) {
	next, err := lookupUser(s.house.Load().cfg, s.another)
	switch {
	case err != nil:
		return 0, 0 // nextUser says what that means
	case next.name == "":
		return uint32(os.Geteuid()), uint32(os.Getegid())
	}
	return uint32(next.uid), uint32(next.gid)
}

func sealOf(p spawn.Policy) string {
	text, _ := json.Marshal(p)
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// listenTo writes what programs have to say into the log, until closeHelper.
func (s *Server) listenTo(one *helper) {
	ctx, cancel := context.WithCancel(context.Background())
	one.over = cancel
	says := &sayings{log: s.log, now: time.Now}
	go func() {
		defer close(one.heard)
		if err := one.client.Events(ctx, says.hear); err != nil && ctx.Err() == nil {
			s.log.Error("local programs", "err", err)
		}
	}()
}

// closeHelper leaves the helper. With the last process that has it, it ends.
func (s *Server) closeHelper() {
	if s.helper == nil {
		return
	}
	s.helper.over()
	<-s.helper.heard
	_ = s.helper.client.Close()
}

// bequest is the helper for the process that replaces us; nil: there is none. Its file
// is to be closed.
func (s *Server) bequest() (*handover.Helper, error) {
	if s.helper == nil {
		return nil, nil
	}
	f, err := s.helper.client.File()
	if err != nil {
		return nil, fmt.Errorf("pass the helper on: %w", err)
	}
	return &handover.Helper{File: f, Seal: s.helper.seal}, nil
}

// starter has programs started as one configuration tells them whom they serve.
func (s *Server) starter(h *house) func(context.Context, route.Stop) (net.Conn, error) {
	return func(ctx context.Context, stop route.Stop) (net.Conn, error) {
		if s.helper == nil {
			return nil, login.Misconfiguration("this usher starts no programs: [local] was added while it ran; restart it")
		}
		command, ok := h.programs.commands[stop.Exec.Program]
		if !ok {
			return nil, login.Misconfiguration("[local] has no program %q", stop.Exec.Program)
		}
		r, err := command.Request(stop.Exec)
		if err != nil {
			return nil, err
		}
		nc, _, err := s.helper.client.Start(ctx, r)
		var no *spawn.Refusal
		switch {
		case errors.As(err, &no):
			return nil, login.Misconfiguration("%w", err)
		case errors.Is(err, spawn.ErrFull):
			return nil, &login.Refusal{Reason: login.TooMany, Err: err}
		}
		return nc, err
	}
}

// notResealed says which settings of [local] wait for a restart.
func (s *Server) notResealed(next *house) {
	switch {
	case s.helper == nil && next.programs != nil:
		s.log.Warn("[local] waits for a restart: nobody is there who could start programs", "remedy", "restart")
		return
	case s.helper == nil || s.helper.sealed == nil:
		return
	}
	was, is := reflect.ValueOf(*s.helper.sealed), reflect.ValueOf(next.cfg.Local)
	for i := range was.NumField() {
		key, _, _ := strings.Cut(was.Type().Field(i).Tag.Get("toml"), ",")
		if !reloads[key] && !reflect.DeepEqual(was.Field(i).Interface(), is.Field(i).Interface()) {
			s.log.Warn("a change in [local] waits for a restart", "key", key, "remedy", "restart")
		}
	}
}

// reloads are the settings of [local] that are not the helper's business.
var reloads = map[string]bool{"attribute": true, "stays": true, "timeout": true}

// sayings writes what programs say into the log: so many lines in a second, and how
// many others there were. Whose program it is can make it say anything.
type sayings struct {
	log    *slog.Logger
	now    func() time.Time
	second time.Time
	said   int
	others int
}

// maxSayings is how many lines of programs a second may have in the log.
const maxSayings = 100

func (l *sayings) hear(e spawn.Event) {
	if now := l.now().Truncate(time.Second); !now.Equal(l.second) {
		l.second, l.said = now, 0
	}
	l.others += e.Lost
	if l.said++; l.said > maxSayings {
		l.others++
		return
	}
	attrs := []slog.Attr{slog.String("id", e.ID), slog.String("program", e.Program), slog.Int("pid", e.PID)}
	message, level := "local program says", slog.LevelInfo
	switch {
	case e.Program == "":
		message = "helper says"
	case e.Ended && e.Status == "":
		message, level = "local program ended", slog.LevelDebug // the session's own line says so
	case e.Ended:
		message, level = "local program ended", slog.LevelWarn
		attrs = append(attrs, slog.String("status", e.Status))
	}
	if e.Line != "" {
		attrs = append(attrs, slog.String("line", harmless(e.Line)))
	}
	if l.others > 0 {
		attrs = append(attrs, slog.Int("others", l.others))
		l.others = 0
	}
	l.log.LogAttrs(context.Background(), level, message, attrs...)
}

// harmless is what somebody else has said, in so many characters that can be printed.
func harmless(line string) string {
	quoted := fmt.Sprintf("%.200q", line)
	return quoted[1 : len(quoted)-1]
}
