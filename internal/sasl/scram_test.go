package sasl_test

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"usher/internal/account"
	"usher/internal/password"
	"usher/internal/sasl"
)

// A keeper is a Prover with the keys of one password.
type keeper struct {
	keys    password.SCRAM
	refused bool
}

func keysOf(t testing.TB, hash, clear, salt string, iterations int) *keeper {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(salt)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := password.NewSCRAM(hash, clear, raw, iterations)
	if err != nil {
		t.Fatal(err)
	}
	return &keeper{keys: keys}
}

func (k *keeper) Salt() ([]byte, int) { return k.keys.Salt, k.keys.Iterations }

func (k *keeper) Prove(_ context.Context, messages string, proof []byte) (sasl.Identity, []byte, error) {
	own, ok := k.keys.Verify(messages, proof)
	if k.refused = !ok; k.refused {
		return sasl.Identity{}, nil, account.ErrRefused
	}
	return sasl.Identity{Account: &account.Account{Name: "user"}, Proven: true}, own, nil
}

// The conversations of RFC 5802 §5 and RFC 7677 §3.
var scramExamples = []struct {
	m                sasl.Mechanism
	hash, salt       string
	cnonce, snonce   string
	first, challenge string
	final, verdict   string
}{
	{
		sasl.SCRAMSHA1, "SHA-1", "QSXCR+Q6sek8bf92", "fyko+d2lbbFgONRv9qkxdawL", "3rfcNHYJY1ZVvWVs7j",
		"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL", "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
		"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
	},
	{
		sasl.SCRAMSHA256, "SHA-256", "W22ZaJ0SNY7soEsUEjb6gQ==", "rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
		"n,,n=user,r=rOprNGfwEbeRWgbNEkqO", "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
		"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
	},
}

func TestSCRAMSpeaksTheExamples(t *testing.T) {
	for _, c := range scramExamples {
		v := &asked{prover: keysOf(t, c.hash, "pencil", c.salt, 4096)}
		server := &script{peer: []string{c.first, c.final, ""}}
		id, err := c.m.Serve(t.Context(), server, v, fixed(c.snonce, ""))
		if err != nil || !id.Proven || v.shown[0] != (shown{"", "user", c.hash}) || strings.Join(server.sent, "\n") != c.challenge+"\n"+c.verdict {
			t.Errorf("%s: %+v, %v; asked %q, sent %q", c.m.Name, id, err, v.shown, server.sent)
		}
		client := &script{peer: []string{c.challenge, c.verdict}}
		err = c.m.Enter(client, sasl.Credentials{Authn: "user", Password: "pencil"}, fixed(c.cnonce, ""))
		if err != nil || strings.Join(client.sent, "\n") != c.first+"\n"+c.final+"\n" {
			t.Errorf("%s: a client sends %q, %v", c.m.Name, client.sent, err)
		}
	}
}

