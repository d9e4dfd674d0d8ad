package login_test

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"usher/internal/account"
	"usher/internal/limit"
	"usher/internal/login"
	"usher/internal/proxyheader"
	"usher/internal/relay"
	"usher/internal/relay/relaytest"
	"usher/internal/route"
	"usher/internal/sasl"
	"usher/internal/session"
	"usher/internal/wire"
)

var (
	ours   = netip.MustParseAddrPort("10.0.0.1:43211")
	theirs = netip.MustParseAddrPort("10.0.0.2:143")
)

// told makes the client one of which a trusted front end has told.
func (s *stage) told(facts map[login.Fact]string) {
	s.client.Trusted, s.client.Peer = true, s.client.Remote
	for f, value := range facts {
		_ = s.client.Told(f, value)
	}
}

func TestWhatIsToldOfTLSCounts(t *testing.T) {
	for _, c := range []struct {
		name             string
		told             string // by a trusted proxy
		header           *proxyheader.Header
		never            bool // passwords without TLS
		secured, tls     bool
		logged, reported string
	}{
		{name: "nothing", logged: "no", reported: "insecure", secured: true},
		{name: "nothing, and passwords need TLS", never: true, logged: "no", reported: "insecure"},
		{name: "TLS", told: "TLS", never: true, secured: true, tls: true, logged: "TLS", reported: "TLS"},
		{name: "insecure", told: "insecure", never: true, secured: true, logged: "no", reported: "insecure"},
		{name: "a version, by a load balancer", header: &proxyheader.Header{TLS: "TLSv1.3"}, never: true, secured: true, tls: true, logged: "TLSv1.3", reported: "TLS"},
		{name: "nothing, by a load balancer", header: &proxyheader.Header{}, never: true, logged: "no", reported: "insecure"},
	} {
		s := newStage()
		if c.never {
			s.client.Terms.Cleartext = login.CleartextNever
		}
		if c.told != "" {
			s.told(map[login.Fact]string{login.FactTransport: c.told})
		}
		if c.header != nil {
			s.client.Introduce(*c.header)
		}
		if s.client.Secured() != c.secured || s.client.Query().TLS != c.tls {
			t.Errorf("%s: passwords %v, TLS %v", c.name, s.client.Secured(), s.client.Query().TLS)
		}
		if got := (login.Ticket{Client: s.client, Trusted: true}).Fact(login.FactTransport); got != c.reported {
			t.Errorf("%s: backends hear %q, want %q", c.name, got, c.reported)
		}
		s.refusal = login.Refused("the server", "LIMIT", "no")
		s.client.Terms.Cleartext = login.CleartextAlways
		_, _ = s.admit(t)
		if !strings.Contains(s.log.String(), " tls="+c.logged+" ") {
			t.Errorf("%s: want %q in the log, which says %s", c.name, c.logged, &s.log)
		}
	}
}

// A password from this machine is a password from elsewhere, if the load balancer
// that brings it says so.
func TestALoadBalancerOnThisMachineMakesNobodyLocal(t *testing.T) {
	s := newStage()
	s.client.Terms.Cleartext = login.CleartextLoopback
	s.client.Remote = netip.MustParseAddrPort("127.0.0.1:1")
	if !s.client.Secured() {
		t.Error("a program of this machine may not show its password")
	}
	s.client.Introduce(proxyheader.Header{Remote: netip.MustParseAddrPort("192.0.2.7:1"), Local: theirs})
	if s.client.Secured() {
		t.Error("a client from elsewhere may")
	}
}

func TestTheNameThatAClientAskedForIsTold(t *testing.T) {
	s := newStage()
	s.client.Introduce(proxyheader.Header{ServerName: "mail.example.org"})
	if got := s.client.Query().ServerName; got != "mail.example.org" {
		t.Errorf("sources hear %q", got)
	}
	s.told(map[login.Fact]string{login.FactServerName: "other.example.org"})
	if got := (login.Ticket{Client: s.client, Trusted: true}).Fact(login.FactServerName); got != "other.example.org" {
		t.Errorf("backends hear %q", got)
	}
}

func TestNobodyElseIsToldWhoTheClientIs(t *testing.T) {
	s := newStage()
	s.client.Says([]login.Pair{{Name: "name", Value: "mutt"}})
	tk := login.Ticket{Client: s.client}
	for f := login.FactID; f <= login.FactServerName; f++ {
		if got := tk.Fact(f); got != "" && f != login.FactTTL {
			t.Errorf("fact %d: %q", f, got)
		}
	}
	if tk.Own() != nil || tk.Forward() != nil || tk.Fact(login.FactTTL) != "4" {
		t.Errorf("%v, %v, %s", tk.Own(), tk.Forward(), tk.Fact(login.FactTTL))
	}
}

