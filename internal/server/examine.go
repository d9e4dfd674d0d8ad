package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"usher/internal/account"
	"usher/internal/backend"
	"usher/internal/config"
	"usher/internal/proxyheader"
	"usher/internal/route"
	"usher/internal/wire"
)

// examineTime bounds what is asked of one source or server.
const examineTime = 15 * time.Second

// Examine asks what the configuration names, account sources and servers, whether
// it is there and does what is wanted of it. report hears of each thing that was
// looked at; err says what is wrong and what to do.
func Examine(ctx context.Context, cfg *config.Config, report func(what string, err error)) error {
	s, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	h := s.house.Load()
	for _, src := range h.sources {
		src.examine(ctx, string(cfg.Server.State), s.log, func(what string, err error) {
			report("accounts "+src.name+": "+what, err)
		})
	}
	h.examineTokens(ctx, report)
	h.examineBackends(ctx, report)
	h.programs.examine(report)
	return nil
}

// examine opens a source and looks at all of it.
func (s source) examine(ctx context.Context, state string, log *slog.Logger, report func(string, error)) {
	ctx, cancel := context.WithTimeout(ctx, examineTime)
	defer cancel()
	src, err := s.open(ctx, account.Site{State: state, Log: log})
	if err != nil {
		report("open", err)
		return
	}
	r := &account.Reader{Name: s.name, Source: src, Keys: s.keys, Set: s.set}
	defer r.Close()
	if n, ok := src.(interface{ Notes() []string }); ok {
		for _, note := range n.Notes() {
			report("note", errors.New(note))
		}
	}
	if e, ok := src.(account.Examiner); ok {
		e.Examine(ctx, report)
		return
	}
	_, err = r.Lookup(ctx, account.Query{Name: "usher-check-nobody", Protocol: "imap"})
	if errors.Is(err, account.ErrUnknown) {
		err = nil
	}
	report("look somebody up", err)
}

// examineBackends connects to each address of each [backend.NAME].
func (h *house) examineBackends(ctx context.Context, report func(string, error)) {
	t, opener := h.desk.Routes, h.desk.Backends.(*backend.Opener)
	for _, name := range slices.Sorted(maps.Keys(t.Backends)) {
		for _, p := range slices.Sorted(maps.Keys(t.Ports)) {
			if !h.speaks(p) || !t.Backends[name].Has(p) {
				continue
			}
			d, err := t.Backend(p, name)
			if err != nil {
				report("backend "+name, err)
				continue
			}
			for _, stop := range d.Stops {
				report(fmt.Sprintf("backend %s, %s", stop, p), greeted(ctx, opener, stop))
			}
		}
	}
}

// speaks tells whether clients may come with a protocol.
func (h *house) speaks(protocol string) bool {
	return slices.ContainsFunc(h.cfg.Listen, func(l config.Listen) bool { return l.Protocol == protocol })
}

// greeted connects to one server, under TLS if it is implicit, and waits for its
// first word.
func greeted(ctx context.Context, o *backend.Opener, s route.Stop) error {
	ctx, cancel := context.WithTimeout(ctx, examineTime)
	defer cancel()
	if s.ProxyProtocol > 0 {
		s.Preface = proxyheader.Header{}.Bytes(s.ProxyProtocol) // we speak for ourselves
	}
	c, err := o.Open(ctx, route.Dial{Stops: []route.Stop{s}, Timeout: examineTime}, func(context.Context, *wire.Conn, route.Stop) error { return nil })
	if err != nil {
		return err
	}
	return c.Close()
}