func TestAServerThatDoesNotKnowThePasswordIsNotTrusted(t *testing.T) {
	c := scramExamples[1]
	for name, peer := range map[string][]string{
		"a verdict without a proof": {c.challenge},
		"a wrong proof":             {c.challenge, "v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="},
		"the reason of a refusal":   {c.challenge, "e=invalid-proof"},
		"nothing":                   {c.challenge, ""},
	} {
		err := c.m.Enter(&script{peer: peer}, sasl.Credentials{Authn: "user", Password: "pencil"}, fixed(c.cnonce, ""))
		if !errors.Is(err, sasl.ErrUnproven) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, challenge := range []string{
		"", "x", "r=other,s=QSXC,i=4096", "r=" + c.cnonce + ",s=QSXC,i=4096", "r=" + c.cnonce + "x,s=,i=4096", "r=" + c.cnonce + "x,s=QSXC,i=0",
		"r=" + c.cnonce + "x,s=QSXC,i=-1", "r=" + c.cnonce + "x,s=QSXC", "r=" + c.cnonce + "x,s=QSXC,i=99999999999", "m=new,r=" + c.cnonce + "x,s=QSXC,i=1",
	} {
		x := &script{peer: []string{challenge, ""}}
		if err := c.m.Enter(x, sasl.Credentials{Authn: "user", Password: "pencil"}, fixed(c.cnonce, "")); err == nil || len(x.sent) != 1 {
			t.Errorf("%q: %v, sent %q", challenge, err, x.sent)
		}
	}
}

// What a client says is held against what it heard.
func TestSCRAMIsNotFooled(t *testing.T) {
	c := scramExamples[1]
	all := "r=" + c.cnonce + c.snonce
	proof := ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
	for _, one := range []struct {
		name         string
		first, final string
		want         error
	}{
		{"another exchange's last message", c.first, "c=biws,r=" + c.cnonce + "other" + proof, account.ErrRefused},
		{"only the client's nonce", c.first, "c=biws,r=" + c.cnonce + proof, account.ErrRefused},
		{"another header at the end", c.first, "c=eSws," + all + proof, account.ErrRefused},
		{"a wrong proof", c.first, "c=biws," + all + ",p=eHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", account.ErrRefused},
		{"a short proof", c.first, "c=biws," + all + ",p=eHzb", account.ErrRefused},
		{"channel binding without TLS", "p=tls-exporter,,n=user," + "r=" + c.cnonce, "c=cD10bHMtZXhwb3J0ZXIsLA==," + all + proof, account.ErrRefused},
		{"no proof", c.first, "c=biws," + all, sasl.ErrMalformed},
		{"an empty proof", c.first, "c=biws," + all + ",p=", sasl.ErrMalformed},
		{"the proof not at the end", c.first, "c=biws," + all + proof + ",x=y", sasl.ErrMalformed},
		{"no channel", c.first, all + proof, sasl.ErrMalformed},
		{"nothing at the end", c.first, "", sasl.ErrMalformed},
	} {
		v := &asked{prover: keysOf(t, c.hash, "pencil", c.salt, 4096)}
		x := &script{peer: []string{one.first, one.final, ""}}
		if _, err := c.m.Serve(t.Context(), x, v, fixed(c.snonce, "")); !errors.Is(err, one.want) || len(x.sent) != 1 {
			t.Errorf("%s: %v, sent %q", one.name, err, x.sent)
		}
	}
	for _, first := range []string{
		"", "n", "n,", "n,,", "n,,n=user", "n,,r=x", "n,,n=,r=x", "n,,n=user,r=", "n,,n=us=er,r=x", "n,,n=user,r=a b", "n,,m=x,n=user,r=x",
		",,n=user,r=x", "p=,,n=user,r=x", "p,,n=user,r=x", "N,,n=user,r=x", "n,user,n=user,r=x", "n,A=x,n=user,r=x", "n,a==2c,n=user,r=x", "nn,,n=user,r=x",
	} {
		v := &asked{}
		if _, err := c.m.Serve(t.Context(), &script{peer: []string{first}}, v, plain); !errors.Is(err, sasl.ErrMalformed) || len(v.shown) > 0 {
			t.Errorf("%q: %v, asked %q", first, err, v.shown)
		}
	}
}

func TestAClientThatIsLiedToAboutPlusIsRefused(t *testing.T) {
	c := scramExamples[1]
	for offered, want := range map[string]error{"SCRAM-SHA-256-PLUS": account.ErrRefused, "SCRAM-SHA-1-PLUS": nil} {
		on := fixed(c.snonce, "")
		on.Offers = func(m string) bool { return m == offered }
		k := keysOf(t, c.hash, "pencil", c.salt, 4096)
		bare := strings.TrimPrefix(c.first, "n,,")
		final := "c=eSws,r=" + c.cnonce + c.snonce
		proof, _, err := password.Prove(c.hash, "pencil", k.keys.Salt, 4096, bare+","+c.challenge+","+final)
		if err != nil {
			t.Fatal(err)
		}
		x := &script{peer: []string{"y,," + bare, final + ",p=" + base64.StdEncoding.EncodeToString(proof), ""}}
		if _, err := c.m.Serve(t.Context(), x, &asked{prover: k}, on); !errors.Is(err, want) {
			t.Errorf("with %s: %v", offered, err)
		}
	}
}

func TestAMalformedLastMessageNamesNobodyButARefusalDoes(t *testing.T) {
	c := scramExamples[0]
	v := &asked{prover: keysOf(t, c.hash, "pencil", c.salt, 4096)}
	_, err := c.m.Serve(t.Context(), &script{peer: []string{c.first, "c=biws,r=x,p=AAAA"}}, v, plain)
	var who interface{ Login() string }
	if !errors.As(err, &who) || who.Login() != "user" {
		t.Errorf("%v", err)
	}
}

func TestBothHalvesOfTheOthersUnderstandEachOther(t *testing.T) {
	for _, m := range []sasl.Mechanism{sasl.SCRAMSHA1, sasl.SCRAMSHA256} {
		for _, c := range []sasl.Credentials{
			{Authn: "ann", Password: "secret"},
			{Authn: "a,n=n", Password: "gru\u0308ße"},
			{Authz: "b,ob=", Authn: "master", Password: "secret"},
		} {
			k := keysOf(t, strings.TrimPrefix(m.Name, "SCRAM-"), c.Password, "QSXCR+Q6sek8bf92", 100)
			v := &asked{prover: k}
			if err := converse(t, m, c, v); err != nil {
				t.Errorf("%s: %v", m.Name, err)
			}
			if v.shown[0].authn != c.Authn || v.shown[0].authz != c.Authz {
				t.Errorf("%s shows %q, want %+v", m.Name, v.shown, c)
			}
		}
	}
}
