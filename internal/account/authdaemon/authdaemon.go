// Package authdaemon asks Courier's authdaemond, so that whatever Courier's modules
// know (userdb, LDAP, MySQL, PostgreSQL, PAM, a program of the organisation) holds for
// usher too.
//
// Read source.Ask first; daemon.go is the connection, reply.go what comes back.
package authdaemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"usher/internal/account"
)

// settings are the keys of an [[accounts]] block with type = "authdaemon".
type settings struct {
	// Socket is where authdaemond listens.
	Socket string `toml:"socket" default:"/run/courier/authdaemon/socket" as:"path"`
	// SendRemote says the client's address when a password is checked, for PAM. It
	// takes an authdaemond of version 0.71 or later; answers are then remembered for
	// each address apart.
	SendRemote bool `toml:"send_remote"`
	// Pool is how many questions may be under way at once; more wait.
	Pool int `toml:"pool" default:"32"`
	// Timeout bounds a question.
	Timeout time.Duration `toml:"timeout" default:"5s"`
}

// Driver is the account.Driver of type "authdaemon".
func Driver(decode func(into any) error) (account.Open, error) {
	var s settings
	if err := decode(&s); err != nil {
		return nil, err
	}
	return func(_ context.Context, at account.Site) (account.Source, error) { return s.open(at), nil }, nil
}

func (s settings) open(at account.Site) *source {
	d := newDaemon(s.Socket, s.Pool)
	probe := func(ctx context.Context, d *daemon) error { return d.probe(ctx) }
	return &source{
		daemon:     account.NewServers(at.Log, s.Timeout, probe, []string{s.Socket}, []*daemon{d}),
		sendRemote: s.SendRemote,
	}
}

// A source is an authdaemond.
type source struct {
	daemon     *account.Servers[*daemon] // one
	sendRemote bool
}

// Ask implements account.Source. Where authdaemond tells the password, usher checks
// it; else authdaemond does, asked once more.
func (s *source) Ask(ctx context.Context, q account.Query) (account.Record, error) {
	if !clean(q.Name) || strings.TrimSpace(q.Name) != q.Name {
		return account.Record{}, account.ErrUnknown
	}
	if q.Answer != nil {
		return s.answered(ctx, q)
	}
	f, err := s.known(ctx, q)
	if err != nil {
		return account.Record{}, err
	}
	if yes(account.Options(f["options"])["nopassword"]) || readable(f["password"]) {
		return account.Record{Fields: f}, nil
	}
	delete(f, "password")
	return account.Record{Fields: f, Proof: login{s, q, f["user"]}}, nil
}

// known asks whose name it is.
func (s *source) known(ctx context.Context, q account.Query) (account.Fields, error) {
	line := "PRE . " + service(q) + " " + q.Name
	return s.ask(ctx, question{text: line + "\n", shown: line, no: account.ErrUnknown, trace: q.Trace})
}

// crams are the mechanisms that Courier's modules know.
var crams = []string{"cram-md5", "cram-sha1", "cram-sha256"}

// answered asks whether the answer to a challenge is right. It has the name that is
// asked for, which need not be what the client wrote; no digest depends on it (RFC 2195
// §2). The clear password, where authdaemond tells it, is for the backend: Courier's
// proxy uses it so.
func (s *source) answered(ctx context.Context, q account.Query) (account.Record, error) {
	a := q.Answer
	if !slices.Contains(crams, a.Method) {
		return account.Record{}, fmt.Errorf("authdaemond has no way to check %.40q; do not offer this mechanism", a.Method)
	}
	digest := a.Response[strings.LastIndexByte(a.Response, ' ')+1:]
	f, err := s.auth(ctx, q, a.Method, encode(a.Challenge), encode(q.Name+" "+digest))
	if errors.Is(err, account.ErrRefused) {
		if _, unknown := s.known(ctx, q); unknown != nil {
			return account.Record{}, unknown // another source may know the name
		}
	}
	if err != nil {
		return account.Record{}, err
	}
	if clear, ok := strings.CutPrefix(f["password"], plain); ok && account.Options(f["options"])["pass"] == "" {
		f["pass"] = clear
	}
	delete(f, "password")
	return account.Record{Fields: f, Proven: true}, nil
}

// auth asks whether what a client shows is right.
func (s *source) auth(ctx context.Context, q account.Query, method string, shown ...string) (account.Fields, error) {
	data := strings.Join(append([]string{service(q), method}, shown...), "\n") + "\n"
	text := fmt.Sprintf("AUTH %d\n%s", len(data), data)
	if remote := s.remote(q); remote != "" {
		text = "TCPREMOTEIP=" + remote + "\n" + text
	}
	return s.ask(ctx, question{text: text, shown: "AUTH " + service(q) + " " + method, no: account.ErrRefused, trace: q.Trace})
}

// A question is what authdaemond is asked.
type question struct {
	text  string
	shown string // without what is secret
	no    error  // what FAIL means
	trace *account.Trace
}

// ask asks authdaemond. If it has no answer, but one to another question, then it is
// well: a stranger's odd name must not take it away from everybody.
func (s *source) ask(ctx context.Context, q question) (f account.Fields, err error) {
	err = s.daemon.Do(ctx, func(ctx context.Context, name string, d *daemon) error {
		q.trace.Asks(name, q.shown)
		f, err = d.ask(ctx, q.text, q.no)
		if isSilence(err) && d.probe(ctx) == nil {
			return account.Final(err)
		}
		return err
	})
	return f, err
}

// service is Courier's name for the protocol.
func service(q account.Query) string {
	if q.Protocol == "" {
		return "imap"
	}
	return q.Protocol
}

// remote is the client's address, if authdaemond shall know it.
func (s *source) remote(q account.Query) string {
	if !s.sendRemote || !q.Remote.IsValid() {
		return ""
	}
	return q.Remote.Addr().Unmap().WithZone("").String()
}

// Uses is for account.Source. UsesPassword is for Answers: nothing that is remembered
// answers them.
func (s *source) Uses() account.Uses {
	u := account.UsesProtocol | account.UsesPassword
	if s.sendRemote {
		u |= account.UsesRemote
	}
	return u
}

// Health is for account.Source.
func (s *source) Health() []account.Health { return s.daemon.Health() }

// Close ends the probes.
func (s *source) Close() error {
	s.daemon.Close()
	return nil
}

// Examine implements account.Examiner.
func (s *source) Examine(ctx context.Context, report func(what string, err error)) {
	s.daemon.Each(func(name string, d *daemon) {
		ctx, cancel := context.WithTimeout(ctx, examineTime)
		defer cancel()
		report(name, d.probe(ctx))
	})
}

const examineTime = 10 * time.Second
