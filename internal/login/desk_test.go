package login_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"usher/internal/account"
	"usher/internal/limit"
	"usher/internal/login"
	"usher/internal/route"
	"usher/internal/sasl"
	"usher/internal/wire"
)

func TestALoginThatIsLetInIsRelayed(t *testing.T) {
	s := newStage()
	s.backend.says = strings.NewReader("* 1 EXISTS\r\n")
	a, err := s.admit(t)
	if err != nil || a.Welcome.Text != "welcome" {
		t.Fatalf("%+v, %v", a, err)
	}
	if want := (login.Ticket{Client: s.client, User: "ann", Password: "secret"}); s.tickets[0] != want {
		t.Errorf("the server is shown %+v, want %+v", s.tickets[0], want)
	}
	_ = s.client.Conn.WriteLine("OK welcome")
	if err := a.Join(); err != nil {
		t.Fatal(err)
	}
	if s.peer.heard.String() != "OK welcome\r\n" || len(s.engine.started) != 1 {
		t.Errorf("the client heard %q, %d pairs were started", &s.peer.heard, len(s.engine.started))
	}
	p := s.engine.started[0]
	if p.Client.Conn != s.peer || p.Server.Conn != s.backend || p.ID != uint64(s.client.ID) || p.Farewell != "bye\r\n" {
		t.Errorf("the pair is %+v", p)
	}
	if s.desk.Sessions.Len() != 0 {
		t.Error("an ended session is still listed")
	}
	s.roomLeft(t)
}

// The process may be killed at any time: a client that has heard that it is in would be
// out if it were told before the other process knows of it.
func TestWithARelayApartTheAnswerGoesAlongWithTheSession(t *testing.T) {
	s := newStage()
	s.engine.apart = true
	s.peer.says = strings.NewReader("login\r\n")
	s.backend.says = strings.NewReader("")
	if _, err := s.client.Conn.ReadLine(); err != nil {
		t.Fatal(err)
	}
	a, err := s.admit(t)
	if err != nil {
		t.Fatal(err)
	}
	_ = s.client.Conn.WriteLine("OK welcome")
	if err := a.Join(); err != nil {
		t.Fatal(err)
	}
	if got := string(s.engine.started[0].Server.Pending); got != "OK welcome\r\n" || s.peer.heard.Len() > 0 {
		t.Errorf("the relay is to say %q, and %q was said", got, &s.peer.heard)
	}
}

func TestAClientThatIsGoneIsNotRelayed(t *testing.T) {
	s := newStage()
	a, err := s.admit(t)
	if err != nil {
		t.Fatal(err)
	}
	s.peer.deaf = true
	_ = s.client.Conn.WriteLine("OK welcome")
	if err := a.Join(); !errors.Is(err, errDeaf) || len(s.engine.started) > 0 {
		t.Errorf("%v, %d pairs were started", err, len(s.engine.started))
	}
	if !s.backend.closed || s.desk.Sessions.Len() > 0 {
		t.Error("its backend connection or session is left over")
	}
	s.roomLeft(t)
}

