package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"time"

	"usher/internal/account"
	"usher/internal/admin"
	"usher/internal/backend"
	"usher/internal/config"
	"usher/internal/route"
)

// explainTime bounds an explanation: as long as a login may take over its sources.
const explainTime = 15 * time.Second

// Explain implements admin.Daemon, with what this process remembers and knows of the
// servers' health.
func (s *Server) Explain(ctx context.Context, r admin.Riddle) (admin.Explanation, error) {
	e, err := s.house.Load().explain(ctx, r)
	e.Running = true
	return e, err
}

// Explain says what would become of a login by a configuration, where no usher runs.
func Explain(ctx context.Context, cfg *config.Config, r admin.Riddle) (admin.Explanation, error) {
	h, err := opened(ctx, cfg)
	if err != nil {
		return admin.Explanation{}, err
	}
	defer h.close()
	return h.explain(ctx, r)
}

// opened is a house that lets nobody in.
func opened(ctx context.Context, cfg *config.Config) (*house, error) {
	s, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	h := s.house.Load()
	return h, h.open(ctx, s.log, 1)
}

// explain goes the way of a login without logging in.
func (h *house) explain(ctx context.Context, r admin.Riddle) (admin.Explanation, error) {
	ctx, cancel := context.WithTimeout(ctx, explainTime)
	defer cancel()
	q, err := h.query(r)
	e := admin.Explanation{User: r.User, Name: q.Name, Protocol: q.Protocol, PID: os.Getpid(), Verdict: admin.Found}
	switch {
	case errors.Is(err, account.ErrRefused): // there can be no such name
		e.Verdict, e.Why = admin.Refused, err.Error()
		return e, nil
	case err != nil:
		return admin.Explanation{}, err
	}
	q.Trace = &account.Trace{}
	a, err := h.chain.Lookup(ctx, q)
	e.Steps = steps(q.Trace)
	if err != nil {
		e.Verdict, e.Why = verdict(err), err.Error()
		return e, nil
	}
	e.Account = h.describe(a, q)
	if r.Password != "" {
		e.Password = h.verify(ctx, a, r.Password)
	}
	if e.Password == wrongPassword {
		e.Verdict, e.Why = admin.Refused, account.ErrRefused.Error()
		return e, nil
	}
	h.explainRoute(ctx, &e, a, q)
	return e, nil
}

// query is what a login would ask.
func (h *house) query(r admin.Riddle) (account.Query, error) {
	q := account.Query{Name: r.User, Protocol: r.Protocol, Password: r.Password, TLS: true}
	if protocol(r.Protocol) == nil {
		return q, fmt.Errorf("there is no protocol %.40q", r.Protocol)
	}
	q.Remote = netip.AddrPortFrom(netip.IPv6Loopback(), 0)
	if r.Remote != "" {
		addr, err := netip.ParseAddr(r.Remote)
		if err != nil {
			return q, fmt.Errorf("%.80q is not an address", r.Remote)
		}
		q.Remote = netip.AddrPortFrom(addr, 0)
	}
	domain := ""
	for _, l := range h.cfg.Listen {
		if l.Protocol == r.Protocol {
			domain = l.DefaultDomain
			break
		}
	}
	var err error
	q.Name, err = h.names.Canonical(r.User, domain)
	return q, err
}

func verdict(err error) string {
	switch {
	case errors.Is(err, account.ErrUnknown):
		return admin.Unknown
	case errors.Is(err, account.ErrRefused):
		return admin.Refused
	}
	return admin.CannotTell
}

func steps(t *account.Trace) (list []admin.Step) {
	for _, s := range t.Steps {
		one := admin.Step{
			Source: s.Source, Key: s.Key, TookMS: float64(s.Took.Microseconds()) / 1000, Cached: s.Cached, AgeSecs: s.Age.Seconds(),
			Fields: s.Fields.Starred(), Set: s.Set.Starred(), Skipped: s.Skipped,
		}
		if s.Err != nil {
			one.Error = s.Err.Error()
		}
		for _, a := range s.Asked {
			one.Asked = append(one.Asked, admin.Asked{Server: a.Server, Text: a.Text})
		}
		list = append(list, one)
	}
	return list
}

