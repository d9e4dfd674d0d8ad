package login_test

import (
	"context"
	"strings"
	"testing"

	"usher/internal/account"
	"usher/internal/login"
	"usher/internal/relay"
	"usher/internal/route"
	"usher/internal/sasl"
	"usher/internal/wire"
)

// localStage is a stage whose account is served by a program of this machine.
func localStage() *stage {
	s := newStage()
	s.desk.Routes.Local = &route.Local{
		Programs: map[string]route.Program{"default": {Speaks: route.Dovecot, Mail: map[string]string{"test": "test"}}}, Default: "default",
	}
	s.verifier(proven(owned()))
	return s
}

func owned() *account.Account {
	return &account.Account{Name: "ann", Attrs: map[string]string{"uid": "1000", "gid": "1000", "home": "/home/ann"}}
}

func TestAProgramIsToldWhoTheClientIsAndNeedsNoPassword(t *testing.T) {
	s := localStage()
	s.client.UTF8 = true
	s.verifier(func(string, string) (sasl.Identity, error) { return sasl.Identity{Account: owned(), Proven: true}, nil }) // shows none
	var told route.Told
	s.desk.Backends = open(func(ctx context.Context, to route.Target, enter func(context.Context, *wire.Conn, route.Stop) error) (*wire.Conn, error) {
		told = to.(route.Dial).Stops[0].Exec.Client
		return s.open(ctx, to, enter)
	})
	a, err := s.admit(t)
	if err != nil {
		t.Fatal(err)
	}
	if told.ID != s.client.ID.String() || told.Remote != s.client.Remote || told.TLS || !told.UTF8 {
		t.Errorf("the program is told %+v", told)
	}
	if ticket := s.tickets[0]; !ticket.Preauth || !ticket.Silent || ticket.Password != "" || ticket.Token != "" {
		t.Errorf("the ticket is %+v", ticket)
	}
	_ = a.Join()
}

// Nothing is started for somebody whose password nobody has checked.
func TestNobodyUnprovenReachesAProgram(t *testing.T) {
	s := localStage()
	s.verifier(unproven(owned()))
	s.desk.Backends = open(func(context.Context, route.Target, func(context.Context, *wire.Conn, route.Stop) error) (*wire.Conn, error) {
		t.Error("it is started")
		return nil, errDeaf
	})
	if _, err := s.admit(t); login.ReasonOf(err) != login.Misconfigured {
		t.Errorf("the error is %v", err)
	}
	s.roomLeft(t)
}

// The log says that a program has ended, not that somebody has closed a connection.
func TestTheLogSaysThatAProgramHasEnded(t *testing.T) {
	s := localStage()
	s.desk.Relay = ending(relay.BackendClosed)
	a, err := s.admit(t)
	if err != nil {
		t.Fatal(err)
	}
	_ = a.Join()
	if !strings.Contains(s.log.String(), `why="program ended"`) {
		t.Errorf("the log says %s", s.log.String())
	}
}

// ending is an engine whose pairs end at once.
type ending relay.Ending

func (e ending) Start(p relay.Pair, done func(relay.Stats)) {
	done(relay.Stats{ID: p.ID, Ended: relay.Ending(e)})
}
func (ending) Kick(uint64, relay.Ending) bool { return false }
func (ending) Release(uint64) (relay.Pair, func(relay.Stats), bool) {
	return relay.Pair{}, nil, false
}