// One ID names a session in the logs of all proxies and of the server.
func TestTheFirstProxysIDGoesOn(t *testing.T) {
	s := newStage()
	tk := login.Ticket{Client: s.client, Trusted: true}
	if got := tk.Fact(login.FactID); got != s.client.ID.String() {
		t.Errorf("our own: %q", got)
	}
	s.told(map[login.Fact]string{login.FactID: "front/1"})
	if got := tk.Fact(login.FactID); got != "front/1" {
		t.Errorf("the front end's: %q", got)
	}
}

func TestTheLogSaysByWhomAClientCame(t *testing.T) {
	s := newStage()
	s.told(map[login.Fact]string{login.FactAddr: "2001:db8::7", login.FactPort: "4711", login.FactID: "front/1"})
	s.refusal = login.Refused("the server", "LIMIT", "no")
	_, _ = s.admit(t)
	want := []string{"time", "level", "msg", "id", "protocol", "remote", "tls", "why", "via", "ext", "user", "target", "err"}
	if got := keys(t, s.log.String()); !slices.Equal(got, want) {
		t.Errorf("refused: %q, want %q", got, want)
	}
	s.log.Reset()
	s.refusal = nil
	a, err := s.admit(t)
	if err != nil {
		t.Fatal(err)
	}
	_ = a.Join()
	want = []string{
		"time", "level", "msg", "id", "protocol", "remote", "tls", "why", "via", "ext", "user", "target",
		"bytes", "from_client", "from_server", "seconds",
	}
	if got := keys(t, s.log.String()); !slices.Equal(got, want) {
		t.Errorf("ended: %q, want %q", got, want)
	}
	for _, want := range []string{"remote=[2001:db8::7]:4711", "via=192.0.2.7:40000", "ext=front/1"} {
		if !strings.Contains(s.log.String(), want) {
			t.Errorf("%s is not in %s", want, &s.log)
		}
	}
}

func TestAnAccountsAttributesGoOnToTrustedBackends(t *testing.T) {
	for _, trusted := range []bool{true, false} {
		s := newStage()
		b := s.desk.Routes.Backends[route.Default]
		b.Trusted = trusted
		s.desk.Routes.Backends[route.Default] = b
		s.told(nil)
		s.client.Forwarded(login.Pair{Name: "rack", Value: "7"})
		s.client.Forwarded(login.Pair{Name: "plan", Value: "none"})
		attrs := map[string]string{"forward_plan": "gold", "forward_": "x", "other": "y", "forward_long": strings.Repeat("x", 1025)}
		for _, name := range []string{"a", "b", "c"} {
			attrs["forward_"+name] = strings.Repeat(name, 1000)
		}
		s.verifier(proven(&account.Account{Name: "ann", Attrs: attrs}))
		if _, err := s.admit(t); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range s.tickets[0].Forward() {
			got = append(got, p.Name+"="+p.Value[:min(4, len(p.Value))])
		}
		want := []string{"a=aaaa", "b=bbbb", "plan=gold", "rack=7"} // c is one too much
		if !trusted {
			want = nil
		}
		if !slices.Equal(got, want) {
			t.Errorf("trusted %v: %q, want %q", trusted, got, want)
		}
	}
}

func TestABackendHearsThePROXYHeaderThatItWants(t *testing.T) {
	s := newStage()
	b := s.desk.Routes.Backends[route.Default]
	b.ProxyProtocol = 1
	s.desk.Routes.Backends[route.Default] = b
	s.client.Local = theirs
	var preface string
	s.desk.Backends = open(func(ctx context.Context, target route.Target, enter func(context.Context, *wire.Conn, route.Stop) error) (*wire.Conn, error) {
		preface = string(target.(route.Dial).Stops[0].Preface)
		return s.open(ctx, target, enter)
	})
	if _, err := s.admit(t); err != nil {
		t.Fatal(err)
	}
	if want := "PROXY TCP4 192.0.2.7 10.0.0.2 40000 143\r\n"; preface != want {
		t.Errorf("%q, want %q", preface, want)
	}
}

// A circle ends, whoever the client is, and tells nothing about passwords.
func TestALoginThatHasComeTooFarIsRefusedUnasked(t *testing.T) {
	for ttl, refused := range map[string]bool{"0": true, "1": true, "2": false, "5": false, "99999": true /* no number */} {
		s := newStage()
		err := s.client.Told(login.FactTTL, ttl)
		if ttl == "99999" {
			if err == nil {
				t.Error("99999 is a hop count")
			}
			continue
		}
		asked := false
		s.verifier(func(string, string) (sasl.Identity, error) {
			asked = true
			return sasl.Identity{Account: &account.Account{Name: "ann"}, Password: "secret", Proven: true}, nil
		})
		_, err = s.admit(t)
		if refused != (err != nil) || refused == asked || refused && login.ReasonOf(err) != login.Looping {
			t.Errorf("%s: asked %v, %v", ttl, asked, err)
		}
	}
}

