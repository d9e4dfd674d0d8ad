package token_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"usher/internal/account"
	"usher/internal/token"
	"usher/internal/token/tokentest"
)

// FuzzToken sees that nothing but what the provider has signed is anybody's, and that
// whatever is no token is refused: it is no outage.
func FuzzToken(f *testing.F) {
	p := tokentest.New(f)
	s := settings(f, p)
	s.Keys = filepath.Join(f.TempDir(), "keys.pem")
	if err := os.WriteFile(s.Keys, tokentest.PEM(f, p.PublicKey()), 0o600); err != nil {
		f.Fatal(err)
	}
	c := open(f, s)
	good := map[string]bool{}
	for _, change := range []changes{nil, {"exp": time.Now().Add(24 * time.Hour).Unix()}, {"aud": []string{"mail"}}} {
		text := p.Token(ann, change)
		good[text] = true
		f.Add(text)
	}
	for _, text := range []string{"", ".", "..", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "{}", "e30.e30.e30", "eyJhbGciOiJFUzI1NiJ9.e30.AA"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		names, _, err := c.Whose(t.Context(), text)
		switch {
		case good[text]:
			return
		case err == nil && names[0] == ann: // the last letter of base64 has bits that count for nothing
			return
		case !errors.Is(err, account.ErrRefused) || names != nil:
			t.Errorf("%q: %q, %v", text, names, err)
		}
	})
}

// FuzzKeys sees that files of keys hold keys, or are mistakes.
func FuzzKeys(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}`))
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n"))
	f.Add([]byte(`{"keys":[null]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := token.ParseKeys(text)
		if (err == nil) != (len(keys) > 0) {
			t.Errorf("%d keys, %v", len(keys), err)
		}
	})
}
