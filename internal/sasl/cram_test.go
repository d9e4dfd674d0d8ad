package sasl_test

import (
	"errors"
	"io"
	"testing"

	"usher/internal/account"
	"usher/internal/sasl"
)

// fixed is a channel on which chance makes the same each time.
func fixed(nonce, host string) sasl.Channel {
	return sasl.Channel{Host: host, Nonce: func() string { return nonce }}
}

// The example of RFC 2195 §2, and what openssl dgst -hmac makes of it with other hashes.
func TestCRAMAnswersTheExample(t *testing.T) {
	on := fixed("1896.697170952", "postoffice.reston.mci.net")
	const challenge = "<1896.697170952@postoffice.reston.mci.net>"
	for _, c := range []struct {
		m              sasl.Mechanism
		method, answer string
	}{
		{sasl.CRAMMD5, "cram-md5", "tim b913a602c7eda7a495b4e6e7334d3890"},
		{sasl.CRAMSHA1, "cram-sha1", "tim 8cb10ed0a8b764ab0e05125dd6eaa295f19b5943"},
		{sasl.CRAMSHA256, "cram-sha256", "tim f0011bbf7c1618ef90e3f18148e5eda4e15631c9c38ebef062bf7143ff72e944"},
	} {
		client := &script{peer: []string{challenge}}
		if err := c.m.Enter(client, sasl.Credentials{Authn: "tim", Password: "tanstaaftanstaaf"}, plain); err != nil || len(client.sent) != 1 || client.sent[0] != c.answer {
			t.Errorf("%s: a client answers %q, %v", c.m.Name, client.sent, err)
		}
		v, server := &asked{}, &script{peer: []string{c.answer}}
		_, err := c.m.Serve(t.Context(), server, v, on)
		want := account.Answer{Method: c.method, Challenge: challenge, Response: c.answer}
		if err != nil || len(v.answers) != 1 || v.answers[0] != want || v.shown[0].authn != "tim" || server.sent[0] != challenge {
			t.Errorf("%s: the server sends %q and asks %q of %q, %v", c.m.Name, server.sent, v.answers, v.shown, err)
		}
	}
}

func TestTheNameOfCRAMMayHaveBlanks(t *testing.T) {
	v := &asked{}
	_, err := sasl.CRAMMD5.Serve(t.Context(), &script{peer: []string{"ann of example b913"}}, v, plain)
	if err != nil || v.shown[0].authn != "ann of example" {
		t.Errorf("%q, %v", v.shown, err)
	}
	for _, msg := range []string{"", "ann", "b913a602c7eda7a495b4e6e7334d3890"} {
		if _, err := sasl.CRAMMD5.Serve(t.Context(), &script{peer: []string{msg}}, &asked{}, plain); !errors.Is(err, sasl.ErrMalformed) {
			t.Errorf("%q: %v", msg, err)
		}
	}
}

func TestNoTwoChallengesAreTheSame(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		c := sasl.Channel{Host: "mail example<>@.org"}.Challenge()
		if seen[c] || len(c) < 30 || c[0] != '<' || c[len(c)-len("@mailexample.org>"):] != "@mailexample.org>" {
			t.Fatalf("%q", c)
		}
		seen[c] = true
	}
}

// RFC 1939 §7.
func TestAPOPTakesTheCommandsAnswerOnly(t *testing.T) {
	v := &asked{}
	const stamp, digest = "<1896.697170952@dbc.mtview.ca.us>", "c4c9334bac560ecc979e58001b3e22fb"
	_, err := sasl.APOP.Serve(t.Context(), sasl.Answered(stamp, "mrose", digest), v, plain)
	if want := (account.Answer{Method: "apop", Challenge: stamp, Response: digest}); err != nil || v.answers[0] != want || v.shown[0].authn != "mrose" {
		t.Errorf("asked %q of %q, %v", v.answers, v.shown, err)
	}
	v = &asked{}
	for _, x := range []sasl.Exchange{&script{peer: []string{stamp + "\x00mrose\x00" + digest}}, sasl.Given("mrose", digest)} {
		if _, err := sasl.APOP.Serve(t.Context(), x, v, plain); !errors.Is(err, sasl.ErrMalformed) || len(v.shown) > 0 {
			t.Errorf("a challenge of the client's own: %v, asked %q", err, v.shown)
		}
	}
}

func TestAClientOfCRAMThatBreaksOffIsNotVerified(t *testing.T) {
	v := &asked{}
	if _, err := sasl.CRAMMD5.Serve(t.Context(), &script{end: io.EOF}, v, plain); !errors.Is(err, io.EOF) || len(v.shown) > 0 {
		t.Errorf("%v, asked %q", err, v.shown)
	}
}

// RFC 4422 appendix A.3 and the like.
func TestExternalTakesTheCertificatesNames(t *testing.T) {
	on := sasl.Channel{Who: func() ([]string, error) { return []string{"ann@example.org", "a.lee@example.org"}, nil }}
	for _, authz := range []string{"", "fred@example.com"} {
		v := &asked{}
		if _, err := sasl.External.Serve(t.Context(), &script{peer: []string{authz}}, v, on); err != nil || v.shown[0] != (shown{authz, "ann@example.org a.lee@example.org", ""}) {
			t.Errorf("%q: asked %q, %v", authz, v.shown, err)
		}
	}
	if _, err := sasl.External.Serve(t.Context(), &script{peer: []string{""}}, &asked{}, plain); !errors.Is(err, account.ErrRefused) {
		t.Errorf("without a certificate: %v", err)
	}
	expired := errors.New("expired")
	on.Who = func() ([]string, error) { return nil, expired }
	if _, err := sasl.External.Serve(t.Context(), &script{peer: []string{""}}, &asked{}, on); !errors.Is(err, expired) {
		t.Errorf("with one that is not right: %v", err)
	}
	for who, want := range map[sasl.Credentials]string{{Authn: "ann"}: "ann", {Authz: "ann", Authn: "proxy"}: "ann"} {
		x := &script{}
		if err := sasl.External.Enter(x, who, plain); err != nil || x.sent[0] != want {
			t.Errorf("a client says %q, %v", x.sent, err)
		}
	}
}