// Every way in which a login can fail has a reason, and leaves nothing behind.
func TestReasonsOfRefusals(t *testing.T) {
	ann := &account.Account{Name: "ann"}
	denied := func(code string) *account.Account {
		return &account.Account{Name: "ann", Denied: &account.Denied{Code: code, Text: "sorry"}}
	}
	server := func(code string) func(*stage) {
		return func(s *stage) { s.refusal = login.Refused("the server", code, "words") }
	}
	and := func(fs ...func(*stage)) func(*stage) {
		return func(s *stage) {
			for _, f := range fs {
				f(s)
			}
		}
	}
	who := func(v verify) func(*stage) { return func(s *stage) { s.verifier(v) } }
	rule := func(s *stage) { s.desk.Routes.Rules = []route.Rule{{To: route.ToRefuse}} }
	for _, c := range []struct {
		name   string
		change func(*stage)
		want   login.Reason
	}{
		{"unknown name", who(failing(account.ErrUnknown)), login.BadLogin},
		{"wrong password", who(failing(fmt.Errorf("x: %w", account.ErrRefused))), login.BadLogin},
		{"malformed", who(failing(sasl.ErrMalformed)), login.Malformed},
		{"source down", who(failing(errors.New("refused"))), login.CannotTell},
		{"source too slow", who(failing(context.DeadlineExceeded)), login.CannotTell},
		{"denied", who(proven(denied(""))), login.Disabled},
		{"disabled", who(proven(denied("user_disabled"))), login.Disabled},
		{"expired", who(proven(denied("pass_expired"))), login.Expired},
		{"not permitted", who(proven(denied("authz_fail"))), login.NotPermitted},
		{"for now", who(proven(denied("temp_fail"))), login.CannotTell},
		{"denied, known from the server", who(unproven(denied("pass_expired"))), login.Expired},
		{"denied to a stranger", and(who(unproven(denied("pass_expired"))), server("")), login.BadLogin},
		{"route refuses", rule, login.NotPermitted},
		{"route refuses a stranger", and(rule, who(unproven(ann))), login.BadLogin},
		{"nowhere to go", func(s *stage) { s.desk.Routes.Backends = nil }, login.Unavailable},
		{"bad host", who(proven(&account.Account{Name: "ann", Place: account.Place{Hosts: []string{"a b"}}})), login.Unavailable},
		{"backend down", func(s *stage) { s.refusal = errors.New("EOF") }, login.Unavailable},
		{"backend says wrong, we know better", server("AUTHENTICATIONFAILED"), login.Unavailable},
		{"backend says wrong", and(who(unproven(ann)), server("AUTHENTICATIONFAILED")), login.BadLogin},
		{"backend says wrong without a code", and(who(unproven(ann)), server("")), login.BadLogin},
		{"backend says wrong, POP3", and(who(unproven(ann)), server("AUTH")), login.BadLogin},
		{"backend is full", server("UNAVAILABLE"), login.Unavailable},
		{"backend is full, POP3", server("SYS/TEMP"), login.Unavailable},
		{"backend is broken", server("SERVERBUG"), login.Misconfigured},
		{"backend is broken, POP3", server("SYS/PERM"), login.Misconfigured},
		{"backend's other codes", server("LIMIT"), login.NotPermitted},
		{"no password of ours for the unproven", func(s *stage) {
			s.verifier(unproven(ann))
			s.desk.Routes.Backends[route.Default] = route.Backend{Addrs: map[string][]string{"": {"mail"}}, Master: "m", MasterPassword: "mpw"}
		}, login.Misconfigured},
		{"unknown mechanism towards the server", who(proven(&account.Account{Name: "ann", Place: account.Place{Mechanism: "NTLM"}})), login.Misconfigured},
	} {
		s := newStage()
		c.change(s)
		a, err := s.admit(t)
		if got := login.ReasonOf(err); err == nil || got != c.want {
			t.Errorf("%s: %v, %v; want %v", c.name, a, got, c.want)
		}
		if len(s.tickets) > 0 && !s.backend.closed {
			t.Errorf("%s: the connection to the server is left open", c.name)
		}
		s.roomLeft(t)
	}
}

