package login_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"usher/internal/account"
	"usher/internal/login"
	"usher/internal/sasl"
)

func TestWhatIsNothingWithoutTLSIsNotOffered(t *testing.T) {
	s := newStage()
	s.desk.Mechanisms = []sasl.Mechanism{sasl.SCRAMSHA1Plus, sasl.SCRAMSHA1, sasl.External, sasl.APOP, sasl.OAuthBearer, sasl.Plain}
	for cleartext, want := range map[login.Cleartext][]string{
		login.CleartextNever: {"SCRAM-SHA-1"}, login.CleartextAlways: {"SCRAM-SHA-1", "OAUTHBEARER", "PLAIN"},
	} {
		s.client.Terms.Cleartext = cleartext
		var got []string
		for _, m := range s.desk.Offered(s.client) {
			got = append(got, m.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%v: %q, want %q", cleartext, got, want)
		}
	}
	for name, want := range map[string]login.Reason{"SCRAM-SHA-1-PLUS": login.Unsupported, "EXTERNAL": login.Unsupported, "CRAM-MD5": login.Unsupported, "APOP": login.Malformed} {
		if _, err := s.desk.Admit(t.Context(), s.client, name, sasl.Given("ann", "secret")); login.ReasonOf(err) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !s.desk.Offers(s.client, "APOP") {
		t.Error("a command is not offered to its protocol")
	}
}

// Whoever proves himself in another way is let in as with a password, and a backend is
// shown what there is.
func TestWhoShowsNoPasswordNeedsAnotherWayIn(t *testing.T) {
	for _, c := range []struct {
		name  string
		place account.Place
		known string // a password that is known
		want  login.Ticket
		fails bool
	}{
		{name: "the account's pass", place: account.Place{Password: "inside"}, want: login.Ticket{User: "ann", Password: "inside"}},
		{name: "its clear password", known: "secret", want: login.Ticket{User: "ann", Password: "secret"}},
		{name: "a master", place: account.Place{Master: "boss", Password: "bosses"}, want: login.Ticket{User: "ann", Password: "bosses", Master: "boss"}},
		{name: "nothing", fails: true},
	} {
		s := newStage()
		s.desk.Mechanisms = []sasl.Mechanism{sasl.CRAMMD5}
		s.peer = record("YW5uIGI5MTM=\r\n")
		s.client.Conn = s.conn()
		s.verifier(func(string, string) (sasl.Identity, error) {
			return sasl.Identity{Account: &account.Account{Name: "ann", Place: c.place}, Password: c.known, Proven: true}, nil
		})
		_, err := s.desk.Admit(t.Context(), s.client, "CRAM-MD5", login.NewExchange(s.client.Conn, nil))
		if c.fails {
			if login.ReasonOf(err) != login.Misconfigured || !strings.Contains(err.Error(), "field pass") || !strings.Contains(err.Error(), "[backend.default]") {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		c.want.Client = s.client
		if err != nil || len(s.tickets) != 1 || s.tickets[0] != c.want {
			t.Errorf("%s: %+v, %v; want %+v", c.name, s.tickets, err, c.want)
		}
	}
}

func TestTheAccountsMechanismMayBeInSmallLetters(t *testing.T) {
	s := newStage()
	s.desk.Towards = []sasl.Mechanism{sasl.XOAuth2, sasl.CRAMMD5}
	s.verifier(proven(&account.Account{Name: "ann", Place: account.Place{Mechanism: "xoauth2", Password: "token"}}))
	if _, err := s.admit(t); err != nil || s.tickets[0].Mechanism.Name != "XOAUTH2" {
		t.Errorf("%+v, %v", s.tickets, err)
	}
}

// The clock of a refusal starts when the client has shown its proof, whatever that is.
func TestTheClockOfRefusalsStartsWithTheProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, m := range []sasl.Mechanism{sasl.CRAMMD5, sasl.SCRAMSHA1, sasl.OAuthBearer} {
			s := newStage()
			s.desk.Mechanisms, s.desk.FailureDelay = []sasl.Mechanism{m}, 2*time.Second
			s.verifier(failing(account.ErrRefused))
			began := time.Now()
			if _, err := s.desk.Admit(t.Context(), s.client, m.Name, &prover{m.Name}); login.ReasonOf(err) != login.BadLogin {
				t.Fatalf("%s: %v", m.Name, err)
			}
			if took := time.Since(began); took < 5*time.Second || took > 8*time.Second+20*time.Millisecond {
				t.Errorf("%s: answered after %v", m.Name, took)
			}
		}
	})
}

// A prover is a client that thinks before each message, which fits its mechanism.
type prover struct{ mechanism string }

func (p *prover) Initial(string) ([]byte, error) { return p.Send(nil) }

func (p *prover) Send(challenge []byte) ([]byte, error) {
	time.Sleep(3 * time.Second)
	nonce, _, _ := strings.Cut(string(challenge), ",")
	switch {
	case strings.HasPrefix(nonce, "r="):
		return []byte("c=biws," + nonce + ",p=AAAA"), nil
	case challenge != nil:
		return []byte("ann b913"), nil
	}
	if p.mechanism == "OAUTHBEARER" {
		return []byte("n,,\x01auth=Bearer x\x01\x01"), nil
	}
	return []byte("n,,n=ann,r=x"), nil
}

func TestAServerThatRefusesNeedNotProveAnything(t *testing.T) {
	for accepted, want := range map[bool]error{true: sasl.ErrUnproven, false: nil} {
		x := entryOf(record(""), 4096)
		err := x.Enter(&sasl.SCRAMSHA1, sasl.Credentials{Authn: "ann", Password: "secret"}, func() bool { return accepted })
		if !errors.Is(err, want) {
			t.Errorf("accepted %v: %v", accepted, err)
		}
	}
}

func TestAnEmptyMessageAnswersNoChallenge(t *testing.T) {
	text := func(s string) *string { return &s }
	for _, initial := range []*string{nil, text(""), text("=")} {
		s := newStage()
		s.peer = record("YW5u\r\n")
		got, err := login.NewExchange(s.conn(), initial).Send([]byte("?"))
		if err != nil || string(got) != "ann" {
			t.Errorf("%v: %q, %v", initial, got, err)
		}
	}
	if _, err := login.NewExchange(newStage().conn(), text("YW5u")).Send([]byte("?")); login.ReasonOf(err) != login.Malformed {
		t.Errorf("an answer before the challenge: %v", err)
	}
}
