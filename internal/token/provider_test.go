package token_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"usher/internal/account"
	"usher/internal/token"
	"usher/internal/token/tokentest"
)

// A clock is moved by hand.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) forward(d time.Duration) { c.ahead.Add(int64(d)) }

func TestANewKeyHoldsAtOnce(t *testing.T) {
	t.Parallel()
	p, at := tokentest.New(t), &clock{}
	s := settings(t, p)
	s.Now, s.Skew = at.now, time.Hour
	c := open(t, s)
	old := p.Token(ann, nil)
	isAnns(t, c, old)
	p.Rotate()
	at.forward(5 * time.Second)
	isAnns(t, c, p.Token(ann, nil))
	isRefused(t, c, old, "none of the issuer's keys") // it has been withdrawn
}

func TestStrangersDoNotHammerTheProvider(t *testing.T) {
	t.Parallel()
	p, at := tokentest.New(t), &clock{}
	s := settings(t, p)
	s.Now = at.now
	c := open(t, s)
	stranger := tokentest.New(t)
	var wg sync.WaitGroup
	for range 50 {
		stranger.Rotate()
		text := stranger.Token(ann, nil)
		wg.Go(func() {
			for range 10 {
				if _, _, err := c.Whose(t.Context(), text); !errors.Is(err, account.ErrRefused) {
					t.Errorf("%v", err)
				}
			}
		})
	}
	wg.Wait()
	if n := p.Asked("/keys"); n != 1 {
		t.Errorf("500 tokens of strangers have had the keys fetched %d times", n)
	}
	at.forward(6 * time.Second)
	isRefused(t, c, stranger.Token(ann, nil), "none of")
	if n := p.Asked("/keys"); n != 2 {
		t.Errorf("after some seconds the keys were fetched %d times", n)
	}
}

func TestKeysAreLookedAtFromTimeToTime(t *testing.T) {
	t.Parallel()
	p, at := tokentest.New(t), &clock{}
	s := settings(t, p)
	s.Now, s.Skew = at.now, time.Hour
	c := open(t, s)
	old := p.Token(ann, nil)
	isAnns(t, c, old)
	p.Rotate()
	isAnns(t, c, old)
	at.forward(16 * time.Minute)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, _, err := c.Whose(t.Context(), old); errors.Is(err, account.ErrRefused) {
			return
		}
		if time.Now().After(end) {
			t.Fatal("a key that was withdrawn still holds")
		}
	}
}

func TestAnOutageIsNotAWrongToken(t *testing.T) {
	t.Parallel()
	huge := strings.Repeat("A", 1<<20)
	for name, x := range map[string]struct {
		instead http.HandlerFunc
		why     string
	}{
		"500": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "line\nline", http.StatusInternalServerError)
		}, "500"},
		"gone":      {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, ""},
		"huge":      {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"active":"` + huge + `"}`)) }, "too long"},
		"no JSON":   {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) }, ""},
		"null":      {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("null")) }, ""},
		"empty":     {func(http.ResponseWriter, *http.Request) {}, ""},
		"an object": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) }, ""},
		"elsewhere": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		}, "302"},
		"nobody":  {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }, "401"},
		"no bool": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"active":"true"}`)) }, ""},
		"never ends": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, ""},
		"frozen": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := tokentest.New(t)
			s := settings(t, p)
			s.Timeout = 10 * time.Second
			if name == "never ends" || name == "frozen" {
				s.Timeout = 300 * time.Millisecond
			}
			local := open(t, s)
			s.Introspect, s.ClientID, s.ClientSecret = p.Introspect, p.ID, p.Secret
			asking := open(t, s)
			p.Instead(x.instead)
			began := time.Now()
			isUnknown(t, local, p.Token(ann, nil), x.why)
			isUnknown(t, asking, p.Opaque(p.Claims(ann, nil)), x.why)
			if took := time.Since(began); took > 9*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

func TestWhatIsKnownOutlivesTheProvider(t *testing.T) {
	t.Parallel()
	p, at := tokentest.New(t), &clock{}
	s := settings(t, p)
	s.Now, s.Skew = at.now, 2*time.Hour
	c := open(t, s)
	isAnns(t, c, p.Token(ann, nil))
	p.Stop()
	at.forward(time.Hour)
	for range 3 {
		isAnns(t, c, p.Token(ann, nil))
	}
	p.Rotate()
	isUnknown(t, c, p.Token(ann, nil), "keys of the issuer") // it may be good: nobody can tell
}

func TestAClientThatLeavesDoesNotWait(t *testing.T) {
	t.Parallel()
	p := tokentest.New(t)
	c := open(t, settings(t, p))
	p.Instead(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := c.Whose(ctx, p.Token(ann, nil)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// A provider that claims to be another one is none.
func TestAnIssuerIsWhoItSaysItIs(t *testing.T) {
	t.Parallel()
	p := tokentest.New(t)
	p.Instead(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"issuer":"https://accounts.example.org","jwks_uri":"` + p.URL + `/keys"}`))
	})
	isUnknown(t, open(t, settings(t, p)), p.Token(ann, nil), "https://accounts.example.org")
	p.Instead(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"issuer":"` + p.URL + `","jwks_uri":"http://127.0.0.1/keys"}`))
	})
	isUnknown(t, open(t, settings(t, p)), p.Token(ann, nil), "not under TLS")
	s := settings(t, p)
	s.Roots = nil
	p.Instead(nil)
	isUnknown(t, open(t, s), p.Token(ann, nil), "certificate")
}

