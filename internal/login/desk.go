package login

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"time"

	"usher/internal/limit"
	"usher/internal/penalty"
	"usher/internal/policy"
	"usher/internal/relay"
	"usher/internal/route"
	"usher/internal/sasl"
	"usher/internal/session"
	"usher/internal/wire"
)

// A Desk admits logins. There is one for all protocols and listeners.
type Desk struct {
	Mechanisms   []sasl.Mechanism // that clients may use, the preferred first
	Towards      []sasl.Mechanism // that may be used towards backends
	Verifier     func(*Client) sasl.Verifier
	Name         func(c *Client, authz, name string) string // whole, of one who acts for authz, or for itself; nil: as it is
	Limits       *limit.Limits
	Penalties    *penalty.Penalties
	Policy       *policy.Service // nil: nobody else is asked whether somebody may log in
	Routes       *route.Table
	Backends     Backends
	Mint         func(backend, user string) (token string, err error) // for Login.Token; nil: no backend has that
	Sessions     *session.Registry
	Relay        relay.Engine
	Log          *slog.Logger
	Build        string        // of usher, for other nodes of the pool
	Idle         time.Duration // after login; 0: for ever
	FailureDelay time.Duration // from the question to the answer, if it is no

	expiries expiries
	once     sync.Once // for end
	end      func(relay.Stats)

	pace   pace
	loops  Brief // the log of logins that go round in a circle
	doubts Brief // and of front ends that are not trusted
}

// An Admission is a login that was let in, and not yet handed to the relay.
type Admission struct {
	Welcome Welcome

	desk    *Desk
	client  *Client
	asked   time.Time // when the client had shown its password: what it took before is its own affair
	begun   bool      // the client has shown its password, which may be looked at
	shown   string    // … until it is known whether it was right
	awaits  bool      // a proof, for which keys were made
	try     penalty.Try
	told    *policy.Login // nil: the policy service has not been asked
	who     sasl.Identity
	seat    limit.Seat
	stop    route.Stop
	backend *wire.Conn
	session *session.Session // of the stop that was asked last
}

// Admit takes a login through all questions. On success the protocol writes its
// answer and calls Join. On error it answers by ReasonOf, and the conversation
// goes on; Admit has waited and logged.
func (d *Desk) Admit(ctx context.Context, c *Client, mechanism string, x sasl.Exchange) (*Admission, error) {
	a := &Admission{desk: d, client: c}
	admitted := false
	defer func() {
		if !admitted { // also if something panicked
			a.try.Void()
			a.seat.Release()
			d.Sessions.Remove(c.ID)
		}
	}()
	err := a.open(ctx, mechanism, x)
	open := a.judge(err)
	a.report(err)
	if err != nil {
		d.logRefusal(a, err)
		a.noteRefusal(err)
		switch ReasonOf(err) {
		case BadLogin, ByPolicy, CannotTell: // in an outage too: who is remembered could be told apart, and guessed at
			_ = c.Conn.Flush() // what was answered before need not wait
			a.asked = a.asked.Add(slept(c.staying(ctx), time.Until(open)))
			d.pace.wait(ctx, a.asked, d.delay(a, err), a.stop.Addr != "")
		}
		return nil, err
	}
	admitted = true
	if a.who.Master != "" {
		d.logMaster(a)
	}
	return a, nil
}

// open is the program.
func (a *Admission) open(ctx context.Context, mechanism string, x sasl.Exchange) error {
	d, c := a.desk, a.client
	if c.ttl() <= 1 { // before anything is asked: who tells lies about it learns nothing
		return looping()
	}
	m, err := d.mechanism(c, mechanism)
	if err != nil {
		return err
	}
	a.who, err = m.Serve(ctx, x, verifier{d.Verifier(c), a}, d.Channel(c)) // who is it?
	if err != nil {
		return because(CannotTell, err)
	}
	if a.who.Proven {
		if err := a.permit(ctx); err != nil { // may they, and is there room?
			return err
		}
	}
	if err = a.lead(ctx); err != nil && a.hasMoved(ctx) {
		err = a.lead(ctx)
	}
	if err != nil {
		return err
	}
	if !a.who.Proven { // a stranger learns nothing of an account, and takes no room from its owner
		if err := a.permit(ctx); err != nil {
			_ = a.backend.Close()
			return err
		}
	}
	return nil
}

// lead takes the login to its server.
func (a *Admission) lead(ctx context.Context) error {
	v := route.Visit{Protocol: a.client.Protocol.Info().Name, Remote: a.client.Remote.Addr(), Account: a.who.Account}
	target, err := a.desk.Routes.Place(v) // where to?
	if err != nil {
		return a.unplaced(err)
	}
	if err := a.trusting(target); err != nil {
		return err
	}
	if target, err = a.announced(target); err != nil {
		return err
	}
	a.backend, err = a.desk.openBackend(ctx, target, a.enter) // is anybody there, and may we come in?
	if err != nil {
		return a.blame(err)
	}
	return nil
}

// hasMoved tells whether the account lives elsewhere than was remembered. Before a
// login fails for that, its source is asked again.
func (a *Admission) hasMoved(ctx context.Context) bool {
	if a.who.Again == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, proofTime)
	defer cancel()
	now, err := a.who.Again(ctx)
	if err != nil || now.Proven != a.who.Proven || reflect.DeepEqual(now.Account.Place, a.who.Account.Place) {
		return false
	}
	if denied, err := now.Account.Refuses(a.client.Query()); err != nil || denied != nil {
		return false // it has been closed
	}
	a.who = now
	return true
}