func TestHopsAreNeverTakenBack(t *testing.T) {
	s := newStage()
	for _, ttl := range []string{"2", "5", "3"} {
		_ = s.client.Told(login.FactTTL, ttl)
	}
	if got := (login.Ticket{Client: s.client}).Fact(login.FactTTL); got != "1" {
		t.Errorf("the next one hears %s", got)
	}
}

// Every proxy of a circle refuses the login, some of them several times.
func TestACircleIsOneLineInTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		s.refusal = login.Refused("the server", "SERVERBUG", login.Loops)
		for range 4 {
			_, _ = s.admit(t)
		}
		if n := strings.Count(s.log.String(), "\n"); n != 1 || !strings.Contains(s.log.String(), "why=looping") {
			t.Errorf("%d lines: %s", n, &s.log)
		}
		time.Sleep(time.Second)
		_, _ = s.admit(t)
		if !strings.Contains(s.log.String(), "others=3\n") {
			t.Errorf("after a second: %s", &s.log)
		}
	})
}

func TestUshersKnowEachOther(t *testing.T) {
	for _, hostname := range []string{"mail.example.org", "usher", "", "usher.example.org"} {
		if g := (login.Terms{Hostname: hostname}).Greeting(); !login.IsUsher(g) {
			t.Errorf("%q is not known again", g)
		}
	}
	for _, other := range []string{"Dovecot ready.", "usher", "usher already", "ready", "", "mail.example.org ready", "an-usher ready"} {
		if login.IsUsher(other) {
			t.Errorf("%q passes for an usher", other)
		}
	}
}

// A server may ask who comes before it has greeted.
func TestALoginOnItsWayIsKnown(t *testing.T) {
	s := newStage()
	var during []*session.Session
	s.client.Protocol = proto{func(login.Ticket) (login.Welcome, error) {
		during = s.desk.Sessions.Behind(ours)
		return login.Welcome{}, s.refusal
	}}
	for _, refusal := range []error{login.Refused("the server", "AUTH", "no"), nil} {
		s.refusal = refusal
		a, err := s.admit(t)
		if len(during) != 1 || during[0].Account != "ann" || during[0].Remote != s.client.Remote || during[0].Far != theirs {
			t.Errorf("while it is on its way: %+v", during)
		}
		if err == nil {
			_ = a.Join() // and it ends at once
		}
		if left := s.desk.Sessions.Behind(ours); len(left) > 0 {
			t.Errorf("afterwards: %+v", left)
		}
	}
}

// Sessions of a process that was older have no ends in their description.
func TestAnAdoptedSessionIsKnownByItsEnds(t *testing.T) {
	s := newStage()
	near, far := relaytest.Sockets(t)
	client, _ := net.Pipe()
	var known []*session.Session
	s.desk.Relay = starting{s.engine, func() { known = s.desk.Sessions.Behind(wire.AddrPort(near.LocalAddr())) }}
	s.desk.Adopt(&session.Session{ID: 7, Account: "ann"}, relay.Pair{ID: 7, Client: relay.Leg{Conn: client}, Server: relay.Leg{Conn: near}})
	if len(known) != 1 || known[0].Far != wire.AddrPort(far.LocalAddr()) {
		t.Errorf("behind %v are %+v", near.LocalAddr(), known)
	}
	_, _, _ = near.Close(), far.Close(), client.Close()
}

// A relay process that was replaced in a hurry may tell of a session twice.
func TestASessionThatIsAdoptedTwiceIsCountedOnce(t *testing.T) {
	s := newStage()
	s.desk.Limits.Set(limit.Bounds{SessionsPerUser: 1})
	var ended func(relay.Stats)
	for range 2 {
		ended = s.desk.Resume(&session.Session{ID: 7, Account: "ann"})
	}
	ended(relay.Stats{ID: 7, Ended: relay.ClientLeft})
	if seat, err := s.desk.Limits.Session("ann", netip.Addr{}); err != nil || s.desk.Sessions.Len() > 0 {
		t.Errorf("its seat is taken (%v); %d sessions are left", err, s.desk.Sessions.Len())
	} else {
		seat.Release()
	}
}

// starting is an engine that is looked at.
type starting struct {
	*engine
	look func()
}

func (s starting) Start(p relay.Pair, done func(relay.Stats)) {
	s.look()
	s.engine.Start(p, done)
}
