package sasl_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"usher/internal/account"
	"usher/internal/sasl"
)

const token = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="

// RFC 7628 §4.1 and Google's description of XOAUTH2.
func TestTokensAreRead(t *testing.T) {
	for _, c := range []struct {
		m    sasl.Mechanism
		msg  string
		want shown
	}{
		{sasl.OAuthBearer, "n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=Bearer " + token + "\x01\x01", shown{"", "user@example.com", token}},
		{sasl.OAuthBearer, "n,,\x01auth=bearer " + token + "\x01\x01", shown{"", "", token}},
		{sasl.OAuthBearer, "y,a=a=2Cb=3D,\x01auth=Bearer x\x01\x01", shown{"", "a,b=", "x"}},
		{sasl.XOAuth2, "user=someuser@example.com\x01auth=Bearer ya29.vF9dft4\x01\x01", shown{"", "someuser@example.com", "ya29.vF9dft4"}},
	} {
		v := &asked{}
		if _, err := c.m.Serve(t.Context(), &script{peer: []string{c.msg}}, v, plain); err != nil || len(v.shown) != 1 || v.shown[0] != c.want {
			t.Errorf("%q: asked %q, %v", c.msg, v.shown, err)
		}
	}
}

func TestWhatIsNoTokenMessageIsMalformed(t *testing.T) {
	for _, msg := range []string{
		"", "\x01", "n", "n,", "n,,", "n,,\x01", "n,,auth=Bearer x\x01\x01", "n,,\x01auth=Bearer x\x01", "n,,\x01auth=Bearer x\x01\x01\x01",
		"p=tls-exporter,,\x01auth=Bearer x\x01\x01", "x,,\x01auth=Bearer x\x01\x01", "n,ann,\x01auth=Bearer x\x01\x01", "n,a==,\x01auth=Bearer x\x01\x01",
		"n,,\x01auth=Bearer x\x01auth=Bearer y\x01\x01", "n,,\x01auth=Basic YTpi\x01\x01", "n,,\x01auth=Bearer \x01\x01", "n,,\x01auth=Bearer a b\x01\x01",
		"n,,\x01=x\x01\x01", "n,,\x01x\x01\x01", "n,,\x01auth=Bearer x\x01\x01\x00",
	} {
		v := &asked{}
		if _, err := sasl.OAuthBearer.Serve(t.Context(), &script{peer: []string{msg, "\x01"}}, v, plain); !errors.Is(err, sasl.ErrMalformed) || len(v.shown) > 0 {
			t.Errorf("%q: %v, asked %q", msg, err, v.shown)
		}
	}
}

func TestARefusedTokenIsExplainedInJSON(t *testing.T) {
	because := &sasl.TokenRefusal{
		Status: "insufficient_scope", Scope: "mail", Configuration: "https://example.com/.well-known/openid-configuration",
		Err: fmt.Errorf("%w: expired", account.ErrRefused),
	}
	const bearer, xoauth2 = "n,a=ann,\x01auth=Bearer x\x01\x01", "user=ann\x01auth=Bearer x\x01\x01"
	for _, c := range []struct {
		m    sasl.Mechanism
		msg  string
		err  error
		want string
	}{
		{sasl.OAuthBearer, bearer, account.ErrRefused, `{"status":"invalid_token","schemes":"bearer"}`},
		{sasl.OAuthBearer, bearer, account.ErrUnknown, `{"status":"invalid_token","schemes":"bearer"}`},
		{sasl.OAuthBearer, bearer, because, `{"status":"insufficient_scope","schemes":"bearer","scope":"mail","openid-configuration":"https://example.com/.well-known/openid-configuration"}`},
		{sasl.XOAuth2, xoauth2, because, `{"status":"401","schemes":"bearer","scope":"mail","openid-configuration":"https://example.com/.well-known/openid-configuration"}`},
		{sasl.OAuthBearer, "n,,\x01auth=\x01\x01", nil, `{"status":"invalid_token","schemes":"bearer"}`},
	} {
		x := &script{peer: []string{c.msg, "\x01"}}
		_, err := c.m.Serve(t.Context(), x, &asked{err: c.err}, plain)
		if !errors.Is(err, account.ErrRefused) && !errors.Is(err, account.ErrUnknown) {
			t.Errorf("%s: %v", c.m.Name, err)
		}
		if len(x.sent) != 1 || x.sent[0] != c.want || len(x.peer) > 0 {
			t.Errorf("%s: the client hears %q, want %q", c.m.Name, x.sent, c.want)
		}
	}
	down := errors.New("the provider is down")
	x := &script{peer: []string{bearer, "\x01"}}
	if _, err := sasl.OAuthBearer.Serve(t.Context(), x, &asked{err: down}, plain); !errors.Is(err, down) || len(x.sent) > 0 {
		t.Errorf("cannot tell: %v, the client hears %q", err, x.sent)
	}
}

func TestTokensAreShownToServers(t *testing.T) {
	who := sasl.Credentials{Authn: "a,nn", Password: token}
	for _, c := range []struct {
		m    sasl.Mechanism
		want string
	}{
		{sasl.OAuthBearer, "n,a=a=2Cnn,\x01auth=Bearer " + token + "\x01\x01"},
		{sasl.XOAuth2, "user=a,nn\x01auth=Bearer " + token + "\x01\x01"},
	} {
		x := &script{}
		if err := c.m.Enter(x, who, plain); err != nil || len(x.sent) != 1 || x.sent[0] != c.want {
			t.Errorf("%s: sent %q, %v", c.m.Name, x.sent, err)
		}
		x = &script{peer: []string{`{"status":"invalid_token"}`}}
		if err := c.m.Enter(x, who, plain); err != nil || len(x.sent) != 2 {
			t.Errorf("%s, refused: sent %q, %v", c.m.Name, x.sent, err)
		}
		x = &script{peer: []string{"?", "?"}}
		if err := c.m.Enter(x, who, plain); !errors.Is(err, sasl.ErrMalformed) {
			t.Errorf("%s, asked on: %v", c.m.Name, err)
		}
		if err := c.m.Enter(&script{end: io.EOF}, who, plain); !errors.Is(err, io.EOF) {
			t.Errorf("%s, gone: %v", c.m.Name, err)
		}
	}
}