// permit tells whether a proven client may have a session, and counts it.
func (a *Admission) permit(ctx context.Context) error {
	if err := a.consultAgain(ctx); err != nil {
		return err
	}
	d, err := a.who.Account.Refuses(a.client.Query())
	switch {
	case err != nil:
		return because(BadLogin, err)
	case d != nil:
		return denied(d)
	}
	if err := a.pause(ctx); err != nil {
		return because(Unavailable, err)
	}
	seat, err := a.desk.Limits.Session(a.who.Account.Name, a.client.Remote.Addr())
	if err != nil {
		return because(TooMany, err)
	}
	a.seat = seat
	a.client.Place.Proven()
	return nil
}

// pause waits as long as the account's source wants it to.
func (a *Admission) pause(ctx context.Context) error {
	wait, err := a.who.Account.Access.Wait(time.Now())
	if err != nil {
		return fmt.Errorf("accounts %q: user %q: %w", a.who.Account.Source, a.who.Account.Name, err)
	}
	sleep(ctx, wait)
	return ctx.Err()
}

// unplaced is the refusal of a login that has nowhere to go. That a route refuses
// an account is for those to know who have proven that it is theirs.
func (a *Admission) unplaced(err error) error {
	if errors.Is(err, route.ErrRefused) && !a.who.Proven {
		return &Refusal{Reason: BadLogin, Err: err}
	}
	return because(Unavailable, fmt.Errorf("accounts %q: user %q: %w", a.who.Account.Source, a.who.Account.Name, err))
}

// blame says whose fault a server's refusal is: if we know that the password is
// right, then a server that calls it wrong is wrong itself.
func (a *Admission) blame(err error) error {
	if ReasonOf(err) == BadLogin && a.who.Proven {
		return &Refusal{Reason: Unavailable, Err: fmt.Errorf("the password is right, but: %w", err)}
	}
	return err // what is no Refusal is Unavailable: it was not the client's doing
}

// Apart is implemented by an Engine whose sessions go on when this process is killed.
type Apart interface {
	Apart() bool
}

// answer sends the protocol's answer. With a relay apart it is the first thing that the
// relay tells the client: then whoever has heard that he is in has a session that does not
// end with us.
func (a *Admission) answer() (unsent []byte, err error) {
	if apart, ok := a.desk.Relay.(Apart); ok && apart.Apart() {
		unsent, err = a.client.Conn.Unsent()
	} else {
		err = a.client.Conn.Flush()
	}
	return unsent, errors.Join(err, a.backend.Flush())
}

// Join sends the protocol's answer and gives both connections to the relay. The
// Admission and the client's Conn must not be used afterwards.
func (a *Admission) Join() error {
	d, c, s := a.desk, a.client, a.session
	unsent, err := a.answer()
	if err != nil {
		c.Record.End("gone before the session began: %v", err)
		a.seat.Release()
		d.Sessions.Remove(s.ID)
		_ = a.backend.Close()
		d.logSession(s, relay.Stats{Ended: relay.ClientFailed})
		return err
	}
	a.noteAdmitted()
	s.Seat = a.seat
	d.resume(s)
	pair := relay.Pair{
		ID: uint64(s.ID), Client: c.Conn.Detach(), Server: a.backend.Detach(),
		Idle: d.Idle, Farewell: c.Protocol.Info().Farewell, Note: s.Note(),
	}
	pair.Server.Pending = append(unsent, pair.Server.Pending...)
	d.Relay.Start(pair, d.ending())
	return nil
}

// Adopt goes on with a session that another process has let in.
func (d *Desk) Adopt(s *session.Session, p relay.Pair) {
	if !s.Near.IsValid() { // the other process was older
		s.Near, s.Far = wire.AddrPort(p.Server.Conn.LocalAddr()), wire.AddrPort(p.Server.Conn.RemoteAddr())
	}
	p.Note = s.Note()
	d.Relay.Start(p, d.Resume(s))
}

// Resume counts a session that goes on without us, and returns what is to be done when it
// has ended.
func (d *Desk) Resume(s *session.Session) (done func(relay.Stats)) {
	if known := d.Sessions.Get(s.ID); known != nil { // whoever gives it to us has done so before
		s.Seat = known.Seat
	} else {
		s.Seat = d.Limits.Adopt(s.Account, s.Remote.Addr())
	}
	if network, exempt := d.Limits.Network(s.Remote.Addr()); !exempt {
		d.Penalties.Know(network, s.Account)
	}
	d.resume(s)
	return d.ending()
}

// resume enters a session, and has it end in time.
func (d *Desk) resume(s *session.Session) {
	d.Sessions.Add(s)
	d.expiries.add(s.ID, s.Until, d.Relay)
}

// ending is ended. It is one for all sessions: each of its own would lie among the
// garbage of logins for as long as the session lasts.
func (d *Desk) ending() func(relay.Stats) {
	d.once.Do(func() { d.end = d.ended })
	return d.end
}

// ended is called when a session has ended, or has moved: then the process that has it
// will log it.
func (d *Desk) ended(st relay.Stats) {
	id := session.ID(st.ID)
	d.expiries.remove(id)
	s := d.Sessions.Get(id)
	if s == nil {
		d.Log.Error("a session has ended that nobody knew", "id", id.String(), "why", string(st.Ended))
		return
	}
	s.Seat.Release()
	if st.Ended != relay.Moved {
		d.logSession(s, st)
	}
	d.Sessions.Remove(id)
}