func (h *house) describe(a *account.Account, q account.Query) *admin.Account {
	d := &admin.Account{Name: a.Name, Source: a.Source, Proof: proofInWords(a.Proof), Access: "may log in", Attrs: account.Fields(a.Attrs).Starred()}
	switch denied, err := a.Refuses(q); {
	case err != nil:
		d.Access = err.Error()
	case denied != nil:
		d.Access = strings.TrimSpace(fmt.Sprintf("may not log in: %s %s", denied.Code, denied.Text))
	}
	if wait, err := a.Access.Wait(time.Now()); err != nil {
		d.Access = err.Error()
	} else if wait > 0 {
		d.Access += fmt.Sprintf(", after %s", wait.Round(time.Second))
	}
	return d
}

// proofInWords says who checks a password, and by what.
func proofInWords(p account.Proof) string {
	switch p := p.(type) {
	case nil:
		return "the server behind checks the password"
	case account.Hashed:
		var names []string
		for _, hash := range p.Hashes {
			names = append(names, schemeOf(hash))
		}
		return "usher checks the password: " + strings.Join(names, ", ")
	case fmt.Stringer:
		return p.String()
	}
	return "the source checks the password"
}

func schemeOf(hash string) string {
	if scheme, _, ok := strings.Cut(hash, "}"); ok {
		return scheme + "}"
	}
	return "crypt(3)"
}

const wrongPassword = "wrong"

func (h *house) verify(ctx context.Context, a *account.Account, clear string) string {
	if a.Proof == nil {
		return "the server behind would tell"
	}
	switch err := a.Proof.Check(ctx, clear); {
	case err == nil:
		return "right"
	case errors.Is(err, account.ErrRefused):
		return wrongPassword
	default:
		return err.Error()
	}
}

// explainRoute says where the login goes, and how the servers there are.
func (h *house) explainRoute(ctx context.Context, e *admin.Explanation, a *account.Account, q account.Query) {
	v := route.Visit{Protocol: q.Protocol, Remote: q.Remote.Addr(), Account: a}
	e.Route = h.desk.Routes.Why(v)
	target, err := h.desk.Routes.Place(v)
	if err != nil {
		e.Verdict, e.Why = admin.CannotTell, err.Error()
		if errors.Is(err, route.ErrRefused) {
			e.Verdict = admin.Refused
		}
		return
	}
	d := target.(route.Dial)
	e.Timeout = d.Timeout.String()
	health, err := h.desk.Backends.(*backend.Opener).Health(ctx, d)
	if err != nil {
		e.Why = err.Error()
	}
	if len(health) == 0 {
		e.Verdict = admin.CannotTell
	}
	for _, one := range health {
		e.Stops = append(e.Stops, admin.StopHost{
			Backend: one.Stop.Backend, Addr: one.Stop.Addr, IP: one.Addr, TLS: one.Stop.TLS.String(), Login: loginInWords(one.Stop),
			Sick: !one.Sick.IsZero(), Until: one.Sick, Program: h.programOf(one.Stop),
		})
	}
}

// programOf is what would be started at a stop, and as whom.
func (h *house) programOf(s route.Stop) *admin.Program {
	x := s.Exec
	if x == nil {
		return nil
	}
	p := &admin.Program{Speaks: string(x.Speaks), UID: x.UID, GID: x.GID, Home: x.Home, Mail: x.Mail}
	if h.programs != nil {
		p.Path = h.programs.commands[x.Program].Words[0]
	}
	return p
}

func loginInWords(s route.Stop) string {
	l := s.Login
	switch {
	case s.Exec != nil:
		return s.Exec.User + ", without a password"
	case l.Token:
		return l.User + ", with a token of usher's"
	case l.Master != "":
		return fmt.Sprintf("%s, for %s", l.Master, l.User)
	case l.Password != "":
		return l.User + ", with a password of its own"
	}
	return l.User + ", with the client's password or token"
}