func asking(t *testing.T, p *tokentest.Provider, change func(*token.Settings)) *token.Checker {
	s := settings(t, p)
	s.Introspect, s.ClientID, s.ClientSecret = p.Introspect, p.ID, p.Secret
	if change != nil {
		change(&s)
	}
	return open(t, s)
}

func TestTheProviderTellsOfOpaqueTokens(t *testing.T) {
	t.Parallel()
	p := tokentest.New(t)
	c := asking(t, p, nil)
	good := p.Opaque(p.Claims(ann, nil))
	for range 3 {
		isAnns(t, c, good)
	}
	if n := p.Asked("/introspect"); n != 1 {
		t.Errorf("it was asked %d times about one token", n)
	}
	isAnns(t, c, p.Opaque(p.Claims(ann, changes{"iss": nil, "exp": nil, "nbf": nil})))
	for why, change := range map[string]changes{
		"audience": {"aud": "elsewhere"}, "scope": {"scope": "x"}, "expired": {"exp": 7}, "issuer": {"iss": "https://x"},
		"not active": {"active": false}, "no email": {"email": nil},
	} {
		isRefused(t, c, p.Opaque(p.Claims(ann, change)), why)
	}
	wrong := "nobody's"
	for range 3 {
		isRefused(t, c, wrong, "not active")
	}
	if n := p.Asked("/introspect"); n != 9 {
		t.Errorf("it was asked %d times", n)
	}
}

func TestWhatTheProviderSaidIsBelievedForAWhile(t *testing.T) {
	t.Parallel()
	p, at := tokentest.New(t), &clock{}
	c := asking(t, p, func(s *token.Settings) { s.Now = at.now })
	good := p.Opaque(p.Claims(ann, nil))
	short := p.Opaque(p.Claims(ann, changes{"exp": time.Now().Add(5 * time.Second).Unix()}))
	isAnns(t, c, good)
	isAnns(t, c, short)
	p.Revoke(good)
	isAnns(t, c, good)
	at.forward(50 * time.Second)
	isRefused(t, c, short, "expired") // though it was found good a minute ago
	at.forward(20 * time.Second)
	isRefused(t, c, good, "not active")
	again := asking(t, p, func(s *token.Settings) { s.Cache = 0 })
	good = p.Opaque(p.Claims(ann, nil))
	isAnns(t, again, good)
	p.Revoke(good)
	isRefused(t, again, good, "not active")
}

func TestKeysOfAFileAreReadAgain(t *testing.T) {
	t.Parallel()
	p, at := tokentest.New(t), &clock{}
	s := settings(t, p)
	s.Now, s.Skew = at.now, time.Hour
	s.Keys = filepath.Join(t.TempDir(), "keys")
	put := func(text []byte) {
		if err := os.WriteFile(s.Keys, text, 0o600); err != nil {
			t.Fatal(err)
		}
		at.forward(6 * time.Second)
	}
	c := open(t, s)
	isUnknown(t, c, p.Token(ann, nil), "no such file")
	put(tokentest.PEM(t, p.PublicKey()))
	isAnns(t, c, p.Token(ann, nil))
	p.Rotate()
	put([]byte("half writ"))
	isUnknown(t, c, p.Token(ann, nil), s.Keys)
	put(tokentest.PEM(t, p.PublicKey()))
	isAnns(t, c, p.Token(ann, nil))
}

func TestAnExaminerHearsHowTheProviderIs(t *testing.T) {
	t.Parallel()
	p := tokentest.New(t)
	for _, c := range []*token.Checker{open(t, settings(t, p)), asking(t, p, nil)} {
		if what, err := c.Examine(t.Context()); err != nil || !strings.Contains(what, p.URL) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := asking(t, p, func(s *token.Settings) { s.ClientSecret = "x" }).Examine(t.Context()); err == nil || !strings.Contains(err.Error(), "client_secret") {
		t.Errorf("with a wrong secret: %v", err)
	}
	p.Stop()
	for _, c := range []*token.Checker{open(t, settings(t, p)), asking(t, p, nil)} {
		if _, err := c.Examine(t.Context()); err == nil {
			t.Error("a provider that is gone is well")
		}
	}
}

// A house that begins while the provider is down knows no more than the one before; when
// the provider is back, nobody shall hear that his token is wrong.
func TestAReloadInAnOutageRefusesNobodysToken(t *testing.T) {
	t.Parallel()
	p := tokentest.New(t)
	before, after := open(t, settings(t, p)), open(t, settings(t, p))
	text := p.Token(ann, nil)
	p.Instead(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	isUnknown(t, before, text, "502")
	after.Inherit(before)
	isUnknown(t, after, text, "502")
	p.Instead(nil)
}
