package sasl_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"usher/internal/account"
	"usher/internal/sasl"
)

// A shown is what a Verifier was asked.
type shown struct{ authz, authn, password string }

// asked is a Verifier that keeps the question and gives one answer.
type asked struct {
	shown   []shown
	answers []account.Answer
	prover  sasl.Prover
	err     error
}

func (a *asked) Password(_ context.Context, authz, authn, password string) (sasl.Identity, error) {
	a.shown = append(a.shown, shown{authz, authn, password})
	return sasl.Identity{Account: &account.Account{Name: authn}, Password: password, Proven: true}, a.err
}

func (a *asked) Answer(ctx context.Context, authn string, answer account.Answer) (sasl.Identity, error) {
	a.answers = append(a.answers, answer)
	return a.Password(ctx, "", authn, "")
}

func (a *asked) SCRAM(_ context.Context, hash, authz, authn string) (sasl.Prover, error) {
	a.shown = append(a.shown, shown{authz, authn, hash})
	return a.prover, a.err
}

func (a *asked) Token(ctx context.Context, name, token string) (sasl.Identity, error) {
	return a.Password(ctx, "", name, token)
}

func (a *asked) Certificate(ctx context.Context, authz string, names []string) (sasl.Identity, error) {
	return a.Password(ctx, authz, strings.Join(names, " "), "")
}

// plain is a channel of which nothing is known.
var plain sasl.Channel

// A script is an Exchange with a peer that has its messages ready. The verdict
// comes when they are used up.
type script struct {
	peer   []string
	prompt string
	sent   []string
	end    error // instead of the verdict
}

func (s *script) Initial(prompt string) ([]byte, error) {
	s.prompt = prompt
	return s.next()
}

func (s *script) Send(msg []byte) ([]byte, error) {
	s.sent = append(s.sent, string(msg))
	return s.next()
}

func (s *script) next() ([]byte, error) {
	if len(s.peer) == 0 {
		if s.end != nil {
			return nil, s.end
		}
		return nil, sasl.ErrVerdict
	}
	msg := s.peer[0]
	s.peer = s.peer[1:]
	return []byte(msg), nil
}

// The first two are the examples of RFC 4616 §4, whose second acts for Ursel.
func TestPlainReadsTheThreeParts(t *testing.T) {
	for msg, want := range map[string]shown{
		"\x00tim\x00tanstaaftanstaaf":          {"", "tim", "tanstaaftanstaaf"},
		"Ursel\x00Kurt\x00xipj3plmq":           {"Ursel", "Kurt", "xipj3plmq"},
		"\x00\x00":                             {"", "", ""},
		"\x00änn\x00pässword":                  {"", "änn", "pässword"},
		"\x00ann\x00 blanks and\ttabs stay \t": {"", "ann", " blanks and\ttabs stay \t"},
	} {
		v := &asked{}
		id, err := sasl.Plain.Serve(t.Context(), &script{peer: []string{msg}}, v, plain)
		if err != nil || len(v.shown) != 1 || v.shown[0] != want || id.Password != want.password {
			t.Errorf("%q shows %q, %v", msg, v.shown, err)
		}
	}
}

func TestPlainRefusesWhatIsNotThreeParts(t *testing.T) {
	for _, msg := range []string{"", "ann", "ann\x00secret", "\x00ann\x00sec\x00ret", "\x00\x00\x00"} {
		v := &asked{}
		if _, err := sasl.Plain.Serve(t.Context(), &script{peer: []string{msg}}, v, plain); !errors.Is(err, sasl.ErrMalformed) || len(v.shown) > 0 {
			t.Errorf("%q: %v, asked %q", msg, err, v.shown)
		}
	}
}

func TestLoginAsksForNameAndPassword(t *testing.T) {
	v, x := &asked{}, &script{peer: []string{"ann", "secret"}}
	_, err := sasl.Login.Serve(t.Context(), x, v, plain)
	if err != nil || len(v.shown) != 1 || v.shown[0] != (shown{"", "ann", "secret"}) {
		t.Errorf("shown %q, %v", v.shown, err)
	}
	if x.prompt != "Username:" || len(x.sent) != 1 || x.sent[0] != "Password:" {
		t.Errorf("the client was asked %q and %q", x.prompt, x.sent)
	}
}

func TestAClientThatBreaksOffIsNotVerified(t *testing.T) {
	for _, m := range []sasl.Mechanism{sasl.Plain, sasl.Login} {
		for said := range 2 {
			if m.Name == "PLAIN" && said > 0 {
				continue // it has said all
			}
			v, x := &asked{}, &script{peer: []string{"ann"}[:said], end: io.EOF}
			if _, err := m.Serve(t.Context(), x, v, plain); !errors.Is(err, io.EOF) || len(v.shown) > 0 {
				t.Errorf("%s, after %d messages: %v, asked %q", m.Name, said, err, v.shown)
			}
		}
	}
}

