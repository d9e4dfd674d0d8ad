package sasl_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"usher/internal/account"
	"usher/internal/password"
	"usher/internal/sasl"
)

// serves are all mechanisms of clients.
var serves = []sasl.Mechanism{
	sasl.Plain, sasl.Login, sasl.CRAMMD5, sasl.CRAMSHA1, sasl.CRAMSHA256, sasl.External, sasl.OAuthBearer, sasl.XOAuth2,
	sasl.SCRAMSHA1, sasl.SCRAMSHA256, sasl.SCRAMSHA1Plus, sasl.SCRAMSHA256Plus,
}

// refusing finds everybody wrong.
type refusing struct{ asked }

func (*refusing) SCRAM(context.Context, string, string, string) (sasl.Prover, error) {
	keys, err := password.NewSCRAM("SHA-1", "secret", []byte("salt"), 1)
	return &keeper{keys: keys}, err
}

// Whatever a client says, it is not let in by a mechanism: only a Verifier does that. And
// what it hears can be sent.
func FuzzServe(f *testing.F) {
	for i := range serves {
		for _, c := range scramExamples {
			f.Add(byte(i), c.first, c.final)
		}
		f.Add(byte(i), "\x00ann\x00secret", "")
		f.Add(byte(i), "ann b913a602c7eda7a495b4e6e7334d3890", "")
		f.Add(byte(i), "n,a=ann,\x01auth=Bearer x\x01\x01", "\x01")
		f.Add(byte(i), "user=ann\x01auth=Bearer x\x01\x01", "")
		f.Add(byte(i), "y,a=a=2Cb=3D,n=ann,r=x", "c=eSws,r=x,p=AAAA")
		f.Add(byte(i), "p=tls-exporter,,n=ann,r=x", "c=eSws,r=x,p=AAAA")
	}
	f.Fuzz(func(t *testing.T, which byte, first, second string) {
		m := serves[int(which)%len(serves)]
		v := &refusing{asked{err: account.ErrRefused}}
		x := &script{peer: []string{first, second, ""}}
		on := fixed("nonce", "mail.example.org")
		on.Who = func() ([]string, error) { return []string{"ann"}, nil }
		_, err := m.Serve(context.Background(), x, v, on)
		if !errors.Is(err, account.ErrRefused) && !errors.Is(err, sasl.ErrMalformed) && !errors.Is(err, sasl.ErrVerdict) {
			t.Errorf("%s: %q, %q: %v", m.Name, first, second, err)
		}
		if len(x.sent) > 2 || len(strings.Join(x.sent, "")) > len(first)+len(second)+300 {
			t.Errorf("%s: %q, %q: it sends %q", m.Name, first, second, x.sent)
		}
	})
}

// Whatever a server says, the client's half comes to an end, and a server that does not
// know the password is not trusted by SCRAM.
func FuzzEnter(f *testing.F) {
	for i := range serves {
		for _, c := range scramExamples {
			f.Add(byte(i), c.challenge, c.verdict)
		}
		f.Add(byte(i), "<1896.697170952@postoffice.reston.mci.net>", "")
		f.Add(byte(i), `{"status":"401"}`, "")
		f.Add(byte(i), "r=noncex,s=QSXC,i=1", "e=other-error")
	}
	f.Fuzz(func(t *testing.T, which byte, first, second string) {
		if strings.Contains(first, ",i=") && len(first) > 60 {
			return // that many iterations take their time
		}
		m := serves[int(which)%len(serves)]
		x := &script{peer: []string{first, second}}
		err := m.Enter(x, sasl.Credentials{Authn: "ann", Password: "secret"}, fixed("nonce", ""))
		if strings.HasPrefix(m.Name, "SCRAM") && err == nil {
			t.Errorf("%s trusts a server that says %q, %q", m.Name, first, second)
		}
		if len(x.sent) > 4 {
			t.Errorf("%s sends %q", m.Name, x.sent)
		}
	})
}