func TestAFullAccountIsToldOnlyToItsOwner(t *testing.T) {
	s := newStage()
	if _, err := s.desk.Limits.Session("ann", netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.admit(t); login.ReasonOf(err) != login.TooMany || !errors.Is(err, limit.ErrTooMany) || len(s.tickets) > 0 {
		t.Errorf("proven: %v, and the server was asked %d times", err, len(s.tickets))
	}
	s.verifier(unproven(&account.Account{Name: "ann"}))
	if _, err := s.admit(t); login.ReasonOf(err) != login.TooMany || !s.backend.closed {
		t.Errorf("proven by the server: %v", err)
	}
	s.refusal = login.Refused("the server", "AUTH", "no")
	if _, err := s.admit(t); login.ReasonOf(err) != login.BadLogin {
		t.Errorf("a stranger: %v", err)
	}
}

func TestAServersWordsArePassedOnWhereTheyHelp(t *testing.T) {
	for _, c := range []struct{ code, wantCode, wantText string }{
		{"", "", ""},
		{"AUTHENTICATIONFAILED", "", ""},
		{"AUTH", "", ""},
		{"SERVERBUG", "", ""},
		{"SYS/PERM", "", ""},
		{"UNAVAILABLE", "UNAVAILABLE", "words"},
		{"SYS/TEMP", "SYS/TEMP", "words"},
		{"LIMIT", "LIMIT", "words"},
		{"IN-USE", "IN-USE", "words"},
	} {
		r := login.RefusalOf(login.Refused("the server", c.code, "words"))
		if r.Code != c.wantCode || r.Text != c.wantText {
			t.Errorf("%q: the client hears [%s] %q, want [%s] %q", c.code, r.Code, r.Text, c.wantCode, c.wantText)
		}
	}
}

// The account's words go to the client in one line, wherever they come from.
func TestTheAccountsWordsAreOneLine(t *testing.T) {
	s := newStage()
	s.verifier(proven(&account.Account{Name: "ann", Denied: &account.Denied{Text: "moved,\r\nplease\x00 call"}}))
	_, err := s.admit(t)
	if r := login.RefusalOf(err); r.Text == "" || strings.ContainsAny(r.Text, "\r\n\x00") {
		t.Errorf("the client hears %q", r.Text)
	}
}

// Who moves a mailbox need not tell anybody: if the server where it was does not let
// its owner in any more, the source is asked where it is now.
func TestAMovedMailboxIsFound(t *testing.T) {
	at := func(host string) *account.Account {
		return &account.Account{Name: "ann", Place: account.Place{Hosts: []string{host}}}
	}
	for _, c := range []struct {
		name   string
		now    string
		proven bool
		want   bool
	}{
		{"moved", "new", false, true},
		{"moved, and we know the password", "new", true, true},
		{"not moved", "old", false, false},
	} {
		s := newStage()
		asked := 0
		s.verifier(func(_, pw string) (sasl.Identity, error) {
			return sasl.Identity{Account: at("old"), Password: pw, Proven: c.proven, Again: func(context.Context) (sasl.Identity, error) {
				asked++
				return sasl.Identity{Account: at(c.now), Password: pw, Proven: c.proven}, nil
			}}, nil
		})
		s.desk.Backends = open(func(ctx context.Context, target route.Target, enter func(context.Context, *wire.Conn, route.Stop) error) (*wire.Conn, error) {
			if strings.Contains(target.Name(), "old") {
				return nil, login.Refused("old", "", "no such mailbox")
			}
			return s.open(ctx, target, enter)
		})
		a, err := s.admit(t)
		if (err == nil) != c.want || asked != 1 {
			t.Errorf("%s: %v, %v; the source was asked %d times", c.name, a, err, asked)
		}
	}
}

// A source may want its words to be seen. They refuse like a wrong password.
func TestTheSourcesOwnWordsOfARefusalAreShown(t *testing.T) {
	s := newStage()
	s.verifier(failing(fmt.Errorf("x: %w", account.Refusal{Text: "pay\r\nfirst", Err: account.ErrRefused})))
	_, err := s.admit(t)
	if r := login.RefusalOf(err); r.Text != "pay first" || r.Reason != login.BadLogin {
		t.Errorf("the client hears %q for %v", r.Text, r.Reason)
	}
}

func TestMechanismsAreOfferedWhereTheyAreSafe(t *testing.T) {
	for _, c := range []struct {
		name      string
		cleartext login.Cleartext
		remote    string
		want      bool
	}{
		{"always", login.CleartextAlways, "192.0.2.7:1", true},
		{"never", login.CleartextNever, "127.0.0.1:1", false},
		{"loopback, from afar", login.CleartextLoopback, "192.0.2.7:1", false},
		{"loopback", login.CleartextLoopback, "127.0.0.9:1", true},
		{"loopback, IPv6", login.CleartextLoopback, "[::1]:1", true},
		{"loopback, mapped", login.CleartextLoopback, "[::ffff:127.0.0.1]:1", true},
	} {
		s := newStage()
		s.client.Terms.Cleartext, s.client.Remote = c.cleartext, netip.MustParseAddrPort(c.remote)
		if got := s.desk.Offers(s.client, "PLAIN"); got != c.want || len(s.desk.Offered(s.client)) > 0 != c.want {
			t.Errorf("%s: PLAIN is offered: %v, of %v", c.name, got, s.desk.Offered(s.client))
		}
		_, err := s.admit(t)
		if !c.want && login.ReasonOf(err) != login.NeedsTLS || c.want && err != nil {
			t.Errorf("%s: PLAIN ends with %v", c.name, err)
		}
	}
	s := newStage()
	if _, err := s.desk.Admit(t.Context(), s.client, "NTLM", sasl.Given("ann", "x")); login.ReasonOf(err) != login.Unsupported {
		t.Errorf("NTLM: %v", err)
	}
	if s.desk.Offers(s.client, "plain") || len(s.desk.Mechanisms) != 2 {
		t.Error("names of mechanisms are matched loosely, or the list was changed")
	}
}

// LOGIN has no place for the user's name: it would open the master's own mailbox.
func TestAMasterNeverLogsInByAMechanismThatCannotNameTheUser(t *testing.T) {
	s := newStage()
	s.verifier(proven(&account.Account{Name: "ann", Place: account.Place{Password: "own", Master: "m", Mechanism: "LOGIN"}}))
	if _, err := s.admit(t); login.ReasonOf(err) != login.Misconfigured {
		t.Errorf("admitted, or refused as %v", err)
	}
}

func TestTicketsSayWhoLogsIn(t *testing.T) {
	s := newStage()
	s.verifier(proven(&account.Account{Name: "ann", Place: account.Place{User: "a", Password: "own", Master: "m", Mechanism: "PLAIN", TLS: account.TLSStart}}))
	if _, err := s.admit(t); err != nil {
		t.Fatal(err)
	}
	got := s.tickets[0]
	if got.User != "a" || got.Password != "own" || got.Master != "m" || got.Mechanism.Name != "PLAIN" || got.TLS == nil || got.TLS.ServerName != "mail" {
		t.Errorf("the ticket is %+v", got)
	}
	if c := got.Credentials(&sasl.Plain); c != (sasl.Credentials{Authz: "a", Authn: "m", Password: "own"}) {
		t.Errorf("a master shows %+v", c)
	}
	got.Master = ""
	if c := got.Credentials(&sasl.Plain); c != (sasl.Credentials{Authn: "a", Password: "own"}) {
		t.Errorf("a user shows %+v", c)
	}
}

func TestReferralsAreFollowedButNotForEver(t *testing.T) {
	s := newStage()
	var asked []string
	refer := func(target route.Target, n int) error {
		if n == 0 {
			return nil
		}
		to, _ := login.ParseReferral(fmt.Sprintf("bob@other%d", n))
		return fmt.Errorf("%s: %w", target.Name(), to)
	}
	for hops, want := range map[int]bool{0: true, 1: true, 4: true, 5: false, 99: false} {
		left := hops
		asked = nil
		s.desk.Backends = open(func(ctx context.Context, target route.Target, enter func(context.Context, *wire.Conn, route.Stop) error) (*wire.Conn, error) {
			asked = append(asked, target.Name())
			s.refusal = refer(target, left)
			left--
			return s.open(ctx, target, enter)
		})
		a, err := s.admit(t)
		if (err == nil) != want || len(asked) > 5 {
			t.Errorf("%d referrals: %v, asked %q", hops, err, asked)
		}
		if err == nil && hops > 0 && s.tickets[len(s.tickets)-1].User != "bob" {
			t.Errorf("%d referrals: logged in as %q", hops, s.tickets[len(s.tickets)-1].User)
		}
		if err == nil {
			s.client.Conn = wire.New(s.peer, wire.Bounds{})
			_ = a.Join()
		}
		s.client.Conn = wire.New(s.peer, wire.Bounds{})
	}
}

func TestReferralsAreReadInBothForms(t *testing.T) {
	for in, want := range map[string]login.Referral{
		"imap://ann@mail.example.org/":             {User: "ann", Addr: "mail.example.org"},
		"imap://ann;AUTH=*@mail:1143/INBOX;UID=20": {User: "ann", Addr: "mail:1143"},
		"imap://mail/":                   {Addr: "mail"},
		"imap://;AUTH=*@mail":            {Addr: "mail"},
		"imap://ann%40example.org@mail/": {User: "ann@example.org", Addr: "mail"},
		"ann@mail:1110":                  {User: "ann", Addr: "mail:1110"},
		"ann@example.org@mail":           {User: "ann@example.org", Addr: "mail"},
		" mail ":                         {Addr: "mail"},
		"[2001:db8::1]:143":              {Addr: "[2001:db8::1]:143"},
	} {
		r, ok := login.ParseReferral(in)
		if !ok || r.User != want.User || r.Addr != want.Addr {
			t.Errorf("%q is %+v, %v; want %+v", in, r, ok, want)
		}
	}
	for _, in := range []string{"", "imap://", "imap:///", "ann@", "http://mail/", "a b", "ann%zz@mail", "mail:0"} {
		if r, ok := login.ParseReferral(in); ok {
			t.Errorf("%q is %+v", in, r)
		}
	}
}

func TestEveryReasonHasItsOwnWordsInTheLog(t *testing.T) {
	seen := map[string]login.Reason{}
	for r := login.Unavailable; r <= login.Aborted; r++ {
		if other, twice := seen[r.String()]; twice || r.String() == "" {
			t.Errorf("reason %d says %q, as does %d", r, r, other)
		}
		seen[r.String()] = r
	}
}