func TestTheVerifiersAnswerIsTheAnswer(t *testing.T) {
	cannotTell := errors.New("the database is down")
	for _, m := range []sasl.Mechanism{sasl.Plain, sasl.Login} {
		x := &script{peer: []string{"\x00ann\x00secret", "secret"}}
		if _, err := m.Serve(t.Context(), x, &asked{err: cannotTell}, plain); !errors.Is(err, cannotTell) {
			t.Errorf("%s: %v", m.Name, err)
		}
	}
}

func TestGivenIsAPlainMessage(t *testing.T) {
	v := &asked{}
	if _, err := sasl.Plain.Serve(t.Context(), sasl.Given("ann", "secret"), v, plain); err != nil || v.shown[0] != (shown{"", "ann", "secret"}) {
		t.Errorf("shown %q, %v", v.shown, err)
	}
	for _, c := range [][2]string{{"ann\x00", "secret"}, {"ann", "sec\x00ret"}} {
		if _, err := sasl.Plain.Serve(t.Context(), sasl.Given(c[0], c[1]), v, plain); !errors.Is(err, sasl.ErrMalformed) {
			t.Errorf("%q: %v", c, err)
		}
	}
	if _, err := sasl.Given("ann", "secret").Send(nil); !errors.Is(err, sasl.ErrMalformed) {
		t.Errorf("a given exchange can be gone on with: %v", err)
	}
}

func TestEnterTellsAVerdictFromTheRest(t *testing.T) {
	for _, c := range []struct {
		name string
		peer []string
		end  error
		want error
	}{
		{"a verdict after everything", []string{"?", "?"}, nil, nil},
		{"a verdict at once", nil, nil, nil}, // "no such mechanism": the protocol reads it
		{"a server that asks on", []string{"?", "?", "?", "?"}, nil, sasl.ErrMalformed},
		{"a server that is gone", []string{}, io.EOF, io.EOF},
		{"a server that leaves in between", []string{"?"}, io.EOF, io.EOF},
	} {
		x := &script{peer: c.peer, end: c.end}
		if err := sasl.Login.Enter(x, sasl.Credentials{Authn: "ann", Password: "secret"}, plain); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if err := sasl.Plain.Enter(&script{peer: []string{"and?"}}, sasl.Credentials{}, plain); !errors.Is(err, sasl.ErrMalformed) {
		t.Errorf("PLAIN has one message, but: %v", err)
	}
	if err := sasl.Plain.Enter(&script{end: io.EOF}, sasl.Credentials{}, plain); !errors.Is(err, io.EOF) {
		t.Errorf("a server that is gone: %v", err)
	}
}

// A pipe carries messages between both halves in memory.
type pipe struct {
	in, out chan []byte
	decided <-chan struct{} // the server has
	first   bool            // a server's Initial has to be asked for
}

func (p *pipe) Initial(prompt string) ([]byte, error) {
	if p.first {
		return p.Send([]byte(prompt))
	}
	return p.receive()
}

func (p *pipe) Send(msg []byte) ([]byte, error) {
	select {
	case p.out <- msg:
	case <-p.decided:
		return nil, sasl.ErrVerdict
	}
	return p.receive()
}

func (p *pipe) receive() ([]byte, error) {
	select {
	case msg := <-p.in:
		return msg, nil
	case <-p.decided:
		return nil, sasl.ErrVerdict
	}
}

func TestBothHalvesUnderstandEachOther(t *testing.T) {
	for _, m := range []sasl.Mechanism{sasl.Plain, sasl.Login} {
		for _, c := range []sasl.Credentials{
			{Authn: "ann", Password: "secret"},
			{Authn: "änn@example.org", Password: " with blanks\t"},
			{Authz: "ann", Authn: "master", Password: "secret"},
		} {
			v := &asked{}
			if err := converse(t, m, c, v); err != nil {
				t.Errorf("%s: %v", m.Name, err)
			}
			want := shown{c.Authz, c.Authn, c.Password}
			if m.Name == "LOGIN" {
				want.authz = "" // it cannot say it
			}
			if len(v.shown) != 1 || v.shown[0] != want {
				t.Errorf("%s shows %q, want %q", m.Name, v.shown, want)
			}
		}
	}
}

func converse(t *testing.T, m sasl.Mechanism, c sasl.Credentials, v sasl.Verifier) error {
	t.Helper()
	return converseOn(t, m, c, v, plain, plain)
}

func converseOn(t *testing.T, m sasl.Mechanism, c sasl.Credentials, v sasl.Verifier, server, client sasl.Channel) error {
	t.Helper()
	up, down, decided := make(chan []byte), make(chan []byte), make(chan struct{})
	served := make(chan error, 1)
	go func() {
		_, err := m.Serve(t.Context(), &pipe{in: up, out: down, first: m.Name == "LOGIN"}, v, server)
		served <- err
		close(decided)
	}()
	return errors.Join(m.Enter(&pipe{in: down, out: up, decided: decided}, c, client), <-served)
}
