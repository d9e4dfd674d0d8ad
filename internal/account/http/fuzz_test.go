package authhttp

import (
	"bufio"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"usher/internal/account"
)

// Whatever a service answers, it is an account, a refusal, or an error.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		reply("200 OK", "Auth-Status: OK", "Auth-Server: 10.0.0.7", "Auth-Port: 143", "Auth-User: ann", "Auth-Pass: x"),
		reply("200 OK", "Auth-Status: Invalid login", "Auth-Wait: 3"),
		reply("200 OK", "Auth-Status: WAIT", "Auth-Wait: 99999999999999999999"),
		reply("200 OK", "Auth-Status: OK", "Usher-Host: a,b", "Nopassword: Y", "Allow-Nets: ::/0"),
		reply("500 Oops"), "HTTP/1.1 200\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(string(text))), nil)
		if err != nil {
			return
		}
		res.Body.Close()
		a, err := read(res.StatusCode, res.Header)
		if err != nil {
			if errors.Is(err, account.ErrRefused) || errors.Is(err, account.ErrUnknown) {
				t.Fatalf("%v", err)
			}
			return
		}
		rec, err := a.record(true)
		switch {
		case a.seconds < 0 || a.seconds > mostWait:
			t.Fatalf("a wait of %v", a.seconds)
		case a.ok != (err == nil), rec.Proven && !a.ok:
			t.Fatalf("%+v gives %+v, %v", a, rec, err)
		case a.ok && res.Header.Get("Auth-Status") != "OK":
			t.Fatalf("%q lets in", res.Header.Get("Auth-Status"))
		}
		_, _ = rec.Fields.Account("ann")
	})
}

// Whatever a client shows stays within its header, and comes out again as it was.
func FuzzRequest(f *testing.F) {
	f.Add("ann", "secret", "")
	f.Add("ann\r\nAuth-Pass: x", "%0d%0a\x00\x7f€\xff", "ann 0123\r\n")
	f.Fuzz(func(t *testing.T, name, password, response string) {
		q := account.Query{Name: name, Password: password, Protocol: "imap", Remote: netip.MustParseAddrPort("[::ffff:192.0.2.7]:1")}
		if response != "" {
			q.Answer = &account.Answer{Method: "cram-md5", Challenge: "<1@x>", Response: response}
		}
		one := &service{place: place{url: &url.URL{Scheme: "http", Host: "x", Path: "/"}}}
		var b strings.Builder
		req := one.request(q)
		if err := req.Write(&b); err != nil {
			t.Fatal(err)
		}
		got, err := http.ReadRequest(bufio.NewReader(strings.NewReader(b.String())))
		if err != nil {
			t.Fatalf("%v\n%q", err, b.String())
		}
		if len(got.Header) != len(req.Header) {
			t.Fatalf("%d headers were sent, %d came:\n%q", len(req.Header), len(got.Header), b.String())
		}
		if back, err := url.PathUnescape(got.Header.Get("Auth-User")); err != nil || back != name {
			t.Errorf("the name %q came as %q, %v", name, back, err)
		}
		if back, err := url.PathUnescape(got.Header.Get("Auth-Pass")); q.Answer == nil && (err != nil || back != password) {
			t.Errorf("the password %q came as %q, %v", password, back, err)
		}
	})
}
